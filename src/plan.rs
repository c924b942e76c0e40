//! Descriptor to partitions and flags: the only place below the API that knows the kinds of norm.

use std::ops::Range;

use crate::descriptor::{Affine, AffineAxes, DataType, Epsilon, MemoryFormat, NormDescriptor, NormKind, SingleElement};
use crate::descriptor::{StyleEpsilon, Variance};
use crate::error::PlanError;
use crate::kernel::Accumulator;
use crate::partition::Partition;

/// Largest rank of a tensor.
pub const MAX_RANK: usize = 8;

/// Largest size of one slot of a partition: two digits of it add up in a u32.
const MAX_SLOT: u64 = 1 << 31;

/// Largest tensor in elements: its bytes and the bytes of its statistics (16 a segment) still fit an i64.
const MAX_ELEMENTS: u64 = 1 << 58;

/// From an accumulated record to the divisor: `max(root(variance * factor + inside), minimum) + added`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Divisor {
    pub inside: f32,
    pub added: f32,
    pub minimum: f32,
    /// On the variance: n / (n - 1) where it is unbiased, n where a norm is a sum.
    pub factor: f32,
    /// Order of the norm, for the accumulator that needs it.
    pub p: f32,
    /// What 1 / 0 becomes.
    pub inverse_of_zero: f32,
    /// In which order numbers that are not finite mix, which decides where NaN stands.
    pub infinities: Infinities,
}

/// PyTorch's orders of evaluation, taken where an operand is not finite; elsewhere they would cost digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Infinities {
    /// As the formula stands.
    Plain,
    /// Forward: an infinite scale is folded with the mean, `x * alpha + (bias - mean * alpha)` with `alpha = scale / divisor`.
    FoldedScale,
    /// Backward: sums that are not finite enter as `a * g + b * x + c` with `b = (sum(g) * mean - sum(g * x)) * a^3 / n`.
    Products,
    /// Both.
    FoldedScaleAndProducts,
}

impl Infinities {
    pub(crate) fn folds_scale(self) -> bool {
        matches!(self, Self::FoldedScale | Self::FoldedScaleAndProducts)
    }

    pub(crate) fn takes_products(self) -> bool {
        matches!(self, Self::Products | Self::FoldedScaleAndProducts)
    }
}

/// Moments of one tensor: what to reduce, and over which segments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reduction {
    pub partition: Partition,
    pub accumulator: Accumulator,
    pub divisor: Divisor,
    /// Elements of a row of the innermost axis.
    pub row_len: u64,
}

/// The common refinement of the statistics and the affine partition: elements that share both segments. Its segments in turn
/// are the elements of two partitions, of which the statistics' and the affine segments are the segments.
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
    /// Statistics computed from the input.
    pub computed: Reduction,
    /// Statistics that are given: running ones, one a channel.
    pub given: Option<Partition>,
    pub affine: Option<Partition>,
    /// What backward reduces over, where it is coarser than elements.
    pub refinement: Option<Refinement>,
    pub scale: bool,
    pub bias: bool,
    /// The tensor whose mean and deviation take the place of bias and scale.
    pub style: Option<Reduction>,
    pub refusal: Option<Refusal>,
}

