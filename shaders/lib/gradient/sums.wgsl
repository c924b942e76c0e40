// Gradient sums of a segment: (sum of g, sum of g * x_hat, sum of g * x, count), scaled by 2^-16, so that they overflow
// no sooner than their mean.
struct Sums {
    products: u32,   // 1: sums that are not finite enter the gradient by products with x, as they do in PyTorch
}

const SHRINK = 0.0000152587890625;
const GROW = 65536.0;

fn total(x: vec4<f32>) -> f32 { return (x.x + x.y) + (x.z + x.w); }
fn means_of(sums: vec4<f32>) -> vec2<f32> {
    return select(sums.xy * (GROW / sums.w), vec2(0.0), sums.w == 0.0);
}

// PyTorch's order of evaluation, dx = a * g + b * x + c, which decides where NaN stands if the sums are not finite.
fn products(by: vec4<f32>, sums: vec4<f32>) -> vec3<f32> {
    let a = by.w * by.x;
    let mean = by.y / by.x;
    let b = (sums.x * GROW * mean - sums.z * GROW) * a * a * a / sums.w;
    return vec3(a, b, -b * mean - sums.x * GROW * a / sums.w);
}
