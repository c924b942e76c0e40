// Elements by the normalizers of four segments (or of one, four times), and what becomes of them.
// Whether an infinite scale is folded with the mean.
override FOLDED: bool = false;

fn joined_normalizers(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> Normalizer4 {
    let by = transpose(mat4x4(a, b, c, d));
    return Normalizer4(by[0], by[1], by[2], by[3]);
}
// y = ((x * k - mean) * r + rest) * scale + bias
struct Map4 { by: Normalizer4, scale: vec4<f32>, bias: vec4<f32> }
// An infinite scale by PyTorch's order of operations, x * alpha + (bias - mean * alpha): that is a map without a mean.
fn map_of(by: Normalizer4, scale: vec4<f32>, bias: vec4<f32>) -> Map4 {
    if !FOLDED { return Map4(by, scale, bias); }
    let folds = magnitude_bits4(scale) == vec4(p.divisor.folded_scale);
    let alpha = by.r * scale;
    let no = vec4(0.0);
    let made = Normalizer4(by.k, select(by.mean, no, folds), select(by.rest, no, folds), select(by.r, alpha, folds));
    return Map4(made, select(scale, vec4(1.0), folds), select(bias, bias - by.mean * alpha, folds));
}
fn mapped4(x: vec4<f32>, m: Map4) -> vec4<f32> {
    return fma(seen4(fma(fma(x, m.by.k, -m.by.mean), m.by.r, m.by.rest)), m.scale, m.bias);
}

// Vector j of a row, or what of it is the row's: x was normalized, y is the result.
fn put4(row: Row, j: u32, x: vec4<f32>, y: vec4<f32>) {
    if !TAILS { put_whole4(row, j, x, y); return; }
    let live = live4(row, j);
    if all(live) { put_whole4(row, j, x, y); return; }
    keep4(row, j, live, x);
    give_some4(row, j, live, y);
}
fn put_whole4(row: Row, j: u32, x: vec4<f32>, y: vec4<f32>) {
    keep4(row, j, vec4(true), x);
    give4(row, j, y);
}
