// The gradient through moments of lib/divisors/centred.wgsl.

// From the means of g and g * x_hat: what reaches x through mean and divisor.
fn record_pull(record: vec4<f32>, means: vec2<f32>) -> vec3<f32> {
    return vec3<f32>(means.x, means.y * divisor_slope(record), 0.0);
}

// The gradient to x, before it is divided by the divisor.
fn pulled(x: vec4<f32>, x_hat: vec4<f32>, g: vec4<f32>, pull: Pull) -> vec4<f32> {
    return difference4(g, pull.mean) - x_hat * pull.share;
}
