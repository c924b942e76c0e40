// Segments of one run each, of an odd number of halves: see lib/pairs.wgsl. Where one of a workgroup is done again, all
// are.
fn agreed(ordinary: bool) -> bool { return !any_lanes(!ordinary); }
fn store_runs(stores: bool, segment: u32, g: ptr<function, Tile>) {
    for (var v = 0u; v < VECTORS; v += 1u) { lend(segment, v, (*g)[v]); }
    workgroupBarrier();
    if !stores { return; }
    for (var v = 0u; v < VECTORS; v += 1u) { join(segment, v, (*g)[v]); }
}
fn store_again(stores: bool, segment: u32, all: Coefficients) {
    for (var v = p.exact.zero; v < VECTORS; v += 1u) { lend(segment, v, gradient_again(segment, 0u, v, all)); }
    workgroupBarrier();
    if !stores { return; }
    for (var v = p.exact.zero; v < VECTORS; v += 1u) { join(segment, v, gradient_again(segment, 0u, v, all)); }
}
fn is_second() -> bool { return me.group % 2u == 1u; }
fn lend(segment: u32, v: u32, u: vec4<f32>) {
    let row = row_of(segment, 0u);
    lend4(me.group / 2u, is_second(), columns_of(row, lane_vector(v)), is_here(row, 0u, v), u);
}
fn join(segment: u32, v: u32, u: vec4<f32>) {
    let row = row_of(segment, 0u);
    let words = joined4(me.group / 2u, is_second(), columns_of(row, lane_vector(v)), u);
    give_gradient4(row, lane_vector(v), words_of4(is_second(), is_here(row, 0u, v)), words);
}
