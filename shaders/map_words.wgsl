// Normalizes a tensor whose rows share words of the output: every word is written by one lane.
//
//   for each four places of the output                       (a lane each)
//       x = the elements there;  by, scale, bias of each      once, where all four have one segment
//       y = (x - mean) / divisor * scale + bias
//       words are written; of those that are the tensor's in part the half that is, between what is there
//
// bindings: parameters, input (read), partials (read), scale? (read), bias? (read), output (write)

fn run(group: u32, local: u32) {
    let v = group * WORKGROUP + local;
    if v >= p.words.vectors { return; }
    let at = dealt(v);
    let x = taken(at.number);
    let parameters = parameters_of(at.number);
    let segments = statistics_of(at.number);
    var by = splat_normalizer(normalizer(load_partials(segments.x)));
    for (var e = first_other(segments); e < 4u; e += 1u) {
        let own = normalizer(load_partials(segments[e]));
        by = select_normalizer(by, own, vec4(0u, 1u, 2u, 3u) == vec4(e));
    }
    keep_words(at, x);
    give_words(at, mapped4(x, map_of(by, scales_of(parameters), biases_of(parameters))));
}
