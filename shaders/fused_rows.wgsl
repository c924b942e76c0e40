// Normalizes whole segments that lie contiguous in memory, in one dispatch; each element is read once.
//
//   acc    = accumulate x over the segment            (LANES invocations, all of it in registers)
//   y[j]   = ((x[j] - shift) - rest) * inverse * scale + bias
//
// LANES invocations are a walker, which walks segments params.spacing apart and holds the parameters of their columns, where those have
// some; WORKGROUP_SIZE / LANES walkers a workgroup, which read neighbouring segments. Walkers whose segments have come to an end take part in every exchange.
//
// bindings: params, input (read), scale? (read), bias? (read), output (write), records? (write)

fn run(group: u32, local: u32) {
    let lane = lane_of(local);
    let walker = group * (WORKGROUP_SIZE / LANES) + local / LANES;
    var scale: Chunk;
    var bias: Chunk;
    var unusual = false;
    let start = first_of_walker(walker);
    let first = row_at(start);
    var affine = digits_at(params.affine, first.first);
    if AFFINE == HELD {
        let span = span_along(first, lane.lane, LANES);
        for (var k = 0u; k < QUADS; k += 1u) {
            scale[k] = scale_at(first, parameter_at(affine), place_of(span, k));
            bias[k] = bias_at(first, parameter_at(affine), place_of(span, k));
            unusual |= is_unusual(scale[k]);
        }
    }
    for (var t = 0u; t < params.slice_len; t += 1u) {
        let segment = start + t * params.spacing;
        let row = row_at(segment);
        let span = span_along(row, lane.lane, LANES);
        let live = walker < params.blocks && segment < params.segments;
        var x: Chunk;
        for (var k = 0u; k < QUADS; k += 1u) { x[k] = load4_input(place_of(span, k), row.first, row.width); }
        var head = x[0];
        if LANES > 1u { head = load4_input(row.first - row.lead, row.first, row.width); }
        let none = acc_start(start_of(head, row.lead));
        let record = partial_record(acc_lanes(acc_chunk(none, &x, span.live), lane), 0u);
        if live && lane.lane == 0u { store_records(segment, record); }
        let by = normalizer(record);
        var row_scale: vec4<f32>;
        var row_bias: vec4<f32>;
        let parameter = parameter_at(affine);
        if AFFINE == BY_ROW {
            row_scale = scale_at(row, parameter, row.first);
            row_bias = bias_at(row, parameter, row.first);
            unusual = is_unusual(row_scale);
        }
        affine = next_row(params.affine, AFFINE, affine);
        if AFFINE == BY_ELEMENT { unusual = false; }
        for (var k = 0u; k < QUADS; k += 1u) {
            let i = place_of(span, k);
            var plain = !unusual;
            if AFFINE == HELD {
                row_scale = scale[k];
                row_bias = bias[k];
            }
            if AFFINE == BY_ELEMENT {
                row_scale = scale_at(row, parameter, i);
                row_bias = bias_at(row, parameter, i);
                plain = !is_unusual(row_scale);
                unusual |= !plain;
            }
            if live && plain && lane.lane + k * LANES < quads_of(row) {
                store4_output(i, normalize4(x[k], by, row_scale, row_bias), row.first, row.width);
            }
        }
        let careful = select(0u, 4u * QUADS, live && unusual);
        for (var n = 0u; n < careful; n += 1u) {
            if lane.lane + n / 4u * LANES < quads_of(row) {
                map_carefully(row, parameter, by, place_of(span, n / 4u), n % 4u);
            }
        }
    }
}

// Segment n, or the last where there is none.
fn row_at(n: u32) -> Run {
    return run_at(min(n, params.segments - 1u) * params.width, params.width);
}

fn map_carefully(row: Run, parameter: u32, by: Normalizer, quad: u32, e: u32) {
    let i = quad + e;
    if i - row.first >= row.width { return; }
    if AFFINE == BY_ELEMENT && !is_unusual(scale_at(row, parameter, quad)) { return; }
    let own = parameters_of(row, parameter, quad)[e];
    store_output(i, normalize_carefully(load_input(i), by, load_scale(own), load_bias(own)));
}
