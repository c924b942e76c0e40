// Normalizes whole segments that lie contiguous in memory, in one dispatch.
//
//   acc    = accumulate x over the segment            (LANES invocations, tree)
//   y[j]   = ((x[j] - shift) - rest) * inverse * scale + bias
//
// LANES invocations own a segment, WORKGROUP_SIZE / LANES segments a workgroup. The second reading of x comes
// from the cache. Invocations of a segment beyond the last walk nothing, but take part in every barrier.
//
// bindings: params, input (read), scale? (read), bias? (read), output (write), records? (write)

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let lane = local % LANES;
    let segment = workgroup_index(workgroup, workgroups) * (WORKGROUP_SIZE / LANES) + local / LANES;
    let live = segment < params.segments;
    let length = select(0u, params.slice_len, live);
    let first = segment * params.slice_len;
    let acc = combine_lanes(walk_reduce(first, 0u, length, lane), local, lane, 1u);
    if live && lane == 0u { store_records(segment, acc); }
    let by = normalizer(acc);
    var at = index_start(params.affine, first + lane);
    for (var j = lane; j < length; j += LANES) {
        let i = first + j;
        store_output(i, normalize(load_input(i), by, index_segment(params.affine, at)));
        at = index_step(params.affine, at);
    }
}
