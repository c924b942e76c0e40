// Makes records of given means and variances (running statistics).
//
//   records[s] = (mean, 0, deviation, 0),  deviation = sqrt(variance), negative where the variance is
//
// One invocation a segment. The count of given statistics is unknown: 0.
//
// bindings: params, mean (read), variance (read), records (write)

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let segment = workgroup_index(workgroup, workgroups) * WORKGROUP_SIZE + local;
    if segment >= params.segments { return; }
    let variance = load_variance(segment);
    let deviation = select(1.0, -1.0, variance < 0.0) * sqrt(abs(variance));
    store_records(segment, vec4<f32>(load_mean(segment), 0.0, deviation, 0.0));
}
