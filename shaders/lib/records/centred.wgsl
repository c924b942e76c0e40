// Records of moments (shift, rest, deviation, count): the mean is shift + rest.

// (shift, rest, ...) in units, such that neither overflows: the mean rounded, and what that leaves.
fn record_centred(shift: f32, rest: f32, from_unit: f32) -> vec2<f32> {
    let mean = opaque(shift + rest);
    return vec2(mean, opaque(shift - mean) + rest) * from_unit;
}

// Of two records, whatever their shifts, over the whole range. Not for hot loops. Two of tiny numbers merge as they
// are.
fn record_merged(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    if a.w == 0.0 { return b; }
    if b.w == 0.0 { return a; }
    if (a.w < 0.0) & (b.w < 0.0) {
        let all = plain_merged(vec4(a.xyz, -a.w), vec4(b.xyz, -b.w));
        return vec4(all.xyz, -all.w);
    }
    return plain_merged(record_plain(a), record_plain(b));
}
fn plain_merged(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let n = a.w + b.w;
    let weights = vec2(a.w, b.w) / n;
    let bits = max(magnitude_bits4(a), magnitude_bits4(b));
    let top = max(max(bits.x, bits.y), bits.z);
    // infinite means have no difference, but a sum
    if top >= INFINITY { return vec4(a.x + a.y + (b.x + b.y), 0.0, bitcast<f32>(p.exact.nan), n); }
    let unit = i32(clamp(top >> 23u, 1u, 252u)) + 1;
    let u = opaque4(a * power_of_two(254 - unit));
    let v = opaque4(b * power_of_two(254 - unit));
    let delta = opaque(v.x - u.x) + (v.y - u.y);
    let square = u.z * u.z * weights.x + v.z * v.z * weights.y + delta * weights.x * (delta * weights.y);
    return vec4(record_centred(u.x, fma(delta, weights.y, u.y), power_of_two(unit)), sqrt(square) * power_of_two(unit),
        n);
}

// Of many records at once, by sums: first of (count, count * distance of the mean from the shift of `base`), then, once
// those sums are known, of squares. Lossless but for squares out of range.
fn gather_means(base: vec4<f32>, record: vec4<f32>) -> vec2<f32> {
    return count_of(record) * vec2(1.0, opaque(record.x - base.x) + record.y);
}
fn gather_squares(base: vec4<f32>, record: vec4<f32>, sums: vec2<f32>) -> f32 {
    let delta = difference(opaque(record.x - base.x) + record.y, sums.y / max(sums.x, 1.0));
    return record.w * fma(delta, delta, record.z * record.z);
}
fn gathered(base: vec4<f32>, sums: vec2<f32>, squares: f32) -> vec4<f32> {
    return vec4(base.x, sums.y / max(sums.x, 1.0), sqrt(squares / max(sums.x, 1.0)), sums.x);
}
// Whether squares overflowed or vanished.
fn is_lossy(record: vec4<f32>) -> bool {
    let square = fma(record.y, record.y, record.z * record.z);
    return (square == 0.0) | !is_ordinary(square) | !is_finite(record.w);
}
