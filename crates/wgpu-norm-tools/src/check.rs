//! Comparing a result with the f64 reference.

use serde::Serialize;
use wgpu_norm::Element;

use crate::elements;

/// Where and how far a result is from the reference.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// |actual - expected| where both are finite and it is largest in its unit; what it exceeds half a step of the type
    /// by.
    pub error: f64,
    /// Flat index of it.
    pub index: usize,
    /// The result there.
    pub actual: f32,
    /// The reference there.
    pub expected: f64,
    /// The unit there.
    pub scale: f64,
    /// `error / scale`.
    pub relative: f64,
    /// Positions where only one is NaN or infinite, or both in different ways.
    pub misplaced: usize,
    /// The first of them.
    pub first_misplaced: Option<Misplaced>,
}

/// A NaN or an infinity that is not where it should be, or the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Misplaced {
    /// Flat index.
    pub index: usize,
    /// The result there.
    pub actual: f32,
    /// The reference there.
    pub expected: f64,
}

impl Comparison {
    /// Compares a tensor of a type element by element, in units of the largest expected value. A reference beyond the
    /// range of the type counts as infinite.
    pub fn new(actual: &[f32], expected: &[f64], element: Element) -> Self {
        Self::with_excuse(actual, expected, element, largest_in(expected, element), |_| false)
    }

    /// As [`Comparison::new`], in another unit, absolute where it is 0; and a NaN or an infinity in the wrong place may
    /// be excused, by its index.
    pub fn with_excuse(
        actual: &[f32],
        expected: &[f64],
        element: Element,
        unit: f64,
        excused: impl Fn(usize) -> bool,
    ) -> Self {
        let unit = if unit > 0.0 { unit } else { 1.0 };
        let rounding = |_, expected| rounding(expected, element);
        Self::compare((actual, expected, element), |_| unit, rounding, excused)
    }

    /// As [`Comparison::new`], each element in a unit of its own: that of its segment, so that a segment of small
    /// values is judged by itself. What has a unit of 0 is judged by the largest value of all.
    pub fn in_own_units(actual: &[f32], expected: &[f64], element: Element, units: &[f64]) -> Self {
        assert_eq!(units.len(), expected.len(), "units and reference of one tensor");
        let largest = largest_in(expected, element);
        let largest = if largest > 0.0 { largest } else { 1.0 };
        let unit = |index: usize| if units[index] > 0.0 { units[index] } else { largest };
        let rounding = |actual, expected| rounding(expected, element).max(denormal(actual, expected));
        Self::compare((actual, expected, element), unit, rounding, |_| false)
    }

    fn compare(
        (actual, expected, element): (&[f32], &[f64], Element),
        unit: impl Fn(usize) -> f64,
        rounding: impl Fn(f32, f64) -> f64,
        excused: impl Fn(usize) -> bool,
    ) -> Self {
        assert_eq!(actual.len(), expected.len(), "result and reference of one tensor");
        let start = |values: usize| if values == 0 { 1.0 } else { unit(0) };
        let mut worst = Self {
            error: 0.0,
            index: 0,
            actual: actual.first().copied().unwrap_or(0.0),
            expected: expected.first().copied().unwrap_or(0.0),
            scale: start(expected.len()),
            relative: 0.0,
            misplaced: 0,
            first_misplaced: None,
        };
        for (index, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
            let rounded = elements::round(expected, element) as f32;
            if !(actual.is_finite() && rounded.is_finite()) {
                if !is_same(actual, rounded) && !excused(index) {
                    worst.misplaced += 1;
                    worst.first_misplaced = worst.first_misplaced.or(Some(Misplaced { index, actual, expected }));
                }
                continue;
            }
            let error = (f64::from(actual) - expected).abs() - rounding(actual, expected);
            let relative = error / unit(index);
            if relative > worst.relative {
                worst = Self { error, index, actual, expected, scale: unit(index), relative, ..worst };
            }
        }
        worst
    }

    /// Whether all is within `tolerance` of its unit, NaN and infinities in their places.
    pub fn holds(&self, tolerance: f64) -> bool {
        self.misplaced == 0 && self.relative <= tolerance
    }
}

/// How far a value may be from the exact one because it is rounded. Steps of f32 are small beside any tolerance.
fn rounding(expected: f64, element: Element) -> f64 {
    if element == Element::F32 { 0.0 } else { elements::half_step(expected, element) }
}

/// But for denormal numbers, beside units that are denormal too; devices may take them for 0.
fn denormal(actual: f32, expected: f64) -> f64 {
    const HALF_OF_SMALLEST: f64 = 1.0 / (1u128 << 75) as f64 / (1u128 << 75) as f64;
    let is_flushed = actual == 0.0 && expected.abs() < f64::from(f32::MIN_POSITIVE);
    if is_flushed { expected.abs() } else { HALF_OF_SMALLEST }
}

