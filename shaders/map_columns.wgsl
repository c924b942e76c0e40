// Normalizes rows whose elements belong to many segments, the same in many rows.
//   for each tile of columns, slice of rows, block of rows (a workgroup each, the last slice first)
//       m[segment] = moments of the tile's segments                      merged of their partial records, up to 64
//       each lane (column, line): by, scale, bias of its four columns    held from row to row
//       for rows line, line + LINES, ... of the slice                     ROWS rows at once, the last few one by one
//           y = (x - mean) / divisor * scale + bias
// Departures:
// 1. The reverse of the order in which the moments were reduced: what was read last is still in the cache.
// 2. Segments are merged by lanes of their own, p.map_columns.lines each, while the first rows are on their way.
// 3. Parameters that differ from row to row (not HELD) are looked up when y is computed.
// 4. Moments that were merged here are stored (SAVE) by the workgroup that has the segment's first element.
// bindings: parameters, input (read), partials (read), scale? (read), bias? (read), output (write), moments? (write)

override WORKGROUP: u32 = 256u;
override LANES: u32 = 16u;
override LINES: u32 = 16u;          // WORKGROUP / LANES
override SAVE: bool = false;
override HELD: bool = true;
override STATISTICS: u32 = 1u;      // as AFFINE: COLUMNS or MIXED
struct MapColumns {
    statistics: Lookup,
    rows: u32,         // rows of a block, which share segments
    width: u32,
    tile: u32,         // vectors of a row that a workgroup maps: LANES or fewer
    tiles: u32,        // tiles of a row
    slices: u32,       // slices of the rows of a block
    slice_rows: u32,
    segments: u32,     // most segments that a tile touches
    lines: u32,        // lanes that merge a segment: segments * lines <= WORKGROUP
    first_row: u32,
    first_column: u32,
}
struct Me { lane: u32 }
var<private> me: Me;
var<workgroup> exchanged: array<vec2<f32>, WORKGROUP>;
var<workgroup> found: array<vec4<f32>, 4u * LANES>;   // normalizers of the tile's segments
// Runs of a row, each of one segment.
fn run_of(column: u32) -> u32 { return (p.map_columns.first_column + column) / p.map_columns.statistics.run; }

// The moments of one segment, by `lines` lanes, the result valid in the first of them. Uniform control flow.
fn merged_by_lines(segment: u32, line: u32, own: u32) -> vec4<f32> {
    let base = partial_at(segment, 0u);
    let slices = p.partials.count;
    if slices == 1u { return base; }
    let lines = p.map_columns.lines;
    var means = vec2(0.0);
    for (var slice = line; slice < slices; slice += lines) { means += gather_means(base, partial_at(segment, slice)); }
    means = sum_lines(means, own);
    var squares = vec2(0.0);
    for (var slice = line; slice < slices; slice += lines) {
        squares.x += gather_squares(base, partial_at(segment, slice), means);
    }
    return gathered(base, means, sum_lines(squares, own).x);
}
fn sum_lines(x: vec2<f32>, own: u32) -> vec2<f32> {
    workgroupBarrier();
    exchanged[me.lane] = x;
    workgroupBarrier();
    var sum = vec2(0.0);
    for (var k = 0u; k < p.map_columns.lines; k += 1u) { sum += exchanged[own + k * p.map_columns.segments]; }
    return sum;
}
fn run(group: u32, local: u32) {
    me = Me(local);
    if group >= p.places.workgroups { return; }  // a grid in two dimensions may have some too many
    let tile = group % p.map_columns.tiles;
    let slice = p.map_columns.slices - 1u - group / p.map_columns.tiles % p.map_columns.slices;
    let block = group / p.map_columns.tiles / p.map_columns.slices;
    let first = p.map_columns.first_row + block * p.map_columns.rows;
    let first_run = run_of(4u * p.map_columns.tile * tile);
    let column = tile * p.map_columns.tile + local % LANES;
    let there = (local % LANES < p.map_columns.tile) & (column < (p.map_columns.width + 3u) / 4u);
    let start = slice * p.map_columns.slice_rows;
    let base = block * p.map_columns.rows;
    let end = base + min(start + p.map_columns.slice_rows, p.map_columns.rows);
    var r = base + start + local / LANES;
    if there { load(r, end, column); }
    find(lookup_row(p.map_columns.statistics, first), first_run, 4u * p.map_columns.tile * tile, slice == 0u);
    if !there { return; }
    let by = found4(column, first_run);
    if HELD { map = map_at(base + start, column, by); }
    while are_whole(r, end) {
        for (var q = 0u; q < ROWS; q += 1u) { put(r + q * LINES, column, taken4(packed[q]), by); }
        r += ROWS * LINES;
        load(r, end, column);
    }
    for (; r < end; r += LINES) { put(r, column, take4(row_of(r), column), by); }
}
// Of ROWS rows from r on, where so many are there.
var<private> packed: array<Taken, ROWS>;
fn are_whole(r: u32, end: u32) -> bool { return r + (ROWS - 1u) * LINES < end; }
fn load(r: u32, end: u32, column: u32) {
    if !are_whole(r, end) { return; }
    for (var q = 0u; q < ROWS; q += 1u) { packed[q] = fetch4(row_of(r + q * LINES), column); }
}
var<private> map: Map4;   // of the columns, or of the columns of a row
fn map_at(n: u32, column: u32, by: Normalizer4) -> Map4 {
    let at = affine_at(n);
    return map_of(by, scale4(at, row_of(n), column), bias4(at, row_of(n), column));
}
fn put(n: u32, column: u32, x: vec4<f32>, by: Normalizer4) {
    if !HELD { map = map_at(n, column, by); }
    put4(row_of(n), column, x, mapped4(x, map));
}
fn row_of(n: u32) -> Row { return row_at(n * p.map_columns.width, p.map_columns.width); }
// Normalizers of the segments of a tile, which are numbered from `base` on.
fn find(base: u32, first_run: u32, first_column: u32, saves: bool) {
    let l = p.map_columns.statistics;
    let i = me.lane % p.map_columns.segments;
    let run = min(first_run + i, run_of(p.map_columns.width - 1u));
    let segment = base + run % l.wrap;
    var moments = merged_by_lines(segment, me.lane / p.map_columns.segments, i);
    if me.lane < p.map_columns.segments {
        if (p.partials.count > 1u) & is_lossy(moments) { moments = merged_carefully(segment); }
        found[i] = normalizer(moments);
        let opens = run == first_run + i && run < l.wrap && run * l.run >= p.map_columns.first_column + first_column;
        if SAVE && saves && opens { store_moments(segment, moments); }
    }
    workgroupBarrier();
}
// Those of the four columns of a vector of the tile.
fn found4(vector: u32, first_run: u32) -> Normalizer4 {
    if STATISTICS == COLUMNS {
        let i = 4u * (me.lane % LANES);
        return joined_normalizers(found[i], found[i + 1u], found[i + 2u], found[i + 3u]);
    }
    let l = p.map_columns.statistics;
    var i = (run_of(4u * vector) - first_run) % l.wrap;
    var place = (p.map_columns.first_column + 4u * vector) % l.run;
    var four: array<vec4<f32>, 4>;
    for (var e = 0u; e < 4u; e += 1u) {
        four[e] = found[min(i, p.map_columns.segments - 1u)];
        place += 1u;
        if place == l.run { place = 0u; i = select(i + 1u, 0u, i + 1u == l.wrap); }
    }
    return joined_normalizers(four[0], four[1], four[2], four[3]);
}
