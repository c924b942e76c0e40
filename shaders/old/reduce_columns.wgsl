// Reduces interleaved segments: neighbouring elements belong to neighbouring columns.
//
//   record[slice][outer * columns + column] = accumulate x[outer][row][column] over the rows of slice
//
// columns = window.z * window.w, rows = window.y. A workgroup is LANES rows of WORKGROUP_SIZE / LANES quads of columns: neighbouring
// invocations read neighbouring quads, each keeps its four columns and walks every LANES-th row, QUADS rows at a time; the rows of a
// column are then combined. Where rows are long, a workgroup takes params.turns (at most TURNS) such tiles of each block of rows in turn. Workgroups count column tiles fastest, then slices, then outer. Where window.w > 1
// the merge folds the columns.
//
// What an element adds to a record is the walk's business (lib/values.wgsl, lib/gradients.wgsl).
//
// bindings: params, input (read), [gradients: grad_output (read), statistics (read), scale? (read)], records (read and write)

// Chunks of a tile that are walked before the next tile.
const BLOCK = 8u;

fn run(group: u32, local: u32) {
    let lane = lane_of(local);
    let tile = 4u * lane_stride();
    let columns = params.window.z * params.window.w;
    let tiles = (columns + tile * params.turns - 1u) / (tile * params.turns);
    let at = divided(group, tiles);
    let first_column = at.y * tile * params.turns + 4u * (local % lane_stride());
    let outer_slice = divided(at.x, params.slices);
    let slice = outer_slice.y;
    let outer = outer_slice.x;
    let live = first_column < columns && outer < params.window.x;
    let start = slice * params.slice_len;
    let end = select(0u, min(start + params.slice_len, params.window.y), live);
    let first = select(0u, outer * params.window.y * columns, live);
    let top = run_at(first + min(start, params.window.y - 1u) * columns, columns);
    var sums: array<Partial, TURNS>;
    for (var turn = 0u; turn < params.turns; turn += 1u) {
        sums[held(turn)] = partial_start(top, column_at(first_column, turn, columns));
    }
    for (var block = start; block < end; block += BLOCK * QUADS * LANES) {
        let stop = min(block + BLOCK * QUADS * LANES, end);
        for (var turn = 0u; turn < params.turns; turn += 1u) {
            let column = column_at(first_column, turn, columns);
            let known = known_at(top, top.first + column);
            var sum = sums[held(turn)];
            for (var row = block + lane.lane; row < stop; row += QUADS * LANES) {
                sum = partial_push(sum, span_across(first, row, LANES, end, column, columns), known);
            }
            sums[held(turn)] = sum;
        }
    }
    for (var turn = 0u; turn < params.turns; turn += 1u) {
        let all = partial_lanes(sums[held(turn)], lane);
        let column = first_column + turn * tile;
        let there = live && lane.lane == 0u && column < columns;
        let record = slice * params.record_stride + params.record_first + outer * columns + column;
        for (var e = 0u; e < select(0u, min(4u, columns - column), there); e += 1u) {
            var merged = all;
            if RESUMES { merged = partial_combine(partial_of(load_records(record + e)), all); }
            store_records(record + e, partial_record(merged, e));
        }
    }
}

// One turn needs no array.
fn held(turn: u32) -> u32 {
    return select(turn, 0u, TURNS == 1u);
}

// The quad of columns of a turn, or the last.
fn column_at(first: u32, turn: u32, columns: u32) -> u32 {
    return min(first + turn * 4u * lane_stride(), (columns - 1u) / 4u * 4u);
}
