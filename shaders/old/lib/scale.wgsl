// Powers of two that bring magnitudes near 1: squares of scaled numbers neither overflow nor vanish, and scaling is exact.

struct Scale {
    to_unit: f32,    // 2^-exponent
    from_unit: f32,  // 2^exponent
}

// The scale of the magnitude with these bits. Infinity and NaN stay what they are under any scale.
fn scale_of(bits: u32) -> Scale {
    let exponent = clamp(bits >> 23u, 1u, 253u);
    return Scale(bitcast<f32>((254u - exponent) << 23u), bitcast<f32>(exponent << 23u));
}

// sqrt(signed square of deviation * factor + eps). A negative deviation stands for a negative variance.
fn root_of_square(deviation: f32, factor: f32, eps: f32) -> f32 {
    let scale = scale_of(max(magnitude_bits(deviation), magnitude_bits(sqrt(abs(eps)))));
    let scaled = deviation * scale.to_unit;
    return root(scaled * abs(scaled) * factor + eps * scale.to_unit * scale.to_unit) * scale.from_unit;
}

// What a segment's sums pull at the gradients of its elements: through the mean, through the divisor, and whose norm that is.
struct Pull {
    mean: vec4<f32>,
    share: vec4<f32>,
    norm: vec4<f32>,
}

// n * d divisor / dx at x_hat = 1, for divisors made of a root: factor * divisor / root; 0 where the minimum rules, and at a
// root of 0, where the divisor is what is added to it.
fn divisor_slope(record: vec4<f32>) -> f32 {
    if params.eps_added == 0.0 && params.eps_minimum == 0.0 { return params.factor; }
    let divisor = record_divisor(record);
    if divisor < params.eps_minimum || divisor == 0.0 { return 0.0; }
    return params.factor * ((divisor + params.eps_added) / divisor);
}
