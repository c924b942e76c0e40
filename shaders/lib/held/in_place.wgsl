// y from deviations in registers takes the place of x; whether all of the lane's are finite.
fn affine_in_place(r: vec4<f32>) -> bool {
    var nothing = vec4(0.0);
    for (var k = 0u; k < VECTORS; k += 1u) {
        held[k] = fma(seen4(held[k] * r), scale_of(k), bias_of(k));
        nothing = fma(held[k], vec4(p.exact.nothing), nothing);
    }
    return all(nothing == vec4(0.0));
}
