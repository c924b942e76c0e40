//! Two small networks, written once for the norms of this crate and once for those of Burn: only the paths differ.

use burn::module::Module;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Distribution, Tensor};

/// What is trained, on tensors of a shape.
pub trait Network<const D: usize>: Module {
    fn new(device: &Device) -> Self;
    fn forward(&self, input: Tensor<D>) -> Tensor<D>;
}

/// Channels of the convolutional network, as of its input.
pub const CHANNELS: usize = 16;
/// Features of a token.
pub const FEATURES: usize = 64;

macro_rules! networks {
    ($($norms:tt)*) => {
        use burn::module::Module;
        use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig};
        use burn::nn::conv::{Conv2d, Conv2dConfig};
        use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
        use burn::tensor::{Device, Tensor, activation};
        use $($norms)*::{
            BatchNorm, BatchNormConfig, GroupNorm, GroupNormConfig, InstanceNorm, InstanceNormConfig, LayerNorm,
            LayerNormConfig, RmsNorm, RmsNormConfig,
        };

        use super::{CHANNELS, FEATURES, Network};

        /// Convolutions, with a batch, a group and an instance norm.
        #[derive(Module, Debug)]
        pub struct ConvNet {
            first: Conv2d,
            batch: BatchNorm,
            second: Conv2d,
            group: GroupNorm,
            third: Conv2d,
            instance: InstanceNorm,
        }

        impl Network<4> for ConvNet {
            fn new(device: &Device) -> Self {
                let convolution = || {
                    let config = Conv2dConfig::new([CHANNELS, CHANNELS], [3, 3]);
                    config.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(device)
                };
                Self {
                    first: convolution(),
                    batch: BatchNormConfig::new(CHANNELS).init(device),
                    second: convolution(),
                    group: GroupNormConfig::new(4, CHANNELS).init(device),
                    third: convolution(),
                    instance: InstanceNormConfig::new(CHANNELS).init(device),
                }
            }

            fn forward(&self, input: Tensor<4>) -> Tensor<4> {
                let x = activation::relu(self.batch.forward(self.first.forward(input)));
                let x = activation::silu(self.group.forward(self.second.forward(x)));
                self.instance.forward(self.third.forward(x))
            }
        }

        /// Attention and a layer of neurons, each behind a norm.
        #[derive(Module, Debug)]
        pub struct Block {
            before_attention: LayerNorm,
            attention: MultiHeadAttention,
            before_neurons: RmsNorm,
            up: Linear,
            down: Linear,
        }

        impl Network<3> for Block {
            fn new(device: &Device) -> Self {
                Self {
                    before_attention: LayerNormConfig::new(FEATURES).init(device),
                    attention: MultiHeadAttentionConfig::new(FEATURES, 4).with_dropout(0.0).init(device),
                    before_neurons: RmsNormConfig::new(FEATURES).init(device),
                    up: LinearConfig::new(FEATURES, 2 * FEATURES).init(device),
                    down: LinearConfig::new(2 * FEATURES, FEATURES).init(device),
                }
            }

            fn forward(&self, input: Tensor<3>) -> Tensor<3> {
                let x = self.before_attention.forward(input.clone());
                let x = self.attention.forward(MhaInput::self_attn(x)).context + input;
                let y = self.up.forward(self.before_neurons.forward(x.clone()));
                self.down.forward(activation::gelu(y)) + x
            }
        }
    };
}

pub mod ours {
    networks!(wgpu_norm_burn);
}

pub mod theirs {
    networks!(burn::nn);
}

/// Inputs and what a network shall make of them.
#[derive(Clone)]
pub struct Data<const D: usize> {
    input: Tensor<D>,
    target: Tensor<D>,
}

impl<const D: usize> Data<D> {
    pub fn random(shape: [usize; D], device: &Device) -> Self {
        let [input, target] = [(); 2].map(|()| Tensor::random(shape, Distribution::Normal(0.0, 1.0), device));
        Self { input, target }
    }
}

/// Trains for some steps by plain descent; the losses, read once at the end.
pub fn train<const D: usize, N: Network<D>>(mut network: N, data: &Data<D>, steps: usize) -> Vec<f32> {
    let mut optimizer = SgdConfig::new().init();
    let mut losses = Vec::new();
    for _ in 0..steps {
        let error = network.forward(data.input.clone()) - data.target.clone();
        let loss = (error.clone() * error).mean();
        losses.push(loss.clone().detach());
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(0.05, network, gradients);
    }
    Tensor::cat(losses, 0).into_data().iter::<f32>().collect()
}

/// A network of ours with the parameters of one of Burn's: its record loads.
pub fn same<const D: usize, O: Network<D>>(theirs: &impl Network<D>, device: &Device) -> O {
    O::new(device).load_record(theirs.clone().into_record())
}
