//! Stages of a backward pass.

use std::ops::Range;

use super::affine::{affine_block, with_affine};
use super::around::Around;
use super::bindings::{Heads, Unbindable, VectorWalk};
use super::operands::segments_of;
use super::parts::{AffineGradients, AffineMerge, MergeSums};
use super::{Draft, Lowering, Tensor, access};
use crate::facts::DeviceKind;
use crate::kernel::parameters::Parameters;
use crate::kernel::{self, blocks};
use crate::kernel::{Entry, Exchange, IN_PAIRS, SPREAD, Settings, Source};
use crate::lower::bindings::Access;
use crate::moments::{Accumulator, Divisor};
use crate::operand::Operand;
use crate::partition::Partition;
use crate::plan::Reduction;
use crate::schedule::{Held, MapWalk};
use crate::walk::lookup::{Found, Rows};
use crate::walk::window::{self, Window};

/// Operands of the gradient to the input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackwardMap {
    pub input: Tensor,
    pub grad_output: Tensor,
    /// Absent: only sums are wanted.
    pub grad_input: Option<Tensor>,
    pub row_len: u64,
    /// Moments, and the segments that they are indexed by.
    pub statistics: (Tensor, Partition),
    /// Scale, and its segments.
    pub scale: Option<(Tensor, Partition)>,
    /// The scale is a factor of the gradient, not a weight in the sums.
    pub scale_last: bool,
    pub around: Around,
}

impl BackwardMap {
    /// Whether no row of `width` elements lies in two padded rows.
    pub(crate) fn has_whole_rows(&self, width: u64) -> bool {
        self.all().iter().all(|tensor| tensor.rows.is_none()) || width > 0 && self.row_len().is_multiple_of(width)
    }

    /// Elements of a row, padded ones if there are such: all have one length.
    pub(crate) fn row_len(&self) -> u64 {
        self.all().iter().find_map(|tensor| tensor.rows).map_or(self.row_len, |(len, _)| len)
    }

    /// What is walked element by element.
    fn all(&self) -> Vec<Tensor> {
        let own = [Some(self.input), Some(self.grad_output), self.grad_input];
        own.into_iter().flatten().chain(self.around.tensors()).collect()
    }

    /// What is written, the gradient to the input last.
    pub(super) fn written(&self) -> Vec<(Operand, Tensor)> {
        let mut all = self.around.written();
        all.extend(self.grad_input.map(|tensor| (Operand::GradInput, tensor)));
        all
    }

    /// With a second walk over tiny sums of columns, on a processor: not where the gradient to the input takes the
    /// place of that to the output.
    fn with_second_walk(&self, overrides: Settings, kind: DeviceKind) -> Settings {
        let in_place = self.grad_input.is_some_and(|to| to.buffer == self.grad_output.buffer);
        if in_place || kind == DeviceKind::Gpu { overrides } else { overrides.with("AGAIN", true) }
    }

    /// Whether gradients of elements are wanted, and not sums alone.
    pub(crate) fn maps(&self) -> bool {
        !self.written().is_empty()
    }

    /// Elements that one store owns, of what is written in the smallest.
    fn grain(&self) -> u64 {
        self.written().iter().map(|(_, tensor)| tensor.element.grain()).max().unwrap_or(1)
    }

    /// Whether kernels that hold rows of `width` elements can take them.
    pub(crate) fn takes_rows(&self, width: u64) -> bool {
        self.has_whole_rows(width) && self.writes_words(width)
    }

    /// Whether rows of `width` elements of the gradient begin and end at words.
    pub(crate) fn writes_words(&self, width: u64) -> bool {
        self.written().iter().all(|(_, tensor)| tensor.has_whole_words(width))
    }

    /// Whether so many rows side by side, of an odd number of halves, can be written two by two (`lib/pairs.wgsl`): see
    /// [`super::MapOperands::has_pairs`].
    pub(crate) fn has_pairs(&self, rows: u64, width: u64) -> bool {
        let alone = self.around.is_none() && self.has_whole_rows(0);
        alone && rows.is_multiple_of(2) && self.writes_words(2 * width)
    }

