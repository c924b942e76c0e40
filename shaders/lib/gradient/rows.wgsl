// The rows of a step that are ordinary, stored by the lanes that hold them; one that is done again.
fn agree(ordinary: ptr<function, array<bool, ROWS>>) {}
fn store_rows(at: Worker, place: u32, ordinary: array<bool, ROWS>, g: ptr<function, Tile>) {
    for (var r = 0u; r < ROWS; r += 1u) {
        let row = row_of(at, place + r);
        if ordinary[r] & is_row(place + r) {
            for (var v = 0u; v < VECTORS; v += 1u) {
                give_gradient4(row, lane_vector(v), is_here(row, v), (*g)[r * VECTORS + v]);
            }
        }
    }
}
fn store_again(stores: bool, segment: u32, parameters: Parameters4, all: Coefficients) {
    let row = row_of_segment(segment);
    for (var v = 0u; stores && v < VECTORS; v += 1u) {
        give_gradient4(row, lane_vector(v), is_here(row, v), gradient_again(row, v, parameters, all));
    }
}
