// Adds up partial gradient sums, twice in one dispatch: to what the gradient to the input takes of each statistics
// segment, and to the gradients of scale and bias.
//
//   for each statistics segment:  sums = sum over its parts and slices, times their scales (WEIGHED);
//   coefficients[segment] = of the sums
//   for each affine segment:      grad_bias, grad_scale = sum over its parts and slices
//
// A workgroup has segments of one kind, side by side, and some lanes for each: lib/parts.wgsl.
//
// bindings: parameters, partials, [moments], [scale] (read), [coefficients | sums], [grad_scale], [grad_bias] (write)

struct MergeSums {
    tiles: u32,             // workgroups of statistics segments, the first ones
    factor_scale: f32,
    factor_bias: f32,
}
override WORKGROUP: u32 = 256u;
override KEEPS_SUMS: bool = false;       // the sums themselves are wanted, not what the map makes of them

fn run(group: u32, local: u32) {
    let is_statistics = group < p.merge_sums.tiles;
    let dims = select(p.parts.affine, p.parts.statistics, is_statistics);
    let columns = p.parts.columns;
    let place = select(group - p.merge_sums.tiles, group, is_statistics) * columns + local % columns;
    let segment = min(place, dims.x * dims.z - 1u);
    let sums = merged(dims, segment, local, is_statistics);
    if local >= columns || place != segment { return; }
    if is_statistics {
        give_statistics(segment, sums);
    } else {
        store_grad_scale(segment, sums.y * GROW * p.merge_sums.factor_scale);
        store_grad_bias(segment, sums.x * GROW * p.merge_sums.factor_bias);
    }
}
fn give_statistics(segment: u32, sums: vec4<f32>) {
    if KEEPS_SUMS { store_sums(segment, sums); return; }
    let all = coefficients(load_moments(segment), sums);
    store_coefficients(2u * segment, all.by);
    store_coefficients(2u * segment + 1u, all.pull);
}
