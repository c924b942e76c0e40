// Differences whose rounding matters.
//
// Implementations of WGSL may reassociate (x - shift) - rest into x - (shift + rest), which rounds the mean to one
// f32 and loses what the pair carries. A result that passes through an xor with a runtime zero cannot be folded.
// No other file subtracts a shift or a mean.

fn difference(a: f32, b: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(a - b) ^ params.zero);
}

fn difference4(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(a - b) ^ vec4<u32>(params.zero));
}

// Bits of |x|. As integers they order like the magnitudes, with NaN above infinity: `max` on floats swallows NaN.
fn magnitude_bits(x: f32) -> u32 {
    return bitcast<u32>(x) & 0x7fffffffu;
}

fn magnitude_bits4(x: vec4<f32>) -> vec4<u32> {
    return bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu);
}

// Square root with NaN for a negative argument, which WGSL leaves open.
fn root(x: f32) -> f32 {
    return select(sqrt(x), bitcast<f32>(params.nan), bitcast<u32>(x) > 0x80000000u);
}

// The larger of two numbers, the second not negative; NaN if the first is NaN.
fn at_least(x: f32, minimum: f32) -> f32 {
    return select(x, minimum, bitcast<u32>(x) < bitcast<u32>(minimum));
}

// 1 / x by the rule of the plan at 0, and 0 at infinity.
fn inverse(x: f32) -> f32 {
    let bits = magnitude_bits(x);
    if bits == 0u { return bitcast<f32>(params.inverse_of_zero); }
    if bits == params.infinity { return 0.0; }
    return 1.0 / x;
}
