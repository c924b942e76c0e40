// Normalizes rows whose elements all belong to one segment.
//
//   for each row, tile of it                                     (some lanes each, the last first)
//       x = VECTORS vectors a lane, all loads at once            one by one in tiles at the ends of a row
//       m = moments of the row's segment                         merged of its partial records, up to 64, by each
//                                                                subgroup for itself
//       y = (x - mean(m)) / divisor(m) * scale + bias            scale and bias looked up when y is stored
//
// Departures:
// 1. The reverse of the order in which the moments were reduced: what was read last is still in the cache.
// 2. Moments that were merged here are stored (SAVE) by the group of lanes that has the first tile of the segment's
//    first row.
// 3. Rows that share words of the output are written by vectors of memory all the same (lib/edges/shared.wgsl).
//
// Rows are a window of the tensor's, and may be parts of rows: first_row and first_column count what lies before.
//
// bindings: parameters, input (read), partials (read), scale? (read), bias? (read), output (write), moments? (write)

override SIDE: u32 = 8u;          // neighbouring lanes that have neighbouring vectors; those of a lane are SIDE apart
override MERGES: bool = false;    // whether there may be several records of a segment
override SAVE: bool = false;

struct MapRows {
    statistics: Lookup,
    rows: u32,
    width: u32,
    tiles: u32,        // tiles of a row
    first_row: u32,
    first_column: u32,  // of a window that is a part of a row: not 0 where it begins inside the row
}

fn run(group: u32, local: u32) {
    enter_lanes(local);
    let tiles = p.map_rows.rows * p.map_rows.tiles;
    let forth = group * rows_of_workgroup() + me.group;
    let there = forth < tiles;
    let unit = tiles - 1u - min(forth, tiles - 1u);
    let n = unit / p.map_rows.tiles;
    let first = (unit % p.map_rows.tiles * lanes() + me.lane / SIDE * SIDE) * VECTORS + me.lane % SIDE;
    let row = row_at(n * p.map_rows.width, p.map_rows.width);
    let segment = lookup_row(p.map_rows.statistics, p.map_rows.first_row + n);
    // whether all that the lane is dealt is the row's
    let whole = ((first > 0u) | (row.head == 0u)) & (first + (VECTORS - 1u) * SIDE < (row.head + row.width) / 4u);
    var packed: array<Taken, VECTORS>;
    for (var k = 0u; k < VECTORS; k += 1u) { packed[k] = fetch4(row, clamped(row, first + k * SIDE)); }
    let moments = merged_by_lanes(segment);
    look_beside(n);
    if !there { return; }
    let by = normalizer(moments);
    let four = splat_normalizer(by);
    let at = affine_at(n);
    if SAVE && me.lane == 0u && unit % p.map_rows.tiles == 0u && opens_segment(n) { store_moments(segment, moments); }
    if whole {
        for (var k = 0u; k < VECTORS; k += 1u) {
            let j = first + k * SIDE;
            let x = taken4(packed[k]);
            put_whole4(row, j, x, mapped4(x, map_at(at, row, j, four)));
        }
    } else {
        for (var j = first; j < min(first + VECTORS * SIDE, vectors_of(row)); j += SIDE) {
            put_edge(n, at, row, j, four);
        }
    }
}
fn map_at(at: Parameters4, row: Row, j: u32, by: Normalizer4) -> Map4 {
    return map_of(by, scale4(at, row, j), bias4(at, row, j));
}

// Whether row n of the window is the first of its segment.
fn opens_segment(n: u32) -> bool {
    let l = p.map_rows.statistics;
    let m = p.map_rows.first_row + n;
    let outer = select(0u, m / l.outer_div * l.outer_div, l.outer_mul > 0u);
    let inner = select(0u, m / l.inner_div % l.inner_mod * l.inner_div, l.inner_mul > 0u);
    return (p.map_rows.first_column == 0u) & (m == outer + inner);
}

// Uniform control flow.
fn merged_by_lanes(segment: u32) -> vec4<f32> {
    let base = partial_at(segment, 0u);
    if !MERGES || p.partials.count == 1u { return base; }
    let own = me.lane & (joined() - 1u);
    var means = vec2(0.0);
    for (var slice = own; slice < p.partials.count; slice += joined()) {
        means += gather_means(base, partial_at(segment, slice));
    }
    means = sum2_lanes(means, 0u);
    var squares = 0.0;
    for (var slice = own; slice < p.partials.count; slice += joined()) {
        squares += gather_squares(base, partial_at(segment, slice), means);
    }
    let all = gathered(base, means, sum_lanes(squares, 1u));
    if is_lossy(all) { return merged_carefully(segment); }
    return all;
}
