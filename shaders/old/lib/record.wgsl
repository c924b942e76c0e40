// Records of statistics, to the kernels that reduce and merge records of any kind.

struct Acc {
    shift: Sum,
    rest: Sum,
    spread: Sum,
    count: f32,
}

alias Partial = Acc;

fn partial_none() -> Partial {
    return Partial(Sum(0.0), Sum(0.0), Sum(0.0), 0.0);
}

fn partial_combine(a: Partial, b: Partial) -> Partial {
    return acc_combine(a, b);
}

fn partial_lanes(a: Partial, lane: Lane) -> Partial {
    return acc_lanes(a, lane);
}

fn partial_align(a: Partial, lane: Lane) -> Partial {
    return acc_align(a, lane);
}

fn partial_record(a: Partial, column: u32) -> vec4<f32> {
    return vec4<f32>(of_column(a.shift, column), of_column(a.rest, column), of_column(a.spread, column), a.count);
}

// Of a record, in all columns.
fn partial_of(record: vec4<f32>) -> Partial {
    return Partial(Sum(0.0) + record.x, Sum(0.0) + record.y, Sum(0.0) + record.z, record.w);
}

fn partial_weighed(a: Partial, weight: f32) -> Partial {
    return a;
}

fn record_gradients(record: vec4<f32>) -> vec2<f32> {
    return vec2<f32>(0.0);
}
