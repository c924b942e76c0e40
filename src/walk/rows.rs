//! A tensor as rows: how a map over elements finds the segments of two partitions with few divisions.

use std::ops::Range;

use super::team::{Found, Lookup, Team};
use super::workers::{self, gcd};
use crate::partition::Partition;

/// Rows are no shorter than this where there is a choice.
const MIN_WIDTH: u64 = 16;

/// Rows that have to share what is held, to make holding worth it.
pub(crate) const MIN_HELD: u64 = 8;

/// Rows of `width` elements each. Within a row, and over `held` rows, every partition either has one segment or repeats itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Geometry {
    pub width: u64,
    /// Rows over which what belongs to columns stays the same; those that a window's first row belongs to are all in it, or it in them.
    pub held: u64,
    pub lookup: Lookup,
}

impl Geometry {
    /// Rows for a map over `elements` elements (at least 1) by these partitions.
    pub(crate) fn new(statistics: Option<&Partition>, affine: Option<&Partition>, elements: u64) -> Self {
        let partitions = [statistics, affine];
        let mut best = Self::of(partitions, elements, elements);
        for width in partitions.iter().flatten().flat_map(|p| widths(p, elements)) {
            let other = Self::of(partitions, width, elements);
            if other.cost(elements) < best.cost(elements) {
                best = other;
            }
        }
        best
    }

    /// With rows of `width`, which divides `elements`.
    pub(crate) fn of(partitions: [Option<&Partition>; 2], width: u64, elements: u64) -> Self {
        let mut held = elements / width;
        let [(statistics, statistics_along), (affine, affine_along)] = partitions.map(|partition| {
            let Some(p) = partition else { return (Found::Held, false) };
            let [_, _, c, d] = p.dims();
            if d.is_multiple_of(width) {
                return (Found::ByRow, false);
            }
            let outer = p.segment_len() * c;
            if width.is_multiple_of(c * d) && outer.is_multiple_of(width) {
                held = gcd(held, outer / width);
                return (Found::Held, d == 1 && width == c);
            }
            (Found::ByElement, false)
        });
        Self { width, held, lookup: Lookup { statistics, statistics_along, affine, affine_along, hoisted: false } }
    }

    /// Least first: lookups for elements, short rows, what is held for few rows, rows that start inside a quad, long rows.
    fn cost(&self, elements: u64) -> (usize, bool, bool, bool, u64) {
        let found = [self.lookup.statistics, self.lookup.affine];
        let by_element = found.iter().filter(|&&found| found == Found::ByElement).count();
        let holds = self.holds() && self.held < MIN_HELD.min(elements / self.width + 1);
        (by_element, self.width < MIN_WIDTH.min(elements), holds, !self.width.is_multiple_of(4), self.width)
    }

    /// Whether what belongs to columns is worth holding from row to row.
    pub(crate) fn holds(&self) -> bool {
        [self.lookup.statistics, self.lookup.affine].contains(&Found::Held)
    }

    /// Sizes at which windows are cut, descending: then a window is whole blocks of held rows, or within one, or within a row.
    pub(crate) fn units(&self) -> [u64; 4] {
        [self.held * self.width, self.width, 4, 1]
    }

    /// Of a window that is cut there.
    pub(crate) fn within(&self, range: &Range<u64>) -> Self {
        let len = range.end - range.start;
        let whole_rows = range.start.is_multiple_of(self.width) && len.is_multiple_of(self.width);
        if !whole_rows {
            // part of a row: what is not a neighbour is looked up
            let found =
                |found: Found, along: bool| if found == Found::Held && !along { Found::ByElement } else { found };
            let Lookup { statistics, statistics_along, affine, affine_along, .. } = self.lookup;
            let lookup = Lookup {
                statistics: found(statistics, statistics_along),
                affine: found(affine, affine_along),
                ..self.lookup
            };
            return Self { width: len, held: 1, lookup };
        }
        let block = self.held * self.width;
        let whole_blocks = range.start.is_multiple_of(block) && len.is_multiple_of(block);
        Self { held: if whole_blocks { self.held } else { len / self.width }, ..*self }
    }
}

/// What a walker that holds segments whole holds at a time: a contiguous segment; one that is `rows` runs of `width` elements in as
/// many rows of memory; or four of those whose elements are neighbours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Items {
    pub rows: u64,
    /// Elements of a run.
    pub width: u64,
    /// Items that share their rows of memory.
    pub parts: u64,
    /// The item is in rows of memory.
    pub strided: bool,
    /// It is four segments.
    pub across: bool,
    pub lookup: Lookup,
    /// Items after which parameters that are held repeat.
    pub period: u64,
}

