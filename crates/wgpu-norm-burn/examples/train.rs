//! Trains a small convolutional network and a transformer block twice, with our norms and with Burn's, in turn: the
//! losses, and the time of a step.
//!
//!     cargo run --release --example train [steps] [samples]

mod models;

use std::time::Instant;

use burn::tensor::Device;
use models::{CHANNELS, Data, FEATURES, Network, same, train};

/// Runs of each that are timed; the fastest counts.
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let argument = |i, default| std::env::args().nth(i).map_or(Ok(default), |value| value.parse::<usize>());
    let (steps, samples) = (argument(1, 10)?.max(1), argument(2, 8)?.max(1));
    let (device, setup) = Device::wgpu_options().init_with_setup()?;
    wgpu_norm_burn::register(&device, &setup)?;
    let info = setup.adapter.get_info();
    println!("{}, {} {}", info.name, info.driver, info.driver_info);
    println!("{:<41} {:>9} {:>9} {:>6}  loss after {steps} steps", "", "ours", "Burn's", "ratio");
    let device = device.autodiff();
    let (images, tokens) = ([samples, CHANNELS, 32, 32], [samples, 64, FEATURES]);
    compare::<4, models::ours::ConvNet, models::theirs::ConvNet>("convolutions", images, steps, &device);
    compare::<3, models::ours::Block, models::theirs::Block>("transformer block", tokens, steps, &device);
    Ok(())
}

fn compare<const D: usize, O: Network<D>, T: Network<D>>(name: &str, shape: [usize; D], steps: usize, device: &Device) {
    let data = Data::random(shape, device);
    let theirs = T::new(device);
    let ours: O = same(&theirs, device);
    let [mut of_ours, mut of_theirs] = [f64::INFINITY; 2];
    let [mut losses, mut their_losses] = [(); 2].map(|()| Vec::new());
    // the first round compiles
    for round in 0..=ROUNDS {
        let (seconds, made) = timed(|| train(ours.clone(), &data, steps));
        losses = made;
        let (their_seconds, made) = timed(|| train(theirs.clone(), &data, steps));
        their_losses = made;
        if round > 0 {
            (of_ours, of_theirs) = (of_ours.min(seconds), of_theirs.min(their_seconds));
        }
    }
    let [ours, theirs] = [of_ours, of_theirs].map(|seconds| 1e3 * seconds / steps as f64);
    let title = format!("{name} {shape:?}, a step");
    let [loss, their_loss] = [losses, their_losses].map(|losses| losses[losses.len() - 1]);
    println!("{title:<41} {ours:>6.2} ms {theirs:>6.2} ms {:>6.2}  {loss:.6} and {their_loss:.6}", theirs / ours);
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    // reads the losses: nothing is left to do
    let made = work();
    (start.elapsed().as_secs_f64(), made)
}
