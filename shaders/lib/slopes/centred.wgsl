// The gradient through the moments of lib/divisors/centred.wgsl: through the mean and through the divisor.
//
//   dx = (g - mean(g) - x_hat * mean(g * x_hat) * slope) * r        `share` is -mean(g * x_hat) * slope * r, `less` is
//   -mean(g) * r

// Whether a number that is added to all g of a segment changes nothing: then sums are taken of g less one of them.
const SHIFTS = true;

fn hat4(x: vec4<f32>, by: Normalizer4) -> vec4<f32> { return fma(fma(x, by.k, -by.mean), by.r, by.rest); }
// What registers keep of x for `pulled4`, and x_hat of it.
fn kept4(x: vec4<f32>, by: Normalizer4) -> vec4<f32> { return hat4(x, by); }
fn hat_of_kept4(kept: vec4<f32>, by: Normalizer4) -> vec4<f32> { return kept; }

// Of a segment: (slope, and what else `pulled4` has to know).
fn slope(record: vec4<f32>, by: vec4<f32>) -> vec2<f32> {
    return vec2(divisor_slope(record), 0.0);
}
fn pulled4(g: vec4<f32>, kept: vec4<f32>, r: vec4<f32>, pull: Pull4) -> vec4<f32> {
    return fma(g, r, fma(kept, pull.share, pull.less));
}
