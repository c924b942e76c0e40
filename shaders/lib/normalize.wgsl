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
    let bias = load_bias(parameter);
    let scaled = product(x_hat, scale);
    // a sum would flush what the product kept
    if magnitude_bits(bias) == 0u { return scaled; }
    return scaled + bias;
}

// a * b. A product of two normal numbers below the smallest normal one is built in integers, where floats may be flushed to 0.
fn product(a: f32, b: f32) -> f32 {
    let plain = a * b;
    let bits_a = magnitude_bits(a);
    let bits_b = magnitude_bits(b);
    if magnitude_bits(plain) >= 0x00800000u || min(bits_a, bits_b) < 0x00800000u { return plain; }
    let mantissas = bitcast<f32>((bits_a & 0x007fffffu) | 0x3f800000u) * bitcast<f32>((bits_b & 0x007fffffu) | 0x3f800000u);
    // the value is mantissas * 2^exponent, denormals are whole multiples of 2^-149
    let exponent = i32(bits_a >> 23u) + i32(bits_b >> 23u) - 254;
    let steps = u32(round(ldexp(mantissas, max(exponent + 149, -24))));
    return bitcast<f32>(steps | ((bitcast<u32>(a) ^ bitcast<u32>(b)) & 0x80000000u));
}
