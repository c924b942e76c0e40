// Normalizes a tensor whose rows share words of the output: every word is written by one lane.
//
//   for each four places of the output                       (a lane each)
//       x = the elements there;  by, scale, bias of each      once, where all four have one segment
//       y = (x - mean) / divisor * scale + bias
//       words are written; of those that are the tensor's in part the half that is, between what is there
//
// bindings: parameters, input (read), partials (read), scale? (read), bias? (read), output (write)

fn normalizer_of(i: u32) -> vec4<f32> { return normalizer(load_partials(statistics_of(i))); }

fn run(group: u32, local: u32) {
    let v = group * WORKGROUP + local;
    if v >= p.words.vectors { return; }
    let at = dealt(v);
    let i = at.number;
    let x = taken(i);
    var by = splat_normalizer(normalizer_of(i.x));
    let own = affine_at(i.x);
    var scale = vec4(own.scale);
    var bias = vec4(own.bias);
    // a loop that stays one: it keeps what is long and rare short
    for (var e = select(p.exact.zero + 1u, 4u, have_one_segment(i)); e < 4u; e += 1u) {
        let here = vec4(0u, 1u, 2u, 3u) == vec4(e);
        let other = affine_at(i[e]);
        by = select_normalizer(by, normalizer_of(i[e]), here);
        scale = select(scale, vec4(other.scale), here);
        bias = select(bias, vec4(other.bias), here);
    }
    keep_words(at, x);
    give_words(at, carefully4(x, by, scale, bias));
}
