// The gradient through the moments of lib/divisors/largest.wgsl: the norm's derivative is the sign of x at the largest
// magnitudes, in equal shares. See centred.wgsl. `other` is the largest magnitude, and registers keep x itself: a
// product could make equal what is not.

const SHIFTS = false;

fn hat4(x: vec4<f32>, by: Normalizer4) -> vec4<f32> { return x * by.k * by.r; }
fn kept4(x: vec4<f32>, by: Normalizer4) -> vec4<f32> { return x; }
fn hat_of_kept4(kept: vec4<f32>, by: Normalizer4) -> vec4<f32> { return hat4(kept, by); }

fn slope(record: vec4<f32>, by: vec4<f32>) -> vec2<f32> {
    return vec2(select(record.w / record.y, 0.0, record.z < p.divisor.eps_minimum), record.z);
}
fn pulled4(g: vec4<f32>, kept: vec4<f32>, r: vec4<f32>, pull: Pull4) -> vec4<f32> {
    let elsewhere = (magnitude_bits4(kept) != magnitude_bits4(pull.other)) | (pull.share == vec4(0.0));
    return fma(g, r, select(sign(kept) * pull.share, vec4(0.0), elsewhere));
}
