// Runs of a segment, stored by the lanes that hold them.
fn agreed(ordinary: bool) -> bool { return ordinary; }
fn store_runs(stores: bool, segment: u32, g: ptr<function, Tile>) {
    if !stores { return; }
    for (var t = 0u; t < RUNS; t += 1u) {
        let row = row_of(segment, t);
        for (var v = 0u; v < VECTORS; v += 1u) {
            give_gradient4(row, lane_vector(v), is_here(row, t, v), (*g)[t * VECTORS + v]);
        }
    }
}
fn store_again(stores: bool, segment: u32, all: Coefficients) {
    if !stores { return; }
    for (var t = p.exact.zero; t < RUNS; t += 1u) {
        let row = row_of(segment, t);
        for (var v = p.exact.zero; v < VECTORS; v += 1u) {
            give_gradient4(row, lane_vector(v), is_here(row, t, v), gradient_again(segment, t, v, all));
        }
    }
}
