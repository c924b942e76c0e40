// y of an element that was read again: x * alpha + (bias - mean * alpha) where the scale is infinite.
const FOLDED = true;
fn affine4(k: u32, x: vec4<f32>, m: Measured, r: vec4<f32>) -> vec4<f32> {
    let scale = scale_of(k);
    let bias = bias_of(k);
    let alpha = r * scale;
    let plain = fma(seen4(deviation4(x, m) * r), scale, bias);
    let folded = x * alpha + (bias - four(m.shift + m.rest) * alpha);
    return select(plain, folded, magnitude_bits4(scale) == vec4(INFINITY));
}
