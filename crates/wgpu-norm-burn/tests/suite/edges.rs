//! Nothing, one element, and gradients of them.

use crate::compare::*;
use crate::*;

fn run<const D: usize>(kind: Kind, shape: [usize; D]) -> Step {
    let device = device();
    let zeros = Tensor::<D>::zeros(shape, &device);
    let parameters = [(); 2].map(|()| random([kind.parameters(&shape)], &device));
    step(&|x, parameters| ours::forward(kind, 1e-5, x, parameters), &zeros, &parameters, &zeros, ALL)
}

/// No sample: nothing comes out, and the gradients to gamma and beta are zeros.
#[test]
fn an_empty_batch() {
    let by_channel = [Kind::Group { groups: 2 }, Kind::Instance, Kind::Batch];
    let steps = [Kind::Layer, Kind::Rms].map(|kind| (kind, run(kind, [0, 4])));
    let steps = steps.into_iter().chain(by_channel.map(|kind| (kind, run(kind, [0, 4, 3]))));
    for (kind, step) in steps {
        assert!(step.output.is_empty(), "{kind:?}");
        for (name, gradient) in step.gradients {
            match (name, gradient) {
                ("input", gradient) => assert_eq!(gradient, Some(Vec::new()), "{kind:?}: {name}"),
                ("beta", None) if kind == Kind::Rms => {}
                (name, gradient) => assert_eq!(gradient, Some(vec![0.0; 4]), "{kind:?}: {name}"),
            }
        }
    }
}

/// An empty batch says nothing about the running statistics.
#[test]
fn an_empty_batch_leaves_running_statistics() {
    let device = device().autodiff();
    let norm = wgpu_norm_burn::BatchNormConfig::new(3).init(&device);
    norm.forward(random([4, 3, 5], &device));
    let before = numbers(&norm.running_mean.value_sync());
    norm.forward(Tensor::<3>::zeros([0, 3, 5], &device));
    assert_eq!(numbers(&norm.running_mean.value_sync()), before);
    assert!(numbers(&norm.running_var.value_sync()).iter().all(|v| v.is_finite()));
}

/// Segments of one element: the result is beta, the gradient to the input 0, as the formula says.
#[test]
fn one_element() {
    let device = device();
    for kind in [Kind::Layer, Kind::Group { groups: 1 }, Kind::Instance, Kind::Batch] {
        let shape = [1, 1];
        let input = random(shape, &device);
        let parameters = [random([1], &device), random([1], &device)];
        let step = step(
            &|x, parameters| ours::forward(kind, 1e-5, x, parameters),
            &input,
            &parameters,
            &Tensor::ones(shape, &device),
            ALL,
        );
        close(&format!("{kind:?}"), &step.output, &numbers(&parameters[1]), 0.0);
        assert_eq!(step.gradients[0].1, Some(vec![0.0]), "{kind:?}");
    }
}

/// A NaN poisons its own segment and no other.
#[test]
fn a_nan_stays_where_it_is() {
    let device = device();
    let x = Tensor::<2>::from_data([[1.0f32, f32::NAN, 3.0], [1.0, 2.0, 3.0]], &device);
    let out = numbers(&wgpu_norm_burn::LayerNormConfig::new(3).init(&device).forward(x));
    assert!(out[..3].iter().all(|v| v.is_nan()) && out[3..].iter().all(|v| v.is_finite()), "{out:?}");
}
