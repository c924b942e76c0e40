// All that the gradient to the input takes of a segment, two vectors:
//
//   by    (k, mean, rest, r) as in normalizer.wgsl
//   pull  (mean of g, share, other, 0) as in slopes/: dx = pulled4(g - mean of g, ...) * k
//
// A segment whose sums are not finite may enter by products, see gradient/sums.wgsl: then k is negative, and the pull
// (a, b, c, 0).

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
    let means = means_of(sums);
    if p.sums.products == 1u && !(is_finite(means.x) && is_finite(means.y)) {
        return Coefficients(vec4(-by.x, by.yzw), vec4(products(by, sums), 0.0));
    }
    let slope = slope(record, by);
    return Coefficients(by, vec4(means.x, -means.y * slope.x * by.w, slope.y, 0.0));
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
// dx of four elements.
fn input_gradient4(x: vec4<f32>, g: vec4<f32>, c: Coefficients4) -> vec4<f32> {
    let shifted = select(g, difference4(g, c.mean), vec4(SHIFTS));
    let plain = pulled4(shifted, kept4(x, c.by), c.by.r, Pull4(vec4(0.0), c.share, c.other)) * c.by.k;
    let by_products = c.by.k < vec4(0.0);
    if !any(by_products) { return plain; }
    return select(plain, fma(g, c.mean, x * c.share) + c.other, by_products);
}
