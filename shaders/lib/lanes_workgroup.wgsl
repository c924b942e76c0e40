// Sums over the LANES lanes of a row that takes the workgroup, or a part of it: within CLUSTER lanes, which are in one
// subgroup on the device, then over a word a cluster, again by the lanes of each cluster. One barrier an exchange:
// every slot has words of its own, and may be used again after a barrier in between. All lanes of a row get the same
// bits. Uniform control flow.
override WORKGROUP: u32 = 256u;
override LANES: u32 = 256u;
override CLUSTER: u32 = 32u;
override CLUSTERS: u32 = LANES / CLUSTER;
// Rows of a workgroup take every barrier together.
override ROWS_PART: bool = LANES == WORKGROUP;
// SLOTS: a const of the kernel, the number of its exchanges
override WORDS: u32 = SLOTS * WORKGROUP / CLUSTER;
var<workgroup> words: array<u32, WORDS>;
var<workgroup> words2: array<vec2<f32>, WORDS>;
var<workgroup> words4: array<vec4<f32>, WORDS>;
var<workgroup> flag: u32;
struct Me { lane: u32, group: u32 }
var<private> me: Me;
fn enter_lanes(local: u32) { me = Me(local % LANES, local / LANES); }

// Over neighbouring lanes, CLUSTER or fewer.
fn sum_within(x: f32, lanes: u32) -> f32 {
    var s = x;
    if lanes > 1u && CLUSTER > 1u { s += subgroupShuffleXor(s, 1u); }
    if lanes > 2u && CLUSTER > 2u { s += subgroupShuffleXor(s, 2u); }
    if lanes > 4u && CLUSTER > 4u { s += subgroupShuffleXor(s, 4u); }
    if lanes > 8u && CLUSTER > 8u { s += subgroupShuffleXor(s, 8u); }
    if lanes > 16u && CLUSTER > 16u { s += subgroupShuffleXor(s, 16u); }
    if lanes > 32u && CLUSTER > 32u { s += subgroupShuffleXor(s, 32u); }
    return s;
}
fn sum2_within(x: vec2<f32>, lanes: u32) -> vec2<f32> { return vec2(sum_within(x.x, lanes), sum_within(x.y, lanes)); }
fn sum4_within(x: vec4<f32>, lanes: u32) -> vec4<f32> {
    return vec4(sum2_within(x.xy, lanes), sum2_within(x.zw, lanes));
}

// Where the row's words begin.
fn words_of(slot: u32) -> u32 { return (slot * (WORKGROUP / LANES) + me.group) * CLUSTERS; }
// The words that a lane reads: one, or more where there are more clusters than lanes in one.
fn word_of(slot: u32, k: u32) -> u32 { return words_of(slot) + (k + me.lane % CLUSTER) % CLUSTERS; }
fn sum_lanes(x: f32, slot: u32) -> f32 {
    let own = sum_within(x, CLUSTER);
    if me.lane % CLUSTER == 0u { words[words_of(slot) + me.lane / CLUSTER] = bitcast<u32>(own); }
    workgroupBarrier();
    var s = 0.0;
    for (var k = 0u; k < CLUSTERS; k += CLUSTER) { s += bitcast<f32>(words[word_of(slot, k)]); }
    return sum_within(s, CLUSTERS);
}
fn sum2_lanes(x: vec2<f32>, slot: u32) -> vec2<f32> {
    let own = sum2_within(x, CLUSTER);
    if me.lane % CLUSTER == 0u { words2[words_of(slot) + me.lane / CLUSTER] = own; }
    workgroupBarrier();
    var s = vec2(0.0);
    for (var k = 0u; k < CLUSTERS; k += CLUSTER) { s += words2[word_of(slot, k)]; }
    return sum2_within(s, CLUSTERS);
}
fn sum4_lanes(x: vec4<f32>, slot: u32) -> vec4<f32> {
    let own = sum4_within(x, CLUSTER);
    if me.lane % CLUSTER == 0u { words4[words_of(slot) + me.lane / CLUSTER] = own; }
    workgroupBarrier();
    var s = vec4(0.0);
    for (var k = 0u; k < CLUSTERS; k += CLUSTER) { s += words4[word_of(slot, k)]; }
    return sum4_within(s, CLUSTERS);
}

fn max_within(x: u32, lanes: u32) -> u32 {
    var s = x;
    if lanes > 1u && CLUSTER > 1u { s = max(s, subgroupShuffleXor(s, 1u)); }
    if lanes > 2u && CLUSTER > 2u { s = max(s, subgroupShuffleXor(s, 2u)); }
    if lanes > 4u && CLUSTER > 4u { s = max(s, subgroupShuffleXor(s, 4u)); }
    if lanes > 8u && CLUSTER > 8u { s = max(s, subgroupShuffleXor(s, 8u)); }
    if lanes > 16u && CLUSTER > 16u { s = max(s, subgroupShuffleXor(s, 16u)); }
    if lanes > 32u && CLUSTER > 32u { s = max(s, subgroupShuffleXor(s, 32u)); }
    return s;
}
fn max_lanes(x: u32, slot: u32) -> u32 {
    let own = max_within(x, CLUSTER);
    if me.lane % CLUSTER == 0u { words[words_of(slot) + me.lane / CLUSTER] = own; }
    workgroupBarrier();
    var s = 0u;
    for (var k = 0u; k < CLUSTERS; k += CLUSTER) { s = max(s, words[word_of(slot, k)]); }
    return max_within(s, CLUSTERS);
}

// Whether it is so in any row of the workgroup; uniform for every validator.
fn any_lanes(x: bool) -> bool {
    if me.lane + me.group == 0u { flag = 0u; }
    workgroupBarrier();
    if x { flag = 1u; }
    return workgroupUniformLoad(&flag) != 0u;
}
