// Moments (shift, rest, deviation, count): the mean is shift + rest, the deviation the root of the variance (divided by
// count), which has the range of the data where a square has not.

const CENTRED = true;
fn attempts() -> u32 { return 2u; }
// Of a lane: means of x - shift, and sums of squared differences to them.
struct Partial { rest: vec4<f32>, squares: vec4<f32>, count: Count }
struct Whole { rest: Sum, variance: Sum, count: f32 }

fn partial_none() -> Partial { return Partial(vec4(0.0), vec4(0.0), Count(0.0)); }

fn from_shift(x: vec4<f32>, known: Known) -> vec4<f32> {
    return fma(x, splat(known.to_unit), splat(known.from_shift));
}
// Exactly, in two passes over the registers; then one merge
//   Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979)
fn partial_push(m: Partial, chunk: ptr<function, array<Fetched, FLIGHT>>, known: Known) -> Partial {
    var x: array<vec4<f32>, FLIGHT>;
    var sum = vec4(0.0);
    for (var k = 0u; k < FLIGHT; k += 1u) {
        x[k] = from_shift(taken4((*chunk)[k]), known);
        sum += x[k];
    }
    let mean = sum / f32(FLIGHT);
    var squares = vec4(0.0);
    for (var k = 0u; k < FLIGHT; k += 1u) {
        let e = difference4(x[k], mean);
        squares = fma(e, e, squares);
    }
    let all = even(m.count) + f32(FLIGHT);
    let weight = f32(FLIGHT) / all;
    let delta = difference4(mean, m.rest);
    squares = fma(delta * delta, vec4(even(m.count) * weight), m.squares + squares);
    return Partial(fma(delta, vec4(weight), m.rest), squares, Count(all));
}
// One by one.
fn partial_push_some(m: Partial, fetched: Fetched, live: Live, known: Known) -> Partial {
    let x = taken4(fetched);
    let all = m.count + select(Count(0.0), Count(1.0), live);
    let delta = select(vec4(0.0), difference4(from_shift(x, known), m.rest), live);
    let weighed = delta * (1.0 / max(all, Count(1.0)));
    return Partial(m.rest + weighed, fma(delta * weighed, vec4(m.count), m.squares), all);
}

fn whole_of(m: Partial, known: Known) -> Whole {
    let all = sum_counted(m.rest * m.count, m.count, 0u);
    let share = 1.0 / max(all.count, 1.0);
    let rest = all.sum * share;
    let e = difference4(m.rest, splat(rest));
    let variance = sum_all(fma(e * e, vec4(m.count), m.squares), 1u) * share;
    return Whole(rest, variance, all.count);
}

// Squares overflowed or vanished, beside the rest too; or nothing differs from a shift so small that differences, or
// their mean, may have vanished. All may be 0 then: the second attempt says the same.
fn is_rare(whole: Whole, known: Known, attempt: u32) -> bool {
    let variances = splat(whole.variance);
    let rests = splat(whole.rest);
    let shifts = splat(known.shift);
    var ordinary = true;
    for (var e = 0u; e < 4u; e += 1u) {
        let square = fma(rests[e], rests[e], variances[e]);
        ordinary &= select(is_ordinary(square), (rests[e] == 0.0) & (abs(shifts[e]) > 9.3e-10), square == 0.0);
    }
    return !ordinary;
}

fn record_of(whole: Whole, known: Known, e: u32) -> vec4<f32> {
    let shift = component(known.shift, e);
    let rest = component(whole.rest, e);
    let up = from_unit(known, e);
    let root = sqrt(component(whole.variance, e));
    let deviation = root * up;
    if !is_finite(shift) { return vec4(shift, 0.0, bitcast<f32>(p.exact.nan), whole.count); }
    if unit_in(known, e) < TINY {
        return record_from(vec4(shift * component(known.to_unit, e), rest, root, whole.count), unit_in(known, e));
    }
    // a difference reaches twice the range
    if !is_finite(rest * up) {
        return vec4(record_centred(shift * component(known.to_unit, e), rest, up), deviation, whole.count);
    }
    return vec4(shift, rest * up, deviation, whole.count);
}
