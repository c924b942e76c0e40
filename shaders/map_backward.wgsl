// The gradient to every input element, from the coefficients of its segment; and, where asked, sums of columns for
// scale and bias.
//
//   for each tile of columns, slice of rows, block of rows                          (a workgroup each, the last first)
//       each lane: VECTORS vectors of a row, of rows line, line + LINES, ...            ROWS rows at once
//           g = grad_output * scale
//           grad_input = (g - mean(g) - x_hat * mean(g * x_hat) * slope) * r            as lib/coefficients.wgsl has it
//           column sums of bias += grad_output,  of scale += grad_output * x_hat        (SUMS)
//       partial[block, slice] = column sums of all lines                                merge_columns adds them up
// Departures:
// 1. The reverse of the order in which the sums were made: what was read last is still in the cache.
// 2. What belongs to columns is held from row to row of a block (STATISTICS, AFFINE: COLUMNS, MIXED), what belongs to
//    rows (ROW) is looked up: kernels of the first kind take 4 rows of one vector at once, others one row of 4 vectors.
// 3. Coefficients are merged of partial sums by each workgroup for itself, or stored before, or (GIVEN) those of
//    constants: grad_input = g * r, without x. See lib/known/.
// 4. Workgroups before the first one merge the gradients of scale and bias (MERGES_AFFINE), beside all others.
// 5. Lanes past the end of a row and rows past the end of a slice take what is there, and store nothing.
//
// bindings: parameters, [input], grad_output, coefficients | moments and partials | moments, [scale] (read),
// grad_input, [column_sums, or grad_scale and grad_bias] (write)

