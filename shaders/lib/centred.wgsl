// Accumulator: mean and variance.
//
// Record (shift, rest, variance, count): the mean is shift + rest, the variance is divided by count. The shift is an
// element of the segment, so x - shift is exact or nearly so where the mean is large. Two records merge as in
//   Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979)
// written with weights (n_a / n, n_b / n) instead of sums, which keeps the range of the variance itself.

fn acc_start(first: f32) -> vec4<f32> {
    return vec4<f32>(first, 0.0, 0.0, 0.0);
}

fn acc_combine(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    if b.w == 0.0 { return a; }
    if a.w == 0.0 { return b; }
    let n = a.w + b.w;
    let weight_a = a.w / n;
    let weight_b = b.w / n;
    let delta = difference(b.x, a.x) + difference(b.y, a.y);
    let variance = a.z * weight_a + b.z * weight_b + (delta * weight_a) * (delta * weight_b);
    return vec4<f32>(a.x, a.y + delta * weight_b, variance, n);
}

// Takes in the first n of four elements: exact two-pass over them, then one merge.
fn acc_push(acc: vec4<f32>, x: vec4<f32>, n: u32) -> vec4<f32> {
    let live = vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(n);
    let none = vec4<f32>(0.0);
    let share = 1.0 / f32(n);
    let d = select(none, difference4(x, vec4<f32>(acc.x)), live);
    let mean = ((d.x + d.y) + (d.z + d.w)) * share;
    let e = select(none, difference4(d, vec4<f32>(mean)), live);
    let s = e * (e * share);
    return acc_combine(acc, vec4<f32>(acc.x, mean, (s.x + s.y) + (s.z + s.w), f32(n)));
}

// The shift becomes the mean rounded to f32, the rest what that leaves: x - shift is then as small as it can be.
fn acc_center(acc: vec4<f32>) -> vec2<f32> {
    let mean = acc.x + acc.y;
    return vec2<f32>(mean, difference(acc.x, mean) + acc.y);
}

fn acc_divisor(acc: vec4<f32>) -> f32 {
    return root(acc.z * params.factor + params.eps_inside);
}