impl Plan {
    pub(crate) fn new(descriptor: &NormDescriptor<'_>) -> Result<Self, PlanError> {
        if descriptor.dtype != DataType::F32 {
            return Err(PlanError::UnsupportedDataType { dtype: descriptor.dtype });
        }
        let elements = elements_of(descriptor.shape)?;
        let axes = Axes::new(descriptor)?;
        let name = descriptor.kind.name();
        let partition = axes.partition(&axes.statistics)?;
        check_slots(partition, descriptor.shape)?;
        let channelwise = matches!(descriptor.kind, NormKind::Batch | NormKind::Instance);
        let channels = || axes.partition(&keep(axes.shape.len(), &[channel_axis(descriptor)?]));
        let given = if channelwise { Some(channels()?) } else { None };
        let style = style_of(descriptor)?;
        let affine = axes.partition(&axes.affine).and_then(|p| check_slots(p, descriptor.shape).map(|()| p));
        let refinement = axes.refinement(descriptor.affine != Affine::None || style.is_some());
        let parameters = if style.is_some() { Affine::ScaleAndBias } else { descriptor.affine };
        let row_len = descriptor.shape.last().copied().unwrap_or(1);
        let refusal = refusal_of(descriptor, &axes);
        if matches!(descriptor.kind, NormKind::Group { .. }) && partition.segment_len() == 0 {
            return Err(PlanError::EmptySegments { kind: name, shape: descriptor.shape.to_vec() });
        }
        Ok(Self {
            kind: name,
            shape: descriptor.shape.to_vec(),
            elements,
            computed: Reduction {
                partition,
                accumulator: accumulator_of(&descriptor.kind)?,
                divisor: divisor_of(descriptor, partition.segment_len())?,
                row_len,
            },
            given,
            affine: if parameters == Affine::None { None } else { Some(affine?) },
            refinement,
            scale: parameters.has_scale(),
            bias: parameters.has_bias(),
            style,
            refusal,
        })
    }

    /// The tensor as outer segments of parameters, each of rows of kept places: for statistics over contiguous rows, whose
    /// parameters (if any) differ from place to place.
    pub(crate) fn rows(&self) -> Option<Partition> {
        let statistics = &self.computed.partition;
        let (rows, len) = (statistics.segments(), statistics.segment_len());
        let contiguous = statistics.is_contiguous() && len > 0;
        match self.affine {
            None => contiguous.then(|| Partition::new(1, rows, len, 1)),
            Some(affine) => (contiguous && affine.kept_inner == len && affine.reduced_inner == 1).then_some(affine),
        }
    }

    /// The tensor as outer segments of rows of one or more whole statistics segments, such that parameters belong to columns, or one to
    /// a segment.
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

    /// Elements of scale and bias.
    pub(crate) fn affine_len(&self) -> u64 {
        self.affine.map_or(0, |p| p.segments())
    }
}

/// The axes of a tensor (groups split off their channels) and which of them are kept.
struct Axes {
    shape: Vec<u64>,
    statistics: Vec<bool>,
    affine: Vec<bool>,
}

impl Axes {
    fn new(descriptor: &NormDescriptor<'_>) -> Result<Self, PlanError> {
        let mut shape = descriptor.shape.to_vec();
        if shape.is_empty() && matches!(descriptor.kind, NormKind::LpNormalize { .. }) {
            shape.push(1);
        }
        let rank = shape.len();
        let channel = || channel_axis(descriptor);
        let all = 0..rank;
        let (statistics, affine) = match &descriptor.kind {
            NormKind::Batch => (keep(rank, &[channel()?]), keep(rank, &[channel()?])),
            NormKind::Instance | NormKind::AdaptiveInstance { .. } => {
                (keep(rank, &[0, channel()?]), keep(rank, &[channel()?]))
            }
            NormKind::Group { groups } => return Self::grouped(descriptor, *groups, channel()?),
            NormKind::Layer { axes } | NormKind::Rms { axes } | NormKind::LpNormalize { axes, .. } => {
                let reduced: Vec<usize> = checked_range(axes, rank)?.collect();
                (keep_others(rank, &reduced), keep(rank, &reduced))
            }
            NormKind::Weight { .. } if rank == 0 => {
                return Err(PlanError::RankTooLow { kind: descriptor.kind.name(), rank, min: 1 });
            }
            NormKind::Weight { dim } => {
                let kept: Vec<usize> = dim.iter().copied().collect();
                check_ascending(&kept, rank)?;
                (keep(rank, &kept), keep(rank, &kept))
            }
            NormKind::MeanVariance { axes } => {
                check_ascending(axes, rank)?;
                if axes.is_empty() && rank > 0 {
                    return Err(PlanError::AxesOutOfRange { axes: Vec::new(), rank });
                }
                let kept: Vec<usize> = all.filter(|axis| !axes.contains(axis)).collect();
                (keep(rank, &kept), keep_others(rank, &kept))
            }
        };
        let affine = match descriptor.affine_axes {
            // the style takes the place of scale and bias
            _ if matches!(descriptor.kind, NormKind::AdaptiveInstance { .. }) => affine,
            AffineAxes::OfKind => affine,
            AffineAxes::Groups => return Err(PlanError::GroupScale { kind: descriptor.kind.name() }),
            AffineAxes::Axes(axes) => {
                check_ascending(axes, rank)?;
                keep(rank, axes)
            }
        };
        let mut axes = Self { shape, statistics, affine };
        if let NormKind::AdaptiveInstance { style_shape, .. } = &descriptor.kind {
            axes.affine[0] = style_shape.first() == descriptor.shape.first();
        }
        Ok(axes)
    }

