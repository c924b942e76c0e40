//! Values and gradients of every norm, over shapes and layouts.

use crate::compare::*;
use crate::*;

const EPSILON: f64 = 1e-5;
/// Of the largest number of a tensor: both sum in f32, in different orders.
const TOLERANCE: f32 = 2e-5;

fn check<const D: usize>(kind: Kind, shape: [usize; D], layout: Layout, tracked: Tracked) {
    let device = device();
    let case = format!("{kind:?} of {shape:?}, {layout:?}, gradients to input, gamma, beta: {tracked:?}");
    let input = layout.random(shape, &device);
    let weights = layout.random(shape, &device);
    let parameters = [(); 2].map(|()| random([kind.parameters(&shape)], &device));
    let run = |forward: Forward<'_, D>| step(forward, &input, &parameters, &weights, tracked);
    let ours = run(&|x, parameters| ours::forward(kind, EPSILON, x, parameters));
    let theirs = run(&|x, parameters| theirs::forward(kind, EPSILON, x, parameters));
    agree(&case, &ours, &theirs, TOLERANCE);
}

#[test]
fn rows() {
    for kind in [Kind::Layer, Kind::LayerWithoutBias, Kind::Rms] {
        for layout in LAYOUTS {
            for width in [5, 7, 17, 64, 255, 1025] {
                check(kind, [6, width], layout, ALL);
                check(kind, [2, 3, width], layout, ALL);
            }
            check(kind, [2, 2, 2, 3, 9], layout, ALL);
        }
        check(kind, [37], Layout::Rows, ALL);
        check(kind, [700, 12], Layout::Rows, ALL);
        check(kind, [3, 9000], Layout::Rows, ALL);
    }
}

#[test]
fn channels() {
    let of_four = [
        Kind::Group { groups: 2 },
        Kind::Group { groups: 1 },
        Kind::GroupWithoutAffine { groups: 2 },
        Kind::Instance,
        Kind::InstanceWithoutAffine,
        Kind::Batch,
    ];
    for kind in of_four {
        for layout in LAYOUTS {
            check(kind, [3, 4, 5], layout, ALL);
            check(kind, [2, 4, 5, 7], layout, ALL);
            check(kind, [1, 6, 16, 16], layout, ALL);
            check(kind, [5, 2, 2, 3, 3], layout, ALL);
        }
        check(kind, [2, 8, 65, 33], Layout::Rows, ALL);
    }
    check(Kind::Group { groups: 3 }, [4, 12], Layout::Rows, ALL);
    check(Kind::Batch, [33, 7], Layout::Swapped, ALL);
}

#[test]
fn every_set_of_gradients() {
    for bits in 0..8 {
        let tracked = [bits & 1 != 0, bits & 2 != 0, bits & 4 != 0];
        check(Kind::Layer, [7, 33], Layout::Rows, tracked);
        // it has no beta
        check(Kind::Rms, [7, 33], Layout::Rows, [tracked[0], tracked[1], false]);
        for kind in [Kind::Group { groups: 2 }, Kind::Instance, Kind::Batch] {
            check(kind, [3, 4, 9], Layout::Rows, tracked);
        }
    }
}

/// A mean of a thousand costs Burn's operators digits, not the engine: both against numbers known beforehand.
#[test]
fn large_means() {
    let device = device();
    let x = Tensor::<2>::from_data([[1000.0f32, 1001.0, 1002.0, 1003.0]], &device);
    let expected = [-1.341_635_4, -0.447_211_8, 0.447_211_8, 1.341_635_4];
    let norm = wgpu_norm_burn::LayerNormConfig::new(4).init(&device);
    close("layer", &numbers(&norm.forward(x.clone())), &expected, 1e-6);
    let norm = wgpu_norm_burn::GroupNormConfig::new(1, 4).init(&device);
    close("group", &numbers(&norm.forward(x)), &expected, 1e-6);
}
