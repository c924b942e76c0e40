// Records of largest magnitudes (0, elements that have it, max |x|, count). Magnitudes are compared as integers, so
// that a NaN stays.

fn record_merged(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let bits = vec2(ranked(magnitude_bits(a.z)), ranked(magnitude_bits(b.z)));
    let ties = select(0.0, a.y, bits.x >= bits.y) + select(0.0, b.y, bits.y >= bits.x);
    return vec4(0.0, ties, bitcast<f32>(ranked(max(bits.x, bits.y))), a.w + b.w);
}

// Of many records at once: never, they merge one by one.
fn gather_means(base: vec4<f32>, record: vec4<f32>) -> vec2<f32> { return vec2(0.0); }
fn gather_squares(base: vec4<f32>, record: vec4<f32>, sums: vec2<f32>) -> f32 { return 0.0; }
fn gathered(base: vec4<f32>, sums: vec2<f32>, squares: f32) -> vec4<f32> { return base; }
fn is_lossy(record: vec4<f32>) -> bool { return true; }
