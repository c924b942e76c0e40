// What records of root mean squares give: x_hat = x / root, and the gradient through it.

fn record_center(record: vec4<f32>) -> vec2<f32> {
    return vec2<f32>(0.0);
}

fn record_divisor(record: vec4<f32>) -> f32 {
    return root_of_square(record.z, params.factor, params.eps_inside);
}

// The mean square.
fn record_spread(record: vec4<f32>) -> f32 {
    return record.z * record.z;
}

fn record_pull(record: vec4<f32>, means: vec2<f32>) -> vec3<f32> {
    return vec3<f32>(0.0, means.y * divisor_slope(record), 0.0);
}

// The gradient to x, before it is divided by the divisor: g, less what reaches x through the divisor.
fn pulled(x: vec4<f32>, x_hat: vec4<f32>, g: vec4<f32>, pull: Pull) -> vec4<f32> {
    return g - x_hat * pull.share;
}
