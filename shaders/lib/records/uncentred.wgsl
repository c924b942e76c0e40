// Records of root mean squares (0, 0, root of the mean square, count). The root has the range of the data where a
// square has not.

// Of two records, over the whole range. Not for hot loops.
fn record_merged(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    if (a.w < 0.0) & (b.w < 0.0) {
        let all = plain_merged(vec4(a.xyz, -a.w), vec4(b.xyz, -b.w));
        return vec4(all.xyz, -all.w);
    }
    return plain_merged(record_plain(a), record_plain(b));
}
fn plain_merged(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let n = a.w + b.w;
    let unit = i32(unit_of(max(magnitude_bits(a.z), magnitude_bits(b.z))));
    let by = power_of_two(254 - unit);
    let scaled = vec2(opaque(a.z * by), opaque(b.z * by));
    let square = dot(scaled * scaled, vec2(a.w, b.w) / max(n, 1.0));
    return vec4(0.0, 0.0, sqrt(square) * power_of_two(unit), n);
}

// Of many records at once: see centred.wgsl.
fn gather_means(base: vec4<f32>, record: vec4<f32>) -> vec2<f32> { return vec2(count_of(record), 0.0); }
fn gather_squares(base: vec4<f32>, record: vec4<f32>, sums: vec2<f32>) -> f32 {
    return record.w * (record.z * record.z);
}
fn gathered(base: vec4<f32>, sums: vec2<f32>, squares: f32) -> vec4<f32> {
    return vec4(0.0, 0.0, sqrt(squares / max(sums.x, 1.0)), sums.x);
}
// Whether squares overflowed or vanished.
fn is_lossy(record: vec4<f32>) -> bool {
    let square = record.z * record.z;
    return (square == 0.0) | !is_ordinary(square) | !is_finite(record.w);
}
