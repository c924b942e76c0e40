//! Burn's norms under their names, with its fields.

mod batch;
mod group;
mod instance;
mod layer;
mod rms;

pub use batch::{BatchNorm, BatchNormConfig};
pub use group::{GroupNorm, GroupNormConfig};
pub use instance::{InstanceNorm, InstanceNormConfig};
pub use layer::{LayerNorm, LayerNormConfig};
pub use rms::{RmsNorm, RmsNormConfig};

use burn::module::Param;
use burn::tensor::Tensor;

type Parameter = Option<Param<Tensor<1>>>;

/// Gamma and beta where they are applied; panics where one is missing then.
fn affine(name: &str, affine: bool, gamma: &Parameter, beta: &Parameter) -> (Option<Tensor<1>>, Option<Tensor<1>>) {
    if !affine {
        return (None, None);
    }
    let both = gamma.is_some() && beta.is_some();
    assert!(both, "{name}: affine is set, but gamma or beta is missing");
    (gamma.as_ref().map(Param::val), beta.as_ref().map(Param::val))
}
