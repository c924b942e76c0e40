//! The norms on the CPU in f64: the oracle against which everything else is checked.
//!
//! Written from the axes and the formulas alone, and sharing nothing with the planning of kernels, so that the
//! two can only agree by both being right:
//!
//! ```text
//! mean     = sum(x) / n                                    over the elements that share statistics
//! variance = sum((x - mean)^2) / n                         in a second pass
//! y        = (x - mean) / divisor(variance) * scale + bias
//! ```
//!
//! Each kind of norm names the axes along which its statistics vary and those along which its scale and bias
//! vary. An odometer walks the elements in memory order and knows at each one where its statistics and its
//! parameters lie. Sums are compensated: tens of millions of elements around a large mean keep all their digits.

mod activation;
mod adaptive;
mod algebra;
mod axes;
mod backward;
mod fused;
mod rounding;
mod spectral;
mod statistics;
mod sum;
mod units;

use crate::descriptor::{Momentum, NormDescriptor, NormKind, RunningUpdate};
use crate::error::last_axis;
use axes::{Axes, Lookup, check_length, check_operand, walk, wide};
use statistics::{Divisor, Statistics, compute_statistics, given_statistics, is_centred, variance_correction};
use sum::Sum;

pub use adaptive::{adaptive, adaptive_backward};
pub use backward::{ReferenceGradients, backward};
pub use fused::{FusedOutput, FusedReferenceGradients, ReferenceFused, fused, fused_backward};
pub use rounding::rounded;
pub use spectral::{SpectralOrder, SpectralOutput, SpectralReference, spectral, spectral_backward};
pub use units::{output_units, segment_units};

/// What [`forward`] and [`backward`] compute from, in f32 or f64.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReferenceInputs<'a, T = f32> {
    /// The tensor, in the shape of the descriptor.
    pub input: &'a [T],
    /// Present exactly where the norm has a scale.
    pub scale: Option<&'a [T]>,
    /// Present exactly where the norm has a bias.
    pub bias: Option<&'a [T]>,
    /// Mean and variance to be taken in place of the input's own: a value a channel for Batch and Instance,
    /// and for the other kinds one a segment, in the form of [`ReferenceOutput::mean`] and
    /// [`ReferenceOutput::variance`].
    pub given: Option<(&'a [T], &'a [T])>,
}

/// What [`forward`] computes.
///
/// Statistics have one value a segment, segments in row-major order of the axes along which they vary (`N, C`
/// for Instance and `N, G` for Group in both memory formats). Both are empty where statistics were given. Over
/// no element at all they are NaN (0 / 0), and the norms of Lp and
/// Weight are 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReferenceOutput {
    /// The normalized tensor.
    pub output: Vec<f64>,
    /// Means; empty for Rms, Lp and Weight, which do not centre.
    pub mean: Vec<f64>,
    /// Variances divided by `n`, whatever the kind divides by; the mean square for Rms, the norm
    /// for Lp and Weight.
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
    #[error(
        "axes {axes:?} of a tensor of rank {rank}: name one or more, each once, in ascending order{}",
        last_axis(*rank)
    )]
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
    /// The order of an Lp norm is not a number.
    #[error("p must be a number or infinite, got {p}")]
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

/// Applies a norm, with statistics of the input or with given ones. What stands around it is left to [`fused`].
///
/// The formula is computed as it stands, also where a device would refuse: statistics of one element, any eps,
/// any set of axes. Where the divisor is 0, Batch, Instance, Lp and Weight take its reciprocal as 0, the first three
/// as PyTorch and ONNX do; for the other kinds IEEE decides, so that a constant with eps 0 gives NaN. Batch, Instance
/// and Group fold an infinite scale with the mean, as PyTorch does: `x * alpha + (bias - mean * alpha)` with `alpha =
/// scale / divisor`.
pub fn forward<T: Copy + Into<f64>>(
    d: &NormDescriptor,
    inputs: &ReferenceInputs<T>,
) -> Result<ReferenceOutput, ReferenceError> {
    Ok(Prepared::new(d, inputs)?.output(inputs.input))
}

