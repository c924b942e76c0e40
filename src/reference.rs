//! The norms on the CPU in f64: the oracle against which everything else is checked.
//!
//! Written from the axes and the formulas alone, and sharing nothing with the planning of kernels, so that the
//! two can only agree by both being right:
//!
//!     mean     = sum(x) / n                                    over the elements that share statistics
//!     variance = sum((x - mean)^2) / n                         in a second pass
//!     y        = (x - mean) / divisor(variance) * scale + bias
//!
//! Each kind of norm names the axes along which its statistics vary and those along which its scale and bias
//! vary. An odometer walks the elements in memory order and knows at each one where its statistics and its
//! parameters lie. Sums are compensated: tens of millions of elements around a large mean keep all their digits.

use std::ops::Range;

use crate::descriptor::{
    AffineAxes, Epsilon, MemoryFormat, Momentum, NormDescriptor, NormKind, RunningUpdate, StyleEpsilon, Variance,
};

/// What [`forward`] computes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReferenceInputs<'a> {
    /// The tensor, in the shape of the descriptor.
    pub input: &'a [f32],
    /// Present exactly where the norm has a scale.
    pub scale: Option<&'a [f32]>,
    /// Present exactly where the norm has a bias.
    pub bias: Option<&'a [f32]>,
    /// Present exactly for adaptive instance norm.
    pub style: Option<&'a [f32]>,
    /// Mean and variance to be taken in place of the input's own: a value a channel for Batch and Instance,
    /// and for the other kinds one a segment, in the form of [`ReferenceOutput::mean`] and
    /// [`ReferenceOutput::variance`].
    pub given: Option<(&'a [f32], &'a [f32])>,
}

/// What [`forward`] computes.
///
/// Statistics have one value a segment, segments in row-major order of the axes along which they vary (`N, C`
/// for Instance and `N, G` for Group in both memory formats). Both are empty where statistics were given. Over
/// no element at all they are NaN (0 / 0), and the norm of [`NormKind::LpNormalize`] is 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReferenceOutput {
    /// The normalized tensor.
    pub output: Vec<f64>,
    /// Means; empty for [`NormKind::Rms`] and [`NormKind::LpNormalize`], which do not centre.
    pub mean: Vec<f64>,
    /// Variances divided by `n`, whatever the kind divides by; the mean square for [`NormKind::Rms`], the
    /// norm for [`NormKind::LpNormalize`].
    pub variance: Vec<f64>,
}

/// Why the reference cannot compute.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// More elements than memory can hold.
    #[error("shape {shape:?} has more elements than can be addressed")]
    ShapeOverflows {
        /// The shape given.
        shape: Vec<u64>,
    },
    /// Too few axes for this kind of norm.
    #[error("{kind} norm needs a tensor of rank {min} or more, got rank {rank}")]
    RankTooLow {
        /// Kind of norm.
        kind: &'static str,
        /// Number of axes given.
        rank: usize,
        /// Smallest rank of the kind.
        min: usize,
    },
    /// A set of axes that is empty, out of order, or outside the shape.
    #[error("axes {axes:?} are not an ascending set of axes of a tensor of rank {rank}")]
    AxesOutOfRange {
        /// Axes given.
        axes: Vec<usize>,
        /// Rank of the shape.
        rank: usize,
    },
    /// Groups do not divide the channels, or are zero.
    #[error("{groups} groups do not divide {channels} channels")]
    GroupsDoNotDivideChannels {
        /// Groups given.
        groups: u64,
        /// Channels of the shape.
        channels: u64,
    },
    /// One scale a group was asked of a norm without groups.
    #[error("one scale per group needs a group norm, not {kind}")]
    GroupScale {
        /// Kind of norm.
        kind: &'static str,
    },
    /// The order of an Lp norm is not positive.
    #[error("p must be positive, got {p}")]
    NormOrder {
        /// p given.
        p: f32,
    },
    /// The style of an adaptive norm does not fit the content.
    #[error(
        "style shape {style:?} does not fit content shape {content:?}: rank and channels must agree, the batch agree or be 1"
    )]
    StyleShape {
        /// Shape of the style.
        style: Vec<u64>,
        /// Shape of the content.
        content: Vec<u64>,
    },
    /// An operand has another number of elements than the norm needs.
    #[error("{operand} has {actual} elements, the norm needs {expected}")]
    Length {
        /// Which operand.
        operand: &'static str,
        /// Elements needed.
        expected: usize,
        /// Elements given.
        actual: usize,
    },
    /// An operand that the norm needs is absent.
    #[error("{operand} is missing")]
    Missing {
        /// Which operand.
        operand: &'static str,
    },
    /// An operand that the norm does not use was given.
    #[error("{operand} was given, but this norm does not use it")]
    Unexpected {
        /// Which operand.
        operand: &'static str,
    },
}

