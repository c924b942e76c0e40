// Records of gradient sums.
//
// Record (sum of g, sum of g * x_hat, sum of g * x, count), where g is the gradient to the output, times the scale where the sums are for
// the gradient to the input.

struct Partial {
    g: Sum,
    g_x_hat: Sum,
    g_x: Sum,
    count: f32,
}

fn partial_none() -> Partial {
    return Partial(Sum(0.0), Sum(0.0), Sum(0.0), 0.0);
}

fn partial_combine(a: Partial, b: Partial) -> Partial {
    return Partial(a.g + b.g, a.g_x_hat + b.g_x_hat, a.g_x + b.g_x, a.count + b.count);
}

fn partial_lanes(a: Partial, lane: Lane) -> Partial {
    return Partial(sum_lanes(a.g, lane), sum_lanes(a.g_x_hat, lane), sum_lanes(a.g_x, lane), count_lanes(a.count, lane));
}

fn partial_align(a: Partial, lane: Lane) -> Partial {
    return a;
}

fn partial_record(a: Partial, column: u32) -> vec4<f32> {
    return vec4<f32>(of_column(a.g, column), of_column(a.g_x_hat, column), of_column(a.g_x, column), a.count);
}

fn partial_of(record: vec4<f32>) -> Partial {
    return Partial(Sum(0.0) + record.x, Sum(0.0) + record.y, Sum(0.0) + record.z, record.w);
}

fn partial_weighed(a: Partial, weight: f32) -> Partial {
    return Partial(a.g * weight, a.g_x_hat * weight, a.g_x * weight, a.count);
}
