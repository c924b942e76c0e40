// Writes records as plain numbers: the mean, and one measure of the spread.
//
//   mean[s] = shift + rest;   spread[s] = variance | 1 / divisor | divisor
//
// One invocation a segment.
//
// bindings: params, statistics (read), mean? (write), spread? (write)

// 0: variance (or mean square, or norm), 1: 1 / divisor, 2: divisor
override SPREAD: u32 = 0u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let segment = workgroup_index(workgroup, workgroups) * WORKGROUP_SIZE + local;
    if segment >= params.segments { return; }
    let acc = load_statistics(segment);
    store_mean(segment, acc.x + acc.y);
    let divisor = at_least(acc_divisor(acc), params.eps_minimum) + params.eps_added;
    switch SPREAD {
        case 1u: { store_spread(segment, inverse(divisor)); }
        case 2u: { store_spread(segment, divisor); }
        default: { store_spread(segment, acc_spread(acc)); }
    }
}
