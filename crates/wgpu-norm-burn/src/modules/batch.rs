use burn::config::Config;
use burn::module::{Content, DisplaySettings, Flag, Module, ModuleDisplay, Param, RunningState};
use burn::nn::{self, Initializer};
use burn::tensor::{Device, FloatDType, Tensor};

use crate::norm::{Around, Normalize, Normalized, check_channels, normalize, one_by_one};
use crate::op::{Kind, Op, Statistics};
use crate::tensor::Norms;

/// Configuration of a [`BatchNorm`], as [`burn::nn::BatchNormConfig`].
#[derive(Config, Debug)]
pub struct BatchNormConfig {
    /// Number of channels, the second axis.
    pub num_features: usize,
    /// Added to the variance, finite and positive. Default: 1e-5
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// Weight of a batch in the running statistics, 0 to 1. Default: 0.1
    #[config(default = 0.1)]
    pub momentum: f64,
}

impl BatchNormConfig {
    /// A batch norm with gamma 1, beta 0, running means 0 and variances 1.
    ///
    /// # Panics
    /// Where there are no features, `epsilon` is not finite and positive, or `momentum` not within 0 and 1.
    pub fn init(&self, device: &Device) -> BatchNorm {
        let Self { num_features, epsilon, momentum } = *self;
        assert!(num_features > 0, "BatchNorm: num_features must be greater than zero");
        let positive = epsilon.is_finite() && epsilon > 0.0;
        assert!(positive, "BatchNorm: epsilon must be finite and positive, is {epsilon}");
        assert!((0.0..=1.0).contains(&momentum), "BatchNorm: momentum must be within 0 and 1, is {momentum}");
        BatchNorm {
            gamma: Initializer::Ones.init([num_features], device),
            beta: Initializer::Zeros.init([num_features], device),
            training: Param::from_bool(true),
            running_mean: RunningState::new(Tensor::zeros([num_features], device)),
            running_var: RunningState::new(Tensor::ones([num_features], device)),
            momentum,
            epsilon,
        }
    }
}

/// Batch norm, in place of [`burn::nn::BatchNorm`]: the same fields and records.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct BatchNorm {
    /// The scale.
    pub gamma: Param<Tensor<1>>,
    /// The bias.
    pub beta: Param<Tensor<1>>,
    /// Whether the layer takes part in training.
    pub training: Param<Flag>,
    /// The running mean.
    pub running_mean: RunningState<Tensor<1>>,
    /// The running variance, biased as Burn has it.
    pub running_var: RunningState<Tensor<1>>,
    /// Weight of a batch in the running statistics.
    pub momentum: f64,
    /// Added to the variance.
    pub epsilon: f64,
}

impl BatchNorm {
    /// `(x - mean) / sqrt(variance + epsilon) * gamma + beta`: in training, which is on an autodiff device and not
    /// frozen, by the statistics of the batch, which go into the running ones; else by those.
    ///
    /// # Panics
    /// Where the second axis is not `num_features`.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.normalize(input, Around::NOTHING).0
    }

    fn train<const D: usize>(&self, norms: Norms<D>, around: Around<D>, op: Op) -> Normalized<D> {
        let is_empty = norms.input.shape().num_elements() == 0;
        let Around { activation, residual } = around;
        let op = Op { statistics: Statistics::Exported, activation, ..op };
        match (Norms { residual, ..norms }).apply(op) {
            Ok(made) => {
                let (mean, variance) = made.exported.expect("statistics were to be exported");
                // a batch of nothing has none
                if !is_empty {
                    self.take_in(&self.running_mean, mean);
                    self.take_in(&self.running_var, variance);
                }
                (made.output, made.sum)
            }
            Err(norms) => {
                let Norms { input, residual, .. } = *norms;
                self.burn(input, Around { activation, residual })
            }
        }
    }

    /// As Burn does, without gradients; running statistics keep their type.
    fn take_in(&self, running: &RunningState<Tensor<1>>, batch: Tensor<1>) {
        let old = running.value_sync().to_device(&batch.device());
        let batch = batch.detach().cast(FloatDType::from(old.dtype()));
        let new = old.mul_scalar(1.0 - self.momentum).add(batch.mul_scalar(self.momentum));
        running.update(new.detach());
    }

    fn burn<const D: usize>(&self, input: Tensor<D>, around: Around<D>) -> Normalized<D> {
        one_by_one(input, around, |x| nn::BatchNorm::from(self).forward(x))
    }
}

impl Normalize for BatchNorm {
    fn normalize<const D: usize>(&self, input: Tensor<D>, around: Around<D>) -> Normalized<D> {
        check_channels("BatchNorm", &input, self.gamma.shape().dims::<1>()[0]);
        let device = input.device();
        let norms = Norms::of(input, Some(self.gamma.val()), Some(self.beta.val()));
        let op = Op::new(Kind::Batch, self.epsilon);
        if device.is_autodiff() && self.training.is_enabled() {
            return self.train(norms, around, op);
        }
        let running = |state: &RunningState<Tensor<1>>| state.value().to_device(&device);
        let given = Some((running(&self.running_mean), running(&self.running_var)));
        let op = Op { statistics: Statistics::Given, ..op };
        normalize(op, Norms { given, ..norms }, around, |x| nn::BatchNorm::from(self).forward(x))
    }
}

impl From<&BatchNorm> for nn::BatchNorm {
    /// Both share their running statistics.
    fn from(norm: &BatchNorm) -> Self {
        let BatchNorm { gamma, beta, training, running_mean, running_var, momentum, epsilon } = norm.clone();
        Self { gamma, beta, training, running_mean, running_var, momentum, epsilon }
    }
}

impl ModuleDisplay for BatchNorm {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let [num_features] = self.beta.shape().dims();
        let content = content.add("num_features", &num_features);
        let content = content.add("momentum", &self.momentum).add("epsilon", &self.epsilon);
        match self.training.is_enabled() {
            true => content.optional(),
            false => content.add("training", &self.training).optional(),
        }
    }
}
