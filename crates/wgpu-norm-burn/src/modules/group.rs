use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, Param};
use burn::nn::{self, Initializer};
use burn::tensor::{Device, Tensor};

use super::affine;
use crate::norm::{Around, Normalize, Normalized, check_channels, normalize};
use crate::op::{Kind, Op};
use crate::tensor::Norms;

/// Configuration of a [`GroupNorm`], as [`burn::nn::GroupNormConfig`].
#[derive(Config, Debug)]
pub struct GroupNormConfig {
    /// Number of groups of channels.
    pub num_groups: usize,
    /// Number of channels, the second axis.
    pub num_channels: usize,
    /// Added to the variance. Default: 1e-5
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// Whether there are gamma and beta, one a channel. Default: true
    #[config(default = true)]
    pub affine: bool,
}

impl GroupNormConfig {
    /// A group norm with gamma 1 and beta 0.
    ///
    /// # Panics
    /// Where the groups do not divide the channels.
    pub fn init(&self, device: &Device) -> GroupNorm {
        let Self { num_groups, num_channels, epsilon, affine } = *self;
        check_groups(num_groups, num_channels);
        let gamma = affine.then(|| Initializer::Ones.init([num_channels], device));
        let beta = affine.then(|| Initializer::Zeros.init([num_channels], device));
        GroupNorm { gamma, beta, num_groups, num_channels, epsilon, affine }
    }
}

fn check_groups(groups: usize, channels: usize) {
    let divides = groups > 0 && channels.is_multiple_of(groups);
    assert!(divides, "GroupNorm: {groups} groups do not divide {channels} channels");
}

/// Group norm, in place of [`burn::nn::GroupNorm`]: the same fields and records.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct GroupNorm {
    /// The scale.
    pub gamma: Option<Param<Tensor<1>>>,
    /// The bias.
    pub beta: Option<Param<Tensor<1>>>,
    /// Number of groups of channels.
    pub num_groups: usize,
    /// Number of channels, the second axis.
    pub num_channels: usize,
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether gamma and beta are applied.
    pub affine: bool,
}

impl GroupNorm {
    /// `(x - mean) / sqrt(variance + epsilon) * gamma + beta` over each sample's groups of channels.
    ///
    /// # Panics
    /// Where the second axis is not `num_channels`, the groups do not divide it, or gamma or beta is missing.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.normalize(input, Around::NOTHING).0
    }
}

impl Normalize for GroupNorm {
    fn normalize<const D: usize>(&self, input: Tensor<D>, around: Around<D>) -> Normalized<D> {
        check_channels("GroupNorm", &input, self.num_channels);
        check_groups(self.num_groups, self.num_channels);
        let (gamma, beta) = affine("GroupNorm", self.affine, &self.gamma, &self.beta);
        let op = Op::new(Kind::Group { groups: self.num_groups }, self.epsilon);
        normalize(op, Norms::of(input, gamma, beta), around, |x| nn::GroupNorm::from(self).forward(x))
    }
}

impl From<&GroupNorm> for nn::GroupNorm {
    fn from(norm: &GroupNorm) -> Self {
        let GroupNorm { gamma, beta, num_groups, num_channels, epsilon, affine } = norm.clone();
        Self { gamma, beta, num_groups, num_channels, epsilon, affine }
    }
}

impl ModuleDisplay for GroupNorm {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let content = content.add("num_groups", &self.num_groups).add("num_channels", &self.num_channels);
        content.add("epsilon", &self.epsilon).add("affine", &self.affine).optional()
    }
}
