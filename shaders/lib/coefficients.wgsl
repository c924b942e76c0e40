// All that the gradient to the input takes of a segment, two vectors:
//
//   by    (k, mean, rest, r) as in normalizer.wgsl
//   pull  (mean of g, share, other, unit) as in slopes/: dx = pulled4(g - mean of g, ...) * k
//
// k is negative where numbers on that way would leave the range of f32: then g is taken in units of 2^(unit - ORIGIN),
// as its sums are; or, where they are not finite, by products (see gradient/sums.wgsl): the unit is -1, and what comes
// before it (a, b, c).

override SCALE_LAST: bool = false;       // a segment has one scale, a factor of the gradient and no weight in its sums
struct Coefficients {
    by: vec4<f32>,
    pull: vec4<f32>,
}
// Of the four elements of a vector.
struct Coefficients4 {
    by: Normalizer4,
    mean: vec4<f32>,
    share: vec4<f32>,
    other: vec4<f32>,
}

fn coefficients(record: vec4<f32>, sums: vec4<f32>) -> Coefficients {
    let by = normalizer(record);
    if (p.sums.products == 1u) & !are_finite(sums) {
        return Coefficients(vec4(-by.x, by.yzw), vec4(products(by, sums), -1.0));
    }
    let slope = slope(record, by);
    let means = means_of(sums);
    let pull = vec4(means.x, -means.y * slope.x * by.w, slope.y, f32(ORIGIN + unit_power(sums)));
    return Coefficients(vec4(select(-by.x, by.x, is_common(sums, means, by) | !are_finite(sums)), by.yzw), pull);
}
// Whether the gradient to the input takes the short way.
fn is_common(sums: vec4<f32>, means: vec2<f32>, by: vec4<f32>) -> bool {
    let r = by.w * by.x;
    // no branches, hence no && and ||
    let scaled = PLAIN & (by.x != 1.0);
    return are_plain(sums) & is_ordinary(r) & keep_all(means.x * r, means.y * r) & !scaled;
}
fn splat_coefficients(c: Coefficients) -> Coefficients4 {
    return Coefficients4(splat_normalizer(c.by), c.pull.xxxx, c.pull.yyyy, c.pull.zzzz);
}
fn join_coefficients(a: Coefficients, b: Coefficients, c: Coefficients, d: Coefficients) -> Coefficients4 {
    let by = transpose(mat4x4(a.by, b.by, c.by, d.by));
    let pull = transpose(mat4x4(a.pull, b.pull, c.pull, d.pull));
    return Coefficients4(Normalizer4(by[0], by[1], by[2], by[3]), pull[0], pull[1], pull[2]);
}

// x_hat, whichever way the gradient takes.
fn hat_of_coefficients4(x: vec4<f32>, by: Normalizer4) -> vec4<f32> {
    return hat4(x, Normalizer4(abs(by.k), by.mean, by.rest, by.r));
}
fn are_common(by: Normalizer4) -> bool { return !any(by.k < vec4(0.0)); }
// dx of four elements, the short way.
fn input_gradient4(x: vec4<f32>, g: vec4<f32>, c: Coefficients4) -> vec4<f32> {
    let shifted = select(g, difference4(g, c.mean), vec4(SHIFTS));
    let u = pulled4(shifted, kept4(x, c.by), c.by.r, Pull4(vec4(0.0), c.share, c.other));
    if PLAIN { return u; }
    return u * c.by.k;
}
// The long way, of an element with its scale, a factor of g or (SCALE_LAST) of the result.
fn careful_gradient(x: f32, dy: f32, scale: f32, c: Coefficients) -> f32 {
    let weight = select(scale, 1.0, SCALE_LAST);
    let last = select(1.0, scale, SCALE_LAST);
    if c.pull.w < 0.0 { return (fma(dy * weight, c.pull.x, x * c.pull.y) + c.pull.z) * last; }
    let by = splat_normalizer(vec4(abs(c.by.x), c.by.yzw));
    let power = i32(c.pull.w) - ORIGIN;
    let g = scaled_product(dy, -power, weight);
    let shifted = select(g, difference(g, c.pull.x), SHIFTS);
    let pull = Pull4(vec4(0.0), c.pull.yyyy, c.pull.zzzz);
    let u = pulled4(vec4(shifted), kept4(vec4(x), by), by.r, pull).x;
    return scaled_product(u, power + power_of(by.k.x), last);
}
