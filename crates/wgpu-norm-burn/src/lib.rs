#![doc = include_str!("../README.md")]

mod autodiff;
mod cube;
#[cfg(feature = "fusion")]
mod fusion;
mod modules;
mod norm;
mod op;
mod plan;
mod setup;
mod tensor;

pub use modules::{
    BatchNorm, BatchNormConfig, GroupNorm, GroupNormConfig, InstanceNorm, InstanceNormConfig, LayerNorm,
    LayerNormConfig, RmsNorm, RmsNormConfig,
};
pub use norm::{Normalize, add_norm, norm_activation};
pub use setup::{SetupError, init, init_async, register};
pub use wgpu_norm::{Activation, wgpu};
