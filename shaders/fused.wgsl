// Normalizes whole segments in one dispatch; each element is read once.
//
//   acc    = accumulate x over the segment            (LANES invocations, all of it in registers)
//   y[j]   = ((x[j] - shift) - rest) * inverse * scale + bias
//
// LANES invocations are a walker, which walks items params.spacing apart; WORKGROUP_SIZE / LANES walkers a workgroup, which read
// neighbouring items. An item is a segment that lies contiguous in memory, or, where STRIDED, one that is params.rows runs of
// params.width elements, each in its row of memory, with RUN_LANES invocations to a run; or four such segments whose elements are
// neighbours (lib/across.wgsl). An invocation holds TURNS times QUADS quads, and the parameters of their columns where those repeat
// from item to item. Walkers whose items have come to an end take part in every exchange.
//
// bindings: params, input (read), scale? (read), bias? (read), output (write), records? (write)

// Whether a segment is runs in rows of memory.
override STRIDED: bool = false;

struct Item {
    number: u32,
    row: Run,     // its run, or the first row of memory that it has a run of
    column: u32,  // of that row, the invocation's first
    lane: u32,
}

// Item n, or the last where there is none.
fn item_at(n: u32, lane: u32) -> Item {
    let number = min(n, params.segments - 1u);
    if !STRIDED { return Item(number, run_at(number * params.width, params.width), 0u, lane); }
    let at = divided(number, params.parts);
    let columns = params.parts * params.width;
    return Item(number, Run(at.x * params.rows * columns, 0u, columns), at.y * params.width + 4u * (lane % RUN_LANES), lane);
}

fn span_of(item: Item) -> Span {
    if !STRIDED { return span_along(item.row, item.lane, LANES); }
    return span_across(item.row.first, item.lane / RUN_LANES, LANES / RUN_LANES, params.rows, item.column, item.row.width);
}

fn has_quad(item: Item, n: u32) -> bool {
    if STRIDED { return item.lane / RUN_LANES + n * (LANES / RUN_LANES) < params.rows; }
    return item.lane + n * LANES < quads_of(item.row);
}

fn load(span: Span, n: u32) -> vec4<f32> {
    return load4_input(place_of(span, n), low_of(span, n), span.width);
}

// The first element of all lanes.
fn start_of_item(item: Item, own: vec4<f32>) -> Sum {
    let row = item.row;
    if LANES == 1u { return start_of(own, row.lead); }
    if STRIDED { return start_of(load4_input(row.first + item.column - 4u * (item.lane % RUN_LANES), row.first, row.width), 0u); }
    return start_of(load4_input(row.first - row.lead, row.first, row.width), row.lead);
}

fn normalizer_of(acc: Acc) -> Normalizer {
    if SEGMENTS == 1u { return normalizer(partial_record(acc, 0u)); }
    return normalizer4(partial_record(acc, 0u), partial_record(acc, 1u), partial_record(acc, 2u), partial_record(acc, 3u));
}

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
            if has_quad(item, e / 4u) { map_carefully(item, parameter, by, place_of(span, e / 4u), e % 4u); }
        }
    }
}

// Element e of the quad at `quad`.
fn map_carefully(item: Item, parameter: u32, by: Normalizer, quad: u32, e: u32) {
    let row = item.row;
    let i = quad + e;
    if !STRIDED && i - row.first >= row.width { return; }
    if AFFINE == BY_ELEMENT && !is_unusual(scale_at(row, parameter, quad)) { return; }
    let own = parameters_of(row, parameter, select(quad, row.first + item.column, STRIDED))[e];
    let one = Normalizer(vec4<f32>(by.shift[e]), vec4<f32>(by.rest[e]), vec4<f32>(by.inverse[e]));
    store_output(i, normalize_carefully(load_input(i), one, load_scale(own), load_bias(own)));
}
