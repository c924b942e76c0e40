// The gradient through the moments of lib/divisors/power.wgsl: the norm's derivative is sign(x) (|x| / norm)^(p - 1).
// See centred.wgsl. `other` is 1 / norm in the units of x * k.

const SHIFTS = false;

fn hat4(x: vec4<f32>, by: Normalizer4) -> vec4<f32> { return x * by.k * by.r; }
fn kept4(x: vec4<f32>, by: Normalizer4) -> vec4<f32> { return x * by.k; }
fn hat_of_kept4(kept: vec4<f32>, by: Normalizer4) -> vec4<f32> { return kept * by.r; }

fn slope(record: vec4<f32>, by: vec4<f32>) -> vec2<f32> {
    let norm = record_divisor(record);
    let in_units = record_norm(record_times(record, by.x), 0.0);
    let is_constant = (norm < p.divisor.eps_minimum) | (p.divisor.order == 0.0);
    return vec2(select(p.divisor.factor, 0.0, is_constant), 1.0 / in_units);
}
fn slope_of(x: f32) -> f32 {
    let share = abs(x);
    return sign(x) * (power(share, p.divisor.order) / share);
}
fn pulled4(g: vec4<f32>, kept: vec4<f32>, r: vec4<f32>, pull: Pull4) -> vec4<f32> {
    let x = kept * pull.other;
    let slopes = vec4(slope_of(x.x), slope_of(x.y), slope_of(x.z), slope_of(x.w)) * pull.share;
    return fma(g, r, select(slopes, vec4(0.0), (kept == vec4(0.0)) | (pull.share == vec4(0.0))));
}
