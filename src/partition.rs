//! A partition of a tensor into segments: which elements share statistics, or a scale and bias.

use std::fmt;

/// Four nested loops over a contiguous tensor, two of which (kept) number the segments.
///
/// ```text
/// element = ((kept_outer_i * reduced_outer + reduced_outer_i) * kept_inner + kept_inner_i) * reduced_inner +
/// reduced_inner_i segment = kept_outer_i * kept_inner + kept_inner_i
/// ```
///
/// Made of the tensor's axes by [`Partition::from_axes`]; the same partition of different norms is the same value.
///
/// Products are checked, which takes some code: a module for browsers has it once each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Partition {
    /// Outermost loop, kept.
    pub kept_outer: u64,
    /// Second loop, reduced.
    pub reduced_outer: u64,
    /// Third loop, kept.
    pub kept_inner: u64,
    /// Innermost loop, reduced.
    pub reduced_inner: u64,
}

impl Partition {
    /// A partition with these four sizes.
    pub const fn new(kept_outer: u64, reduced_outer: u64, kept_inner: u64, reduced_inner: u64) -> Self {
        Self { kept_outer, reduced_outer, kept_inner, reduced_inner }
    }

    /// The partition that keeps the axes where `kept` is true. `None` where kept and reduced axes interleave
    /// more often than four slots can say. Axes of size 1 do not count, equal neighbours merge, and what is left
    /// fills the slots from the innermost on, so that a partition has one form only.
    pub fn from_axes(shape: &[u64], kept: &[bool]) -> Option<Self> {
        let mut runs: Vec<(bool, u64)> = Vec::new();
        for (&size, &keep) in shape.iter().zip(kept).filter(|&(&size, _)| size != 1) {
            match runs.last_mut() {
                Some(last) if last.0 == keep => last.1 *= size,
                _ => runs.push((keep, size)),
            }
        }
        let mut slots = [1; 4];
        let mut slot = 4usize;
        for (keep, size) in runs.into_iter().rev() {
            // slots 0 and 2 keep, 1 and 3 reduce
            let next = slot.checked_sub(1)?;
            slot = if (next % 2 == 0) == keep { next } else { next.checked_sub(1)? };
            slots[slot] = size;
        }
        Some(Self::new(slots[0], slots[1], slots[2], slots[3]))
    }

    /// The four sizes, outermost first.
    pub const fn dims(&self) -> [u64; 4] {
        [self.kept_outer, self.reduced_outer, self.kept_inner, self.reduced_inner]
    }

    /// Number of elements.
    #[cfg_attr(target_arch = "wasm32", inline(never))]
    pub const fn elements(&self) -> u64 {
        self.segments() * self.segment_len()
    }

    /// Number of segments.
    #[cfg_attr(target_arch = "wasm32", inline(never))]
    pub const fn segments(&self) -> u64 {
        self.kept_outer * self.kept_inner
    }

    /// Number of elements of a segment.
    #[cfg_attr(target_arch = "wasm32", inline(never))]
    pub const fn segment_len(&self) -> u64 {
        self.reduced_outer * self.reduced_inner
    }

    /// Whether each segment is one run of memory.
    pub const fn is_contiguous(&self) -> bool {
        self.reduced_outer == 1 || self.kept_inner == 1
    }

    /// Digits of an element in the four loops.
    pub const fn digits(&self, element: u64) -> [u64; 4] {
        let [_, b, c, d] = self.dims();
        [element / d / c / b, element / d / c % b, element / d % c, element % d]
    }

    /// The segment of an element. Kernels hoist this: it is the definition, not the way.
    pub const fn segment_of(&self, element: u64) -> u64 {
        let [outer, _, inner, _] = self.digits(element);
        outer * self.kept_inner + inner
    }

