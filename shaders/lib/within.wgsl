// Over neighbouring lanes of a subgroup: a power of two, between bounds that compilers know.
struct Neighbours { count: u32, least: u32, most: u32 }
fn exactly(count: u32) -> Neighbours { return Neighbours(count, count, count); }
fn has_step(l: Neighbours, step: u32) -> bool { return l.least > step || l.count > step; }
fn sum_within(x: f32, l: Neighbours) -> f32 {
    var s = x;
    if l.most > 1u { s += select(0.0, subgroupShuffleXor(s, 1u), has_step(l, 1u)); }
    if l.most > 2u { s += select(0.0, subgroupShuffleXor(s, 2u), has_step(l, 2u)); }
    if l.most > 4u { s += select(0.0, subgroupShuffleXor(s, 4u), has_step(l, 4u)); }
    if l.most > 8u { s += select(0.0, subgroupShuffleXor(s, 8u), has_step(l, 8u)); }
    if l.most > 16u { s += select(0.0, subgroupShuffleXor(s, 16u), has_step(l, 16u)); }
    if l.most > 32u { s += select(0.0, subgroupShuffleXor(s, 32u), has_step(l, 32u)); }
    return s;
}
fn sum2_within(x: vec2<f32>, l: Neighbours) -> vec2<f32> { return vec2(sum_within(x.x, l), sum_within(x.y, l)); }
fn sum4_within(x: vec4<f32>, l: Neighbours) -> vec4<f32> {
    return vec4(sum2_within(x.xy, l), sum2_within(x.zw, l));
}
fn max_within(x: u32, l: Neighbours) -> u32 {
    var s = x;
    if l.most > 1u { s = max(s, select(0u, subgroupShuffleXor(s, 1u), has_step(l, 1u))); }
    if l.most > 2u { s = max(s, select(0u, subgroupShuffleXor(s, 2u), has_step(l, 2u))); }
    if l.most > 4u { s = max(s, select(0u, subgroupShuffleXor(s, 4u), has_step(l, 4u))); }
    if l.most > 8u { s = max(s, select(0u, subgroupShuffleXor(s, 8u), has_step(l, 8u))); }
    if l.most > 16u { s = max(s, select(0u, subgroupShuffleXor(s, 16u), has_step(l, 16u))); }
    if l.most > 32u { s = max(s, select(0u, subgroupShuffleXor(s, 32u), has_step(l, 32u))); }
    return s;
}
