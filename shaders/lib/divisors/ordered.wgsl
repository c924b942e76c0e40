// Moments that are magnitudes of one order or another: how they are scaled, and what tells the size of a segment.

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
