// Sums over the lanes of a row that takes the workgroup, or a part of it: within CLUSTER lanes, which are in one
// subgroup on the device, then over a word a cluster, again by the lanes of each cluster. One barrier an exchange:
// every slot has words of its own, and may be used again after a barrier in between. All lanes of a row get the same
// bits. Uniform control flow.
override WORKGROUP: u32 = 256u;
override CLUSTER: u32 = 32u;
fn cluster() -> u32 { return CLUSTER; }   // lanes that need no memory
fn clusters() -> u32 { return lanes() / CLUSTER; }
override MOST_CLUSTERS: u32 = min(MOST, WORKGROUP) / CLUSTER;
// Whether a cluster has fewer lanes than there may be clusters.
override FEW: bool = MOST_CLUSTERS > CLUSTER;
// SLOTS: a const of the kernel, the number of its exchanges
override WORDS: u32 = SLOTS * WORKGROUP / CLUSTER;
var<workgroup> words: array<u32, WORDS>;
var<workgroup> words2: array<vec2<f32>, WORDS>;
override WORDS4: u32 = 4u * WORDS;
var<workgroup> words4: array<f32, WORDS4>;   // fours, whose numbers different lanes write
var<workgroup> flag: u32;

fn in_cluster() -> Neighbours { return Neighbours(lanes(), min(LEAST, CLUSTER), CLUSTER); }
// Rows of one cluster need no more: the same for all rows of a dispatch, so that others may have barriers.
fn is_one_cluster() -> bool { return LEAST <= CLUSTER && lanes() <= CLUSTER; }
fn among_clusters() -> Neighbours {
    return Neighbours(clusters(), min(LEAST / CLUSTER, CLUSTER), min(MOST_CLUSTERS, CLUSTER));
}

// Where the row's words begin.
fn words_of(slot: u32) -> u32 { return slot * (WORKGROUP / CLUSTER) + me.group * clusters(); }
// The words that a lane reads: one, or more where there are more clusters than lanes in one.
fn word_of(slot: u32, k: u32) -> u32 { return words_of(slot) + ((k + me.lane % CLUSTER) & (clusters() - 1u)); }
fn is_word(k: u32) -> bool { return k == 0u || (FEW && k < clusters()); }
fn sum_lanes(x: f32, slot: u32) -> f32 {
    let own = sum_within(x, in_cluster());
    if is_one_cluster() { return own; }
    if me.lane % CLUSTER == 0u { words[words_of(slot) + me.lane / CLUSTER] = bitcast<u32>(own); }
    workgroupBarrier();
    var s = 0.0;
    for (var k = 0u; is_word(k); k += CLUSTER) { s += bitcast<f32>(words[word_of(slot, k)]); }
    return sum_within(s, among_clusters());
}
fn sum2_lanes(x: vec2<f32>, slot: u32) -> vec2<f32> {
    let own = sum2_within(x, in_cluster());
    if is_one_cluster() { return own; }
    if me.lane % CLUSTER == 0u { words2[words_of(slot) + me.lane / CLUSTER] = own; }
    workgroupBarrier();
    var s = vec2(0.0);
    for (var k = 0u; is_word(k); k += CLUSTER) { s += words2[word_of(slot, k)]; }
    return sum2_within(s, among_clusters());
}
fn word4(i: u32) -> vec4<f32> { return vec4(words4[i], words4[i + 1u], words4[i + 2u], words4[i + 3u]); }
fn sum4_lanes(x: vec4<f32>, slot: u32) -> vec4<f32> {
    if is_one_cluster() { return sum4_within(x, in_cluster()); }
    let own = sum_one_of4(x, CLUSTER);
    if me.lane % CLUSTER < 4u { words4[4u * (words_of(slot) + me.lane / CLUSTER) + one_of4()] = own; }
    workgroupBarrier();
    var s = vec4(0.0);
    for (var k = 0u; is_word(k); k += CLUSTER) { s += word4(4u * word_of(slot, k)); }
    return sum4_within(s, among_clusters());
}
fn max_lanes(x: u32, slot: u32) -> u32 {
    let own = max_within(x, in_cluster());
    if is_one_cluster() { return own; }
    if me.lane % CLUSTER == 0u { words[words_of(slot) + me.lane / CLUSTER] = own; }
    workgroupBarrier();
    var s = 0u;
    for (var k = 0u; is_word(k); k += CLUSTER) { s = max(s, words[word_of(slot, k)]); }
    return max_within(s, among_clusters());
}

// Whether it is so in any row of the workgroup; uniform for every validator.
fn any_lanes(x: bool) -> bool {
    if me.lane + me.group == 0u { flag = 0u; }
    workgroupBarrier();
    if x { flag = 1u; }
    return workgroupUniformLoad(&flag) != 0u;
}
