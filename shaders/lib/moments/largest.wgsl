// Moments (0, elements that have it, max |x|, count). Magnitudes are compared as integers, so that a NaN stays.

const CENTRED = false;
const RETRIES = false;
struct Partial { top: vec4<u32>, ties: vec4<f32>, count: vec4<f32> }
struct Whole { top: Bits, ties: Sum, count: f32 }

fn partial_none() -> Partial { return Partial(vec4(0u), vec4(0.0), vec4(0.0)); }
fn partial_push(m: Partial, chunk: ptr<function, array<Fetched, FLIGHT>>, live: Live, known: Known) -> Partial {
    var top = m.top;
    for (var k = 0u; k < FLIGHT; k += 1u) {
        top = max(top, select(vec4(0u), magnitude_bits4((*chunk)[k]), is_live(live, k)));
    }
    var ties = select(vec4(0.0), m.ties, m.top == top);
    for (var k = 0u; k < FLIGHT; k += 1u) {
        ties += select(vec4(0.0), vec4(1.0), (magnitude_bits4((*chunk)[k]) == top) & is_live(live, k));
    }
    return Partial(top, ties, m.count + count_of(live));
}
fn whole_of(m: Partial, known: Known) -> Whole {
    let top = max_all(m.top, 1u);
    let ties = sum_all(select(vec4(0.0), m.ties, m.top == splat_bits(top)), 2u);
    return Whole(top, ties, count_all(m.count, 0u));
}
fn is_rare(whole: Whole, known: Known) -> bool { return false; }
fn record_of(whole: Whole, known: Known, e: u32) -> vec4<f32> {
    return vec4(0.0, component(whole.ties, e), component(bitcast<Sum>(whole.top), e), whole.count);
}
