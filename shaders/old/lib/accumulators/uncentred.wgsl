// Accumulator: root mean square.
//
// Record (0, 0, root of the mean square, count): the root has the range of the data where a square has not.

fn acc_start(first: Sum) -> Acc {
    return Acc(Sum(0.0), Sum(0.0), Sum(0.0), 0.0);
}

fn acc_combine(a: Acc, b: Acc) -> Acc {
    let n = a.count + b.count;
    let top = max(magnitude_of(a.spread), magnitude_of(b.spread));
    let k = to_unit(top);
    let square = (a.spread * k) * (a.spread * k) * (weight_of(a.count, n)) + (b.spread * k) * (b.spread * k) * (weight_of(b.count, n));
    return Acc(Sum(0.0), Sum(0.0), sqrt(square) * from_unit(top), n);
}

fn acc_chunk(acc: Acc, x: ptr<function, Chunk>, live: Live) -> Acc {
    let none = vec4<f32>(0.0);
    let count = count_of(live);
    let top = top_of(x, live);
    let unit = none + to_unit(top);
    var squares = none;
    for (var k = 0u; k < QUADS; k += 1u) {
        let e = (*x)[k] * unit;
        squares += select(none, e * e, is_live(live, k));
    }
    return Acc(Sum(0.0), Sum(0.0), sqrt(total(squares) * share_of(count)) * from_unit(top), count);
}

fn acc_push(acc: Acc, x: ptr<function, Chunk>, live: Live) -> Acc {
    return acc_combine(acc, acc_chunk(acc, x, live));
}

fn acc_lanes(acc: Acc, lane: Lane) -> Acc {
    let count = count_lanes(acc.count, lane);
    let top = max_lanes(magnitude_of(acc.spread), lane);
    let k = to_unit(top);
    let square = sum_lanes((acc.spread * k) * (acc.spread * k) * (acc.count * share_of(count)), lane);
    return Acc(Sum(0.0), Sum(0.0), sqrt(square) * from_unit(top), count);
}

fn acc_align(acc: Acc, lane: Lane) -> Acc {
    return acc;
}
