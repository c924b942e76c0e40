//! Reductions of tensors to records of moments, a record for each slice of each segment.

use std::ops::Range;

use super::affine::{affine_block, with_affine};
use super::around::Around;
use super::backward::is_plain;
use super::bindings::{Access, Heads, Unbindable, VectorWalk};
use super::{Draft, Lowering, MergeOperands, MergeSums, SumParts, Tensor, access};
use crate::element::Element;
use crate::kernel::blocks::{Columns, Divisor, Exact, Gradients, Lanes, Runs, Slices, Sums};
use crate::kernel::parameters::Parameters;
use crate::kernel::{Entry, Exchange, LANES_GIVEN, Settings, Source};
use crate::moments::Accumulator;
use crate::operand::Operand;
use crate::partition::Partition;
use crate::plan::Reduction;
use crate::schedule::{Reduce, Walk, fold_vectors, run_vectors};
use crate::walk::lookup::Rows;
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
        let segments = reduction.partition.segments();
        if reduction.partition.elements() == 0 {
            return self.merge(summed.source(), reduction, &MergeOperands::nothing(segments, Some(records)));
        }
        if schedule.slices == 1 {
            return self.reduce_slices(reduction, schedule, summed, records);
        }
        self.reduce_slices(reduction, schedule, summed, partials)?;
        let of = Partition::new(1, schedule.slices.into(), segments, 1);
        self.merge(summed.source(), reduction, &MergeOperands::new(of, Some(partials), Some(records)))
    }

    /// Merges records of moments, or of gradient sums, of slices or shards: a segment's are `segments` apart.
    pub(crate) fn merge(
        &mut self,
        source: Source,
        reduction: &Reduction,
        operands: &MergeOperands,
    ) -> Result<(), Unbindable> {
        match source {
            Source::Values => self.merge_moments(reduction, operands),
            Source::Gradients => {
                let slices = operands.partition.reduced_outer;
                let partials = operands.partials.unwrap_or(Tensor::NOWHERE);
                // without any the sums are 0
                let parts = Partition::new(1, slices.min(1), operands.partition.segments(), 1);
                let parts = SumParts::new(partials, parts, slices);
                let merge = MergeSums { sums: operands.records, ..MergeSums::new(parts) };
                self.merge_sums(reduction, &merge)
            }
        }
    }

    /// Leaves the records of every slice of every segment of a tensor (with an element) in `records`: those of a slice
    /// side by side.
    pub(crate) fn reduce_slices(
        &mut self,
        reduction: &Reduction,
        schedule: &Reduce,
        summed: &Summed,
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
            let mut all = summed.accesses(range);
            all.push(access(Operand::Partials, records, &left));
            all
        };
        for range in self.windows(entry, 0..partition.elements(), &window::units(partition), &accesses)? {
            let window = Window::new(partition, range);
            let accesses = accesses(&window.elements);
            // a part of a row's segment is a run, whatever the others are
            if schedule.walk == Walk::Columns && window.partition.kept_inner > 1 {
                self.reduce_columns(reduction, schedule, summed, &window, &accesses)?;
            } else {
                self.reduce_runs(reduction, schedule, summed, &window, &accesses)?;
            }
        }
        Ok(())
    }

    fn reduce_runs(
        &mut self,
        reduction: &Reduction,
        schedule: &Reduce,
        summed: &Summed,
        window: &Window,
        accesses: &[Access],
    ) -> Result<(), Unbindable> {
        let [_, count, inner, width] = window.partition.dims();
        let segments = window.partition.segments();
        let profile = self.profile;
        let by_columns = schedule.walk == Walk::Columns;
        let lanes = if by_columns { schedule.workgroup } else { schedule.lanes };
        let flight = summed.flight(schedule, reduction.accumulator);
        let vectors = run_vectors(width);
        let total = count * vectors;
        let len = total.div_ceil(schedule.slices.into());
        let step = u64::from(lanes);
        // of runs that begin or end inside a vector the first and the last two may have elements of others
        let (start, whole) = match count {
            _ if width.is_multiple_of(4) => (0, total),
            1 => (1, total.saturating_sub(3)),
            _ => (0, 0),
        };
        let block = Runs {
            segments: segments as u32,
            inner: inner as u32,
            count: count as u32,
            width: width as u32,
            vectors: vectors as u32,
            start,
            whole: whole as u32,
            step_runs: (step / vectors) as u32,
            step_vectors: (step % vectors) as u32,
            first_row: 0,
            pad: [0; 2],
        };
        // as many lanes as share barriers, or fewer than need any
        let (exchange, least, most) = match profile.subgroup {
            1 => (Exchange::Memory, 1, schedule.workgroup),
            subgroup if lanes < subgroup => (Exchange::Subgroup, 1, subgroup),
            subgroup => (Exchange::Workgroup, subgroup, schedule.workgroup),
        };
        let overrides =
            Settings::default().with("WORKGROUP", schedule.workgroup).with("LEAST", least).with("MOST", most);
        let overrides =
            if exchange == Exchange::Workgroup { overrides.with("CLUSTER", profile.subgroup) } else { overrides };
        // where weights are no vectors beside it each run is asked where it begins: all have one kernel
        let overrides = if summed.along() { overrides } else { overrides.with("HEADS", true) };
        let walk = summed.walk(
            summed.row_len(reduction),
            &window.elements,
            VectorWalk::new(width, Heads::Read, summed.along()),
        );
        let (overrides, parameters) = summed.found(
            reduction,
            window,
            schedule.walk,
            overrides,
            slices(reduction, schedule, window, len).with(block).with(Lanes::new(lanes)),
        );
        let mut draft = self.reduction(Entry::ReduceContiguous, reduction, summed, window, (flight, width), walk);
        draft.consts = draft.consts.with(LANES_GIVEN, true);
        (draft.exchange, draft.overrides) = (exchange, overrides);
        let sets = segments.div_ceil(u64::from(schedule.workgroup / lanes));
        self.dispatch(draft, parameters, accesses, sets * u64::from(schedule.slices))
    }

    fn reduce_columns(
        &mut self,
        reduction: &Reduction,
        schedule: &Reduce,
        summed: &Summed,
        window: &Window,
        accesses: &[Access],
    ) -> Result<(), Unbindable> {
        let [outer, rows, c, fold] = window.partition.dims();
        let width = c * fold;
        let least = fold_vectors(fold);
        let flight = summed.flight(schedule, reduction.accumulator);
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
            .with("FOLDS", fold > 1);
        let walk = summed.walk(
            summed.row_len(reduction),
            &window.elements,
            VectorWalk::new(width, Heads::Never, summed.along()),
        );
        let (overrides, parameters) = summed.found(
            reduction,
            window,
            schedule.walk,
            overrides,
            slices(reduction, schedule, window, len).with(block),
        );
        let draft = Draft {
            across: true,
            overrides,
            ..self.reduction(Entry::ReduceStrided, reduction, summed, window, (flight, width), walk)
        };
        self.dispatch(draft, parameters, accesses, tiles * outer * u64::from(schedule.slices))
    }

    /// What both kernels have in common.
    fn reduction(
        &self,
        entry: Entry,
        reduction: &Reduction,
        summed: &Summed,
        window: &Window,
        (flight, width): (u32, u64),
        walk: Option<VectorWalk>,
    ) -> Draft {
        let consts = Settings::default().with("FLIGHT", flight);
        let straddles = summed.is_padded() && width > summed.row_len(reduction);
        Draft {
            entry,
            accumulator: Some(reduction.accumulator),
            source: summed.source(),
            exchange: Exchange::None,
            across: false,
            consts: if straddles { consts.with("STRADDLES", true) } else { consts },
            around: summed.around().key(),
            overrides: Settings::default(),
            walk,
            column: if summed.is_padded() { window.elements.start % summed.row_len(reduction).max(1) } else { 0 },
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
        earlier: u32::from(!window.opens),
        pad: [0; 3],
    };
    Parameters::default().with(Exact::NEW).with(Divisor::from(&reduction.divisor)).with(block)
}

