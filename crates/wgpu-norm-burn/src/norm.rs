//! What all norms share: a forward pass with what stands around it, by the engine or by Burn.

use burn::tensor::{Tensor, activation};
use wgpu_norm::Activation;

use crate::op::Op;
use crate::tensor::Norms;

/// What stands around a norm.
#[derive(Clone, Debug)]
pub struct Around<const D: usize> {
    pub(crate) activation: Activation,
    pub(crate) residual: Option<Tensor<D>>,
}

impl<const D: usize> Around<D> {
    pub(crate) const NOTHING: Self = Self { activation: Activation::Identity, residual: None };
}

/// The norm, and the sum of input and residual where there is one.
pub type Normalized<const D: usize> = (Tensor<D>, Option<Tensor<D>>);

/// A norm of this crate: for use with [`norm_activation`] and [`add_norm`].
pub trait Normalize {
    #[doc(hidden)]
    fn normalize<const D: usize>(&self, input: Tensor<D>, around: Around<D>) -> Normalized<D>;
}

/// `activation(norm(input))` in one pass over memory.
///
/// ```no_run
/// # fn example(norm: wgpu_norm_burn::GroupNorm, x: burn::tensor::Tensor<4>) -> burn::tensor::Tensor<4> {
/// use wgpu_norm_burn::{Activation, norm_activation};
///
/// norm_activation(&norm, x, Activation::Silu)
/// # }
/// ```
///
/// # Panics
/// As the norm's `forward`.
pub fn norm_activation<const D: usize>(norm: &impl Normalize, input: Tensor<D>, activation: Activation) -> Tensor<D> {
    norm.normalize(input, Around { activation, ..Around::NOTHING }).0
}

/// `norm(input + residual)` and that sum, in one pass over memory: the residual connection before a norm.
///
/// ```no_run
/// # use burn::tensor::Tensor;
/// # fn example(norm: wgpu_norm_burn::RmsNorm, x: Tensor<3>, residual: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
/// use wgpu_norm_burn::add_norm;
///
/// let (normalized, residual) = add_norm(&norm, x, residual);
/// # (normalized, residual)
/// # }
/// ```
///
/// # Panics
/// Where input and residual differ in shape, and as the norm's `forward`.
pub fn add_norm<const D: usize>(
    norm: &impl Normalize,
    input: Tensor<D>,
    residual: Tensor<D>,
) -> (Tensor<D>, Tensor<D>) {
    let [of_input, of_residual] = [input.dims(), residual.dims()];
    assert!(of_input == of_residual, "add_norm: the input is {of_input:?}, the residual {of_residual:?}");
    let residual = Some(residual);
    let (output, sum) = norm.normalize(input, Around { residual, ..Around::NOTHING });
    (output, sum.expect("a residual makes a sum"))
}

/// The engine's norm, or `burn`'s with what stands around it as operators of their own.
pub(crate) fn normalize<const D: usize>(
    op: Op,
    norms: Norms<D>,
    around: Around<D>,
    burn: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Normalized<D> {
    let Around { activation, residual } = around;
    match (Norms { residual, ..norms }).apply(Op { activation, ..op }) {
        Ok(made) => (made.output, made.sum),
        Err(norms) => {
            let Norms { input, residual, .. } = *norms;
            one_by_one(input, Around { activation, residual }, burn)
        }
    }
}

/// What stands around a norm of Burn, as operators of their own.
pub(crate) fn one_by_one<const D: usize>(
    input: Tensor<D>,
    Around { activation, residual }: Around<D>,
    burn: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Normalized<D> {
    let sum = residual.map(|residual| input.clone() + residual);
    let normalized = burn(sum.clone().unwrap_or(input));
    (activate(normalized, activation), sum)
}

fn activate<const D: usize>(tensor: Tensor<D>, kind: Activation) -> Tensor<D> {
    match kind {
        Activation::Identity => tensor,
        Activation::Relu => activation::relu(tensor),
        Activation::LeakyRelu { slope } => activation::leaky_relu(tensor, slope.into()),
        Activation::Silu => activation::silu(tensor),
        Activation::Gelu => activation::gelu(tensor),
        Activation::GeluTanh => activation::gelu_approximate(tensor),
        Activation::Sigmoid => activation::sigmoid(tensor),
        other => panic!("wgpu-norm: Burn has no {other:?} to fall back to"),
    }
}

/// Panics where the last axis is not the norm's.
pub(crate) fn check_features<const D: usize>(name: &str, input: &Tensor<D>, features: usize) {
    let shape = input.dims();
    let last = shape.last().copied();
    assert!(last == Some(features), "{name}: made for {features} features in the last axis, the input is {shape:?}");
}

/// Panics where the second axis is not the norm's.
pub(crate) fn check_channels<const D: usize>(name: &str, input: &Tensor<D>, channels: usize) {
    let shape = input.dims();
    let second = shape.get(1).copied();
    assert!(
        second == Some(channels),
        "{name}: made for {channels} channels in the second axis, the input is {shape:?}"
    );
}
