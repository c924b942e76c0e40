// Merges the partial records of each segment, in a fixed order.
//
//   statistics[segment] = combine partials[p][segment * fold + f] over p < slices, f < fold
//
// LANES invocations own a segment, WORKGROUP_SIZE / LANES segments a workgroup. No partial record at all leaves the
// identity (count 0).
//
// bindings: params, partials (read), statistics (write)

// Records make links of 16: short chains keep the rounding small.
const LINK = 16u;

fn merge_chain(first: u32, count: u32, lane: u32) -> vec4<f32> {
    var acc = vec4<f32>(0.0);
    var k = lane;
    while k < count {
        var link = vec4<f32>(0.0);
        for (var i = 0u; i < LINK && k < count; i += 1u) {
            link = acc_combine(link, load_partials(k / params.fold * params.record_stride + first + k % params.fold));
            k += LANES;
        }
        acc = acc_combine(acc, link);
    }
    return acc;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let lane = local % LANES;
    let segment = workgroup_index(workgroup, workgroups) * (WORKGROUP_SIZE / LANES) + local / LANES;
    let live = segment < params.segments;
    let count = select(0u, params.slices * params.fold, live);
    let acc = combine_lanes(merge_chain(segment * params.fold, count, lane), local, lane, 1u);
    if live && lane == 0u { store_statistics(segment, acc); }
}
