// Makes moments of given means and variances (running statistics).
//
//   moments[s] = (mean, 0, deviation, 0),  deviation = sqrt(variance), negative where the variance is
//
// The count of given statistics is unknown: 0.
//
// bindings: parameters, mean (read), variance? (read), records (write)

fn run(group: u32, local: u32) {
    let segment = group * WORKGROUP + local;
    if segment >= p.each.segments { return; }
    let variance = load_variance(segment);
    let deviation = select(1.0, -1.0, variance < 0.0) * sqrt(abs(variance));
    store_records(segment, vec4(load_mean(segment), 0.0, deviation, 0.0));
}
