// Accumulator: largest magnitude (p = infinity).
//
// Record (0, elements that have it, max |x|, count). Magnitudes are compared as integers, so that a NaN stays.

fn acc_start(first: Sum) -> Acc {
    return Acc(Sum(0.0), Sum(0.0), Sum(0.0), 0.0);
}

fn acc_combine(a: Acc, b: Acc) -> Acc {
    let bits_a = magnitude_of(a.spread);
    let bits_b = magnitude_of(b.spread);
    let ties = select(Sum(0.0), a.rest, bits_a >= bits_b) + select(Sum(0.0), b.rest, bits_b >= bits_a);
    return Acc(Sum(0.0), ties, bitcast<Sum>(max(bits_a, bits_b)), a.count + b.count);
}

fn acc_chunk(acc: Acc, x: ptr<function, Chunk>, live: Live) -> Acc {
    let top = top_of(x, live);
    let tops = vec4<u32>(0u) + top;
    var ties = vec4<f32>(0.0);
    for (var k = 0u; k < QUADS; k += 1u) {
        let same = (magnitude_bits4((*x)[k]) == tops) & is_live(live, k);
        ties += select(vec4<f32>(0.0), vec4<f32>(1.0), same);
    }
    return Acc(Sum(0.0), total(ties), bitcast<Sum>(top), count_of(live));
}

fn acc_push(acc: Acc, x: ptr<function, Chunk>, live: Live) -> Acc {
    return acc_combine(acc, acc_chunk(acc, x, live));
}

fn acc_lanes(acc: Acc, lane: Lane) -> Acc {
    let top = max_lanes(magnitude_of(acc.spread), lane);
    let ties = sum_lanes(select(Sum(0.0), acc.rest, magnitude_of(acc.spread) == top), lane);
    return Acc(Sum(0.0), ties, bitcast<Sum>(top), count_lanes(acc.count, lane));
}

fn acc_align(acc: Acc, lane: Lane) -> Acc {
    return acc;
}
