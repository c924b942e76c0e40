// Normalizes every element by the statistics of its segment.
//
//   y[i] = ((x[i] - shift[s]) - rest[s]) * inverse[s] * scale[a] + bias[a]     s, a: segments of i in two partitions
//
// What belongs to a column (statistics, parameters) an invocation looks up once and holds while it walks the rows of its tile; what
// belongs to a row it looks up once a row: see lib/tile.wgsl. Unusual parameters take a loop of their own.
//
// bindings: params, input (read), statistics (read), scale? (read), bias? (read), output (write)

fn run(group: u32, local: u32) {
    let tile = tile_of(group, local);
    let first = run_of(tile, 0u);
    var scale: Chunk;
    var bias: Chunk;
    var by: array<Normalizer, QUADS>;
    var unusual = false;
    let first_statistics = digits_at(params.statistics, first.first);
    let first_affine = digits_at(params.affine, first.first);
    for (var k = 0u; k < QUADS; k += 1u) {
        let i = quad_at(first, tile, k);
        if AFFINE == HELD {
            scale[k] = scale_at(first, parameter_at(first_affine), i);
            bias[k] = bias_at(first, parameter_at(first_affine), i);
            unusual |= is_unusual(scale[k]);
        }
        if STATISTICS == HELD { by[k] = normalizer_at(first, record_at(first_statistics), i); }
    }
    var statistics = first_statistics;
    var affine = first_affine;
    for (var t = 0u; t < params.slice_len; t += 1u) {
        let row = run_of(tile, t);
        var plain = AFFINE != HELD || !unusual;
        var row_by: Normalizer;
        var row_scale: vec4<f32>;
        var row_bias: vec4<f32>;
        if STATISTICS == BY_ROW { row_by = normalizer(load_moments(record_at(statistics))); }
        if AFFINE == BY_ROW {
            row_scale = vec4<f32>(load_scale(parameter_at(affine)));
            row_bias = vec4<f32>(load_bias(parameter_at(affine)));
            plain = !is_unusual(row_scale);
            unusual |= !plain;
        }
        for (var turn = 0u; turn < params.turns; turn += 1u) {
            var x: Chunk;
            for (var k = 0u; k < QUADS; k += 1u) {
                x[k] = load4_input(quad_at(row, tile, turn * QUADS + k), row.first, row.width);
            }
            for (var k = 0u; k < QUADS; k += 1u) {
                let n = turn * QUADS + k;
                let i = quad_at(row, tile, n);
                if STATISTICS == HELD { row_by = by[k]; }
                if STATISTICS == BY_ELEMENT { row_by = normalizer_at(row, 0u, i); }
                if AFFINE == HELD {
                    row_scale = scale[k];
                    row_bias = bias[k];
                }
                if AFFINE == BY_ELEMENT {
                    row_scale = scale_at(row, 0u, i);
                    row_bias = bias_at(row, 0u, i);
                    plain = !is_unusual(row_scale);
                    unusual |= !plain;
                }
                if plain && has_quad(row, tile, n) {
                    store4_output(i, normalize4(x[k], row_by, row_scale, row_bias), row.first, row.width);
                }
            }
        }
        statistics = next_row(params.statistics, STATISTICS, statistics);
        affine = next_row(params.affine, AFFINE, affine);
    }
    statistics = first_statistics;
    affine = first_affine;
    for (var t = 0u; t < select(0u, params.slice_len, unusual); t += 1u) {
        for (var n = 0u; n < 4u * params.turns * QUADS; n += 1u) {
            map_carefully(run_of(tile, t), tile, record_at(statistics), parameter_at(affine), n);
        }
        statistics = next_row(params.statistics, STATISTICS, statistics);
        affine = next_row(params.affine, AFFINE, affine);
    }
}

// Element n of what the invocation maps of a row.
fn map_carefully(row: Run, tile: Tile, record: u32, parameter: u32, n: u32) {
    let quad = quad_at(row, tile, n / 4u);
    let i = quad + n % 4u;
    if !has_quad(row, tile, n / 4u) || i - row.first >= row.width { return; }
    if AFFINE != HELD && !is_unusual(scale_at(row, parameter, quad)) { return; }
    let by = normalizer(load_moments(records_of(row, record, quad)[n % 4u]));
    let own = parameters_of(row, parameter, quad)[n % 4u];
    store_output(i, normalize_carefully(load_input(i), by, load_scale(own), load_bias(own)));
}
