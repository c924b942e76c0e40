// The elements of a vector belong to one segment: sums of it are numbers.
alias Sum = f32;
alias Bits = u32;
const SEGMENTS = 1u;
fn total(x: vec4<f32>) -> Sum { return (x.x + x.y) + (x.z + x.w); }
fn largest(x: vec4<u32>) -> Bits { return max(max(x.x, x.y), max(x.z, x.w)); }
fn four(x: Sum) -> vec4<f32> { return vec4(x); }
fn four_bits(x: Bits) -> vec4<u32> { return vec4(x); }
fn any_bits(x: Bits) -> bool { return x != 0u; }
fn of_four(x: vec4<f32>) -> Sum { return x.x; }
fn bits_of(x: vec4<u32>) -> Bits { return x.x; }
fn part(x: Sum, e: u32) -> f32 { return x; }
fn units(top: Bits) -> Bits { return unit_of(top); }
fn inverses_in_units(m: Measured, unit: Bits) -> Sum { return inverse_in_units(moments_of(m, 0u), unit); }
