// Accumulator: mean of |x|^p for any p > 0.
//
// Record (largest |x|, 0, mean of (|x| / largest)^p, count): with the largest magnitude factored out no power over- or
// underflows that matters. A NaN becomes the largest and stays.

fn acc_start(first: Sum) -> Acc {
    return Acc(Sum(0.0), Sum(0.0), Sum(0.0), 0.0);
}

// (x / largest)^p; 1 where they are equal, infinity included.
fn relative_power(x: f32, largest: f32) -> f32 {
    if magnitude_bits(x) == magnitude_bits(largest) { return 1.0; }
    return power(abs(x) / abs(largest), params.p);
}

fn relative_powers(x: vec4<f32>, largest: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(
        relative_power(x.x, largest.x),
        relative_power(x.y, largest.y),
        relative_power(x.z, largest.z),
        relative_power(x.w, largest.w),
    );
}

fn power_of(x: Sum, largest: Sum) -> Sum {
    return first_of(relative_powers(vec4<f32>(0.0) + x, vec4<f32>(0.0) + largest));
}

// Relative to a larger magnitude: nothing, where nothing counts.
fn rescaled(a: Acc, top: Sum, weight: f32) -> Sum {
    let powers = a.spread * power_of(a.shift, top) * weight;
    return select(powers, Sum(0.0), a.count == 0.0);
}

fn acc_combine(a: Acc, b: Acc) -> Acc {
    let n = a.count + b.count;
    let top = bitcast<Sum>(max(magnitude_of(a.shift), magnitude_of(b.shift)));
    return Acc(top, Sum(0.0), rescaled(a, top, weight_of(a.count, n)) + rescaled(b, top, weight_of(b.count, n)), n);
}

fn acc_chunk(acc: Acc, x: ptr<function, Chunk>, live: Live) -> Acc {
    let none = vec4<f32>(0.0);
    let count = count_of(live);
    let top = bitcast<Sum>(top_of(x, live));
    let tops = none + top;
    var sum = none;
    for (var k = 0u; k < QUADS; k += 1u) {
        sum += select(none, relative_powers((*x)[k], tops), is_live(live, k));
    }
    // where all are 0 the mean of no magnitude is 0
    let mean = select(total(sum) / count, Sum(0.0), top == Sum(0.0));
    return Acc(top, Sum(0.0), mean, count);
}

fn acc_push(acc: Acc, x: ptr<function, Chunk>, live: Live) -> Acc {
    return acc_combine(acc, acc_chunk(acc, x, live));
}

fn acc_lanes(acc: Acc, lane: Lane) -> Acc {
    let count = count_lanes(acc.count, lane);
    let top = bitcast<Sum>(max_lanes(magnitude_of(acc.shift), lane));
    return Acc(top, Sum(0.0), sum_lanes(rescaled(acc, top, acc.count * share_of(count)), lane), count);
}

fn acc_align(acc: Acc, lane: Lane) -> Acc {
    return acc;
}