    /// Channels split into (groups, channels of a group).
    fn grouped(descriptor: &NormDescriptor<'_>, groups: u64, channel: usize) -> Result<Self, PlanError> {
        let channels = descriptor.shape[channel];
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(PlanError::GroupsDoNotDivideChannels { groups, channels });
        }
        let mut shape = descriptor.shape.to_vec();
        shape[channel] = channels / groups;
        shape.insert(channel, groups);
        let rank = shape.len();
        let affine = match descriptor.affine_axes {
            AffineAxes::OfKind => keep(rank, &[channel, channel + 1]),
            AffineAxes::Groups => keep(rank, &[channel]),
            AffineAxes::Axes(axes) => {
                check_ascending(axes, descriptor.shape.len())?;
                // the group axis comes before its channels: axes behind it move by one
                let split = |&axis: &usize| {
                    if axis == channel { vec![axis, axis + 1] } else { vec![axis + usize::from(axis > channel)] }
                };
                keep(rank, &axes.iter().flat_map(split).collect::<Vec<_>>())
            }
        };
        Ok(Self { shape, statistics: keep(rank, &[0, channel]), affine })
    }

    fn partition(&self, kept: &[bool]) -> Result<Partition, PlanError> {
        Partition::from_axes(&self.shape, kept).ok_or_else(|| PlanError::AxesInterleave {
            kept: (0..kept.len()).filter(|&axis| kept[axis]).collect(),
            shape: self.shape.clone(),
        })
    }

    /// `None` where one of its partitions does not fit four slots.
    fn refinement(&self, has_affine: bool) -> Option<Refinement> {
        let affine: Vec<bool> = self.affine.iter().map(|&kept| kept && has_affine).collect();
        let both: Vec<bool> = self.statistics.iter().zip(&affine).map(|(&s, &a)| s || a).collect();
        let of_both =
            |flags: &[bool]| flags.iter().zip(&both).filter(|(_, both)| **both).map(|(&f, _)| f).collect::<Vec<_>>();
        let shape: Vec<u64> = self.shape.iter().zip(&both).filter(|(_, both)| **both).map(|(&size, _)| size).collect();
        Some(Refinement {
            partition: Partition::from_axes(&self.shape, &both)?,
            statistics: Partition::from_axes(&shape, &of_both(&self.statistics))?,
            affine: Partition::from_axes(&shape, &of_both(&affine))?,
        })
    }

    /// Elements of one segment of the statistics.
    fn segment_len(&self) -> u64 {
        self.shape.iter().zip(&self.statistics).filter(|&(_, &kept)| !kept).map(|(size, _)| size).product()
    }
}

fn keep(rank: usize, axes: &[usize]) -> Vec<bool> {
    (0..rank).map(|axis| axes.contains(&axis)).collect()
}

fn keep_others(rank: usize, axes: &[usize]) -> Vec<bool> {
    (0..rank).map(|axis| !axes.contains(&axis)).collect()
}

fn channel_axis(descriptor: &NormDescriptor<'_>) -> Result<usize, PlanError> {
    let rank = descriptor.shape.len();
    if rank < 2 {
        return Err(PlanError::RankTooLow { kind: descriptor.kind.name(), rank, min: 2 });
    }
    Ok(match descriptor.format {
        MemoryFormat::ChannelsFirst => 1,
        MemoryFormat::ChannelsLast => rank - 1,
    })
}