/// Applies a norm, with statistics of the input or with given ones.
///
/// The formula is computed as it stands, also where a device would refuse: statistics of one element, any eps,
/// any set of axes. Where the divisor is 0, Batch, Instance and Lp take its reciprocal as 0, as PyTorch and ONNX
/// do; for the other kinds IEEE decides, so that a constant with eps 0 gives NaN.
pub fn forward(d: &NormDescriptor, inputs: &ReferenceInputs) -> Result<ReferenceOutput, ReferenceError> {
    let axes = Axes::of(d)?;
    let style = style_moments(d, inputs.style)?;
    check_length("input", inputs.input.len(), axes.sizes.iter().product())?;
    let parameters = style.is_none().then_some(axes.affine.len);
    check_operand("scale", inputs.scale, parameters.filter(|_| d.affine.has_scale()))?;
    check_operand("bias", inputs.bias, parameters.filter(|_| d.affine.has_bias()))?;

    let statistics = match inputs.given {
        Some(given) => given_statistics(&axes.given, given, is_centred(&d.kind))?,
        None => compute_statistics(&d.kind, inputs.input, &axes),
    };
    let rstd: Vec<f64> = statistics.spread.iter().map(|&spread| reciprocal(d, spread, axes.computed.count)).collect();
    let normalizer = Normalizer {
        sizes: &axes.sizes,
        segments: if inputs.given.is_some() { &axes.given } else { &axes.computed },
        mean: &statistics.mean,
        rstd: &rstd,
        parameters: &axes.affine,
    };
    let output = match &style {
        Some(style) => normalizer.apply(inputs.input, Some(&style.spread), Some(&style.mean)),
        None => normalizer.apply(inputs.input, inputs.scale, inputs.bias),
    };
    let computed = if inputs.given.is_none() { statistics } else { Statistics::default() };
    Ok(ReferenceOutput { output, mean: computed.mean, variance: computed.spread })
}

/// Running mean and variance, a value a channel, after they have taken in a batch.
///
/// `statistics` is what [`forward`] computed, with `count` elements in each of its segments; a channel's batch
/// value is the mean over its segments (the samples, for Instance). `batches_before` is the number of batches
/// taken in so far. A batch without an element changes nothing; statistics of another number of channels give
/// NaN throughout.
pub fn update_running(
    statistics: &ReferenceOutput,
    count: u64,
    running: (&[f64], &[f64]),
    update: RunningUpdate,
    batches_before: u64,
) -> (Vec<f64>, Vec<f64>) {
    let weight = match update.momentum {
        Momentum::Weight(weight) | Momentum::AsGiven(weight) => f64::from(weight),
        Momentum::Cumulative => 1.0 / (batches_before as f64 + 1.0),
    };
    let take_in = |running: &[f64], batch: &[f64], correction: f64| -> Vec<f64> {
        if count == 0 || batch.is_empty() {
            return running.to_vec();
        }
        let channels = running.len();
        if channels == 0 || !batch.len().is_multiple_of(channels) {
            return vec![f64::NAN; channels];
        }
        let samples = (batch.len() / channels) as f64;
        let blend = |(channel, &running): (usize, &f64)| {
            let sum = batch.iter().skip(channel).step_by(channels).fold(Sum::default(), |sum, &x| sum.plus(x));
            (1.0 - weight) * running + weight * (sum.value() / samples * correction)
        };
        running.iter().enumerate().map(blend).collect()
    };
    let correction = variance_correction(update.variance, count as f64);
    (take_in(running.0, &statistics.mean, 1.0), take_in(running.1, &statistics.variance, correction))
}

