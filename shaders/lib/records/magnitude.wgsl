// Records of mean magnitudes (0, 0, mean |x|, count).

fn record_merged(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    if (a.w < 0.0) & (b.w < 0.0) {
        let all = plain_merged(vec4(a.xyz, -a.w), vec4(b.xyz, -b.w));
        return vec4(all.xyz, -all.w);
    }
    return plain_merged(record_plain(a), record_plain(b));
}
fn plain_merged(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let n = a.w + b.w;
    return vec4(0.0, 0.0, dot(vec2(a.z, b.z), vec2(a.w, b.w) / max(n, 1.0)), n);
}

// Of many records at once: see centred.wgsl.
fn gather_means(base: vec4<f32>, record: vec4<f32>) -> vec2<f32> { return count_of(record) * vec2(1.0, record.z); }
fn gather_squares(base: vec4<f32>, record: vec4<f32>, sums: vec2<f32>) -> f32 { return 0.0; }
fn gathered(base: vec4<f32>, sums: vec2<f32>, squares: f32) -> vec4<f32> {
    return vec4(0.0, 0.0, sums.y / max(sums.x, 1.0), sums.x);
}
// Whether a sum overflowed.
fn is_lossy(record: vec4<f32>) -> bool { return !is_ordinary(record.z) | !is_finite(record.w); }
