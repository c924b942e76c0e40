// What normalizes the elements of a segment, made of its moments once: x_hat = (x * k - mean) * r + rest, kept as (k,
// mean, rest, r).
//
// k is a power of two, 1 but for rare segments: it gives the whole range of f32 for the price of the subtraction. -mean
// comes out of this function opaque, so that no compiler makes (x - mean) * k of it, which overflows where x * k - mean
// * k does not; rest is rest * r, so that no compiler takes r out of the sum again.

// Of the four elements of a vector.
struct Normalizer4 {
    k: vec4<f32>,
    mean: vec4<f32>,
    rest: vec4<f32>,
    r: vec4<f32>,
}
fn splat_normalizer(by: vec4<f32>) -> Normalizer4 { return Normalizer4(by.xxxx, by.yyyy, by.zzzz, by.wwww); }

// Whether the divisor is the root of variance + eps: no other eps, no factor.
override PLAIN: bool = false;

const SMALLEST_SQUARE = 0x17800000u;   // 2^-80: below it the squares of a segment lose digits
const LARGEST_SPREAD = 0x49800000u;    // 2^20: what gradients are multiplied with is no smaller than its inverse

fn normalizer(record: vec4<f32>) -> vec4<f32> {
    if PLAIN {
        let square = fma(record.z, record.z, p.divisor.eps_inside);
        // the bits of a negative deviation (a negative variance), of an infinite one and of a NaN are larger
        if (bitcast<u32>(record.z) < LARGEST_SPREAD) & (bitcast<u32>(square) >= SMALLEST_SQUARE) & (record.w >= 0.0) {
            let center = record_center(record);
            let r = inverseSqrt(square);
            return vec4(1.0, center.x, opaque(-center.y * r), r);
        }
    }
    return normalizer_in_units(record);
}

// In units of the divisor: no number on the way leaves the range. Where a mean is huge beside the divisor it decides.
fn normalizer_in_units(record: vec4<f32>) -> vec4<f32> {
    if is_tiny(record) {
        // in units of 2^-64 as it is
        let center = record_center(record);
        let r = inverse_in_units(record, 63u);
        return vec4(power_of_two(191), opaque(center.x), opaque(-center.y * r), r);
    }
    let divisor = at_least(record_divisor(record), p.divisor.eps_minimum) + p.divisor.eps_added;
    let mean = magnitude_bits(record_center(record).x);
    // a divisor of 0 has no unit: its inverse is what the plan says, of numbers as they are
    let unit = select(max(unit_of(magnitude_bits(divisor)), max(unit_of(mean), 101u) - 100u), 127u, divisor == 0.0);
    let k = power_of_two(254 - i32(unit));
    let scaled = record_times(record, k);
    let center = record_center(scaled);
    let r = inverse_in_units(scaled, unit);
    return vec4(k, opaque(center.x), opaque(-center.y * r), r);
}
