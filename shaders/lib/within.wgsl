// Over neighbouring lanes of a subgroup: a power of two, between bounds that compilers know.
struct Neighbours { count: u32, least: u32, most: u32 }
fn exactly(count: u32) -> Neighbours { return Neighbours(count, count, count); }
fn has_step(l: Neighbours, step: u32) -> bool { return l.least > step || l.count > step; }
fn sum_within(x: f32, l: Neighbours) -> f32 {
    var s = x;
    for (var step = 1u; step < l.most; step <<= 1u) {
        s += select(0.0, subgroupShuffleXor(s, step), has_step(l, step));
    }
    return s;
}
fn sum2_within(x: vec2<f32>, l: Neighbours) -> vec2<f32> { return vec2(sum_within(x.x, l), sum_within(x.y, l)); }
fn sum4_within(x: vec4<f32>, l: Neighbours) -> vec4<f32> {
    return vec4(sum2_within(x.xy, l), sum2_within(x.zw, l));
}
fn max_within(x: u32, l: Neighbours) -> u32 {
    var s = x;
    for (var step = 1u; step < l.most; step <<= 1u) {
        s = max(s, select(0u, subgroupShuffleXor(s, step), has_step(l, step)));
    }
    return s;
}
