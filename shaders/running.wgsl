// Takes newly computed statistics into running statistics.
//
//   mean[c]     = (1 - m) * mean[c]     + m * average over samples of the segment's mean
//   variance[c] = (1 - m) * variance[c] + m * average over samples of the segment's variance [* n / (n - 1)]
//
// m = momentum, or 1 / (updates so far + 1). Segments are (sample, running value c); there is one sample where statistics
// span them all. LANES invocations own a running value. Segments without an element leave it as it is.
//
// bindings: params, statistics (read), counter? (read), mean (read and write), variance (read and write)

fn momentum() -> f32 {
    if params.cumulative == 1u { return 1.0 / (f32(load_counter(0u)) + 1.0); }
    return params.momentum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let lane = local % LANES;
    let value = workgroup_index(workgroup, workgroups) * (WORKGROUP_SIZE / LANES) + local / LANES;
    let live = value < params.segments;
    // averages relative to the first sample's mean, so that a large mean costs nothing
    let head = load_statistics(select(0u, value, live));
    var sums = vec2<f32>(0.0);
    for (var sample = lane; live && sample < params.samples; sample += LANES) {
        let record = load_statistics(sample * params.segments + value);
        sums += vec2<f32>(difference(record.x, head.x) + difference(record.y, head.y), record.z);
    }
    sums = sum_lanes(sums, local, lane) / f32(params.samples);
    if live && lane == 0u && head.w > 0.0 {
        let new_mean = head.x + (head.y + sums.x);
        // at n = 1 the unbiased variance is 0 * infinity: NaN, built from its bits
        let single = params.unbiased == 1u && head.w == 1.0;
        let unbiased = select(sums.y * (head.w / (head.w - 1.0)), bitcast<f32>(params.nan), single);
        let new_variance = select(sums.y, unbiased, params.unbiased == 1u);
        let weight = momentum();
        let keep = 1.0 - weight;
        store_mean(value, keep * load_mean(value) + weight * new_mean);
        store_variance(value, keep * load_variance(value) + weight * new_variance);
    }
}

var<workgroup> lane_sums: array<vec2<f32>, WORKGROUP_SIZE>;

// Barriers: 1 + log2(LANES). Valid in all lanes.
fn sum_lanes(sums: vec2<f32>, local: u32, lane: u32) -> vec2<f32> {
    lane_sums[local] = sums;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half { lane_sums[local] += lane_sums[local + half]; }
        workgroupBarrier();
    }
    return lane_sums[local - lane];
}
