// From moments to what numbers are divided by: max(norm, minimum) + added. What the norm is says lib/divisors/.
struct Divisor {
    eps_inside: f32,      // added inside the root
    eps_added: f32,       // added to the root
    eps_minimum: f32,     // smallest divisor
    factor: f32,          // on the variance or the mean: n / (n - 1), or n where a norm is a sum
    order: f32,           // p of an Lp norm
    inverse_of_zero: f32, // what 1 / 0 becomes
    eps_root: f32,        // root of |eps_inside|, with its sign
    folded_scale: u32,    // bits of the scale that is folded with the mean: infinity, or what no magnitude has
}

// sqrt(signed square of deviation * factor + eps), over the whole range. A negative deviation stands for a negative
// variance.
fn root_of_square(deviation: f32, factor: f32, eps: f32) -> f32 {
    let unit = i32(unit_of(max(magnitude_bits(deviation), magnitude_bits(sqrt(abs(eps))))));
    let down = power_of_two(254 - unit);
    // the square of `down` may be infinite
    let scaled = opaque(deviation * down);
    return root(scaled * abs(scaled) * factor + opaque(eps * down) * down) * power_of_two(unit);
}

// 1 / x by the rule of the plan at 0, and 0 at infinity. No branch: loads would not move over it.
fn inverse(x: f32) -> f32 {
    let bits = magnitude_bits(x);
    return select(select(1.0 / x, 0.0, bits == INFINITY), p.divisor.inverse_of_zero, bits == 0u);
}

fn record_divisor(record: vec4<f32>) -> f32 { return record_norm(record_as_is(record), p.divisor.eps_inside); }
fn record_inverse(record: vec4<f32>) -> f32 {
    return inverse(at_least(record_divisor(record), p.divisor.eps_minimum) + p.divisor.eps_added);
}

// The same in units, for a record in units: numbers in units times this are x_hat. What is larger, the data or the
// constants, gives the unit of the computation.
fn inverse_in_units(record: vec4<f32>, unit: u32) -> f32 {
    let constants = max(max(magnitude_bits(p.divisor.eps_root), magnitude_bits(p.divisor.eps_minimum)),
        magnitude_bits(p.divisor.eps_added));
    let larger = i32(max(unit, unit_of(constants)));
    let down = power_of_two(127 + i32(unit) - larger);
    let scale = power_of_two(254 - larger);
    let eps = p.divisor.eps_root * scale;
    let norm = record_norm(record_times(record, down), eps * abs(eps));
    let divisor = at_least(norm, p.divisor.eps_minimum * scale) + p.divisor.eps_added * scale;
    // constants that vanish beside numbers that are huge, and all equal, or nearly do (2^-128 has no inverse): any
    // inverse but infinity will do
    let vanishes = (magnitude_bits(divisor) <= 0x00200000u) & (constants > 0u);
    return select(inverse(divisor) * down, power_of_two(254), vanishes);
}
