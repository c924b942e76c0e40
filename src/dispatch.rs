//! Stages of a norm to dispatches: windows, parameters, bindings. Pure: buffers are places in a table.

use std::ops::Range;

use crate::binding::{self, Access, BindingLimits, Slot, Unbindable};
use crate::descriptor::DataType;
use crate::kernel::{Accumulator, Entry, KernelKey, Operand, Spread};
use crate::params::{Index, Params, Rows};
use crate::partition::Partition;
use crate::plan::{Divisor, Reduction};
use crate::schedule::{DeviceProfile, Reduce, Walk};
use crate::window::{self, Window};

/// Elements that one invocation of the map visits: `ITEMS` in `shaders/apply.wgsl`.
const ITEMS: u64 = 16;

/// A tensor of 4-byte words in a buffer of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub buffer: usize,
    pub offset: u64,
    /// Elements of a row and distance between rows, where rows are padded.
    pub rows: Option<(u64, u64)>,
}

impl Tensor {
    /// Place of an item in words, from the tensor's start.
    fn place(&self, item: u64, words: u64) -> u64 {
        match self.rows {
            Some((length, stride)) => item / length * stride + item % length,
            None => item * words,
        }
    }

    /// Bytes of items `range` (not empty), each of `words` words.
    pub(crate) fn bytes(&self, range: &Range<u64>, words: u64) -> Range<u64> {
        let start = self.place(range.start, words);
        let end = self.place(range.end - 1, words) + words;
        self.offset + 4 * start..self.offset + 4 * end
    }
}

/// One dispatch, ready to be given a pipeline and a bind group.
#[derive(Clone, Debug)]
pub(crate) struct Dispatch {
    pub key: KernelKey,
    pub slots: Vec<Slot>,
    pub params: Params,
    pub workgroups: u64,
}

/// Operands of a map over elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MapOperands {
    pub input: Tensor,
    pub output: Tensor,
    pub row_len: u64,
    pub affine: Option<Partition>,
    pub scale: Option<Tensor>,
    pub bias: Option<Tensor>,
}

impl MapOperands {
    /// What elements `range` of the map touch, statistics aside.
    fn accesses(&self, range: &Range<u64>) -> Vec<Access> {
        let mut all = vec![access(Operand::Input, self.input, range), access(Operand::Output, self.output, range)];
        let parameters = self.affine.map_or(0..0, |p| segments_of(&p, range));
        let of = |operand, tensor: Option<Tensor>| tensor.map(|t| access(operand, t, &parameters));
        all.extend(of(Operand::Scale, self.scale));
        all.extend(of(Operand::Bias, self.bias));
        all
    }

    /// Parameters of the map over elements from `first` on; invocations walk `step` elements at once.
    fn params(&self, first: u64, end: u64, step: u64) -> Params {
        let (affine, affine_base) = self.affine.map_or((Params::default().affine, 0), |p| index(&p, first, end, step));
        Params {
            affine,
            affine_base,
            input_rows: rows(&self.input, self.row_len, first),
            output_rows: rows(&self.output, self.row_len, first),
            ..Params::default()
        }
    }

    fn padded(&self) -> bool {
        self.input.rows.is_some() || self.output.rows.is_some()
    }
}

/// Operands of a running update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunningTensors {
    pub statistics: Tensor,
    pub mean: Tensor,
    pub variance: Tensor,
    pub counter: Option<Tensor>,
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
    accumulator: Option<Accumulator>,
    padded: bool,
    spread: Option<Spread>,
    workgroup_size: u32,
    lanes: u32,
}

impl Draft {
    fn new(entry: Entry, accumulator: Accumulator, workgroup_size: u32, lanes: u32) -> Self {
        let accumulator = entry.accumulates().then_some(accumulator);
        Self { entry, accumulator, padded: false, spread: None, workgroup_size, lanes }
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
            all.extend(saved.map(|tensor| access(Operand::Statistics, tensor, &segments)));
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

    /// Reduces a tensor to one record a segment.
    pub(crate) fn reduce(
        &mut self,
        reduction: &Reduction,
        schedule: &Reduce,
        input: Tensor,
        statistics: Tensor,
        partials: Tensor,
    ) -> Result<(), Unbindable> {
        let partition = &reduction.partition;
        let merges = schedule.merges(partition);
        if partition.elements() == 0 {
            return self.merge(reduction, statistics, statistics, 0, 1);
        }
        let entry = match schedule.walk {
            Walk::Rows => Entry::ReduceRows,
            Walk::Columns => Entry::ReduceColumns,
        };
        let accesses = |range: &Range<u64>| {
            let records = if merges {
                access(Operand::Statistics, partials, &(0..u64::from(schedule.slices) * schedule.records(partition)))
            } else {
                access(Operand::Statistics, statistics, &segments_of(partition, range))
            };
            vec![access(Operand::Input, input, range), records]
        };
        for range in self.windows(entry, 0..partition.elements(), &window::units(partition), &accesses)? {
            let window = Window::new(partition, range);
            self.reduce_window(entry, reduction, schedule, input, &window, &accesses(&window.elements))?;
        }
        if merges {
            self.merge(reduction, partials, statistics, schedule.slices, schedule.fold(partition))?;
        }
        Ok(())
    }

    fn reduce_window(
        &mut self,
        entry: Entry,
        reduction: &Reduction,
        schedule: &Reduce,
        input: Tensor,
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
            input_rows: rows(&input, reduction.row_len, window.elements.start),
            ..with_divisor(Params::default(), &reduction.divisor)
        };
        let padded = input.rows.is_some();
        let draft =
            Draft { padded, ..Draft::new(entry, reduction.accumulator, schedule.workgroup_size, schedule.lanes) };
        self.push(draft, params, accesses, groups * slices)
    }

