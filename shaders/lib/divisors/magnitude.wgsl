// Moments (0, 0, mean |x|, count): x_hat = x / norm, p = 1.

fn record_center(record: vec4<f32>) -> vec2<f32> { return vec2(0.0); }
fn record_norm(record: vec4<f32>, eps: f32) -> f32 { return record.z * p.divisor.factor; }
// The norm.
fn record_spread(record: vec4<f32>) -> f32 { return record.z * p.divisor.factor; }
