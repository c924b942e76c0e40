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
    let first_statistics = digits_at(params.statistics, first.first);
    let first_affine = digits_at(params.affine, first.first);
    for (var k = 0u; k < QUADS; k += 1u) {
        let i = quad_at(first, tile, k);
        if AFFINE == HELD { scale[k] = scale_at(first, parameter_at(first_affine), i); }
        if STATISTICS == HELD {
            let held = pull_at(first, record_at(first_statistics), i);
            by[k] = held.by;
            pulls[k] = held.pull;
            unusual |= held.unusual;
        }
        d_scale[k] = vec4<f32>(0.0);
        d_bias[k] = vec4<f32>(0.0);
    }
    var statistics = first_statistics;
    var affine = first_affine;
    for (var t = 0u; t < params.slice_len; t += 1u) {
        let row = run_of(tile, t);
        var plain = STATISTICS != HELD || !unusual;
        var row_by: Pulled;
        var row_scale: vec4<f32>;
        if STATISTICS == BY_ROW {
            row_by = pull_at(row, record_at(statistics), row.first);
            plain = !row_by.unusual;
            unusual |= row_by.unusual;
        }
        if AFFINE == BY_ROW { row_scale = vec4<f32>(load_scale(parameter_at(affine))); }
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
                    row_by = pull_at(row, 0u, i);
                    plain = !row_by.unusual;
                    unusual |= row_by.unusual;
                }
                if AFFINE == HELD { row_scale = scale[k]; }
                if AFFINE == BY_ELEMENT { row_scale = scale_at(row, 0u, i); }
                if plain && has_quad(row, tile, n) {
                    store4_output(i, input_gradient(x[k], dy[k], row_scale, row_by.by, row_by.pull), row.first, row.width);
                }
                if SUMS_COLUMNS && has_quad(row, tile, n) {
                    d_bias[k] += dy[k] * SHRINK;
                    d_scale[k] += dy[k] * SHRINK * normalized(x[k], row_by.by);
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
    if SUMS_COLUMNS && tile.outer < params.segments {
        // a walker without rows leaves zeros
        let row = run_at((tile.outer * params.rows + min(tile.row, params.rows - 1u)) * params.width, params.width);
        let columns = (tile.outer * params.blocks + tile.walker) * params.width;
        for (var k = 0u; k < QUADS; k += 1u) {
            if has_quad(row, tile, k) { add_columns(columns, row, quad_at(row, tile, k), d_bias[k], d_scale[k]); }
        }
    }
}

// What the segments of a quad do to its gradients.
struct Pulled {
    by: Normalizer,
    pull: Pull,
    unusual: bool,
}

fn pull_at(row: Run, first: u32, i: u32) -> Pulled {
    let at = records_of(row, first, i);
    let record = load_moments(at.x);
    let sums = load_sums(at.x);
    if STATISTICS == BY_ROW { return Pulled(normalizer(record), pull(record, sums), is_unusual(sums)); }
    let records = mat4x4<f32>(record, load_moments(at.y), load_moments(at.z), load_moments(at.w));
    let all = mat4x4<f32>(sums, load_sums(at.y), load_sums(at.z), load_sums(at.w));
    let by = normalizer4(records[0], records[1], records[2], records[3]);
    let unusual = is_unusual(all[0]) || is_unusual(all[1]) || is_unusual(all[2]) || is_unusual(all[3]);
    return Pulled(by, pull4(records, all), unusual);
}

// Element n of what the invocation maps of a row.
fn map_carefully(row: Run, tile: Tile, record: u32, parameter: u32, n: u32) {
    let quad = quad_at(row, tile, n / 4u);
    let i = quad + n % 4u;
    if !has_quad(row, tile, n / 4u) || i - row.first >= row.width { return; }
    if STATISTICS != HELD && !pull_at(row, record, quad).unusual { return; }
    let segment = records_of(row, record, quad)[n % 4u];
    let statistics = load_moments(segment);
    let sums = load_sums(segment);
    let scale = load_scale(parameters_of(row, parameter, quad)[n % 4u]);
    let x = load_input(i);
    let dy = load_grad_output(i);
    var gradient = gradient_by_products(x, dy, scale, statistics, sums);
    if !is_unusual(sums) {
        gradient = input_gradient(vec4<f32>(x), vec4<f32>(dy), vec4<f32>(scale), normalizer(statistics), pull(statistics, sums)).x;
    }
    store_output(i, gradient);
}
