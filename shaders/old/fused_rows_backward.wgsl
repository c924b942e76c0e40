// Gradients of whole segments that lie contiguous in memory, in one walk over x and dy; each element is read once.
//
//   dx[r][j]         = as in apply_backward, of segment r
//   partials[w][j]  += (dy[r][j], dy[r][j] * x_hat[r][j])         over the segments of walker w, where parameters belong to columns
//   partials[r]      = sum over j of (dy[r][j], dy[r][j] * x_hat[r][j])       where they belong to rows
//
// An outer block is params.rows rows, whose columns share their parameters; a row is params.parts segments. LANES invocations are a walker,
// which walks the same segment of rows params.spacing apart and holds x, dy, the parameters and their sums; WORKGROUP_SIZE / LANES walkers a
// workgroup.
//
// bindings: params, input (read), grad_output (read), statistics (read), scale? (read), output (write), partials? (read and write),
// grad_scale? (read and write), grad_bias? (read and write)

struct Walker {
    outer: u32,
    number: u32,
    part: u32,   // which segment of a row
    start: u32,  // its first row of the outer block
    live: bool,
}

fn walker_of(n: u32) -> Walker {
    let part = divided(n, params.parts);
    let outer = divided(part.x, params.blocks);
    return Walker(min(outer.x, params.window.x - 1u), outer.y, part.y, first_of_walker(outer.y), outer.x < params.window.x);
}

// The t-th segment of a walker, counted from the window's first.
fn segment_of_walker(walker: Walker, t: u32) -> u32 {
    let row = walker.outer * params.rows + min(walker.start + t * params.spacing, params.rows - 1u);
    return row * params.parts + walker.part;
}

fn row_at(segment: u32) -> Run {
    return run_at(segment * params.width, params.width);
}

fn run(group: u32, local: u32) {
    let lane = lane_of(local);
    let walker = walker_of(group * (WORKGROUP_SIZE / LANES) + local / LANES);
    let first = row_at(segment_of_walker(walker, 0u));
    let first_span = span_along(first, lane.lane, LANES);
    var affine = digits_at(params.affine, first.first);
    var scale: Chunk;
    var d_scale: Chunk;
    var d_bias: Chunk;
    for (var k = 0u; k < QUADS; k += 1u) {
        if AFFINE == HELD { scale[k] = scale_at(first, parameter_at(affine), place_of(first_span, k)); }
        d_scale[k] = vec4<f32>(0.0);
        d_bias[k] = vec4<f32>(0.0);
    }
    for (var t = 0u; t < params.slice_len; t += 1u) {
        let live = walker.live && walker.start + t * params.spacing < params.rows;
        let segment = segment_of_walker(walker, t);
        let row = row_at(segment);
        let span = span_along(row, lane.lane, LANES);
        let record = load_moments(segment);
        let by = normalizer(record);
        var x: Chunk;
        var dy: Chunk;
        for (var k = 0u; k < QUADS; k += 1u) {
            x[k] = load4_input(place_of(span, k), row.first, row.width);
            dy[k] = load4_grad_output(place_of(span, k), row.first, row.width);
        }
        var row_scale = vec4<f32>(1.0);
        let parameter = parameter_at(affine);
        if AFFINE == BY_ROW { row_scale = scale_at(row, parameter, row.first); }
        affine = next_row(params.affine, AFFINE, affine);
        var sum = partial_none();
        var g = vec4<f32>(0.0);
        var g_x_hat = vec4<f32>(0.0);
        var g_x = vec4<f32>(0.0);
        for (var k = 0u; k < QUADS; k += 1u) {
            let here = is_live(span.live, k);
            let gradient = select(vec4<f32>(0.0), dy[k] * SHRINK, here);
            let product = select(vec4<f32>(0.0), gradient * normalized(x[k], by), here);
            if SUMS_COLUMNS && live {
                d_bias[k] += gradient;
                d_scale[k] += product;
            }
            var weight = row_scale;
            if AFFINE == HELD { weight = scale[k]; }
            if AFFINE == BY_ELEMENT { weight = scale_at(row, parameter, place_of(span, k)); }
            if params.scale_last == 1u { weight = vec4<f32>(1.0); }
            g += select(gradient, gradient * weight, here);
            g_x_hat += select(product, product * weight, here);
            g_x += select(vec4<f32>(0.0), gradient * weight * x[k], here);
        }
        let sums = partial_record(
            partial_lanes(Partial(total(g), total(g_x_hat), total(g_x), count_of(span.live)), lane), 0u);
        let by_row = AFFINE == BY_ROW && live && lane.lane == 0u;
        if by_row { store_partials(segment + params.record_first, sums); }
        let pulls = pull(record, sums);
        let unusual = is_unusual(sums);
        for (var k = 0u; k < QUADS; k += 1u) {
            if AFFINE == HELD { row_scale = scale[k]; }
            if AFFINE == BY_ELEMENT { row_scale = scale_at(row, parameter, place_of(span, k)); }
            if live && !unusual && lane.lane + k * LANES < quads_of(row) {
                store4_output(place_of(span, k), input_gradient(x[k], dy[k], row_scale, by, pulls), row.first, row.width);
            }
        }
        let careful = select(0u, 4u * QUADS, live && unusual);
        for (var n = 0u; n < careful; n += 1u) {
            let i = place_of(span, n / 4u) + n % 4u;
            if lane.lane + n / 4u * LANES >= quads_of(row) || i - row.first >= row.width { continue; }
            let own = load_scale(parameters_of(row, parameter, i)[0]);
            store_output(i, gradient_by_products(load_input(i), load_grad_output(i), own, record, sums));
        }
    }
    if SUMS_COLUMNS && walker.live {
        let columns = ((walker.outer * params.blocks + walker.number) * params.parts + walker.part) * params.width;
        for (var k = 0u; k < QUADS; k += 1u) {
            if lane.lane + k * LANES < quads_of(first) { add_columns(columns, first, place_of(first_span, k), d_bias[k], d_scale[k]); }
        }
    }
}
