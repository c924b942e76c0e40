// Normalizes whole segments in one dispatch; each element is read twice, the second time from a cache.
//
//   acc    = accumulate x over the segment            (LANES invocations, QUADS quads each at a time)
//   y[j]   = ((x[j] - shift) - rest) * inverse * scale + bias
//
// LANES invocations are a walker, which walks items params.spacing apart (lib/items.wgsl), TURNS of them at a time, params.turns times QUADS
// quads an invocation each. Where their columns share parameters it reduces all TURNS and maps them side by side, so that parameters
// are looked up once; else one after the other: columns after a touch of the rows of memory that they lie in, others params.rows runs of
// params.parts times QUADS quads.
//
// bindings: params, input (read), scale? (read), bias? (read), output (write), records? (write)

// Links of a chain have 16 members: short chains keep the rounding small.
const LINK = 16u;

// Columns lie far apart, and no processor expects them. So an invocation first reads of every fourth of its next items, of input and result,
// while neighbours read of the others: lines of a cache one after the other. All are its own elements. Returns 0, which no compiler knows.
fn touch(n: u32, items: u32, lane: u32) -> u32 {
    let item = item_at(n, lane);
    let columns = item.row.width;
    let apart = params.spacing * params.width;
    let there = min(items, (columns - item.column + apart - 1u) / apart);
    var seen = 0u;
    for (var row = lane / RUN_LANES; row < params.rows; row += LANES / RUN_LANES) {
        for (var t = item.column / 4u % 4u; t < there; t += 4u) {
            let i = item.row.first + row * columns + item.column + t * apart;
            seen |= bitcast<u32>(load_input(i)) | bitcast<u32>(load_output(i));
        }
    }
    return seen & params.zero;
}

fn reduced(item: Item, lane: Lane) -> Acc {
    let span = span_of(item);
    let none = acc_start(start_of_item(item, load(span, 0u)));
    var sum = none;
    for (var first = 0u; first < params.turns; first += LINK) {
        var link = none;
        for (var turn = first; turn < min(first + LINK, params.turns); turn += 1u) {
            var x: Chunk;
            for (var k = 0u; k < QUADS; k += 1u) { x[k] = load(span, turn * QUADS + k); }
            link = acc_push(link, &x, live_from(span.live, turn * QUADS));
        }
        sum = acc_combine(sum, link);
    }
    return acc_lanes(sum, lane);
}

// Parameters of what an invocation maps of an item at a time.
struct Parameters {
    scale: Chunk,
    bias: Chunk,
    plain: array<bool, QUADS>,
}

fn map_turn(item: Item, turn: u32, live: bool, by: Normalizer, own: ptr<function, Parameters>) {
    let span = span_of(item);
    var x: Chunk;
    for (var k = 0u; k < QUADS; k += 1u) { x[k] = load(span, turn * QUADS + k); }
    for (var k = 0u; k < QUADS; k += 1u) {
        let q = turn * QUADS + k;
        if live && (*own).plain[k] && has_quad(item, q) {
            store4_output(place_of(span, q), normalize4(x[k], by, (*own).scale[k], (*own).bias[k]), low_of(span, q), span.width);
        }
    }
}

// What map_turn leaves out.
fn map_unusual(item: Item, turns: u32, parameter: u32, live: bool, by: Normalizer) {
    let span = span_of(item);
    for (var e = 0u; e < select(0u, 4u * QUADS * turns, live); e += 1u) {
        let quad = place_of(span, e / 4u);
        if has_quad(item, e / 4u) && is_unusual(scale_at(item.row, parameter, select(quad, item.row.first + item.column, STRIDED))) {
            map_carefully(item.row, item.column, parameter, by, quad, e % 4u);
        }
    }
}

fn run(group: u32, local: u32) {
    let lane = lane_of(local);
    let walker = group * (WORKGROUP_SIZE / LANES) + team_of(local);
    var bys: array<vec3<f32>, TURNS>;
    for (var block = 0u; block < params.slice_len; block += TURNS) {
        let items = min(TURNS, params.slice_len - block);
        var start = first_of_walker(walker) + block * params.spacing;
        if STRIDED && TURNS > 1u && walker < params.blocks && start < params.segments { start += touch(start, items, lane.lane); }
        for (var t = 0u; t < items; t += 1u) {
            let n = start + t * params.spacing;
            let item = item_at(n, lane.lane);
            let live = walker < params.blocks && n < params.segments;
            let acc = reduced(item, lane);
            if live && lane.lane == 0u {
                for (var e = 0u; e < SEGMENTS; e += 1u) { store_records(SEGMENTS * item.number + e, partial_record(acc, e)); }
            }
            let by = normalizer_of(acc);
            if STRIDED || AFFINE == BY_ROW { map_item(item, live, by); } else { bys[t] = vec3<f32>(by.shift.x, by.rest.x, by.inverse.x); }
        }
        if !STRIDED && AFFINE != BY_ROW { map_side_by_side(start, items, walker < params.blocks, lane, &bys); }
    }
}

// One item of params.rows runs, one after the other in memory, each with parameters of its own; or one whose quads share them.
fn map_item(item: Item, live: bool, by: Normalizer) {
    var digits = digits_at(params.affine, item.row.first);
    let width = params.width / params.rows;
    let turns = select(params.parts, params.turns, STRIDED);
    for (var r = 0u; r < select(params.rows, 1u, STRIDED); r += 1u) {
        var run = item;
        if !STRIDED { run.row = run_at(item.row.first + r * width, width); }
        let parameter = parameter_at(digits);
        let at = run.row.first + run.column;
        let scale = scale_at(run.row, parameter, at);
        let plain = !is_unusual(scale);
        var own: Parameters;
        for (var k = 0u; k < QUADS; k += 1u) {
            own.scale[k] = scale;
            own.bias[k] = bias_at(run.row, parameter, at);
            own.plain[k] = plain;
        }
        for (var turn = 0u; turn < turns; turn += 1u) { map_turn(run, turn, live, by, &own); }
        map_unusual(run, turns, parameter, live && !plain, by);
        digits = next_row(params.affine, AFFINE, digits);
    }
}

// Items whose quads share parameters each with those at the same place in the others.
fn map_side_by_side(start: u32, items: u32, there: bool, lane: Lane, bys: ptr<function, array<vec3<f32>, TURNS>>) {
    let first = item_at(start, lane.lane);
    let span = span_of(first);
    let parameter = parameter_at(digits_at(params.affine, first.row.first));
    var unusual = false;
    for (var turn = 0u; turn < params.turns; turn += 1u) {
        var own: Parameters;
        for (var k = 0u; k < QUADS; k += 1u) {
            let i = place_of(span, turn * QUADS + k);
            own.scale[k] = scale_at(first.row, parameter, i);
            own.bias[k] = bias_at(first.row, parameter, i);
            own.plain[k] = !is_unusual(own.scale[k]);
            unusual |= !own.plain[k];
        }
        for (var t = 0u; t < items; t += 1u) {
            let n = start + t * params.spacing;
            map_turn(item_at(n, lane.lane), turn, there && n < params.segments, for_quad((*bys)[t]), &own);
        }
    }
    for (var t = 0u; t < items; t += 1u) {
        let n = start + t * params.spacing;
        map_unusual(item_at(n, lane.lane), params.turns, parameter, unusual && there && n < params.segments, for_quad((*bys)[t]));
    }
}
