// Moments (shift, rest, deviation, count): the mean is shift + rest, the deviation the root of the variance (divided by count), which
// has the range of the data where a square has not.

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
        let d = fma((*chunk)[k], splat(known.to_unit), splat(known.from_shift));
        (*chunk)[k] = d;
        sum += select(vec4(0.0), d, is_live(live, k));
    }
    let mean = sum / max(count, vec4(1.0));
    var squares = vec4(0.0);
    for (var k = 0u; k < FLIGHT; k += 1u) {
        let e = select(vec4(0.0), difference4((*chunk)[k], mean), is_live(live, k));
        squares = fma(e, e, squares);
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

// Squares overflowed or vanished, beside the rest too; or nothing differs from a shift so small that differences may have vanished.
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

// (shift, rest, ...) in units, such that neither overflows: the mean rounded, and what that leaves.
fn record_centred(shift: f32, rest: f32, from_unit: f32) -> vec2<f32> {
    let mean = shift + rest;
    return vec2(mean, difference(shift, mean) + rest) * from_unit;
}
fn record_of(whole: Whole, known: Known, e: u32) -> vec4<f32> {
    let from_unit = component(known.from_unit, e);
    let shift = component(known.shift, e);
    let rest = component(whole.rest, e);
    let deviation = sqrt(component(whole.variance, e)) * from_unit;
    let infinite = component(known.infinite, e);
    if infinite != 0.0 { return vec4(infinite, 0.0, infinite * p.exact.nothing, whole.count); }
    // a difference reaches twice the range
    if !is_finite(rest * from_unit) {
        return vec4(record_centred(shift * component(known.to_unit, e), rest, from_unit), deviation, whole.count);
    }
    return vec4(shift, rest * from_unit, deviation, whole.count);
}

// Of two records, whatever their shifts, over the whole range. Not for hot loops.
fn record_merged(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    if a.w == 0.0 { return b; }
    if b.w == 0.0 { return a; }
    let n = a.w + b.w;
    let weights = vec2(a.w, b.w) / n;
    let bits = max(magnitude_bits4(a), magnitude_bits4(b));
    let top = max(max(bits.x, bits.y), bits.z);
    // infinite means have no difference, but a sum
    if top >= INFINITY { return vec4(a.x + a.y + (b.x + b.y), 0.0, bitcast<f32>(p.exact.nan), n); }
    let unit = i32(clamp(top >> 23u, 1u, 252u)) + 1;
    let u = a.xyz * power_of_two(254 - unit);
    let v = b.xyz * power_of_two(254 - unit);
    let delta = difference(v.x, u.x) + difference(v.y, u.y);
    let square = u.z * u.z * weights.x + v.z * v.z * weights.y + delta * weights.x * (delta * weights.y);
    return vec4(record_centred(u.x, fma(delta, weights.y, u.y), power_of_two(unit)), sqrt(square) * power_of_two(unit), n);
}
