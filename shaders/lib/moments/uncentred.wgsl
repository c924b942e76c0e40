// Moments (0, 0, root of the mean square, count).

const CENTRED = false;
const RETRIES = true;
struct Partial { squares: vec4<f32>, count: vec4<f32> }
struct Whole { square: Sum, count: f32 }

fn partial_none() -> Partial { return Partial(vec4(0.0), vec4(0.0)); }
fn partial_push(m: Partial, chunk: ptr<function, array<Fetched, FLIGHT>>, live: Live, known: Known) -> Partial {
    var squares = vec4(0.0);
    for (var k = 0u; k < FLIGHT; k += 1u) {
        let d = own4(live, k, (*chunk)[k] * splat(known.to_unit));
        squares = fma(d * weights_of(live, k), d, squares);
    }
    return Partial(m.squares + squares, m.count + count_of(live));
}
fn whole_of(m: Partial, known: Known) -> Whole {
    let count = count_all(m.count, 0u);
    return Whole(sum_all(m.squares, 1u) / max(count, 1.0), count);
}
// Squares overflowed or vanished.
fn is_rare(whole: Whole, known: Known) -> bool {
    let squares = splat(whole.square);
    let ordinary = is_ordinary(squares.x) && is_ordinary(squares.y) && is_ordinary(squares.z) && is_ordinary(squares.w);
    return !ordinary || any(squares == vec4(0.0));
}
fn record_of(whole: Whole, known: Known, e: u32) -> vec4<f32> {
    return vec4(0.0, 0.0, sqrt(component(whole.square, e)) * from_unit(known, e), whole.count);
}