/// Factor from the variance divided by `n` to the one asked for. Infinite at `n = 1`, where it makes NaN of the
/// variance 0.
fn variance_correction(variance: Variance, n: f64) -> f64 {
    match variance {
        Variance::Biased => 1.0,
        Variance::Unbiased => n / (n - 1.0),
    }
}

/// The axes of a tensor and what varies along which of them.
#[derive(Debug)]
struct Axes {
    /// Sizes of the axes in memory order, the channels of a group norm split into groups and channels a group.
    sizes: Vec<usize>,
    /// Statistics of the input.
    computed: Lookup,
    /// Statistics that are given.
    given: Lookup,
    /// Scale and bias.
    affine: Lookup,
}

impl Axes {
    fn of(d: &NormDescriptor) -> Result<Self, ReferenceError> {
        let rank = d.shape.len();
        let channel = channel_axis(d);
        check_kind(&d.kind, rank)?;
        let rest = |axes: &[usize]| (0..rank).filter(|axis| !axes.contains(axis)).collect::<Vec<_>>();

        let (computed, given, of_kind) = match &d.kind {
            NormKind::Batch => (vec![channel], vec![channel], vec![channel]),
            NormKind::Instance => (vec![0, channel], vec![channel], vec![channel]),
            NormKind::Group { .. } => (vec![0, channel], vec![0, channel], vec![channel, channel + 1]),
            NormKind::AdaptiveInstance { style_shape, .. } => {
                let shared = style_shape.first() == Some(&1);
                let style = if shared { vec![channel] } else { vec![0, channel] };
                (vec![0, channel], vec![0, channel], style)
            }
            NormKind::Layer { axes } | NormKind::Rms { axes } | NormKind::LpNormalize { axes, .. } => {
                let axes = checked_range(axes, rank)?;
                (rest(&axes), rest(&axes), axes)
            }
            NormKind::MeanVariance { axes } => {
                let axes = checked_set(axes, rank)?;
                (rest(&axes), rest(&axes), axes)
            }
        };
        let is_split = matches!(d.kind, NormKind::Group { .. });
        let affine = match d.affine_axes {
            _ if matches!(d.kind, NormKind::AdaptiveInstance { .. }) => of_kind,
            AffineAxes::OfKind => of_kind,
            AffineAxes::Groups if is_split => vec![channel],
            AffineAxes::Groups => return Err(ReferenceError::GroupScale { kind: d.kind.name() }),
            AffineAxes::Axes(axes) if !is_ascending_below(axes, rank) => {
                return Err(ReferenceError::AxesOutOfRange { axes: axes.to_vec(), rank });
            }
            AffineAxes::Axes(axes) if !is_split => axes.to_vec(),
            AffineAxes::Axes(axes) => {
                let halves = |&axis: &usize| axis + usize::from(axis > channel)..=axis + usize::from(axis >= channel);
                axes.iter().flat_map(halves).collect()
            }
        };
        let sizes = match d.kind {
            NormKind::Group { groups } => addressable(&split_channels(d.shape, channel, groups)?)?,
            _ => addressable(d.shape)?,
        };
        let lookup = |kept: &[usize]| Lookup::new(&sizes, kept);
        Ok(Self { computed: lookup(&computed), given: lookup(&given), affine: lookup(&affine), sizes })
    }
}

/// Where the value of an element lies in an array that varies along some of a tensor's axes, row-major in those.
#[derive(Debug)]
struct Lookup {
    /// Distance in the array of neighbours along each axis of the tensor; 0 where the array does not vary.
    strides: Vec<usize>,
    /// Values in the array.
    len: usize,
    /// Elements that share a value.
    count: f64,
}

