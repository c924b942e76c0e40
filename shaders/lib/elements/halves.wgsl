// The half of a word that holds the element at this place, in the lower bits; and the word with another one.
fn half_at(word: u32, at: u32) -> u32 { return (word >> (16u * (at & 1u))) & 0xffffu; }
fn with_half(word: u32, at: u32, half: u32) -> u32 {
    return select((word & 0xffff0000u) | half, (word & 0xffffu) | (half << 16u), (at & 1u) == 1u);
}
