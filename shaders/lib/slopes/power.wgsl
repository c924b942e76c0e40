// The gradient through moments of lib/divisors/power.wgsl.

fn record_pull(record: vec4<f32>, means: vec2<f32>) -> vec3<f32> {
    let norm = record_divisor(record);
    return vec3<f32>(0.0, select(means.y * p.divisor.factor, 0.0, norm < p.divisor.eps_minimum), norm);
}

fn slope_of(x: f32, norm: f32) -> f32 {
    let share = abs(x) / norm;
    return sign(x) * (power(share, p.divisor.order) / share);
}

// As in uncentred.wgsl; the norm's derivative is sign(x) (|x| / norm)^(p - 1).
fn pulled(x: vec4<f32>, x_hat: vec4<f32>, g: vec4<f32>, pull: Pull) -> vec4<f32> {
    let n = pull.norm;
    let slope = vec4<f32>(slope_of(x.x, n.x), slope_of(x.y, n.y), slope_of(x.z, n.z), slope_of(x.w, n.w));
    return select(g - slope * pull.share, g, (x == vec4<f32>(0.0)) | (pull.share == vec4<f32>(0.0)));
}
