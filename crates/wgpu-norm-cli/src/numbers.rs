//! Numbers on the command line. What an option cannot hold is refused: nothing becomes 0 or infinity by itself.

use std::fmt::Display;
use std::str::FromStr;

/// A number of 32 bits.
pub fn number(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| format!("'{text}' is no number"))?;
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    if value == 0.0 && mantissa.contains(|digit: char| ('1'..='9').contains(&digit)) {
        let least = f32::from_bits(1);
        return Err(format!("'{text}' would be 0: the least number of 32 bits is {least:e}; write 0 if that is meant"));
    }
    if value.is_infinite() && mantissa.contains(|digit: char| digit.is_ascii_digit()) {
        return Err(format!("'{text}' would be infinite: the largest number of 32 bits is {:e}", f32::MAX));
    }
    Ok(value)
}

/// A whole number between two.
pub fn whole<T: FromStr + PartialOrd + Display>(text: &str, least: T, most: T) -> Result<T, String> {
    let number = text.trim().parse().ok().filter(|number| (&least..=&most).contains(&number));
    number.ok_or_else(|| format!("'{text}' is no whole number from {least} to {most}"))
}

/// A number of things of which there is one or more.
pub fn count(text: &str) -> Result<u64, String> {
    whole(text, 1, u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_they_say_or_refused() {
        for (text, expected) in [
            ("0", 0.0),
            ("-0.0", -0.0),
            ("0e5", 0.0),
            ("00.000", 0.0),
            ("1e-5", 1e-5),
            ("-2.5", -2.5),
            ("1e-45", f32::from_bits(1)),
            ("3.4e38", 3.4e38),
            ("inf", f32::INFINITY),
            ("-infinity", f32::NEG_INFINITY),
        ] {
            assert_eq!(number(text), Ok(expected), "{text}");
        }
        assert!(number("nan").unwrap().is_nan());
        for (text, expected) in [
            ("1e-50", "would be 0"),
            ("-0.00001e-45", "would be 0"),
            ("1e-400", "would be 0"),
            ("1e39", "would be infinite"),
            ("-1e400", "would be infinite"),
            ("", "no number"),
            ("1e", "no number"),
            ("one", "no number"),
        ] {
            assert!(number(text).is_err_and(|error| error.contains(expected)), "{text}");
        }
    }

    #[test]
    fn counts_are_1_or_more() {
        assert_eq!(count("32"), Ok(32));
        for text in ["0", "-1", "1.5", "", "x", "18446744073709551616"] {
            assert!(count(text).is_err_and(|error| error.contains("from 1 to")), "{text}");
        }
        assert_eq!(whole("0", 0, u32::MAX), Ok(0));
    }
}
