// Sums over the LANES invocations that share a segment, through workgroup memory, as a tree.
// Barriers: 2 + log2(LANES). Call in uniform control flow. The result is valid in all lanes.

var<workgroup> exchanged: array<Bits, WORKGROUP_SIZE>;

fn sum_lanes(x: Sum, at: Lane) -> Sum {
    if LANES == 1u { return x; }
    // what an earlier call left here has been read
    workgroupBarrier();
    exchanged[at.local] = bitcast<Bits>(x);
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if at.lane < half {
            let other = bitcast<Sum>(exchanged[at.local + half * lane_stride()]);
            exchanged[at.local] = bitcast<Bits>(bitcast<Sum>(exchanged[at.local]) + other);
        }
        workgroupBarrier();
    }
    return bitcast<Sum>(exchanged[at.local - at.lane * lane_stride()]);
}

// Of what is the same in all columns.
fn count_lanes(n: f32, at: Lane) -> f32 {
    return of_column(sum_lanes(Sum(0.0) + n, at), 0u);
}

fn max_lanes(x: Bits, at: Lane) -> Bits {
    if LANES == 1u { return x; }
    workgroupBarrier();
    exchanged[at.local] = x;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if at.lane < half {
            exchanged[at.local] = max(exchanged[at.local], exchanged[at.local + half * lane_stride()]);
        }
        workgroupBarrier();
    }
    return exchanged[at.local - at.lane * lane_stride()];
}