impl Items {
    /// Those of `partition`, which find their parameters in `affine`. `None` where runs are no whole quads, or have parameters
    /// that differ from row to row.
    pub(crate) fn new(partition: &Partition, affine: Option<&Partition>) -> Option<Self> {
        if partition.is_contiguous() {
            let len = partition.segment_len();
            let (lookup, period) = whole_segments(affine, len);
            return Some(Self {
                rows: 1,
                width: len,
                parts: 1,
                strided: false,
                across: false,
                lookup,
                period,
            });
        }
        let [_, rows, c, d] = partition.dims();
        let across = d == 1;
        let columns = c * d;
        let width = if across { 4 } else { d };
        if rows * columns == 0 || !columns.is_multiple_of(4) || !width.is_multiple_of(4) {
            return None;
        }
        let affine_along = match affine.map(Partition::dims) {
            None => false,
            Some([_, b, c, d]) => {
                let repeats = columns.is_multiple_of(c * d) && (b * c * d).is_multiple_of(rows * columns);
                repeats.then_some(d == 1 && c == columns)?
            }
        };
        let lookup = Lookup { affine: Found::Held, affine_along, statistics: Found::ByRow, ..Lookup::default() };
        Some(Self {
            rows,
            width,
            parts: columns / width,
            strided: true,
            across,
            lookup,
            period: 1,
        })
    }

    /// Elements of an item.
    pub(crate) fn len(&self) -> u64 {
        self.rows * self.width
    }

    /// Elements of the rows of memory that items share.
    pub(crate) fn block(&self) -> u64 {
        self.len() * self.parts
    }

    /// Quads of an item's width.
    pub(crate) fn run_quads(&self) -> u64 {
        self.width.div_ceil(4)
    }

    /// Distance of items that start at the same place in a quad.
    pub(crate) fn alike(&self) -> u64 {
        if self.strided { 1 } else { workers::alike(self.width) }
    }

    /// Whether the lanes of a team hold an item.
    pub(crate) fn have_room(&self, team: &Team) -> bool {
        if !self.strided {
            return team.has_room(self.run_quads());
        }
        let side_by_side = u64::from(team.lanes / team.run_lanes);
        u64::from(team.run_lanes) == self.run_quads() && self.rows.div_ceil(side_by_side) <= team.held()
    }
}

/// How contiguous segments of `len` elements, each with its own record, find their parameters, and after how many segments what is held
/// repeats.
fn whole_segments(affine: Option<&Partition>, len: u64) -> (Lookup, u64) {
    let found = |affine, affine_along, period| {
        (Lookup { affine, affine_along, statistics: Found::ByRow, ..Lookup::default() }, period)
    };
    let Some(p) = affine else { return found(Found::Held, false, 1) };
    let [outer, _, c, d] = p.dims();
    match c * d {
        _ if d.is_multiple_of(len) => found(Found::ByRow, false, 1),
        all if outer == 1 && len.is_multiple_of(all) => found(Found::Held, d == 1 && c == len, 1),
        all if outer == 1 && all.is_multiple_of(len) && len.is_multiple_of(d) => found(Found::Held, d == 1, all / len),
        _ => found(Found::ByElement, false, 1),
    }
}

