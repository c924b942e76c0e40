// y from deviations in registers. All are normalized before a scale is read: no register holds the divisor then.
fn forward(stores: bool, m: Measured) {
    if !stores { return; }
    save_all(m, vec4(127u));
    let r = four(inverses(m));
    for (var k = 0u; k < VECTORS; k += 1u) { held[k] = seen4(held[k] * r); }
    enter_affine();
    for (var k = 0u; k < VECTORS; k += 1u) { output4(k, fma(held[k], scale_of(k), bias_of(k))); }
}