    /// The smallest range that holds the segments of elements `first..end` (`first < end`).
    pub(crate) fn segments_of(&self, first: u64, end: u64) -> (u64, u64) {
        let [a0, b0, c0, _] = self.digits(first);
        let [a1, b1, c1, _] = self.digits(end - 1);
        if (a0, b0) == (a1, b1) {
            return (a0 * self.kept_inner + c0, a1 * self.kept_inner + c1 + 1);
        }
        // with one block an outer segment, the range starts and ends within a block
        let low = if self.reduced_outer == 1 { c0 } else { 0 };
        let high = if self.reduced_outer == 1 { c1 + 1 } else { self.kept_inner };
        (a0 * self.kept_inner + low, a1 * self.kept_inner + high)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.dims();
        write!(f, "{a}.{b}.{c}.{d}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_variants() {
        let (n, c, s) = (2, 6, 5);
        type Case<'a> = (&'a str, &'a [u64], &'a [bool], [u64; 4]);
        let cases: &[Case<'_>] = &[
            ("batch, channels first", &[n, c, s], &[false, true, false], [1, n, c, s]),
            ("batch, channels last", &[n, s, c], &[false, false, true], [1, n * s, c, 1]),
            ("instance, channels first", &[n, c, s], &[true, true, false], [1, 1, n * c, s]),
            ("instance, channels last", &[n, s, c], &[true, false, true], [n, s, c, 1]),
            ("group, channels last", &[n, s, 2, 3], &[true, false, true, false], [n, s, 2, 3]),
            ("layer over channels", &[n, c, s], &[true, false, true], [n, c, s, 1]),
            ("everything", &[n, c, s], &[false, false, false], [1, 1, 1, n * c * s]),
            ("nothing", &[n, c, s], &[true, true, true], [1, 1, n * c * s, 1]),
            ("ones do not count", &[n, 1, s], &[true, false, true], [1, 1, n * s, 1]),
            ("rank 0", &[], &[], [1, 1, 1, 1]),
            ("no element", &[n, 0, s], &[true, false, true], [n, 0, s, 1]),
        ];
        for (name, shape, kept, dims) in cases {
            assert_eq!(Partition::from_axes(shape, kept).map(|p| p.dims()), Some(*dims), "{name}");
        }
        assert_eq!(Partition::from_axes(&[2, 3, 4, 5], &[false, true, false, true]), None);
        assert_eq!(Partition::from_axes(&[2, 3, 4, 5, 6], &[true, false, true, false, true]), None);
    }

    /// Against the definition by axes, for all small shapes and all sets of kept axes.
    #[test]
    fn segments_are_those_of_the_axes() {
        for code in 0..4u64.pow(4) {
            let shape: Vec<u64> = (0..4).map(|axis| code / 4u64.pow(axis) % 4 + 1).collect();
            for mask in 0..16u32 {
                let kept: Vec<bool> = (0..4).map(|axis| mask >> axis & 1 == 1).collect();
                let Some(partition) = Partition::from_axes(&shape, &kept) else { continue };
                let elements: u64 = shape.iter().product();
                assert_eq!(partition.elements(), elements);
                for element in 0..elements {
                    let (mut rest, mut stride, mut expected) = (element, 1, 0);
                    for axis in (0..4).rev() {
                        if kept[axis] {
                            expected += rest % shape[axis] * stride;
                            stride *= shape[axis];
                        }
                        rest /= shape[axis];
                    }
                    assert_eq!(partition.segment_of(element), expected, "{shape:?} {kept:?} element {element}");
                }
            }
        }
    }

    #[test]
    fn ranges_of_segments_hold_all_and_no_more_than_needed() {
        for dims in [[2, 3, 4, 2], [1, 2, 5, 3], [3, 1, 4, 2], [1, 1, 6, 4], [2, 4, 3, 1]] {
            let p = Partition::new(dims[0], dims[1], dims[2], dims[3]);
            for first in 0..p.elements() {
                for end in first + 1..=p.elements() {
                    let (low, high) = p.segments_of(first, end);
                    let touched: Vec<u64> = (first..end).map(|e| p.segment_of(e)).collect();
                    assert!(touched.iter().all(|s| (low..high).contains(s)), "{p} {first}..{end}");
                    if p.reduced_outer == 1 {
                        assert_eq!((low, high), (touched[0], touched[touched.len() - 1] + 1));
                    }
                }
            }
        }
    }
}
