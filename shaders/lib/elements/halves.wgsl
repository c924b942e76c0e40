// The half of a word that holds the element at this place, in the lower bits.
fn half_at(word: u32, at: u32) -> u32 { return (word >> (16u * (at & 1u))) & 0xffffu; }
// Two neighbours as a word, from the words that the first one and the second one lie in.
fn halves_from(first: u32, second: u32, at: u32) -> u32 {
    return select(first, (first >> 16u) | (second << 16u), (at & 1u) == 1u);
}
// The word with a half, or those that are live, of another.
fn with_half(word: u32, at: u32, half: u32) -> u32 {
    return insert_halves(word, half | (half << 16u), halves(vec2((at & 1u) == 0u, (at & 1u) == 1u)));
}
fn halves(live: vec2<bool>) -> u32 { return select(0u, 0xffffu, live.x) | select(0u, 0xffff0000u, live.y); }
fn insert_halves(word: u32, other: u32, live: u32) -> u32 { return (word & ~live) | (other & live); }
