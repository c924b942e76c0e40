//! Axes on the command line: `1`, `1,2,3`, `-1`, `1..3`, `1..`.

use std::ops::Range;
use std::str::FromStr;

use wgpu_norm::PlanError;
use wgpu_norm_tools::failure::Failure;

/// Axes of a tensor whose rank is not known yet; negative ones count from the end.
#[derive(Clone, Debug, PartialEq)]
pub enum AxesSpec {
    /// Each by itself.
    List(Vec<i64>),
    /// From one up to another, which is left out; without it up to the last.
    Range(i64, Option<i64>),
}

impl FromStr for AxesSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let axis = |text: &str| {
            text.trim().parse::<i64>().map_err(|_| format!("'{text}' is no axis; write 1 or 1,2 or -1 or 1..3 or 1.."))
        };
        match text.split_once("..") {
            Some((start, "")) => Ok(Self::Range(axis(start)?, None)),
            Some((start, end)) => Ok(Self::Range(axis(start)?, Some(axis(end)?))),
            None => Ok(Self::List(text.split(',').map(axis).collect::<Result<_, _>>()?)),
        }
    }
}

impl AxesSpec {
    /// The axes of a tensor of `rank`, as given.
    pub fn resolve(&self, rank: usize) -> Result<Vec<usize>, Failure> {
        let from_end = |axis: i64| if axis < 0 { axis.saturating_add_unsigned(rank as u64) } else { axis };
        let within = |axis: i64| usize::try_from(axis).ok().filter(|&axis| axis < rank);
        let out_of_range = |axis: i64| Failure::Usage(format!("axis {axis} is outside a tensor of rank {rank}"));
        match self {
            Self::List(axes) => {
                axes.iter().map(|&axis| within(from_end(axis)).ok_or_else(|| out_of_range(axis))).collect()
            }
            Self::Range(start, end) => {
                let first = within(from_end(*start)).ok_or_else(|| out_of_range(*start))?;
                let end = end.unwrap_or(rank as i64);
                match usize::try_from(from_end(end)) {
                    Ok(last) if first < last && last <= rank => Ok((first..last).collect()),
                    _ => Err(Failure::Usage(format!("{start}..{end} is no range of axes of a tensor of rank {rank}"))),
                }
            }
        }
    }

    /// As [`AxesSpec::resolve`], where the norm needs one contiguous range.
    pub fn range(&self, rank: usize) -> Result<Range<usize>, Failure> {
        let axes = self.resolve(rank)?;
        match (axes.first(), axes.last()) {
            (Some(&first), Some(&last)) if axes.iter().copied().eq(first..=last) => Ok(first..last + 1),
            _ => Err(PlanError::AxesOutOfRange { axes, rank }.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_read_and_resolved() {
        let cases: &[(&str, usize, Option<&[usize]>)] = &[
            ("1", 4, Some(&[1])),
            ("-1", 4, Some(&[3])),
            ("1,2,3", 4, Some(&[1, 2, 3])),
            ("0, 2", 3, Some(&[0, 2])),
            ("1..3", 4, Some(&[1, 2])),
            ("1..", 4, Some(&[1, 2, 3])),
            ("-2..", 4, Some(&[2, 3])),
            ("0..-1", 3, Some(&[0, 1])),
            ("4", 4, None),
            ("1..0", 4, None),
            ("3..1", 4, None),
            ("1..1", 4, None),
            ("0..4", 4, Some(&[0, 1, 2, 3])),
            ("-5", 4, None),
            ("1..5", 4, None),
            ("0", 0, None),
            ("0..", 0, None),
            ("-9223372036854775808", 3, None),
            ("0..-9223372036854775808", 3, None),
        ];
        for (text, rank, expected) in cases {
            let axes = text.parse::<AxesSpec>().unwrap().resolve(*rank).ok();
            assert_eq!(axes.as_deref(), *expected, "{text} of rank {rank}");
        }
        for text in ["", "x", "1,", "..", "1..x", "1...3", "99999999999999999999"] {
            assert!(text.parse::<AxesSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_have_no_gaps() {
        let range = |text: &str| text.parse::<AxesSpec>().unwrap().range(4).ok();
        assert_eq!(range("1,2"), Some(1..3));
        assert_eq!(range("2.."), Some(2..4));
        for text in ["0,2", "2,1", "1,1", "3..1"] {
            assert_eq!(range(text), None, "{text}");
        }
    }
}
