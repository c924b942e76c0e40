// The gradient through moments of lib/divisors/magnitude.wgsl.

fn record_pull(record: vec4<f32>, means: vec2<f32>) -> vec3<f32> {
    return vec3<f32>(0.0, select(means.y * p.divisor.factor, 0.0, record_divisor(record) < p.divisor.eps_minimum), 0.0);
}

// As in uncentred.wgsl; the norm's derivative is the sign of x.
fn pulled(x: vec4<f32>, x_hat: vec4<f32>, g: vec4<f32>, pull: Pull) -> vec4<f32> {
    return select(g - sign(x) * pull.share, g, pull.share == vec4<f32>(0.0));
}
