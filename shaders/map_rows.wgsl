// Normalizes rows whose elements all belong to one segment.
//
//   for each row, tile of it                                     (LANES lanes each, the last first)
//       x = VECTORS vectors a lane, all loads at once
//       m = moments of the row's segment                         merged of its partial records, up to 64
//       y = (x - mean(m)) / divisor(m) * scale + bias            scale and bias looked up when y is stored
//
// Departures:
// 1. The reverse of the order in which the moments were reduced: what was read last is still in the cache.
// 2. Where an infinite scale has to be folded with the mean (FOLDED), y takes the place of x, and is stored once all of the lane's are
//    seen to be finite; a lane that has others computes its elements again.
// 3. Moments that were merged here are stored (SAVE) by the group of lanes that has the first tile of the segment's first row.
//
// Rows are a window of the tensor's, and may be parts of rows: first_row and first_column count what lies before.
//
// bindings: parameters, input (read), partials (read), scale? (read), bias? (read), output (write), moments? (write)

const VECTORS = 4u;
const SLOTS = 2u;
override SAVE: bool = false;

struct MapRows {
    statistics: Lookup,
    rows: u32,
    width: u32,
    tiles: u32,        // tiles of a row
    first_row: u32,
    first_column: u32,
}

fn run(group: u32, local: u32) {
    enter_lanes(local);
    let tiles = p.map_rows.rows * p.map_rows.tiles;
    let forth = group * (WORKGROUP / LANES) + me.group;
    let there = forth < tiles;
    let unit = tiles - 1u - min(forth, tiles - 1u);
    let n = unit / p.map_rows.tiles;
    let first = unit % p.map_rows.tiles * (LANES * VECTORS) + me.lane;
    let row = row_at(n * p.map_rows.width, p.map_rows.width);
    let vectors = vectors_of(row);
    var x: array<vec4<f32>, VECTORS>;
    for (var k = 0u; k < VECTORS; k += 1u) { x[k] = take4(row, clamped(first + k * LANES, vectors)); }
    let segment = lookup_row(p.map_rows.statistics, p.map_rows.first_row + n);
    let moments = merged_by_lanes(segment);
    if !there { return; }
    let by = normalizer(moments);
    let four = normalizers(by, by, by, by);
    let at = affine_at(n);
    if SAVE && me.lane == 0u && unit % p.map_rows.tiles == 0u && opens_segment(n) { store_moments(segment, moments); }
    var nothing = vec4(0.0);
    for (var k = 0u; k < VECTORS; k += 1u) {
        let j = first + k * LANES;
        let c = clamped(j, vectors);
        x[k] = normalized4(x[k], four, scale4(at, row, c), bias4(at, row, c));
        if !FOLDED && (FULL || j < vectors) { put4(row, j, x[k]); }
        if FOLDED { nothing = nothing_of(x[k], nothing); }
    }
    if !FOLDED { return; }
    let plain = all(nothing == vec4(0.0));
    for (var k = 0u; k < VECTORS; k += 1u) {
        let j = first + k * LANES;
        let c = clamped(j, vectors);
        if !plain { x[k] = carefully4(take4(row, c), four, scale4(at, row, c), bias4(at, row, c)); }
        if FULL || j < vectors { put4(row, j, x[k]); }
    }
}

fn clamped(j: u32, vectors: u32) -> u32 { return select(min(j, vectors - 1u), j, FULL); }

// Whether row n of the window is the first of its segment.
fn opens_segment(n: u32) -> bool {
    let l = p.map_rows.statistics;
    let m = p.map_rows.first_row + n;
    return p.map_rows.first_column == 0u && m == m / l.outer_div * l.outer_div + m / l.inner_div % l.inner_mod * l.inner_div;
}

// By the lanes of a group. Uniform control flow.
fn merged_by_lanes(segment: u32) -> vec4<f32> {
    let base = partial_at(segment, 0u);
    if p.partials.count == 1u { return base; }
    var means = vec2(0.0);
    for (var slice = me.lane; slice < p.partials.count; slice += LANES) { means += gather_means(base, partial_at(segment, slice)); }
    means = sum2_lanes(means, 0u);
    var squares = 0.0;
    for (var slice = me.lane; slice < p.partials.count; slice += LANES) {
        squares += gather_squares(base, partial_at(segment, slice), means);
    }
    let all = gathered(base, means, sum_lanes(squares, 1u));
    if is_lossy(all) { return merged_carefully(segment); }
    return all;
}
