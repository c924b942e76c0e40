// Normalizes a tensor whose rows share words of the output: every word is written by one lane.
//
//   for each four places of the output                       (a lane each)
//       x = the elements there;  by, scale, bias of each      once, where all four have one segment
//       y = (x - mean) / divisor * scale + bias
//       words are written; of those that are the tensor's in part the half that is, between what is there
//
// bindings: parameters, input (read), partials (read), scale? (read), bias? (read), output (write)

fn written_place() -> u32 { return p.places.output; }
fn written_stride() -> u32 { return p.places.output_stride; }
fn normalizer_of(i: u32) -> vec4<f32> { return normalizer(load_partials(statistics_of(i))); }

fn run(group: u32, local: u32) {
    let v = group * WORKGROUP + local;
    if v >= p.words.vectors { return; }
    let at = dealt(v);
    let i = at.number;
    let x = vec4(take(single(i.x), 0u), take(single(i.y), 0u), take(single(i.z), 0u), take(single(i.w), 0u));
    let first = normalizer_of(i.x);
    var by = splat_normalizer(first);
    if !has_one_segment(i) {
        by = joined_normalizers(first, normalizer_of(i.y), normalizer_of(i.z), normalizer_of(i.w));
    }
    let a = affine_at(i.x);
    var scale = vec4(a.scale);
    var bias = vec4(a.bias);
    if !is_one(p.affine.lookup, vec4(p.affine.first_row) + i) {
        let b = affine_at(i.y);
        let c = affine_at(i.z);
        let d = affine_at(i.w);
        scale = vec4(a.scale, b.scale, c.scale, d.scale);
        bias = vec4(a.bias, b.bias, c.bias, d.bias);
    }
    give_words(at.place, at.live, carefully4(x, by, scale, bias));
}
