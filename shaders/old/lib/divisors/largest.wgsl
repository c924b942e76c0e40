// What records of largest magnitudes give.

fn record_center(record: vec4<f32>) -> vec2<f32> {
    return vec2<f32>(0.0);
}

fn record_divisor(record: vec4<f32>) -> f32 {
    return record.z;
}

// The norm.
fn record_spread(record: vec4<f32>) -> f32 {
    return record.z;
}

fn record_pull(record: vec4<f32>, means: vec2<f32>) -> vec3<f32> {
    let share = means.y * record.w / record.y;
    return vec3<f32>(0.0, select(share, 0.0, record.z < params.eps_minimum), record.z);
}

// As in uncentred.wgsl; the norm's derivative is the sign of x at the largest magnitudes, in equal shares.
fn pulled(x: vec4<f32>, x_hat: vec4<f32>, g: vec4<f32>, pull: Pull) -> vec4<f32> {
    let elsewhere = (magnitude_bits4(x) != magnitude_bits4(pull.norm)) | (pull.share == vec4<f32>(0.0));
    return select(g - sign(x) * pull.share, g, elsewhere);
}