fn checked_range(axes: &Range<usize>, rank: usize) -> Result<Range<usize>, PlanError> {
    if axes.start >= axes.end || axes.end > rank {
        return Err(PlanError::AxesOutOfRange { axes: vec![axes.start, axes.end], rank });
    }
    Ok(axes.clone())
}

fn check_ascending(axes: &[usize], rank: usize) -> Result<(), PlanError> {
    let ascending = axes.windows(2).all(|pair| pair[0] < pair[1]);
    if !ascending || axes.iter().any(|&axis| axis >= rank) {
        return Err(PlanError::AxesOutOfRange { axes: axes.to_vec(), rank });
    }
    Ok(())
}

pub(crate) fn elements_of(shape: &[u64]) -> Result<u64, PlanError> {
    if shape.len() > MAX_RANK {
        return Err(PlanError::RankTooHigh { rank: shape.len(), max: MAX_RANK });
    }
    // zero sizes do not excuse an overflow of the others: statistics and parameters have their shapes
    let overflows = || PlanError::ShapeOverflows { shape: shape.to_vec() };
    let product =
        shape.iter().try_fold(1u64, |product, &size| product.checked_mul(size.max(1))).ok_or_else(overflows)?;
    if product > MAX_ELEMENTS {
        return Err(overflows());
    }
    Ok(shape.iter().product())
}

pub(crate) fn check_slots(partition: Partition, shape: &[u64]) -> Result<(), PlanError> {
    if partition.dims().iter().any(|&size| size > MAX_SLOT) {
        return Err(PlanError::ShapeOverflows { shape: shape.to_vec() });
    }
    Ok(())
}

fn accumulator_of(kind: &NormKind<'_>) -> Result<Accumulator, PlanError> {
    Ok(match *kind {
        NormKind::Rms { .. } | NormKind::Weight { .. } => Accumulator::Uncentred,
        NormKind::LpNormalize { p, .. } => match p {
            1.0 => Accumulator::Magnitude,
            2.0 => Accumulator::Uncentred,
            f32::INFINITY => Accumulator::Largest,
            // a denormal p is 0 to devices that flush
            p if p >= f32::MIN_POSITIVE => Accumulator::Power,
            p => return Err(PlanError::NormOrder { p }),
        },
        _ => Accumulator::Centred,
    })
}

fn divisor_of(descriptor: &NormDescriptor<'_>, segment_len: u64) -> Result<Divisor, PlanError> {
    let n = segment_len as f64;
    // PyTorch takes 1 / std = 0 for batch and instance norm, ONNX x / norm = 0 for Lp; elsewhere IEEE decides
    let (factor, p, inverse_of_zero) = match descriptor.kind {
        NormKind::LpNormalize { p, .. } => (n, p, 0.0),
        NormKind::Weight { .. } if matches!(descriptor.eps, Epsilon::AsGiven(_)) => (n, 2.0, f32::INFINITY),
        NormKind::Weight { .. } => (n, 2.0, 0.0),
        NormKind::AdaptiveInstance { variance, .. } => (unbiased_factor(variance, n), 2.0, f32::INFINITY),
        NormKind::Batch | NormKind::Instance => (1.0, 2.0, 0.0),
        _ => (1.0, 2.0, f32::INFINITY),
    };
    let infinities = match descriptor.kind {
        NormKind::Batch | NormKind::Instance => Infinities::FoldedScale,
        NormKind::Group { .. } => Infinities::FoldedScaleAndProducts,
        NormKind::Layer { .. } => Infinities::Products,
        _ => Infinities::Plain,
    };
    let mut divisor =
        Divisor { inside: 0.0, added: 0.0, minimum: 0.0, factor: factor as f32, p, inverse_of_zero, infinities };
    match descriptor.eps {
        Epsilon::InsideRoot(eps) => divisor.inside = checked_eps(eps)?,
        Epsilon::AddedToDeviation(eps) => divisor.added = checked_eps(eps)?,
        Epsilon::Minimum(eps) => divisor.minimum = checked_eps(eps)?,
        Epsilon::Machine => divisor.inside = f32::EPSILON,
        Epsilon::AsGiven(eps) if eps.is_finite() => divisor.inside = eps,
        Epsilon::AsGiven(eps) => return Err(PlanError::Epsilon { eps }),
    }
    // the root of a norm other than the second is no square root: there is no place for eps inside it
    match descriptor.kind {
        NormKind::LpNormalize { .. } if divisor.inside != 0.0 => {
            Err(PlanError::EpsilonInsideNorm { eps: divisor.inside })
        }
        _ => Ok(divisor),
    }
}

