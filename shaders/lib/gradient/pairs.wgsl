// Rows of an odd number of halves: see lib/pairs.wgsl. A lane holds both rows of a pair, which are stored together or
// done again together, the first before the second.
fn agree(ordinary: ptr<function, array<bool, ROWS>>) {
    for (var r = 0u; r < ROWS; r += 2u) {
        let both = (*ordinary)[r] & (*ordinary)[r + 1u];
        (*ordinary)[r] = both;
        (*ordinary)[r + 1u] = both;
    }
}
fn store_rows(at: Worker, place: u32, ordinary: array<bool, ROWS>, g: ptr<function, Tile>) {
    workgroupBarrier();   // what an earlier step left has been read
    for (var r = 0u; r < ROWS; r += 1u) {
        let row = row_of(at, place + r);
        for (var v = 0u; v < VECTORS; v += 1u) {
            lend(row, r, v, (*g)[r * VECTORS + v]);
        }
    }
    workgroupBarrier();
    for (var r = 0u; r < ROWS; r += 1u) {
        let row = row_of(at, place + r);
        if ordinary[r] & is_row(place + r) {
            for (var v = 0u; v < VECTORS; v += 1u) { join(row, r, v, (*g)[r * VECTORS + v]); }
        }
    }
}
fn store_again(stores: bool, segment: u32, parameters: Parameters4, all: Coefficients) {
    let row = row_of_segment(segment);
    let r = segment % ROWS;
    for (var v = 0u; stores && v < VECTORS; v += 1u) { lend(row, r, v, gradient_again(row, v, parameters, all)); }
    workgroupBarrier();
    for (var v = 0u; stores && v < VECTORS; v += 1u) { join(row, r, v, gradient_again(row, v, parameters, all)); }
    workgroupBarrier();
}
// Of row r of those that a lane holds at once: compilers know which of a pair it is.
fn pair_of(r: u32) -> u32 { return me.group * (ROWS / 2u) + r / 2u; }
fn lend(row: Row, r: u32, v: u32, u: vec4<f32>) {
    lend4(pair_of(r), r % 2u == 1u, columns_of(row, lane_vector(v)), is_here(row, v), u);
}
fn join(row: Row, r: u32, v: u32, u: vec4<f32>) {
    let words = joined4(pair_of(r), r % 2u == 1u, columns_of(row, lane_vector(v)), u);
    give_gradient4(row, lane_vector(v), words_of4(r % 2u == 1u, is_here(row, v)), words);
}
