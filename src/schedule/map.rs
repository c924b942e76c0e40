//! How rows are normalized by moments that are there, or are merged on the way: which rows, and who visits them.

use super::reduce::{FEW_VECTORS, run_vectors};
use super::{DeviceProfile, LINE};
use crate::partition::Partition;
use crate::walk::lookup::{Found, Rows};

/// Vectors of a row, or rows, that a lane loads at once.
const FLIGHT: u32 = 4;

/// Rows that share what is held of their columns, to make holding worth it.
const MIN_REPEATS: u64 = 8;

/// Shortest rows in elements, below which what is computed once a row is as much as the rest.
const SHORT_ROW: u64 = 256;

/// Widest rows whose columns are divided without integer divisions: see `shaders/lib/affine.wgsl`.
const MAX_DIVIDED: u64 = 1 << 20;

/// Most columns' vectors that a workgroup maps side by side.
const SIDE: u64 = 16;

/// The rows of a map: a width on the chains of divisors of both partitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Grid {
    pub width: u64,
    pub statistics: Rows,
    pub affine: Option<Rows>,
}

impl Grid {
    /// For a map over `elements` elements (at least 1) by these partitions, to a tensor of which a word has `grain`
    /// elements.
    pub(crate) fn new(statistics: &Partition, affine: Option<&Partition>, elements: u64, grain: u64) -> Self {
        let chain = |p: &Partition| {
            let [_, b, c, d] = p.dims();
            let multiples = (0..5).map(move |k| (c * d) << k);
            [d, b * c * d].into_iter().chain(multiples)
        };
        let widths = chain(statistics).chain(affine.into_iter().flat_map(chain)).chain([1]);
        let all = widths.filter(|&width| width > 0 && elements.is_multiple_of(width));
        let grids = all.filter_map(|width| Self::of(statistics, affine, width));
        let best = grids.min_by_key(|grid| (!grid.has_words(grain), grid.cost(elements)));
        // a width of 1 is on every chain
        best.unwrap_or_else(|| unreachable!("rows of one element are rows of any partition"))
    }

    fn of(statistics: &Partition, affine: Option<&Partition>, width: u64) -> Option<Self> {
        let rows = Rows::new(statistics, width)?;
        let affine = affine.map(|p| Rows::new(p, width).ok_or(())).transpose().ok()?;
        Some(Self { width, statistics: rows, affine })
    }

    /// Rows of a segment each are dealt by words where they do not begin and end at such; others take rows that do.
    fn has_words(&self, grain: u64) -> bool {
        self.statistics.found == Found::Row || self.width.is_multiple_of(grain)
    }

    /// Least first.
    fn cost(&self, elements: u64) -> impl Ord + use<> {
        let by_row = self.statistics.found == Found::Row;
        let affine = self.affine.map(|rows| rows.found);
        let repeats = self.repeats().min(elements / self.width);
        let divides = affine == Some(Found::Mixed) && self.width >= MAX_DIVIDED;
        // short rows, and rows that share little; of those that share nothing each would look up its own
        let poor = if by_row { self.width < SHORT_ROW.min(elements) } else { repeats < MIN_REPEATS };
        let alone = !by_row && repeats < 2;
        let looked_up = !by_row && affine.is_some() && !self.holds();
        let mixed = usize::from(affine == Some(Found::Mixed)) + usize::from(self.statistics.found == Found::Mixed);
        (divides, alone, poor, looked_up, !self.width.is_multiple_of(4), mixed, self.width)
    }

    /// Rows that have the same segments.
    pub(crate) fn repeats(&self) -> u64 {
        self.statistics.repeats
    }

    /// Whether rows with the same statistics have the same parameters, such that those of columns can be held.
    pub(crate) fn holds(&self) -> bool {
        self.affine.is_none_or(|rows| {
            rows.found != Found::Row && (rows.repeats == u64::MAX || rows.repeats.is_multiple_of(self.repeats()))
        })
    }

    /// Sizes at which windows are cut, descending.
    pub(crate) fn units(&self, grain: u64) -> [u64; 4] {
        [self.repeats().saturating_mul(self.width), self.width, 4, grain]
    }
}

/// Who maps rows of one segment each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MapRows {
    pub workgroup: u32,
    pub lanes: u32,
    /// Of a lane.
    pub vectors: u32,
}