    pub(super) fn tensors(&self, range: &Range<u64>) -> Vec<Access> {
        let mut all =
            vec![access(Operand::Input, self.input, range), access(Operand::GradOutput, self.grad_output, range)];
        all.extend(self.grad_input.map(|tensor| access(Operand::GradInput, tensor, range)));
        all.extend(self.around.accesses(range));
        all
    }

    pub(super) fn scale(&self, range: &Range<u64>) -> Option<Access> {
        let (tensor, affine) = self.scale?;
        Some(access(Operand::Scale, tensor, &segments_of(&affine, range)))
    }

    fn moments(&self, range: &Range<u64>) -> Access {
        let (tensor, indexed) = self.statistics;
        access(Operand::Moments, tensor, &segments_of(&indexed, range))
    }

    /// By vectors where rows of `width` elements from `first` on are made of such.
    fn walk(&self, width: u64, first: u64, along: bool, gradients: bool) -> Option<VectorWalk> {
        let whole = self
            .all()
            .into_iter()
            .filter_map(|t| t.rows)
            .all(|(length, stride)| length.is_multiple_of(4) && stride.is_multiple_of(4));
        let starts = first % self.row_len().max(1);
        let unit = if whole && starts.is_multiple_of(4) { width } else { 1 };
        Some(VectorWalk { unit, heads: Heads::Never, along, gradients })
    }

    fn column(&self, first: u64) -> u64 {
        first % self.row_len().max(1)
    }
}

/// How parameters of rows are found; without parameters they are the same everywhere.
fn affine_rows(map: &BackwardMap, partition: Option<&Partition>, width: u64, elements: u64) -> Option<Rows> {
    match partition.or(map.scale.as_ref().map(|(_, affine)| affine)) {
        Some(affine) => Rows::new(affine, width),
        None => Rows::new(&Partition::new(1, 1, 1, elements), width),
    }
}

/// A divisor that is the root of variance + eps takes a short way.
pub(super) fn is_plain(divisor: &Divisor, accumulator: Accumulator) -> bool {
    divisor.is_bare_root(accumulator) && divisor.inside >= 0.0
}

pub(super) fn parameters(divisor: &Divisor) -> Parameters {
    let products = u32::from(divisor.infinities.takes_products());
    Parameters::default()
        .with(blocks::Exact::NEW)
        .with(blocks::Divisor::from(divisor))
        .with(blocks::Sums { products, ..blocks::Sums::default() })
}

pub(super) fn draft(
    entry: Entry,
    accumulator: Accumulator,
    exchange: Exchange,
    consts: Settings,
    overrides: Settings,
) -> Draft {
    let accumulator = entry.accumulates().then_some(accumulator);
    let source = Source::Gradients;
    let around = kernel::Around::default();
    Draft { entry, accumulator, source, exchange, across: false, consts, around, overrides, walk: None, column: 0 }
}

