// The gradient through the moments of lib/divisors/magnitude.wgsl: the norm's derivative is the sign of x. See
// centred.wgsl.

const SHIFTS = false;

fn hat4(x: vec4<f32>, by: Normalizer4) -> vec4<f32> { return x * by.k * by.r; }
fn kept4(x: vec4<f32>, by: Normalizer4) -> vec4<f32> { return x; }
fn hat_of_kept4(kept: vec4<f32>, by: Normalizer4) -> vec4<f32> { return hat4(kept, by); }

fn slope(record: vec4<f32>, by: vec4<f32>) -> vec2<f32> {
    return vec2(select(p.divisor.factor, 0.0, record_divisor(record) < p.divisor.eps_minimum), 0.0);
}
fn pulled4(g: vec4<f32>, kept: vec4<f32>, r: vec4<f32>, pull: Pull4) -> vec4<f32> {
    let slopes = select(sign(kept) * pull.share, vec4(0.0), pull.share == vec4(0.0));
    return fma(g, r, slopes);
}
