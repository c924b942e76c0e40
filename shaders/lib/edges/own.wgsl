// Vectors of which some elements may not be the row's.
fn look_beside(n: u32) {}
fn put_edge(n: u32, at: Parameters4, row: Row, j: u32, by: Normalizer4) {
    let x = take4(row, j);
    put4(row, j, x, mapped4(x, map_at(at, row, j, by)));
}
