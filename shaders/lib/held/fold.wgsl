// y from deviations in registers, where an infinite scale has to be folded with the mean, as PyTorch does: y takes the
// place of x, and is stored once all of the lane's are seen to be finite; a lane that has others computes its elements
// again.
fn forward(stores: bool, m: Measured) {
    if !stores { return; }
    save_all(m, vec4(127u));
    let r = four(inverses(m));
    enter_affine();
    var nothing = vec4(0.0);
    for (var k = 0u; k < VECTORS; k += 1u) {
        held[k] = fma(seen4(held[k] * r), scale_of(k), bias_of(k));
        nothing = fma(held[k], vec4(p.exact.nothing), nothing);
    }
    if all(nothing == vec4(0.0)) {
        for (var k = 0u; k < VECTORS; k += 1u) { output4(k, held[k]); }
    } else {
        for (var k = 0u; k < p.held.turns; k += 1u) { output4(k, affine4(k, input4(k), m, r)); }
    }
}
