// f16 by the conversions of WGSL, on devices where they were found exact (device/halves.rs): to the nearest, ties to
// even, infinity beyond, what is subnormal kept. Two neighbours are a word, the first in its lower half.
fn f16_of_words(w: vec2<u32>) -> vec4<f32> { return vec4(unpack2x16float(w.x), unpack2x16float(w.y)); }
fn f16_of_word(word: u32, at: u32) -> f32 { return unpack2x16float(half_at(word, at)).x; }
// Of halves in the lower bits.
fn f16_numbers(half: vec4<u32>) -> vec4<f32> { return f16_of_words(half.xz | (half.yw << vec2(16u))); }
fn f16_words(x: vec4<f32>) -> vec2<u32> { return vec2(pack2x16float(x.xy), pack2x16float(x.zw)); }
// The word with another half.
fn f16_in_word(word: u32, at: u32, x: f32) -> u32 { return with_half(word, at, pack2x16float(vec2(x, 0.0))); }
