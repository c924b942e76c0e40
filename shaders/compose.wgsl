// Two affine maps, one after the other, as one over the finer of their partitions; or lists put side by side.
//
//   composed_scale[i] = (scale + 1?) * (modulation_scale + 1?)
//   composed_bias[i] = bias * (modulation_scale + 1?) + shift
//
// bindings: parameters, [scale], [bias], [modulation_scale], [modulation_shift] (read), [composed_scale],
// [composed_bias] (write)

fn run(group: u32, local: u32) {
    let i = group * WORKGROUP + local;
    if i >= p.each.segments { return; }
    let g = second_scale_of(i);
    store_composed_scale(i, first_scale_of(i) * g);
    let shift = load_modulation_shift(place_of_element(p.modulation_shift, i, true));
    store_composed_bias(i, fma(first_bias_of(i), g, shift));
}
