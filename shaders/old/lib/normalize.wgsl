// y = ((x - shift) - rest) * inverse [* scale] [+ bias]
// An absent scale loads as 1, an absent bias as -0, which leave x_hat as it is.
// Never x * a + b with b = bias - mean * a, which cancels at a large mean.

fn normalize4(x: vec4<f32>, by: Normalizer, scale: vec4<f32>, bias: vec4<f32>) -> vec4<f32> {
    return normalized(x, by) * scale + bias;
}

// Below 2^-100: x_hat times such a scale may be a denormal number, which a device may flush.
const SMALL_SCALE = 0x0d800000u;

// Scales that take more care: tiny, infinite or NaN. A loop of its own treats their elements.
fn is_unusual(scale: vec4<f32>) -> bool {
    let bits = magnitude_bits4(scale);
    let ordinary = bits - vec4<u32>(SMALL_SCALE) < vec4<u32>(0x7f800000u - SMALL_SCALE);
    return !all(ordinary | (bits == vec4<u32>(0u)));
}

// One element, by its segment. The code is long: kernels run it in loops of their own, element by element.
fn normalize_carefully(x: f32, by: Normalizer, scale: f32, bias: f32) -> f32 {
    if magnitude_bits(scale) == params.folded_scale {
        let alpha = by.inverse.x * scale;
        return x * alpha + (bias - (by.shift.x + by.rest.x) * alpha);
    }
    let scaled = product(normalized(vec4<f32>(x), by).x, scale);
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

fn bias_at(run: Run, first: u32, i: u32) -> vec4<f32> {
    if AFFINE == HELD && AFFINE_ALONG { return load4_bias(first + i - run.first, first, run.width); }
    if AFFINE == BY_ROW { return vec4<f32>(load_bias(first)); }
    let at = parameters_of(run, first, i);
    return vec4<f32>(load_bias(at.x), load_bias(at.y), load_bias(at.z), load_bias(at.w));
}
