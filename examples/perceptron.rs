//! A two-layer perceptron, 10 -> 64 -> 1, trained without a norm, with batch norm and with layer norm in its middle.
//!
//! ```text
//! cargo run --release --example perceptron
//! ```
//!
//! It learns y = x0 + noise from 1000 samples by gradient descent on all of them at a rate of 0.001, 100 times. The
//! linear layers are loops on the CPU; the norm's forward and backward run on the GPU, bound once. The three networks
//! of a seed start from the same data and the same weights, PyTorch's: uniform between plus and minus 1/sqrt(inputs).

mod common;

use common::{Gpu, Result, normal};
use wgpu_norm::{
    BackwardArgs, BackwardStatistics, BoundNorm, BufferView, NormDescriptor, NormKind, TensorView, TrainingArgs,
};

const SAMPLES: usize = 1000;
const INPUTS: usize = 10;
const HIDDEN: usize = 64;
const RATE: f32 = 1e-3;
const EPOCHS: usize = 100;
const NOISE: f32 = 0.1;
const SEEDS: u64 = 5;

/// Epochs whose loss is kept: every tenth, and the end.
pub const KEPT: usize = EPOCHS / 10 + 1;

pub const NETWORKS: [(&str, Option<NormKind<'static>>); 3] =
    [("no norm", None), ("batch norm", Some(NormKind::Batch)), ("layer norm", Some(NormKind::Layer { axes: 1..2 }))];

/// Losses of one seed's three networks, as [`NETWORKS`] orders them.
pub type Losses = [[f64; KEPT]; NETWORKS.len()];

struct Samples {
    x: Vec<f32>,
    y: Vec<f32>,
}

impl Samples {
    fn random(rng: &mut fastrand::Rng) -> Self {
        let x: Vec<f32> = (0..SAMPLES * INPUTS).map(|_| normal(rng)).collect();
        let y = x.iter().step_by(INPUTS).map(|x0| x0 + NOISE * normal(rng)).collect();
        Self { x, y }
    }
}

/// The norm on the GPU: a forward and a backward pass over buffers of its own.
struct Hidden {
    input: wgpu::Buffer,
    output: wgpu::Buffer,
    scale: wgpu::Buffer,
    bias: wgpu::Buffer,
    grad_output: wgpu::Buffer,
    grad_input: wgpu::Buffer,
    grad_scale: wgpu::Buffer,
    grad_bias: wgpu::Buffer,
    forward: BoundNorm,
    backward: BoundNorm,
}

impl Hidden {
    fn new(gpu: &Gpu, kind: &NormKind<'static>) -> Result<Self> {
        let shape = [SAMPLES as u64, HIDDEN as u64];
        let norm = gpu.engine.create_norm(&NormDescriptor::new(kind.clone(), &shape))?;
        let [input, output, grad_output, grad_input] = [(); 4].map(|()| gpu.buffer(norm.len()));
        let [scale, bias, grad_scale, grad_bias] = [(); 4].map(|()| gpu.buffer(norm.affine_len()));
        let saved = gpu.buffer(norm.statistics_size() / 4);
        let (workspace, backward_workspace) = (norm.create_workspace()?, norm.create_backward_workspace()?);
        let (x, statistics) = (TensorView::whole(&input), BufferView::whole(&saved));
        let args = TrainingArgs::new(x, TensorView::whole(&output), statistics)
            .scale(TensorView::whole(&scale))
            .bias(TensorView::whole(&bias))
            .workspace(workspace.as_ref().map(BufferView::whole));
        let forward = norm.bind_training(&args)?;
        let args = BackwardArgs::new(x, TensorView::whole(&grad_output), BackwardStatistics::Saved(statistics))
            .scale(TensorView::whole(&scale))
            .grad_input(TensorView::whole(&grad_input))
            .grad_scale(TensorView::whole(&grad_scale))
            .grad_bias(TensorView::whole(&grad_bias))
            .workspace(backward_workspace.as_ref().map(BufferView::whole));
        let backward = norm.bind_backward(&args)?;
        Ok(Self { input, output, scale, bias, grad_output, grad_input, grad_scale, grad_bias, forward, backward })
    }

    fn forward(&self, gpu: &Gpu, input: &[f32], scale: &[f32], bias: &[f32]) -> Result<Vec<f32>> {
        for (buffer, values) in [(&self.input, input), (&self.scale, scale), (&self.bias, bias)] {
            gpu.queue.write_buffer(buffer, 0, bytemuck::cast_slice(values));
        }
        gpu.run(&[&self.forward]);
        gpu.download(&self.output)
    }

    /// Gradients to the input, the scale and the bias of the last forward pass.
    fn backward(&self, gpu: &Gpu, grad_output: &[f32]) -> Result<[Vec<f32>; 3]> {
        gpu.queue.write_buffer(&self.grad_output, 0, bytemuck::cast_slice(grad_output));
        gpu.run(&[&self.backward]);
        Ok([gpu.download(&self.grad_input)?, gpu.download(&self.grad_scale)?, gpu.download(&self.grad_bias)?])
    }
}

struct Network<'a> {
    gpu: &'a Gpu,
    hidden: Option<&'a Hidden>,
    /// HIDDEN rows of INPUTS weights.
    weight1: Vec<f32>,
    bias1: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
    weight2: Vec<f32>,
    bias2: f32,
}

impl<'a> Network<'a> {
    fn random(gpu: &'a Gpu, hidden: Option<&'a Hidden>, rng: &mut fastrand::Rng) -> Self {
        let mut uniform = |len: usize, inputs: usize| -> Vec<f32> {
            let bound = 1.0 / (inputs as f32).sqrt();
            (0..len).map(|_| bound * (2.0 * rng.f32() - 1.0)).collect()
        };
        let (weight1, bias1) = (uniform(HIDDEN * INPUTS, INPUTS), uniform(HIDDEN, INPUTS));
        let (weight2, bias2) = (uniform(HIDDEN, HIDDEN), uniform(1, HIDDEN)[0]);
        let (scale, shift) = (vec![1.0; HIDDEN], vec![0.0; HIDDEN]);
        Self { gpu, hidden, weight1, bias1, scale, shift, weight2, bias2 }
    }

    /// What the ReLU gets: the first linear layer, normalized.
    fn features(&self, samples: &Samples) -> Result<Vec<f32>> {
        let mut linear = Vec::with_capacity(SAMPLES * HIDDEN);
        for x in samples.x.chunks(INPUTS) {
            let rows = self.weight1.chunks(INPUTS).zip(&self.bias1);
            linear.extend(rows.map(|(row, bias)| bias + dot(row, x)));
        }
        match self.hidden {
            Some(norm) => norm.forward(self.gpu, &linear, &self.scale, &self.shift),
            None => Ok(linear),
        }
    }

    /// How far each prediction is off.
    fn errors(&self, samples: &Samples, features: &[f32]) -> Vec<f32> {
        let predict = |h: &[f32]| self.bias2 + h.iter().zip(&self.weight2).map(|(h, w)| h.max(0.0) * w).sum::<f32>();
        features.chunks(HIDDEN).zip(&samples.y).map(|(h, y)| predict(h) - y).collect()
    }

    fn loss(&self, samples: &Samples) -> Result<f64> {
        let errors = self.errors(samples, &self.features(samples)?);
        Ok(errors.iter().map(|&e| f64::from(e).powi(2)).sum::<f64>() / SAMPLES as f64)
    }

    /// One step of gradient descent on the mean square error.
    fn step(&mut self, samples: &Samples) -> Result<()> {
        let features = self.features(samples)?;
        let mut grad_features = Vec::with_capacity(features.len());
        let (mut grad_weight2, mut grad_bias2) = (vec![0.0; HIDDEN], 0.0);
        for (h, error) in features.chunks(HIDDEN).zip(self.errors(samples, &features)) {
            let grad = 2.0 * error / SAMPLES as f32;
            grad_bias2 += grad;
            grad_weight2.iter_mut().zip(h).for_each(|(sum, h)| *sum += grad * h.max(0.0));
            grad_features.extend(h.iter().zip(&self.weight2).map(|(&h, w)| if h > 0.0 { grad * w } else { 0.0 }));
        }
        let grad_linear = match self.hidden {
            Some(norm) => {
                let [grad_linear, grad_scale, grad_shift] = norm.backward(self.gpu, &grad_features)?;
                descend(&mut self.scale, &grad_scale);
                descend(&mut self.shift, &grad_shift);
                grad_linear
            }
            None => grad_features,
        };
        let (mut grad_weight1, mut grad_bias1) = (vec![0.0; HIDDEN * INPUTS], vec![0.0; HIDDEN]);
        for (grads, x) in grad_linear.chunks(HIDDEN).zip(samples.x.chunks(INPUTS)) {
            let rows = grad_weight1.chunks_mut(INPUTS).zip(&mut grad_bias1);
            for ((row, bias), grad) in rows.zip(grads) {
                *bias += grad;
                row.iter_mut().zip(x).for_each(|(sum, x)| *sum += grad * x);
            }
        }
        descend(&mut self.weight1, &grad_weight1);
        descend(&mut self.bias1, &grad_bias1);
        descend(&mut self.weight2, &grad_weight2);
        self.bias2 -= RATE * grad_bias2;
        Ok(())
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn descend(parameters: &mut [f32], gradients: &[f32]) {
    parameters.iter_mut().zip(gradients).for_each(|(parameter, gradient)| *parameter -= RATE * gradient);
}

/// Trains the three networks from each seed.
pub fn measure() -> Result<Vec<Losses>> {
    let gpu = Gpu::open()?;
    let mut seeds = vec![[[0.0; KEPT]; NETWORKS.len()]; SEEDS as usize];
    for (k, (_, kind)) in NETWORKS.iter().enumerate() {
        let hidden = kind.as_ref().map(|kind| Hidden::new(&gpu, kind)).transpose()?;
        for (seed, losses) in seeds.iter_mut().enumerate() {
            let mut rng = fastrand::Rng::with_seed(seed as u64);
            let samples = Samples::random(&mut rng);
            let mut network = Network::random(&gpu, hidden.as_ref(), &mut rng);
            for (tenth, loss) in losses[k].iter_mut().enumerate() {
                if tenth > 0 {
                    (0..10).try_for_each(|_| network.step(&samples))?;
                }
                *loss = network.loss(&samples)?;
            }
        }
    }
    Ok(seeds)
}

/// The mean over the seeds of a network's loss.
pub fn mean_loss(seeds: &[Losses], network: usize, tenth: usize) -> f64 {
    seeds.iter().map(|losses| losses[network][tenth]).sum::<f64>() / seeds.len() as f64
}

fn main() -> Result<()> {
    let seeds = measure()?;
    let print = |head: String, loss: &dyn Fn(usize) -> f64| {
        println!("{head:<12} {:>10.4} {:>12.4} {:>12.4}", loss(0), loss(1), loss(2));
    };
    println!("mean square error, mean of {SEEDS} seeds\n");
    println!("epoch        {:>10} {:>12} {:>12}", NETWORKS[0].0, NETWORKS[1].0, NETWORKS[2].0);
    (0..KEPT).for_each(|tenth| print((10 * tenth).to_string(), &|network| mean_loss(&seeds, network, tenth)));
    println!("\nafter {EPOCHS} epochs");
    seeds.iter().enumerate().for_each(|(k, seed)| print(format!("seed {k}"), &|network| seed[network][KEPT - 1]));
    Ok(())
}
