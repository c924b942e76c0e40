// Records of statistics, to the kernels that reduce and merge records of any kind.

fn record_combine(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    return acc_combine(a, b);
}

fn record_weighed(a: vec4<f32>, weight: f32) -> vec4<f32> {
    return a;
}

fn record_gradients(a: vec4<f32>) -> vec2<f32> {
    return vec2<f32>(0.0);
}
