//! Running statistics of batch and instance norm over 1000 random batches, against theory.
//!
//! ```text
//! cargo run --release --example running_statistics
//! ```
//!
//! A batch has 2 samples around means of 0.25 and 0.75, and 4 channels with deviations of 1, 2, 3, 4. With momentum m
//! the running statistics are after k batches `1 - (1 - m)^k` of the way from where they started to what they estimate:
//! 63.2 % here. Divided by that share, without what is left of the start, they are the estimate itself.

mod common;

use common::{Gpu, Result, normal};
use wgpu_norm::reference::{self, ReferenceInputs};
use wgpu_norm::{
    Affine, BoundNorm, BufferView, Momentum, NormDescriptor, NormKind, RunningArgs, RunningUpdate, TensorView,
    TrainingArgs, Variance,
};

const SHAPE: [u64; 4] = [2, 4, 2, 2];
const PIXELS: usize = 4;
const BATCHES: usize = 1000;
const MOMENTUM: f32 = 0.001;
const SAMPLE_MEANS: [f32; 2] = [0.25, 0.75];
const DEVIATIONS: [f32; 4] = [1.0, 2.0, 3.0, 4.0];

/// A value for each channel, or for each sample and channel of an output.
#[derive(Debug, Default)]
pub struct Moments {
    pub mean: Vec<f64>,
    /// Variances as running statistics keep them; deviations otherwise.
    pub spread: Vec<f64>,
}

/// What one norm left, and what theory expects.
pub struct Outcome {
    pub name: &'static str,
    /// As they are on the GPU after the last batch.
    pub running: Moments,
    /// The same from the f64 reference.
    pub reference: Moments,
    /// What the running statistics are expected to be now.
    pub expected: Moments,
    /// Estimates of the batches' mean and deviation that the running statistics make.
    pub estimate: Moments,
    /// What these estimate.
    pub theory: Moments,
    /// Of all outputs, a value a sample and channel.
    pub output: Moments,
    pub output_theory: Moments,
}

/// Share of the way that the running statistics have gone.
pub fn share() -> f64 {
    1.0 - (1.0 - f64::from(MOMENTUM)).powi(BATCHES as i32)
}

fn batches() -> Vec<Vec<f32>> {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut batch = || {
        let mut values = Vec::new();
        for mean in SAMPLE_MEANS {
            for deviation in DEVIATIONS {
                values.extend((0..PIXELS).map(|_| mean + deviation * normal(&mut rng)));
            }
        }
        values
    };
    (0..BATCHES).map(|_| batch()).collect()
}

/// Both norms over the same batches.
pub fn measure() -> Result<[Outcome; 2]> {
    let gpu = Gpu::open()?;
    let batches = batches();
    Ok([run(&gpu, "Batch", NormKind::Batch, &batches)?, run(&gpu, "Instance", NormKind::Instance, &batches)?])
}

fn run(gpu: &Gpu, name: &'static str, kind: NormKind<'static>, batches: &[Vec<f32>]) -> Result<Outcome> {
    let descriptor = NormDescriptor { affine: Affine::None, ..NormDescriptor::new(kind.clone(), &SHAPE) };
    let norm = gpu.engine.create_norm(&descriptor)?;
    let (input, output, saved) =
        (gpu.buffer(norm.len()), gpu.buffer(norm.len()), gpu.buffer(norm.statistics_size() / 4));
    let (mean, variance) = (gpu.upload(&[0.0; DEVIATIONS.len()]), gpu.upload(&[1.0; DEVIATIONS.len()]));
    let workspace = norm.create_workspace()?;
    let update = RunningUpdate { momentum: Momentum::Weight(MOMENTUM), variance: Variance::Unbiased };
    let statistics = BufferView::whole(&saved);
    let args = TrainingArgs::new(TensorView::whole(&input), TensorView::whole(&output), statistics)
        .workspace(workspace.as_ref().map(BufferView::whole));
    let normalize = norm.bind_training(&args)?;
    let args = RunningArgs::new(statistics, TensorView::whole(&mean), TensorView::whole(&variance)).update(update);
    let take_in = norm.bind_running_update(&args)?;
    let outputs = train(gpu, [&normalize, &take_in], &input, &output, batches)?;

    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
    let running = Moments { mean: wide(gpu.download(&mean)?), spread: wide(gpu.download(&variance)?) };
    let estimate = Moments {
        mean: running.mean.iter().map(|mean| mean / share()).collect(),
        spread: running.spread.iter().map(|v| ((v - (1.0 - share())) / share()).sqrt()).collect(),
    };
    let theory = theory(&kind);
    let expected = Moments {
        mean: theory.mean.iter().map(|mean| share() * mean).collect(),
        spread: theory.spread.iter().map(|d| (1.0 - share()) + share() * d * d).collect(),
    };
    let reference = reference_statistics(&descriptor, batches, update)?;
    let output_theory = output_theory(&kind);
    Ok(Outcome { name, running, reference, expected, estimate, theory, output: pool(&outputs), output_theory })
}

/// Records what is bound once for every batch, without waiting in between. Gives the outputs of all of them.
fn train(
    gpu: &Gpu,
    bound: [&BoundNorm; 2],
    input: &wgpu::Buffer,
    output: &wgpu::Buffer,
    batches: &[Vec<f32>],
) -> Result<Vec<f32>> {
    let outputs = gpu.buffer(output.size() / 4 * batches.len() as u64);
    for (k, batch) in batches.iter().enumerate() {
        gpu.queue.write_buffer(input, 0, bytemuck::cast_slice(batch));
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        bound.iter().for_each(|norm| norm.record(&mut pass));
        drop(pass);
        encoder.copy_buffer_to_buffer(output, 0, &outputs, k as u64 * output.size(), output.size());
        gpu.queue.submit([encoder.finish()]);
    }
    gpu.download(&outputs)
}

