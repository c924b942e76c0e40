// Items that one walker normalizes: how it reads them, what it maps them by, and the map of numbers that take more care.

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

// Element e of the quad at `quad`.
fn map_carefully(row: Run, column: u32, parameter: u32, by: Normalizer, quad: u32, e: u32) {
    let i = quad + e;
    if !STRIDED && i - row.first >= row.width { return; }
    let own = parameters_of(row, parameter, select(quad, row.first + column, STRIDED))[e];
    let one = Normalizer(vec4<f32>(by.shift[e]), vec4<f32>(by.rest[e]), vec4<f32>(by.inverse[e]));
    store_output(i, normalize_carefully(load_input(i), one, load_scale(own), load_bias(own)));
}
