// What records of mean and deviation give: x_hat = (x - mean) / root, and the gradient through both.

// The shift becomes the mean rounded to f32, the rest what that leaves: x - shift is then as small as it can be.
fn record_center(record: vec4<f32>) -> vec2<f32> {
    let mean = record.x + record.y;
    return vec2<f32>(mean, difference(record.x, mean) + record.y);
}

fn record_divisor(record: vec4<f32>) -> f32 {
    return root_of_square(record.z, params.factor, params.eps_inside);
}

// The variance.
fn record_spread(record: vec4<f32>) -> f32 {
    return record.z * record.z;
}

// From the means of g and g * x_hat: what reaches x through mean and divisor.
fn record_pull(record: vec4<f32>, means: vec2<f32>) -> vec3<f32> {
    return vec3<f32>(means.x, means.y * divisor_slope(record), 0.0);
}

// The gradient to x, before it is divided by the divisor.
fn pulled(x: vec4<f32>, x_hat: vec4<f32>, g: vec4<f32>, pull: Pull) -> vec4<f32> {
    return difference4(g, pull.mean) - x_hat * pull.share;
}
