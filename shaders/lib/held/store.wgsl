// y from deviations in registers: each vector is stored as soon as it is there.
fn forward(stores: bool, m: Measured) {
    if !stores { return; }
    save_all(m, vec4(127u));
    let r = four(inverses(m));
    enter_affine();
    for (var k = 0u; k < VECTORS; k += 1u) { output4(k, fma(seen4(held[k] * r), scale_of(k), bias_of(k))); }
}
