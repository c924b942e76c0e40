// Elements by the normalizers of four segments (or of one, four times), and what becomes of them.
// Whether an infinite scale is folded with the mean.
override FOLDED: bool = false;

fn joined_normalizers(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> Normalizer4 {
    let by = transpose(mat4x4(a, b, c, d));
    return Normalizer4(by[0], by[1], by[2], by[3]);
}
fn normalized4(x: vec4<f32>, by: Normalizer4, scale: vec4<f32>, bias: vec4<f32>) -> vec4<f32> {
    return fma(seen4(fma(fma(x, by.k, -by.mean), by.r, by.rest)), scale, bias);
}
// An infinite scale by PyTorch's order of operations: x * alpha + (bias - mean * alpha).
fn carefully4(x: vec4<f32>, by: Normalizer4, scale: vec4<f32>, bias: vec4<f32>) -> vec4<f32> {
    if !FOLDED { return normalized4(x, by, scale, bias); }
    let alpha = by.r * scale;
    let folded = x * by.k * alpha + (bias - by.mean * alpha);
    return select(normalized4(x, by, scale, bias), folded, magnitude_bits4(scale) == vec4(p.divisor.folded_scale));
}
// 0, or NaN where one of y is not finite.
fn nothing_of(y: vec4<f32>, before: vec4<f32>) -> vec4<f32> { return fma(y, vec4(p.exact.nothing), before); }

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
