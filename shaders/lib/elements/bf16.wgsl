// bf16: the upper half of an f32. Two neighbours are a word, the first in its lower half.
fn bf16_of_word(word: u32, at: u32) -> f32 { return bitcast<f32>(half_at(word, at) << 16u); }
// Of halves in the lower bits.
fn bf16_numbers(half: vec4<u32>) -> vec4<f32> { return bitcast<vec4<f32>>(half << vec4(16u)); }
fn bf16_of_words(w: vec2<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u));
}
// In the upper halves: to the nearest, ties to even; infinity beyond the largest. NaN, whose highest bit arithmetic
// sets, stays NaN: bits of either sign are kept from being rounded beyond all others.
fn bf16_bits(x: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(x);
    let positive = bitcast<vec4<u32>>(min(bitcast<vec4<i32>>(bits), vec4(0x7fff7fff)));
    return min(positive, vec4(0xffff7fffu)) + vec4(0x7fffu) + ((bits >> vec4(16u)) & vec4(1u));
}
fn bf16_words(x: vec4<f32>) -> vec2<u32> {
    let bits = bf16_bits(x);
    return vec2((bits.x >> 16u) | (bits.y & 0xffff0000u), (bits.z >> 16u) | (bits.w & 0xffff0000u));
}
// The word with another half.
fn bf16_in_word(word: u32, at: u32, x: f32) -> u32 { return with_half(word, at, bf16_bits(vec4(x)).x >> 16u); }
