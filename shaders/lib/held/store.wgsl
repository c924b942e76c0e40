// y from deviations in registers: each vector is stored as soon as it is there.
fn forward(m: Measured) {
    save_all(m, vec4(127u));
    let r = four(inverses(m));
    enter_affine();
    for (var k = 0u; k < VECTORS; k += 1u) { output4(k, fma(seen4(held[k] * r), scale_of(k), bias_of(k))); }
}
// The same of an element that was read again.
fn affine4(k: u32, x: vec4<f32>, m: Measured, r: vec4<f32>) -> vec4<f32> {
    return fma(seen4(deviation4(x, m) * r), scale_of(k), bias_of(k));
}
