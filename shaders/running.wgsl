// Takes the statistics of a batch into running statistics.
//
//   mean[c]     = (1 - m) * mean[c]     + m * average over samples of the segment's mean
//   variance[c] = (1 - m) * variance[c] + m * average over samples of the segment's variance [* n / (n - 1)]
//
// m = momentum, or 1 / (batches so far + 1). Segments are (sample, channel); there is one sample where statistics span the
// batch. LANES invocations own a channel. Segments without an element leave the channel as it is.
//
// bindings: params, statistics (read), counter? (read), mean (read and write), variance (read and write)

fn momentum() -> f32 {
    if params.cumulative == 1u { return 1.0 / (f32(load_counter(0u)) + 1.0); }
    return params.momentum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let lane = local % LANES;
    let channel = workgroup_index(group, groups) * (WORKGROUP_SIZE / LANES) + local / LANES;
    let live = channel < params.segments;
    // averages relative to the first sample's mean, so that a large mean costs nothing
    let head = load_statistics(select(0u, channel, live));
    var sums = vec2<f32>(0.0);
    for (var sample = lane; live && sample < params.batches; sample += LANES) {
        let record = load_statistics(sample * params.segments + channel);
        sums += vec2<f32>(difference(record.x, head.x) + difference(record.y, head.y), record.z);
    }
    sums = sum_lanes(sums, local, lane) / f32(params.batches);
    if live && lane == 0u && head.w > 0.0 {
        let batch_mean = head.x + (head.y + sums.x);
        // at n = 1 the unbiased variance is 0 * infinity: NaN, built from its bits
        let single = params.unbiased == 1u && head.w == 1.0;
        let unbiased = select(sums.y * (head.w / (head.w - 1.0)), bitcast<f32>(params.nan), single);
        let batch_variance = select(sums.y, unbiased, params.unbiased == 1u);
        let weight = momentum();
        let keep = 1.0 - weight;
        store_mean(channel, keep * load_mean(channel) + weight * batch_mean);
        store_variance(channel, keep * load_variance(channel) + weight * batch_variance);
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
