// The divisor sqrt(variance + eps), eps large enough for none to be 0: the common case of lib/divisor.wgsl.
struct Eps { inside: f32, square_root: f32 }
// Beside an eps a variance of 0 is as good as any that f32 loses.
const LOSES_NOTHING = true;
fn inverses(m: Measured) -> Sum { return inverseSqrt(m.spread + p.eps.inside); }
// In units of what is larger, the data or the root of eps.
fn inverse_in_units(record: vec4<f32>, unit: u32) -> f32 {
    let larger = i32(max(unit, unit_of(magnitude_bits(p.eps.square_root))));
    let down = power_of_two(127 + i32(unit) - larger);
    let eps = p.eps.square_root * power_of_two(254 - larger);
    return inverseSqrt(fma(record.z * down, record.z * down, eps * eps)) * down;
}
// The moments of x * by.
fn record_times(record: vec4<f32>, by: f32) -> vec4<f32> { return vec4(record.xyz * by, record.w); }
fn record_from_units(record: vec4<f32>, unit: u32) -> vec4<f32> { return record_from(record, i32(unit)); }
// What tells the size of a segment by its largest: magnitudes.
fn ranked4(bits: vec4<u32>) -> vec4<u32> { return bits; }
fn extent4(top: vec4<u32>) -> vec4<u32> { return top; }
