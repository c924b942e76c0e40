// The gradient through moments of lib/divisors/uncentred.wgsl.

fn record_pull(record: vec4<f32>, means: vec2<f32>) -> vec3<f32> {
    return vec3<f32>(0.0, means.y * divisor_slope(record), 0.0);
}

// The gradient to x, before it is divided by the divisor: g, less what reaches x through the divisor.
fn pulled(x: vec4<f32>, x_hat: vec4<f32>, g: vec4<f32>, pull: Pull) -> vec4<f32> {
    return g - x_hat * pull.share;
}
