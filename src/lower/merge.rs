//! Merges of records of moments.

use std::ops::Range;

use super::bindings::Unbindable;
use super::{Draft, Lowering, MergeOperands, access};
use crate::kernel::blocks::{Divisor, Exact, Merge};
use crate::kernel::parameters::Parameters;
use crate::kernel::{self, Entry, Exchange, Settings, Source};
use crate::moments::Accumulator;
use crate::operand::Operand;
use crate::plan::Reduction;

impl Lowering {
    /// Merges records of moments over a partition of them; a segment without any gets 0.
    pub(crate) fn merge_moments(&mut self, reduction: &Reduction, operands: &MergeOperands) -> Result<(), Unbindable> {
        let partition = &operands.partition;
        let [_, count, inner, side] = partition.dims();
        let workgroup = self.profile.workgroup_size;
        let lanes = partition.segment_len().clamp(1, workgroup.into()).next_power_of_two() as u32;
        let lanes = if lanes <= 4 { lanes.min(4) } else { workgroup };
        // one run of records a segment can be bound segment by segment
        let runs = partition.kept_outer == 1 && count == 1;
        let partials = |range: &Range<u64>| {
            if runs { range.start * side..range.end * side } else { 0..partition.elements() }
        };
        let accesses = |range: &Range<u64>| {
            let of = partials(range);
            let partials = operands.partials.filter(|_| !of.is_empty());
            let mut all: Vec<_> = partials.map(|tensor| access(Operand::Partials, tensor, &of)).into_iter().collect();
            all.extend(operands.records.map(|tensor| access(Operand::Records, tensor, range)));
            all
        };
        for range in self.windows(Entry::MergeMoments, 0..partition.segments(), &[1], &accesses)? {
            let block = Merge {
                segments: (range.end - range.start) as u32,
                first: if runs { 0 } else { range.start as u32 },
                inner: if runs { 1.max(range.end - range.start) as u32 } else { inner as u32 },
                count: count as u32,
                side: side as u32,
                pad: [0; 3],
            };
            let parameters = Parameters::default().with(Exact::NEW).with(block);
            let ordered = matches!(reduction.accumulator, Accumulator::Power | Accumulator::Largest);
            let parameters = if ordered { parameters.with(Divisor::from(&reduction.divisor)) } else { parameters };
            let draft = Draft {
                entry: Entry::MergeMoments,
                accumulator: Some(reduction.accumulator),
                source: Source::Values,
                exchange: Exchange::None,
                across: false,
                consts: Settings::default(),
                around: kernel::Around::default(),
                overrides: Settings::default().with("WORKGROUP", workgroup).with("LANES", lanes),
                walk: None,
                column: 0,
            };
            let groups = (range.end - range.start).div_ceil(u64::from(workgroup / lanes));
            self.dispatch(draft, parameters, &accesses(&range), groups)?;
        }
        Ok(())
    }
}
