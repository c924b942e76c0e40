// Combines the accumulators of LANES invocations, `stride` apart in the workgroup, as a tree.
// Barriers: 1 + log2(LANES). Call in uniform control flow. The result is valid in all of them.

var<workgroup> partials: array<vec4<f32>, WORKGROUP_SIZE>;

fn combine_lanes(acc: vec4<f32>, local: u32, lane: u32, stride: u32) -> vec4<f32> {
    partials[local] = acc;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            partials[local] = record_combine(partials[local], partials[local + half * stride]);
        }
        workgroupBarrier();
    }
    return partials[local - lane * stride];
}
