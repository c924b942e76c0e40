//! What a norm takes and gives, as Burn's backends see it: one trait, a method for each direction.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, ExtensionType, Shape, backend_extension};
use wgpu_norm::Activation;

/// Which norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Layer,
    Rms,
    Group { groups: usize },
    Instance,
    Batch,
}

impl Kind {
    /// The shape that plans see: rows and columns, or samples, channels and what lies behind them.
    pub(crate) fn merged(self, shape: &[usize]) -> Vec<u64> {
        let count = |axes: &[usize]| axes.iter().map(|n| *n as u64).product();
        match (self, shape) {
            (Self::Layer | Self::Rms, [rows @ .., columns]) => vec![count(rows), *columns as u64],
            (_, [samples, channels, space @ ..]) => vec![*samples as u64, *channels as u64, count(space)],
            (_, short) => vec![count(short)],
        }
    }

    /// Number of segments that share statistics.
    fn segments(self, shape: &[usize]) -> usize {
        match (self, shape) {
            (Self::Layer | Self::Rms, [rows @ .., _]) => rows.iter().product(),
            (Self::Group { groups }, [samples, ..]) => samples * groups,
            (Self::Instance, [samples, channels, ..]) => samples * channels,
            (Self::Batch, [_, channels, ..]) => *channels,
            _ => 1,
        }
    }
}

/// Where a norm's statistics come from, and what becomes of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Statistics {
    /// Of the input.
    Input,
    /// Of the input, and given out as means and variances, for running statistics.
    Exported,
    /// Given as means and variances.
    Given,
}

/// Whether a forward pass keeps what its backward pass needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Keep {
    Nothing,
    Moments,
}

/// A norm with what stands around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Op {
    pub kind: Kind,
    pub epsilon: f32,
    pub statistics: Statistics,
    pub activation: Activation,
    pub keep: Keep,
}

impl Op {
    pub(crate) fn new(kind: Kind, epsilon: f64) -> Self {
        let (statistics, activation, keep) = (Statistics::Input, Activation::Identity, Keep::Nothing);
        Self { kind, epsilon: epsilon as f32, statistics, activation, keep }
    }

    /// Moments of a tensor of this shape: four numbers a segment, f32.
    pub(crate) fn moments_shape(&self, shape: &Shape) -> Shape {
        Shape::new([self.kind.segments(shape), 4])
    }

    /// Whether moments leave the forward pass.
    pub(crate) fn has_moments(&self) -> bool {
        self.keep == Keep::Moments
    }
}

/// A tensor that may be there.
#[derive(Clone, Debug, ExtensionType)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub enum Optional<B: Backend> {
    /// It is not.
    Absent,
    /// It is.
    Present(FloatTensor<B>),
}

impl<B: Backend> From<Option<FloatTensor<B>>> for Optional<B> {
    fn from(tensor: Option<FloatTensor<B>>) -> Self {
        tensor.map_or(Self::Absent, Self::Present)
    }
}

impl<B: Backend> Optional<B> {
    pub(crate) fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Absent => None,
            Self::Present(tensor) => Some(tensor),
        }
    }
}

/// What a forward pass reads.
#[derive(Clone, Debug, ExtensionType)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct Operands<B: Backend> {
    pub(crate) input: FloatTensor<B>,
    #[extension_type]
    pub(crate) scale: Optional<B>,
    #[extension_type]
    pub(crate) bias: Optional<B>,
    /// Added to the input before it is normalized.
    #[extension_type]
    pub(crate) residual: Optional<B>,
    /// Where statistics are given.
    #[extension_type]
    pub(crate) mean: Optional<B>,
    #[extension_type]
    pub(crate) variance: Optional<B>,
}

/// What a forward pass writes.
#[derive(Clone, Debug, ExtensionType)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct Outputs<B: Backend> {
    pub(crate) output: FloatTensor<B>,
    /// Of input and residual.
    #[extension_type]
    pub(crate) sum: Optional<B>,
    #[extension_type]
    pub(crate) moments: Optional<B>,
    /// Where statistics are exported, f32.
    #[extension_type]
    pub(crate) mean: Optional<B>,
    #[extension_type]
    pub(crate) variance: Optional<B>,
}

/// What a backward pass reads.
#[derive(Clone, Debug, ExtensionType)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct Saved<B: Backend> {
    /// What was normalized.
    pub(crate) input: FloatTensor<B>,
    pub(crate) grad_output: FloatTensor<B>,
    pub(crate) moments: FloatTensor<B>,
    #[extension_type]
    pub(crate) scale: Optional<B>,
    #[extension_type]
    pub(crate) bias: Optional<B>,
}

/// Which gradients are wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted {
    pub(crate) input: bool,
    pub(crate) scale: bool,
    pub(crate) bias: bool,
}

/// What a backward pass writes.
#[derive(Clone, Debug, ExtensionType)]
#[cfg_attr(feature = "fusion", extension_type(fusion))]
pub struct Gradients<B: Backend> {
    #[extension_type]
    pub(crate) input: Optional<B>,
    #[extension_type]
    pub(crate) scale: Optional<B>,
    #[extension_type]
    pub(crate) bias: Optional<B>,
}

/// Backends that have the norms of this crate. Burn picks the implementation by a tensor's device.
#[diagnostic::on_unimplemented(message = "Burn has its feature `fusion` here: wgpu-norm-burn has to have its own too")]
#[backend_extension(Cube, Autodiff, Fusion: cfg(feature = "fusion"))]
pub(crate) trait NormBackend: Backend {
    /// Normalizes.
    #[fusion(meta = crate::fusion::outputs)]
    fn norm_forward(#[extension_type] operands: Operands<Self>, op: Op) -> Outputs<Self>;

    /// The gradients that are wanted, of a forward pass that kept its moments.
    #[fusion(meta = crate::fusion::gradients)]
    fn norm_backward(#[extension_type] saved: Saved<Self>, op: Op, wanted: Wanted) -> Gradients<Self>;
}
