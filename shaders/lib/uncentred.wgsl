// Accumulator: root mean square.
//
// Record (0, 0, root of the mean square, count): the root has the range of the data where a square has not.

fn acc_start(first: f32) -> vec4<f32> {
    return vec4<f32>(0.0);
}

fn acc_combine(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    if b.w == 0.0 { return a; }
    if a.w == 0.0 { return b; }
    let n = a.w + b.w;
    let scale = scale_of(max(magnitude_bits(a.z), magnitude_bits(b.z)));
    let k = scale.to_unit;
    let square = (a.z * k) * (a.z * k) * (a.w / n) + (b.z * k) * (b.z * k) * (b.w / n);
    return vec4<f32>(0.0, 0.0, sqrt(square) * scale.from_unit, n);
}

fn acc_push(acc: vec4<f32>, chunk: Chunk) -> vec4<f32> {
    let z = root_mean_square(chunk.x[0], chunk.x[1], chunk.x[2], chunk.x[3], 1.0 / f32(chunk.n));
    return acc_combine(acc, vec4<f32>(0.0, 0.0, z, f32(chunk.n)));
}

fn acc_center(acc: vec4<f32>) -> vec2<f32> {
    return vec2<f32>(0.0);
}

fn acc_divisor(acc: vec4<f32>) -> f32 {
    return root_of_square(acc.z, params.factor, params.eps_inside);
}

// The mean square.
fn acc_spread(acc: vec4<f32>) -> f32 {
    return acc.z * acc.z;
}

// The gradient to x, before it is divided by the divisor: g, less what reaches x through the divisor.
fn acc_gradient(acc: vec4<f32>, x: f32, x_hat: f32, g: f32, means: vec2<f32>) -> f32 {
    return g - x_hat * means.y * divisor_slope(acc);
}
