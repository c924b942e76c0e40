// The gradient to every input element, from the sums of its segment.
//
//   dx[i] = (g - mean(g) - x_hat * mean(g * x_hat) * slope) / divisor      g = dy[i] * scale[a], means over the segment of i
//   dx[i] = g / divisor                                                    where the statistics are given
//
// As `apply` walks. What a mean and a divisor do to the gradient is the accumulator's business.
//
// bindings: params, input (read), grad_output (read), statistics (read), sums? (read), scale? (read), output (write)

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
    var acc = vec4<f32>(0.0);
    var by = Normalizer();
    var sums = vec4<f32>(0.0);
    for (var k = 0u; k < ITEMS; k += 1u) {
        let i = first + k * WORKGROUP_SIZE;
        if i >= params.elements { break; }
        let segment = index_segment(params.statistics, statistics_at) - params.statistics_base;
        if segment != current {
            acc = load_statistics(segment);
            by = normalizer(acc);
            sums = load_sums(segment);
            current = segment;
        }
        let scale = load_scale(index_segment(params.affine, affine_at) - params.affine_base);
        store_output(i, input_gradient(load_input(i), load_grad_output(i), scale, acc, by, sums));
        statistics_at = index_step(params.statistics, statistics_at);
        affine_at = index_step(params.affine, affine_at);
    }
}
