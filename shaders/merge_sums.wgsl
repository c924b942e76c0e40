// Adds up partial gradient sums, twice in one dispatch: to what the gradient to the input takes of each statistics
// segment, and to the gradients of scale and bias.
//
//   partials[slice][i] are sums over the common refinement of both partitions: segment i is a part of one statistics
//   segment and of one affine segment. Its segments are the elements of two partitions, `statistics` and `affine`
//   for each statistics segment:  sums = sum over its parts and slices, times their scales (WEIGHED);
//   coefficients[segment] = of the sums for each affine segment:      grad_bias, grad_scale = sum over its parts and
//   slices
//
// A workgroup has COLUMNS segments of one kind, side by side, and WORKGROUP / COLUMNS lanes for each.
//
// bindings: parameters, partials, [moments], [scale] (read), [coefficients | sums], [grad_scale], [grad_bias] (write)

struct MergeSums {
    statistics: vec4<u32>,  // the partitions: (kept_outer, reduced_outer, kept_inner, reduced_inner)
    affine: vec4<u32>,
    partials: u32,          // slices
    stride: u32,            // records of a slice
    tiles: u32,             // workgroups of statistics segments, the first ones
    factor_scale: f32,
    factor_bias: f32,
}
override WORKGROUP: u32 = 256u;
override COLUMNS: u32 = 8u;
override SLICES: u32 = 32u;          // WORKGROUP / COLUMNS
override WEIGHED: bool = false;
override KEEPS_SUMS: bool = false;       // the sums themselves are wanted, not what the map makes of them
var<workgroup> words: array<vec4<f32>, WORKGROUP>;

fn part_of(dims: vec4<u32>, segment: u32, member: u32) -> u32 {
    let outer = segment / dims.z * dims.y + member / dims.w;
    return (outer * dims.z + segment % dims.z) * dims.w + member % dims.w;
}
fn segment_of(dims: vec4<u32>, part: u32) -> u32 {
    return part / (dims.y * dims.z * dims.w) * dims.z + part / dims.w % dims.z;
}
fn partial_at(dims: vec4<u32>, segment: u32, i: u32, weighs: bool) -> vec4<f32> {
    let members = dims.y * dims.w;
    let part = part_of(dims, segment, i % members);
    let sums = load_partials(i / members * p.merge_sums.stride + part);
    if !WEIGHED || !weighs { return sums; }
    return vec4(sums.xyz * load_scale(segment_of(p.merge_sums.affine, part)), sums.w);
}
// The sum over a segment, valid in the first lane of a segment.
fn merged(dims: vec4<u32>, segment: u32, local: u32, weighs: bool) -> vec4<f32> {
    let count = dims.y * dims.w * p.merge_sums.partials;
    var sums = array<vec4<f32>, 4>();
    for (var i = local / COLUMNS; i < count; i += 4u * SLICES) {
        var values: array<vec4<f32>, 4>;
        for (var k = 0u; k < 4u; k += 1u) {
            values[k] = partial_at(dims, segment, min(i + k * SLICES, count - 1u), weighs);
        }
        for (var k = 0u; k < 4u; k += 1u) { sums[k] += select(vec4(0.0), values[k], i + k * SLICES < count); }
    }
    words[local] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (var step = SLICES / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if local / COLUMNS < step { words[local] += words[local + step * COLUMNS]; }
    }
    return words[local];
}

fn run(group: u32, local: u32) {
    let is_statistics = group < p.merge_sums.tiles;
    let dims = select(p.merge_sums.affine, p.merge_sums.statistics, is_statistics);
    let place = select(group - p.merge_sums.tiles, group, is_statistics) * COLUMNS + local % COLUMNS;
    let segment = min(place, dims.x * dims.z - 1u);
    let sums = merged(dims, segment, local, is_statistics);
    if local >= COLUMNS || place != segment { return; }
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
