// Accumulator: mean and deviation.
//
// Record (shift, rest, deviation, count): the mean is shift + rest, the deviation the root of the variance (divided by
// count), which has the range of the data where a square has not. The shift is an element of the segment, so x - shift
// is exact or nearly so where the mean is large. Two records merge as in
//   Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979)
// written with weights (n_a / n, n_b / n) instead of sums.

fn acc_start(first: Sum) -> Acc {
    return Acc(select(first, Sum(0.0), magnitude_of(first) >= Bits(params.infinity)), Sum(0.0), Sum(0.0), 0.0);
}

fn acc_combine(a: Acc, b: Acc) -> Acc {
    let all = merged(a, b, difference_of(b.shift, a.shift) + difference_of(b.rest, a.rest));
    return Acc(select(a.shift, b.shift, a.count == 0.0), all.rest, all.spread, all.count);
}

// Two records whose means are delta apart, with the shift of the first.
fn merged(a: Acc, b: Acc, delta: Sum) -> Acc {
    let n = a.count + b.count;
    let weight_a = weight_of(a.count, n);
    let weight_b = weight_of(b.count, n);
    let bits = magnitude_of(delta);
    let top = max(bits, max(magnitude_of(a.spread), magnitude_of(b.spread)));
    let k = to_unit(top);
    let square = (a.spread * k) * (a.spread * k) * weight_a + (b.spread * k) * (b.spread * k) * weight_b
        + (delta * k * weight_a) * (delta * k * weight_b);
    // infinite means have no difference, but a sum
    let rest = select(a.rest + delta * weight_b, a.rest + b.rest, bits >= Bits(params.infinity));
    let spread = sqrt(square) * from_unit(top);
    // the other where nothing counts
    if a.count == 0.0 { return Acc(a.shift, b.rest, b.spread, n); }
    if b.count == 0.0 { return a; }
    return Acc(a.shift, rest, spread, n);
}

// The chunk alone, relative to the shift of `acc`.
fn acc_chunk(acc: Acc, x: ptr<function, Chunk>, live: Live) -> Acc {
    let none = vec4<f32>(0.0);
    let count = count_of(live);
    let share = share_of(count);
    let shift = none + acc.shift;
    let weight = none + share;
    var sum = none;
    var bits = vec4<u32>(0u);
    for (var k = 0u; k < QUADS; k += 1u) {
        let d = select(none, difference4((*x)[k], shift), is_live(live, k));
        sum += d * weight;
        bits = max(bits, magnitude_bits4(d));
    }
    let mean = total(sum);
    let means = none + mean;
    // no difference to the mean is more than twice the largest difference to the shift
    let top = largest(bits);
    let unit = none + to_unit(top);
    var squares = none;
    for (var k = 0u; k < QUADS; k += 1u) {
        let e = difference4(difference4((*x)[k], shift), means) * unit;
        squares += select(none, e * e, is_live(live, k));
    }
    return Acc(acc.shift, mean, sqrt(total(squares) * share) * from_unit(top), count);
}

fn acc_push(acc: Acc, x: ptr<function, Chunk>, live: Live) -> Acc {
    let chunk = acc_chunk(acc, x, live);
    return merged(acc, chunk, difference_of(chunk.rest, acc.rest));
}

// Of all lanes, which have one shift.
fn acc_lanes(acc: Acc, lane: Lane) -> Acc {
    let count = count_lanes(acc.count, lane);
    let weight = acc.count * share_of(count);
    let rest = sum_lanes(acc.rest * weight, lane);
    let delta = select(difference_of(acc.rest, rest), Sum(0.0), acc.count == 0.0);
    let top = max_lanes(max(magnitude_of(delta), magnitude_of(acc.spread)), lane);
    let k = to_unit(top);
    let square = sum_lanes(((acc.spread * k) * (acc.spread * k) + (delta * k) * (delta * k)) * weight, lane);
    return Acc(acc.shift, rest, sqrt(square) * from_unit(top), count);
}

// With one shift in all lanes, for records that have come with shifts of their own.
fn acc_align(acc: Acc, lane: Lane) -> Acc {
    let place = select(Sum(0.0), Sum(f32(lane.lane + 1u)), acc.count > 0.0);
    let chosen = bitcast<Sum>(max_lanes(bitcast<Bits>(place), lane));
    let own = select(Sum(0.0), acc.shift, acc.count > 0.0);
    let shift = sum_lanes(select(Sum(0.0), own, place == chosen), lane);
    return Acc(shift, difference_of(acc.shift, shift) + acc.rest, acc.spread, acc.count);
}
