//! What the user says: which norm, over which tensor, with which options.

use std::ops::Range;

use crate::element::Types;
use crate::fusion::Fusion;

/// Which axis of a tensor holds the channels. For use with [`NormDescriptor::format`].
///
/// Shapes are always written as the axes lie in memory, outermost first: `[N, C, H, W]` for
/// channels first, `[N, H, W, C]` for channels last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MemoryFormat {
    /// `N, C, spatial...`: axis 1 holds the channels.
    #[default]
    ChannelsFirst,
    /// `N, spatial..., C`: the last axis holds the channels.
    ChannelsLast,
}

/// Which of the two parameters a norm applies after normalizing. For use with [`NormDescriptor::affine`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Affine {
    /// `y = x_hat`
    None,
    /// `y = x_hat * scale`
    Scale,
    /// `y = x_hat + bias`
    Bias,
    /// `y = x_hat * scale + bias`
    #[default]
    ScaleAndBias,
}

impl Affine {
    /// The variant with the given parameters present.
    pub const fn with(scale: Option<()>, bias: Option<()>) -> Self {
        match (scale, bias) {
            (None, None) => Self::None,
            (Some(()), None) => Self::Scale,
            (None, Some(())) => Self::Bias,
            (Some(()), Some(())) => Self::ScaleAndBias,
        }
    }

    /// Whether a scale is applied.
    pub const fn has_scale(self) -> bool {
        matches!(self, Self::Scale | Self::ScaleAndBias)
    }

    /// Whether a bias is applied.
    pub const fn has_bias(self) -> bool {
        matches!(self, Self::Bias | Self::ScaleAndBias)
    }
}

/// The axes over which scale and bias vary. For use with [`NormDescriptor::affine_axes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AffineAxes<'a> {
    /// As the kind of norm has it: the channels (Batch, Instance, Group), the normalized axes (Layer, RMS).
    #[default]
    OfKind,
    /// One scale and bias a group, as in ONNX GroupNormalization 18. Only for [`NormKind::Group`].
    Groups,
    /// These axes of [`NormDescriptor::shape`], ascending; scale and bias have their sizes, in order
    /// (`[0, 2]` of `N,T,C` is adaptive layer norm: one scale per sample and feature).
    Axes(&'a [usize]),
}

/// Where eps enters the divisor. For use with [`NormDescriptor::eps`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Epsilon {
    /// `sqrt(variance + eps)`, eps zero or greater.
    InsideRoot(f32),
    /// `sqrt(variance) + eps`, eps zero or greater (ONNX MeanVarianceNormalization).
    AddedToDeviation(f32),
    /// `max(norm, eps)`, eps zero or greater (PyTorch `normalize`).
    Minimum(f32),
    /// `sqrt(variance + f32::EPSILON)`: what PyTorch's RMSNorm takes where eps is absent.
    Machine,
    /// As [`Epsilon::InsideRoot`], of any finite value. A negative one, which PyTorch's functional
    /// interface takes, gives NaN where `variance + eps` is negative.
    AsGiven(f32),
}

impl Default for Epsilon {
    fn default() -> Self {
        Self::InsideRoot(1e-5)
    }
}

/// What happens to statistics of a single element, whose unbiased variance divides by zero.
/// For use with [`NormDescriptor::single_element`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SingleElement {
    /// A typed error where PyTorch's modules raise one: Batch and Instance statistics of one element
    /// a segment, Group where the whole batch leaves one element a group, and an unbiased adaptive norm of one
    /// element a segment of content or style.
    #[default]
    Refuse,
    /// Computed as the formula says: output is the bias, an unbiased running variance becomes NaN.
    Allow,
}

/// Divisor of a variance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Variance {
    /// Divided by `n` (population).
    #[default]
    Biased,
    /// Divided by `n - 1` (sample).
    Unbiased,
}

/// The kind of norm, with what only that kind needs. For use with [`NormDescriptor::kind`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NormKind<'a> {
    /// Statistics per channel, over the batch and all spatial axes (none is fine).
    Batch,
    /// Statistics per sample and channel, over all spatial axes.
    Instance,
    /// Statistics per sample and group of channels.
    Group {
        /// Number of groups; divides the channels.
        groups: u64,
    },
    /// Statistics over one contiguous range of axes, usually the trailing ones (`normalized_shape`).
    Layer {
        /// The axes that share statistics; scale and bias have their shape.
        axes: Range<usize>,
    },
    /// As Layer, not centred: `y = x / sqrt(mean(x^2) + eps) * scale + bias`.
    Rms {
        /// The axes that share statistics; scale and bias have their shape.
        axes: Range<usize>,
    },
    /// `x / norm_p(x)` over one range of axes. With [`Epsilon::Minimum`] as PyTorch's `normalize`; a
    /// divisor of 0 gives 0, as ONNX LpNormalization has it.
    LpNormalize {
        /// Any number: of 0 the norm is the number of elements that are not 0, of infinity the largest magnitude, of
        /// minus infinity the smallest.
        p: f32,
        /// The axes that share a norm.
        axes: Range<usize>,
    },
    /// Weight normalization `g * v / norm2(v)`: the input is v, the scale g. A zero row of v gives 0 and gradients
    /// 0; with [`Epsilon::AsGiven`] of 0 it gives NaN, as PyTorch has it.
    Weight {
        /// The axis that is kept: one norm and one g for each of its indices. `None`: one for the whole tensor.
        dim: Option<usize>,
    },
    /// `(x - mean) / divisor` over any set of axes that interleaves with the others at most as kept, reduced, kept,
    /// reduced (ONNX MeanVarianceNormalization with [`Epsilon::AddedToDeviation`] of 1e-9). Other sets need the axes in
    /// another order: [`PlanError::AxesInterleave`](crate::PlanError::AxesInterleave) names one.
    MeanVariance {
        /// The axes that share statistics, ascending.
        axes: &'a [usize],
    },
}

