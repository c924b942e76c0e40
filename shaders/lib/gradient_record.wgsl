// Records of gradient sums.
//
// Record (sum of g, sum of g * x_hat, sum of g * x, count), where g is the gradient to the output, times the scale where the sums are for
// the gradient to the input. Sums are scaled by 2^-16, so that they overflow no sooner than their mean.

const SHRINK = 0.0000152587890625;
const GROW = 65536.0;

fn record_combine(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    return a + b;
}

fn record_weighed(a: vec4<f32>, weight: f32) -> vec4<f32> {
    return vec4<f32>(a.xyz * weight, a.w);
}

// Sums as they are: the gradients to bias and scale.
fn record_gradients(a: vec4<f32>) -> vec2<f32> {
    return a.xy * GROW;
}

// Means of g and g * x_hat over the segment.
fn record_means(a: vec4<f32>) -> vec2<f32> {
    return select(a.xy * (GROW / a.w), vec2<f32>(0.0), a.w == 0.0);
}
