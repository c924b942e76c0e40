//! Batch norm over several steps: running statistics, evaluation, freezing.

use burn::module::Module;

use crate::compare::*;
use crate::*;

const TOLERANCE: f32 = 2e-5;

fn both(device: &Device, features: usize) -> (wgpu_norm_burn::BatchNorm, burn::nn::BatchNorm) {
    let parameters = [(); 2].map(|()| random([features], device));
    (ours::batch(parameters.clone(), 1e-3), theirs::batch(parameters, 1e-3))
}

#[test]
fn running_statistics_are_burns() {
    let device = device().autodiff();
    let (ours, theirs) = both(&device, 5);
    for step in 0..4 {
        let x = random([3, 5, 4, 4], &device) * (1.0 + step as f32);
        close("training", &numbers(&ours.forward(x.clone())), &numbers(&theirs.forward(x)), TOLERANCE);
        let [mean, variance] = [&ours.running_mean, &ours.running_var].map(|state| numbers(&state.value_sync()));
        close("running mean", &mean, &numbers(&theirs.running_mean.value_sync()), TOLERANCE);
        close("running variance", &variance, &numbers(&theirs.running_var.value_sync()), TOLERANCE);
    }
    let (ours, theirs) = (ours.valid(), theirs.valid());
    let x = random([2, 5, 3], &device.inner());
    close("evaluation", &numbers(&ours.forward(x.clone())), &numbers(&theirs.forward(x)), TOLERANCE);
}

/// Frozen on a training device: given statistics, which stay, and gradients of constants.
#[test]
fn frozen() {
    let device = device().autodiff();
    let (mut ours, mut theirs) = both(&device, 3);
    for _ in 0..2 {
        let x = random([4, 3, 6], &device);
        ours.forward(x.clone());
        theirs.forward(x);
    }
    ours.training = burn::module::Param::from_bool(false);
    theirs.training = burn::module::Param::from_bool(false);
    let before = numbers(&ours.running_mean.value_sync());
    // what waits on this thread goes in
    ours.running_var.value_sync();
    theirs.running_mean.value_sync();
    theirs.running_var.value_sync();
    let (x, weights) = (random([4, 3, 6], &device.clone().inner()), random([4, 3, 6], &device.clone().inner()));
    let parameters = [ours.gamma.val(), ours.beta.val()].map(Tensor::inner);
    let run = |forward: Forward<'_, 3>| step(forward, &x, &parameters, &weights, ALL);
    let of_ours = run(&|x, [gamma, beta]| {
        let norm = wgpu_norm_burn::BatchNorm { gamma: parameter(gamma), beta: parameter(beta), ..ours.clone() };
        norm.forward(x)
    });
    let of_theirs = run(&|x, [gamma, beta]| {
        let norm = burn::nn::BatchNorm { gamma: parameter(gamma), beta: parameter(beta), ..theirs.clone() };
        norm.forward(x)
    });
    agree("frozen", &of_ours, &of_theirs, TOLERANCE);
    assert_eq!(numbers(&ours.running_mean.value_sync()), before);
}
