// The gradient through moments of lib/divisors/largest.wgsl.

fn record_pull(record: vec4<f32>, means: vec2<f32>) -> vec3<f32> {
    let share = means.y * record.w / record.y;
    return vec3<f32>(0.0, select(share, 0.0, record.z < p.divisor.eps_minimum), record.z);
}

// As in uncentred.wgsl; the norm's derivative is the sign of x at the largest magnitudes, in equal shares.
fn pulled(x: vec4<f32>, x_hat: vec4<f32>, g: vec4<f32>, pull: Pull) -> vec4<f32> {
    let elsewhere = (magnitude_bits4(x) != magnitude_bits4(pull.norm)) | (pull.share == vec4<f32>(0.0));
    return select(g - sign(x) * pull.share, g, elsewhere);
}
