use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, Param};
use burn::nn::{self, Initializer};
use burn::tensor::{Device, Tensor};

use super::affine;
use crate::norm::{Around, Normalize, Normalized, check_channels, normalize};
use crate::op::{Kind, Op};
use crate::tensor::Norms;

/// Configuration of an [`InstanceNorm`], as [`burn::nn::InstanceNormConfig`].
#[derive(Config, Debug)]
pub struct InstanceNormConfig {
    /// Number of channels, the second axis.
    pub num_channels: usize,
    /// Added to the variance. Default: 1e-5
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// Whether there are gamma and beta, one a channel. Default: true
    #[config(default = true)]
    pub affine: bool,
}

impl InstanceNormConfig {
    /// An instance norm with gamma 1 and beta 0.
    pub fn init(&self, device: &Device) -> InstanceNorm {
        let Self { num_channels, epsilon, affine } = *self;
        let gamma = affine.then(|| Initializer::Ones.init([num_channels], device));
        let beta = affine.then(|| Initializer::Zeros.init([num_channels], device));
        InstanceNorm { gamma, beta, num_channels, epsilon, affine }
    }
}

/// Instance norm, in place of [`burn::nn::InstanceNorm`]: the same fields and records.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct InstanceNorm {
    /// The scale.
    pub gamma: Option<Param<Tensor<1>>>,
    /// The bias.
    pub beta: Option<Param<Tensor<1>>>,
    /// Number of channels, the second axis.
    pub num_channels: usize,
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether gamma and beta are applied.
    pub affine: bool,
}

impl InstanceNorm {
    /// `(x - mean) / sqrt(variance + epsilon) * gamma + beta` over each sample's channels.
    ///
    /// # Panics
    /// Where the second axis is not `num_channels`, or gamma or beta is missing.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.normalize(input, Around::NOTHING).0
    }
}

impl Normalize for InstanceNorm {
    fn normalize<const D: usize>(&self, input: Tensor<D>, around: Around<D>) -> Normalized<D> {
        check_channels("InstanceNorm", &input, self.num_channels);
        let (gamma, beta) = affine("InstanceNorm", self.affine, &self.gamma, &self.beta);
        let op = Op::new(Kind::Instance, self.epsilon);
        normalize(op, Norms::of(input, gamma, beta), around, |x| nn::InstanceNorm::from(self).forward(x))
    }
}

impl From<&InstanceNorm> for nn::InstanceNorm {
    fn from(norm: &InstanceNorm) -> Self {
        let InstanceNorm { gamma, beta, num_channels, epsilon, affine } = norm.clone();
        Self { gamma, beta, num_channels, epsilon, affine }
    }
}

impl ModuleDisplay for InstanceNorm {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let content = content.add("num_channels", &self.num_channels);
        content.add("epsilon", &self.epsilon).add("affine", &self.affine).optional()
    }
}
