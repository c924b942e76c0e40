// Sums over the LANES invocations that share a segment: exchanges within CLUSTER lanes of a subgroup, then (where there are
// more lanes than that) through workgroup memory. The same order whatever the size of the subgroup.
// Barriers: none, or 2. Call in uniform control flow. The result is valid in all lanes, with the same bits.

// Lanes that are in one subgroup on every device that this pipeline runs on.
override CLUSTER: u32 = 1u;

var<workgroup> exchanged: array<Bits, WORKGROUP_SIZE>;

fn sum_lanes(x: Sum, at: Lane) -> Sum {
    var sum = x;
    if CLUSTER > 1u { sum += subgroupShuffleXor(sum, 1u); }
    if CLUSTER > 2u { sum += subgroupShuffleXor(sum, 2u); }
    if CLUSTER > 4u { sum += subgroupShuffleXor(sum, 4u); }
    if CLUSTER > 8u { sum += subgroupShuffleXor(sum, 8u); }
    if CLUSTER > 16u { sum += subgroupShuffleXor(sum, 16u); }
    if CLUSTER > 32u { sum += subgroupShuffleXor(sum, 32u); }
    if LANES == CLUSTER { return sum; }
    share(bitcast<Bits>(sum), at);
    var all = Sum(0.0);
    for (var k = 0u; k < LANES / CLUSTER; k += 1u) { all += bitcast<Sum>(exchanged[first_cluster(at) + k]); }
    return all;
}

// Of what is the same in all columns.
fn count_lanes(n: f32, at: Lane) -> f32 {
    return of_column(sum_lanes(Sum(0.0) + n, at), 0u);
}

fn max_lanes(x: Bits, at: Lane) -> Bits {
    var top = x;
    if CLUSTER > 1u { top = max(top, subgroupShuffleXor(top, 1u)); }
    if CLUSTER > 2u { top = max(top, subgroupShuffleXor(top, 2u)); }
    if CLUSTER > 4u { top = max(top, subgroupShuffleXor(top, 4u)); }
    if CLUSTER > 8u { top = max(top, subgroupShuffleXor(top, 8u)); }
    if CLUSTER > 16u { top = max(top, subgroupShuffleXor(top, 16u)); }
    if CLUSTER > 32u { top = max(top, subgroupShuffleXor(top, 32u)); }
    if LANES == CLUSTER { return top; }
    share(top, at);
    var all = Bits(0u);
    for (var k = 0u; k < LANES / CLUSTER; k += 1u) { all = max(all, exchanged[first_cluster(at) + k]); }
    return all;
}

fn first_cluster(at: Lane) -> u32 {
    return (at.local - at.lane) / CLUSTER;
}

// One word a cluster, for all to read. What an earlier call left here has been read before.
fn share(x: Bits, at: Lane) {
    workgroupBarrier();
    if at.lane % CLUSTER == 0u { exchanged[at.local / CLUSTER] = x; }
    workgroupBarrier();
}
