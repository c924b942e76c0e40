// Accumulator: largest magnitude (p = infinity).
//
// Record (0, 0, max |x|, count). Magnitudes are compared as integers, so that a NaN stays.

fn acc_start(first: f32) -> vec4<f32> {
    return vec4<f32>(0.0);
}

fn acc_combine(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let larger = max(magnitude_bits(a.z), magnitude_bits(b.z));
    return vec4<f32>(0.0, 0.0, bitcast<f32>(larger), a.w + b.w);
}

fn acc_push(acc: vec4<f32>, chunk: Chunk) -> vec4<f32> {
    let larger = largest16(chunk.x[0], chunk.x[1], chunk.x[2], chunk.x[3]);
    return acc_combine(acc, vec4<f32>(0.0, 0.0, bitcast<f32>(larger), f32(chunk.n)));
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