impl Lookup {
    fn new(sizes: &[usize], kept: &[usize]) -> Self {
        let mut lookup = Self { strides: vec![0; sizes.len()], len: 1, count: 1.0 };
        for (axis, &size) in sizes.iter().enumerate().rev() {
            if kept.contains(&axis) {
                lookup.strides[axis] = lookup.len;
                lookup.len *= size;
            } else {
                lookup.count *= size as f64;
            }
        }
        lookup
    }
}

/// Visits every element in memory order, with its places in the arrays of `lookups`.
fn walk<const N: usize>(input: &[f32], sizes: &[usize], lookups: [&Lookup; N], mut visit: impl FnMut(f64, [usize; N])) {
    let mut odometer = vec![0; sizes.len()];
    let mut places = [0; N];
    for &x in input {
        visit(f64::from(x), places);
        for (axis, &size) in sizes.iter().enumerate().rev() {
            odometer[axis] += 1;
            let carries = odometer[axis] == size;
            for (place, lookup) in places.iter_mut().zip(lookups) {
                *place += lookup.strides[axis];
                *place -= if carries { lookup.strides[axis] * size } else { 0 };
            }
            if !carries {
                break;
            }
            odometer[axis] = 0;
        }
    }
}

/// Neumaier's sum: the digits that an addition loses are collected apart.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    total: f64,
    lost: f64,
}

impl Sum {
    fn plus(self, x: f64) -> Self {
        let total = self.total + x;
        let (large, small) = if self.total.abs() >= x.abs() { (self.total, x) } else { (x, self.total) };
        Self { total, lost: self.lost + ((large - total) + small) }
    }

    /// The lost digits of an infinite sum are NaN and do not count.
    fn value(self) -> f64 {
        if self.total.is_finite() { self.total + self.lost } else { self.total }
    }
}

/// Mean and spread a segment; no mean where the norm does not centre. The spread is what
/// [`ReferenceOutput::variance`] says.
#[derive(Debug, Default)]
struct Statistics {
    mean: Vec<f64>,
    spread: Vec<f64>,
}

fn is_centred(kind: &NormKind) -> bool {
    !matches!(kind, NormKind::Rms { .. } | NormKind::LpNormalize { .. })
}

fn compute_statistics(kind: &NormKind, input: &[f32], axes: &Axes) -> Statistics {
    let (sizes, segments) = (&axes.sizes, &axes.computed);
    match kind {
        NormKind::Rms { .. } => {
            let spread = averages(input, sizes, segments, |x, _| x * x);
            Statistics { mean: Vec::new(), spread }
        }
        NormKind::LpNormalize { p, .. } => {
            Statistics { mean: Vec::new(), spread: norms(input, sizes, segments, f64::from(*p)) }
        }
        _ => moments(input, sizes, segments),
    }
}

fn moments(input: &[f32], sizes: &[usize], segments: &Lookup) -> Statistics {
    let mean = averages(input, sizes, segments, |x, _| x);
    let spread = averages(input, sizes, segments, |x, segment| (x - mean[segment]).powi(2));
    Statistics { mean, spread }
}

fn averages(input: &[f32], sizes: &[usize], segments: &Lookup, term: impl Fn(f64, usize) -> f64) -> Vec<f64> {
    sums(input, sizes, segments, term).into_iter().map(|sum| sum / segments.count).collect()
}

fn sums(input: &[f32], sizes: &[usize], segments: &Lookup, term: impl Fn(f64, usize) -> f64) -> Vec<f64> {
    let mut sums = vec![Sum::default(); segments.len];
    walk(input, sizes, [segments], |x, [segment]| sums[segment] = sums[segment].plus(term(x, segment)));
    sums.into_iter().map(Sum::value).collect()
}

/// `sum(|x|^p)^(1/p)`, taken relative to the largest magnitude: a large power would leave the range of f64.
fn norms(input: &[f32], sizes: &[usize], segments: &Lookup, p: f64) -> Vec<f64> {
    let mut largest = vec![0.0_f64; segments.len];
    walk(input, sizes, [segments], |x, [segment]| {
        // Not `f64::max`, which drops NaN.
        if x.abs() > largest[segment] || x.is_nan() {
            largest[segment] = x.abs();
        }
    });
    if p.is_infinite() {
        return largest;
    }
    let sums = sums(input, sizes, segments, |x, segment| power(x.abs() / largest[segment], p));
    let root = |(largest, sum): (f64, f64)| match largest {
        0.0 | f64::INFINITY => largest,
        _ => largest * sum.powf(1.0 / p),
    };
    largest.into_iter().zip(sums).map(root).collect()
}

