// Accumulator: largest magnitude (p = infinity).
//
// Record (0, elements that have it, max |x|, count). Magnitudes are compared as integers, so that a NaN stays.

fn acc_start(first: f32) -> vec4<f32> {
    return vec4<f32>(0.0);
}

fn acc_combine(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let bits_a = magnitude_bits(a.z);
    let bits_b = magnitude_bits(b.z);
    let ties = select(0.0, a.y, bits_a >= bits_b) + select(0.0, b.y, bits_b >= bits_a);
    return vec4<f32>(0.0, ties, bitcast<f32>(max(bits_a, bits_b)), a.w + b.w);
}

fn ties(x: vec4<f32>, bits: u32, live: vec4<bool>) -> f32 {
    let same = (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) == vec4<u32>(bits);
    return sum4(select(vec4<f32>(0.0), vec4<f32>(1.0), same & live));
}

fn acc_push(acc: vec4<f32>, chunk: Chunk) -> vec4<f32> {
    let n = chunk.n;
    let larger = largest16(chunk.x[0], chunk.x[1], chunk.x[2], chunk.x[3]);
    let count = ties(chunk.x[0], larger, live(n, 0u)) + ties(chunk.x[1], larger, live(n, 1u))
        + ties(chunk.x[2], larger, live(n, 2u)) + ties(chunk.x[3], larger, live(n, 3u));
    return acc_combine(acc, vec4<f32>(0.0, count, bitcast<f32>(larger), f32(n)));
}

fn acc_center(acc: vec4<f32>) -> vec2<f32> {
    return vec2<f32>(0.0);
}

fn acc_divisor(acc: vec4<f32>) -> f32 {
    return acc.z;
}

// The norm.
fn acc_spread(acc: vec4<f32>) -> f32 {
    return acc.z;
}

// As in uncentred.wgsl; the norm's derivative is the sign of x at the largest magnitudes, in equal shares.
fn acc_gradient(acc: vec4<f32>, x: f32, x_hat: f32, g: f32, means: vec2<f32>) -> f32 {
    if acc.z < params.eps_minimum || magnitude_bits(x) != magnitude_bits(acc.z) { return g; }
    return g - sign(x) * means.y * acc.w / acc.y;
}
