// Gradients of whole segments that lie contiguous in memory, and the sums of each place in them, in one walk over x and dy.
//
//   dx[r][j]         = as in apply_backward, of segment r
//   partials[p][j]  += (dy[r][j], dy[r][j] * x_hat[r][j])     over the segments r = p, p + slices, ... of walker p
//
// Segments r of one outer segment (window.y of them, window.z elements each) share their parameters. LANES invocations are a
// walker, WORKGROUP_SIZE / LANES walkers a workgroup, `slices` walkers an outer segment. An invocation alone touches
// its places of its walker's partials: they need no barrier. The second reading of x and dy comes from the cache.
//
// bindings: params, input (read), grad_output (read), statistics (read), scale? (read), output (write), partials? (read and write)

fn places(walker: u32, j: u32) -> u32 {
    return params.record_first + walker * params.window.z + j;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let lane = local % LANES;
    let walker = workgroup_index(workgroup, workgroups) * (WORKGROUP_SIZE / LANES) + local / LANES;
    let outer = walker / params.slices;
    let alive = outer < params.window.x;
    let length = select(0u, params.window.z, alive);
    if params.accumulate == 0u {
        for (var j = lane; j < length; j += LANES) { store_partials(places(walker, j), vec4<f32>(0.0)); }
    }
    for (var t = 0u; t < params.window.y; t += params.slices) {
        let row = t + walker % params.slices;
        let live = alive && row < params.window.y;
        let segment = select(0u, outer * params.window.y + row, live);
        let end = select(0u, length, live);
        let first = segment * params.window.z;
        let acc = load_statistics(segment);
        let by = normalizer(acc);
        let sums = combine_lanes(walk_reduce(first, 0u, end, lane), local, lane, 1u);
        var affine_at = index_start(params.affine, first + lane);
        for (var j = lane; j < end; j += LANES) {
            let i = first + j;
            let x = load_input(i);
            let dy = load_grad_output(i);
            let scale = load_scale(index_segment(params.affine, affine_at) - params.affine_base);
            let place = places(walker, j);
            store_output(i, input_gradient(x, dy, scale, acc, by, sums));
            let added = vec4<f32>(dy * SHRINK, dy * SHRINK * normalized(x, by), 0.0, 1.0);
            store_partials(place, load_partials(place) + added);
            affine_at = index_step(params.affine, affine_at);
        }
    }
}