/// Sizes of the arrays of a kernel, and how its rows lie over the lanes: those that are not made of vectors element by
/// element.
fn consts(vectors: u32, rows: (&'static str, u32), width: u64) -> Settings {
    let consts = Settings::default().with("VECTORS", vectors).with(rows.0, rows.1);
    if width.is_multiple_of(4) { consts } else { consts.with(SPREAD, true) }
}

/// The lanes that share a row that is spread over them.
fn with_step(overrides: Settings, width: u64, lanes: u32) -> Settings {
    if width.is_multiple_of(4) { overrides } else { overrides.with("STEP", lanes) }
}

impl Held {
    /// How lanes exchange, and the settings of a kernel for rows, or runs, of `width` elements: maybe in pairs, maybe
    /// as many as there is room for.
    fn kernel(
        &self,
        reduction: &Reduction,
        rows: &'static str,
        width: u64,
        in_pairs: bool,
        full: bool,
    ) -> (Exchange, Settings, Settings) {
        let exchange = self.exchange(in_pairs);
        let consts = consts(self.vectors, (rows, self.rows), width);
        let overrides = self.overrides(exchange, reduction, width, full);
        match in_pairs {
            true => (exchange, consts.with(IN_PAIRS, true), overrides.with("BESIDE", self.beside())),
            false => (exchange, consts, overrides),
        }
    }

    fn overrides(&self, exchange: Exchange, reduction: &Reduction, width: u64, full: bool) -> Settings {
        let plain = is_plain(&reduction.divisor, reduction.accumulator);
        let overrides = Settings::default()
            .with("WORKGROUP", self.workgroup)
            .with("LANES", self.lanes)
            .with("FULL", full && width == u64::from(4 * self.run_lanes * self.vectors))
            .with("PLAIN", plain);
        let overrides =
            if exchange == Exchange::Workgroup { overrides.with("CLUSTER", self.cluster) } else { overrides };
        with_step(overrides, width, self.run_lanes)
    }
}

impl Lowering {
    /// Gradients of rows whose parameters belong to columns, by workers that leave sums of columns.
    pub(crate) fn row_backward(
        &mut self,
        reduction: &Reduction,
        rows: &Partition,
        (held, workers): (Held, u32),
        map: &BackwardMap,
        affine: Option<&AffineGradients<'_>>,
    ) -> Result<(), Unbindable> {
        let entry = Entry::RowBackward;
        let len = reduction.partition.segment_len();
        let parts = rows.kept_inner / len;
        let stride = len.next_multiple_of(4);
        let whole = workers == 1 && affine.is_some_and(|affine| affine.affine.reduced_inner == 1);
        let elements = rows.elements();
        let Some(found) = affine_rows(map, affine.map(|affine| affine.affine), len, elements) else { return Ok(()) };
        let accesses = |range: &Range<u64>| {
            let mut all = map.tensors(range);
            all.push(map.moments(range));
            all.extend(map.scale(range));
            if let Some(affine) = affine {
                let blocks = (range.end - range.start).div_ceil(rows.reduced_outer * rows.kept_inner) * parts;
                let sums = 0..blocks * u64::from(workers) * 2 * stride;
                match whole {
                    true => all.extend(affine.accesses(&segments_of(affine.affine, range))),
                    false => all.push(access(Operand::ColumnSums, affine.partials, &sums)),
                }
            }
            all
        };
        let in_pairs = !map.writes_words(len);
        let [block, row, ..] = window::units(rows);
        let units = [block, if in_pairs { 2 * row } else { row }];
        for range in self.windows(entry, 0..elements, &units, &accesses)? {
            let window = Window::new(rows, range.clone());
            let [outer, count, ..] = window.partition.dims();
            let placed = found.placed(&range, false);
            let blocks = outer * parts;
            let factor = affine.map_or([1.0; 2], |affine| affine.factor);
            let parameters = parameters(&reduction.divisor)
                .with(affine_block(Some(&placed)))
                .with(blocks::ColumnSums {
                    first: 0,
                    stride: stride as u32,
                    factor_scale: factor[1],
                    factor_bias: factor[0],
                })
                .with(blocks::RowBackward {
                    rows: count as u32,
                    parts: parts as u32,
                    workers,
                    width: len as u32,
                    inverse_len: 1.0 / len as f32,
                    ..Default::default()
                });
            let (exchange, consts, overrides) = held.kernel(reduction, "ROWS", len, in_pairs, true);
            let overrides = overrides
                .with("TURNS", held.turns())
                .with("AHEAD", held.ahead)
                .with("MAPS", map.maps())
                .with("SUMS", affine.is_some())
                .with("WHOLE_COLUMNS", whole)
                .with("RESUMES", whole && !window.opens);
            let overrides = map.with_second_walk(overrides, self.facts.kind);
            let overrides = map.around.settings(with_affine(overrides, found.found, &placed), len);
            let parameters = map.around.parameters(parameters, &range);
            let draft = Draft {
                around: map.around.key(),
                walk: map.walk(len, range.start, found.found == Found::Columns, whole),
                column: map.column(range.start),
                ..draft(entry, reduction.accumulator, exchange, consts, overrides)
            };
            self.dispatch(draft, parameters, &accesses(&range), blocks * u64::from(workers))?;
            if let Some(affine) = affine.filter(|_| !whole) {
                self.merge_columns(affine, &range, (blocks, workers, len), !window.opens)?;
            }
        }
        Ok(())
    }

    /// Adds up the sums of columns that workers have left of a window.
    fn merge_columns(
        &mut self,
        affine: &AffineGradients<'_>,
        range: &Range<u64>,
        (blocks, workers, len): (u64, u32, u64),
        resumes: bool,
    ) -> Result<(), Unbindable> {
        let entry = Entry::MergeColumns;
        let stride = len.next_multiple_of(4);
        let all = segments_of(affine.affine, range);
        let parameters = (all.end - all.start) / blocks;
        // columns j and j + 1 of one parameter, and parameters that come again
        let run = affine.affine.reduced_inner.min(len);
        let repeats = (len / run).div_ceil(parameters);
        let folds = run * repeats > 1;
        let units = if folds { parameters } else { stride / 4 };
        let workgroup = self.profile.workgroup_size;
        let columns = self.profile.merged_columns(2 * units, if folds { 1 } else { workers });
        let tiles = (2 * units).div_ceil(columns);
        let sums = 0..blocks * u64::from(workers) * 2 * stride;
        let mut accesses = vec![access(Operand::ColumnSums, affine.partials, &sums)];
        accesses.extend(affine.accesses(&all));
        let block = blocks::MergeColumns {
            partials: workers,
            units: units as u32,
            stride: stride as u32,
            parameters: parameters as u32,
            run: run as u32,
            repeats: repeats as u32,
            factor_scale: affine.factor[1],
            factor_bias: affine.factor[0],
            tiles: tiles as u32,
            ..Default::default()
        };
        let overrides = Settings::default()
            .with("WORKGROUP", workgroup)
            .with("COLUMNS", columns as u32)
            .with("SLICES", workgroup / columns as u32)
            .with("FOLDS", folds)
            .with("RESUMES", resumes);
        let draft = draft(entry, Accumulator::Centred, Exchange::None, Settings::default(), overrides);
        self.dispatch(draft, Parameters::default().with(block), &accesses, blocks * tiles)
    }

    /// Gradients of segments made of runs with a parameter each; leaves sums of every run where asked.
    pub(crate) fn run_backward(
        &mut self,
        reduction: &Reduction,
        runs: &Partition,
        held: Held,
        map: &BackwardMap,
        sums: Option<Tensor>,
    ) -> Result<(), Unbindable> {
        let entry = Entry::RunBackward;
        let (len, width) = (reduction.partition.segment_len(), runs.segment_len());
        let count = len / width;
        let elements = runs.elements();
        let Some(found) = affine_rows(map, None, width, elements) else { return Ok(()) };
        let accesses = |range: &Range<u64>| {
            let mut all = map.tensors(range);
            all.push(map.moments(range));
            all.extend(map.scale(range));
            all.extend(sums.map(|sums| access(Operand::Partials, sums, &(range.start / width..range.end / width))));
            all
        };
        let in_pairs = !map.writes_words(width);
        let unit = if in_pairs { 2 * len } else { len };
        for range in self.windows(entry, 0..elements, &[unit], &accesses)? {
            let placed = found.placed(&range, false);
            let segments = (range.end - range.start) / len;
            let parameters =
                parameters(&reduction.divisor).with(affine_block(Some(&placed))).with(blocks::RunBackward {
                    segments: segments as u32,
                    runs: count as u32,
                    width: width as u32,
                    inverse_len: 1.0 / len as f32,
                    len: len as f32,
                    ..Default::default()
                });
            let full = u64::from(held.lanes / held.run_lanes * held.rows) == count;
            let (exchange, consts, overrides) = held.kernel(reduction, "RUNS", width, in_pairs, full);
            let overrides = overrides
                .with("RUN_LANES", held.run_lanes)
                .with("MAPS", map.maps())
                .with("SUMS", sums.is_some())
                .with("SCALE_LAST", map.scale_last);
            let draft = Draft {
                walk: map.walk(width, range.start, false, false),
                column: map.column(range.start),
                ..draft(entry, reduction.accumulator, exchange, consts, with_affine(overrides, found.found, &placed))
            };
            let overrides = map.around.settings(draft.overrides, width);
            let mut draft = draft;
            (draft.around, draft.overrides) = (map.around.key(), overrides);
            let parameters = map.around.parameters(parameters, &range);
            let groups = u64::from(held.workgroup / held.lanes);
            self.dispatch(draft, parameters, &accesses(&range), segments.div_ceil(groups))?;
        }
        Ok(())
    }
}

/// What the map takes of segments beside their elements.
#[derive(Clone, Debug)]
pub(crate) enum SegmentData<'a> {
    /// Coefficients: two records a segment.
    Coefficients(Tensor),
    /// Partial sums, which every workgroup merges for itself; and some those of scale and bias.
    Parts(Box<MergeSums<'a>>),
    /// Moments that are given: constants.
    Given,
}

impl Lowering {
    /// The gradient to the input from coefficients of its segments, from their sums in parts, or from given statistics.
    /// Sums up columns where asked.
    pub(crate) fn map_backward(
        &mut self,
        reduction: &Reduction,
        walk: &MapWalk,
        map: &BackwardMap,
        from: &SegmentData<'_>,
        columns: Option<&AffineGradients<'_>>,
    ) -> Result<(), Unbindable> {
        if !map.writes_words(walk.width) {
            // sums were merged before: see `merge_for_map`
            return self.map_words_backward(reduction, map, from);
        }
        let entry = Entry::MapBackward;
        let indexed = map.statistics.1;
        let elements = indexed.elements();
        let (_, most) = walk.column_sums(elements, &self.profile);
        let whole = columns.is_some() && most == 1;
        let stride = walk.width.next_multiple_of(4);
        // what is merged is bound whole
        let (parts, beside) = match from {
            SegmentData::Parts(merge) => (Some(&merge.parts), merge.affine),
            _ => (None, None),
        };
        let beside = beside.zip(parts).map(|(affine, parts)| (affine, AffineMerge::beside(parts, &self.profile)));
        // with the first window
        let beside = |range: &Range<u64>| beside.filter(|_| range.start == 0);
        let bound = |partition: &Partition, range: &Range<u64>| match parts {
            Some(_) => 0..partition.segments(),
            None => segments_of(partition, range),
        };
        let blocks_of = |range: &Range<u64>| (range.end - range.start).div_ceil(walk.width * walk.block);
        let accesses = |range: &Range<u64>| {
            let mut all = map.tensors(range);
            let segments = bound(&indexed, range);
            match from {
                SegmentData::Coefficients(tensor) => {
                    all.push(access(Operand::Coefficients, *tensor, &(2 * segments.start..2 * segments.end)));
                }
                SegmentData::Parts(merge) => {
                    let parts = &merge.parts;
                    let records = 0..parts.slices * parts.statistics.elements();
                    all.push(access(Operand::Partials, parts.partials, &records));
                    all.push(access(Operand::Moments, map.statistics.0, &segments));
                    let gradients =
                        |(affine, _): (AffineGradients<'_>, _)| affine.accesses(&(0..affine.affine.segments()));
                    all.extend(beside(range).into_iter().flat_map(gradients));
                }
                SegmentData::Given => {
                    all.retain(|access| access.operand != Operand::Input);
                    all.push(access(Operand::Moments, map.statistics.0, &segments));
                }
            }
            all.extend(map.scale.map(|(scale, affine)| access(Operand::Scale, scale, &bound(&affine, range))));
            if let Some(affine) = columns {
                match whole {
                    true => all.extend(affine.accesses(&bound(affine.affine, range))),
                    false => {
                        let sums = 0..blocks_of(range) * most * 2 * stride;
                        all.push(access(Operand::ColumnSums, affine.partials, &sums));
                    }
                }
            }
            all
        };
        let units = [walk.block * walk.width, walk.width];
        // columns that are summed up are bound whole; what is bound whole is found by whole rows
        let pieces = [units[0], units[1], 4, map.grain()];
        let units = if columns.is_some() || parts.is_some() { &units[..] } else { &pieces[..] };
        for range in self.windows(entry, 0..elements, units, &accesses)? {
            let len = range.end - range.start;
            let width = walk.width.min(len);
            let blocks = if len > walk.width * walk.block { len / (walk.width * walk.block) } else { 1 };
            let block = len / width / blocks;
            let slices = walk.slices(blocks, block, width, columns.is_some(), parts.is_some(), &self.profile);
            let slices = if columns.is_some() { slices.min(most) } else { slices };
            let slice_rows = block.div_ceil(slices);
            let (tiles, slices) = (walk.tiles(width), block.div_ceil(slice_rows));
            let groups = tiles * slices * blocks;
            let statistics = walk.statistics.placed(&range, parts.is_some());
            let affine = walk.affine.placed(&range, parts.is_some());
            let factor = columns.map_or([1.0; 2], |affine| affine.factor);
            let parameters = parameters(&reduction.divisor)
                .with(affine_block(Some(&affine)))
                .with(blocks::ColumnSums {
                    first: 0,
                    stride: stride as u32,
                    factor_scale: factor[1],
                    factor_bias: factor[0],
                })
                .with(blocks::MapBackward {
                    statistics: statistics.lookup,
                    rows: block as u32,
                    width: width as u32,
                    tiles: tiles as u32,
                    slices: slices as u32,
                    slice_rows: slice_rows as u32,
                    groups: groups as u32,
                    first_row: statistics.first_row,
                    first_column: statistics.first_column,
                });
            let parameters = match parts {
                Some(parts) => {
                    let [met, lines] = walk.merged_side_by_side(slice_rows, parts.records());
                    parameters.with(parts.block(&parts.statistics, [met, lines], beside(&range)))
                }
                None => parameters,
            };
            let opens = range.start.is_multiple_of(walk.width * walk.block);
            let overrides = Settings::default()
                .with("WORKGROUP", walk.workgroup)
                .with("LANES", walk.lanes)
                .with("FULL", width.is_multiple_of(u64::from(4 * walk.lanes * walk.vectors)))
                .with("PLAIN", is_plain(&reduction.divisor, reduction.accumulator))
                .with("STATISTICS", walk.statistics.found as u32)
                .with("SUMS", columns.is_some())
                .with("SCALE_LAST", map.scale_last)
                .with("WEIGHED", parts.is_some_and(|parts| parts.scale.is_some()))
                .with("WHOLE_COLUMNS", whole)
                .with("RESUMES", whole && !opens)
                .with("MERGES_AFFINE", beside(&range).is_some());
            let groups = groups + beside(&range).map_or(0, |(_, merge)| merge.groups.into());
            let overrides = with_step(with_affine(overrides, walk.affine.found, &affine), width, walk.lanes);
            let overrides = map.with_second_walk(map.around.settings(overrides, width), self.facts.kind);
            let parameters = map.around.parameters(parameters, &range);
            let consts = consts(walk.vectors, ("ROWS", walk.rows), width);
            let along = walk.affine.found == Found::Columns;
            let draft = Draft {
                around: map.around.key(),
                walk: map.walk(width, range.start, along, whole),
                column: map.column(range.start),
                ..draft(entry, reduction.accumulator, Exchange::None, consts, overrides)
            };
            self.dispatch(draft, parameters, &accesses(&range), groups)?;
            if let Some(affine) = columns.filter(|_| !whole) {
                self.merge_columns(affine, &range, (blocks, slices as u32, width), !opens)?;
            }
        }
        Ok(())
    }
}
