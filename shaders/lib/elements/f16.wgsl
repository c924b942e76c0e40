// f16, converted by integers: WGSL leaves the rounding of its own conversions open, overflow indeterminate, and lets
// devices flush what is subnormal. Two neighbours are a word, the first in its lower half.

// Of halves in the lower bits.
fn f16_numbers(half: vec4<u32>) -> vec4<f32> {
    let magnitude = (half & vec4(0x7fffu)) << vec4(13u);
    // f32's exponents begin 112 further down; infinity and NaN have the largest of either
    let normal = magnitude + select(vec4(112u << 23u), vec4(224u << 23u), magnitude >= vec4(0x0f800000u));
    // steps of 2^-24, between 2^-14 and 2^-13, less 2^-14: exact, and no subnormal of f32
    let subnormal = bitcast<vec4<u32>>(bitcast<vec4<f32>>(magnitude + vec4(113u << 23u)) - vec4(0.00006103515625));
    let bits = select(normal, subnormal, magnitude < vec4(0x00800000u));
    return bitcast<vec4<f32>>(bits | ((half & vec4(0x8000u)) << vec4(16u)));
}
fn f16_of_word(word: u32, at: u32) -> f32 { return f16_numbers(vec4(half_at(word, at))).x; }
fn f16_of_words(w: vec2<u32>) -> vec4<f32> {
    return f16_numbers(vec4(w.x & 0xffffu, w.x >> 16u, w.y & 0xffffu, w.y >> 16u));
}
// To the nearest, ties to even; infinity from 65520 on; NaN stays NaN.
fn f16_bits(x: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(x);
    let magnitude = bits & vec4(0x7fffffffu);
    let tie = vec4(0xfffu) + ((bits >> vec4(13u)) & vec4(1u));
    // 2^16 is what infinity would be
    let half = (min(magnitude, vec4(143u << 23u)) - vec4(112u << 23u) + tie) >> vec4(13u);
    let sign = (bits >> vec4(16u)) & vec4(0x8000u);
    // subnormal, or NaN: rare
    let rare = (magnitude < vec4(113u << 23u)) | (magnitude > vec4(0x7f800000u));
    if any(rare) { return select(half, f16_rare(magnitude), rare) | sign; }
    return half | sign;
}
// NaN, or steps of 2^-24.
fn f16_rare(magnitude: vec4<u32>) -> vec4<u32> {
    let shift = min(vec4(126u) - (magnitude >> vec4(23u)), vec4(25u));
    let significand = (magnitude & vec4(0x7fffffu)) | vec4(0x800000u);
    let tie = (vec4(1u) << (shift - vec4(1u))) - vec4(1u) + ((significand >> shift) & vec4(1u));
    return select((significand + tie) >> shift, vec4(0x7e00u), magnitude > vec4(0x7f800000u));
}
fn f16_words(x: vec4<f32>) -> vec2<u32> {
    let half = f16_bits(x);
    return vec2(half.x | (half.y << 16u), half.z | (half.w << 16u));
}
// The word with another half.
fn f16_in_word(word: u32, at: u32, x: f32) -> u32 { return with_half(word, at, f16_bits(vec4(x)).x); }
