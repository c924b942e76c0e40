// Rows that a workgroup takes by grid stride: where they are, what normalizes them, the exchange of their sums, and the
// rare ones that are done again.

// the loop takes one half and the other: a barrier lies between two uses of a slot
const SLOTS = 2u * ((ROWS + 1u) / 2u);
override FULL: bool = false;             // every lane's vectors are whole and the row's
override TURNS: u32 = 8u;                // steps of a worker: TURNS * ROWS <= 32, the marks of its rows fill a word

struct Worker {
    block: u32,
    segment: u32,  // of the block's first row
    first: u32,    // its first row, of its first group
    stride: u32,   // rows from step to step
}
// A grid in two dimensions may have some workgroups too many: they have no rows.
fn worker_of(group: u32) -> Worker {
    let own = min(group, p.places.workgroups - 1u);
    let block = own / p.row_backward.workers;
    let number = own % p.row_backward.workers;
    let rows = WORKGROUP / LANES * ROWS;
    let segment = block / p.row_backward.parts * p.row_backward.rows * p.row_backward.parts
        + block % p.row_backward.parts;
    let first = select(p.row_backward.rows, number * rows, group == own);
    return Worker(block, segment, first, p.row_backward.workers * rows);
}
fn is_row(row: u32) -> bool { return row < p.row_backward.rows; }
fn segment_of(at: Worker, row: u32) -> u32 {
    return at.segment + min(row, p.row_backward.rows - 1u) * p.row_backward.parts;
}
// A row; from the lane's first element on where lanes are full: then their vectors' places differ by constants.
fn row_of(at: Worker, row: u32) -> Row { return row_of_segment(segment_of(at, row)); }
fn row_of_segment(segment: u32) -> Row {
    return row_at(segment * p.row_backward.width + before_lane(), p.row_backward.width);
}
fn before_lane() -> u32 { return select(0u, 4u * me.lane, FULL); }

// Vector v of a lane: in the columns, in its row, and past the end of that some vector that is there.
fn column_vector(v: u32) -> u32 { return me.lane + v * LANES; }
fn lane_vector(v: u32) -> u32 { return column_vector(v) - before_lane() / 4u; }
fn vector_of(row: Row, v: u32) -> u32 {
    if FULL { return lane_vector(v); }
    return clamped(row, lane_vector(v));
}
// Which of its elements are the row's.
fn is_here(row: Row, v: u32) -> vec4<bool> {
    if FULL { return vec4(true); }
    return live4(row, lane_vector(v));
}
fn column_scale4(at: Parameters4, row: Row, v: u32) -> vec4<f32> {
    if FULL { return scale4(at, row, column_vector(v)); }
    return scale4(at, row, vector_of(row, v));
}
// The first element, by a row of it alone.
fn first_of(row: Row) -> f32 {
    let one = row_at(row.first - before_lane(), 1u);
    return grad4(one, 0u)[one.head];
}

// What normalizes the rows of all steps of all groups, a lane a row.
override KNOWN: u32 = WORKGROUP / LANES * TURNS * ROWS;
var<workgroup> normalizers: array<vec4<f32>, KNOWN>;
var<workgroup> slopes: array<vec2<f32>, KNOWN>;

fn know(at: Worker, local: u32) {
    for (var i = local; i < KNOWN; i += WORKGROUP) {
        let record = load_moments(segment_of(at, row_of_mark(at, i / (TURNS * ROWS), i % (TURNS * ROWS))));
        let by = normalizer(record);
        normalizers[i] = by;
        slopes[i] = slope(record, by);
    }
    workgroupBarrier();
}
fn slope_of_row(i: u32) -> vec2<f32> {
    if PLAIN { return vec2(1.0, 0.0); }
    return slopes[i];
}
fn row_of_mark(at: Worker, group: u32, mark: u32) -> u32 {
    return at.first + mark / ROWS * at.stride + group * ROWS + mark % ROWS;
}

// Two rows an exchange.
fn exchange(sums: ptr<function, array<vec2<f32>, ROWS>>, slot: u32) {
    if ROWS == 1u { (*sums)[0] = sum2_lanes((*sums)[0], slot); } else { exchange_pair(sums, 0u, slot); }
    if ROWS == 4u { exchange_pair(sums, 2u % ROWS, slot + 1u); }
}
fn exchange_pair(sums: ptr<function, array<vec2<f32>, ROWS>>, r: u32, slot: u32) {
    let both = sum4_lanes(vec4((*sums)[r], (*sums)[(r + 1u) % ROWS]), slot);
    (*sums)[r] = both.xy;
    (*sums)[(r + 1u) % ROWS] = both.zw;
}

// The marked rows, from what memory holds, their gradients multiplied with a power of two. The groups of a workgroup
// take their barriers together.
fn map_again(at: Worker, parameters: Parameters4, marks: u32) {
    var left = marks;
    for (var slot = 0u; any_lanes(left != 0u); slot = 1u - slot) {
        let segment = segment_of(at, row_of_mark(at, me.group, firstTrailingBit(left | 0x80000000u)));
        let row = row_of_segment(segment);
        let record = load_moments(segment);
        let by = splat_normalizer(normalizer(record));
        var fields = vec4(0u);
        for (var v = 0u; v < VECTORS; v += 1u) {
            let own = fields4(grad4(row, vector_of(row, v)), column_scale4(parameters, row, v));
            fields = max(fields, select(vec4(0u), own, is_here(row, v)));
        }
        let up = to_units(max_lanes(max(max(fields.x, fields.y), max(fields.z, fields.w)), slot));
        var sums = vec3(0.0);
        for (var v = 0u; v < VECTORS; v += 1u) {
            let here = is_here(row, v);
            let x = select(vec4(0.0), take4(row, vector_of(row, v)), here);
            let g = select(vec4(0.0), grad4(row, vector_of(row, v)) * up * column_scale4(parameters, row, v), here);
            sums += vec3(total(g), total(select(vec4(0.0), g * hat4(x, by), here)), total(g * x));
        }
        let whole = sum4_lanes(vec4(sums, 0.0), slot).xyz;
        let all = coefficients(record, sums_of(whole, up, f32(p.row_backward.width)));
        store_again(left != 0u, segment, parameters, all);
        left &= left - 1u;
    }
}
fn gradient_again(row: Row, v: u32, parameters: Parameters4, all: Coefficients) -> vec4<f32> {
    let x = take4(row, vector_of(row, v));
    let dy = grad4(row, vector_of(row, v));
    let scale = column_scale4(parameters, row, v);
    var u: vec4<f32>;
    for (var e = 0u; e < 4u; e += 1u) { u[e] = careful_gradient(x[e], dy[e], scale[e], all); }
    return u;
}
// The sums of vector v of the columns over a group's rows, lifted.
fn columns_again(at: Worker, v: u32) -> mat2x4<f32> {
    var sums = mat2x4<f32>();
    var known = me.group * TURNS * ROWS;
    for (var step = at.first; is_row(step); step += at.stride) {
        for (var r = 0u; r < ROWS; r += 1u) {
            let place = step + me.group * ROWS + r;
            let row = row_of(at, place);
            let here = is_here(row, v) & vec4(is_row(place));
            let by = splat_normalizer(normalizers[known + r]);
            let x_hat = hat4(take4(row, vector_of(row, v)), by);
            let dy = select(vec4(0.0), grad4(row, vector_of(row, v)) * LIFT, here);
            sums += mat2x4(dy * select(vec4(0.0), seen4(x_hat), here), dy);
        }
        known += ROWS;
    }
    return sums;
}
