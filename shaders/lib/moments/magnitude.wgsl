// Moments (0, 0, mean |x|, count).

const CENTRED = false;
fn attempts() -> u32 { return 2u; }
struct Partial { sum: vec4<f32>, count: Count }
struct Whole { mean: Sum, count: f32 }

fn partial_none() -> Partial { return Partial(vec4(0.0), Count(0.0)); }
fn partial_push_some(m: Partial, fetched: Fetched, live: Live, known: Known) -> Partial {
    let x = taken4(fetched);
    let d = select(vec4(0.0), abs(x * splat(known.to_unit)), live);
    return Partial(m.sum + d, m.count + select(Count(0.0), Count(1.0), live));
}
fn whole_of(m: Partial, known: Known) -> Whole {
    let all = sum_counted(m.sum, m.count, 0u);
    return Whole(all.sum / max(all.count, 1.0), all.count);
}
// A sum overflowed.
fn is_rare(whole: Whole, known: Known, attempt: u32) -> bool {
    let means = splat(whole.mean);
    return !(is_ordinary(means.x) & is_ordinary(means.y) & is_ordinary(means.z) & is_ordinary(means.w));
}
fn record_of(whole: Whole, known: Known, e: u32) -> vec4<f32> {
    return record_from(vec4(0.0, 0.0, component(whole.mean, e), whole.count), unit_in(known, e));
}
