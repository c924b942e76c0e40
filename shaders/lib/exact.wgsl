// Differences whose rounding matters, and numbers in units of a power of two. No other file subtracts a mean.
struct Exact { one: f32, nothing: f32, zero: u32, nan: u32 }   // 1, 0, 0, bits of a NaN: unknown to the compiler

// a - b where a is itself a difference, as in (x - shift) - rest. Compilers turn a plain subtraction into x - (shift +
// rest), which rounds the mean to one f32; a product with a one that they do not know they leave alone. It costs what a
// subtraction costs.
fn difference(a: f32, b: f32) -> f32 { return fma(a, p.exact.one, -b); }
fn difference4(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> { return fma(a, vec4(p.exact.one), -b); }

// What must be rounded as it stands: compilers factor a product out of a sum, where (x - shift) * k overflows and x * k
// - shift * k does not, and make -b of a - (a + b). For what is computed once a segment: it costs an instruction.
fn opaque(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) ^ p.exact.zero); }
fn opaque4(x: vec4<f32>) -> vec4<f32> { return bitcast<vec4<f32>>(bitcast<vec4<u32>>(x) ^ vec4(p.exact.zero)); }

// Bits of |x|. As integers they order like the magnitudes, with NaN above infinity: `max` on floats swallows NaN.
fn magnitude_bits(x: f32) -> u32 { return bitcast<u32>(x) & 0x7fffffffu; }
fn magnitude_bits4(x: vec4<f32>) -> vec4<u32> { return bitcast<vec4<u32>>(x) & vec4(0x7fffffffu); }
const INFINITY: u32 = 0x7f800000u;
fn is_finite(x: f32) -> bool { return magnitude_bits(x) < INFINITY; }

// A unit is 2^(unit - 127), unit 1 to 253: the exponent field of a segment's largest magnitude. Smaller powers are 0.
fn unit_of(bits: u32) -> u32 { return clamp(bits >> 23u, 1u, 253u); }
fn power_of_two(field: i32) -> f32 { return bitcast<f32>(u32(clamp(field, 0, 254)) << 23u); }

// Moments of tiny numbers would be denormal, and lose digits: their records are stored times 2^64, and their counts
// negative.
const TINY = 65;
fn record_from(record: vec4<f32>, unit: i32) -> vec4<f32> {
    if (unit < TINY) & any(record.xyz != vec3(0.0)) { return vec4(record.xyz * power_of_two(unit + 64), -record.w); }
    return vec4(record.xyz * power_of_two(unit), record.w);
}
// The record as it is, of moments as they are.
fn record_plain(record: vec4<f32>) -> vec4<f32> {
    return select(record, vec4(record.xyz * power_of_two(63), -record.w), record.w < 0.0);
}

// The count of a record where many are merged at once: that of tiny numbers is infinite, so that they merge one by one.
fn count_of(record: vec4<f32>) -> f32 {
    return select(record.w, bitcast<f32>(INFINITY | p.exact.zero), record.w < 0.0);
}

// x in units, exactly. Denormal numbers as integers: a device that flushes them does not see them.
fn in_units(x: f32, unit: u32) -> f32 {
    let bits = bitcast<u32>(x);
    let steps = f32(bits & 0x7fffffu) * bitcast<f32>(u32(max(105 - i32(unit), 0)) << 23u);
    let denormal = bitcast<f32>(bitcast<u32>(steps) | (bits & 0x80000000u));
    return select(x * bitcast<f32>((254u - unit) << 23u), denormal, (bits & INFINITY) == 0u);
}
// One after the other, for few registers: slow paths would give theirs to the kernel.
fn in_units4(x: vec4<f32>, unit: vec4<u32>) -> vec4<f32> {
    return vec4(in_units(x.x, unit.x), in_units(x.y, unit.y), in_units(x.z, unit.z), in_units(x.w, unit.w));
}

// Whether a variance, or a mean magnitude, lost nothing worth keeping: 2^-80 to 2^90. Not 0, infinity or NaN.
fn is_ordinary(spread: f32) -> bool { return bitcast<u32>(spread) - 0x17800000u < 0x55000000u; }

// Square root with NaN for a negative argument, which WGSL leaves open.
fn root(x: f32) -> f32 { return select(sqrt(x), bitcast<f32>(p.exact.nan), bitcast<u32>(x) > 0x80000000u); }
// The larger of two numbers, the second not negative; NaN if the first is NaN.
fn at_least(x: f32, minimum: f32) -> f32 { return select(x, minimum, bitcast<u32>(x) < bitcast<u32>(minimum)); }
