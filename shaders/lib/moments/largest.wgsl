// Moments (0, elements that have it, max |x|, count). Magnitudes are compared as integers, so that a NaN stays.

const CENTRED = false;
fn attempts() -> u32 { return 1u; }
struct Partial { top: vec4<u32>, ties: vec4<f32>, count: Count }
struct Whole { top: Bits, ties: Sum, count: f32 }

fn partial_none() -> Partial { return Partial(vec4(0u), vec4(0.0), Count(0.0)); }
fn partial_push_some(m: Partial, fetched: Fetched, live: Live, known: Known) -> Partial {
    let x = taken4(fetched);
    let rank = ranked4(magnitude_bits4(x));
    let top = max(m.top, select(vec4(0u), rank, live));
    let tie = select(vec4(0.0), vec4(1.0), rank == top);
    let ties = select(vec4(0.0), m.ties, m.top == top) + select(vec4(0.0), tie, live);
    return Partial(top, ties, m.count + select(Count(0.0), Count(1.0), live));
}
fn whole_of(m: Partial, known: Known) -> Whole {
    let top = max_all(m.top, 1u);
    let ties = sum_counted(select(vec4(0.0), m.ties, m.top == splat_bits(top)), m.count, 0u);
    return Whole(top, ties.sum, ties.count);
}
fn is_rare(whole: Whole, known: Known, attempt: u32) -> bool { return false; }
fn record_of(whole: Whole, known: Known, e: u32) -> vec4<f32> {
    let top = ranked(bitcast<u32>(component(bitcast<Sum>(whole.top), e)));
    return vec4(0.0, component(whole.ties, e), bitcast<f32>(top), whole.count);
}
