// Takes newly computed statistics into running statistics.
//
//   mean[c]     = (1 - m) * mean[c]     + m * average over samples of the segment's mean
//   variance[c] = (1 - m) * variance[c] + m * average over samples of the segment's variance [* n / (n - 1)]
//
// m = momentum, or 1 / (updates so far + 1). Segments are (sample, running value c); there is one sample where
// statistics span them all. LANES lanes own a running value. Segments without an element leave it as it is.
//
// bindings: parameters, moments (read), batches? (read), mean (read and write), variance (read and write)

const SLOTS = 1u;

struct Running {
    segments: u32,    // running values
    samples: u32,     // segments that one of them averages
    momentum: f32,    // weight of the new value
    cumulative: u32,  // 1: weight is 1 / (updates so far + 1)
    unbiased: u32,    // 1: the variance takes n / (n - 1)
}

fn momentum() -> f32 {
    if p.running.cumulative == 1u { return 1.0 / (f32(load_batches(0u)) + 1.0); }
    return p.running.momentum;
}

// (1 - weight) * old + weight * fresh, as a step from old where that is finite: 1 - weight would round a small weight.
fn moved(old: f32, fresh: f32, weight: f32) -> f32 {
    let step = difference(fresh, old);
    let stepped = old + weight * step;
    let weighed = (1.0 - weight) * old + weight * fresh;
    return select(stepped, weighed, weight == 1.0 || !is_finite(step));
}

fn run(group: u32, local: u32) {
    enter_lanes(local);
    let value = group * (WORKGROUP / LANES) + me.group;
    let live = value < p.running.segments;
    let head = record_plain(load_moments(select(0u, value, live)));
    // averages relative to the first sample's mean, so that a large mean costs nothing; an infinite one has no
    // differences
    let base = select(vec2(0.0), head.xy, is_finite(head.x + head.y));
    var sums = vec2(0.0);
    for (var sample = me.lane; live && sample < p.running.samples; sample += LANES) {
        let record = record_plain(load_moments(sample * p.running.segments + value));
        sums += vec2(opaque(record.x - base.x) + (record.y - base.y), record.z * record.z);
    }
    sums = sum2_lanes(sums, 0u) / f32(p.running.samples);
    if live && me.lane == 0u && head.w > 0.0 {
        // at n = 1 the unbiased variance is 0 * infinity: NaN, built from its bits
        let unbiased = select(sums.y * (head.w / (head.w - 1.0)), bitcast<f32>(p.exact.nan), head.w == 1.0);
        let variance = select(sums.y, unbiased, p.running.unbiased == 1u);
        let weight = momentum();
        store_mean(value, moved(load_mean(value), base.x + (base.y + sums.x), weight));
        store_variance(value, moved(load_variance(value), variance, weight));
    }
}
