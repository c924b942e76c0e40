// Moments (0, 0, root of the mean square, count): x_hat = x / root.

fn record_center(record: vec4<f32>) -> vec2<f32> { return vec2(0.0); }
fn record_norm(record: vec4<f32>, eps: f32) -> f32 { return root_of_square(record.z, p.divisor.factor, eps); }
// The mean square.
fn record_spread(record: vec4<f32>) -> f32 { return record.z * record.z; }
