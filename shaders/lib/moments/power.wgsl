// Moments (max |x|, 0, mean of (|x| / max)^p, count). What relative powers are says lib/records/power.wgsl. Keep FLIGHT
// small.

const CENTRED = false;
fn attempts() -> u32 { return 1u; }
// `top` is the highest rank of a magnitude.
struct Partial { top: vec4<u32>, sum: vec4<f32>, count: Count }
struct Whole { top: Bits, mean: Sum, count: f32 }

fn partial_none() -> Partial { return Partial(vec4(0u), vec4(0.0), Count(0.0)); }
fn relative_powers(x: vec4<f32>, top: vec4<u32>) -> vec4<f32> {
    let tops = bitcast<vec4<f32>>(ranked4(top));
    return vec4(relative_power(x.x, tops.x), relative_power(x.y, tops.y), relative_power(x.z, tops.z),
        relative_power(x.w, tops.w));
}
// A sum relative to a larger magnitude: nothing, where nothing counts.
fn rescaled(m: Partial, top: vec4<u32>) -> vec4<f32> {
    return select(vec4(0.0), m.sum * relative_powers(bitcast<vec4<f32>>(ranked4(m.top)), top), m.top > vec4(0u));
}
fn partial_push_some(m: Partial, fetched: Fetched, live: Live, known: Known) -> Partial {
    let x = taken4(fetched);
    let top = max(m.top, select(vec4(0u), ranked4(magnitude_bits4(x)), live));
    // where all are 0 nothing is added
    let own = select(vec4(0.0), select(vec4(0.0), relative_powers(x, top), top > vec4(0u)), live);
    return Partial(top, rescaled(m, top) + own, m.count + select(Count(0.0), Count(1.0), live));
}
fn whole_of(m: Partial, known: Known) -> Whole {
    let top = max_all(m.top, 1u);
    let all = sum_counted(rescaled(m, splat_bits(top)), m.count, 0u);
    return Whole(top, all.sum / max(all.count, 1.0), all.count);
}
fn is_rare(whole: Whole, known: Known, attempt: u32) -> bool { return false; }
fn record_of(whole: Whole, known: Known, e: u32) -> vec4<f32> {
    let top = bitcast<f32>(ranked(bitcast<u32>(component(bitcast<Sum>(whole.top), e))));
    return vec4(top, 0.0, component(whole.mean, e), whole.count);
}
