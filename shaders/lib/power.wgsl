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

fn acc_push(acc: vec4<f32>, x: vec4<f32>, n: u32) -> vec4<f32> {
    let live = vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(n);
    let bits = select(vec4<u32>(0u), bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu), live);
    let largest = bitcast<f32>(max(max(bits.x, bits.y), max(bits.z, bits.w)));
    let share = 1.0 / f32(n);
    let powers = vec4<f32>(
        relative_power(x.x, largest),
        relative_power(x.y, largest),
        relative_power(x.z, largest),
        relative_power(x.w, largest),
    );
    let s = select(vec4<f32>(0.0), powers * share, live);
    return acc_combine(acc, vec4<f32>(largest, 0.0, (s.x + s.y) + (s.z + s.w), f32(n)));
}

fn acc_center(acc: vec4<f32>) -> vec2<f32> {
    return vec2<f32>(0.0);
}

fn acc_divisor(acc: vec4<f32>) -> f32 {
    if magnitude_bits(acc.x) == 0u { return params.eps_inside; }
    return acc.x * power(acc.z * params.factor, 1.0 / params.p) + params.eps_inside;
}
