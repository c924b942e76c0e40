// y of rows of an odd number of halves: see lib/pairs.wgsl. It takes the place of x, so that lanes can lend what their
// neighbours' words need before they store. Where an infinite scale is folded with the mean, elements that are not
// finite are computed again.
fn forward(stores: bool, m: Measured) {
    if stores { save_all(m, vec4(127u)); }
    let r = four(inverses(m));
    enter_affine();
    let finite = affine_in_place(r);
    if FOLDED && !finite {
        for (var k = 0u; k < VECTORS; k += 1u) { held[k] = affine4(k, input4(k), m, r); }
    }
    for (var k = 0u; k < VECTORS; k += 1u) { lend(k, held[k]); }
    workgroupBarrier();
    if !stores { return; }
    for (var k = 0u; k < VECTORS; k += 1u) { join(k, held[k]); }
}
// y of what is read again, with moments in units.
fn forward_streaming(stores: bool, m: Measured, r: vec4<f32>, unit: Bits) {
    enter_affine();
    if stores { save_all(m, four_bits(unit)); }
    for (var k = 0u; k < p.held.turns; k += 1u) {
        lend(k, affine4(k, in_units4(input4(k), four_bits(unit)), m, r));
    }
    workgroupBarrier();
    for (var k = 0u; stores && k < p.held.turns; k += 1u) {
        join(k, affine4(k, in_units4(input4(k), four_bits(unit)), m, r));
    }
}
fn columns_in_row(k: u32) -> vec4<u32> { return columns_of(here, vector(k)) + vec4(here.first - start); }
fn is_second() -> bool { return me.group % 2u == 1u; }
fn lend(k: u32, y: vec4<f32>) { lend4(me.group / 2u, is_second(), columns_in_row(k), live(k), y); }
fn join(k: u32, y: vec4<f32>) {
    let words = joined4(me.group / 2u, is_second(), columns_in_row(k), y);
    give_some4(here, vector(k), words_of4(is_second(), live(k)), words);
}
