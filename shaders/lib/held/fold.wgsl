// y where an infinite scale has to be folded with the mean, as PyTorch does: it is stored once all of the lane's are
// seen to be finite; a lane that has others computes its elements again.
fn forward(stores: bool, m: Measured) {
    if !stores { return; }
    save_all(m, vec4(127u));
    let r = four(inverses(m));
    enter_affine();
    if affine_in_place(r) {
        for (var k = 0u; k < VECTORS; k += 1u) { output4(k, held[k]); }
    } else {
        for (var k = 0u; k < p.held.turns; k += 1u) { output4(k, affine4(k, input4(k), m, r)); }
    }
}
