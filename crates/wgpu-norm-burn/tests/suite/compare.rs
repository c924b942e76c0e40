//! Two modules, one of ours and one of Burn's, with the same parameters, on the same tensors.

use burn::module::Param;
use burn::tensor::{Device, Tensor};

use crate::*;

/// A forward pass, and the parameters that it used.
pub(crate) type Forward<'a, const D: usize> = &'a dyn Fn(Tensor<D>, [Tensor<1>; 2]) -> Tensor<D>;

/// Results of a training step: output, gradients to input, gamma and beta, where they have one.
pub(crate) struct Step {
    pub output: Vec<f32>,
    pub gradients: Vec<(&'static str, Option<Vec<f32>>)>,
}

/// Which of input, gamma and beta want a gradient.
pub(crate) type Tracked = [bool; 3];

pub(crate) const ALL: Tracked = [true; 3];

/// One training step from tensors without autodiff.
pub(crate) fn step<const D: usize>(
    forward: Forward<'_, D>,
    input: &Tensor<D>,
    parameters: &[Tensor<1>; 2],
    weights: &Tensor<D>,
    tracked: Tracked,
) -> Step {
    let input = Tensor::from_inner(input.clone()).set_require_grad(tracked[0]);
    let [gamma, beta] = parameters.clone().map(Tensor::from_inner);
    let gamma = gamma.set_require_grad(tracked[1]);
    let beta = beta.set_require_grad(tracked[2]);
    let output = forward(input.clone(), [gamma.clone(), beta.clone()]);
    let values = numbers(&output);
    if tracked == [false; 3] {
        return Step { output: values, gradients: Vec::new() };
    }
    let grads = (output * Tensor::from_inner(weights.clone())).sum().backward();
    let gradients = vec![
        ("input", input.grad(&grads).as_ref().map(numbers)),
        ("gamma", gamma.grad(&grads).as_ref().map(numbers)),
        ("beta", beta.grad(&grads).as_ref().map(numbers)),
    ];
    Step { output: values, gradients }
}

/// Gradients are differences of means, which Burn takes in turn: so much wider.
const OF_GRADIENTS: f32 = 10.0;

/// Both agree within `tolerance` of the largest number of each tensor.
pub(crate) fn agree(case: &str, ours: &Step, theirs: &Step, tolerance: f32) {
    close(&format!("{case}: output"), &ours.output, &theirs.output, tolerance);
    for ((name, ours), (_, theirs)) in ours.gradients.iter().zip(&theirs.gradients) {
        let case = format!("{case}: gradient to {name}");
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => close(&case, ours, theirs, OF_GRADIENTS * tolerance),
            (ours, theirs) => assert_eq!(ours.is_some(), theirs.is_some(), "{case}: ours, theirs"),
        }
    }
}

pub(crate) fn close(case: &str, ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len(), "{case}: lengths");
    let largest = theirs.iter().fold(f32::MIN_POSITIVE, |largest, v| largest.max(v.abs()));
    for (i, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        let error = (ours - theirs).abs() / largest;
        // a NaN is no agreement
        assert!(error <= tolerance, "{case}: element {i}: ours {ours}, theirs {theirs}, {error:.1e} of {largest}");
    }
}

/// How a tensor lies in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layout {
    Rows,
    /// The last two axes swapped.
    Swapped,
    /// A part of a larger tensor, along every axis.
    Part,
    /// The same numbers along the first axis.
    Repeated,
}

pub(crate) const LAYOUTS: [Layout; 4] = [Layout::Rows, Layout::Swapped, Layout::Part, Layout::Repeated];

impl Layout {
    pub(crate) fn random<const D: usize>(self, shape: [usize; D], device: &Device) -> Tensor<D> {
        match self {
            Self::Rows => random(shape, device),
            Self::Swapped => {
                let mut swapped = shape;
                swapped.swap(D - 1, D.saturating_sub(2));
                random(swapped, device).swap_dims(D - 1, D.saturating_sub(2))
            }
            Self::Part => random(shape.map(|n| n + 2), device).slice(shape.map(|n| 1..n + 1)),
            Self::Repeated => {
                let mut one = shape;
                one[0] = 1;
                random(one, device).expand(shape)
            }
        }
    }
}

