// Moments (shift, rest, deviation, count): the mean is shift + rest, the deviation the root of the variance (divided by
// count), which has the range of the data where a square has not.

const CENTRED = true;
const RETRIES = true;
// Of a lane: means of x - shift, and sums of squared differences to them.
struct Partial { rest: vec4<f32>, squares: vec4<f32>, count: vec4<f32> }
struct Whole { rest: Sum, variance: Sum, count: f32 }

fn partial_none() -> Partial { return Partial(vec4(0.0), vec4(0.0), vec4(0.0)); }

// Exactly, in two passes over the registers; then one merge
//   Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979)
fn partial_push(m: Partial, chunk: ptr<function, array<Fetched, FLIGHT>>, live: Live, known: Known) -> Partial {
    let count = count_of(live);
    var sum = vec4(0.0);
    for (var k = 0u; k < FLIGHT; k += 1u) {
        let d = own4(live, k, fma((*chunk)[k], splat(known.to_unit), splat(known.from_shift)));
        (*chunk)[k] = d;
        sum = fma(d, weights_of(live, k), sum);
    }
    let mean = sum / max(count, vec4(1.0));
    var squares = vec4(0.0);
    for (var k = 0u; k < FLIGHT; k += 1u) {
        let e = difference4((*chunk)[k], mean);
        squares = fma(e * weights_of(live, k), e, squares);
    }
    let all = even(m.count) + count;
    let weight = count / max(all, vec4(1.0));
    let delta = difference4(mean, m.rest);
    return Partial(fma(delta, weight, m.rest), fma(delta * delta, even(m.count) * weight, m.squares + squares), all);
}

fn whole_of(m: Partial, known: Known) -> Whole {
    let count = count_all(m.count, 0u);
    let share = 1.0 / max(count, 1.0);
    let rest = sum_all(m.rest * even(m.count), 1u) * share;
    let e = difference4(m.rest, splat(rest));
    let variance = sum_all(fma(e * e, even(m.count), m.squares), 2u) * share;
    return Whole(rest, variance, count);
}

// Squares overflowed or vanished, beside the rest too; or nothing differs from a shift so small that differences may
// have vanished.
fn is_rare(whole: Whole, known: Known) -> bool {
    let variances = splat(whole.variance);
    let rests = splat(whole.rest);
    let shifts = splat(known.shift);
    var ordinary = true;
    for (var e = 0u; e < 4u; e += 1u) {
        let square = fma(rests[e], rests[e], variances[e]);
        let shift = abs(shifts[e]);
        ordinary &= select(is_ordinary(square), rests[e] == 0.0 && (shift == 0.0 || shift > 9.3e-10), square == 0.0);
    }
    return !ordinary;
}

fn record_of(whole: Whole, known: Known, e: u32) -> vec4<f32> {
    let shift = component(known.shift, e);
    let rest = component(whole.rest, e);
    let up = from_unit(known, e);
    let deviation = sqrt(component(whole.variance, e)) * up;
    if !is_finite(shift) { return vec4(shift, 0.0, bitcast<f32>(p.exact.nan), whole.count); }
    // a difference reaches twice the range
    if !is_finite(rest * up) {
        return vec4(record_centred(shift * component(known.to_unit, e), rest, up), deviation, whole.count);
    }
    return vec4(shift, rest * up, deviation, whole.count);
}
