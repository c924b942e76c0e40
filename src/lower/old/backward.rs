//! Stages of a backward pass.

use std::ops::Range;

use super::operands::{index, quad_walk, rows, segments_of, with_divisor};
use super::{Access, Draft, Lowering, Tensor, access};
use super::super::bindings::{QuadWalk, Unbindable};
use crate::kernel::{Entry, Source};
use crate::operand::Operand;
use crate::walk::team::{Found, Lookup, Team};
use crate::kernel::parameters::Params;
use crate::partition::Partition;
use crate::plan::Reduction;
use crate::walk::row_quads;
use crate::walk::rows::Geometry;
use crate::walk::workers::Walkers;
use super::tiles::Tiles;
use crate::walk::window::{self, Window};

/// Operands of the map from gradients to the output to gradients to the input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackwardMap {
    pub input: Tensor,
    pub grad_output: Tensor,
    pub grad_input: Tensor,
    pub row_len: u64,
    /// Records, and the segments that they are indexed by.
    pub statistics: (Tensor, Partition),
    /// Scale, and its segments.
    pub scale: Option<(Tensor, Partition)>,
    /// The scale is a factor of the gradient, not a weight in the sums.
    pub scale_last: bool,
}

impl BackwardMap {
    fn accesses(&self, range: &Range<u64>) -> Vec<Access> {
        let (statistics, indexed) = self.statistics;
        let mut all = vec![
            access(Operand::Input, self.input, range),
            access(Operand::GradOutput, self.grad_output, range),
            access(Operand::Output, self.grad_input, range),
            access(Operand::Moments, statistics, &segments_of(&indexed, range)),
        ];
        all.extend(self.scale.map(|(scale, affine)| access(Operand::Scale, scale, &segments_of(&affine, range))));
        all
    }

    fn params(&self, range: &Range<u64>, step: u64) -> Params {
        let (statistics, statistics_base) = index(&self.statistics.1, range, step);
        let weights = self.scale.map(|(_, affine)| index(&affine, range, step));
        let (affine, affine_base) = weights.unwrap_or((Params::default().affine, 0));
        Params {
            statistics,
            statistics_base,
            affine,
            affine_base,
            scale_last: u32::from(self.scale_last),
            input_rows: rows(&self.input, self.row_len, range.start),
            gradient_rows: rows(&self.grad_output, self.row_len, range.start),
            output_rows: rows(&self.grad_input, self.row_len, range.start),
            ..Params::default()
        }
    }

    fn padded(&self) -> bool {
        [self.input, self.grad_output, self.grad_input].iter().any(|tensor| tensor.rows.is_some())
    }

    fn walk(&self, range: &Range<u64>, unit: u64, leads: bool, lookup: &Lookup) -> Option<QuadWalk> {
        let along = lookup.affine == Found::Held && lookup.affine_along;
        let tensors = [self.input, self.grad_output, self.grad_input].map(Some);
        quad_walk(tensors, self.row_len, range, QuadWalk { unit, leads, along })
    }
}

/// Where sums of the columns of rows go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColumnSums<'a> {
    /// Of the parameters: an outer segment for each set of them, its rows reduced; runs of columns may share one.
    pub affine: &'a Partition,
    pub walkers: u32,
    /// Records of the walkers for each place; unused where there is one walker.
    pub partials: Tensor,
    pub grad_scale: Option<Tensor>,
    pub grad_bias: Option<Tensor>,
    /// On the sums that become gradients to bias and scale.
    pub factor: [f32; 2],
}

/// Whether what one walker sums up is all that belongs to a parameter.
pub(crate) fn sums_are_gradients(affine: &Partition, walkers: u32) -> bool {
    walkers == 1 && affine.reduced_inner == 1
}

impl ColumnSums<'_> {
    /// Whether the gradients themselves are written.
    pub(crate) fn are_gradients(&self) -> bool {
        sums_are_gradients(self.affine, self.walkers)
    }

    fn accesses(&self) -> Vec<Access> {
        let places = 0..self.affine.segments() * self.affine.reduced_inner;
        if !self.are_gradients() {
            let records = 0..places.end * u64::from(self.walkers);
            return vec![access(Operand::Partials, self.partials, &records)];
        }
        let gradients = [(Operand::GradScale, self.grad_scale), (Operand::GradBias, self.grad_bias)];
        gradients.into_iter().filter_map(|(operand, tensor)| Some(access(operand, tensor?, &places))).collect()
    }

    /// First record, or gradient, of a window.
    fn params(&self, window: &Window, params: Params) -> Params {
        Params {
            record_first: (window.first_segment * u64::from(self.walkers)) as u32,
            gradient_factor: self.factor,
            ..params
        }
    }
}

