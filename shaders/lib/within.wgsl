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
// Of four sums over neighbouring lanes, a constant number of four or more, each lane gets one: half the numbers a step.
fn sum_one_of4(x: vec4<f32>, count: u32) -> f32 {
    let odd = (me.lane & 1u) != 0u;
    let two = select(x.xy, x.zw, odd) + subgroupShuffleXor(select(x.zw, x.xy, odd), 1u);
    let second = (me.lane & 2u) != 0u;
    let one = select(two.x, two.y, second) + subgroupShuffleXor(select(two.y, two.x, second), 2u);
    var s = one;
    for (var step = 4u; step < count; step <<= 1u) { s += subgroupShuffleXor(s, step); }
    return s;
}
fn one_of4() -> u32 { return (me.lane & 1u) * 2u + ((me.lane >> 1u) & 1u); }
fn max_within(x: u32, l: Neighbours) -> u32 {
    var s = x;
    for (var step = 1u; step < l.most; step <<= 1u) {
        s = max(s, select(0u, subgroupShuffleXor(s, step), has_step(l, step)));
    }
    return s;
}
