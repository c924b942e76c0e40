// Moments (max |x|, 0, mean of (|x| / max)^p, count): x_hat = x / norm, any p; of a negative one the smallest magnitude
// is in place of the largest, of 0 the 1, and the powers are 1 but for zeros.

fn record_center(record: vec4<f32>) -> vec2<f32> { return vec2(0.0); }
fn record_norm(record: vec4<f32>, eps: f32) -> f32 {
    let sum = record.z * p.divisor.factor;
    if p.divisor.order == 0.0 { return record.x * sum; }
    let norm = record.x * power(sum, 1.0 / p.divisor.order);
    return select(norm, 0.0, magnitude_bits(record.x) == 0u);
}
// The norm.
fn record_spread(record: vec4<f32>) -> f32 { return record_norm(record, 0.0); }
// The moments of x * by.
fn record_times(record: vec4<f32>, by: f32) -> vec4<f32> { return vec4(record.x * by, record.yzw); }
