//! Stages by kernels that have one block of parameters for all.

mod operands;
mod reduce;
mod tiles;

pub(crate) use reduce::partials_size as old_partials_size;
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
use crate::schedule::Walk;
use reduce::Reduce;
use crate::walk::team::{Lookup, Team};
use crate::walk::window::{self, Window};
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
    /// Reduces a tensor to one record a segment of gradient sums.
    pub(crate) fn reduce_gradients(
        &mut self,
        reduction: &Reduction,
        summed: &Summed,
        records: Tensor,
        partials: Tensor,
    ) -> Result<(), Unbindable> {
        let partition = &reduction.partition;
        let schedule = &Reduce::choose(partition, &self.profile);
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
        if source == Source::Values {
            return self.merge_moments(reduction, operands);
        }
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
