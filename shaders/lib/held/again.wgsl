// y of an element that was read again.
const FOLDED = false;
fn affine4(k: u32, x: vec4<f32>, m: Measured, r: vec4<f32>) -> vec4<f32> {
    return fma(seen4(deviation4(x, m) * r), scale_of(k), bias_of(k));
}
