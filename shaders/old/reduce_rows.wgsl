// Reduces slices of segments to records, along memory.
//
//   record[slice][segment] = accumulate x over slice of segment
//
// A segment is window.y runs of window.w contiguous elements, window.z * window.w apart; a run is params.parts parts of params.width
// elements (the last may be shorter); a slice is params.slice_len parts. LANES invocations own a slice, RUN_LANES of them a part, QUADS
// quads each at a time; WORKGROUP_SIZE / LANES segments a workgroup. Workgroups count slices fastest within a set of segments.
//
// What an element adds to a record is the walk's business (lib/values.wgsl, lib/gradients.wgsl).
//
// bindings: params, input (read), [gradients: grad_output (read), statistics (read), scale? (read)], records (read and write)

// Links of a chain have 16 members: short chains keep the rounding small.
const LINK = 16u;

// Part u of the segment that starts at `first`.
fn part_at(first: u32, u: u32) -> Run {
    let at = divided(u, params.parts);
    let place = at.y * params.width;
    let run_first = first + at.x * params.window.z * params.window.w;
    return run_at(run_first + place, min(params.width, params.window.w - place));
}

fn run(group: u32, local: u32) {
    let lane = lane_of(local);
    let at = divided(group, params.slices);
    let slice = at.y;
    let segment = at.x * (WORKGROUP_SIZE / LANES) + local / LANES;
    let live = segment < params.segments;
    let outer = divided(segment, params.window.z);
    let within = outer.x * params.window.y * params.window.z + outer.y;
    let first = select(0u, within * params.window.w, live);
    let parts = params.window.y * params.parts;
    let begin = min(slice * params.slice_len, parts - 1u);
    let end = select(begin, min(slice * params.slice_len + params.slice_len, parts), live);
    let known = known_at(part_at(first, 0u), first);
    let none = partial_start(part_at(first, begin), 0u);
    var sum = none;
    var u = slice * params.slice_len + lane.lane / RUN_LANES;
    var q = lane.lane % RUN_LANES;
    while u < end {
        var link = none;
        for (var n = 0u; n < LINK && u < end; n += 1u) {
            let part = part_at(first, u);
            link = partial_push(link, span_along(part, q, RUN_LANES), known);
            q += QUADS * RUN_LANES;
            if q >= quads_of(part) {
                q = lane.lane % RUN_LANES;
                u += LANES / RUN_LANES;
            }
        }
        sum = partial_combine(sum, link);
    }
    let all = partial_lanes(sum, lane);
    if live && lane.lane == 0u {
        let record = slice * params.record_stride + params.record_first + segment;
        var merged = all;
        if RESUMES { merged = partial_combine(partial_of(load_records(record)), all); }
        store_records(record, partial_record(merged, 0u));
    }
}
