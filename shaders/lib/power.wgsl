// Accumulator: mean of |x|^p for any p > 0.
//
// Record (largest |x|, 0, mean of (|x| / largest)^p, count): with the largest magnitude factored out no power over- or
// underflows that matters. A NaN becomes the largest and stays.

fn acc_start(first: f32) -> vec4<f32> {
    return vec4<f32>(0.0);
}

// (x / largest)^p; 1 where they are equal, infinity included.
fn relative_power(x: f32, largest: f32) -> f32 {
    if magnitude_bits(x) == magnitude_bits(largest) { return 1.0; }
    return power(abs(x) / abs(largest), params.p);
}

fn acc_combine(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    if b.w == 0.0 { return a; }
    if a.w == 0.0 { return b; }
    let n = a.w + b.w;
    let largest = bitcast<f32>(max(magnitude_bits(a.x), magnitude_bits(b.x)));
    let sum_a = a.z * relative_power(a.x, largest) * (a.w / n);
    let sum_b = b.z * relative_power(b.x, largest) * (b.w / n);
    return vec4<f32>(largest, 0.0, sum_a + sum_b, n);
}

fn relative_powers(x: vec4<f32>, largest: f32) -> vec4<f32> {
    return vec4<f32>(
        relative_power(x.x, largest),
        relative_power(x.y, largest),
        relative_power(x.z, largest),
        relative_power(x.w, largest),
    );
}

fn acc_push(acc: vec4<f32>, chunk: Chunk) -> vec4<f32> {
    let bits = largest16(chunk.x[0], chunk.x[1], chunk.x[2], chunk.x[3]);
    let n = f32(chunk.n);
    // elements that are none are 0, which counts 1 where all are 0: the mean of no magnitude is 0
    if bits == 0u { return acc_combine(acc, vec4<f32>(0.0, 0.0, 0.0, n)); }
    let largest = bitcast<f32>(bits);
    let sum = sum16(
        relative_powers(chunk.x[0], largest),
        relative_powers(chunk.x[1], largest),
        relative_powers(chunk.x[2], largest),
        relative_powers(chunk.x[3], largest),
    );
    return acc_combine(acc, vec4<f32>(largest, 0.0, sum / n, n));
}

fn acc_center(acc: vec4<f32>) -> vec2<f32> {
    return vec2<f32>(0.0);
}

fn acc_divisor(acc: vec4<f32>) -> f32 {
    if magnitude_bits(acc.x) == 0u { return 0.0; }
    return acc.x * power(acc.z * params.factor, 1.0 / params.p);
}

// The norm.
fn acc_spread(acc: vec4<f32>) -> f32 {
    return acc_divisor(acc);
}

// As in uncentred.wgsl; the norm's derivative is sign(x) (|x| / norm)^(p - 1).
fn acc_gradient(acc: vec4<f32>, x: f32, x_hat: f32, g: f32, means: vec2<f32>) -> f32 {
    let norm = acc_divisor(acc);
    if norm < params.eps_minimum || x == 0.0 { return g; }
    let share = abs(x) / norm;
    return g - sign(x) * (power(share, params.p) / share) * means.y * params.factor;
}
