// Gradient sums in parts, in slices: partials[slice][part]. A part is a segment of the common refinement of both
// partitions, so it belongs to one statistics segment and to one affine segment.
struct Parts {
    // parts as elements of the partitions: (kept_outer, reduced_outer, kept_inner, reduced_inner)
    statistics: vec4<u32>,
    affine: vec4<u32>,
    slices: u32,
    stride: u32,            // records of a slice
    columns: u32,           // segments that a workgroup merges side by side, and lanes for each: powers of two
    lines: u32,
    affine_columns: u32,    // the same of affine segments
    affine_lines: u32,
    affine_groups: u32,     // the first so many workgroups merge affine segments
    factor_scale: f32,      // on the sums that become gradients
    factor_bias: f32,
}
override WEIGHED: bool = false;          // sums of statistics segments are of g times the parts' scales
var<workgroup> words: array<vec4<f32>, WORKGROUP>;

fn part_of(dims: vec4<u32>, segment: u32, member: u32) -> u32 {
    let outer = segment / dims.z * dims.y + member / dims.w;
    return (outer * dims.z + segment % dims.z) * dims.w + member % dims.w;
}
fn segment_of_part(dims: vec4<u32>, part: u32) -> u32 {
    return part / (dims.y * dims.z * dims.w) * dims.z + part / dims.w % dims.z;
}
fn partial_at(dims: vec4<u32>, segment: u32, i: u32, weighs: bool) -> vec4<f32> {
    let members = dims.y * dims.w;
    let part = part_of(dims, segment, i % members);
    let sums = load_partials(i / members * p.parts.stride + part);
    if !WEIGHED || !weighs { return sums; }
    let scale = load_scale(segment_of_part(p.parts.affine, part));
    let weighed = sums.xy * scale;
    // what vanishes counts as sums in units
    let lost = any((weighed == vec2(0.0)) & (sums.xy != vec2(0.0))) & (scale != 0.0);
    return vec4(weighed, select(sums.z, 1.0, lost), sums.w);
}
// The sum over a segment by `lines` lanes, one of `columns` side by side, valid in its first lane. To be called by all.
fn merged(dims: vec4<u32>, segment: u32, local: u32, columns: u32, lines: u32, weighs: bool) -> vec4<f32> {
    let count = dims.y * dims.w * p.parts.slices;
    let line = local / columns;
    var sums = array<vec4<f32>, 4>();
    for (var i = select(count, line, line < lines); i < count; i += 4u * lines) {
        var values: array<vec4<f32>, 4>;
        for (var k = 0u; k < 4u; k += 1u) {
            values[k] = partial_at(dims, segment, min(i + k * lines, count - 1u), weighs);
        }
        for (var k = 0u; k < 4u; k += 1u) { sums[k] += select(vec4(0.0), values[k], i + k * lines < count); }
    }
    words[local] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (var step = lines / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if line < step { words[local] += words[local + step * columns]; }
    }
    let all = words[local];
    if are_plain(all) | (line > 0u) { return all; }
    return merged_carefully(dims, segment, weighs);
}
// Record by record, over the whole range. Rare.
fn merged_carefully(dims: vec4<u32>, segment: u32, weighs: bool) -> vec4<f32> {
    let members = dims.y * dims.w;
    var all = vec4(0.0);
    for (var i = 0u; i < members * p.parts.slices; i += 1u) {
        let part = part_of(dims, segment, i % members);
        var sums = load_partials(i / members * p.parts.stride + part);
        if WEIGHED && weighs { sums = sums_times(sums, load_scale(segment_of_part(p.parts.affine, part))); }
        all = sums_merged(all, sums);
    }
    return all;
}
// The gradients of scale and bias, of affine segments side by side.
fn merge_affine(group: u32, local: u32) {
    let dims = p.parts.affine;
    let columns = p.parts.affine_columns;
    let place = group * columns + local % columns;
    let segment = min(place, dims.x * dims.z - 1u);
    let sums = merged(dims, segment, local, columns, p.parts.affine_lines, false);
    if (local >= columns) | (place != segment) { return; }
    store_grad_scale(segment, scaled(sums.y * p.parts.factor_scale, unit_power(sums)));
    store_grad_bias(segment, scaled(sums.x * p.parts.factor_bias, unit_power(sums)));
}
