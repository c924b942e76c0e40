//! Stages of a norm to dispatches: windows, parameters, bindings. Pure: buffers are places in a table.

mod backward;
mod operands;

pub(crate) use backward::BackwardMap;
pub(crate) use operands::{GradientOperands, MapOperands, MergeOperands, RunningTensors, Summed, Tensor};

use std::ops::Range;

use crate::binding::{self, Access, BindingLimits, Slot, Unbindable};
use crate::descriptor::DataType;
use crate::kernel::{Accumulator, Entry, KernelKey, Operand, Source, Spread};
use crate::params::Params;
use crate::partition::Partition;
use crate::plan::Reduction;
use crate::schedule::{DeviceProfile, Reduce, Walk};
use crate::window::{self, Window};
use operands::{access, index, segments_of, walk, with_divisor};

/// Elements that one invocation of the map visits: `ITEMS` in `shaders/apply.wgsl`.
pub(crate) const ITEMS: u64 = 16;

/// One dispatch, ready to be given a pipeline and a bind group.
#[derive(Clone, Debug)]
pub(crate) struct Dispatch {
    pub key: KernelKey,
    pub slots: Vec<Slot>,
    pub params: Params,
    pub workgroups: u64,
}

/// What all stages of one binding share.
pub(crate) struct Lowering {
    pub limits: BindingLimits,
    pub profile: DeviceProfile,
    pub dispatches: Vec<Dispatch>,
}

/// A kernel before its bindings are known.
struct Draft {
    entry: Entry,
    source: Source,
    accumulator: Option<Accumulator>,
    padded: bool,
    spread: Option<Spread>,
    workgroup_size: u32,
    lanes: u32,
}

impl Draft {
    fn new(entry: Entry, accumulator: Accumulator, workgroup_size: u32, lanes: u32) -> Self {
        Self::of(entry.sources()[0], entry, accumulator, workgroup_size, lanes)
    }

    fn of(source: Source, entry: Entry, accumulator: Accumulator, workgroup_size: u32, lanes: u32) -> Self {
        let accumulator = entry.accumulates(source).then_some(accumulator);
        Self { entry, source, accumulator, padded: false, spread: None, workgroup_size, lanes }
    }
}

impl Lowering {
    /// Normalizes whole contiguous segments; saves their statistics where asked.
    pub(crate) fn fused(
        &mut self,
        reduction: &Reduction,
        (workgroup_size, lanes): (u32, u32),
        map: &MapOperands,
        saved: Option<Tensor>,
    ) -> Result<(), Unbindable> {
        let len = reduction.partition.segment_len();
        let accesses = |range: &Range<u64>| {
            let segments = range.start / len..range.end / len;
            let mut all = map.accesses(range);
            all.extend(saved.map(|tensor| access(Operand::Records, tensor, &segments)));
            all
        };
        for range in self.windows(Entry::FusedRows, 0..reduction.partition.elements(), &[len], &accesses)? {
            let segments = (range.end - range.start) / len;
            let params = Params {
                segments: segments as u32,
                slice_len: len as u32,
                walk: walk(len, len, lanes),
                ..with_divisor(map.params(range.start, range.end, u64::from(lanes)), &reduction.divisor)
            };
            let draft = Draft {
                padded: map.padded(),
                ..Draft::new(Entry::FusedRows, reduction.accumulator, workgroup_size, lanes)
            };
            self.push(draft, params, &accesses(&range), segments.div_ceil(u64::from(workgroup_size / lanes)))?;
        }
        Ok(())
    }

    /// Reduces a tensor to one record a segment: of statistics, or of gradient sums.
    pub(crate) fn reduce(
        &mut self,
        reduction: &Reduction,
        schedule: &Reduce,
        summed: &Summed,
        records: Tensor,
        partials: Tensor,
    ) -> Result<(), Unbindable> {
        let partition = &reduction.partition;
        let merges = schedule.merges(partition);
        let slices = u64::from(schedule.slices);
        if partition.elements() == 0 {
            let none = MergeOperands::nothing(partition.segments(), Some(records));
            return self.merge(summed.source(), reduction, &none);
        }
        let entry = match schedule.walk {
            Walk::Rows => Entry::ReduceRows,
            Walk::Columns => Entry::ReduceColumns,
        };
        let accesses = |range: &Range<u64>| {
            let mut all = summed.accesses(range);
            all.push(if merges {
                access(Operand::Records, partials, &(0..slices * schedule.records(partition)))
            } else {
                access(Operand::Records, records, &segments_of(partition, range))
            });
            all
        };
        for range in self.windows(entry, 0..partition.elements(), &window::units(partition), &accesses)? {
            let window = Window::new(partition, range);
            self.reduce_window(entry, reduction, schedule, summed, &window, &accesses(&window.elements))?;
        }
        if merges {
            let of = Partition::new(1, slices, partition.segments(), schedule.fold(partition));
            self.merge(summed.source(), reduction, &MergeOperands::new(of, Some(partials), Some(records)))?;
        }
        Ok(())
    }

