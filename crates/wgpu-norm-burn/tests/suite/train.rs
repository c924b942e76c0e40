//! Training with our norms and with Burn's: the same losses, step by step.

#[path = "../../examples/models/mod.rs"]
mod models;

use models::{Data, Network, same, train};

use crate::*;

const STEPS: usize = 12;

/// Rounding, which training amplifies.
const TOLERANCE: f32 = 1e-3;

fn check<const D: usize, O: Network<D>, T: Network<D>>(name: &str, shape: [usize; D]) {
    let device = device().autodiff();
    let data = Data::random(shape, &device);
    let theirs = T::new(&device);
    let ours: O = same(&theirs, &device);
    let (ours, theirs) = (train(ours, &data, STEPS), train(theirs, &data, STEPS));
    println!("{name}\n  ours   {ours:?}\n  theirs {theirs:?}");
    assert!(theirs[STEPS - 1] < 0.99 * theirs[0], "{name}: Burn's loss does not fall: {theirs:?}");
    compare::close(name, &ours, &theirs, TOLERANCE);
}

#[test]
fn a_convolutional_network() {
    check::<4, models::ours::ConvNet, models::theirs::ConvNet>("convolutional network", [4, models::CHANNELS, 9, 9]);
}

#[test]
fn a_transformer_block() {
    check::<3, models::ours::Block, models::theirs::Block>("transformer block", [4, 17, models::FEATURES]);
}
