// Reduces slices of interleaved segments: neighbouring elements of a row belong to neighbouring segments.
//
//   for each tile of columns, slice of rows, block of rows                        (a workgroup each)
//       each lane (column, line): for rows line, line + LINES, ... of the slice    FLIGHT rows at once
//           partial[4 columns] += what the source makes of them
//       whole[4 columns] = partials of all lines (and of neighbouring columns of one segment)
//       record[slice][segment] = whole
//
// Departures:
// 1. A whole that lost digits (is_rare) is reduced once more, in other units: two more walks, of the slice alone.
// 2. A tile holds whole segments: where `fold` neighbouring columns are one segment's, some lanes may idle.
//
// A workgroup owns the records of its tile, slice and block. What is added up says lib/source/.
//
// bindings: parameters, [those of the source (read)], partials (read and write)

fn row_of(outer: u32, row: u32) -> Row {
    return row_at((outer * p.columns.rows + row) * p.columns.width, p.columns.width);
}
// Rows of the walk, from the tensor's start.
fn number_of(outer: u32, row: u32) -> u32 { return p.columns.first_row + outer * p.columns.rows + row; }
fn fetched(outer: u32, row: u32, j: u32) -> Fetched { return fetch(number_of(outer, row), row_of(outer, row), j); }
fn walked(outer: u32, first: u32, end: u32, j: u32, known: Known) -> Partial {
    var m = partial_none();
    var chunk: array<Fetched, FLIGHT>;
    var row = first;
    for (; row + (FLIGHT - 1u) * LINES < end; row += FLIGHT * LINES) {
        for (var k = 0u; k < FLIGHT; k += 1u) { chunk[k] = fetched(outer, row + k * LINES, j); }
        m = partial_push(m, &chunk, known);
    }
    // rows past the end are the first of their chunk once more
    for (; row < end; row += FLIGHT * LINES) {
        for (var k = 0u; k < FLIGHT; k += 1u) {
            chunk[k] = fetched(outer, select(row, row + k * LINES, row + k * LINES < end), j);
        }
        for (var k = 0u; k < FLIGHT; k += 1u) { m = partial_push_some(m, chunk[k], row + k * LINES < end, known); }
    }
    return m;
}
fn extremes_of(outer: u32, first: u32, end: u32, j: u32) -> Extremes {
    var e = extremes_none();
    for (var row = first; row < end; row += LINES) { e = extremes_push(e, fetched(outer, row, j), vec4(true)); }
    return e;
}

fn run(group: u32, local: u32) {
    if group >= p.places.workgroups { return; }  // a grid in two dimensions may have some too many
    me = Me(local, local % LANES, local / LANES);
    let tile = group % p.columns.tiles;
    let slice = group / p.columns.tiles % p.slices.count;
    let outer = group / p.columns.tiles / p.slices.count;
    let vectors = (p.columns.width + 3u) / 4u;
    let vector = tile * p.columns.tile + me.column;
    let j = min(vector, vectors - 1u);
    let first = slice * p.slices.len + me.line;
    let end = min((slice + 1u) * p.slices.len, p.columns.rows);
    taken = end - min(slice * p.slices.len, end);
    var known = known_at(number_of(outer, 0u), row_of(outer, 0u), j);
    var whole: Whole;
    for (var attempt = 0u; attempt < attempts(); attempt += 1u) {
        whole = joined(whole, whole_of(walked(outer, first, end, j, known), known), attempt);
        if attempt + 1u == attempts() || !any_lanes(is_rare(whole, known, attempt)) { break; }
        known = known_again(known, extremes_of(outer, first, end, j), attempt);
    }
    if me.line > 0u || me.column >= p.columns.tile { return; }
    for (var e = 0u; e < 4u; e += 1u) {
        let column = 4u * vector + e;
        if column < p.columns.width && (!FOLDS || column == fold_start(column)) {
            let segment = outer * (p.columns.width / p.columns.fold) + column / p.columns.fold;
            leave(slice, segment, record_of(whole, known, e));
        }
    }
}
