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

override WORKGROUP: u32 = 256u;
override KEEPS_SUMS: bool = false;       // the sums themselves are wanted, not what the map makes of them

fn run(group: u32, local: u32) {
    if group < p.parts.affine_groups { merge_affine(group, local); return; }
    let dims = p.parts.statistics;
    let columns = p.parts.columns;
    let place = (group - p.parts.affine_groups) * columns + local % columns;
    let segment = min(place, dims.x * dims.z - 1u);
    let sums = merged(dims, segment, local, columns, p.parts.lines, true);
    if local < columns && place == segment { give_statistics(segment, sums); }
}
fn give_statistics(segment: u32, sums: vec4<f32>) {
    if KEEPS_SUMS { store_sums(segment, sums); return; }
    let all = coefficients(load_moments(segment), sums);
    store_coefficients(2u * segment, all.by);
    store_coefficients(2u * segment + 1u, all.pull);
}
