//! Values of a spec's type from the elements of a file, whatever type those have. The format is little-endian, and its
//! elements lie at any byte.

use safetensors::Dtype;

use super::{StateType, StateValues};

/// Why elements are not taken.
#[derive(Debug, PartialEq)]
pub(super) enum Unfit {
    /// They have a type that the spec's takes none of.
    Type,
    /// This one is no whole number of 64 bits.
    NotWhole(String),
}

/// Whether elements of this type may be taken; for whole numbers it depends on their values too.
pub(super) fn may_take(wanted: StateType, dtype: Dtype) -> bool {
    // no element is a whole number
    !matches!(decode(wanted, dtype, &[]), Err(Unfit::Type))
}

/// The values whose bytes these are.
pub(super) fn decode(wanted: StateType, dtype: Dtype, bytes: &[u8]) -> Result<StateValues, Unfit> {
    match wanted {
        StateType::F32 => floats(dtype, bytes).map(StateValues::F32).ok_or(Unfit::Type),
        StateType::I64 => whole_numbers(dtype, bytes).map(StateValues::I64),
    }
}

fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match dtype {
        Dtype::F32 => each(bytes, f32::from_le_bytes),
        Dtype::F16 => each(bytes, f16_from_le_bytes),
        Dtype::BF16 => each(bytes, bf16_from_le_bytes),
        Dtype::F64 => each(bytes, |bytes| f64::from_le_bytes(bytes) as f32),
        _ => return None,
    })
}

fn whole_numbers(dtype: Dtype, bytes: &[u8]) -> Result<Vec<i64>, Unfit> {
    Ok(match dtype {
        Dtype::I64 => each(bytes, i64::from_le_bytes),
        Dtype::I32 => each(bytes, |bytes| i32::from_le_bytes(bytes).into()),
        Dtype::I16 => each(bytes, |bytes| i16::from_le_bytes(bytes).into()),
        Dtype::I8 => each(bytes, |bytes| i8::from_le_bytes(bytes).into()),
        Dtype::U32 => each(bytes, |bytes| u32::from_le_bytes(bytes).into()),
        Dtype::U16 => each(bytes, |bytes| u16::from_le_bytes(bytes).into()),
        Dtype::U8 => each(bytes, |bytes| u8::from_le_bytes(bytes).into()),
        Dtype::U64 => {
            let signed = |value: u64| i64::try_from(value).map_err(|_| Unfit::NotWhole(value.to_string()));
            each(bytes, u64::from_le_bytes).into_iter().map(signed).collect::<Result<_, _>>()?
        }
        Dtype::F64 => each(bytes, f64::from_le_bytes).into_iter().map(whole).collect::<Result<_, _>>()?,
        _ => {
            let values = floats(dtype, bytes).ok_or(Unfit::Type)?;
            let exact = |value: f32| whole(value.into()).map_err(|_| Unfit::NotWhole(value.to_string()));
            values.into_iter().map(exact).collect::<Result<_, _>>()?
        }
    })
}

/// A float without a fraction, where every number is exact.
fn whole(value: f64) -> Result<i64, Unfit> {
    let exact = value.fract() == 0.0 && value.abs() <= 2f64.powi(53);
    if exact { Ok(value as i64) } else { Err(Unfit::NotWhole(value.to_string())) }
}

fn each<T, const N: usize>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&number| from(number)).collect()
}

/// The upper half of an f32.
fn bf16_from_le_bytes([low, high]: [u8; 2]) -> f32 {
    f32::from_le_bytes([0, 0, low, high])
}

/// Exactly: exponent and mantissa at their places in an f32 are the magnitude times 2^-112, subnormals too.
fn f16_from_le_bytes(bytes: [u8; 2]) -> f32 {
    const UNIT: f32 = f32::from_bits((127 + 112) << 23);
    let bits = u32::from(u16::from_le_bytes(bytes));
    let magnitude = (f32::from_bits((bits & 0x7fff) << 13) * UNIT).to_bits();
    // infinity and NaN have all bits of the exponent
    let special = if bits & 0x7c00 == 0x7c00 { 0xff << 23 } else { 0 };
    f32::from_bits((bits & 0x8000) << 16 | magnitude | special)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_is_read_exactly() {
        for bits in 0..=u16::MAX {
            let (exponent, mantissa) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
            let magnitude = match exponent {
                0 => mantissa * 2f64.powi(-24),
                31 if mantissa == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                _ => (1024.0 + mantissa) * 2f64.powi(exponent - 25),
            };
            let expected = magnitude.copysign(if bits >> 15 == 0 { 1.0 } else { -1.0 });
            let actual = f64::from(f16_from_le_bytes(bits.to_le_bytes()));
            assert!(actual.is_nan() && expected.is_nan() || actual.to_bits() == expected.to_bits(), "{bits:#x}");
        }
    }

    #[test]
    fn whole_numbers_are_read_from_every_type() {
        let seven: [(Dtype, &[u8]); 12] = [
            (Dtype::I64, &7i64.to_le_bytes()),
            (Dtype::I32, &7i32.to_le_bytes()),
            (Dtype::I16, &[7, 0]),
            (Dtype::I8, &[7]),
            (Dtype::U64, &7u64.to_le_bytes()),
            (Dtype::U32, &7u32.to_le_bytes()),
            (Dtype::U16, &[7, 0]),
            (Dtype::U8, &[7]),
            (Dtype::F64, &7f64.to_le_bytes()),
            (Dtype::F32, &7f32.to_le_bytes()),
            (Dtype::F16, &0x4700u16.to_le_bytes()),
            (Dtype::BF16, &0x40e0u16.to_le_bytes()),
        ];
        for (dtype, bytes) in seven {
            assert_eq!(decode(StateType::I64, dtype, bytes), Ok(StateValues::I64(vec![7])), "{dtype}");
        }
        assert_eq!(decode(StateType::I64, Dtype::I8, &[0xff]), Ok(StateValues::I64(vec![-1])));
        let refused = |dtype, bytes: &[u8]| decode(StateType::I64, dtype, bytes).unwrap_err();
        let not = |value: &str| Unfit::NotWhole(value.to_owned());
        assert_eq!(refused(Dtype::F32, &1.5f32.to_le_bytes()), not("1.5"));
        assert_eq!(refused(Dtype::F32, &f32::NAN.to_le_bytes()), not("NaN"));
        assert_eq!(refused(Dtype::F64, &1e300f64.to_le_bytes()), not(&1e300f64.to_string()));
        assert_eq!(refused(Dtype::U64, &u64::MAX.to_le_bytes()), not("18446744073709551615"));
        assert_eq!(refused(Dtype::BOOL, &[1]), Unfit::Type);
        assert!(may_take(StateType::I64, Dtype::F16) && !may_take(StateType::F32, Dtype::I64));
    }
}
