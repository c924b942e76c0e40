// Normalizes every element by the statistics of its segment.
//
//   y[i] = ((x[i] - shift[s]) - rest[s]) * inverse[s] * scale[a] + bias[a]     s, a: segments of i in two partitions
//
// A workgroup owns ITEMS * WORKGROUP_SIZE neighbouring elements; an invocation walks them WORKGROUP_SIZE apart and
// reloads statistics only where the segment changes.
//
// bindings: params, input (read), statistics (read), scale? (read), bias? (read), output (write)

// Long enough to pay for the first digits, short enough to spread a small tensor.
const ITEMS = 16u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let first = workgroup_index(workgroup, workgroups) * (ITEMS * WORKGROUP_SIZE) + local;
    var statistics_at = index_start(params.statistics, first);
    var affine_at = index_start(params.affine, first);
    var current = 0xffffffffu;
    var by = Normalizer();
    for (var k = 0u; k < ITEMS; k += 1u) {
        let i = first + k * WORKGROUP_SIZE;
        if i >= params.elements { break; }
        let segment = index_segment(params.statistics, statistics_at) - params.statistics_base;
        if segment != current {
            by = normalizer(load_statistics(segment));
            current = segment;
        }
        store_output(i, normalize(load_input(i), by, index_segment(params.affine, affine_at)));
        statistics_at = index_step(params.statistics, statistics_at);
        affine_at = index_step(params.affine, affine_at);
    }
}
