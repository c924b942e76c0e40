//! Where the segments of a partition are, to kernels that walk rows.
//!
//! All sizes at which partitions change are products of a shape's last axes, hence a chain of divisors. Where the width
//! of a row is on it, the segment of element j of row n is a number of the row plus a number of the column: see
//! `shaders/lib/lookup.wgsl`.

use std::ops::Range;

use crate::kernel::blocks;
use crate::partition::Partition;

/// How the segments of a row's elements lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Found {
    /// A row has one segment.
    Row = 0,
    /// Neighbours have neighbouring segments.
    Columns = 1,
    /// Runs of a row have segments, which may repeat.
    Mixed = 2,
}

/// Of what never divides: more than any row has.
const NEVER: u64 = 1 << 31;

/// How a partition's segments are found by rows of a width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rows {
    pub found: Found,
    /// Rows one after the other, from the tensor's first on, whose elements have the same segments.
    pub repeats: u64,
    outer: [u64; 2],
    inner: [u64; 3],
    run: u64,
    wrap: u64,
    width: u64,
    partition: Partition,
}

/// A lookup for the rows of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Placed {
    pub lookup: blocks::Lookup,
    pub first_row: u32,
    pub first_column: u32,
    /// Some rows have other segments than others.
    pub by_row: bool,
    /// All elements of a vector have one segment.
    pub run_of_vectors: bool,
    /// The window begins inside a run of a row's one segment.
    pub inner: bool,
    /// Segments of the binding.
    pub segments: (u64, u64),
}

impl Rows {
    /// `None` where rows of this width have no place on the partition's chain of divisors.
    pub(crate) fn new(partition: &Partition, width: u64) -> Option<Self> {
        let [a, b, c, d] = partition.dims();
        let rows = |unit: u64| (width > 0 && unit.is_multiple_of(width)).then(|| unit / width);
        let holds = |unit: u64| unit > 0 && width.is_multiple_of(unit);
        let outer = [rows(b * c * d)?, if a > 1 { c } else { 0 }];
        let (inner, run, wrap, found) = if let Some(rows) = rows(d) {
            ([rows, c, u64::from(c > 1)], NEVER, NEVER, Found::Row)
        } else if let (Some(rows), true) = (rows(c * d), holds(d)) {
            let side = width / d;
            let found = if d == 1 { Found::Columns } else { Found::Mixed };
            ([1, rows, if rows > 1 { side } else { 0 }], d, NEVER, found)
        } else if holds(c * d) {
            ([1, 1, 0], d, c, if c == 1 { Found::Row } else { Found::Mixed })
        } else {
            return None;
        };
        let (run, wrap) = if found == Found::Row { (NEVER, NEVER) } else { (run, wrap) };
        let repeats = match (outer[1], inner[2]) {
            (0, 0) => u64::MAX,
            (_, 0) => outer[0],
            _ => inner[0],
        };
        Some(Self { found, repeats, outer, inner, run, wrap, width, partition: *partition })
    }

