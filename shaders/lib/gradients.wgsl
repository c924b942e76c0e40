// The walk that makes records of gradient sums, and the gradient that they give.

fn segment_at(index: Index, i: u32) -> u32 {
    return index_segment(index, index_start(index, i));
}

// The gradient at element i, times its scale where sums are weighted.
fn weighted_gradient(i: u32) -> f32 {
    if params.weighted == 0u { return load_grad_output(i); }
    return load_grad_output(i) * load_scale(segment_at(params.affine, i) - params.affine_base);
}

// Reduces elements j = begin + lane, + LANES, ... below end of the segment that starts at `first`.
fn walk_reduce(first: u32, begin: u32, end: u32, lane: u32) -> vec4<f32> {
    var acc = vec4<f32>(0.0);
    if begin + lane >= end { return acc; }
    var at = walk_start(begin + lane);
    var j = begin + lane;
    // where all elements share their statistics, the first one's serve
    var segment = segment_at(params.statistics, first + walk_place(at)) - params.statistics_base;
    var by = normalizer(load_statistics(segment));
    while j < end {
        var link = vec4<f32>(0.0);
        for (var k = 0u; k < 4u * LINK && j < end; k += 1u) {
            let i = first + walk_place(at);
            if params.hoisted == 0u {
                segment = segment_at(params.statistics, i) - params.statistics_base;
                by = normalizer(load_statistics(segment));
            }
            let g = weighted_gradient(i) * SHRINK;
            link += vec4<f32>(g, g * normalized(load_input(i), by), 0.0, 1.0);
            at = walk_next(at);
            j += LANES;
        }
        acc += link;
    }
    return acc;
}

fn input_gradient(x: f32, g: f32, acc: vec4<f32>, by: Normalizer, means: vec2<f32>) -> f32 {
    if params.frozen == 1u { return g * by.inverse; }
    return acc_gradient(acc, x, normalized(x, by), g, means) * by.inverse;
}
