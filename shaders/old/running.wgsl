// Takes newly computed statistics into running statistics.
//
//   mean[c]     = (1 - m) * mean[c]     + m * average over samples of the segment's mean
//   variance[c] = (1 - m) * variance[c] + m * average over samples of the segment's variance [* n / (n - 1)]
//
// m = momentum, or 1 / (updates so far + 1). Segments are (sample, running value c); there is one sample where statistics
// span them all. LANES invocations own a running value. Segments without an element leave it as it is.
//
// bindings: params, statistics (read), batches? (read), mean (read and write), variance (read and write)

fn momentum() -> f32 {
    if params.cumulative == 1u { return 1.0 / (f32(load_batches(0u)) + 1.0); }
    return params.momentum;
}

// (1 - weight) * old + weight * fresh, as a step from old where that is finite: 1 - weight would round a small weight.
fn moved(old: f32, fresh: f32, weight: f32) -> f32 {
    let step = difference(fresh, old);
    let stepped = old + weight * step;
    let weighed = (1.0 - weight) * old + weight * fresh;
    return select(stepped, weighed, weight == 1.0 || magnitude_bits(step) >= params.infinity);
}

fn run(group: u32, local: u32) {
    let at = lane_of(local);
    let lane = at.lane;
    let value = group * (WORKGROUP_SIZE / LANES) + local / LANES;
    let live = value < params.segments;
    let head = load_moments(select(0u, value, live));
    // averages relative to the first sample's mean, so that a large mean costs nothing; an infinite one has no differences
    let base = select(head.xy, vec2<f32>(0.0), magnitude_bits(head.x + head.y) >= params.infinity);
    var sums = vec2<f32>(0.0);
    for (var sample = lane; live && sample < params.samples; sample += LANES) {
        let record = load_moments(sample * params.segments + value);
        sums += vec2<f32>(difference(record.x, base.x) + difference(record.y, base.y), record.z * record.z);
    }
    sums = vec2<f32>(sum_lanes(sums.x, at), sum_lanes(sums.y, at)) / f32(params.samples);
    if live && lane == 0u && head.w > 0.0 {
        // at n = 1 the unbiased variance is 0 * infinity: NaN, built from its bits
        let unbiased = select(sums.y * (head.w / (head.w - 1.0)), bitcast<f32>(params.nan), head.w == 1.0);
        let variance = select(sums.y, unbiased, params.unbiased == 1u);
        let weight = momentum();
        store_mean(value, moved(load_mean(value), base.x + (base.y + sums.x), weight));
        store_variance(value, moved(load_variance(value), variance, weight));
    }
}
