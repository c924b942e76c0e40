// Moments (max |x|, 0, mean of (|x| / max)^p, count). What relative powers are says lib/records/power.wgsl. Keep FLIGHT
// small.

const CENTRED = false;
const RETRIES = false;
struct Partial { top: vec4<u32>, sum: vec4<f32>, count: vec4<f32> }
struct Whole { top: Bits, mean: Sum, count: f32 }

fn partial_none() -> Partial { return Partial(vec4(0u), vec4(0.0), vec4(0.0)); }
fn relative_powers(x: vec4<f32>, top: vec4<u32>) -> vec4<f32> {
    let tops = bitcast<vec4<f32>>(top);
    return vec4(relative_power(x.x, tops.x), relative_power(x.y, tops.y), relative_power(x.z, tops.z),
        relative_power(x.w, tops.w));
}
// A sum relative to a larger magnitude: nothing, where nothing counts.
fn rescaled(m: Partial, top: vec4<u32>) -> vec4<f32> {
    return select(vec4(0.0), m.sum * relative_powers(bitcast<vec4<f32>>(m.top), top), m.top > vec4(0u));
}
fn partial_push(m: Partial, chunk: ptr<function, array<Fetched, FLIGHT>>, live: Live, known: Known) -> Partial {
    var top = m.top;
    for (var k = 0u; k < FLIGHT; k += 1u) {
        top = max(top, select(vec4(0u), magnitude_bits4((*chunk)[k]), is_live(live, k)));
    }
    var sum = rescaled(m, top);
    for (var k = 0u; k < FLIGHT; k += 1u) {
        // where all are 0 nothing is added
        let there = is_live(live, k) & (top > vec4(0u));
        sum += select(vec4(0.0), relative_powers((*chunk)[k], top), there);
    }
    return Partial(top, sum, m.count + count_of(live));
}
fn whole_of(m: Partial, known: Known) -> Whole {
    let top = max_all(m.top, 1u);
    let count = count_all(m.count, 0u);
    return Whole(top, sum_all(rescaled(m, splat_bits(top)), 2u) / max(count, 1.0), count);
}
fn is_rare(whole: Whole, known: Known) -> bool { return false; }
fn record_of(whole: Whole, known: Known, e: u32) -> vec4<f32> {
    return vec4(component(bitcast<Sum>(whole.top), e), 0.0, component(whole.mean, e), whole.count);
}
