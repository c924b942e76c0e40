// The parameters of two affine maps, by the number of a segment of the finer partition.
override FIRST_ONE_PLUS: bool = false;
override SECOND_ONE_PLUS: bool = false;
fn first_scale_of(i: u32) -> f32 {
    return load_scale(place_of_element(p.scale, i, true)) + select(-0.0, 1.0, FIRST_ONE_PLUS);
}
fn first_bias_of(i: u32) -> f32 { return load_bias(place_of_element(p.bias, i, true)); }
fn second_scale_of(i: u32) -> f32 {
    return load_modulation_scale(place_of_element(p.modulation_scale, i, true)) + select(-0.0, 1.0, SECOND_ONE_PLUS);
}
