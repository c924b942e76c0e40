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
    for (var k = 0u; k < QUADS; k += 1u) {
        let i = quad_at(first, tile, k);
        if AFFINE == HELD {
            scale[k] = scale_at(first, i);
            bias[k] = bias_at(first, i);
            unusual |= is_unusual(scale[k]);
        }
        if STATISTICS == HELD { by[k] = normalizer_at(first, i); }
    }
    var statistics = digits_at(params.statistics, first.first);
    var affine = digits_at(params.affine, first.first);
    for (var t = 0u; t < params.slice_len; t += 1u) {
        let row = run_of(tile, t);
        var plain = AFFINE != HELD || !unusual;
        var row_by: Normalizer;
        var row_scale: vec4<f32>;
        var row_bias: vec4<f32>;
        if STATISTICS == BY_ROW {
            row_by = normalizer(load_statistics(segment_of(params.statistics, statistics) - params.statistics_base));
        }
        if AFFINE == BY_ROW {
            let parameter = segment_of(params.affine, affine) - params.affine_base;
            row_scale = vec4<f32>(load_scale(parameter));
            row_bias = vec4<f32>(load_bias(parameter));
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
                if STATISTICS == BY_ELEMENT { row_by = normalizer_at(row, i); }
                if AFFINE == HELD {
                    row_scale = scale[k];
                    row_bias = bias[k];
                }
                if AFFINE == BY_ELEMENT {
                    row_scale = scale_at(row, i);
                    row_bias = bias_at(row, i);
                    plain = !is_unusual(row_scale);
                    unusual |= !plain;
                }
                if plain && has_quad(row, tile, n) {
                    store4_output(i, normalize4(x[k], row_by, row_scale, row_bias), row.first, row.width);
                }
            }
        }
        if STATISTICS == BY_ROW { statistics = add_digits(params.statistics.dims, statistics, params.statistics.step); }
        if AFFINE == BY_ROW { affine = add_digits(params.affine.dims, affine, params.affine.step); }
    }
    let turns = params.turns * QUADS;
    let unusual_quads = select(0u, params.slice_len * params.turns * QUADS, unusual);
    for (var n = 0u; n < unusual_quads; n += 1u) { map_carefully(run_of(tile, n / turns), tile, n % turns); }
}

fn map_carefully(row: Run, tile: Tile, k: u32) {
    let i = quad_at(row, tile, k);
    let scale = scale_at(row, i);
    if (AFFINE == HELD || is_unusual(scale)) && has_quad(row, tile, k) {
        let x = load4_input(i, row.first, row.width);
        let y = normalize4_carefully(x, normalizer_at(row, i), scale, bias_at(row, i));
        store4_output(i, y, row.first, row.width);
    }
}
