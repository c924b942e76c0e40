// A segment from what memory holds, its gradients multiplied with a power of two, such that no sum of them overflows or
// vanishes: of run_backward, rare.

// Its loops begin at a zero that compilers do not know, so that they stay loops: unrolled they take more registers than
// the path beside them.

fn weight_of(segment: u32, t: u32) -> f32 { return select(scale_of(segment, t), 1.0, SCALE_LAST); }
fn segment_again(segment: u32, stores: bool, local: u32) {
    let record = load_moments(segment);
    let by = splat_normalizer(normalizer(record));
    var fields = vec4(0u);
    for (var t = p.exact.zero; t < RUNS; t += 1u) {
        let row = row_of(segment, t);
        for (var v = p.exact.zero; v < VECTORS; v += 1u) {
            let own = fields4(grad4(row, vector_of(row, v)), vec4(weight_of(segment, t)));
            fields = max(fields, select(vec4(0u), own, is_here(row, t, v)));
        }
    }
    let up = to_units(max_lanes(max(max(fields.x, fields.y), max(fields.z, fields.w)), 1u));
    var sums = vec3(0.0);
    for (var t = p.exact.zero; t < RUNS; t += 1u) {
        let row = row_of(segment, t);
        var own = vec3(0.0);
        for (var v = p.exact.zero; v < VECTORS; v += 1u) {
            let here = is_here(row, t, v);
            let x = select(vec4(0.0), take4(row, vector_of(row, v)), here);
            let g = select(vec4(0.0), grad4(row, vector_of(row, v)) * up, here);
            own += vec3(total(g), total(select(vec4(0.0), g * hat4(x, by), here)), total(g * x));
        }
        sums += own * weight_of(segment, t);
        if SUMS {
            let of_run = vec3(sum_run(own.xy, local), 0.0);
            if stores && is_run(t) && lane_vector(0u) == 0u {
                store_partials(number_of(segment, t), sums_of(of_run, up, f32(p.run_backward.width)));
            }
        }
    }
    let whole = sum4_lanes(vec4(sums, 0.0), 1u);
    let all = coefficients(record, sums_of(whole.xyz, up, p.run_backward.len));
    if MAPS { store_again(stores, segment, all); }
}
fn gradient_again(segment: u32, t: u32, v: u32, all: Coefficients) -> vec4<f32> {
    let row = row_of(segment, t);
    let x = take4(row, vector_of(row, v));
    let dy = grad4(row, vector_of(row, v));
    var u: vec4<f32>;
    for (var e = 0u; e < 4u; e += 1u) { u[e] = careful_gradient(x[e], dy[e], scale_of(segment, t), all); }
    return u;
}
