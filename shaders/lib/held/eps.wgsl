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