/// Whether both are one number, or both NaN.
pub fn is_same(a: f32, b: f32) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

fn largest_in(values: &[f64], element: Element) -> f64 {
    let finite = values.iter().filter(|value| elements::round(**value, element).is_finite());
    finite.fold(0.0, |max, value| max.max(value.abs()))
}

/// Index along each axis of the flat `index`.
pub fn unravel(mut index: usize, shape: &[u64]) -> Vec<u64> {
    let mut axes: Vec<u64> = shape
        .iter()
        .rev()
        .map(|&size| {
            let size = size.max(1);
            let along = index as u64 % size;
            index = (index as u64 / size) as usize;
            along
        })
        .collect();
    axes.reverse();
    axes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_misplaced_values_are_found() {
        let nan = f32::NAN;
        let inf = f32::INFINITY;
        /// actual, expected, error, index, misplaced
        type Case<'a> = (&'a [f32], &'a [f64], f64, usize, usize);
        let cases: &[Case] = &[
            (&[], &[], 0.0, 0, 0),
            (&[1.0, 2.0], &[1.0, 2.5], 0.5, 1, 0),
            (&[nan, 2.0], &[f64::NAN, 2.0], 0.0, 0, 0),
            (&[nan, 2.0], &[1.0, 2.0], 0.0, 0, 1),
            (&[1.0, 2.0], &[f64::NAN, 2.0], 0.0, 0, 1),
            (&[inf, -inf], &[1e300, -1e300], 0.0, 0, 0),
            (&[inf, inf], &[1e300, -1e300], 0.0, 0, 1),
            (&[0.25], &[0.0], 0.25, 0, 0),
        ];
        for (actual, expected, error, index, misplaced) in cases {
            let found = Comparison::new(actual, expected, Element::F32);
            assert_eq!((found.error, found.index, found.misplaced), (*error, *index, *misplaced), "{actual:?}");
            assert_eq!(found.holds(1e-5), *error == 0.0 && *misplaced == 0, "{actual:?}");
        }
    }

    #[test]
    fn segments_are_judged_by_themselves() {
        let units = [1.0, 1.0, 1e-6, 1e-6, 0.0];
        let judge =
            |actual: &[f32]| Comparison::in_own_units(actual, &[1.0, 0.5, 1e-6, 1e-6, 0.0], Element::F32, &units);
        assert!(judge(&[1.0, 0.5, 1e-6, 1e-6, 0.0]).holds(1e-5));
        // wholly wrong, and small beside the largest value
        let found = judge(&[1.0, 0.500001, 1e-6, 0.0, 0.0]);
        assert_eq!((found.index, found.actual, found.expected, found.scale), (3, 0.0, 1e-6, 1e-6));
        assert!((found.relative - 1.0).abs() < 1e-9 && !found.holds(1e-5));
        assert!(!judge(&[1.0, 0.5, 1e-6, 1e-6, 1e-4]).holds(1e-5), "where all is 0, by the largest value");
        // denormal: one rounding, or nothing
        let tiny = |actual| Comparison::in_own_units(&[actual], &[1.000003e-41], Element::F32, &[1e-41]).holds(1e-5);
        assert!(tiny(1e-41) && tiny(0.0) && !tiny(1.1e-41));
        // both kinds are named
        let found = judge(&[1.0, 0.6, f32::NAN, f32::INFINITY, 0.0]);
        let first = found.first_misplaced.unwrap();
        assert_eq!((found.index, found.misplaced, first.index, first.expected), (1, 2, 2, 1e-6));
        assert!(first.actual.is_nan());
    }

    #[test]
    fn in_16_bits_one_rounding_is_no_error() {
        let (inf, at) = (f32::INFINITY, |actual, expected| Comparison::new(&[actual], &[expected], Element::F16));
        // a step is 1/512 from 2 on, and 65520 rounds to infinity
        for (actual, expected, error) in
            [(2.0, 2.0 + 1.0 / 1024.0, 0.0), (2.0, 2.0 + 3.0 / 1024.0, 2.0 / 1024.0), (inf, 65520.0, 0.0)]
        {
            let found = at(actual, expected);
            assert_eq!((found.error, found.misplaced), (error, 0), "{actual} {expected}");
        }
        assert_eq!(at(inf, 65519.0).misplaced, 1);
        assert_eq!(at(2.0, 65520.0).scale, 1.0, "what is infinite in the type is no unit");
    }

    #[test]
    fn indices_unravel() {
        assert_eq!(unravel(0, &[]), [0u64; 0]);
        assert_eq!(unravel(23, &[2, 3, 4]), [1, 2, 3]);
        assert_eq!(unravel(5, &[2, 3]), [1, 2]);
    }
}