impl Lowering {
    /// The gradient to the input from the sums of its segments, or from given statistics where there are none.
    /// Sums up what belongs to columns, where asked.
    pub(crate) fn apply_backward(
        &mut self,
        reduction: &Reduction,
        map: &BackwardMap,
        sums: Option<Tensor>,
        columns: Option<ColumnSums<'_>>,
    ) -> Result<(), Unbindable> {
        let entry = Entry::ApplyBackward;
        let indexed = map.statistics.1;
        let accesses = |range: &Range<u64>| {
            let mut all = map.accesses(range);
            all.extend(sums.map(|tensor| access(Operand::Sums, tensor, &segments_of(&indexed, range))));
            all.extend(columns.iter().flat_map(ColumnSums::accesses));
            all
        };
        let geometry = match columns {
            Some(columns) => {
                Geometry::of([Some(&indexed), Some(columns.affine)], columns.affine.kept_inner, indexed.elements())
            }
            None => Geometry::new(Some(&indexed), map.scale.map(|(_, affine)| affine).as_ref(), indexed.elements()),
        };
        let units = columns.map_or(geometry.units().to_vec(), |columns| window::units(columns.affine)[..2].to_vec());
        for range in self.windows(entry, 0..indexed.elements(), &units, &accesses)? {
            let rows = geometry.within(&range);
            let team = self.profile.map_team(rows.width, self.profile.backward_quads(), rows.holds());
            let walkers = columns.map(|columns| u64::from(columns.walkers));
            let tiles = Tiles::new(&self.profile, &rows, &range, &team, walkers);
            let params = Params {
                frozen: u32::from(sums.is_none()),
                ..tiles.params(with_divisor(map.params(&range, tiles.step()), &reduction.divisor))
            };
            let columns = columns.map(|columns| (columns, Window::new(columns.affine, range.clone())));
            let params = columns.as_ref().map_or(params, |(columns, window)| columns.params(window, params));
            let draft = Draft {
                padded: map.padded(),
                lookup: rows.lookup,
                sums_columns: columns.is_some(),
                resumes: columns.is_some_and(|(_, window)| !window.opens),
                filled: tiles.are_filled(&team),
                walk: map.walk(&range, rows.width, true, &rows.lookup),
                ..Draft::of(Source::Gradients, entry, reduction.accumulator, team)
            };
            self.push(draft, params, &accesses(&range), tiles.workgroups(&team))?;
        }
        Ok(())
    }

    /// Gradients of whole contiguous segments, one or more to each of `rows`, with an outer block of rows for each set of
    /// parameters; with the sums of columns where asked; where a segment has one scale, `records` receives a record for
    /// each segment.
    pub(crate) fn fused_backward(
        &mut self,
        reduction: &Reduction,
        rows: &Partition,
        (team, walkers): (Team, u32),
        map: &BackwardMap,
        columns: Option<ColumnSums<'_>>,
        records: Option<Tensor>,
    ) -> Result<(), Unbindable> {
        let entry = Entry::FusedRowsBackward;
        let len = rows.kept_inner;
        let by_row = map.scale_last;
        let parts = len / reduction.partition.segment_len();
        let (row, len) = (len, reduction.partition.segment_len());
        let accesses = |range: &Range<u64>| {
            let mut all = map.accesses(range);
            let segments = range.start / len..range.end / len;
            all.extend(records.map(|tensor| access(Operand::Partials, tensor, &segments)));
            all.extend(columns.iter().flat_map(ColumnSums::accesses));
            all
        };
        let along = map.scale.is_none_or(|(_, affine)| affine.reduced_inner == 1);
        let (affine, affine_along) = if by_row { (Found::ByRow, false) } else { (Found::Held, along) };
        let lookup = Lookup { affine, affine_along, statistics: Found::ByRow, ..Lookup::default() };
        for range in self.windows(entry, 0..rows.elements(), &window::units(rows)[..2], &accesses)? {
            let window = Window::new(rows, range);
            let [outer, count, ..] = window.partition.dims();
            let neighbours = if parts == 1 { team.groups() } else { 1 };
            let walkers = Walkers::exactly(walkers.into(), count, neighbours);
            let params = Params {
                rows: count as u32,
                blocks: walkers.count as u32,
                spacing: walkers.spacing as u32,
                slice_len: walkers.turns as u32,
                width: len as u32,
                parts: parts as u32,
                window: [outer as u32, count as u32, row as u32, 1],
                ..with_divisor(map.params(&window.elements, walkers.spacing * row), &reduction.divisor)
            };
            let params = columns.map_or(params, |columns| columns.params(&window, params));
            let draft = Draft {
                padded: map.padded(),
                lookup,
                sums_columns: columns.is_some(),
                resumes: columns.is_some() && !window.opens,
                filled: team.fills(len),
                walk: map.walk(&window.elements, len, team.has_room(row_quads(len)), &lookup),
                ..Draft::of(Source::Gradients, entry, reduction.accumulator, team)
            };
            self.push(
                draft,
                params,
                &accesses(&window.elements),
                (outer * walkers.count * parts).div_ceil(team.groups()),
            )?;
        }
        Ok(())
    }
}
