use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, Param};
use burn::nn::{self, Initializer};
use burn::tensor::{Device, Tensor};

use crate::norm::{Around, Normalize, Normalized, check_features, normalize};
use crate::op::{Kind, Op};
use crate::tensor::Norms;

/// Configuration of an [`RmsNorm`], as [`burn::nn::RmsNormConfig`].
#[derive(Config, Debug)]
pub struct RmsNormConfig {
    /// Number of features, the last axis.
    pub d_model: usize,
    /// Added to the mean square. Default: 1e-5
    #[config(default = 1e-5)]
    pub epsilon: f64,
}

impl RmsNormConfig {
    /// An RMS norm with gamma 1.
    ///
    /// # Panics
    /// Where `epsilon` is not positive.
    pub fn init(&self, device: &Device) -> RmsNorm {
        assert!(self.epsilon > 0.0, "RmsNorm: epsilon must be positive, is {}", self.epsilon);
        RmsNorm { gamma: Initializer::Ones.init([self.d_model], device), epsilon: self.epsilon }
    }
}

/// RMS norm over the last axis, in place of [`burn::nn::RmsNorm`]: the same fields and records.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct RmsNorm {
    /// The scale.
    pub gamma: Param<Tensor<1>>,
    /// Added to the mean square.
    pub epsilon: f64,
}

impl RmsNorm {
    /// `x / sqrt(mean(x^2) + epsilon) * gamma` over the last axis.
    ///
    /// # Panics
    /// Where the last axis is not `d_model`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.normalize(x, Around::NOTHING).0
    }
}

impl Normalize for RmsNorm {
    fn normalize<const D: usize>(&self, input: Tensor<D>, around: Around<D>) -> Normalized<D> {
        let gamma = self.gamma.val();
        check_features("RmsNorm", &input, gamma.dims()[0]);
        let op = Op::new(Kind::Rms, self.epsilon);
        normalize(op, Norms::of(input, Some(gamma), None), around, |x| nn::RmsNorm::from(self).forward(x))
    }
}

impl From<&RmsNorm> for nn::RmsNorm {
    fn from(norm: &RmsNorm) -> Self {
        let RmsNorm { gamma, epsilon } = norm.clone();
        Self { gamma, epsilon }
    }
}

impl ModuleDisplay for RmsNorm {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let [d_model] = self.gamma.shape().dims();
        content.add("d_model", &d_model).add("epsilon", &self.epsilon).optional()
    }
}