/// A parameter that keeps its node.
pub(crate) fn parameter(tensor: Tensor<1>) -> Param<Tensor<1>> {
    let tracked = tensor.is_require_grad();
    Param::from_tensor(tensor).set_require_grad(tracked)
}

/// Which norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Layer,
    LayerWithoutBias,
    Rms,
    Group {
        groups: usize,
    },
    GroupWithoutAffine {
        groups: usize,
    },
    Instance,
    InstanceWithoutAffine,
    /// By the batch's statistics.
    Batch,
}

impl Kind {
    pub(crate) fn is_of_rows(self) -> bool {
        matches!(self, Self::Layer | Self::LayerWithoutBias | Self::Rms)
    }

    /// Elements of gamma and of beta.
    pub(crate) fn parameters(self, shape: &[usize]) -> usize {
        if self.is_of_rows() { shape[shape.len() - 1] } else { shape[1] }
    }
}

/// The same code for the names of this crate and for those of Burn.
macro_rules! norms {
    ($($path:tt)*) => {
        use super::{Kind, parameter};
        use burn::tensor::Tensor;
        use $($path)*::*;

        pub(crate) fn layer([gamma, beta]: [Tensor<1>; 2], epsilon: f64, bias: bool) -> LayerNorm {
            let config = LayerNormConfig::new(gamma.dims()[0]).with_epsilon(epsilon).with_bias(bias);
            let mut norm = config.init(&gamma.device());
            norm.gamma = parameter(gamma);
            norm.beta = bias.then(|| parameter(beta));
            norm
        }

        pub(crate) fn rms(gamma: Tensor<1>, epsilon: f64) -> RmsNorm {
            let mut norm = RmsNormConfig::new(gamma.dims()[0]).with_epsilon(epsilon).init(&gamma.device());
            norm.gamma = parameter(gamma);
            norm
        }

        pub(crate) fn group([gamma, beta]: [Tensor<1>; 2], groups: usize, epsilon: f64, affine: bool) -> GroupNorm {
            let config = GroupNormConfig::new(groups, gamma.dims()[0]).with_epsilon(epsilon).with_affine(affine);
            let mut norm = config.init(&gamma.device());
            (norm.gamma, norm.beta) = (affine.then(|| parameter(gamma)), affine.then(|| parameter(beta)));
            norm
        }

        pub(crate) fn instance([gamma, beta]: [Tensor<1>; 2], epsilon: f64, affine: bool) -> InstanceNorm {
            let config = InstanceNormConfig::new(gamma.dims()[0]).with_epsilon(epsilon).with_affine(affine);
            let mut norm = config.init(&gamma.device());
            (norm.gamma, norm.beta) = (affine.then(|| parameter(gamma)), affine.then(|| parameter(beta)));
            norm
        }

        pub(crate) fn batch([gamma, beta]: [Tensor<1>; 2], epsilon: f64) -> BatchNorm {
            let mut norm = BatchNormConfig::new(gamma.dims()[0]).with_epsilon(epsilon).init(&gamma.device());
            (norm.gamma, norm.beta) = (parameter(gamma), parameter(beta));
            norm
        }

        pub(crate) fn forward<const D: usize>(
            kind: Kind,
            epsilon: f64,
            x: Tensor<D>,
            parameters: [Tensor<1>; 2],
        ) -> Tensor<D> {
            match kind {
                Kind::Layer => layer(parameters, epsilon, true).forward(x),
                Kind::LayerWithoutBias => layer(parameters, epsilon, false).forward(x),
                Kind::Rms => rms(parameters.into_iter().next().unwrap(), epsilon).forward(x),
                Kind::Group { groups } => group(parameters, groups, epsilon, true).forward(x),
                Kind::GroupWithoutAffine { groups } => group(parameters, groups, epsilon, false).forward(x),
                Kind::Instance => instance(parameters, epsilon, true).forward(x),
                Kind::InstanceWithoutAffine => instance(parameters, epsilon, false).forward(x),
                Kind::Batch => batch(parameters, epsilon).forward(x),
            }
        }
    };
}

pub(crate) mod ours {
    norms!(wgpu_norm_burn);
}

pub(crate) mod theirs {
    norms!(burn::nn);
}
