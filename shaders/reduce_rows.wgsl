// Reduces slices of segments to records, each slice walked along its memory.
//
//   record[slice][segment] = accumulate x over slice of segment
//
// A segment is window.y blocks of window.w contiguous elements, window.z * window.w apart. LANES invocations own a slice,
// WORKGROUP_SIZE / LANES segments a workgroup; workgroups count slices fastest within a run of segments.
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
    let lane = local % LANES;
    let index = workgroup_index(workgroup, workgroups);
    let slice = index % params.slices;
    let segment = index / params.slices * (WORKGROUP_SIZE / LANES) + local / LANES;
    let live = segment < params.segments;
    let outer = segment / params.window.z;
    let first = (outer * params.window.y * params.window.z + segment % params.window.z) * params.window.w;
    let length = params.window.y * params.window.w;
    let begin = min(slice * params.slice_len, length);
    let end = select(begin, min(begin + params.slice_len, length), live);
    let acc = combine_lanes(walk_reduce(first, begin, end, lane), local, lane, 1u);
    if live && lane == 0u {
        let record = slice * params.record_stride + params.record_first + segment;
        if params.accumulate == 1u {
            store_records(record, record_combine(load_records(record), acc));
        } else {
            store_records(record, acc);
        }
    }
}