impl MapRows {
    /// For rows that are mapped by themselves, or with other tensors beside them.
    pub(crate) fn choose(width: u64, alone: bool, profile: &DeviceProfile) -> Self {
        let all = run_vectors(width).max(1);
        let vectors = FLIGHT * if alone { profile.grain } else { profile.fetched() };
        let workgroup = profile.workgroup_size;
        // rows that no lane has two vectors of are no longer than that
        let lanes = if all <= 32 { all } else { all / u64::from(vectors) };
        let lanes = (lanes.next_power_of_two().min(workgroup.into()) as u32).max(LINE.min(workgroup));
        Self { workgroup, lanes, vectors }
    }

    /// Tiles of a row; `shares`: even rows of whole vectors may begin inside one.
    pub(crate) fn tiles(&self, width: u64, shares: bool) -> u64 {
        let vectors = if shares { (width + 6) / 4 } else { run_vectors(width) };
        vectors.max(1).div_ceil(u64::from(self.lanes * self.vectors))
    }
}

/// Who maps rows of many segments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MapColumns {
    pub workgroup: u32,
    /// Side by side.
    pub lanes: u32,
    pub rows: u32,
    /// Slices of a block of rows, and rows of each.
    pub slices: u64,
    pub slice_rows: u64,
}

impl MapColumns {
    /// For `blocks` blocks of rows, which are mapped by themselves or with other tensors beside them.
    pub(crate) fn choose(width: u64, rows: u64, blocks: u64, alone: bool, profile: &DeviceProfile) -> Self {
        let workgroup = profile.workgroup_size;
        let vectors = width.div_ceil(4);
        // every lane has several rows where there are so many; a workgroup has a lane for each segment of its columns
        let most = u64::from(workgroup / 4).max(1);
        let by_rows = u64::from(workgroup) * FEW_VECTORS / rows.next_power_of_two();
        let lanes = SIDE.max(by_rows).min(vectors.next_power_of_two()).min(most);
        let lines = u64::from(workgroup) / lanes;
        let at_once = FLIGHT * if alone { profile.fetched() } else { 1 };
        let tiles = vectors.div_ceil(lanes) * blocks;
        let filling = profile.filling(workgroup, blocks * rows * vectors);
        let chunk = lines * u64::from(at_once);
        let slices = filling.div_ceil(tiles).min(rows / chunk).max(1);
        let slice_rows = rows.div_ceil(slices).next_multiple_of(if rows > chunk { chunk } else { 1 });
        Self { workgroup, lanes: lanes as u32, rows: at_once, slices: rows.div_ceil(slice_rows), slice_rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_suit_the_variants() {
        let by = Partition::new;
        let (n, c, s) = (32, 64, 300);
        let cases = [
            ("batch, channels first", by(1, n, c, s), Some(by(1, n, c, s)), (s, Found::Row)),
            ("batch, small planes", by(1, n, c, 49), Some(by(1, n, c, 49)), (49 * c, Found::Mixed)),
            ("batch, channels last", by(1, n * s, c, 1), Some(by(1, n * s, c, 1)), (c, Found::Columns)),
            ("seven channels last", by(1, n * s, 7, 1), Some(by(1, n * s, 7, 1)), (28, Found::Mixed)),
            ("instance, channels last", by(n, s, c, 1), Some(by(1, n * s, c, 1)), (c, Found::Columns)),
            ("group, channels first", by(1, 1, n * 8, 8 * s), Some(by(1, n, c, s)), (s, Found::Row)),
            ("group, channels last", by(n, s, 8, 8), Some(by(1, n * s, c, 1)), (c, Found::Mixed)),
            ("rows", by(1, 1, n * c, s), Some(by(1, n * c, s, 1)), (s, Found::Row)),
            ("inner axis", by(n, c, s, 1), Some(by(1, n, c, s)), (s, Found::Columns)),
            ("one row", by(1, 1, 1, n * c * s), Some(by(1, 1, n * c * s, 1)), (n * c * s, Found::Row)),
            ("no parameters", by(1, 1, n * c, s), None, (s, Found::Row)),
        ];
        for (name, statistics, affine, expected) in cases {
            let grid = Grid::new(&statistics, affine.as_ref(), statistics.elements(), 1);
            assert_eq!((grid.width, grid.statistics.found), expected, "{name}");
        }
    }
}
