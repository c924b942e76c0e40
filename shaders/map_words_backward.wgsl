// The gradient to every input element of a tensor whose rows share words of it: every word is written by one lane.
//
//   for each four places of the gradient to the input        (a lane each)
//       x, g = the elements there, g times their scales;  coefficients of each, once where all four have one segment
//       grad_input = as lib/coefficients.wgsl has it
//       words are written; of those that are the tensor's in part the half that is, between what is there
//
// bindings: parameters, [input], grad_output, coefficients | moments, [scale] (read), grad_input (write)

fn segment_at(n: u32, run: u32) -> u32 { return n; }
fn select_coefficients(all: Coefficients4, one: Coefficients, here: vec4<bool>) -> Coefficients4 {
    let by = select_normalizer(all.by, one.by, here);
    return Coefficients4(by, select(all.mean, one.pull.xxxx, here), select(all.share, one.pull.yyyy, here),
        select(all.other, one.pull.zzzz, here));
}
fn run(group: u32, local: u32) {
    let v = group * WORKGROUP + local;
    if v >= p.words.vectors { return; }
    let at = dealt(v);
    let i = at.number;
    let g = vec4(grad(single(i.x), 0u), grad(single(i.y), 0u), grad(single(i.z), 0u), grad(single(i.w), 0u));
    let weight = scales_of(parameters_of(i));
    let segments = statistics_of(i);
    var own = splat_coefficients(coefficients_at(segments.x, 0u));
    for (var e = first_other(segments); e < 4u; e += 1u) {
        own = select_coefficients(own, coefficients_at(segments[e], 0u), vec4(0u, 1u, 2u, 3u) == vec4(e));
    }
    let weighed = select(g * weight, g, SCALE_LAST);
    var u = weighed * own.by.r * own.by.k;
    if !GIVEN { u = input_gradient4(taken(i), weighed, own); }
    if SCALE_LAST { u *= weight; }
    if !GIVEN && !are_common(own.by) {
        let x = taken(i);
        for (var e = 0u; e < 4u; e += 1u) {
            let c = coefficients_at(segments[e], 0u);
            if c.by.x < 0.0 { u[e] = careful_gradient(x[e], g[e], weight[e], c); }
        }
    }
    give_gradient_words(at, u);
}