/// What a reduction adds up.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "one of a few on the stack")]
pub(crate) enum Summed {
    /// The values of a tensor, or of a sum of which it is a term, to moments.
    Values(Tensor, Around),
    /// Gradients, and their products with normalized values, to gradient sums.
    Gradients(GradientOperands),
}

/// Operands of gradient sums.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GradientOperands {
    /// Input and its moments (or, where the segments that are reduced have elements of several statistics segments,
    /// their coefficients), where products with normalized values are wanted; without moments they are zeros.
    pub input: Option<(Tensor, Option<Tensor>)>,
    pub grad_output: Tensor,
    /// Segments of the statistics.
    pub indexed: Partition,
    /// All elements of a segment that is reduced share their statistics.
    pub hoisted: bool,
    /// Weights, and their segments.
    pub scale: Option<(Tensor, Partition)>,
    /// What normalized values are rounded to.
    pub normalized: Element,
}

impl Summed {
    fn source(&self) -> Source {
        match self {
            Self::Values(..) => Source::Values,
            Self::Gradients(_) => Source::Gradients,
        }
    }

    fn tensors(&self) -> Vec<Tensor> {
        match self {
            Self::Values(input, around) => [*input].into_iter().chain(around.tensors()).collect(),
            Self::Gradients(operands) => {
                [operands.grad_output].into_iter().chain(operands.input.map(|(input, _)| input)).collect()
            }
        }
    }

