//! Times of every norm beside Burn's own, in turn: a forward pass, and one with its way back.
//!
//!     cargo run --release --example times [rounds] [part]
//!
//! Medians of the rounds are printed. For slow adapters tensors have one `part`-th of the rows, or of the images'
//! height.

use std::error::Error;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};

/// Calls between two waits for the device.
const CALLS: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let argument = |i, default| std::env::args().nth(i).map_or(Ok(default), |value| value.parse::<usize>());
    let (rounds, part) = (argument(1, 40)?.max(1), argument(2, 1)?.max(1));
    let (device, setup) = Device::wgpu_options().init_with_setup()?;
    wgpu_norm_burn::register(&device, &setup)?;
    let info = setup.adapter.get_info();
    println!("{}, {} {}: microseconds a call, medians of {rounds} rounds", info.name, info.driver, info.driver_info);
    println!("{:<45} {:>9} {:>9} {:>6}", "", "ours", "Burn's", "ratio");
    let device = device.autodiff();
    macro_rules! compare {
        ($config:ident $arguments:tt of $shape:expr) => {{
            let ours = wgpu_norm_burn::$config::new $arguments.init(&device);
            let theirs = burn::nn::$config::new $arguments.init(&device);
            let (of_ours, of_theirs) = (ours.valid(), theirs.valid());
            let training: Pair<'_, _> = [&|x| ours.forward(x), &|x| theirs.forward(x)];
            let inference: Pair<'_, _> = [&|x| of_ours.forward(x), &|x| of_theirs.forward(x)];
            let title = stringify!($config).trim_end_matches("Config");
            compare(title, $shape, rounds, &device, training, inference)?;
        }};
    }
    for columns in [1024, 4096] {
        compare!(LayerNormConfig(columns) of [4096 / part, columns]);
        compare!(RmsNormConfig(columns) of [4096 / part, columns]);
    }
    let images = [8, 64, 120 / part, 120];
    compare!(GroupNormConfig(32, 64) of images);
    compare!(InstanceNormConfig(64) of images);
    compare!(BatchNormConfig(64) of images);
    Ok(())
}

/// A norm of ours, and the same of Burn's.
type Pair<'a, const D: usize> = [&'a dyn Fn(Tensor<D>) -> Tensor<D>; 2];

fn compare<const D: usize>(
    title: &str,
    shape: [usize; D],
    rounds: usize,
    device: &Device,
    training: Pair<'_, D>,
    inference: Pair<'_, D>,
) -> Result<(), Box<dyn Error>> {
    let title = format!("{title} {shape:?}");
    let x = Tensor::<D>::random(shape, Distribution::Normal(0.5, 1.0), device).require_grad();
    check(&title, &x, training)?;
    let input = x.clone().inner();
    row(&title, rounds, device, inference.map(|norm| || norm(input.clone())))?;
    row(&format!("{title}, and back"), rounds, device, training.map(|norm| || norm(x.clone()).backward()))
}

/// What is timed has to agree: results, and gradients to the input.
fn check<const D: usize>(title: &str, x: &Tensor<D>, norms: Pair<'_, D>) -> Result<(), String> {
    let [ours, theirs] = norms.map(|norm| {
        let output = norm(x.clone());
        let gradients = (output.clone() * x.clone().detach()).backward();
        [output.inner(), x.grad(&gradients).expect("the input is tracked")]
    });
    for (what, (ours, theirs)) in ["results", "gradients"].into_iter().zip(ours.into_iter().zip(theirs)) {
        let difference = (ours - theirs).abs().max().into_scalar::<f32>();
        // a NaN is no agreement
        if difference.is_nan() || difference > 1e-3 {
            return Err(format!("{title}: {what} differ from Burn's by {difference}"));
        }
    }
    Ok(())
}

/// Times ours and theirs in turn, and prints a line.
fn row<T>(title: &str, rounds: usize, device: &Device, work: [impl Fn() -> T; 2]) -> Result<(), Box<dyn Error>> {
    let mut seconds = [(); 2].map(|()| Vec::new());
    // the first round compiles
    for round in 0..=rounds {
        for (work, seconds) in work.iter().zip(&mut seconds) {
            let start = Instant::now();
            let made: Vec<T> = (0..CALLS).map(|_| work()).collect();
            device.sync()?;
            if round > 0 {
                seconds.push(start.elapsed().as_secs_f64());
            }
            drop(made);
        }
    }
    let [ours, theirs] = seconds.map(|seconds| 1e6 * median(seconds) / CALLS as f64);
    println!("{title:<45} {ours:>9.1} {theirs:>9.1} {:>6.2}", theirs / ours);
    Ok(())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
