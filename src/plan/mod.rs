//! Descriptor to partitions and flags, by the row of the table of kinds.

mod axes;
mod fusion;
mod kinds;

use std::ops::Range;

use crate::descriptor::{Affine, Epsilon, NormDescriptor, SingleElement, Variance};
use crate::element::Types;
use crate::error::PlanError;
use crate::moments::{Accumulator, Divisor};
use crate::partition::Partition;
use axes::TensorAxes;
use kinds::{Row, SingleRule};

pub(crate) use axes::channel_axis;
pub(crate) use fusion::{Composition, Fused, Modulation, Multiply, Parameter};

/// Largest rank of a tensor.
pub const MAX_RANK: usize = 8;

/// Largest size of one slot of a partition: two digits of it add up in a u32.
const MAX_SLOT: u64 = 1 << 31;

/// Largest tensor in elements: its bytes and the bytes of its statistics (16 a segment) still fit an i64.
const MAX_ELEMENTS: u64 = 1 << 58;

/// Moments of one tensor: what to reduce, and over which segments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reduction {
    pub partition: Partition,
    pub accumulator: Accumulator,
    pub divisor: Divisor,
    /// Elements of a row of the innermost axis.
    pub row_len: u64,
}

/// The common refinement of the statistics and the affine partition: elements that share both segments. Its segments in
/// turn are the elements of two partitions, of which the statistics' and the affine segments are the segments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Refinement {
    pub partition: Partition,
    pub statistics: Partition,
    pub affine: Partition,
}

/// Why statistics must not be computed from the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Refusal {
    SingleElement,
    TrainingEpsilon(f32),
}

/// A norm as partitions and flags.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Of messages and labels only.
    pub kind: &'static str,
    pub shape: Vec<u64>,
    pub elements: u64,
    pub types: Types,
    /// Statistics computed from the input.
    pub computed: Reduction,
    /// Statistics that are given: running ones, one a channel.
    pub given: Option<Partition>,
    /// Segments of the affine map: where a modulation follows, of both maps in one.
    pub affine: Option<Partition>,
    /// Elements of scale and of bias as they are given.
    pub parameters: u64,
    /// What backward reduces over, where it is coarser than elements.
    pub refinement: Option<Refinement>,
    /// Whether the map has a factor, and a summand.
    pub scale: bool,
    pub bias: bool,
    /// Whether they are given as scale and bias.
    pub given_scale: bool,
    pub given_bias: bool,
    pub fused: Fused,
    pub refusal: Option<Refusal>,
    /// Shards of a batch can share statistics.
    pub crosses_samples: bool,
}

impl Plan {
    pub(crate) fn new(descriptor: &NormDescriptor<'_>) -> Result<Self, PlanError> {
        let row = kinds::row(&descriptor.kind, Some(descriptor.eps));
        let elements = elements_of(descriptor.shape)?;
        let mut axes = TensorAxes::new(descriptor, &row)?;
        let has_affine = descriptor.affine != Affine::None;
        let parameters = if has_affine { axes.partition(&axes.affine)?.segments() } else { 0 };
        let fused = Fused::new(descriptor, &mut axes)?;
        let modulated = fused.modulation.as_ref();
        let has_affine = has_affine || modulated.is_some();
        let partition = axes.partition(&axes.statistics)?;
        let given = if row.running { Some(axes.channels(descriptor)?) } else { None };
        let affine = axes.partition(&axes.affine);
        if row.refuses_empty && partition.segment_len() == 0 {
            return Err(PlanError::EmptySegments { kind: row.name, shape: descriptor.shape.to_vec() });
        }
        if row.p.is_nan() {
            return Err(PlanError::NormOrder { p: row.p });
        }
        Ok(Self {
            kind: row.name,
            shape: descriptor.shape.to_vec(),
            elements,
            types: descriptor.types,
            computed: Reduction {
                partition,
                accumulator: row.accumulator,
                divisor: divisor_of(&row, descriptor.eps, partition.segment_len())?,
                row_len: descriptor.shape.last().copied().unwrap_or(1),
            },
            given,
            affine: if has_affine { Some(affine?) } else { None },
            parameters,
            refinement: axes.refinement(has_affine),
            scale: descriptor.affine.has_scale() || modulated.is_some_and(|m| m.scale),
            bias: descriptor.affine.has_bias() || modulated.is_some_and(|m| m.shift),
            given_scale: descriptor.affine.has_scale(),
            given_bias: descriptor.affine.has_bias(),
            fused,
            refusal: refusal_of(&row, descriptor, axes.segment_len()),
            crosses_samples: row.crosses_samples,
        })
    }

    /// The tensor as outer segments of parameters, each of rows of kept places: for statistics over contiguous rows,
    /// whose parameters (if any) differ from place to place.
    pub(crate) fn rows(&self) -> Option<Partition> {
        let statistics = &self.computed.partition;
        let (rows, len) = (statistics.segments(), statistics.segment_len());
        let contiguous = statistics.is_contiguous() && len > 0;
        match self.affine {
            None => contiguous.then(|| Partition::new(1, rows, len, 1)),
            Some(affine) => (contiguous && affine.kept_inner == len && affine.reduced_inner == 1).then_some(affine),
        }
    }

    /// The tensor as outer segments of rows of one or more whole statistics segments, such that parameters belong to
    /// columns, or one to a segment.
    pub(crate) fn fused_rows(&self) -> Option<Partition> {
        let statistics = &self.computed.partition;
        if let Some(rows) = self.rows() {
            return Some(rows);
        }
        if !statistics.is_contiguous() {
            return None;
        }
        if self.shares_scale() {
            return Some(Partition::new(1, statistics.segments(), statistics.segment_len(), 1));
        }
        let [outer, rows, c, d] = self.affine?.dims();
        let whole = outer == 1 && (c * d).is_multiple_of(statistics.segment_len().max(1));
        whole.then(|| Partition::new(1, rows, c * d, 1))
    }

