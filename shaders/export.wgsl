// Writes moments as plain numbers: the mean, and one measure of the spread.
//
//   mean[s] = shift + rest;   spread[s] = variance | 1 / divisor | divisor
//
// bindings: parameters, moments (read), mean? (write), spread? (write)

// 0: variance (or mean square, or norm), 1: 1 / divisor, 2: divisor
override SPREAD: u32 = 0u;
// 1: segments without an element. Their own means are 0 / 0; an empty shard may have those of others.
override EMPTY: u32 = 0u;

fn run(group: u32, local: u32) {
    let first = first_of(group, local);
    for (var e = 0u; e < p.each.grain; e += 1u) {
        if first + e < p.each.segments { export_segment(first + e); }
    }
}
fn export_segment(segment: u32) {
    let moments = load_moments(segment);
    if EMPTY == 1u && all(moments == vec4(0.0)) {
        store_mean(segment, bitcast<f32>(p.exact.nan));
        store_spread(segment, bitcast<f32>(p.exact.nan));
        return;
    }
    let mean = record_as_is(moments);
    store_mean(segment, mean.x + mean.y);
    let divisor = at_least(record_divisor(moments), p.divisor.eps_minimum) + p.divisor.eps_added;
    switch SPREAD {
        case 1u: { store_spread(segment, inverse(divisor)); }
        case 2u: { store_spread(segment, divisor); }
        default: { store_spread(segment, record_spread(record_as_is(moments))); }
    }
}