struct MapBackward {
    statistics: Lookup,
    rows: u32,          // of a block
    width: u32,
    tiles: u32,         // tiles of a row
    slices: u32,        // slices of a block
    slice_rows: u32,
    groups: u32,        // workgroups
    first_row: u32,     // rows and columns before the window
    first_column: u32,
}
override WORKGROUP: u32 = 256u;
override LANES: u32 = 64u;               // side by side; WORKGROUP / LANES lines below one another
override STATISTICS: u32 = 0u;           // as AFFINE: ROW, COLUMNS, MIXED
override FULL: bool = false;             // every lane's vectors are whole and the row's
override SUMS: bool = false;
struct Me { lane: u32, group: u32 }      // group: the line
var<private> me: Me;
// The segment of a run of columns of a row, both numbered from the tensor's start.
fn segment_at(n: u32, run: u32) -> u32 {
    let first = lookup_row(p.map_backward.statistics, n);
    if STATISTICS == ROW { return first; }
    if STATISTICS == COLUMNS { return first + run; }
    return first + run % p.map_backward.statistics.wrap;
}
fn run_of(column: u32) -> u32 {
    let c = p.map_backward.first_column + column;
    if STATISTICS == MIXED { return c / p.map_backward.statistics.run; }
    return c;
}
fn row_of(n: u32) -> Row { return row_at(n * p.map_backward.width, p.map_backward.width); }
var<private> first_vector: u32;
fn lane_vector(v: u32) -> u32 { return first_vector + v * LANES; }
fn vector_of(row: Row, v: u32) -> u32 { return select(clamped(row, lane_vector(v)), lane_vector(v), FULL); }
fn is_here(row: Row, v: u32) -> vec4<bool> {
    if FULL { return vec4(true); }
    return live4(row, lane_vector(v));
}
// Of ROWS rows from `first` on; the first ones are on their way while coefficients are merged.
var<private> packed_x: array<Taken, ROWS * VECTORS>;
var<private> packed_g: array<Given, ROWS * VECTORS>;
fn load(base: u32, first: u32, end: u32) {
    if first >= end { return; }
    for (var q = 0u; q < ROWS; q += 1u) {
        let row = row_of(base + min(first + q * (WORKGROUP / LANES), end - 1u));
        for (var v = 0u; v < VECTORS; v += 1u) {
            if !GIVEN || SUMS { packed_x[q * VECTORS + v] = fetch4(row, vector_of(row, v)); }
            packed_g[q * VECTORS + v] = fetch_grad4(row, vector_of(row, v));
        }
    }
}
fn run(group: u32, local: u32) {
    if group >= p.places.workgroups { return; }  // a grid in two dimensions may have some too many
    if group < affine_groups() { merge_affine(group, local); return; }
    me = Me(local % LANES, local / LANES);
    let lines = WORKGROUP / LANES;
    let index = p.map_backward.groups - 1u - (group - affine_groups());
    let tile = index % p.map_backward.tiles * (LANES * VECTORS);
    first_vector = tile + me.lane;
    let slice = index / p.map_backward.tiles;
    let base = slice / p.map_backward.slices * p.map_backward.rows;
    let begin = slice % p.map_backward.slices * p.map_backward.slice_rows;
    let end = min(begin + p.map_backward.slice_rows, p.map_backward.rows);
    let top = row_of(base + min(begin, p.map_backward.rows - 1u));
    let parameters = affine_at(base + min(begin, p.map_backward.rows - 1u));
    let n = p.map_backward.first_row + base;
    var first = begin + me.group;
    load(base, first, end);
    if STATISTICS == ROW {
        know(local, n, n + begin, n + end - 1u);
    } else {
        know(local, n, run_of(4u * tile - min(4u * tile, top.head)), run_of(top.width - 1u));
    }
    var held: array<Coefficients4, VECTORS>;
    var scale: array<vec4<f32>, VECTORS>;
    var d_scale: array<vec4<f32>, VECTORS>;
    var d_bias: array<vec4<f32>, VECTORS>;
    for (var v = 0u; v < VECTORS; v += 1u) {
        if STATISTICS != ROW { held[v] = coefficients_of(n, top, v); }
        scale[v] = scale4(parameters, top, vector_of(top, v));
    }
    var rare = false;
    while first < end {
        for (var q = 0u; q < ROWS; q += 1u) {
            let r = min(first + q * lines, end - 1u);
            let row = row_of(base + r);
            var own: Coefficients4;
            if STATISTICS == ROW { own = coefficients_of(n + r, row, 0u); }
            var weight = vec4(1.0);
            if AFFINE == ROW { weight = vec4(scale_at(n + r)); }
            for (var v = 0u; v < VECTORS; v += 1u) {
                let x = taken4(packed_x[q * VECTORS + v]);
                let g = given4(packed_g[q * VECTORS + v]);
                if STATISTICS != ROW { own = held[v]; }
                if AFFINE != ROW { weight = scale[v]; }
                if SUMS {
                    let here = is_here(row, v) & vec4(first + q * lines < end);
                    let dy = select(vec4(0.0), g, here);
                    d_bias[v] += dy;
                    let x_hat = seen4(hat_of_coefficients4(x, own.by));
                    d_scale[v] = select(d_scale[v], fma(dy, x_hat, d_scale[v]), here);
                }
                let weighed = select(g * weight, g, SCALE_LAST);
                var u = weighed * own.by.r * own.by.k;
                if !GIVEN { u = input_gradient4(x, weighed, own); }
                if SCALE_LAST { u *= weight; }
                let ordinary = GIVEN | are_common(own.by);
                rare |= !ordinary;
                if (first + q * lines < end) & ordinary { give_gradient4(row, lane_vector(v), is_here(row, v), u); }
            }
        }
        first += ROWS * lines;
        load(base, first, end);
    }
    if rare { map_again(base, n, begin + me.group, end); }
    let again = join_columns(&d_scale, &d_bias, local);
    for (var v = 0u; v < VECTORS && SUMS; v += 1u) {
        var sums = mat2x4(d_scale[v], d_bias[v]);
        if again { sums = tiny_columns(sums, columns_again(base, n, begin + me.group, end, v), local, LANES); }
        if me.group == 0u {
            leave_scale(slice, parameters.first, top, lane_vector(v), sums[0]);
            leave_bias(slice, parameters.first, top, lane_vector(v), sums[1]);
        }
    }
}