/// Mean and deviation of each sample and channel over all batches.
fn pool(outputs: &[f32]) -> Moments {
    let planes = SAMPLE_MEANS.len() * DEVIATIONS.len();
    let mut pooled = Moments::default();
    for plane in 0..planes {
        let values = outputs.chunks(PIXELS).skip(plane).step_by(planes).flatten().map(|&y| f64::from(y));
        let count = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / count;
        pooled.mean.push(mean);
        pooled.spread.push((values.map(|y| (y - mean).powi(2)).sum::<f64>() / count).sqrt());
    }
    pooled
}

fn reference_statistics(descriptor: &NormDescriptor, batches: &[Vec<f32>], update: RunningUpdate) -> Result<Moments> {
    let (mut mean, mut variance) = (vec![0.0; DEVIATIONS.len()], vec![1.0; DEVIATIONS.len()]);
    for (k, input) in batches.iter().enumerate() {
        let statistics = reference::forward(descriptor, &ReferenceInputs { input, ..Default::default() })?;
        let count = (input.len() / statistics.mean.len()) as u64;
        (mean, variance) = reference::update_running(&statistics, count, (&mean, &variance), update, k as u64);
    }
    Ok(Moments { mean, spread: variance })
}

/// What the running statistics estimate. An instance is one sample, so that the distance of the samples' means is no
/// part of its variance. A batch is both: 8 values, half of them 1/4 above and half 1/4 below the mean, have 8/7 * 1/16
/// of unbiased variance more.
fn theory(kind: &NormKind) -> Moments {
    let between = if matches!(kind, NormKind::Batch) { 8.0 / 7.0 / 16.0 } else { 0.0 };
    let spread = DEVIATIONS.iter().map(|&d| (f64::from(d).powi(2) + between).sqrt()).collect();
    Moments { mean: vec![0.5; DEVIATIONS.len()], spread }
}

/// What the outputs of a sample and channel have for mean and deviation. Of an instance: 0 and 1. A batch has 0 and 1
/// over both samples; one of them is off by `shift`, and since both have the mean square 1, it deviates by `sqrt(1 -
/// shift^2)`.
fn output_theory(kind: &NormKind) -> Moments {
    let mut moments = Moments::default();
    for sign in [-1.0, 1.0] {
        for deviation in DEVIATIONS {
            let shift = if matches!(kind, NormKind::Batch) { expected_shift(f64::from(deviation)) } else { 0.0 };
            moments.mean.push(sign * shift);
            moments.spread.push((1.0 - shift * shift).sqrt());
        }
    }
    moments
}

/// Expectation of `d / sqrt(d^2 + w)`, by the midpoint rule: d is half the distance of the two samples' means, normal
/// around
/// 1/4 with a variance of deviation^2 / 8, and w their variance within, deviation^2 / 8 times a chi-square of 6
/// degrees.
fn expected_shift(deviation: f64) -> f64 {
    const STEP: f64 = 0.05;
    let unit = deviation / 8f64.sqrt();
    let midpoints =
        |from: f64, to: f64| (0..((to - from) / STEP) as usize).map(move |k| from + (k as f64 + 0.5) * STEP);
    let (mut sum, mut total) = (0.0, 0.0);
    for z in midpoints(-6.0, 6.0) {
        let d = 0.25 + unit * z;
        for chi_square in midpoints(0.0, 50.0) {
            let density = (-z * z / 2.0).exp() * chi_square.powi(2) * (-chi_square / 2.0).exp();
            sum += density * d / (d * d + unit * unit * chi_square).sqrt();
            total += density;
        }
    }
    sum / total
}

/// Four digits; what rounds to 0 has no sign.
fn digits(value: f64) -> String {
    format!("{:.4}", (value * 1e4).round() / 1e4 + 0.0)
}

fn main() -> Result<()> {
    println!("N,C,H,W = {SHAPE:?}, {BATCHES} batches, momentum {MOMENTUM}: {:.1} % of the way\n", 100.0 * share());
    for o in measure()? {
        println!("{} norm", o.name);
        println!("          running mean               running variance           without what is left of the start");
        println!(
            "channel   on the GPU     expected    on the GPU     expected    mean      theory    deviation  theory"
        );
        for c in 0..DEVIATIONS.len() {
            println!(
                "{c:<7} {:>12.4} {:>12.4} {:>13.4} {:>12.4} {:>10.4} {:>9.4} {:>10.4} {:>9.4}",
                o.running.mean[c],
                o.expected.mean[c],
                o.running.spread[c],
                o.expected.spread[c],
                o.estimate.mean[c],
                o.theory.mean[c],
                o.estimate.spread[c],
                o.theory.spread[c]
            );
        }
        println!("output of sample, channel        mean      theory    deviation  theory");
        for k in 0..o.output.mean.len() {
            println!(
                "{:<7} {:<15} {:>14} {:>9} {:>10} {:>9}",
                k / DEVIATIONS.len(),
                k % DEVIATIONS.len(),
                digits(o.output.mean[k]),
                digits(o.output_theory.mean[k]),
                digits(o.output.spread[k]),
                digits(o.output_theory.spread[k])
            );
        }
        println!();
    }
    Ok(())
}
