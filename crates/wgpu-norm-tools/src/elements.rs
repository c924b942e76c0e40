//! Elements of all types on the host: values are f32 wherever they are computed with, and bytes where they are stored.

use std::borrow::Cow;

use half::{bf16, f16};
use safetensors::Dtype;
use wgpu_norm::Element;

/// The bytes of `values`, each rounded once to the type.
pub fn encode(values: &[f32], element: Element) -> Cow<'_, [u8]> {
    match element {
        Element::F32 if cfg!(target_endian = "little") => Cow::Borrowed(bytemuck::cast_slice(values)),
        Element::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Element::F16 => values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(),
        Element::Bf16 => values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect(),
        _ => unknown(element),
    }
}

/// The values whose bytes these are.
pub fn decode(bytes: &[u8], element: Element) -> Vec<f32> {
    match element {
        Element::F32 => bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect(),
        Element::F16 => bytes.as_chunks().0.iter().map(|&value| f16::from_le_bytes(value).to_f32()).collect(),
        Element::Bf16 => bytes.as_chunks().0.iter().map(|&value| bf16::from_le_bytes(value).to_f32()).collect(),
        _ => unknown(element),
    }
}

/// The values, each rounded once to the type.
pub fn rounded(values: &[f32], element: Element) -> Vec<f32> {
    decode(&encode(values, element), element)
}

/// The number of the type that is nearest, ties to even; infinite beyond its range.
///
/// Rounded once: the conversions of f64 of the crate `half` drop the lower half of a number before they round.
pub fn round(value: f64, element: Element) -> f64 {
    let (_, _, end) = range(element);
    let step = 2.0 * half_step(value, element);
    let rounded = (value / step).round_ties_even() * step;
    if rounded.abs() < power_of_two(end) { rounded } else { rounded * f64::INFINITY }
}

/// Half the distance of neighbouring values of the type at `value`.
pub fn half_step(value: f64, element: Element) -> f64 {
    let (bits, least, _) = range(element);
    let exponent = (value.to_bits() >> 52 & 0x7ff) as i32 - 1023;
    power_of_two(exponent.max(least) - bits)
}

/// Bits of the significand; exponent of the least normal number; exponent that is one too large.
fn range(element: Element) -> (i32, i32, i32) {
    match element {
        Element::F32 => (24, -126, 128),
        Element::F16 => (11, -14, 16),
        Element::Bf16 => (8, -126, 128),
        _ => unknown(element),
    }
}

/// Exact, for exponents of normal numbers.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

/// The type of a tensor in a file; `None` where norms have no such type.
pub fn of_dtype(dtype: Dtype) -> Option<Element> {
    match dtype {
        Dtype::F32 => Some(Element::F32),
        Dtype::F16 => Some(Element::F16),
        Dtype::BF16 => Some(Element::Bf16),
        _ => None,
    }
}

/// What files call the type.
pub fn dtype(element: Element) -> Dtype {
    match element {
        Element::F32 => Dtype::F32,
        Element::F16 => Dtype::F16,
        Element::Bf16 => Dtype::BF16,
        _ => unknown(element),
    }
}

/// All types of the engine are above, which outside of it have to allow for more.
fn unknown(element: Element) -> ! {
    unreachable!("the engine has {element}, its tools do not")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALVES: [Element; 2] = [Element::F16, Element::Bf16];

    fn all_finite(element: Element) -> Vec<f32> {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let mut values = decode(&bytes, element);
        values.retain(|value| value.is_finite());
        values.sort_by(f32::total_cmp);
        values
    }

    #[test]
    fn every_value_comes_back() {
        for element in HALVES {
            let values = all_finite(element);
            assert_eq!(values.len(), 2 * if element == Element::F16 { 31 << 10 } else { 255 << 7 });
            assert_eq!(decode(&encode(&values, element), element), values);
            assert!(values.iter().map(|&value| f64::from(value)).all(|value| round(value, element) == value));
            assert!(decode(&encode(&[f32::NAN], element), element)[0].is_nan());
        }
    }

    #[test]
    fn what_lies_between_two_values_goes_to_the_nearer_and_ties_to_the_even_one() {
        for element in HALVES {
            for (index, pair) in all_finite(element).windows(2).enumerate() {
                let [low, high] = [pair[0], pair[1]].map(f64::from);
                // neighbours by their bits: the sign apart, every other one is even
                let even = if encode(&[pair[0]], element)[0] & 1 == 0 { low } else { high };
                let tie = (low + high) / 2.0;
                let rounded = [tie.next_down(), tie, tie.next_up()].map(|value| round(value, element));
                if low == high {
                    continue; // the two zeros
                }
                assert_eq!(rounded, [low, even, high], "{element} {index}: {low} {high}");
                assert_eq!(half_step(tie, element), (high - low) / 2.0);
            }
        }
    }

    #[test]
    fn the_ends_of_the_range() {
        for (element, largest, half) in
            [(Element::F16, 65504.0, 16.0), (Element::F32, f64::from(f32::MAX), 2f64.powi(103))]
        {
            assert_eq!(round(largest + half, element), f64::INFINITY);
            assert_eq!(round(-(largest + half).next_down(), element), -largest);
            assert_eq!(round(1e300, element), f64::INFINITY);
            assert_eq!(round(f64::NEG_INFINITY, element), f64::NEG_INFINITY);
            assert!(round(f64::NAN, element).is_nan());
            assert!(round(-1e-300, element).is_sign_negative() && round(1e-300, element) == 0.0);
        }
    }

    #[test]
    fn f32_rounds_as_the_language_does() {
        for bits in (0..2000u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15)) {
            // over the exponents of f32 and somewhat beyond
            let value = f64::from_bits(bits & !(0x7ff << 52) | (860 + (bits >> 20) % 300) << 52);
            assert_eq!(round(value, Element::F32), f64::from(value as f32), "{value:e}");
        }
    }
}
