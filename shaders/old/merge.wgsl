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

// Links of a chain have 16 members: short chains keep the rounding small.
const LINK = 16u;

fn weighted_partial(place: u32) -> Partial {
    let partial = partial_of(load_partials(place));
    if params.weighted == 0u { return partial; }
    return partial_weighed(partial, load_scale(segment_at(params.affine, place) - params.affine_base));
}

fn run(group: u32, local: u32) {
    let lane = lane_of(local);
    let segment = group * (WORKGROUP_SIZE / LANES) + local / LANES;
    let live = segment < params.segments;
    let whole = segment + params.record_first;
    let block = params.window.w;
    let stride = params.window.z * block;
    let at = divided(whole, params.window.z);
    let first = at.x * params.window.y * stride + at.y * block;
    let count = select(0u, params.window.y * block, live);
    var sum = partial_none();
    var k = lane.lane;
    while k < count {
        var link = partial_none();
        for (var n = 0u; n < LINK && k < count; n += 1u) {
            let place = divided(k, block);
            link = partial_combine(link, weighted_partial(first + place.x * stride + place.y));
            k += LANES;
        }
        sum = partial_combine(sum, link);
    }
    let record = partial_record(partial_lanes(partial_align(sum, lane), lane), 0u);
    if live && lane.lane == 0u {
        store_records(segment, record);
        let gradients = record_gradients(record) * params.gradient_factor;
        store_grad_bias(segment, gradients.x);
        store_grad_scale(segment, gradients.y);
    }
}