/// `x^p`, quick for the powers that are asked for most.
fn power(x: f64, p: f64) -> f64 {
    match p {
        1.0 => x,
        2.0 => x * x,
        _ => x.powf(p),
    }
}

/// Given statistics, as many as are looked up.
fn given_statistics(
    segments: &Lookup,
    (mean, variance): (&[f32], &[f32]),
    centred: bool,
) -> Result<Statistics, ReferenceError> {
    check_length("mean", mean.len(), if centred { segments.len } else { 0 })?;
    check_length("variance", variance.len(), segments.len)?;
    let widened = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect();
    Ok(Statistics { mean: widened(mean), spread: widened(variance) })
}

/// Mean and deviation of the style of an adaptive instance norm, in the order of [`Axes::affine`]; `None` for
/// the other kinds.
fn style_moments(d: &NormDescriptor, style: Option<&[f32]>) -> Result<Option<Statistics>, ReferenceError> {
    let NormKind::AdaptiveInstance { style_shape, variance, style_eps } = d.kind else {
        return check_operand("style", style, None).map(|()| None);
    };
    let channel = channel_axis(d);
    let same = |axis: usize| style_shape.get(axis) == d.shape.get(axis);
    let batch_fits = same(0) || style_shape.first() == Some(&1);
    if style_shape.len() != d.shape.len() || !batch_fits || !same(channel) {
        return Err(ReferenceError::StyleShape { style: style_shape.to_vec(), content: d.shape.to_vec() });
    }
    let sizes = addressable(style_shape)?;
    check_operand("style", style, Some(sizes.iter().product()))?;
    let segments = Lookup::new(&sizes, &[0, channel]);
    let Statistics { mean, spread } = moments(style.unwrap_or_default(), &sizes, &segments);
    let deviation = |biased: f64| {
        let variance = biased * variance_correction(variance, segments.count);
        match style_eps {
            StyleEpsilon::AsContent => divisor(d.eps, variance),
            StyleEpsilon::None => variance.sqrt(),
        }
    };
    Ok(Some(Statistics { mean, spread: spread.into_iter().map(deviation).collect() }))
}

/// What the centred input is multiplied with, from the spread of a segment of `count` elements.
fn reciprocal(d: &NormDescriptor, spread: f64, count: f64) -> f64 {
    let square = match d.kind {
        NormKind::LpNormalize { .. } => spread * spread,
        NormKind::AdaptiveInstance { variance, .. } => spread * variance_correction(variance, count),
        _ => spread,
    };
    let divisor = divisor(d.eps, square);
    let zero_allowed = matches!(d.kind, NormKind::Batch | NormKind::Instance | NormKind::LpNormalize { .. });
    if divisor == 0.0 && zero_allowed { 0.0 } else { 1.0 / divisor }
}

/// The divisor, from a variance, a mean square, or the square of a norm.
fn divisor(eps: Epsilon, square: f64) -> f64 {
    match eps {
        Epsilon::InsideRoot(eps) | Epsilon::AsGiven(eps) => (square + f64::from(eps)).sqrt(),
        Epsilon::Machine => (square + f64::from(f32::EPSILON)).sqrt(),
        Epsilon::AddedToDeviation(eps) => square.sqrt() + f64::from(eps),
        // Not `f64::max`, which drops NaN.
        Epsilon::Minimum(eps) if square.sqrt() < f64::from(eps) => f64::from(eps),
        Epsilon::Minimum(_) => square.sqrt(),
    }
}

/// The map from input to output, given the statistics.
struct Normalizer<'a> {
    sizes: &'a [usize],
    segments: &'a Lookup,
    mean: &'a [f64],
    rstd: &'a [f64],
    parameters: &'a Lookup,
}

