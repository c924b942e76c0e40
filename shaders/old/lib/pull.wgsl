// The gradient to the input: g, less what reaches x through mean and divisor, over the divisor.

fn pull(record: vec4<f32>, sums: vec4<f32>) -> Pull {
    let one = record_pull(record, record_means(sums));
    return Pull(vec4<f32>(one.x), vec4<f32>(one.y), vec4<f32>(one.z));
}

fn pull4(records: mat4x4<f32>, sums: mat4x4<f32>) -> Pull {
    let by = mat4x3<f32>(
        record_pull(records[0], record_means(sums[0])),
        record_pull(records[1], record_means(sums[1])),
        record_pull(records[2], record_means(sums[2])),
        record_pull(records[3], record_means(sums[3])),
    );
    return Pull(
        vec4<f32>(by[0].x, by[1].x, by[2].x, by[3].x),
        vec4<f32>(by[0].y, by[1].y, by[2].y, by[3].y),
        vec4<f32>(by[0].z, by[1].z, by[2].z, by[3].z),
    );
}

fn input_gradient(x: vec4<f32>, dy: vec4<f32>, scale: vec4<f32>, by: Normalizer, pull: Pull) -> vec4<f32> {
    let one = vec4<f32>(1.0);
    let last = params.scale_last == 1u;
    let g = dy * select(scale, one, last);
    let gradient = select(pulled(x, normalized(x, by), g, pull), g, params.frozen == 1u);
    return gradient * by.inverse * select(one, scale, last);
}

// Sums that are not finite enter by products with x, where the plan says so: the order of evaluation decides where NaN stands.
fn is_unusual(sums: vec4<f32>) -> bool {
    let means = record_means(sums);
    return params.products == 1u && max(magnitude_bits(means.x), magnitude_bits(means.y)) >= params.infinity;
}

fn gradient_by_products(x: f32, dy: f32, scale: f32, record: vec4<f32>, sums: vec4<f32>) -> f32 {
    let last = params.scale_last == 1u;
    let g = dy * select(scale, 1.0, last);
    let by = record_normalizer(record);
    let a = by.z;
    let mean = by.x + by.y;
    let b = (sums.x * GROW * mean - sums.z * GROW) * a * a * a / sums.w;
    let c = -b * mean - sums.x * GROW * a / sums.w;
    return (a * g + b * x + c) * select(1.0, scale, last);
}