    /// What stands around the norm.
    fn around(&self) -> Around {
        match self {
            Self::Values(_, around) => *around,
            Self::Gradients(operands) => Around { normalized: operands.normalized, ..Around::default() },
        }
    }

    /// Elements of a row, padded ones if there are such: all have one length.
    fn row_len(&self, reduction: &Reduction) -> u64 {
        self.tensors().iter().find_map(|tensor| tensor.rows).map_or(reduction.row_len, |(len, _)| len)
    }

    fn is_padded(&self) -> bool {
        self.tensors().iter().any(|tensor| tensor.rows.is_some())
    }

    /// As all tensors can be walked.
    fn walk(&self, row_len: u64, range: &Range<u64>, walk: VectorWalk) -> Option<VectorWalk> {
        self.tensors().iter().try_fold(walk, |walk, tensor| tensor.walk(row_len, range, walk))
    }

    /// Weights may be read as the tensors are, by vectors.
    fn along(&self) -> bool {
        matches!(self, Self::Gradients(GradientOperands { scale: Some(_), .. }))
    }

    /// Two tensors are loaded at once: half as many vectors of each.
    fn flight(&self, schedule: &Reduce, accumulator: Accumulator) -> u32 {
        match self {
            Self::Values(..) => schedule.flight_of(accumulator),
            Self::Gradients(_) => schedule.flight.div_ceil(2),
        }
    }

    fn accesses(&self, range: &Range<u64>) -> Vec<Access> {
        let segments = |partition: &Partition| {
            let (low, high) = partition.segments_of(range.start, range.end);
            low..high
        };
        match self {
            Self::Values(input, around) => {
                let mut all = around.accesses(range);
                all.push(access(Operand::Input, *input, range));
                all
            }
            Self::Gradients(operands) => {
                let mut all = vec![access(Operand::GradOutput, operands.grad_output, range)];
                if let Some((input, statistics)) = operands.input {
                    all.push(access(Operand::Input, input, range));
                    let Range { start, end } = segments(&operands.indexed);
                    all.extend(statistics.map(|statistics| match operands.hoisted {
                        true => access(Operand::Moments, statistics, &(start..end)),
                        false => access(Operand::Coefficients, statistics, &(2 * start..2 * end)),
                    }));
                }
                all.extend(operands.scale.map(|(scale, affine)| access(Operand::Scale, scale, &segments(&affine))));
                all
            }
        }
    }

    /// How gradients find their statistics and weights, along the rows of a window.
    fn found(
        &self,
        reduction: &Reduction,
        window: &Window,
        walk: Walk,
        overrides: Settings,
        parameters: Parameters,
    ) -> (Settings, Parameters) {
        let [_, _, c, d] = reduction.partition.dims();
        let width = if walk == Walk::Columns { c * d } else { d };
        let operands = match self {
            Self::Values(_, around) => {
                let overrides = around.settings(overrides, width);
                return (overrides, around.parameters(parameters, &window.elements));
            }
            Self::Gradients(operands) => operands,
        };
        let whole = Partition::new(1, 1, 1, reduction.partition.elements());
        // without moments to look up every segment is the first
        let indexed = if operands.input.is_some() { operands.indexed } else { whole };
        let rows = |partition: &Partition| Rows::new(partition, width).or_else(|| Rows::new(&whole, width));
        let weights = operands.scale.map_or(whole, |(_, affine)| affine);
        let (Some(statistics), Some(weights)) = (rows(&indexed), rows(&weights)) else {
            return (overrides, parameters);
        };
        let (found, placed) = (statistics.found, statistics.placed(&window.elements, false));
        let affine = weights.placed(&window.elements, false);
        let overrides = with_affine(overrides, weights.found, &affine)
            .with("STATISTICS", found as u32)
            .with("BY_ELEMENT", !operands.hoisted)
            .with("WEIGHED", operands.scale.is_some())
            .with("PRODUCTS", operands.hoisted && reduction.divisor.infinities.takes_products())
            .with("PLAIN", is_plain(&reduction.divisor, reduction.accumulator));
        let block = Gradients {
            statistics: placed.lookup,
            first_row: placed.first_row,
            first_column: placed.first_column,
            ..Default::default()
        };
        (overrides, parameters.with(affine_block(Some(&affine))).with(Sums::default()).with(block))
    }
}