    /// All elements of a statistics segment have one scale: a factor of their gradients, not a weight in their sums.
    pub(crate) fn shares_scale(&self) -> bool {
        self.refinement.is_some_and(|refinement| refinement.partition == self.computed.partition)
    }

    /// Segments of the affine map.
    pub(crate) fn affine_len(&self) -> u64 {
        self.affine.map_or(0, |p| p.segments())
    }
}

pub(crate) fn elements_of(shape: &[u64]) -> Result<u64, PlanError> {
    if shape.len() > MAX_RANK {
        return Err(PlanError::RankTooHigh { rank: shape.len(), max: MAX_RANK });
    }
    check_product(shape)?;
    Ok(shape.iter().product())
}

/// Zero sizes do not excuse an overflow of the others: statistics and parameters have their shapes.
fn check_product(shape: &[u64]) -> Result<(), PlanError> {
    let product = shape.iter().try_fold(1u64, |product, &size| product.checked_mul(size.max(1)));
    match product {
        Some(product) if product <= MAX_ELEMENTS => Ok(()),
        _ => Err(PlanError::ShapeOverflows { shape: shape.to_vec() }),
    }
}

/// Kernels count in 32 bits.
pub(crate) fn check_slots(partition: Partition, shape: &[u64]) -> Result<(), PlanError> {
    if partition.dims().iter().any(|&size| size > MAX_SLOT) {
        return Err(PlanError::ShapeOverflows { shape: shape.to_vec() });
    }
    Ok(())
}

fn divisor_of(row: &Row<'_>, eps: Epsilon, segment_len: u64) -> Result<Divisor, PlanError> {
    let factor = if row.sums { segment_len as f32 } else { 1.0 };
    let Row { p, inverse_of_zero, infinities, .. } = *row;
    let mut divisor = Divisor { inside: 0.0, added: 0.0, minimum: 0.0, factor, p, inverse_of_zero, infinities };
    match eps {
        Epsilon::InsideRoot(eps) => divisor.inside = checked_eps(eps)?,
        Epsilon::AddedToDeviation(eps) => divisor.added = checked_eps(eps)?,
        Epsilon::Minimum(eps) => divisor.minimum = checked_eps(eps)?,
        Epsilon::Machine => divisor.inside = f32::EPSILON,
        Epsilon::AsGiven(eps) if eps.is_finite() => divisor.inside = eps + 0.0,
        Epsilon::AsGiven(eps) => return Err(PlanError::Epsilon { eps }),
    }
    if !row.roots && divisor.inside != 0.0 {
        return Err(PlanError::EpsilonInsideNorm { eps: divisor.inside });
    }
    Ok(divisor)
}

pub(crate) fn unbiased_factor(variance: Variance, n: u64) -> f32 {
    match variance {
        Variance::Biased => 1.0,
        Variance::Unbiased => (n as f64 / (n as f64 - 1.0)) as f32,
    }
}

pub(crate) fn checked_eps(eps: f32) -> Result<f32, PlanError> {
    // kernels compare the bits of what is not negative: -0 becomes 0
    if eps.is_finite() && eps >= 0.0 { Ok(eps + 0.0) } else { Err(PlanError::Epsilon { eps }) }
}

/// PyTorch's rules.
fn refusal_of(row: &Row<'_>, descriptor: &NormDescriptor<'_>, segment_len: u64) -> Option<Refusal> {
    let single = match row.single {
        SingleRule::Fine => false,
        SingleRule::OneASegment => segment_len == 1,
        SingleRule::OneInTheBatch => descriptor.shape[0].saturating_mul(segment_len) == 1,
    };
    if single && descriptor.single_element == SingleElement::Refuse && !descriptor.shape.contains(&0) {
        return Some(Refusal::SingleElement);
    }
    match descriptor.eps {
        Epsilon::InsideRoot(eps) | Epsilon::AsGiven(eps) if row.trains_with_eps && eps <= 0.0 => {
            Some(Refusal::TrainingEpsilon(eps))
        }
        _ => None,
    }
}

/// The axes that a PyTorch `normalized_shape` names: the last ones, if the shape ends with it.
///
/// # Errors
/// [`PlanError::NormalizedShape`] if it does not.
pub fn normalized_axes(shape: &[u64], normalized: &[u64]) -> Result<Range<usize>, PlanError> {
    if normalized.is_empty() || !shape.ends_with(normalized) {
        return Err(PlanError::NormalizedShape { normalized: normalized.to_vec(), shape: shape.to_vec() });
    }
    Ok(shape.len() - normalized.len()..shape.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::NormKind;

    #[test]
    fn an_eps_of_minus_0_is_0() {
        let plan = |eps| {
            let kind = NormKind::LpNormalize { p: 2.0, axes: 0..1 };
            let plan = Plan::new(&NormDescriptor { eps, ..NormDescriptor::new(kind, &[3]) }).unwrap();
            let Divisor { inside, added, minimum, .. } = plan.computed.divisor;
            [inside, added, minimum].map(f32::to_bits)
        };
        for eps in [Epsilon::InsideRoot, Epsilon::AddedToDeviation, Epsilon::Minimum, Epsilon::AsGiven] {
            assert_eq!(plan(eps(-0.0)), [0; 3], "{:?}", eps(-0.0));
        }
    }
}