    /// Elements of a row that lie side by side and have one segment.
    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// For the rows of the window `range`, whole rows or a part of one; `whole`: all segments are bound, not those of
    /// the window alone.
    pub(crate) fn placed(&self, range: &Range<u64>, whole: bool) -> Placed {
        let [_, b, c, d] = self.partition.dims();
        let (row, column) = (range.start / self.width, range.start % self.width);
        let segments =
            if whole { (0, self.partition.segments()) } else { self.partition.segments_of(range.start, range.end) };
        let same = |unit: u64| range.start / unit == (range.end - 1) / unit;
        // what is the same for all rows of the window is no function of them
        let (mut outer, mut inner) = (self.outer, self.inner);
        if outer[1] > 0 && same(b * c * d) {
            outer = [1, 0];
        }
        if outer[1] == 0 {
            outer = [1, 0];
        }
        if inner[2] > 0 && (self.run == NEVER && same(d) || self.run != NEVER && same(self.width)) {
            inner = [1, 1, 0];
        }
        if inner[2] == 0 {
            inner = [1, 1, 0];
        }
        let of_row = |n: u64| n / outer[0] * outer[1] + n / inner[0] % inner[1] * inner[2];
        let period = match (outer[1], inner[2]) {
            (0, 0) => 1,
            (0, _) => inner[0] * inner[1],
            _ => outer[0],
        };
        let first_row = row % period;
        let period = match (self.found, self.wrap) {
            (Found::Row, _) => 1,
            (_, NEVER) => self.run,
            _ => self.run * self.wrap,
        };
        let first_column = if self.found == Found::Row { 0 } else { column % period };
        let of_column = |j: u64| if self.found == Found::Row { 0 } else { j / self.run % self.wrap };
        let first = self.partition.segment_of(range.start);
        let base = (of_row(first_row) + of_column(first_column)).wrapping_sub(first - segments.0);
        let narrow = |n: u64| n as u32;
        let lookup = blocks::Lookup {
            outer_div: narrow(outer[0]),
            outer_mul: narrow(outer[1]),
            inner_div: narrow(inner[0]),
            inner_mod: narrow(inner[1]),
            inner_mul: narrow(inner[2]),
            run: narrow(self.run),
            wrap: narrow(self.wrap),
            base: narrow(base),
        };
        Placed {
            lookup,
            first_row: narrow(first_row),
            first_column: narrow(first_column),
            by_row: outer[1] > 0 || inner[2] > 0 || lookup.base != 0,
            run_of_vectors: self.found == Found::Mixed
                && [self.run, self.width, column].iter().all(|n| n.is_multiple_of(4)),
            inner: column > 0,
            segments,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(placed: &Placed, n: u32, j: u32) -> u64 {
        let l = &placed.lookup;
        let n = placed.first_row + n;
        let row = n / l.outer_div * l.outer_mul + n / l.inner_div % l.inner_mod * l.inner_mul;
        u64::from(row.wrapping_add((placed.first_column + j) / l.run % l.wrap).wrapping_sub(l.base))
    }

    /// Every element of every window of every small partition has the segment that the partition says.
    #[test]
    fn lookups_are_the_partition() {
        let sizes = [1, 2, 3, 4];
        for code in 0..256usize {
            let dims: Vec<u64> = (0..4).map(|k| sizes[code >> (2 * k) & 3]).collect();
            let p = Partition::new(dims[0], dims[1], dims[2], dims[3]);
            for width in 1..=p.elements() {
                let Some(rows) = Rows::new(&p, width) else { continue };
                let all = p.elements() / width;
                // parts of a row, rows within a block, whole blocks
                let mut windows: Vec<Range<u64>> = Vec::new();
                for row in 0..all {
                    windows.extend((0..width).map(|from| row * width + from..(row + 1) * width));
                    windows.extend((row..all).map(|last| row * width..(last + 1) * width));
                }
                for range in windows {
                    for whole in [false, true] {
                        let placed = rows.placed(&range, whole);
                        let len = (range.end - range.start).min(width) as u32;
                        for e in range.clone() {
                            let i = (e - range.start) as u32;
                            let found = segment(&placed, i / len, i % len);
                            assert_eq!(
                                found,
                                p.segment_of(e) - placed.segments.0,
                                "{p} by {width} {range:?} {rows:?} {placed:?}"
                            );
                        }
                    }
                }
                for n in 0..all {
                    let first = n - n % rows.repeats;
                    let of = |n: u64| (0..width).map(|j| p.segment_of(n * width + j)).collect::<Vec<_>>();
                    assert_eq!(of(n), of(first), "{p} by {width} {rows:?}");
                }
            }
        }
    }

    /// (partition, width) to (how, rows that repeat).
    #[test]
    fn variants_have_the_rows_that_they_should() {
        let by = Partition::new;
        let (n, c, s) = (4, 32, 300);
        let cases = [
            ("batch, channels first", by(1, n, c, s), s, (Found::Row, 1)),
            ("batch, channels first, by samples", by(1, n, c, s), c * s, (Found::Mixed, u64::MAX)),
            ("batch, channels last", by(1, n * s, c, 1), c, (Found::Columns, u64::MAX)),
            ("instance, channels last", by(n, s, c, 1), c, (Found::Columns, s)),
            ("group, channels last", by(n, s, 8, 4), c, (Found::Mixed, s)),
            ("rows", by(1, 1, n * c, s), s, (Found::Row, 1)),
            ("one row", by(1, 1, 1, n * c * s), n * c * s, (Found::Row, u64::MAX)),
        ];
        for (name, partition, width, expected) in cases {
            let rows = Rows::new(&partition, width).unwrap();
            assert_eq!((rows.found, rows.repeats), expected, "{name}");
        }
        assert!(Rows::new(&by(1, n, c, s), 7).is_none());
    }
}
