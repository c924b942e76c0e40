// Moments (0, 0, mean |x|, count).

const CENTRED = false;
const RETRIES = true;
struct Partial { sum: vec4<f32>, count: vec4<f32> }
struct Whole { mean: Sum, count: f32 }

fn partial_none() -> Partial { return Partial(vec4(0.0), vec4(0.0)); }
fn partial_push(m: Partial, chunk: ptr<function, array<Fetched, FLIGHT>>, live: Live, known: Known) -> Partial {
    var sum = vec4(0.0);
    for (var k = 0u; k < FLIGHT; k += 1u) {
        sum = fma(abs(own4(live, k, (*chunk)[k] * splat(known.to_unit))), weights_of(live, k), sum);
    }
    return Partial(m.sum + sum, m.count + count_of(live));
}
fn whole_of(m: Partial, known: Known) -> Whole {
    let count = count_all(m.count, 0u);
    return Whole(sum_all(m.sum, 1u) / max(count, 1.0), count);
}
// A sum overflowed.
fn is_rare(whole: Whole, known: Known) -> bool {
    let means = splat(whole.mean);
    return !(is_ordinary(means.x) && is_ordinary(means.y) && is_ordinary(means.z) && is_ordinary(means.w));
}
fn record_of(whole: Whole, known: Known, e: u32) -> vec4<f32> {
    return vec4(0.0, 0.0, component(whole.mean, e) * from_unit(known, e), whole.count);
}
