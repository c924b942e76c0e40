// y from deviations in registers: each vector is stored as soon as it is there. All are normalized before the first
// scale is asked for: no register holds the divisor meanwhile.
fn forward(stores: bool, m: Measured) {
    if !stores { return; }
    save_all(m, vec4(127u));
    let r = four(inverses(m));
    for (var k = 0u; k < VECTORS; k += 1u) { held[k] = seen4(held[k] * r); }
    enter_affine();
    for (var k = 0u; k < VECTORS; k += 1u) { output4(k, fma(held[k], scale_of(k), bias_of(k))); }
}
