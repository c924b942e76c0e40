// Reduces interleaved segments: neighbouring elements belong to neighbouring columns.
//
//   record[slice][outer * columns + column] = accumulate x[outer][row][column] over the rows of slice
//
// columns = window.z * window.w, rows = window.y. A workgroup is LANES rows of WORKGROUP_SIZE / LANES quads of columns: neighbouring
// invocations read neighbouring quads, each keeps its four columns and walks every LANES-th row, QUADS rows at a time; the rows of a
// column are then combined. Workgroups count column tiles fastest, then slices, then outer. Where window.w > 1 the merge folds the columns.
//
// What an element adds to a record is the walk's business (lib/values.wgsl, lib/gradients.wgsl).
//
// bindings: params, input (read), [gradients: grad_output (read), statistics (read), scale? (read)], records (read and write)

// Links of a chain have 16 members: short chains keep the rounding small.
const LINK = 16u;

fn run(group: u32, local: u32) {
    let lane = lane_of(local);
    let tile = lane_stride();
    let columns = params.window.z * params.window.w;
    let tiles = (columns + 4u * tile - 1u) / (4u * tile);
    let wanted = 4u * (group % tiles * tile + local % tile);
    let slice = group / tiles % params.slices;
    let outer = group / tiles / params.slices;
    let live = wanted < columns && outer < params.window.x;
    let column = select(0u, wanted, live);
    let start = slice * params.slice_len;
    let end = select(0u, min(start + params.slice_len, params.window.y), live);
    let first = select(0u, outer * params.window.y * columns, live);
    let top = run_at(first + min(start, params.window.y - 1u) * columns, columns);
    let known = known_at(top, top.first + column);
    let none = partial_start(top, column);
    var sum = none;
    var link = none;
    var links = 0u;
    for (var row = start + lane.lane; row < end; row += QUADS * LANES) {
        link = partial_push(link, span_across(first, row, LANES, end, column, columns), known);
        links += 1u;
        if links % LINK == 0u {
            sum = partial_combine(sum, link);
            link = none;
        }
    }
    let all = partial_lanes(partial_combine(sum, link), lane);
    if !live || lane.lane != 0u { return; }
    let record = slice * params.record_stride + params.record_first + outer * columns + column;
    for (var e = 0u; e < min(4u, columns - column); e += 1u) {
        var merged = all;
        if params.accumulate == 1u { merged = partial_combine(partial_of(load_records(record + e)), all); }
        store_records(record + e, partial_record(merged, e));
    }
}
