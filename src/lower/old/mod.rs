//! Stages by kernels that have one block of parameters for all.

mod operands;
mod tiles;

pub(crate) use operands::{GradientOperands, MapOperands, MergeOperands, RunningTensors, Summed};
pub(crate) use super::Tensor;

use std::ops::Range;

use super::bindings::{self, Access, QuadWalk, Unbindable};
use super::{Dispatch, Lowering, access};
use crate::element::Element;
use crate::kernel::parameters::{Parameters, Params};
use crate::kernel::{Entry, Exchange, Kernel, Settings, Source, old};
use crate::moments::{Accumulator, Spread};
use crate::operand::Operand;
use crate::partition::Partition;
use crate::plan::Reduction;
use crate::schedule::{Reduce, Walk};
use crate::walk::rows::{Geometry, Items};
use crate::walk::team::{Lookup, Team};
use crate::walk::window::{self, Window};
use crate::walk::workers::{ROWS_ALIKE, Walkers, fewest_walkers, lcm};
use crate::walk::row_quads;
use operands::{index, segments_of, with_divisor};
use tiles::Tiles;

/// A kernel before its bindings are known.
struct Draft {
    entry: Entry,
    source: Source,
    accumulator: Option<Accumulator>,
    padded: bool,
    spread: Option<Spread>,
    team: Team,
    lookup: Lookup,
    sums_columns: bool,
    filled: bool,
    resumes: bool,
    strided: bool,
    across: bool,
    walk: Option<QuadWalk>,
}

impl Draft {
    fn new(entry: Entry, accumulator: Accumulator, team: Team) -> Self {
        Self::of(entry.sources()[0], entry, accumulator, team)
    }

    fn of(source: Source, entry: Entry, accumulator: Accumulator, team: Team) -> Self {
        let accumulator = entry.accumulates(source).then_some(accumulator);
        let lookup = Lookup::default();
        Self {
            entry,
            source,
            accumulator,
            padded: false,
            spread: None,
            team,
            lookup,
            sums_columns: false,
            filled: false,
            resumes: false,
            strided: false,
            across: entry == Entry::ReduceColumns,
            walk: None,
        }
    }
}

