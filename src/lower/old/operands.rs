//! Operands of stages: which ranges of which tensors a run of elements touches, and where its parameters start.

use std::ops::Range;

use super::super::bindings::{Access, QuadWalk};
use super::super::{Tensor, access};
use crate::kernel::Source;
use crate::operand::Operand;
use crate::walk::team::{Found, Lookup};
use crate::kernel::parameters::{Index, Params, Rows};
use crate::partition::Partition;
use crate::moments::Divisor;

/// Operands of a map over elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MapOperands {
    /// Absent: zeros.
    pub input: Option<Tensor>,
    pub output: Tensor,
    pub row_len: u64,
    pub affine: Option<Partition>,
    pub scale: Option<Tensor>,
    pub bias: Option<Tensor>,
}

impl MapOperands {
    /// Whether rows of `width` elements reach over several padded rows of a tensor.
    pub(crate) fn straddles(&self, width: u64) -> bool {
        self.padded() && width > self.row_len
    }

    /// Column of an element in its row of the innermost axis, where rows are padded.
    pub(crate) fn column(&self, element: u64) -> u64 {
        if self.padded() { element % self.row_len.max(1) } else { 0 }
    }

    /// What rows of `width` elements are multiples of in memory; `None` where they are no rows of vectors there.
    pub(crate) fn vectors(&self, width: u64, range: &Range<u64>) -> Option<u64> {
        let padded = [Some(self.output), self.input].into_iter().flatten().filter_map(|tensor| tensor.rows);
        let whole = padded.into_iter().all(|(len, stride)| len.is_multiple_of(4) && stride.is_multiple_of(4));
        let fits = !self.straddles(width) && whole && self.column(range.start).is_multiple_of(4);
        (fits && width.is_multiple_of(4)).then_some(width)
    }

    /// What elements `range` of the map touch, statistics aside.
    pub(crate) fn accesses(&self, range: &Range<u64>) -> Vec<Access> {
        let mut all = vec![access(Operand::Output, self.output, range)];
        all.extend(self.input.map(|input| access(Operand::Input, input, range)));
        let parameters = self.affine.map_or(0..0, |p| segments_of(&p, range));
        let of = |operand, tensor: Option<Tensor>| tensor.map(|t| access(operand, t, &parameters));
        all.extend(of(Operand::Scale, self.scale));
        all.extend(of(Operand::Bias, self.bias));
        all
    }

    /// Parameters of the map over elements `range`; a walker's rows are `step` elements apart.
    pub(super) fn params(&self, range: &Range<u64>, step: u64) -> Params {
        let (affine, affine_base) = self.affine.map_or((Params::default().affine, 0), |p| index(&p, range, step));
        Params {
            affine,
            affine_base,
            input_rows: rows(&self.input.unwrap_or(self.output), self.row_len, range.start),
            output_rows: rows(&self.output, self.row_len, range.start),
            ..Params::default()
        }
    }

    /// How runs that start at multiples of `unit` are walked.
    pub(crate) fn walk(&self, range: &Range<u64>, walk: QuadWalk) -> Option<QuadWalk> {
        let tensors = [Some(self.output), self.input];
        quad_walk(tensors, self.row_len, range, walk)
    }

    pub(crate) fn padded(&self) -> bool {
        self.input.is_some_and(|input| input.rows.is_some()) || self.output.rows.is_some()
    }
}

/// What a reduction sums up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Summed {
    /// The values of a tensor, to statistics.
    Values(Tensor),
    /// Gradients, and their products with normalized values.
    Gradients(GradientOperands),
}

/// Operands of gradient sums.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GradientOperands {
    /// Input and its statistics, where products with normalized values are wanted.
    pub input: Option<(Tensor, Tensor)>,
    pub grad_output: Tensor,
    /// Segments of the statistics.
    pub indexed: Partition,
    /// All elements that are summed up share their statistics.
    pub hoisted: bool,
    /// Weights, and their segments.
    pub scale: Option<(Tensor, Partition)>,
}

