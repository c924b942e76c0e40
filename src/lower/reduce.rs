//! Reductions of tensors to records of moments, a record for each slice of each segment.

use std::ops::Range;

use super::bindings::{Access, QuadWalk, Unbindable};
use super::{Draft, Lowering, MergeOperands, Summed, Tensor, access};
use crate::kernel::blocks::{Columns, Divisor, Exact, Runs, Slices};
use crate::kernel::parameters::Parameters;
use crate::kernel::{Entry, Exchange, Settings, Source};
use crate::moments::Accumulator;
use crate::operand::Operand;
use crate::partition::Partition;
use crate::plan::Reduction;
use crate::schedule::{Reduce, Walk, fold_vectors, run_vectors};
use crate::walk::window::{self, Window};

impl Lowering {
    /// Reduces a tensor to one record a segment.
    pub(crate) fn reduce(
        &mut self,
        reduction: &Reduction,
        schedule: &Reduce,
        summed: &Summed,
        records: Tensor,
        partials: Tensor,
    ) -> Result<(), Unbindable> {
        let Summed::Values(input) = *summed else { return self.reduce_gradients(reduction, summed, records, partials) };
        let segments = reduction.partition.segments();
        if reduction.partition.elements() == 0 {
            return self.merge_moments(reduction, &MergeOperands::nothing(segments, Some(records)));
        }
        if schedule.slices == 1 {
            return self.reduce_slices(reduction, schedule, input, records);
        }
        self.reduce_slices(reduction, schedule, input, partials)?;
        let of = Partition::new(1, schedule.slices.into(), segments, 1);
        self.merge_moments(reduction, &MergeOperands::new(of, Some(partials), Some(records)))
    }

    /// Leaves the moments of every slice of every segment of a tensor (with an element) in `records`: those of a slice side by side.
    pub(crate) fn reduce_slices(
        &mut self,
        reduction: &Reduction,
        schedule: &Reduce,
        input: Tensor,
        records: Tensor,
    ) -> Result<(), Unbindable> {
        let partition = &reduction.partition;
        let entry = match schedule.walk {
            Walk::Rows => Entry::ReduceContiguous,
            Walk::Columns => Entry::ReduceStrided,
        };
        let all = u64::from(schedule.slices) * partition.segments();
        let accesses = |range: &Range<u64>| {
            let (low, high) = partition.segments_of(range.start, range.end);
            let left = if schedule.slices > 1 { 0..all } else { low..high };
            vec![access(Operand::Input, input, range), access(Operand::Partials, records, &left)]
        };
        for range in self.windows(entry, 0..partition.elements(), &window::units(partition), &accesses)? {
            let window = Window::new(partition, range);
            let accesses = accesses(&window.elements);
            // a part of a row's segment is a run, whatever the others are
            if schedule.walk == Walk::Columns && window.partition.kept_inner > 1 {
                self.reduce_columns(reduction, schedule, input, &window, &accesses)?;
            } else {
                self.reduce_runs(reduction, schedule, input, &window, &accesses)?;
            }
        }
        Ok(())
    }

