//! Moments to plain numbers and back, and running statistics.

use std::ops::Range;

use super::bindings::{Access, Unbindable};
use super::{Draft, Lowering, RunningTensors, Tensor, access};
use crate::kernel::blocks::{Divisor, Each, Exact, Running};
use crate::kernel::parameters::Parameters;
use crate::kernel::{Around, Entry, Exchange, Settings, Source};
use crate::moments::{Accumulator, Spread};
use crate::operand::Operand;
use crate::plan::Reduction;

impl Lowering {
    /// Writes moments as plain numbers.
    pub(crate) fn export(
        &mut self,
        reduction: &Reduction,
        statistics: Tensor,
        mean: Option<Tensor>,
        spread: Option<(Spread, Tensor)>,
    ) -> Result<(), Unbindable> {
        let accesses = |range: &Range<u64>| {
            let mut all = vec![access(Operand::Moments, statistics, range)];
            all.extend(mean.map(|tensor| access(Operand::Mean, tensor, range)));
            all.extend(spread.map(|(_, tensor)| access(Operand::Spread, tensor, range)));
            all
        };
        // of two lists, both written, neither need have its halves of words where the other has
        if let (Some(mean), Some(of)) = (mean, spread)
            && [mean, of.1].iter().any(|list| list.element.grain() > 1)
        {
            self.export(reduction, statistics, Some(mean), None)?;
            return self.export(reduction, statistics, None, Some(of));
        }
        let written = mean.or(spread.map(|(_, list)| list)).unwrap_or(Tensor::NOWHERE);
        let kind = spread.map_or(Spread::Variance, |(kind, _)| kind);
        let parameters = Parameters::default().with(Exact::NEW).with(Divisor::from(&reduction.divisor));
        // a norm over no element is 0: it is a sum, whose factor is 0 there
        let is_empty = reduction.partition.segment_len() == 0 && reduction.divisor.factor != 0.0;
        let overrides = Settings::default().with("SPREAD", kind as u32);
        let draft = Draft {
            accumulator: Some(reduction.accumulator),
            overrides: if is_empty { overrides.with("EMPTY", true) } else { overrides },
            ..draft(Entry::Export)
        };
        self.each(draft, reduction.partition.segments(), &parameters, written, &accesses)
    }

    /// Makes moments of plain means and variances; an absent variance is 0.
    pub(crate) fn import(
        &mut self,
        reduction: &Reduction,
        mean: Tensor,
        variance: Option<Tensor>,
        statistics: Tensor,
    ) -> Result<(), Unbindable> {
        let accesses = |range: &Range<u64>| {
            let mut all = vec![access(Operand::Mean, mean, range), access(Operand::Records, statistics, range)];
            all.extend(variance.map(|variance| access(Operand::Variance, variance, range)));
            all
        };
        let parameters = Parameters::default().with(Exact::NEW);
        self.each(draft(Entry::Import), reduction.partition.segments(), &parameters, statistics, &accesses)
    }

    /// Counts a batch; where its moments are given, only if it had an element.
    pub(crate) fn count(&mut self, statistics: Option<Tensor>, counter: Tensor) -> Result<(), Unbindable> {
        let accesses = |range: &Range<u64>| {
            let moments = statistics.map(|tensor| access(Operand::Moments, tensor, range));
            moments.into_iter().chain([access(Operand::Batches, counter, range)]).collect()
        };
        let overrides = Settings::default().with("EVERY", statistics.is_none());
        let mut draft = draft(Entry::Count);
        draft.overrides = overrides;
        self.each(draft, 1, &Parameters::default().with(Exact::NEW), counter, &accesses)
    }

    /// Rounds a list of f32 to the type of another.
    pub(crate) fn narrow(&mut self, numbers: Tensor, rounded: Tensor, len: u64) -> Result<(), Unbindable> {
        let accesses = |range: &Range<u64>| {
            vec![access(Operand::Numbers, numbers, range), access(Operand::Rounded, rounded, range)]
        };
        self.each(draft(Entry::Narrow), len, &Parameters::default().with(Exact::NEW), rounded, &accesses)
    }

    /// A lane has the numbers of a word of the list that is `written`.
    pub(super) fn each(
        &mut self,
        draft: Draft,
        segments: u64,
        parameters: &Parameters,
        written: Tensor,
        accesses: &dyn Fn(&Range<u64>) -> Vec<Access>,
    ) -> Result<(), Unbindable> {
        let workgroup = self.profile.workgroup_size;
        let grain = written.element.grain();
        for range in self.windows(draft.entry, 0..segments, &[grain, 1], accesses)? {
            let segments = range.end - range.start;
            let phase = (written.offset / written.element.bytes() + range.start) % grain;
            let each = Each { segments: segments as u32, grain: grain as u32, phase: phase as u32, pad: 0 };
            let parameters = parameters.clone().with(each);
            let mut draft = draft;
            draft.overrides = draft.overrides.with("WORKGROUP", workgroup);
            self.dispatch(
                draft,
                parameters,
                &accesses(&range),
                (phase + segments).div_ceil(grain * u64::from(workgroup)),
            )?;
        }
        Ok(())
    }

    /// Takes moments of `samples` times `channels` segments into running statistics. The block says how they move.
    pub(crate) fn running(
        &mut self,
        (channels, samples): (u64, u64),
        block: Running,
        tensors: &RunningTensors,
    ) -> Result<(), Unbindable> {
        let accesses = |range: &Range<u64>| {
            // with several samples a channel's moments lie apart: all are bound
            let records = if samples == 1 { range.clone() } else { 0..channels * samples };
            let mut all = vec![
                access(Operand::Moments, tensors.statistics, &records),
                access(Operand::Mean, tensors.mean, range),
                access(Operand::Variance, tensors.variance, range),
            ];
            all.extend(tensors.counter.map(|tensor| access(Operand::Batches, tensor, &(0..1))));
            all
        };
        let units: &[u64] = if samples == 1 { &[1] } else { &[] };
        let workgroup = self.profile.workgroup_size;
        // few different numbers
        let lanes = if samples == 1 { 1 } else { self.profile.subgroup.min(workgroup) };
        let exchange = self.profile.exchange(lanes);
        for range in self.windows(Entry::Running, 0..channels, units, &accesses)? {
            let segments = range.end - range.start;
            let block = Running { segments: segments as u32, samples: samples as u32, ..block };
            let overrides = Settings::default().with("WORKGROUP", workgroup).with("LANES", lanes);
            let mut draft = draft(Entry::Running);
            (draft.exchange, draft.overrides) = (exchange, overrides);
            let parameters = Parameters::default().with(Exact::NEW).with(block);
            let groups = segments.div_ceil(u64::from(workgroup / lanes));
            self.dispatch(draft, parameters, &accesses(&range), groups)?;
        }
        Ok(())
    }
}

pub(super) fn draft(entry: Entry) -> Draft {
    Draft {
        entry,
        accumulator: None::<Accumulator>,
        source: Source::Values,
        exchange: Exchange::None,
        across: false,
        consts: Settings::default(),
        around: Around::default(),
        overrides: Settings::default(),
        walk: None,
        column: 0,
    }
}