impl Summed {
    pub(super) fn source(&self) -> Source {
        match self {
            Self::Values(_) => Source::Values,
            Self::Gradients(_) => Source::Gradients,
        }
    }

    pub(super) fn accesses(&self, range: &Range<u64>) -> Vec<Access> {
        match self {
            Self::Values(input) => vec![access(Operand::Input, *input, range)],
            Self::Gradients(operands) => {
                let mut all = vec![access(Operand::GradOutput, operands.grad_output, range)];
                if let Some((input, statistics)) = operands.input {
                    all.push(access(Operand::Input, input, range));
                    all.push(access(Operand::Moments, statistics, &segments_of(&operands.indexed, range)));
                }
                all.extend(
                    operands.scale.map(|(scale, affine)| access(Operand::Scale, scale, &segments_of(&affine, range))),
                );
                all
            }
        }
    }

    pub(super) fn params(&self, row_len: u64, range: &Range<u64>) -> Params {
        match self {
            Self::Values(input) => Params { input_rows: rows(input, row_len, range.start), ..Params::default() },
            Self::Gradients(operands) => {
                let (statistics, statistics_base) = index(&operands.indexed, range, 1);
                let weights = operands.scale.map(|(_, affine)| index(&affine, range, 1));
                let (affine, affine_base) = weights.unwrap_or((Params::default().affine, 0));
                let input = operands.input.map_or(operands.grad_output, |(input, _)| input);
                Params {
                    statistics,
                    // without records to look up, every segment is the first
                    statistics_base,
                    affine,
                    affine_base,
                    input_rows: rows(&input, row_len, range.start),
                    gradient_rows: rows(&operands.grad_output, row_len, range.start),
                    ..Params::default()
                }
            }
        }
    }

    /// How the reduction over segments of `partition` finds records and weights, walking its runs or its columns; `whole`: what it
    /// walks starts at a segment's own start.
    pub(super) fn lookup(&self, partition: &Partition, rows: bool, whole: bool) -> Lookup {
        let Self::Gradients(operands) = self else { return Lookup::default() };
        let hoisted = operands.hoisted || operands.input.is_none();
        let statistics = if hoisted && rows { Found::ByRow } else { Found::ByElement };
        let found = Lookup { statistics, hoisted, ..Lookup::default() };
        let Some((_, affine)) = operands.scale else { return found };
        let len = partition.segment_len();
        let along = rows && whole && partition.is_contiguous() && affine.kept_inner == len && affine.reduced_inner == 1;
        let affine = if along { Found::Held } else { Found::ByElement };
        Lookup { affine, affine_along: along, ..found }
    }

    pub(super) fn walk(&self, row_len: u64, range: &Range<u64>, walk: QuadWalk) -> Option<QuadWalk> {
        let tensors = match self {
            Self::Values(input) => [Some(*input), None],
            Self::Gradients(operands) => [Some(operands.grad_output), operands.input.map(|(input, _)| input)],
        };
        quad_walk(tensors, row_len, range, walk)
    }

    pub(super) fn padded(&self) -> bool {
        match self {
            Self::Values(input) => input.rows.is_some(),
            Self::Gradients(operands) => {
                operands.grad_output.rows.is_some() || operands.input.is_some_and(|(input, _)| input.rows.is_some())
            }
        }
    }
}

/// Operands of a merge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MergeOperands {
    /// The partial records, as elements of this partition.
    pub partition: Partition,
    pub partials: Option<Tensor>,
    pub records: Option<Tensor>,
    /// Weights of the partial records, and their segments.
    pub scale: Option<(Tensor, Partition)>,
    pub grad_scale: Option<Tensor>,
    pub grad_bias: Option<Tensor>,
    /// On the sums that become gradients to bias and scale.
    pub factor: [f32; 2],
}

