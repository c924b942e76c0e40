//! Rounding to the types of elements.

use crate::element::Element;

/// The number of the type that is nearest to `value`, ties to even; infinite beyond its range, NaN where `value` is.
///
/// Rounded once: through f32 on the way to 16 bits, some numbers would be rounded twice.
pub fn rounded(value: f64, element: Element) -> f64 {
    let (bits, least, largest) = match element {
        Element::F32 => return f64::from(value as f32),
        Element::F16 => (11, -14, 65504.0),
        Element::Bf16 => (8, -126, 255.0 * power_of_two(120)),
    };
    let exponent = (value.to_bits() >> 52 & 0x7ff) as i32 - 1023;
    // Subnormal numbers have the step of the least normal one.
    let step = power_of_two(exponent.max(least) + 1 - bits);
    let rounded = (value / step).round_ties_even() * step;
    if rounded.abs() > largest { f64::INFINITY.copysign(value) } else { rounded }
}

/// Exact, for exponents of normal numbers.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The finite numbers of a type of 16 bits that are not negative, in order: their bits count up.
    fn numbers(element: Element) -> Vec<f64> {
        let (fraction_bits, bias) = if element == Element::F16 { (10, 15) } else { (7, 127) };
        let number = |bits: i32| {
            let (exponent, fraction) = (bits >> fraction_bits, bits & ((1 << fraction_bits) - 1));
            let whole = if exponent == 0 { 0 } else { 1 << fraction_bits };
            f64::from(whole + fraction) * 2_f64.powi(exponent.max(1) - bias - fraction_bits)
        };
        let exponents = 2 * bias + 1;
        (0..exponents << fraction_bits).map(number).collect()
    }

    #[test]
    fn what_lies_between_two_numbers_goes_to_the_nearer_and_ties_to_the_even_one() {
        for element in [Element::F16, Element::Bf16] {
            for (index, pair) in numbers(element).windows(2).enumerate() {
                let (low, high) = (pair[0], pair[1]);
                let tie = (low + high) / 2.0;
                let even = if index % 2 == 0 { low } else { high };
                for sign in [1.0, -1.0] {
                    let nearest =
                        [low, tie.next_down(), tie, tie.next_up(), high].map(|x| sign * rounded(sign * x, element));
                    assert_eq!(nearest, [low, low, even, high, high], "{element}: {low} and {high}");
                }
            }
        }
    }

    #[test]
    fn beyond_the_range_lies_infinity() {
        let bf16_max = *numbers(Element::Bf16).last().unwrap();
        let cases = [
            (Element::F16, 65504.0, 16.0),
            (Element::Bf16, bf16_max, 2_f64.powi(119)),
            (Element::F32, f64::from(f32::MAX), 2_f64.powi(103)),
        ];
        for (element, largest, half_step) in cases {
            assert_eq!(rounded((largest + half_step).next_down(), element), largest, "{element}");
            assert_eq!(rounded(-largest - half_step, element), f64::NEG_INFINITY, "{element}");
            for far in [f64::MAX, f64::INFINITY] {
                assert_eq!(rounded(far, element), f64::INFINITY, "{element}");
            }
            assert!(rounded(f64::NAN, element).is_nan(), "{element}");
            let least = [rounded(-f64::MIN_POSITIVE, element), rounded(-0.0, element)];
            assert!(least.iter().all(|x| *x == 0.0 && x.is_sign_negative()), "{element}");
        }
    }

    #[test]
    fn numbers_are_rounded_once() {
        // Just above a tie of bf16; f32 would make the tie of it, and that goes down.
        let value = 1.0 + 2_f64.powi(-8) + 2_f64.powi(-40);
        assert_eq!(rounded(value, Element::Bf16), 1.0 + 2_f64.powi(-7));
        assert_eq!(rounded(f64::from(value as f32), Element::Bf16), 1.0);
    }
}
