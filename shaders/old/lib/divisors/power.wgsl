// What records of mean powers give.

fn record_center(record: vec4<f32>) -> vec2<f32> {
    return vec2<f32>(0.0);
}

fn record_divisor(record: vec4<f32>) -> f32 {
    if magnitude_bits(record.x) == 0u { return 0.0; }
    return record.x * power(record.z * params.factor, 1.0 / params.p);
}

// The norm.
fn record_spread(record: vec4<f32>) -> f32 {
    return record_divisor(record);
}

fn record_pull(record: vec4<f32>, means: vec2<f32>) -> vec3<f32> {
    let norm = record_divisor(record);
    return vec3<f32>(0.0, select(means.y * params.factor, 0.0, norm < params.eps_minimum), norm);
}

fn slope_of(x: f32, norm: f32) -> f32 {
    let share = abs(x) / norm;
    return sign(x) * (power(share, params.p) / share);
}

// As in uncentred.wgsl; the norm's derivative is sign(x) (|x| / norm)^(p - 1).
fn pulled(x: vec4<f32>, x_hat: vec4<f32>, g: vec4<f32>, pull: Pull) -> vec4<f32> {
    let n = pull.norm;
    let slope = vec4<f32>(slope_of(x.x, n.x), slope_of(x.y, n.y), slope_of(x.z, n.z), slope_of(x.w, n.w));
    return select(g - slope * pull.share, g, (x == vec4<f32>(0.0)) | (pull.share == vec4<f32>(0.0)));
}
