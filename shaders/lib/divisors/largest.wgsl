// Moments (0, elements that have it, max |x|, count): x_hat = x / max |x|, p = infinity.

fn record_center(record: vec4<f32>) -> vec2<f32> { return vec2(0.0); }
fn record_norm(record: vec4<f32>, eps: f32) -> f32 { return record.z; }
// The norm.
fn record_spread(record: vec4<f32>) -> f32 { return record.z; }
// The moments of x * by.
fn record_times(record: vec4<f32>, by: f32) -> vec4<f32> { return vec4(record.xy, record.z * by, record.w); }
