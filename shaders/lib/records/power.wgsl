// Records of mean powers (max |x|, 0, mean of (|x| / max)^p, count): with the largest magnitude factored out no power
// over- or underflows that matters. A NaN becomes the largest and stays.

// (x / largest)^p; 1 where they are equal, infinity included.
fn relative_power(x: f32, largest: f32) -> f32 {
    if p.divisor.order == 0.0 { return select(1.0, 0.0, magnitude_bits(x) == 0u); }
    if magnitude_bits(x) == magnitude_bits(largest) { return 1.0; }
    return power(share_of(abs(x), abs(largest)), p.divisor.order);
}
// x / largest. Devices owe no quotient by what is larger than 2^126 (Vulkan's precision of OpFDiv): NVIDIA's gives 0.
fn share_of(x: f32, largest: f32) -> f32 {
    let down = select(1.0, 0.00390625, largest > 1.0e36);
    return x / (largest * down) * down;
}

fn record_merged(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let n = a.w + b.w;
    let top = bitcast<f32>(ranked(max(ranked(magnitude_bits(a.x)), ranked(magnitude_bits(b.x)))));
    let parts = vec2(relative_power(a.x, top), relative_power(b.x, top)) * vec2(a.z, b.z)
        * (vec2(a.w, b.w) / max(n, 1.0));
    // nothing, where nothing counts
    return vec4(top, 0.0, select(0.0, parts.x, a.w > 0.0) + select(0.0, parts.y, b.w > 0.0), n);
}

// Of many records at once: never, they merge one by one.
fn gather_means(base: vec4<f32>, record: vec4<f32>) -> vec2<f32> { return vec2(0.0); }
fn gather_squares(base: vec4<f32>, record: vec4<f32>, sums: vec2<f32>) -> f32 { return 0.0; }
fn gathered(base: vec4<f32>, sums: vec2<f32>, squares: f32) -> vec4<f32> { return base; }
fn is_lossy(record: vec4<f32>) -> bool { return true; }