impl Lowering {
    /// Normalizes whole segments by teams that hold one; saves their statistics where asked.
    pub(crate) fn fused(
        &mut self,
        entry: Entry,
        reduction: &Reduction,
        team: Team,
        map: &MapOperands,
        saved: Option<Tensor>,
    ) -> Result<(), Unbindable> {
        // of a norm whose schedule accepts it
        let Some(items) = Items::new(&reduction.partition, map.affine.as_ref()) else { return Ok(()) };
        let unit = items.block();
        let segments = |range: &Range<u64>| segments_of(&reduction.partition, range);
        let accesses = |range: &Range<u64>| {
            let mut all = map.accesses(range);
            all.extend(saved.map(|tensor| access(Operand::Records, tensor, &segments(range))));
            all
        };
        for range in self.windows(entry, 0..reduction.partition.elements(), &[ROWS_ALIKE * unit, unit], &accesses)? {
            let count = (range.end - range.start) / items.len();
            let to_fill = u64::from(self.profile.workgroups) * team.groups();
            let wanted = count.min(to_fill).max(fewest_walkers(count, team.held_turns()));
            let walkers = Walkers::new(wanted, count, lcm(team.groups(), items.period), items.alike());
            let step = walkers.spacing * items.len();
            let params = Params {
                segments: count as u32,
                slice_len: walkers.turns as u32,
                spacing: walkers.spacing as u32,
                width: items.width as u32,
                rows: items.rows as u32,
                parts: items.parts as u32,
                turns: team.turns,
                blocks: walkers.count as u32,
                ..with_divisor(map.params(&range, step), &reduction.divisor)
            };
            let held = u64::from(team.lanes) * team.held();
            let leads = !items.strided && row_quads(items.width) <= held;
            let draft = Draft {
                padded: map.padded(),
                lookup: items.lookup,
                filled: items.len() == 4 * held,
                strided: items.strided,
                across: items.across,
                walk: map.walk(
                    &range,
                    QuadWalk { unit: items.parts * items.width, leads, along: items.lookup.holds_along() },
                ),
                ..Draft::new(entry, reduction.accumulator, team)
            };
            self.push(draft, params, &accesses(&range), walkers.count.div_ceil(team.groups()))?;
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
        let team = schedule.team;
        let slices = u64::from(schedule.slices);
        let fold = schedule.fold(whole);
        let rows = schedule.walk == Walk::Rows;
        // finer records than segments: a window within one segment's run starts at a column of it
        let (groups, units, opens, inner_record) = if rows {
            (window.partition.segments().div_ceil(team.groups()), Parts::of(blocks, inner, slices), window.opens, 0)
        } else {
            let quads = (columns * inner).div_ceil(4);
            let opens = whole.digits(window.elements.start)[1] == 0;
            let units = Parts { count: 1, width: columns * inner, slice: schedule.slice_rows(blocks.div_ceil(slices)) };
            (quads.div_ceil(team.groups() * u64::from(team.turns)) * outer, units, opens, window.inner)
        };
        let merges = schedule.merges(whole);
        let params = Params {
            segments: window.partition.segments() as u32,
            slices: schedule.slices,
            slice_len: units.slice as u32,
            width: units.width as u32,
            parts: units.count as u32,
            turns: team.turns,
            record_first: if merges { (window.first_segment * fold + inner_record) as u32 } else { 0 },
            record_stride: schedule.records(whole) as u32,
            window: [outer as u32, blocks as u32, columns as u32, inner as u32],
            ..with_divisor(summed.params(reduction.row_len, &window.elements), &reduction.divisor)
        };
        let unit = if rows { inner } else { columns * inner };
        let lookup = summed.lookup(whole, rows, window.opens && window.inner == 0);
        let draft = Draft {
            padded: summed.padded(),
            lookup,
            resumes: !opens,
            filled: if rows {
                units.width * units.count == inner
                    && units.width.is_multiple_of(4 * u64::from(team.run_lanes * team.quads))
            } else {
                units.slice * slices == blocks
            },
            walk: summed.walk(
                reduction.row_len,
                &window.elements,
                QuadWalk { unit, leads: rows, along: lookup.affine_along },
            ),
            ..Draft::of(summed.source(), entry, reduction.accumulator, team)
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
        let team = self.profile.merge_team(partition.segment_len());
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
            let weights = operands.scale.map(|(_, affine)| index(&affine, &records, 1));
            let (affine, affine_base) = weights.unwrap_or((Params::default().affine, 0));
            let params = Params {
                segments: (range.end - range.start) as u32,
                record_first: if runs { 0 } else { range.start as u32 },
                window: partition.dims().map(|size| size as u32),
                weighted: u32::from(operands.scale.is_some()),
                affine,
                affine_base,
                gradient_factor: operands.factor,
                ..with_divisor(Params::default(), &reduction.divisor)
            };
            let workgroups = (range.end - range.start).div_ceil(team.groups());
            let draft = Draft::of(source, Entry::Merge, reduction.accumulator, team);
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
        let accesses = |range: &Range<u64>| {
            let mut all = map.accesses(range);
            all.extend(statistics.map(|tensor| access(Operand::Moments, tensor, &segments_of(partition, range))));
            all
        };
        let elements = partition.elements();
        if elements == 0 {
            return Ok(());
        }
        let affine = map.affine.as_ref().filter(|_| map.scale.is_some() || map.bias.is_some());
        let geometry = Geometry::new(statistics.map(|_| partition), affine, elements);
        for range in self.windows(Entry::Apply, 0..elements, &geometry.units(), &accesses)? {
            let rows = geometry.within(&range);
            let team = self.profile.map_team(rows.width, self.profile.quads, rows.holds());
            let tiles = Tiles::new(&self.profile, &rows, &range, &team, None);
            let (records, statistics_base) = index(partition, &range, tiles.step());
            let params = Params {
                statistics: records,
                statistics_base,
                ..tiles.params(with_divisor(map.params(&range, tiles.step()), &reduction.divisor))
            };
            let draft = Draft {
                padded: map.padded(),
                lookup: rows.lookup,
                filled: tiles.are_filled(&team),
                walk: map.walk(
                    &range,
                    QuadWalk { unit: rows.width, leads: true, along: rows.lookup.holds_along() },
                ),
                ..Draft::new(Entry::Apply, reduction.accumulator, team)
            };
            self.push(draft, params, &accesses(&range), tiles.workgroups(&team))?;
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
            let mut all = vec![access(Operand::Moments, statistics, range)];
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
        let team = Team::alone(self.profile.workgroup_size);
        for range in self.windows(entry, 0..reduction.partition.segments(), &[1], accesses)? {
            let segments = range.end - range.start;
            let params = Params { segments: segments as u32, ..params };
            let draft = Draft { spread, ..Draft::new(entry, reduction.accumulator, team) };
            self.push(draft, params, &accesses(&range), segments.div_ceil(team.groups()))?;
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
                access(Operand::Moments, tensors.statistics, &records),
                access(Operand::Mean, tensors.mean, range),
                access(Operand::Variance, tensors.variance, range),
            ];
            all.extend(tensors.counter.map(|tensor| access(Operand::Batches, tensor, &(0..1))));
            all
        };
        let units: &[u64] = if samples == 1 { &[1] } else { &[] };
        let team = self.profile.merge_team(samples);
        for range in self.windows(Entry::Running, 0..channels, units, &accesses)? {
            let segments = range.end - range.start;
            let params = Params { segments: segments as u32, samples: samples as u32, ..params };
            let draft = Draft::new(Entry::Running, Accumulator::Centred, team);
            self.push(draft, params, &accesses(&range), segments.div_ceil(team.groups()))?;
        }
        Ok(())
    }

    /// Counts a batch.
    pub(crate) fn count(&mut self, counter: Tensor) -> Result<(), Unbindable> {
        let draft = Draft::new(Entry::Count, Accumulator::Centred, Team::alone(1));
        self.push(draft, Params::default(), &[access(Operand::Batches, counter, &(0..1))], 1)
    }

    fn push(&mut self, draft: Draft, params: Params, accesses: &[Access], workgroups: u64) -> Result<(), Unbindable> {
        let bound = bindings::bind(draft.entry, accesses, &self.limits, draft.walk, &self.sizes)?;
        let Team { workgroup_size, lanes, run_lanes, cluster, quads, turns } = draft.team;
        let Lookup { statistics, statistics_along, affine, affine_along, hoisted } = draft.lookup;
        let partials = accesses.iter().any(|access| access.operand == Operand::Partials);
        let overrides = Settings::default()
            .with("WORKGROUP_SIZE", workgroup_size)
            .with("LANES", lanes)
            .with("RUN_LANES", run_lanes)
            .with("CLUSTER", cluster)
            .with("STATISTICS", statistics as u32)
            .with("STATISTICS_ALONG", statistics_along)
            .with("AFFINE", affine as u32)
            .with("AFFINE_ALONG", affine_along)
            .with("HOISTED", hoisted)
            .with("LEADS", bound.leads)
            .with("FILLED", draft.filled && !bound.leads)
            .with("RESUMES", draft.resumes)
            .with("STRIDED", draft.strided)
            .with("SUMS_COLUMNS", draft.sums_columns)
            // sums of columns are the gradients themselves: there are no records of walkers
            .with("ONE_WALKER", draft.sums_columns && !partials)
            .with("SPREAD", draft.spread.unwrap_or(Spread::Variance) as u32);
        let exchanges = draft.entry.exchanges();
        let key = Kernel {
            entry: draft.entry,
            accumulator: draft.accumulator,
            source: draft.source,
            exchange: match (exchanges, cluster) {
                (false, _) => Exchange::None,
                (true, 1) => Exchange::Memory,
                (true, _) => Exchange::Subgroup,
            },
            layout: bound.layout,
            element: Element::F32,
            padded: draft.padded,
            across: draft.across,
            consts: Settings::default().with("QUADS", quads).with("TURNS", turns),
            overrides,
        };
        let params = Params { offsets: bound.offsets, phase: bound.phase, ..params };
        let parameters = Parameters::default().with(params);
        self.dispatches.push(Dispatch { key: old::declared(&key), slots: bound.slots, parameters, workgroups });
        Ok(())
    }
}

/// Runs of a segment cut into parts, so that slices of several parts are even.
struct Parts {
    /// Parts of a run.
    count: u64,
    /// Elements of a part but the last.
    width: u64,
    /// Parts of a slice.
    slice: u64,
}

impl Parts {
    fn of(runs: u64, run: u64, slices: u64) -> Self {
        let wanted = slices.div_ceil(runs.max(1)).max(1);
        // whole quads
        let width = if wanted == 1 { run } else { run.div_ceil(wanted).next_multiple_of(4) };
        let count = run.div_ceil(width);
        Self { count, width, slice: (runs * count).div_ceil(slices) }
    }
}
