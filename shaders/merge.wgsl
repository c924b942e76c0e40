// Merges records over a partition of them, in a fixed order.
//
//   records[segment] = combine partials[i] [times scale[a]] over the partial records i of the segment
//
// The partial records are the elements of the partition `window`: slices of segments, columns of segments, or segments of a
// finer partition that is folded into a coarser one (then weighted by the scale of their affine segment a, where one is
// bound). LANES invocations own a segment, WORKGROUP_SIZE / LANES segments a workgroup. A segment without partial records
// gets the identity (0).
//
// bindings: params, partials (read), scale? (read), records? (write), grad_scale? (write), grad_bias? (write)

fn merge_chain(first: u32, count: u32, lane: u32) -> vec4<f32> {
    var acc = vec4<f32>(0.0);
    var at = walk_start(lane);
    var k = lane;
    while k < count {
        var link = vec4<f32>(0.0);
        for (var i = 0u; i < LINK && k < count; i += 1u) {
            let place = first + walk_place(at);
            var record = load_partials(place);
            if params.weighted == 1u {
                let parameter = index_segment(params.affine, index_start(params.affine, place)) - params.affine_base;
                record = record_weighed(record, load_scale(parameter));
            }
            link = record_combine(link, record);
            at = walk_next(at);
            k += LANES;
        }
        acc = record_combine(acc, link);
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
    let whole = segment + params.record_first;
    let first = (whole / params.window.z * params.window.y * params.window.z + whole % params.window.z) * params.window.w;
    let count = select(0u, params.window.y * params.window.w, live);
    let acc = combine_lanes(merge_chain(first, count, lane), local, lane, 1u);
    if live && lane == 0u {
        store_records(segment, acc);
        let gradients = record_gradients(acc) * params.gradient_factor;
        store_grad_bias(segment, gradients.x);
        store_grad_scale(segment, gradients.y);
    }
}
