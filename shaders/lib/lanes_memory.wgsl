// Sums over the lanes of a row without subgroup operations: a tree in workgroup memory. Any powers of two. Barriers:
// 2 + log2(lanes) an exchange. All lanes of a row get the same bits. Uniform control flow.
override WORKGROUP: u32 = 256u;
fn cluster() -> u32 { return 1u; }   // lanes that need no memory
fn joined() -> u32 { return lanes(); }   // lanes that exchange
fn exactly(count: u32) -> u32 { return count; }
fn sum2_within(x: vec2<f32>, count: u32) -> vec2<f32> { return x; }
var<workgroup> words: array<u32, WORKGROUP>;
var<workgroup> words4: array<vec4<f32>, WORKGROUP>;
fn sum_lanes(x: f32, slot: u32) -> f32 { return bitcast<f32>(tree(bitcast<u32>(x), true)); }
fn max_lanes(x: u32, slot: u32) -> u32 { return tree(x, false); }
// The sum of floats, or the largest.
fn tree(x: u32, sums: bool) -> u32 {
    let own = me.group * lanes() + me.lane;
    workgroupBarrier();   // what an earlier exchange left here has been read
    words[own] = x;
    for (var half = lanes() / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if me.lane < half {
            let other = words[own + half];
            let sum = bitcast<u32>(bitcast<f32>(words[own]) + bitcast<f32>(other));
            words[own] = select(max(words[own], other), sum, sums);
        }
    }
    workgroupBarrier();
    return words[me.group * lanes()];
}
fn sum2_lanes(x: vec2<f32>, slot: u32) -> vec2<f32> { return sum4_lanes(vec4(x, 0.0, 0.0), slot).xy; }
fn sum4_lanes(x: vec4<f32>, slot: u32) -> vec4<f32> {
    let own = me.group * lanes() + me.lane;
    workgroupBarrier();
    words4[own] = x;
    for (var half = lanes() / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if me.lane < half { words4[own] += words4[own + half]; }
    }
    workgroupBarrier();
    return words4[me.group * lanes()];
}

// Whether it is so in any row of the workgroup: uniform for every validator.
fn any_lanes(x: bool) -> bool {
    workgroupBarrier();
    if me.group == 0u && me.lane == 0u { words[0] = 0u; }
    workgroupBarrier();
    if x { words[0] = 1u; }
    return workgroupUniformLoad(&words[0]) != 0u;
}
