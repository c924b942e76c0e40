// Accumulator: mean and deviation.
//
// Record (shift, rest, deviation, count): the mean is shift + rest, the deviation the root of the variance (divided by
// count), which has the range of the data where a square has not. The shift is an element of the segment, so x - shift
// is exact or nearly so where the mean is large. Two records merge as in
//   Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979)
// written with weights (n_a / n, n_b / n) instead of sums.

fn acc_start(first: f32) -> vec4<f32> {
    return vec4<f32>(select(first, 0.0, magnitude_bits(first) >= params.infinity), 0.0, 0.0, 0.0);
}

fn acc_combine(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    if b.w == 0.0 { return a; }
    if a.w == 0.0 { return b; }
    let n = a.w + b.w;
    let weight_a = a.w / n;
    let weight_b = b.w / n;
    let delta = difference(b.x, a.x) + difference(b.y, a.y);
    let bits = magnitude_bits(delta);
    let scale = scale_of(max(bits, max(magnitude_bits(a.z), magnitude_bits(b.z))));
    let k = scale.to_unit;
    let spread = (a.z * k) * (a.z * k) * weight_a + (b.z * k) * (b.z * k) * weight_b + (delta * k * weight_a) * (delta * k * weight_b);
    // infinite means have no difference, but a sum
    let rest = select(a.y + delta * weight_b, a.y + b.y, bits >= params.infinity);
    return vec4<f32>(a.x, rest, sqrt(spread) * scale.from_unit, n);
}

fn acc_push(acc: vec4<f32>, chunk: Chunk) -> vec4<f32> {
    let none = vec4<f32>(0.0);
    let shift = vec4<f32>(acc.x);
    let share = 1.0 / f32(chunk.n);
    let da = select(none, difference4(chunk.x[0], shift), live(chunk.n, 0u));
    let db = select(none, difference4(chunk.x[1], shift), live(chunk.n, 1u));
    let dc = select(none, difference4(chunk.x[2], shift), live(chunk.n, 2u));
    let dd = select(none, difference4(chunk.x[3], shift), live(chunk.n, 3u));
    let mean = sum16(da * share, db * share, dc * share, dd * share);
    let means = vec4<f32>(mean);
    let ea = select(none, difference4(da, means), live(chunk.n, 0u));
    let eb = select(none, difference4(db, means), live(chunk.n, 1u));
    let ec = select(none, difference4(dc, means), live(chunk.n, 2u));
    let ed = select(none, difference4(dd, means), live(chunk.n, 3u));
    return acc_combine(acc, vec4<f32>(acc.x, mean, root_mean_square(ea, eb, ec, ed, share), f32(chunk.n)));
}

// The shift becomes the mean rounded to f32, the rest what that leaves: x - shift is then as small as it can be.
fn acc_center(acc: vec4<f32>) -> vec2<f32> {
    let mean = acc.x + acc.y;
    return vec2<f32>(mean, difference(acc.x, mean) + acc.y);
}

fn acc_divisor(acc: vec4<f32>) -> f32 {
    return root_of_square(acc.z, params.factor, params.eps_inside);
}

// The variance.
fn acc_spread(acc: vec4<f32>) -> f32 {
    return acc.z * acc.z;
}

// The gradient to x, before it is divided by the divisor: g, less what reaches x through mean and divisor.
fn acc_gradient(acc: vec4<f32>, x: f32, x_hat: f32, g: f32, means: vec2<f32>) -> f32 {
    return difference(g, means.x) - x_hat * means.y * divisor_slope(acc);
}
