// Normalizes whole segments in one dispatch; each element is read once.
//
//   acc    = accumulate x over the segment            (LANES invocations, all of it in registers)
//   y[j]   = ((x[j] - shift) - rest) * inverse * scale + bias
//
// LANES invocations are a walker, which walks items params.spacing apart; WORKGROUP_SIZE / LANES walkers a workgroup, which read
// neighbouring items (lib/items.wgsl). An invocation holds TURNS times QUADS quads of an item, and the parameters of its columns where
// those repeat from item to item. Walkers whose items have come to an end take part in every exchange.
//
// bindings: params, input (read), scale? (read), bias? (read), output (write), records? (write)

fn run(group: u32, local: u32) {
    let lane = lane_of(local);
    let walker = group * (WORKGROUP_SIZE / LANES) + team_of(local);
    var scale: array<Chunk, TURNS>;
    var bias: array<Chunk, TURNS>;
    var unusual = false;
    let start = first_of_walker(walker);
    let first = item_at(start, lane.lane);
    var affine = digits_at(params.affine, first.row.first);
    if AFFINE == HELD && !STRIDED {
        let span = span_of(first);
        for (var turn = 0u; turn < TURNS; turn += 1u) {
            for (var k = 0u; k < QUADS; k += 1u) {
                let i = place_of(span, turn * QUADS + k);
                scale[turn][k] = scale_at(first.row, parameter_at(affine), i);
                bias[turn][k] = bias_at(first.row, parameter_at(affine), i);
                unusual |= is_unusual(scale[turn][k]);
            }
        }
    }
    for (var t = 0u; t < params.slice_len; t += 1u) {
        let n = start + t * params.spacing;
        let item = item_at(n, lane.lane);
        let span = span_of(item);
        let live = walker < params.blocks && n < params.segments;
        var x: array<Chunk, TURNS>;
        for (var turn = 0u; turn < TURNS; turn += 1u) {
            for (var k = 0u; k < QUADS; k += 1u) { x[turn][k] = load(span, turn * QUADS + k); }
        }
        let none = acc_start(start_of_item(item, x[0][0]));
        var sum = none;
        for (var turn = 0u; turn < TURNS; turn += 1u) {
            var chunk = x[turn];
            let part = acc_chunk(none, &chunk, live_from(span.live, turn * QUADS));
            if turn == 0u { sum = part; } else { sum = acc_combine(sum, part); }
        }
        let acc = acc_lanes(sum, lane);
        if live && lane.lane == 0u {
            for (var e = 0u; e < SEGMENTS; e += 1u) { store_records(SEGMENTS * item.number + e, partial_record(acc, e)); }
        }
        let by = normalizer_of(acc);
        var row_scale: vec4<f32>;
        var row_bias: vec4<f32>;
        if STRIDED { affine = digits_at(params.affine, item.row.first); }
        let parameter = parameter_at(affine);
        let once = AFFINE == BY_ROW || STRIDED;
        if once {
            row_scale = scale_at(item.row, parameter, item.row.first + item.column);
            row_bias = bias_at(item.row, parameter, item.row.first + item.column);
            unusual = is_unusual(row_scale);
        }
        affine = next_row(params.affine, AFFINE, affine);
        if AFFINE == BY_ELEMENT { unusual = false; }
        for (var turn = 0u; turn < TURNS; turn += 1u) {
            for (var k = 0u; k < QUADS; k += 1u) {
                let q = turn * QUADS + k;
                let i = place_of(span, q);
                var plain = !unusual;
                if AFFINE == HELD && !once {
                    row_scale = scale[turn][k];
                    row_bias = bias[turn][k];
                }
                if AFFINE == BY_ELEMENT {
                    row_scale = scale_at(item.row, parameter, i);
                    row_bias = bias_at(item.row, parameter, i);
                    plain = !is_unusual(row_scale);
                    unusual |= !plain;
                }
                if live && plain && has_quad(item, q) {
                    store4_output(i, normalize4(x[turn][k], by, row_scale, row_bias), low_of(span, q), span.width);
                }
            }
        }
        let careful = select(0u, 4u * TURNS * QUADS, live && unusual);
        for (var e = 0u; e < careful; e += 1u) {
            if !has_quad(item, e / 4u) { continue; }
            let quad = place_of(span, e / 4u);
            if AFFINE == BY_ELEMENT && !is_unusual(scale_at(item.row, parameter, quad)) { continue; }
            map_carefully(item.row, item.column, parameter, by, quad, e % 4u);
        }
    }
}
