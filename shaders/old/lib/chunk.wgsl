// Up to QUADS quads of an invocation, which an accumulator takes in at once: exact two-pass over them, then one merge.

alias Chunk = array<vec4<f32>, QUADS>;

// Element e of quad k is there where first[e] + k * step < end. Elements before the first wrap around.
struct Live {
    first: vec4<u32>,
    step: u32,
    end: u32,
}

// Whether all chunks are full: then nothing is masked.
override FILLED: bool = false;

fn is_live(live: Live, k: u32) -> vec4<bool> {
    if FILLED { return vec4<bool>(true); }
    return live.first + vec4<u32>(k * live.step) < vec4<u32>(live.end);
}

// What is there from quad k on.
fn live_from(live: Live, k: u32) -> Live {
    return Live(live.first + vec4<u32>(k * live.step), live.step, live.end);
}

// How many elements of a segment are there: as many in each of four.
fn count_of(live: Live) -> f32 {
    var count = vec4<f32>(0.0);
    for (var k = 0u; k < QUADS; k += 1u) {
        count += select(vec4<f32>(0.0), vec4<f32>(1.0), is_live(live, k));
    }
    return of_column(total(count), 0u);
}

// 1 / n, and 0 where there is nothing.
fn share_of(n: f32) -> f32 {
    return select(1.0 / n, 0.0, n == 0.0);
}

// a / n, and 0 where there is nothing.
fn weight_of(a: f32, n: f32) -> f32 {
    return select(a / n, 0.0, n == 0.0);
}

// Bits of |x|.
fn magnitude_of(x: Sum) -> Bits {
    return bitcast<Bits>(x) & Bits(0x7fffffffu);
}

// 2^-exponent and 2^exponent of the magnitude with these bits: see scale.wgsl.
fn to_unit(bits: Bits) -> Sum {
    return bitcast<Sum>((Bits(254u) - clamp(bits >> Bits(23u), Bits(1u), Bits(253u))) << Bits(23u));
}

fn from_unit(bits: Bits) -> Sum {
    return bitcast<Sum>(clamp(bits >> Bits(23u), Bits(1u), Bits(253u)) << Bits(23u));
}

// Bits of the largest magnitude of what is there.
fn top_of(x: ptr<function, Chunk>, live: Live) -> Bits {
    var bits = vec4<u32>(0u);
    for (var k = 0u; k < QUADS; k += 1u) {
        bits = max(bits, select(vec4<u32>(0u), magnitude_bits4((*x)[k]), is_live(live, k)));
    }
    return largest(bits);
}
