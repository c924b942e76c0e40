//! Windows: runs of elements short enough to be bound.

use std::ops::Range;

use crate::partition::Partition;

/// Why operands cannot be bound. Boxed, so that results are small.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unbindable(pub Box<Needed>);

/// What operands need, and the device has not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Needed {
    /// A range is too long, or ranges that must share are too far apart: smaller windows help.
    Bytes(u64),
    /// More than the device has.
    Bindings(u32),
}

impl Unbindable {
    pub(crate) fn is_too_many(&self) -> bool {
        matches!(*self.0, Needed::Bindings(_))
    }
}

impl From<Needed> for Unbindable {
    fn from(needed: Needed) -> Self {
        Self(Box::new(needed))
    }
}

/// Cuts `range` into runs that `fits` accepts, at multiples of the first of `units` (descending) that has one inside.
///
/// A run cut at a partition's own units is a box of that partition: see [`Window::new`].
pub(crate) fn cut(
    range: Range<u64>,
    units: &[u64],
    fits: &dyn Fn(&Range<u64>) -> Result<(), Unbindable>,
    out: &mut Vec<Range<u64>>,
) -> Result<(), Unbindable> {
    let error = match fits(&range) {
        Ok(()) => {
            out.push(range);
            return Ok(());
        }
        Err(error) if error.is_too_many() => return Err(error),
        Err(error) => error,
    };
    let middle = range.start + (range.end - range.start) / 2;
    let inside = units.iter().find_map(|&unit| {
        let above = middle.div_ceil(unit) * unit;
        let below = middle / unit * unit;
        [below, above].into_iter().find(|at| range.start < *at && *at < range.end)
    });
    let at = inside.ok_or(error)?;
    cut(range.start..at, units, fits, out)?;
    cut(at..range.end, units, fits, out)
}

/// Sizes at which runs of a partition may be cut, descending.
pub(crate) fn units(partition: &Partition) -> [u64; 4] {
    let [_, b, c, d] = partition.dims();
    [b * c * d, c * d, d, 1]
}

/// A run of elements that is a box of a partition, hence a tensor with a partition of its own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    pub elements: Range<u64>,
    pub partition: Partition,
    pub first_segment: u64,
    /// Place of the first element within its segment's innermost run.
    pub inner: u64,
    /// No window before this one holds elements of the same segments.
    pub opens: bool,
}

impl Window {
    /// The box that `elements`, cut at the units of `partition`, is.
    pub(crate) fn new(partition: &Partition, elements: Range<u64>) -> Self {
        let units = units(partition);
        let len = elements.end - elements.start;
        let level = units
            .iter()
            .position(|unit| elements.start.is_multiple_of(*unit) && len.is_multiple_of(*unit))
            .unwrap_or(3);
        let mut dims = partition.dims();
        dims[..level].fill(1);
        dims[level] = len / units[level];
        let [outer, block, column, inner] = partition.digits(elements.start);
        Self {
            partition: Partition::new(dims[0], dims[1], dims[2], dims[3]),
            first_segment: outer * partition.kept_inner + column,
            inner,
            opens: block == 0 && inner == 0,
            elements,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(max: u64) -> impl Fn(&Range<u64>) -> Result<(), Unbindable> {
        move |r| if r.end - r.start <= max { Ok(()) } else { Err(Needed::Bytes(r.end - r.start).into()) }
    }

    /// Every window of every small partition is a box whose elements have the segments that the partition says.
    #[test]
    fn windows_are_boxes() {
        for code in 0..81u64 {
            let dims: Vec<u64> = (0..4).map(|k| code / 3u64.pow(k) % 3 + 1).map(|d| d * 2 - 1).collect();
            let whole = Partition::new(dims[0], dims[1], dims[2], dims[3]);
            for max in [1, 2, 3, 7, 20] {
                let mut runs = Vec::new();
                cut(0..whole.elements(), &units(&whole), &fits(max), &mut runs).unwrap();
                let mut next = 0;
                let mut seen = std::collections::HashSet::new();
                for run in runs {
                    assert_eq!(run.start, next);
                    next = run.end;
                    let window = Window::new(&whole, run.clone());
                    assert_eq!(window.partition.elements(), run.end - run.start);
                    for e in run.clone() {
                        let segment = window.first_segment + window.partition.segment_of(e - run.start);
                        assert_eq!(segment, whole.segment_of(e), "{whole} {run:?}");
                        assert!(!window.opens || !seen.contains(&segment), "{whole} {run:?}");
                    }
                    seen.extend(run.map(|e| whole.segment_of(e)));
                }
                assert_eq!(next, whole.elements());
            }
        }
    }

    #[test]
    fn what_cannot_be_cut_is_an_error() {
        let mut runs = Vec::new();
        assert_eq!(cut(0..10, &[5], &fits(4), &mut runs), Err(Needed::Bytes(5).into()));
    }
}