impl MergeOperands {
    pub(crate) fn new(partition: Partition, partials: Option<Tensor>, records: Option<Tensor>) -> Self {
        Self { partition, partials, records, scale: None, grad_scale: None, grad_bias: None, factor: [1.0; 2] }
    }

    /// A merge of nothing: every segment gets the identity.
    pub(crate) fn nothing(segments: u64, records: Option<Tensor>) -> Self {
        Self::new(Partition::new(1, 0, segments, 1), None, records)
    }

    pub(super) fn accesses(&self, segments: &Range<u64>, partials: &Range<u64>) -> Vec<Access> {
        let mut all = Vec::new();
        if !partials.is_empty() {
            all.extend(self.partials.map(|tensor| access(Operand::Partials, tensor, partials)));
            all.extend(
                self.scale.map(|(tensor, affine)| access(Operand::Scale, tensor, &segments_of(&affine, partials))),
            );
        }
        all.extend(self.records.map(|tensor| access(Operand::Records, tensor, segments)));
        all.extend(self.grad_scale.map(|tensor| access(Operand::GradScale, tensor, segments)));
        all.extend(self.grad_bias.map(|tensor| access(Operand::GradBias, tensor, segments)));
        all
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

pub(super) fn segments_of(partition: &Partition, range: &Range<u64>) -> Range<u64> {
    let (low, high) = partition.segments_of(range.start, range.end);
    low..high
}

/// Digits for elements of `range`, `step` elements apart, and the segment that is item 0 of the binding, both counted from the first
/// element's outer segment.
pub(super) fn index(partition: &Partition, range: &Range<u64>, step: u64) -> (Index, u32) {
    let narrow = |digits: [u64; 4]| digits.map(|digit| digit as u32);
    if range.is_empty() {
        return (Params::default().affine, 0);
    }
    let [outer, b, c, d] = partition.digits(range.start);
    let (low, _) = partition.segments_of(range.start, range.end);
    let index =
        Index { dims: narrow(partition.dims()), first: narrow([0, b, c, d]), step: narrow(partition.digits(step)) };
    (index, (low - outer * partition.kept_inner) as u32)
}

/// Element by element where rows are padded such that quads of one tensor are none of another.
pub(super) fn quad_walk<const N: usize>(
    tensors: [Option<Tensor>; N],
    row_len: u64,
    range: &Range<u64>,
    walk: QuadWalk,
) -> Option<QuadWalk> {
    let padded: Vec<_> = tensors.iter().flatten().filter_map(|tensor| tensor.rows).collect();
    let whole = |&(length, stride): &(u64, u64)| length.is_multiple_of(4) && stride.is_multiple_of(4);
    let starts = range.start % row_len.max(1);
    let fits = padded.is_empty() || padded.iter().all(whole) && starts.is_multiple_of(4) && walk.unit.is_multiple_of(4);
    let unit = if fits { walk.unit } else { 1 };
    let dense = padded.is_empty();
    Some(QuadWalk { unit, leads: walk.leads && dense, ..walk })
}

pub(super) fn rows(tensor: &Tensor, row_len: u64, first: u64) -> Rows {
    let (length, stride) = tensor.rows.unwrap_or((row_len, row_len));
    Rows { length: length as u32, stride: stride as u32, column: (first % length.max(1)) as u32, pad: 0 }
}

pub(super) fn with_divisor(params: Params, divisor: &Divisor) -> Params {
    Params {
        eps_inside: divisor.inside,
        eps_added: divisor.added,
        eps_minimum: divisor.minimum,
        factor: divisor.factor,
        p: divisor.p,
        folded_scale: if divisor.infinities.folds_scale() { f32::INFINITY.to_bits() } else { u32::MAX },
        products: u32::from(divisor.infinities.takes_products()),
        inverse_of_zero: divisor.inverse_of_zero.to_bits(),
        ..params
    }
}
