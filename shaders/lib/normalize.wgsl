// y = ((x - shift) - rest) * inverse [* scale] [+ bias]
// An absent scale loads as 1, an absent bias as -0, which leave x_hat as it is.
// Never x * a + b with b = bias - mean * a, which cancels at a large mean.

fn normalize(x: f32, by: Normalizer, segment: u32) -> f32 {
    let x_hat = normalized(x, by);
    let parameter = segment - params.affine_base;
    let scale = load_scale(parameter);
    if magnitude_bits(scale) == params.folded_scale {
        let alpha = by.inverse * scale;
        return x * alpha + (load_bias(parameter) - (by.center.x + by.center.y) * alpha);
    }
    return x_hat * scale + load_bias(parameter);
}