    /// Merges `slices` times `fold` partial records of each segment; none leaves the identity.
    fn merge(
        &mut self,
        reduction: &Reduction,
        partials: Tensor,
        statistics: Tensor,
        slices: u32,
        fold: u64,
    ) -> Result<(), Unbindable> {
        let segments = reduction.partition.segments();
        let records = segments * fold;
        let size = self.profile.merge_workgroup_size();
        let lanes = (u64::from(slices) * fold).clamp(1, u64::from(size)).next_power_of_two() as u32;
        let accesses = |range: &Range<u64>| {
            let all = 0..(u64::from(slices) * records).max(1);
            let partials = if slices == 0 {
                access(Operand::Partials, statistics, range)
            } else {
                access(Operand::Partials, partials, &all)
            };
            vec![partials, access(Operand::Statistics, statistics, range)]
        };
        for range in self.windows(Entry::Merge, 0..segments, &[1], &accesses)? {
            let params = Params {
                segments: (range.end - range.start) as u32,
                slices,
                fold: fold as u32,
                record_stride: records as u32,
                ..with_divisor(Params::default(), &reduction.divisor)
            };
            let workgroups = (range.end - range.start).div_ceil(u64::from(size / lanes));
            self.push(
                Draft::new(Entry::Merge, reduction.accumulator, size, lanes),
                params,
                &accesses(&range),
                workgroups,
            )?;
        }
        Ok(())
    }

    /// Normalizes every element by the records of `partition`.
    pub(crate) fn apply(
        &mut self,
        reduction: &Reduction,
        partition: &Partition,
        map: &MapOperands,
        statistics: Tensor,
    ) -> Result<(), Unbindable> {
        let size = self.profile.map_workgroup_size;
        let accesses = |range: &Range<u64>| {
            let mut all = map.accesses(range);
            all.push(access(Operand::Statistics, statistics, &segments_of(partition, range)));
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

    /// Makes records of plain means and variances.
    pub(crate) fn import(
        &mut self,
        reduction: &Reduction,
        mean: Tensor,
        variance: Tensor,
        statistics: Tensor,
    ) -> Result<(), Unbindable> {
        let accesses = |range: &Range<u64>| {
            vec![
                access(Operand::Mean, mean, range),
                access(Operand::Variance, variance, range),
                access(Operand::Statistics, statistics, range),
            ]
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

fn access(operand: Operand, tensor: Tensor, items: &Range<u64>) -> Access {
    Access { operand, buffer: tensor.buffer, bytes: tensor.bytes(items, operand.words()) }
}

fn segments_of(partition: &Partition, range: &Range<u64>) -> Range<u64> {
    let (low, high) = partition.segments_of(range.start, range.end);
    low..high
}

/// Digits for elements from `first` on, and the segment that is item 0 of the binding, both counted from the first
/// element's outer segment.
fn index(partition: &Partition, first: u64, end: u64, step: u64) -> (Index, u32) {
    let narrow = |digits: [u64; 4]| digits.map(|digit| digit as u32);
    let [outer, b, c, d] = partition.digits(first);
    let (low, _) = partition.segments_of(first, end);
    let index =
        Index { dims: narrow(partition.dims()), first: narrow([0, b, c, d]), step: narrow(partition.digits(step)) };
    (index, (low - outer * partition.kept_inner) as u32)
}

/// A walk over blocks of `len` elements, `stride` apart, by `lanes` invocations.
fn walk(stride: u64, len: u64, lanes: u32) -> [u32; 4] {
    let lanes = u64::from(lanes);
    [stride as u32, len as u32, (lanes / len) as u32, (lanes % len) as u32]
}

fn rows(tensor: &Tensor, row_len: u64, first: u64) -> Rows {
    let (length, stride) = tensor.rows.unwrap_or((row_len, row_len));
    Rows { length: length as u32, stride: stride as u32, column: (first % length.max(1)) as u32, pad: 0 }
}

fn with_divisor(params: Params, divisor: &Divisor) -> Params {
    Params {
        eps_inside: divisor.inside,
        eps_added: divisor.added,
        eps_minimum: divisor.minimum,
        factor: divisor.factor,
        p: divisor.p,
        folded_scale: if divisor.folds_infinite_scale { f32::INFINITY.to_bits() } else { u32::MAX },
        inverse_of_zero: divisor.inverse_of_zero.to_bits(),
        ..params
    }
}