/// Describes a norm over a tensor. For use with [`NormEngine::create_norm`].
///
/// [`NormEngine::create_norm`]: crate::NormEngine::create_norm
#[derive(Clone, Debug)]
pub struct NormDescriptor<'a> {
    /// Prefix of the labels of everything made for this norm.
    pub label: Option<&'a str>,
    /// Which norm.
    pub kind: NormKind<'a>,
    /// Sizes of the axes as they lie in memory, outermost first; rank 0 to 8, zero sizes allowed.
    pub shape: &'a [u64],
    /// Which axis holds the channels; of no meaning to the kinds that name their axes.
    pub format: MemoryFormat,
    /// Where eps enters the divisor.
    pub eps: Epsilon,
    /// Which parameters are applied.
    pub affine: Affine,
    /// The axes over which the parameters vary.
    pub affine_axes: AffineAxes<'a>,
    /// What statistics of one element do.
    pub single_element: SingleElement,
    /// Element types of the tensors; f32 by default.
    pub types: Types,
    /// What stands around the norm; nothing by default.
    pub fusion: Fusion<'a>,
}

/// Describes an adaptive instance norm. For use with [`Planner::plan_adaptive`](crate::Planner::plan_adaptive).
#[derive(Clone, Copy, Debug)]
pub struct AdaptiveDescriptor<'a> {
    /// Prefix of the labels of everything made for this norm.
    pub label: Option<&'a str>,
    /// Shape of the content, as its axes lie in memory.
    pub shape: &'a [u64],
    /// Shape of the style: rank and channels of the content, any spatial size, and the content's batch size or 1 (one
    /// style for all samples).
    pub style_shape: &'a [u64],
    /// Which axis holds the channels, of both.
    pub format: MemoryFormat,
    /// Where eps enters the content's divisor.
    pub eps: Epsilon,
    /// Where eps enters the style's deviation.
    pub style_eps: StyleEpsilon,
    /// Divisor of both variances.
    pub variance: Variance,
    /// What unbiased variances of one element do.
    pub single_element: SingleElement,
    /// Element types of the tensors; f32 by default. The style has that of the input.
    pub types: Types,
}

/// Whether eps of an adaptive instance norm enters the style's deviation too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StyleEpsilon {
    /// `sqrt(variance(style) + eps)`, as in the content's divisor.
    #[default]
    AsContent,
    /// `sqrt(variance(style))`.
    None,
}

impl<'a> AdaptiveDescriptor<'a> {
    /// Channels first, eps 1e-5 inside both roots, biased variances.
    pub fn new(shape: &'a [u64], style_shape: &'a [u64]) -> Self {
        Self {
            label: None,
            shape,
            style_shape,
            format: MemoryFormat::default(),
            eps: Epsilon::default(),
            style_eps: StyleEpsilon::default(),
            variance: Variance::default(),
            single_element: SingleElement::default(),
            types: Types::default(),
        }
    }
}

/// How running statistics take in a batch. For use with [`RunningArgs::update`].
///
/// [`RunningArgs::update`]: crate::RunningArgs::update
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunningUpdate {
    /// Weight of the new value.
    pub momentum: Momentum,
    /// Which variance of the batch is taken in: unbiased in PyTorch, biased in ONNX, Flax and Keras.
    pub variance: Variance,
}

impl Default for RunningUpdate {
    /// PyTorch's: momentum 0.1, unbiased variance.
    fn default() -> Self {
        Self { momentum: Momentum::Weight(0.1), variance: Variance::Unbiased }
    }
}

/// Weight of the *new* value in a running average: `running = (1 - momentum) * running + momentum * batch`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Momentum {
    /// A constant in 0..=1, as in PyTorch. (ONNX, Flax and Keras give the decay, `1 - momentum`.)
    Weight(f32),
    /// Any finite constant; PyTorch's functional interface takes such.
    AsGiven(f32),
    /// Cumulative average: 1 / (number of batches so far); needs the counter of batches.
    Cumulative,
}
