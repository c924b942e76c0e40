// Moments (max |x|, 0, mean of (|x| / max)^p, count): x_hat = x / norm, any p; of a negative one the smallest magnitude
// is in place of the largest, of 0 the 1, and the powers are 1 but for zeros.

fn record_center(record: vec4<f32>) -> vec2<f32> { return vec2(0.0); }
fn record_norm(record: vec4<f32>, eps: f32) -> f32 {
    let sum = record.z * p.divisor.factor;
    if p.divisor.order == 0.0 { return record.x * sum; }
    let norm = record.x * power(sum, 1.0 / p.divisor.order);
    return select(norm, 0.0, magnitude_bits(record.x) == 0u);
}
// The norm.
fn record_spread(record: vec4<f32>) -> f32 { return record_norm(record, 0.0); }
// The moments of x * by.
fn record_times(record: vec4<f32>, by: f32) -> vec4<f32> { return vec4(record.x * by, record.yzw); }
// From units of a power of two, and as it is.
fn record_from_units(record: vec4<f32>, unit: u32) -> vec4<f32> {
    return record_times(record, power_of_two(i32(unit)));
}
fn record_as_is(record: vec4<f32>) -> vec4<f32> { return record; }
fn is_tiny(record: vec4<f32>) -> bool { return false; }
// What tells the size of a segment by its largest: magnitudes; where the order is negative the smallest counts, which
// ranks highest, but for NaN; where it is 0, none. The ranks of ranks are magnitudes again.
fn ranked4(bits: vec4<u32>) -> vec4<u32> {
    if p.divisor.order > 0.0 { return bits; }
    if p.divisor.order == 0.0 { return vec4(0x3f800000u); }
    return select(vec4(INFINITY) - bits, bits, bits > vec4(INFINITY));
}
fn ranked(bits: u32) -> u32 { return ranked4(vec4(bits)).x; }
// What gives the unit of a segment: numbers may be far larger than the smallest, and than the divisor is at least.
fn extent4(top: vec4<u32>) -> vec4<u32> {
    if p.divisor.order > 0.0 { return top; }
    let least = vec4(max(magnitude_bits(p.divisor.eps_minimum), magnitude_bits(p.divisor.eps_added)));
    return select(max(top, least), vec4(0x3f800000u), max(top, least) == vec4(0u));
}
