//! Fused functions against Burn's operators one by one, forward and backward.

use burn::tensor::activation;
use wgpu_norm_burn::{Activation, add_norm, norm_activation};

use crate::compare::*;
use crate::*;

const EPSILON: f64 = 1e-5;
const TOLERANCE: f32 = 3e-5;

fn by_burn<const D: usize>(x: Tensor<D>, kind: Activation) -> Tensor<D> {
    match kind {
        Activation::Relu => activation::relu(x),
        Activation::LeakyRelu { slope } => activation::leaky_relu(x, slope.into()),
        Activation::Silu => activation::silu(x),
        Activation::Gelu => activation::gelu(x),
        Activation::GeluTanh => activation::gelu_approximate(x),
        Activation::Sigmoid => activation::sigmoid(x),
        _ => x,
    }
}

#[test]
fn activations() {
    let device = device();
    for kind in [
        Activation::Identity,
        Activation::Relu,
        Activation::LeakyRelu { slope: 0.1 },
        Activation::Silu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Sigmoid,
    ] {
        // Burn's error function on WGSL is a polynomial, good to three digits or four
        let tolerance = if kind == Activation::Gelu { 5e-4 } else { TOLERANCE };
        let (shape, wide) = ([3, 4, 7], [5, 19]);
        let x = random(shape, &device);
        let weights = random(shape, &device);
        let parameters = [(); 2].map(|()| random([4], &device));
        macro_rules! check {
            ($name:literal, $x:expr, $weights:expr, $parameters:expr, |$norms:ident, $p:ident| $make:expr) => {{
                let ours = step(
                    &|x, $p| {
                        use ours as $norms;
                        norm_activation(&$make, x, kind)
                    },
                    $x,
                    $parameters,
                    $weights,
                    ALL,
                );
                let theirs = step(
                    &|x, $p| {
                        use theirs as $norms;
                        by_burn($make.forward(x), kind)
                    },
                    $x,
                    $parameters,
                    $weights,
                    ALL,
                );
                agree(&format!("{} and {kind:?}", $name), &ours, &theirs, tolerance);
            }};
        }
        check!("group", &x, &weights, &parameters, |norms, p| norms::group(p, 2, EPSILON, true));
        check!("instance", &x, &weights, &parameters, |norms, p| norms::instance(p, EPSILON, true));
        check!("batch", &x, &weights, &parameters, |norms, p| norms::batch(p, EPSILON));
        let x = random(wide, &device);
        let weights = random(wide, &device);
        let parameters = [(); 2].map(|()| random([19], &device));
        check!("layer", &x, &weights, &parameters, |norms, p| norms::layer(p, EPSILON, true));
        check!("rms", &x, &weights, &parameters, |norms, p| norms::rms(p.into_iter().next().unwrap(), EPSILON));
    }
}

/// The sum goes on, as in a transformer: its own gradient arrives beside that of the norm.
#[test]
fn residuals() {
    let device = device();
    for shape in [[6, 33], [128, 64]] {
        let [x, residual, of_norm, of_sum] = [(); 4].map(|()| random(shape, &device));
        let parameters = [(); 2].map(|()| random([shape[1]], &device));
        let run = |forward: &dyn Fn(Tensor<2>, Tensor<2>, [Tensor<1>; 2]) -> (Tensor<2>, Tensor<2>)| {
            let [x, residual] = [&x, &residual].map(|t| Tensor::from_inner(t.clone()).require_grad());
            let parameters = parameters.clone().map(|p| Tensor::from_inner(p).require_grad());
            let (normalized, sum) = forward(x.clone(), residual.clone(), parameters.clone());
            let output = [numbers(&normalized), numbers(&sum)].concat();
            let loss = (normalized * Tensor::from_inner(of_norm.clone())).sum()
                + (sum * Tensor::from_inner(of_sum.clone())).sum();
            let grads = loss.backward();
            let [gamma, beta] = parameters;
            let gradients = vec![
                ("input", x.grad(&grads).as_ref().map(numbers)),
                ("residual", residual.grad(&grads).as_ref().map(numbers)),
                ("gamma", gamma.grad(&grads).as_ref().map(numbers)),
                ("beta", beta.grad(&grads).as_ref().map(numbers)),
            ];
            Step { output, gradients }
        };
        let ours = run(&|x, r, p| add_norm(&ours::layer(p, EPSILON, true), x, r));
        let theirs = run(&|x, r, p| {
            let sum = x + r;
            (theirs::layer(p, EPSILON, true).forward(sum.clone()), sum)
        });
        agree(&format!("add and layer norm of {shape:?}"), &ours, &theirs, TOLERANCE);
        let ours = run(&|x, r, [gamma, _]| add_norm(&ours::rms(gamma, EPSILON), x, r));
        let theirs = run(&|x, r, [gamma, _]| {
            let sum = x + r;
            (theirs::rms(gamma, EPSILON).forward(sum.clone()), sum)
        });
        agree(&format!("add and RMS norm of {shape:?}"), &ours, &theirs, TOLERANCE);
    }
}

/// Without autodiff, and without a use of the sum.
#[test]
fn residuals_in_inference() {
    let device = device();
    let [x, residual] = [(); 2].map(|()| random([3, 4, 6], &device));
    let norm = wgpu_norm_burn::GroupNormConfig::new(2, 4).init(&device);
    let (normalized, sum) = add_norm(&norm, x.clone(), residual.clone());
    assert_eq!(numbers(&sum), numbers(&(x.clone() + residual.clone())));
    let theirs = burn::nn::GroupNormConfig::new(2, 4).init(&device).forward(x + residual);
    close("group", &numbers(&normalized), &numbers(&theirs), TOLERANCE);
}
