// Accumulator: mean magnitude (p = 1).
//
// Record (0, 0, mean |x|, count).

fn acc_start(first: f32) -> vec4<f32> {
    return vec4<f32>(0.0);
}

fn acc_combine(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    if b.w == 0.0 { return a; }
    if a.w == 0.0 { return b; }
    let n = a.w + b.w;
    return vec4<f32>(0.0, 0.0, a.z * (a.w / n) + b.z * (b.w / n), n);
}

fn acc_push(acc: vec4<f32>, chunk: Chunk) -> vec4<f32> {
    let share = 1.0 / f32(chunk.n);
    let z = sum16(abs(chunk.x[0]) * share, abs(chunk.x[1]) * share, abs(chunk.x[2]) * share, abs(chunk.x[3]) * share);
    return acc_combine(acc, vec4<f32>(0.0, 0.0, z, f32(chunk.n)));
}

fn acc_center(acc: vec4<f32>) -> vec2<f32> {
    return vec2<f32>(0.0);
}

fn acc_divisor(acc: vec4<f32>) -> f32 {
    return acc.z * params.factor;
}

// The norm.
fn acc_spread(acc: vec4<f32>) -> f32 {
    return acc.z * params.factor;
}

// As in uncentred.wgsl; the norm's derivative is the sign of x.
fn acc_gradient(acc: vec4<f32>, x: f32, x_hat: f32, g: f32, means: vec2<f32>) -> f32 {
    if acc_divisor(acc) < params.eps_minimum { return g; }
    return g - sign(x) * means.y * params.factor;
}
