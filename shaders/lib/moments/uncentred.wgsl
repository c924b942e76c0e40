// Moments (0, 0, root of the mean square, count).

const CENTRED = false;
fn attempts() -> u32 { return 2u; }
struct Partial { squares: vec4<f32>, count: Count }
struct Whole { square: Sum, count: f32 }

fn partial_none() -> Partial { return Partial(vec4(0.0), Count(0.0)); }
fn partial_push_some(m: Partial, fetched: Fetched, live: Live, known: Known) -> Partial {
    let x = taken4(fetched);
    let d = select(vec4(0.0), x * splat(known.to_unit), live);
    return Partial(fma(d, d, m.squares), m.count + select(Count(0.0), Count(1.0), live));
}
fn whole_of(m: Partial, known: Known) -> Whole {
    let all = sum_counted(m.squares, m.count, 0u);
    return Whole(all.sum / max(all.count, 1.0), all.count);
}
// Squares overflowed or vanished.
fn is_rare(whole: Whole, known: Known, attempt: u32) -> bool {
    let squares = splat(whole.square);
    let ordinary = is_ordinary(squares.x) & is_ordinary(squares.y) & is_ordinary(squares.z) & is_ordinary(squares.w);
    return !ordinary | any(squares == vec4(0.0));
}
fn record_of(whole: Whole, known: Known, e: u32) -> vec4<f32> {
    return record_from(vec4(0.0, 0.0, sqrt(component(whole.square, e)), whole.count), unit_in(known, e));
}