/// What forward and backward both start from.
struct Prepared {
    axes: Axes,
    /// Whether the statistics were given, and are constants.
    is_given: bool,
    statistics: Statistics,
    divisor: Divisor,
    /// 1 / divisor of each segment.
    reciprocal: Vec<f64>,
    /// Whether an infinite scale is folded with the mean.
    folds: bool,
    scale: Option<Vec<f64>>,
    bias: Option<Vec<f64>>,
}

impl Prepared {
    fn new<T: Copy + Into<f64>>(d: &NormDescriptor, inputs: &ReferenceInputs<T>) -> Result<Self, ReferenceError> {
        let axes = Axes::of(d)?;
        check_length("input", inputs.input.len(), axes.sizes.iter().product())?;
        check_operand("scale", inputs.scale, d.affine.has_scale().then_some(axes.affine.len))?;
        check_operand("bias", inputs.bias, d.affine.has_bias().then_some(axes.affine.len))?;

        let statistics = match inputs.given {
            Some(given) => given_statistics(&axes.given, given, is_centred(&d.kind))?,
            None => compute_statistics(&d.kind, inputs.input, &axes),
        };
        let divisor = Divisor::of(d, axes.computed.count);
        let widened = |values: &[T]| wide(values).collect();
        let (scale, bias) = (inputs.scale.map(widened), inputs.bias.map(widened));
        let is_given = inputs.given.is_some();
        let folds = matches!(d.kind, NormKind::Batch | NormKind::Instance | NormKind::Group { .. });
        Ok(Self { axes, is_given, statistics, divisor, reciprocal: Vec::new(), folds, scale, bias }.divided())
    }

    /// With the reciprocals of its divisors.
    fn divided(self) -> Self {
        let reciprocal = self.statistics.spread.iter().map(|&spread| self.divisor.reciprocal(spread)).collect();
        Self { reciprocal, ..self }
    }

    fn output<T: Copy + Into<f64>>(self, input: &[T]) -> ReferenceOutput {
        let mut output = Vec::with_capacity(input.len());
        walk(wide(input), &self.axes.sizes, [self.segments(), &self.axes.affine], |x, [segment, parameter]| {
            let bias = self.bias.as_ref().map_or(-0.0, |bias| bias[parameter]);
            let scale = self.scale.as_ref().map_or(1.0, |scale| scale[parameter]);
            output.push(match self.folds && scale.is_infinite() {
                true => {
                    let alpha = scale * self.reciprocal[segment];
                    x * alpha + (bias - self.statistics.mean[segment] * alpha)
                }
                false => self.x_hat(x, segment) * scale + bias,
            });
        });
        let computed = if self.is_given { Statistics::default() } else { self.statistics };
        ReferenceOutput { output, mean: computed.mean, variance: computed.spread }
    }

    /// The segments that share statistics.
    fn segments(&self) -> &Lookup {
        if self.is_given { &self.axes.given } else { &self.axes.computed }
    }

    fn centred(&self, x: f64, segment: usize) -> f64 {
        self.statistics.mean.get(segment).map_or(x, |mean| x - mean)
    }

    fn x_hat(&self, x: f64, segment: usize) -> f64 {
        self.centred(x, segment) * self.reciprocal[segment]
    }
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
            let mut sum = Sum::default();
            batch.iter().skip(channel).step_by(channels).for_each(|&x| sum.add(x));
            (1.0 - weight) * running + weight * (sum.value() / samples * correction)
        };
        running.iter().enumerate().map(blend).collect()
    };
    let correction = variance_correction(update.variance, count as f64);
    (take_in(running.0, &statistics.mean, 1.0), take_in(running.1, &statistics.variance, correction))
}

#[cfg(test)]
mod backward_tests;
#[cfg(test)]
mod fused_tests;
#[cfg(test)]
mod fused_values_tests;
#[cfg(test)]
mod spectral_tests;
#[cfg(test)]
mod tests;
