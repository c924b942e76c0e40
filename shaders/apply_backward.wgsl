// The gradient to every input element, from the sums of its segment; and, where parameters belong to columns, their sums.
//
//   dx[i] = (g - mean(g) - x_hat * mean(g * x_hat) * slope) / divisor      g = dy[i] * scale[a], means over the segment of i
//   dx[i] = g / divisor                                                    where the statistics are given
//   partials[walker][column] += (dy, dy * x_hat)                           over the rows of the tile
//
// As `apply` walks. What a mean and a divisor do to the gradient is the accumulator's business.
//
// bindings: params, input (read), grad_output (read), statistics (read), sums? (read), scale? (read), output (write), partials? (read and write),
// grad_scale? (read and write), grad_bias? (read and write)

fn run(group: u32, local: u32) {
    let tile = tile_of(group, local);
    let first = run_of(tile, 0u);
    var scale: Chunk;
    var by: array<Normalizer, QUADS>;
    var pulls: array<Pull, QUADS>;
    var d_scale: Chunk;
    var d_bias: Chunk;
    var unusual = false;
    for (var k = 0u; k < QUADS; k += 1u) {
        let i = quad_at(first, tile, k);
        if AFFINE == HELD { scale[k] = scale_at(first, i); }
        if STATISTICS == HELD {
            let held = pull_at(first, i);
            by[k] = held.by;
            pulls[k] = held.pull;
            unusual |= held.unusual;
        }
        d_scale[k] = vec4<f32>(0.0);
        d_bias[k] = vec4<f32>(0.0);
    }
    var affine = digits_at(params.affine, first.first);
    for (var t = 0u; t < params.slice_len; t += 1u) {
        let row = run_of(tile, t);
        var plain = STATISTICS != HELD || !unusual;
        var row_by: Pulled;
        var row_scale: vec4<f32>;
        if STATISTICS == BY_ROW {
            row_by = pull_at(row, row.first);
            plain = !row_by.unusual;
            unusual |= row_by.unusual;
        }
        if AFFINE == BY_ROW { row_scale = vec4<f32>(load_scale(segment_of(params.affine, affine) - params.affine_base)); }
        for (var turn = 0u; turn < params.turns; turn += 1u) {
            var x: Chunk;
            var dy: Chunk;
            for (var k = 0u; k < QUADS; k += 1u) {
                let i = quad_at(row, tile, turn * QUADS + k);
                x[k] = load4_input(i, row.first, row.width);
                dy[k] = load4_grad_output(i, row.first, row.width);
            }
            for (var k = 0u; k < QUADS; k += 1u) {
                let n = turn * QUADS + k;
                let i = quad_at(row, tile, n);
                if STATISTICS == HELD {
                    row_by.by = by[k];
                    row_by.pull = pulls[k];
                }
                if STATISTICS == BY_ELEMENT {
                    row_by = pull_at(row, i);
                    plain = !row_by.unusual;
                    unusual |= row_by.unusual;
                }
                if AFFINE == HELD { row_scale = scale[k]; }
                if AFFINE == BY_ELEMENT { row_scale = scale_at(row, i); }
                if plain && has_quad(row, tile, n) {
                    store4_output(i, input_gradient(x[k], dy[k], row_scale, row_by.by, row_by.pull), row.first, row.width);
                }
                if SUMS_COLUMNS && has_quad(row, tile, n) {
                    d_bias[k] += dy[k] * SHRINK;
                    d_scale[k] += dy[k] * SHRINK * normalized(x[k], row_by.by);
                }
            }
        }
        if AFFINE == BY_ROW { affine = add_digits(params.affine.dims, affine, params.affine.step); }
    }
    let turns = params.turns * QUADS;
    let unusual_quads = select(0u, params.slice_len * params.turns * QUADS, unusual);
    for (var n = 0u; n < unusual_quads; n += 1u) { map_carefully(run_of(tile, n / turns), tile, n % turns); }
    if SUMS_COLUMNS && tile.outer < params.segments {
        // a walker without rows leaves zeros
        let row = run_at((tile.outer * params.rows + min(tile.row, params.rows - 1u)) * params.width, params.width);
        for (var k = 0u; k < QUADS; k += 1u) {
            if has_quad(row, tile, k) { add_columns(tile.outer, tile.walker, row, quad_at(row, tile, k), d_bias[k], d_scale[k]); }
        }
    }
}

// What the segments of a quad do to its gradients.
struct Pulled {
    by: Normalizer,
    pull: Pull,
    unusual: bool,
}

fn pull_at(row: Run, i: u32) -> Pulled {
    let a = statistics_of(row, i, 0u);
    let record = load_statistics(a);
    let sums = load_sums(a);
    if STATISTICS == BY_ROW { return Pulled(normalizer(record), pull(record, sums), is_unusual(sums)); }
    let b = statistics_of(row, i, 1u);
    let c = statistics_of(row, i, 2u);
    let d = statistics_of(row, i, 3u);
    let records = mat4x4<f32>(record, load_statistics(b), load_statistics(c), load_statistics(d));
    let all = mat4x4<f32>(sums, load_sums(b), load_sums(c), load_sums(d));
    let by = normalizer4(records[0], records[1], records[2], records[3]);
    let unusual = is_unusual(all[0]) || is_unusual(all[1]) || is_unusual(all[2]) || is_unusual(all[3]);
    return Pulled(by, pull4(records, all), unusual);
}

fn map_carefully(row: Run, tile: Tile, k: u32) {
    let i = quad_at(row, tile, k);
    let pulled = pull_at(row, i);
    if !(STATISTICS == HELD || pulled.unusual) || !has_quad(row, tile, k) { return; }
    let x = load4_input(i, row.first, row.width);
    let dy = load4_grad_output(i, row.first, row.width);
    let scale = scale_at(row, i);
    var gradient = input_gradient(x, dy, scale, pulled.by, pulled.pull);
    for (var e = 0u; e < 4u; e += 1u) {
        let segment = statistics_of(row, i, e);
        let sums = load_sums(segment);
        if is_unusual(sums) { gradient[e] = gradient_by_products(x[e], dy[e], scale[e], load_statistics(segment), sums); }
    }
    store4_output(i, gradient, row.first, row.width);
}
