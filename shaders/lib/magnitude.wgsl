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

fn acc_push(acc: vec4<f32>, x: vec4<f32>, n: u32) -> vec4<f32> {
    let live = vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(n);
    let s = select(vec4<f32>(0.0), abs(x) * (1.0 / f32(n)), live);
    return acc_combine(acc, vec4<f32>(0.0, 0.0, (s.x + s.y) + (s.z + s.w), f32(n)));
}

fn acc_center(acc: vec4<f32>) -> vec2<f32> {
    return vec2<f32>(0.0);
}

fn acc_divisor(acc: vec4<f32>) -> f32 {
    return acc.z * params.factor + params.eps_inside;
}