/// Lengths at which a partition's segments change or repeat, and multiples of those that are short.
fn widths(partition: &Partition, elements: u64) -> impl Iterator<Item = u64> {
    let [_, _, c, d] = partition.dims();
    let multiples = (0..5).map(move |k| (c * d) << k);
    [d].into_iter().chain(multiples).filter(move |&width| width > 0 && elements.is_multiple_of(width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Found::{ByElement, ByRow, Held};

    #[test]
    fn table_of_variants() {
        let (n, c, s) = (4, 32, 300);
        let by = |a, b, c, d| Partition::new(a, b, c, d);
        let all = n * c * s;
        let cases = [
            ("batch, channels first", Some(by(1, n, c, s)), Some(by(1, n, c, s)), (s, n * c, ByRow, ByRow)),
            ("batch, channels last", Some(by(1, n * s, c, 1)), Some(by(1, n * s, c, 1)), (c, n * s, Held, Held)),
            ("instance, channels last", Some(by(n, s, c, 1)), Some(by(1, n * s, c, 1)), (c, s, Held, Held)),
            ("group, channels first", Some(by(1, 1, n * 8, 4 * s)), Some(by(1, n, c, s)), (s, n * c, ByRow, ByRow)),
            ("group, channels last", Some(by(n, s, 8, 4)), Some(by(1, n * s, c, 1)), (c, s, Held, Held)),
            ("rows", Some(by(1, 1, n * c, s)), Some(by(1, n * c, s, 1)), (s, n * c, ByRow, Held)),
            ("inner axis", Some(by(n, c, s, 1)), Some(by(1, n, c, s)), (s, c, Held, ByRow)),
            ("one row", Some(by(1, 1, 1, all)), Some(by(1, 1, all, 1)), (all, 1, ByRow, Held)),
            ("no parameters", Some(by(1, 1, n * c, s)), None, (s, n * c, ByRow, Held)),
        ];
        for (name, statistics, affine, expected) in cases {
            let g = Geometry::new(statistics.as_ref(), affine.as_ref(), all);
            assert_eq!((g.width, g.held, g.lookup.statistics, g.lookup.affine), expected, "{name}");
        }
    }

    /// Against the definition: every element's segment is where the lookup says.
    #[test]
    fn lookups_agree_with_segments() {
        let sizes = [1, 2, 3, 5];
        for code in 0..256usize {
            let dims: Vec<u64> = (0..4).map(|k| sizes[code >> (2 * k) & 3]).collect();
            let p = Partition::new(dims[0], dims[1], dims[2], dims[3]);
            for other in [Partition::new(1, 1, 1, p.elements()), Partition::new(1, p.elements(), 1, 1)] {
                let g = Geometry::new(Some(&p), Some(&other), p.elements());
                for e in 0..p.elements() {
                    let row = e / g.width * g.width;
                    let found = match g.lookup.statistics {
                        ByElement => p.segment_of(e),
                        ByRow => p.segment_of(row),
                        Held => {
                            let [_, _, c, d] = p.dims();
                            let first = row - row / g.width % g.held * g.width;
                            let low = p.segment_of(first);
                            low + if g.lookup.statistics_along { e - row } else { (e - row) % (c * d) / d }
                        }
                    };
                    assert_eq!(found, p.segment_of(e), "{p} element {e} {g:?}");
                }
            }
        }
    }

    /// (statistics, affine) to (rows, width, items of a row of memory, four segments); `None`: not held whole.
    #[test]
    fn items_are_runs_of_whole_quads() {
        let by = Partition::new;
        let columns = |rows, columns| Some(by(1, rows, columns, 1));
        let cases = [
            ("rows", by(1, 1, 6, 12), columns(6, 12), Some((1, 12, 1, false))),
            ("instances, channels last", by(2, 9, 12, 1), columns(18, 12), Some((9, 4, 3, true))),
            ("groups, channels last", by(2, 9, 3, 8), columns(18, 24), Some((9, 8, 3, false))),
            ("no parameters", by(2, 9, 3, 8), None, Some((9, 8, 3, false))),
            ("parameters of samples", by(2, 9, 12, 1), Some(by(2, 9, 12, 1)), Some((9, 4, 3, true))),
            ("odd columns", by(2, 9, 7, 1), columns(18, 7), None),
            ("groups of three channels", by(2, 9, 4, 3), columns(18, 12), None),
            ("parameters of rows", by(2, 9, 12, 1), Some(by(18, 1, 1, 12)), None),
        ];
        for (name, statistics, affine, expected) in cases {
            let items = Items::new(&statistics, affine.as_ref());
            assert_eq!(items.map(|i| (i.rows, i.width, i.parts, i.across)), expected, "{name}");
        }
    }

    /// Segments that are a period apart have the same parameters, place for place.
    #[test]
    fn parameters_of_whole_segments_repeat() {
        let by = Partition::new;
        let cases = [
            ("rows", 12, by(1, 5, 12, 1), (Held, true, 1)),
            ("groups of three channels", 12, by(1, 2, 9, 4), (Held, false, 3)),
            ("groups of two, no spatial axis", 2, by(1, 5, 6, 1), (Held, true, 3)),
            ("instances", 4, by(1, 2, 9, 4), (ByRow, false, 1)),
            ("half planes", 2, by(1, 2, 9, 4), (ByRow, false, 1)),
            ("all channels", 36, by(1, 2, 9, 4), (Held, false, 1)),
            ("one and a half planes", 6, by(1, 2, 9, 4), (ByElement, false, 1)),
            ("parameters of samples", 12, by(2, 3, 12, 1), (ByElement, false, 1)),
        ];
        for (name, len, affine, expected) in cases {
            let (lookup, period) = whole_segments(Some(&affine), len);
            assert_eq!((lookup.affine, lookup.affine_along, period), expected, "{name}");
            let segments = affine.elements() / len;
            for segment in (0..segments).filter(|s| lookup.affine == Held && s + period < segments) {
                for place in 0..len {
                    let of = |segment: u64| affine.segment_of(segment * len + place);
                    assert_eq!(of(segment), of(segment + period), "{name} {segment} {place}");
                }
            }
        }
    }
}
