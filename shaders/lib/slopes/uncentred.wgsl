// The gradient through the moments of lib/divisors/uncentred.wgsl: through the divisor alone. See centred.wgsl.

const SHIFTS = false;

fn hat4(x: vec4<f32>, by: Normalizer4) -> vec4<f32> { return x * by.k * by.r; }
fn kept4(x: vec4<f32>, by: Normalizer4) -> vec4<f32> { return hat4(x, by); }
fn hat_of_kept4(kept: vec4<f32>, by: Normalizer4) -> vec4<f32> { return kept; }

fn slope(record: vec4<f32>, by: vec4<f32>) -> vec2<f32> {
    return vec2(divisor_slope(record), 0.0);
}
fn pulled4(g: vec4<f32>, kept: vec4<f32>, r: vec4<f32>, pull: Pull4) -> vec4<f32> {
    return fma(g, r, kept * pull.share);
}
