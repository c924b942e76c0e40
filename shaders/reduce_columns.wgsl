// Reduces interleaved segments: neighbouring elements belong to neighbouring columns.
//
//   record[slice][outer * columns + column] = accumulate x[outer][row][column] over the rows of slice
//
// columns = window.z * window.w, rows = window.y. A workgroup is LANES rows of WORKGROUP_SIZE / LANES columns: neighbouring
// invocations read neighbouring columns, each keeps its column and walks every LANES-th row; the rows of a column are then
// combined. A row is a block of one element to the walk. Workgroups count column tiles fastest, then slices, then outer. Where window.w > 1 the merge folds the columns.
//
// What an element adds to a record is the walk's business (lib/values.wgsl, lib/gradients.wgsl).
//
// bindings: params, input (read), [gradients: grad_output (read), statistics (read), scale? (read)], records (read and write)

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = WORKGROUP_SIZE / LANES;
    let columns = params.window.z * params.window.w;
    let tiles = (columns + tile - 1u) / tile;
    let index = workgroup_index(workgroup, workgroups);
    let column = index % tiles * tile + local % tile;
    let slice = index / tiles % params.slices;
    let outer = index / tiles / params.slices;
    let lane = local / tile;
    let live = column < columns && outer < params.window.x;
    let begin = min(slice * params.slice_len, params.window.y);
    let end = select(begin, min(begin + params.slice_len, params.window.y), live);
    let first = outer * params.window.y * columns + column;
    let acc = combine_lanes(walk_reduce(first, begin, end, lane), local, lane, tile);
    if live && lane == 0u {
        let record = slice * params.record_stride + params.record_first + outer * columns + column;
        if params.accumulate == 1u {
            store_records(record, record_combine(load_records(record), acc));
        } else {
            store_records(record, acc);
        }
    }
}