    fn reduce_window(
        &mut self,
        entry: Entry,
        reduction: &Reduction,
        schedule: &Reduce,
        summed: &Summed,
        window: &Window,
        accesses: &[Access],
    ) -> Result<(), Unbindable> {
        let whole = &reduction.partition;
        let [outer, blocks, columns, inner] = window.partition.dims();
        let tile = u64::from(schedule.workgroup_size / schedule.lanes);
        let slices = u64::from(schedule.slices);
        let fold = schedule.fold(whole);
        // finer records than segments: a window within one segment's run starts at a column of it
        let (groups, walk, opens, inner_record) = match schedule.walk {
            Walk::Rows => (
                window.partition.segments().div_ceil(tile),
                walk(columns * inner, inner, schedule.lanes),
                window.opens,
                0,
            ),
            Walk::Columns => {
                let rows = walk(columns * inner, 1, schedule.lanes);
                (
                    (columns * inner).div_ceil(tile) * outer,
                    rows,
                    whole.digits(window.elements.start)[1] == 0,
                    window.inner,
                )
            }
        };
        let merges = schedule.merges(whole);
        let params = Params {
            segments: window.partition.segments() as u32,
            slices: schedule.slices,
            slice_len: schedule.walked_len(&window.partition).div_ceil(slices) as u32,
            record_first: if merges { (window.first_segment * fold + inner_record) as u32 } else { 0 },
            record_stride: schedule.records(whole) as u32,
            accumulate: u32::from(!opens),
            walk,
            window: [outer as u32, blocks as u32, columns as u32, inner as u32],
            ..with_divisor(summed.params(reduction.row_len, &window.elements), &reduction.divisor)
        };
        let draft = Draft {
            padded: summed.padded(),
            ..Draft::of(summed.source(), entry, reduction.accumulator, schedule.workgroup_size, schedule.lanes)
        };
        self.push(draft, params, accesses, groups * slices)
    }

    /// Merges records over a partition of them; a segment without any gets the identity.
    pub(crate) fn merge(
        &mut self,
        source: Source,
        reduction: &Reduction,
        operands: &MergeOperands,
    ) -> Result<(), Unbindable> {
        let partition = &operands.partition;
        let size = self.profile.merge_workgroup_size();
        let len = partition.segment_len();
        let lanes = len.clamp(1, u64::from(size)).next_power_of_two() as u32;
        // one run of records a segment can be bound segment by segment
        let runs = partition.kept_outer == 1 && partition.reduced_outer == 1;
        let partials = |range: &Range<u64>| {
            if runs {
                range.start * partition.reduced_inner..range.end * partition.reduced_inner
            } else {
                0..partition.elements()
            }
        };
        let accesses = |range: &Range<u64>| operands.accesses(range, &partials(range));
        for range in self.windows(Entry::Merge, 0..partition.segments(), &[1], &accesses)? {
            let records = partials(&range);
            let weights = operands.scale.map(|(_, affine)| index(&affine, records.start, records.end, 1));
            let (affine, affine_base) = weights.unwrap_or((Params::default().affine, 0));
            let params = Params {
                segments: (range.end - range.start) as u32,
                record_first: if runs { 0 } else { range.start as u32 },
                window: partition.dims().map(|size| size as u32),
                walk: walk(partition.kept_inner * partition.reduced_inner, partition.reduced_inner.max(1), lanes),
                weighted: u32::from(operands.scale.is_some()),
                affine,
                affine_base,
                gradient_factor: operands.factor,
                ..with_divisor(Params::default(), &reduction.divisor)
            };
            let workgroups = (range.end - range.start).div_ceil(u64::from(size / lanes));
            let draft = Draft::of(source, Entry::Merge, reduction.accumulator, size, lanes);
            self.push(draft, params, &accesses(&range), workgroups)?;
        }
        Ok(())
    }

    /// Normalizes every element by the records of `partition`; without records by the identity (0, 0, 0, 0).
    pub(crate) fn apply(
        &mut self,
        reduction: &Reduction,
        partition: &Partition,
        map: &MapOperands,
        statistics: Option<Tensor>,
    ) -> Result<(), Unbindable> {
        let size = self.profile.map_workgroup_size;
        let accesses = |range: &Range<u64>| {
            let mut all = map.accesses(range);
            all.extend(statistics.map(|tensor| access(Operand::Statistics, tensor, &segments_of(partition, range))));
            all
        };
        // prefer to cut where neither the records nor the parameters start over
        let mut units = window::units(partition).to_vec();
        units.extend(map.affine.iter().flat_map(window::units));
        units.sort_unstable_by(|a, b| b.cmp(a));
        for range in self.windows(Entry::Apply, 0..partition.elements(), &units, &accesses)? {
            let (records, statistics_base) = index(partition, range.start, range.end, u64::from(size));
            let elements = range.end - range.start;
            let params = Params {
                elements: elements as u32,
                statistics: records,
                statistics_base,
                ..with_divisor(map.params(range.start, range.end, u64::from(size)), &reduction.divisor)
            };
            let draft = Draft { padded: map.padded(), ..Draft::new(Entry::Apply, reduction.accumulator, size, 1) };
            self.push(draft, params, &accesses(&range), elements.div_ceil(ITEMS * u64::from(size)))?;
        }
        Ok(())
    }

