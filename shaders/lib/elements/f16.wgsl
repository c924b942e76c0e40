// f16, without the conversions of WGSL: it leaves their rounding open, overflow indeterminate, and lets devices flush
// what is subnormal. Bits decide what infinity and NaN are; f32 arithmetic does the rest, on numbers that are no
// denormals: products with powers of two and one difference are exact, one sum rounds. Nothing branches, whatever the
// numbers are. Two neighbours are a word, the first in its lower half.

// Behind 224 in the exponent of an f32 a half is its number times 2^112, infinity or NaN. Only where its exponent is 0
// it has no leading one and steps of 2^-24: there this is too large by half of 2^-14, and twice this by 2^-14. The
// smaller of `this` and `twice this - 2^-14` is right for all: they meet at 2^-14.
fn f16_pair(word: u32) -> vec2<f32> {
    let wide = bitcast<vec2<f32>>(vec2((word << 16u) >> 3u, (word >> 3u) & 0x0fffe000u) | vec2(0x70000000u));
    let magnitude = min(wide * vec2(0x1p-112f), fma(wide, vec2(0x1p-111f), vec2(-0x1p-14f)));
    return bitcast<vec2<f32>>(bitcast<vec2<u32>>(magnitude) | (vec2(word << 16u, word) & vec2(0x80000000u)));
}
fn f16_of_words(w: vec2<u32>) -> vec4<f32> { return vec4(f16_pair(w.x), f16_pair(w.y)); }
fn f16_of_word(word: u32, at: u32) -> f32 { return f16_pair(half_at(word, at)).x; }
// Of halves in the lower bits.
fn f16_numbers(half: vec4<u32>) -> vec4<f32> { return f16_of_words(half.xz | (half.yw << vec2(16u))); }

// To the nearest, ties to even; infinity from 65520 on; NaN, whose highest bit arithmetic sets, stays NaN.
//
// A sum with the power of two below |x|, times 2^13, is rounded where f16 has its last place, by f32's own addition: to
// nearest, ties to even, which WGSL leaves open and tests/gpu/elements.rs asks every adapter. The significand q comes
// out as its lowest bits, 1024 to 2048; below 2^-14, by the power of f16's smallest exponent, it is 0 to 1024, the
// steps of 2^-24 (a denormal x is none of them). With E for the power's exponent the half is q + (E - 113) * 1024, in
// 16 bits q + 2048 + (E + 13) * 1024: the 2048 are added as 2 of 8194, and E + 13 is the exponent of the sum.
fn f16_word(x: vec2<f32>) -> u32 {
    let bits = bitcast<vec2<u32>>(x);
    // 2^16 becomes infinity; as integers, since `min` on floats swallows NaN
    let magnitude = min(bits & vec2(0x7fffffffu), vec2(143u << 23u));
    let power = bitcast<vec2<f32>>(max(magnitude, vec2(113u << 23u)) & vec2(0x7f800000u));
    let sum = bitcast<vec2<u32>>(fma(power, vec2(8194.0), bitcast<vec2<f32>>(magnitude)));
    let half = sum + (sum >> vec2(13u));
    let upper = (bits.x >> 16u) | (bits.y & 0xffff0000u);
    // the carry changes the sign where exponent and the bit below it are all ones
    let nan = ((upper + 0x00400040u) ^ upper) >> 6u;
    return (half.x & 0x7fffu) | (half.y << 16u) | (upper & 0x80008000u) | (nan & 0x02000200u);
}
fn f16_words(x: vec4<f32>) -> vec2<u32> { return vec2(f16_word(x.xy), f16_word(x.zw)); }
// The word with another half.
fn f16_in_word(word: u32, at: u32, x: f32) -> u32 { return with_half(word, at, f16_word(vec2(x, 0.0))); }
