// Rows of an odd number of halves: two of them, a pair, begin and end at words. The first row's words are two of its
// elements, but the last is half a word; in the second row each begins with the element before. A lane lends what its
// neighbours' words need, in workgroup memory: every second element of the second row, and before them the last one of
// the first row. Between lending and joining lies a barrier. Pairs are numbered in their workgroup.
override BESIDE: u32 = 1u;   // elements that are lent, of all pairs of the workgroup
var<workgroup> beside: array<f32, BESIDE>;

fn beside_at(pair: u32) -> u32 { return pair * (2u * lanes() * VECTORS + 1u); }
// Of a vector at these columns.
fn lend4(pair: u32, second: bool, c: vec4<u32>, live: vec4<bool>, v: vec4<f32>) {
    let place = select(vec2(0u), 1u + c.yw / 2u, second) + beside_at(pair);
    let lent = select(v.xz, v.yw, second);
    if live.x & (live.y == second) { beside[place.x] = lent.x; }
    if live.z & (live.w == second) { beside[place.y] = lent.y; }
}
// The halves of the two words that a vector ends.
fn joined4(pair: u32, second: bool, c: vec4<u32>, v: vec4<f32>) -> vec4<f32> {
    if !second { return v; }
    let place = c.xz / 2u + beside_at(pair);
    return vec4(beside[place.x], v.x, beside[place.y], v.z);
}
// Which of them there are.
fn words_of4(second: bool, live: vec4<bool>) -> vec4<bool> { return live & (vec4(second) | live.yxwz); }
