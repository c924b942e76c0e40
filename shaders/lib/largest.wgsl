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

fn acc_push(acc: vec4<f32>, x: vec4<f32>, n: u32) -> vec4<f32> {
    let live = vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(n);
    let bits = select(vec4<u32>(0u), bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu), live);
    let larger = max(max(bits.x, bits.y), max(bits.z, bits.w));
    return acc_combine(acc, vec4<f32>(0.0, 0.0, bitcast<f32>(larger), f32(n)));
}

fn acc_center(acc: vec4<f32>) -> vec2<f32> {
    return vec2<f32>(0.0);
}

fn acc_divisor(acc: vec4<f32>) -> f32 {
    return acc.z + params.eps_inside;
}
