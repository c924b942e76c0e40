// What records of gradient sums give: see gradient_record.wgsl. Sums are scaled by 2^-16, so that they overflow no sooner than their mean.

const SHRINK = 0.0000152587890625;
const GROW = 65536.0;

// Sums as they are: the gradients to bias and scale.
fn record_gradients(record: vec4<f32>) -> vec2<f32> {
    return record.xy * GROW;
}

// Means of g and g * x_hat over the segment.
fn record_means(record: vec4<f32>) -> vec2<f32> {
    return select(record.xy * (GROW / record.w), vec2<f32>(0.0), record.w == 0.0);
}