impl Normalizer<'_> {
    fn apply<P: Copy + Into<f64>>(&self, input: &[f32], scale: Option<&[P]>, bias: Option<&[P]>) -> Vec<f64> {
        let mut output = Vec::with_capacity(input.len());
        walk(input, self.sizes, [self.segments, self.parameters], |x, [segment, parameter]| {
            let centred = self.mean.get(segment).map_or(x, |mean| x - mean);
            let mut y = centred * self.rstd[segment];
            if let Some(scale) = scale {
                y *= scale[parameter].into();
            }
            if let Some(bias) = bias {
                y += bias[parameter].into();
            }
            output.push(y);
        });
        output
    }
}

fn channel_axis(d: &NormDescriptor) -> usize {
    match d.format {
        MemoryFormat::ChannelsFirst => 1,
        MemoryFormat::ChannelsLast => d.shape.len().saturating_sub(1),
    }
}

/// The sizes of a shape. No product of some of them overflows: an empty axis does not hide what the others need.
fn addressable(shape: &[u64]) -> Result<Vec<usize>, ReferenceError> {
    let largest = (isize::MAX as u64) / size_of::<Sum>() as u64;
    let elements = shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(size.max(1)));
    if elements.is_none_or(|elements| elements > largest) {
        return Err(ReferenceError::ShapeOverflows { shape: shape.to_vec() });
    }
    Ok(shape.iter().map(|&size| size as usize).collect())
}

fn check_kind(kind: &NormKind, rank: usize) -> Result<(), ReferenceError> {
    match *kind {
        NormKind::Batch | NormKind::Instance | NormKind::Group { .. } | NormKind::AdaptiveInstance { .. }
            if rank < 2 =>
        {
            Err(ReferenceError::RankTooLow { kind: kind.name(), rank, min: 2 })
        }
        NormKind::LpNormalize { p, .. } if p.is_nan() || p <= 0.0 => Err(ReferenceError::NormOrder { p }),
        _ => Ok(()),
    }
}

fn split_channels(shape: &[u64], channel: usize, groups: u64) -> Result<Vec<u64>, ReferenceError> {
    let channels = shape[channel];
    if groups == 0 || !channels.is_multiple_of(groups) {
        return Err(ReferenceError::GroupsDoNotDivideChannels { groups, channels });
    }
    let mut shape = shape.to_vec();
    shape.splice(channel..=channel, [groups, channels / groups]);
    Ok(shape)
}

fn checked_range(axes: &Range<usize>, rank: usize) -> Result<Vec<usize>, ReferenceError> {
    // So many already reach outside the shape.
    let axes: Vec<usize> = axes.clone().take(rank + 2).collect();
    checked_set(&axes, rank)
}

/// The axes, if they are some of the tensor's. A tensor without axes has one element, and takes its first axis
/// as well as none for that.
fn checked_set(axes: &[usize], rank: usize) -> Result<Vec<usize>, ReferenceError> {
    match (rank, axes) {
        (0, [] | [0]) => Ok(Vec::new()),
        (1.., [_, ..]) if is_ascending_below(axes, rank) => Ok(axes.to_vec()),
        _ => Err(ReferenceError::AxesOutOfRange { axes: axes.to_vec(), rank }),
    }
}

fn is_ascending_below(axes: &[usize], rank: usize) -> bool {
    axes.is_sorted_by(|a, b| a < b) && axes.last().is_none_or(|&last| last < rank)
}

fn check_operand(operand: &'static str, given: Option<&[f32]>, expected: Option<usize>) -> Result<(), ReferenceError> {
    match (given, expected) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(ReferenceError::Missing { operand }),
        (Some(_), None) => Err(ReferenceError::Unexpected { operand }),
        (Some(given), Some(expected)) => check_length(operand, given.len(), expected),
    }
}

fn check_length(operand: &'static str, actual: usize, expected: usize) -> Result<(), ReferenceError> {
    if actual == expected { Ok(()) } else { Err(ReferenceError::Length { operand, expected, actual }) }
}

#[cfg(test)]
mod tests;