fn unbiased_factor(variance: Variance, n: f64) -> f64 {
    match variance {
        Variance::Biased => 1.0,
        Variance::Unbiased => n / (n - 1.0),
    }
}

pub(crate) fn checked_eps(eps: f32) -> Result<f32, PlanError> {
    if eps.is_finite() && eps >= 0.0 { Ok(eps) } else { Err(PlanError::Epsilon { eps }) }
}

/// The style is reduced as an instance norm of its own; what it gives is its divisor, not the inverse.
fn style_of(descriptor: &NormDescriptor<'_>) -> Result<Option<Reduction>, PlanError> {
    let NormKind::AdaptiveInstance { style_shape, variance, style_eps } = descriptor.kind else { return Ok(None) };
    elements_of(style_shape)?;
    let channel = channel_axis(descriptor)?;
    let content = descriptor.shape;
    let fits = style_shape.len() == content.len()
        && style_shape[channel] == content[channel]
        && (style_shape[0] == content[0] || style_shape[0] == 1);
    if !fits {
        let (style, content) = (style_shape.to_vec(), content.to_vec());
        return Err(PlanError::StyleShape { style, content, format: descriptor.format });
    }
    let axes =
        Axes { shape: style_shape.to_vec(), statistics: keep(style_shape.len(), &[0, channel]), affine: Vec::new() };
    let partition = axes.partition(&axes.statistics)?;
    check_slots(partition, style_shape)?;
    if partition.segment_len() == 0 && partition.segments() > 0 {
        return Err(PlanError::EmptySegments { kind: descriptor.kind.name(), shape: style_shape.to_vec() });
    }
    let eps = match style_eps {
        StyleEpsilon::AsContent => descriptor.eps,
        StyleEpsilon::None => Epsilon::InsideRoot(0.0),
    };
    let mut divisor = divisor_of(&NormDescriptor { eps, ..descriptor.clone() }, partition.segment_len())?;
    divisor.factor = unbiased_factor(variance, partition.segment_len() as f64) as f32;
    let row_len = style_shape.last().copied().unwrap_or(1);
    Ok(Some(Reduction { partition, accumulator: Accumulator::Centred, divisor, row_len }))
}

/// PyTorch's rules: Batch and Instance refuse statistics of one element, Group where the whole batch leaves one;
/// Batch refuses to train with an eps of 0, whose gradient it could not give.
fn refusal_of(descriptor: &NormDescriptor<'_>, axes: &Axes) -> Option<Refusal> {
    let len = axes.segment_len();
    let single = match descriptor.kind {
        NormKind::Batch | NormKind::Instance => len == 1,
        NormKind::Group { .. } => descriptor.shape[0] * len == 1,
        NormKind::AdaptiveInstance { variance: Variance::Unbiased, style_shape, .. } => {
            let channel = channel_axis(descriptor).unwrap_or(0);
            let space = style_shape.iter().enumerate().filter(|&(axis, _)| axis != 0 && axis != channel);
            len == 1 || space.map(|(_, size)| size).product::<u64>() == 1
        }
        _ => false,
    };
    if single && descriptor.single_element == SingleElement::Refuse && !descriptor.shape.contains(&0) {
        return Some(Refusal::SingleElement);
    }
    match (&descriptor.kind, descriptor.eps) {
        (NormKind::Batch, Epsilon::InsideRoot(eps) | Epsilon::AsGiven(eps)) if eps <= 0.0 => {
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
