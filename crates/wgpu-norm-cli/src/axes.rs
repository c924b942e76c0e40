//! Axes on the command line: `1`, `1,2,3`, `-1`, `1..3`, `1..`. Negative ones count from the end.

use std::str::FromStr;

use wgpu_norm_tools::failure::Failure;

/// An axis of a tensor whose rank is not known yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis(i64);

impl Axis {
    /// Of a tensor of `rank`; `option` has named it.
    pub fn of(self, rank: usize, option: &'static str) -> Result<usize, Failure> {
        let axis = if self.0 < 0 { self.0.saturating_add_unsigned(rank as u64) } else { self.0 };
        let within = usize::try_from(axis).ok().filter(|&axis| axis < rank);
        within.ok_or(Failure::NoAxis { option, axis: self.0, rank })
    }
}

impl FromStr for Axis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.trim().parse().map(Self).map_err(|_| format!("'{text}' is no axis; write 0, 1, ... or -1, -2, ..."))
    }
}

/// Axes of a tensor whose rank is not known yet.
#[derive(Clone, Debug, PartialEq)]
pub enum AxesSpec {
    /// Each by itself.
    List(Vec<Axis>),
    /// From one up to another, which is left out; without it up to the last.
    Range(Axis, Option<Axis>),
}

impl FromStr for AxesSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let axis = |text: &str| -> Result<Axis, String> {
            text.parse().map_err(|_| format!("'{text}' is no axis; write 1 or 1,2 or -1 or 1..3 or 1.."))
        };
        match text.split_once("..") {
            Some((start, "")) => Ok(Self::Range(axis(start)?, None)),
            Some((start, end)) => Ok(Self::Range(axis(start)?, Some(axis(end)?))),
            None => Ok(Self::List(text.split(',').map(axis).collect::<Result<_, _>>()?)),
        }
    }
}

impl AxesSpec {
    /// The axes of a tensor of `rank`, ascending, in whatever order they were named; `option` has named them.
    pub fn of(&self, rank: usize, option: &'static str) -> Result<Vec<usize>, Failure> {
        match self {
            Self::List(axes) => {
                let mut axes = axes.iter().map(|axis| axis.of(rank, option)).collect::<Result<Vec<_>, _>>()?;
                axes.sort_unstable();
                match axes.windows(2).find(|pair| pair[0] == pair[1]) {
                    Some(pair) => Err(Failure::AxisTwice { option, axis: pair[0] }),
                    None => Ok(axes),
                }
            }
            Self::Range(start, end) => {
                let first = start.of(rank, option)?;
                // the end is left out: it may be one behind the last
                let end = match end {
                    Some(Axis(end)) if *end == rank as i64 => rank,
                    Some(end) => end.of(rank, option)?,
                    None => rank,
                };
                if first < end { Ok((first..end).collect()) } else { Err(Failure::NoAxes { option, first, end }) }
            }
        }
    }
}

/// Axes, or `none` of them.
#[derive(Clone, Debug, PartialEq)]
pub struct SomeAxes(Option<AxesSpec>);

impl FromStr for SomeAxes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" { Ok(Self(None)) } else { text.parse().map(|axes| Self(Some(axes))) }
    }
}

impl SomeAxes {
    /// As [`AxesSpec::of`].
    pub fn of(&self, rank: usize, option: &'static str) -> Result<Vec<usize>, Failure> {
        self.0.as_ref().map_or(Ok(Vec::new()), |axes| axes.of(rank, option))
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
            ("2,0", 4, Some(&[0, 2])),
            ("-1,-3", 4, Some(&[1, 3])),
            ("1,1", 4, None),
            ("3,-1", 4, None),
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
            let axes = text.parse::<AxesSpec>().unwrap().of(*rank, "--axes").ok();
            assert_eq!(axes.as_deref(), *expected, "{text} of rank {rank}");
            let some = text.parse::<SomeAxes>().unwrap().of(*rank, "--axes").ok();
            assert_eq!(some, axes, "{text} of rank {rank}");
        }
        assert_eq!("none".parse::<SomeAxes>().unwrap().of(0, "--scale-axes").ok(), Some(Vec::new()));
        for text in ["", "x", "1,", "..", "1..x", "1...3", "none", "99999999999999999999"] {
            assert!(text.parse::<AxesSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn refusals_say_which_option_and_which_axes_there_are() {
        let refusal =
            |text: &str, rank: usize| text.parse::<AxesSpec>().unwrap().of(rank, "--axes").unwrap_err().to_string();
        assert_eq!(
            refusal("0,3", 3),
            "--axes names axis 3: a tensor of rank 3 has axes 0 to 2, or -3 to -1 from the end"
        );
        assert_eq!(refusal("-1", 0), "--axes names axis -1: a tensor of rank 0 has none");
        assert_eq!(refusal("2,-1", 3), "--axes names axis 2 twice");
        assert_eq!(refusal("2..1", 3), "--axes: there is no axis from 2 up to 1, which is left out");
    }
}
