// Vectors at the edges of rows that share words of what is written: each is that of the row in which it begins, which
// writes what the next row has of it too. Halves of words that are nobody's stay as they are.
var<private> next_moments: vec4<f32>;   // of the next row's segment
// Uniform control flow.
fn look_beside(n: u32) {
    let next = min(n + 1u, p.map_rows.rows - 1u);
    next_moments = merged_by_lanes(lookup_row(p.map_rows.statistics, p.map_rows.first_row + next));
}
fn put_edge(n: u32, at: Parameters4, row: Row, j: u32, by: Normalizer4) {
    if (j == 0u) & (row.head > 0u) & (n > 0u) { return; }
    var live = live4(row, j);
    var y = mapped4(take4(row, j), map_at(at, row, j, by));
    if !live.w & (n + 1u < p.map_rows.rows) {
        let next = row_at(row.first + row.width, row.width);
        let by_its = splat_normalizer(normalizer(next_moments));
        let at_its = affine_at(n + 1u);
        let x = take4(next, 0u);
        let own = live4(next, 0u);
        y = select(y, mapped4(x, map_at(at_its, next, 0u, by_its)), own);
        live |= own;
    }
    give_halves4(row, j, live, y);
}
