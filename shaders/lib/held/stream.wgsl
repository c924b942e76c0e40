// y of what is read again, with moments in units.
fn forward_streaming(stores: bool, m: Measured, r: vec4<f32>, unit: Bits) {
    if !stores { return; }
    enter_affine();
    save_all(m, four_bits(unit));
    for (var k = 0u; k < p.held.turns; k += 1u) { output4(k, affine4(k, in_units4(input4(k), four_bits(unit)), m, r)); }
}
