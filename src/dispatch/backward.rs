//! Stages of a backward pass.

use std::ops::Range;

use super::operands::{access, index, rows, segments_of, walk, with_divisor};
use super::{Access, Draft, ITEMS, Lowering, Tensor};
use crate::binding::Unbindable;
use crate::kernel::{Entry, Operand, Source};
use crate::params::Params;
use crate::partition::Partition;
use crate::plan::Reduction;
use crate::window::{self, Window};

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
            access(Operand::Statistics, statistics, &segments_of(&indexed, range)),
        ];
        all.extend(self.scale.map(|(scale, affine)| access(Operand::Scale, scale, &segments_of(&affine, range))));
        all
    }

    fn params(&self, range: &Range<u64>, step: u64) -> Params {
        let (statistics, statistics_base) = index(&self.statistics.1, range.start, range.end, step);
        let weights = self.scale.map(|(_, affine)| index(&affine, range.start, range.end, step));
        let (affine, affine_base) = weights.unwrap_or((Params::default().affine, 0));
        Params {
            elements: (range.end - range.start) as u32,
            statistics,
            statistics_base,
            affine,
            affine_base,
            weighted: u32::from(self.scale.is_some() && !self.scale_last),
            hoisted: 1,
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
}

impl Lowering {
    /// The gradient to the input from the sums of its segments, or from given statistics where there are none.
    pub(crate) fn apply_backward(
        &mut self,
        reduction: &Reduction,
        map: &BackwardMap,
        sums: Option<Tensor>,
    ) -> Result<(), Unbindable> {
        let size = self.profile.map_workgroup_size;
        let indexed = map.statistics.1;
        let accesses = |range: &Range<u64>| {
            let mut all = map.accesses(range);
            all.extend(sums.map(|tensor| access(Operand::Sums, tensor, &segments_of(&indexed, range))));
            all
        };
        let mut units = window::units(&indexed).to_vec();
        units.extend(map.scale.iter().flat_map(|(_, affine)| window::units(affine)));
        units.sort_unstable_by(|a, b| b.cmp(a));
        for range in self.windows(Entry::ApplyBackward, 0..indexed.elements(), &units, &accesses)? {
            let params = Params {
                frozen: u32::from(sums.is_none()),
                ..with_divisor(map.params(&range, u64::from(size)), &reduction.divisor)
            };
            let draft = Draft {
                padded: map.padded(),
                ..Draft::of(Source::Gradients, Entry::ApplyBackward, reduction.accumulator, size, 1)
            };
            self.push(draft, params, &accesses(&range), (range.end - range.start).div_ceil(ITEMS * u64::from(size)))?;
        }
        Ok(())
    }

    /// Gradients of whole contiguous segments. `rows` has an outer segment for each set of parameters, its segments as reduced
    /// runs of kept places. `partials` receives `walkers` records for each place.
    pub(crate) fn fused_backward(
        &mut self,
        reduction: &Reduction,
        rows: &Partition,
        (workgroup_size, lanes, walkers): (u32, u32, u32),
        map: &BackwardMap,
        partials: Option<Tensor>,
    ) -> Result<(), Unbindable> {
        let entry = Entry::FusedRowsBackward;
        let len = rows.kept_inner;
        let places = rows.kept_outer * u64::from(walkers) * len;
        let accesses = |range: &Range<u64>| {
            let mut all = map.accesses(range);
            all.extend(partials.map(|tensor| access(Operand::Partials, tensor, &(0..places))));
            all
        };
        for range in self.windows(entry, 0..rows.elements(), &window::units(rows)[..2], &accesses)? {
            let window = Window::new(rows, range);
            let [outer, count, ..] = window.partition.dims();
            let params = Params {
                slices: walkers,
                record_first: (window.first_segment * u64::from(walkers)) as u32,
                accumulate: u32::from(!window.opens),
                walk: walk(len, len, lanes),
                window: [outer as u32, count as u32, len as u32, 1],
                ..with_divisor(map.params(&window.elements, u64::from(lanes)), &reduction.divisor)
            };
            let draft = Draft {
                padded: map.padded(),
                ..Draft::of(Source::Gradients, entry, reduction.accumulator, workgroup_size, lanes)
            };
            let workgroups = (outer * u64::from(walkers)).div_ceil(u64::from(workgroup_size / lanes));
            self.push(draft, params, &accesses(&window.elements), workgroups)?;
        }
        Ok(())
    }
}
