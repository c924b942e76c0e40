// The four elements of a vector belong to four segments: sums of them are vectors.
alias Sum = vec4<f32>;
alias Bits = vec4<u32>;
const SEGMENTS = 4u;
fn total(x: vec4<f32>) -> Sum { return x; }
fn largest(x: vec4<u32>) -> Bits { return x; }
fn four(x: Sum) -> vec4<f32> { return x; }
fn four_bits(x: Bits) -> vec4<u32> { return x; }
fn any_bits(x: Bits) -> bool { return x.x != 0u; }
fn of_four(x: vec4<f32>) -> Sum { return x; }
fn bits_of(x: vec4<u32>) -> Bits { return x; }
fn part(x: Sum, e: u32) -> f32 { return x[e]; }
fn units(top: Bits) -> Bits { return vec4(unit_of(top.x), unit_of(top.y), unit_of(top.z), unit_of(top.w)); }
fn inverses_in_units(m: Measured, unit: Bits) -> Sum {
    return vec4(inverse_in_units(moments_of(m, 0u), unit.x), inverse_in_units(moments_of(m, 1u), unit.y),
        inverse_in_units(moments_of(m, 2u), unit.z), inverse_in_units(moments_of(m, 3u), unit.w));
}
