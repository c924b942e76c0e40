// Accumulator: mean magnitude (p = 1).
//
// Record (0, 0, mean |x|, count).

fn acc_start(first: Sum) -> Acc {
    return Acc(Sum(0.0), Sum(0.0), Sum(0.0), 0.0);
}

fn acc_combine(a: Acc, b: Acc) -> Acc {
    let n = a.count + b.count;
    return Acc(Sum(0.0), Sum(0.0), a.spread * (weight_of(a.count, n)) + b.spread * (weight_of(b.count, n)), n);
}

fn acc_chunk(acc: Acc, x: ptr<function, Chunk>, live: Live) -> Acc {
    let none = vec4<f32>(0.0);
    let count = count_of(live);
    let weight = none + share_of(count);
    var sum = none;
    for (var k = 0u; k < QUADS; k += 1u) {
        sum += select(none, abs((*x)[k]) * weight, is_live(live, k));
    }
    return Acc(Sum(0.0), Sum(0.0), total(sum), count);
}

fn acc_push(acc: Acc, x: ptr<function, Chunk>, live: Live) -> Acc {
    return acc_combine(acc, acc_chunk(acc, x, live));
}

fn acc_lanes(acc: Acc, lane: Lane) -> Acc {
    let count = count_lanes(acc.count, lane);
    return Acc(Sum(0.0), Sum(0.0), sum_lanes(acc.spread * (acc.count * share_of(count)), lane), count);
}

fn acc_align(acc: Acc, lane: Lane) -> Acc {
    return acc;
}
