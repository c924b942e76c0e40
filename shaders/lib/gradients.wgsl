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
            let x = load_input(i);
            link += vec4<f32>(g, g * normalized(x, by), g * x, 1.0);
            at = walk_next(at);
            j += LANES;
        }
        acc += link;
    }
    return acc;
}

// The gradient at x, from the gradient dy to the output and the sums of the segment.
fn input_gradient(x: f32, dy: f32, scale: f32, acc: vec4<f32>, by: Normalizer, sums: vec4<f32>) -> f32 {
    if params.frozen == 1u { return dy * scale * by.inverse; }
    let last = params.scale_last == 1u;
    let g = dy * select(scale, 1.0, last);
    let means = record_means(sums);
    var gradient = acc_gradient(acc, x, normalized(x, by), g, means) * by.inverse;
    if params.products == 1u && max(magnitude_bits(means.x), magnitude_bits(means.y)) >= params.infinity {
        gradient = gradient_by_products(x, g, by, sums);
    }
    return gradient * select(1.0, scale, last);
}

// For sums that are not finite only: the order of evaluation decides where NaN stands.
fn gradient_by_products(x: f32, g: f32, by: Normalizer, sums: vec4<f32>) -> f32 {
    let a = by.inverse;
    let mean = by.center.x + by.center.y;
    let b = (sums.x * GROW * mean - sums.z * GROW) * a * a * a / sums.w;
    let c = -b * mean - sums.x * GROW * a / sums.w;
    return a * g + b * x + c;
}