    fn reduce_runs(
        &mut self,
        reduction: &Reduction,
        schedule: &Reduce,
        input: Tensor,
        window: &Window,
        accesses: &[Access],
    ) -> Result<(), Unbindable> {
        let [_, count, inner, width] = window.partition.dims();
        let segments = window.partition.segments();
        let profile = self.profile;
        let by_columns = schedule.walk == Walk::Columns;
        let lanes = if by_columns { schedule.workgroup } else { schedule.lanes };
        let flight = schedule.flight_of(reduction.accumulator);
        let vectors = run_vectors(width);
        let total = count * vectors;
        let len = total.div_ceil(schedule.slices.into());
        let step = u64::from(lanes);
        let edges = !width.is_multiple_of(4);
        let full = !edges
            && len.is_multiple_of(u64::from(flight * lanes))
            && total == len * u64::from(schedule.slices);
        let block = Runs {
            segments: segments as u32,
            inner: inner as u32,
            count: count as u32,
            width: width as u32,
            vectors: vectors as u32,
            step_runs: (step / vectors) as u32,
            step_vectors: (step % vectors) as u32,
            first_row: 0,
        };
        let exchange = profile.exchange(lanes);
        let overrides = Settings::default()
            .with("WORKGROUP", schedule.workgroup)
            .with("LANES", lanes)
            .with("FULL", full)
            .with("EDGES", edges)
            .with("RUNS", count > 1)
            .with("RESUMES", !window.opens);
        let overrides =
            if exchange == Exchange::Workgroup { overrides.with("CLUSTER", profile.subgroup) } else { overrides };
        let walk = input.walk(reduction.row_len, &window.elements, QuadWalk { unit: width, leads: true, along: false });
        let draft = Draft {
            exchange,
            overrides,
            ..self.reduction(Entry::ReduceContiguous, reduction, input, window, (flight, width), walk)
        };
        let parameters = slices(reduction, schedule, window, len).with(block);
        let sets = segments.div_ceil(u64::from(schedule.workgroup / lanes));
        self.dispatch(draft, parameters, accesses, sets * u64::from(schedule.slices))
    }

    fn reduce_columns(
        &mut self,
        reduction: &Reduction,
        schedule: &Reduce,
        input: Tensor,
        window: &Window,
        accesses: &[Access],
    ) -> Result<(), Unbindable> {
        let [outer, rows, c, fold] = window.partition.dims();
        let width = c * fold;
        let least = fold_vectors(fold);
        let flight = schedule.flight_of(reduction.accumulator);
        let tile = u64::from(schedule.lanes) / least * least;
        let tiles = width.div_ceil(4).div_ceil(tile);
        let len = rows.div_ceil(schedule.slices.into());
        let block = Columns {
            outer: outer as u32,
            rows: rows as u32,
            width: width as u32,
            tile: tile as u32,
            tiles: tiles as u32,
            fold: fold as u32,
            first_row: 0,
            first_column: 0,
        };
        let overrides = Settings::default()
            .with("WORKGROUP", schedule.workgroup)
            .with("LANES", schedule.lanes)
            .with("LINES", schedule.workgroup / schedule.lanes)
            .with("FOLDS", fold > 1)
            .with("RESUMES", !window.opens);
        let walk = input.walk(reduction.row_len, &window.elements, QuadWalk { unit: width, leads: false, along: false });
        let draft = Draft {
            across: true,
            overrides,
            ..self.reduction(Entry::ReduceStrided, reduction, input, window, (flight, width), walk)
        };
        let parameters = slices(reduction, schedule, window, len).with(block);
        self.dispatch(draft, parameters, accesses, tiles * outer * u64::from(schedule.slices))
    }

    /// What both kernels have in common.
    fn reduction(
        &self,
        entry: Entry,
        reduction: &Reduction,
        input: Tensor,
        window: &Window,
        (flight, width): (u32, u64),
        walk: Option<QuadWalk>,
    ) -> Draft {
        let consts = Settings::default().with("FLIGHT", flight);
        let straddles = input.rows.is_some() && width > reduction.row_len;
        Draft {
            entry,
            accumulator: Some(reduction.accumulator),
            source: Source::Values,
            exchange: Exchange::None,
            across: false,
            consts: if straddles { consts.with("STRADDLES", true) } else { consts },
            overrides: Settings::default(),
            walk,
            column: input.column(reduction.row_len, window.elements.start),
        }
    }
}

/// Slices of `len` rows or vectors, and where their records go.
fn slices(reduction: &Reduction, schedule: &Reduce, window: &Window, len: u64) -> Parameters {
    let block = Slices {
        count: schedule.slices,
        len: len as u32,
        record_first: if schedule.slices > 1 { window.first_segment as u32 } else { 0 },
        record_stride: reduction.partition.segments() as u32,
    };
    let parameters = Parameters::default().with(Exact::NEW).with(block);
    let powers = reduction.accumulator == Accumulator::Power;
    if powers { parameters.with(Divisor::from(&reduction.divisor)) } else { parameters }
}
