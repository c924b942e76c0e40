use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, Param};
use burn::nn::{self, Initializer};
use burn::tensor::{Device, Tensor};

use crate::norm::{Around, Normalize, Normalized, check_features, normalize};
use crate::op::{Kind, Op};
use crate::tensor::Norms;

/// Configuration of a [`LayerNorm`], as [`burn::nn::LayerNormConfig`].
#[derive(Config, Debug)]
pub struct LayerNormConfig {
    /// Number of features, the last axis.
    pub d_model: usize,
    /// Added to the variance. Default: 1e-5
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// Whether there is a bias (beta). Default: true
    #[config(default = true)]
    pub bias: bool,
}

impl LayerNormConfig {
    /// A layer norm with gamma 1 and beta 0.
    pub fn init(&self, device: &Device) -> LayerNorm {
        let gamma = Initializer::Ones.init([self.d_model], device);
        let beta = self.bias.then(|| Initializer::Zeros.init([self.d_model], device));
        LayerNorm { gamma, beta, epsilon: self.epsilon }
    }
}

/// Layer norm over the last axis, in place of [`burn::nn::LayerNorm`]: the same fields and records.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct LayerNorm {
    /// The scale.
    pub gamma: Param<Tensor<1>>,
    /// The bias, if there is one.
    pub beta: Option<Param<Tensor<1>>>,
    epsilon: f64,
}

impl LayerNorm {
    /// `(x - mean) / sqrt(variance + epsilon) * gamma + beta` over the last axis.
    ///
    /// # Panics
    /// Where the last axis is not `d_model`.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.normalize(input, Around::NOTHING).0
    }
}

impl Normalize for LayerNorm {
    fn normalize<const D: usize>(&self, input: Tensor<D>, around: Around<D>) -> Normalized<D> {
        let gamma = self.gamma.val();
        check_features("LayerNorm", &input, gamma.dims()[0]);
        let beta = self.beta.as_ref().map(Param::val);
        let op = Op::new(Kind::Layer, self.epsilon);
        normalize(op, Norms::of(input, Some(gamma), beta), around, |x| nn::LayerNorm::from(self).forward(x))
    }
}

impl From<&LayerNorm> for nn::LayerNorm {
    fn from(norm: &LayerNorm) -> Self {
        let LayerNorm { gamma, beta, epsilon } = norm.clone();
        let [features] = gamma.shape().dims();
        let config = nn::LayerNormConfig::new(features).with_epsilon(epsilon).with_bias(beta.is_some());
        let mut burn = config.init(&gamma.val().device());
        (burn.gamma, burn.beta) = (gamma, beta);
        burn
    }
}

impl ModuleDisplay for LayerNorm {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let [d_model] = self.gamma.shape().dims();
        let content = content.add("d_model", &d_model).add("epsilon", &self.epsilon);
        content.add("bias", &self.beta.is_some()).optional()
    }
}