    /// Writes records as plain numbers.
    pub(crate) fn export(
        &mut self,
        reduction: &Reduction,
        statistics: Tensor,
        mean: Option<Tensor>,
        spread: Option<(Spread, Tensor)>,
    ) -> Result<(), Unbindable> {
        let accesses = |range: &Range<u64>| {
            let mut all = vec![access(Operand::Statistics, statistics, range)];
            all.extend(mean.map(|tensor| access(Operand::Mean, tensor, range)));
            all.extend(spread.map(|(_, tensor)| access(Operand::Spread, tensor, range)));
            all
        };
        let kind = spread.map_or(Spread::Variance, |(kind, _)| kind);
        let params = with_divisor(Params::default(), &reduction.divisor);
        self.each_segment(Entry::Export, reduction, Some(kind), params, &accesses)
    }

    /// Makes records of plain means and variances; an absent variance is 0.
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
        self.each_segment(Entry::Import, reduction, None, Params::default(), &accesses)
    }

    fn each_segment(
        &mut self,
        entry: Entry,
        reduction: &Reduction,
        spread: Option<Spread>,
        params: Params,
        accesses: &impl Fn(&Range<u64>) -> Vec<Access>,
    ) -> Result<(), Unbindable> {
        let size = self.profile.map_workgroup_size;
        for range in self.windows(entry, 0..reduction.partition.segments(), &[1], accesses)? {
            let segments = range.end - range.start;
            let params = Params { segments: segments as u32, ..params };
            let draft = Draft { spread, ..Draft::new(entry, reduction.accumulator, size, 1) };
            self.push(draft, params, &accesses(&range), segments.div_ceil(u64::from(size)))?;
        }
        Ok(())
    }

    /// Takes records of `samples` times `channels` segments into running statistics.
    pub(crate) fn running(
        &mut self,
        (channels, samples): (u64, u64),
        params: Params,
        tensors: &RunningTensors,
    ) -> Result<(), Unbindable> {
        let accesses = |range: &Range<u64>| {
            // with several samples a channel's records lie apart: all are bound
            let records = if samples == 1 { range.clone() } else { 0..channels * samples };
            let mut all = vec![
                access(Operand::Statistics, tensors.statistics, &records),
                access(Operand::Mean, tensors.mean, range),
                access(Operand::Variance, tensors.variance, range),
            ];
            all.extend(tensors.counter.map(|tensor| access(Operand::Counter, tensor, &(0..1))));
            all
        };
        let units: &[u64] = if samples == 1 { &[1] } else { &[] };
        let size = self.profile.workgroup_size;
        let lanes = samples.clamp(1, u64::from(size)).next_power_of_two() as u32;
        for range in self.windows(Entry::Running, 0..channels, units, &accesses)? {
            let segments = range.end - range.start;
            let params = Params { segments: segments as u32, samples: samples as u32, ..params };
            let draft = Draft::new(Entry::Running, Accumulator::Centred, size, lanes);
            self.push(draft, params, &accesses(&range), segments.div_ceil(u64::from(size / lanes)))?;
        }
        Ok(())
    }

    /// Counts a batch.
    pub(crate) fn count(&mut self, counter: Tensor) -> Result<(), Unbindable> {
        let draft = Draft::new(Entry::Count, Accumulator::Centred, 1, 1);
        self.push(draft, Params::default(), &[access(Operand::Counter, counter, &(0..1))], 1)
    }

    fn windows(
        &self,
        entry: Entry,
        range: Range<u64>,
        units: &[u64],
        accesses: &impl Fn(&Range<u64>) -> Vec<Access>,
    ) -> Result<Vec<Range<u64>>, Unbindable> {
        let mut out = Vec::new();
        if !range.is_empty() {
            window::cut(range, units, &|r| binding::bind(entry, &accesses(r), &self.limits).map(|_| ()), &mut out)?;
        }
        Ok(out)
    }

    fn push(&mut self, draft: Draft, params: Params, accesses: &[Access], workgroups: u64) -> Result<(), Unbindable> {
        let bound = binding::bind(draft.entry, accesses, &self.limits)?;
        let key = KernelKey {
            entry: draft.entry,
            accumulator: draft.accumulator,
            layout: bound.layout,
            source: draft.source,
            dtype: DataType::F32,
            padded: draft.padded,
            spread: draft.spread,
            workgroup_size: draft.workgroup_size,
            lanes: draft.lanes,
        };
        let params = Params { offsets: bound.offsets, ..params };
        self.dispatches.push(Dispatch { key, slots: bound.slots, params, workgroups });
        Ok(())
    }
}
