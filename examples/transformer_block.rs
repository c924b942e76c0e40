//! A block of a transformer, forward and backward in one compute pass: the norms are the library's, the rest are small
//! kernels of the application.
//!
//! ```text
//! cargo run --release --example transformer_block
//! ```
//!
//! ```text
//! h   = rms(x)                              a gradient that arrives at x is added by the norm's own backward pass
//! qkv = h Wqkv                              rows [H, 3, D]: a row of q, of k and of v for each head
//! q   = rms(q), k = rms(k)                  views of rows in qkv, 3 D apart
//! a   = causal softmax(q k' / sqrt(D)) v
//! s   = x + a Wo,  h = rms(s)               one norm with a residual, which stores s
//! y   = s + (silu(h Wgate) * (h Wup)) Wdown
//! ```
//!
//! The output is compared with the same lines in f64 on the CPU, and the gradients to x and to the four scales with
//! differences of those: what a loss sum(y * dy) changes by where a number is a little larger or smaller.

mod common;
#[path = "transformer_block/kernels.rs"]
mod kernels;

use common::{Gpu, Result, largest_difference, normal};
use wgpu_norm::{
    ALL_AXES, Affine, BackwardArgs, BackwardStatistics, BoundNorm, BufferView, Epsilon, FusedArgs, FusedGradients,
    Fusion, Norm, NormDescriptor, NormKind, Prologue, TensorView, TrainingArgs,
};

const TOKENS: usize = 6;
const CHANNELS: usize = 16;
const HEADS: usize = 2;
/// Of a row of a head.
const WIDTH: usize = CHANNELS / HEADS;
const HIDDEN: usize = 24;
const EPS: f32 = 1e-6;

/// What gradients are checked of: the input and the scales of the norms. [`Block::tensors`] begins with them.
const NAMES: [&str; 5] = ["x", "scale of the first norm", "scale of q", "scale of k", "scale of add + norm"];

/// Rows and columns of the matrices: of q, k and v; after the attention; gate and up side by side; down.
const MATRICES: [(usize, usize); 4] =
    [(CHANNELS, 3 * CHANNELS), (CHANNELS, CHANNELS), (CHANNELS, 2 * HIDDEN), (HIDDEN, CHANNELS)];

type View<'a> = TensorView<&'a wgpu::Buffer>;

/// All numbers of a block, and the gradient to its output.
struct Block {
    /// As [`NAMES`] orders them, then the matrices.
    tensors: Vec<Vec<f32>>,
    grad_output: Vec<f32>,
}

impl Block {
    fn random() -> Self {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut numbers = |len: usize, mean: f32, deviation: f32| -> Vec<f32> {
            (0..len).map(|_| mean + deviation * normal(&mut rng)).collect()
        };
        let mut tensors = vec![numbers(TOKENS * CHANNELS, 0.0, 1.0)];
        tensors.extend([CHANNELS, WIDTH, WIDTH, CHANNELS].map(|len| numbers(len, 1.0, 0.2)));
        tensors.extend(MATRICES.map(|(rows, columns)| numbers(rows * columns, 0.0, 1.0 / (rows as f32).sqrt())));
        Self { tensors, grad_output: numbers(TOKENS * CHANNELS, 0.0, 1.0) }
    }
}

/// What the compute pass does, in order.
enum Step {
    Application(wgpu::ComputePipeline, wgpu::BindGroup, u32),
    Norm(BoundNorm),
}

impl Step {
    fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        match self {
            Self::Application(pipeline, bind_group, workgroups) => {
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, bind_group, &[]);
                pass.dispatch_workgroups(*workgroups, 1, 1);
            }
            Self::Norm(bound) => bound.record(pass),
        }
    }

    /// A kernel of the application, an invocation for each of `count`.
    fn of(gpu: &Gpu, source: &str, constants: &[(&str, f64)], buffers: &[&wgpu::Buffer], count: usize) -> Self {
        let source = wgpu::ShaderSource::Wgsl(source.into());
        let module = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
        let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions { constants, ..Default::default() },
            cache: None,
        });
        let bindings = (0..).zip(buffers);
        let entries: Vec<_> = bindings
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let layout = pipeline.get_bind_group_layout(0);
        let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries };
        let bind_group = gpu.device.create_bind_group(&descriptor);
        Self::Application(pipeline, bind_group, count.div_ceil(64) as u32)
    }

    /// `to` = `from` times a matrix, or times it transposed, from which gradients come.
    fn product(
        gpu: &Gpu,
        (from, matrix, to): (&wgpu::Buffer, &wgpu::Buffer, &wgpu::Buffer),
        (inner, columns): (usize, usize),
        transposed: bool,
    ) -> Self {
        let constants =
            [("inner", inner as f64), ("columns", columns as f64), ("transposed", f64::from(u8::from(transposed)))];
        Self::of(gpu, kernels::PRODUCT, &constants, &[from, matrix, to], TOKENS * columns)
    }
}

/// A norm with its scale.
struct RmsNorm {
    norm: Norm,
    scale: wgpu::Buffer,
    grad_scale: wgpu::Buffer,
    /// What backward needs of forward's statistics.
    saved: wgpu::Buffer,
}

impl RmsNorm {
    /// Over the last axis.
    fn new(gpu: &Gpu, shape: &[u64], fusion: Fusion, scale: &[f32]) -> Result<Self> {
        let last = shape.len() - 1;
        let norm = gpu.engine.create_norm(&NormDescriptor {
            affine: Affine::Scale,
            eps: Epsilon::InsideRoot(EPS),
            fusion,
            ..NormDescriptor::new(NormKind::Rms { axes: last..last + 1 }, shape)
        })?;
        let (scale, grad_scale) = (gpu.upload(scale), gpu.buffer(norm.affine_len()));
        let saved = gpu.buffer(norm.statistics_size() / 4);
        Ok(Self { norm, scale, grad_scale, saved })
    }

    fn forward<'a>(&'a self, input: View<'a>, output: View<'a>, fused: FusedArgs<&'a wgpu::Buffer>) -> Result<Step> {
        let workspace = self.norm.create_workspace()?;
        let args = TrainingArgs::new(input, output, BufferView::whole(&self.saved))
            .scale(TensorView::whole(&self.scale))
            .fused(fused)
            .workspace(workspace.as_ref().map(BufferView::whole));
        Ok(Step::Norm(self.norm.bind_training(&args)?))
    }

    /// `input` is what was normalized; what `arriving` has is added to the gradient to it.
    fn backward<'a>(
        &'a self,
        input: View<'a>,
        grad_output: View<'a>,
        grad_input: View<'a>,
        arriving: Option<View<'a>>,
    ) -> Result<Step> {
        let workspace = self.norm.create_backward_workspace()?;
        let statistics = BackwardStatistics::Saved(BufferView::whole(&self.saved));
        let args = BackwardArgs::new(input, grad_output, statistics)
            .scale(TensorView::whole(&self.scale))
            .grad_input(grad_input)
            .grad_scale(TensorView::whole(&self.grad_scale))
            .fused_gradients(FusedGradients::default().arriving(arriving))
            .workspace(workspace.as_ref().map(BufferView::whole));
        Ok(Step::Norm(self.norm.bind_backward(&args)?))
    }
}

/// A tensor for each line of the block.
struct Buffers {
    x: wgpu::Buffer,
    /// Input of the projections: the first norm's output.
    first: wgpu::Buffer,
    qkv: wgpu::Buffer,
    /// q and k normalized, in the places that they have in `qkv`.
    normed: wgpu::Buffer,
    /// What the softmax gives.
    weights: wgpu::Buffer,
    mixed: wgpu::Buffer,
    attention: wgpu::Buffer,
    /// x + attention.
    sum: wgpu::Buffer,
    second: wgpu::Buffer,
    /// Gate and up.
    both: wgpu::Buffer,
    product: wgpu::Buffer,
    mlp: wgpu::Buffer,
    y: wgpu::Buffer,
}

impl Buffers {
    fn new(gpu: &Gpu) -> Self {
        let rows = |columns: usize| gpu.buffer((TOKENS * columns) as u64);
        Self {
            x: rows(CHANNELS),
            first: rows(CHANNELS),
            qkv: rows(3 * CHANNELS),
            normed: rows(3 * CHANNELS),
            weights: rows(HEADS * TOKENS),
            mixed: rows(CHANNELS),
            attention: rows(CHANNELS),
            sum: rows(CHANNELS),
            second: rows(CHANNELS),
            both: rows(2 * HIDDEN),
            product: rows(HIDDEN),
            mlp: rows(CHANNELS),
            y: rows(CHANNELS),
        }
    }
}

/// The block on the GPU: `at` holds what forward makes, `grad` the gradients in the same places.
struct Network<'a> {
    gpu: &'a Gpu,
    first: RmsNorm,
    q: RmsNorm,
    k: RmsNorm,
    second: RmsNorm,
    /// As [`MATRICES`] orders them.
    matrices: [wgpu::Buffer; 4],
    at: Buffers,
    grad: Buffers,
}

/// A view of the rows of q (0) or k (1) among those of q, k and v.
fn part(buffer: &wgpu::Buffer, index: usize) -> View<'_> {
    TensorView::at(buffer, (4 * index * WIDTH) as u64).with_row_stride(3 * WIDTH as u64)
}

fn attention_sizes() -> [(&'static str, f64); 3] {
    [("tokens", TOKENS as f64), ("heads", HEADS as f64), ("width", WIDTH as f64)]
}

impl<'a> Network<'a> {
    fn new(gpu: &'a Gpu, block: &Block) -> Result<Self> {
        let rows = [TOKENS as u64, CHANNELS as u64];
        let heads = [TOKENS as u64, HEADS as u64, WIDTH as u64];
        let added = Fusion::default().prologue(Prologue::residual(&ALL_AXES[..2]));
        let [x, first, q, k, second, matrices @ ..] = &block.tensors[..] else { unreachable!("NAMES and MATRICES") };
        let (at, grad) = (Buffers::new(gpu), Buffers::new(gpu));
        for (buffer, values) in [(&at.x, x), (&grad.y, &block.grad_output)] {
            gpu.queue.write_buffer(buffer, 0, bytemuck::cast_slice(values));
        }
        Ok(Self {
            gpu,
            first: RmsNorm::new(gpu, &rows, Fusion::default(), first)?,
            q: RmsNorm::new(gpu, &heads, Fusion::default(), q)?,
            k: RmsNorm::new(gpu, &heads, Fusion::default(), k)?,
            second: RmsNorm::new(gpu, &rows, added, second)?,
            matrices: std::array::from_fn(|index| gpu.upload(&matrices[index])),
            at,
            grad,
        })
    }

    fn forward(&self) -> Result<Vec<Step>> {
        let (gpu, at, whole) = (self.gpu, &self.at, TensorView::whole);
        let [qkv, out, gate_up, down] = &self.matrices;
        let product = |tensors, sizes| Step::product(gpu, tensors, sizes, false);
        let none = FusedArgs::default();
        Ok(vec![
            self.first.forward(whole(&at.x), whole(&at.first), none)?,
            product((&at.first, qkv, &at.qkv), MATRICES[0]),
            self.q.forward(part(&at.qkv, 0), part(&at.normed, 0), none)?,
            self.k.forward(part(&at.qkv, 1), part(&at.normed, 1), none)?,
            Step::of(
                gpu,
                kernels::ATTENTION,
                &attention_sizes(),
                &[&at.normed, &at.qkv, &at.weights, &at.mixed],
                TOKENS * HEADS,
            ),
            product((&at.mixed, out, &at.attention), MATRICES[1]),
            // x + attention, which is stored, and its norm
            self.second.forward(
                whole(&at.attention),
                whole(&at.second),
                FusedArgs::default().residual(whole(&at.x)).sum(whole(&at.sum)),
            )?,
            product((&at.second, gate_up, &at.both), MATRICES[2]),
            Step::of(gpu, kernels::GATED, &[("hidden", HIDDEN as f64)], &[&at.both, &at.product], TOKENS * HIDDEN),
            product((&at.product, down, &at.mlp), MATRICES[3]),
            Step::of(gpu, kernels::SUM, &[], &[&at.sum, &at.mlp, &at.y], TOKENS * CHANNELS),
        ])
    }

    fn backward(&self) -> Result<Vec<Step>> {
        let (gpu, at, grad, whole) = (self.gpu, &self.at, &self.grad, TensorView::whole);
        let [qkv, out, gate_up, down] = &self.matrices;
        let product = |tensors, (rows, columns)| Step::product(gpu, tensors, (columns, rows), true);
        let attention =
            |source, buffers: &[&wgpu::Buffer]| Step::of(gpu, source, &attention_sizes(), buffers, TOKENS * HEADS);
        Ok(vec![
            product((&grad.y, down, &grad.product), MATRICES[3]),
            Step::of(
                gpu,
                kernels::GATED_BACKWARD,
                &[("hidden", HIDDEN as f64)],
                &[&at.both, &grad.product, &grad.both],
                TOKENS * HIDDEN,
            ),
            product((&grad.both, gate_up, &grad.second), MATRICES[2]),
            // the sum goes into y too: its gradient arrives there; what comes out is that to x and to the attention
            self.second.backward(whole(&at.sum), whole(&grad.second), whole(&grad.sum), Some(whole(&grad.y)))?,
            product((&grad.sum, out, &grad.mixed), MATRICES[1]),
            attention(
                kernels::ATTENTION_TO_Q,
                &[&at.normed, &at.qkv, &at.weights, &grad.mixed, &grad.weights, &grad.normed],
            ),
            attention(
                kernels::ATTENTION_TO_KV,
                &[&at.normed, &at.weights, &grad.mixed, &grad.weights, &grad.normed, &grad.qkv],
            ),
            self.q.backward(part(&at.qkv, 0), part(&grad.normed, 0), part(&grad.qkv, 0), None)?,
            self.k.backward(part(&at.qkv, 1), part(&grad.normed, 1), part(&grad.qkv, 1), None)?,
            product((&grad.qkv, qkv, &grad.first), MATRICES[0]),
            self.first.backward(whole(&at.x), whole(&grad.first), whole(&grad.x), Some(whole(&grad.sum)))?,
        ])
    }
}

/// The block in f64, line by line; `tensors` as in [`Block`].
fn reference(tensors: &[Vec<f64>]) -> Vec<f64> {
    let [x, first, q_scale, k_scale, second, qkv, out, gate_up, down] = tensors else { unreachable!("Block::tensors") };
    let qkv = product(&norm(x, first), qkv, CHANNELS);
    let row = |token: usize, head: usize, part: usize| &qkv[((token * HEADS + head) * 3 + part) * WIDTH..][..WIDTH];
    let mut mixed = Vec::new();
    for (token, head) in (0..TOKENS).flat_map(|token| (0..HEADS).map(move |head| (token, head))) {
        let q = norm(row(token, head, 0), q_scale);
        let score = |other: usize| dot(&q, &norm(row(other, head, 1), k_scale)) / (WIDTH as f64).sqrt();
        let weights: Vec<f64> = (0..=token).map(|other| score(other).exp()).collect();
        let total: f64 = weights.iter().sum();
        let of =
            |d: usize| weights.iter().enumerate().map(|(other, w)| w / total * row(other, head, 2)[d]).sum::<f64>();
        mixed.extend((0..WIDTH).map(of));
    }
    let sum = add(x, &product(&mixed, out, CHANNELS));
    let both = product(&norm(&sum, second), gate_up, CHANNELS);
    let gated = both.chunks(2 * HIDDEN).flat_map(|row| {
        let (gate, up) = row.split_at(HIDDEN);
        gate.iter().zip(up).map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up)
    });
    add(&sum, &product(&gated.collect::<Vec<_>>(), down, HIDDEN))
}

/// RMS norm of rows as long as the scale.
fn norm(rows: &[f64], scale: &[f64]) -> Vec<f64> {
    let of_row = |row: &[f64]| {
        let root = (dot(row, row) / row.len() as f64 + f64::from(EPS)).sqrt();
        row.iter().zip(scale).map(|(x, scale)| x / root * scale).collect::<Vec<_>>()
    };
    rows.chunks(scale.len()).flat_map(of_row).collect()
}

fn product(rows: &[f64], matrix: &[f64], inner: usize) -> Vec<f64> {
    let columns = matrix.len() / inner;
    let of_row = |row: &[f64]| {
        let column = |c: usize| row.iter().zip(matrix.chunks(columns)).map(|(x, line)| x * line[c]).sum::<f64>();
        (0..columns).map(column).collect::<Vec<_>>()
    };
    rows.chunks(inner).flat_map(of_row).collect()
}

fn add(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// How the loss sum(y * dy) changes with each number of one tensor: central differences.
fn differences(tensors: &[Vec<f64>], index: usize, grad_output: &[f64]) -> Vec<f64> {
    // the third derivative costs 1e-10, the rounding of a loss 1e-11
    const STEP: f64 = 1e-5;
    let mut moved = tensors.to_vec();
    let mut loss = |at: usize, by: f64| {
        moved[index][at] = tensors[index][at] + by;
        let loss = dot(&reference(&moved), grad_output);
        moved[index][at] = tensors[index][at];
        loss
    };
    (0..tensors[index].len()).map(|at| (loss(at, STEP) - loss(at, -STEP)) / (2.0 * STEP)).collect()
}

/// One tensor of the GPU beside the f64 one.
pub struct Row {
    pub name: String,
    pub elements: usize,
    /// The largest number.
    pub scale: f64,
    /// The largest difference.
    pub error: f64,
}

/// Runs the block, and compares its output and its gradients. Gives the kernels of the norms too.
pub fn measure() -> Result<(Vec<Row>, Vec<String>)> {
    let (gpu, block) = (Gpu::open()?, Block::random());
    let network = Network::new(&gpu, &block)?;
    let steps: Vec<Step> = [network.forward()?, network.backward()?].into_iter().flatten().collect();
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    steps.iter().for_each(|step| step.record(&mut pass));
    drop(pass);
    gpu.queue.submit([encoder.finish()]);

    let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
    let tensors: Vec<Vec<f64>> = block.tensors.iter().map(|values| wide(values)).collect();
    let row = |name: String, buffer: &wgpu::Buffer, expected: Vec<f64>| -> Result<Row> {
        let error = largest_difference(&gpu.download(buffer)?, &expected);
        let scale = expected.iter().fold(0.0, |largest: f64, value| value.abs().max(largest));
        Ok(Row { name, elements: expected.len(), scale, error })
    };
    let mut rows = vec![row("y".to_owned(), &network.at.y, reference(&tensors))?];
    let Network { first, q, k, second, grad, .. } = &network;
    let gradients = [&grad.x, &first.grad_scale, &q.grad_scale, &k.grad_scale, &second.grad_scale];
    for (index, (name, buffer)) in NAMES.into_iter().zip(gradients).enumerate() {
        let expected = differences(&tensors, index, &wide(&block.grad_output));
        rows.push(row(format!("gradient to {name}"), buffer, expected)?);
    }
    let kernels = steps.iter().flat_map(|step| match step {
        Step::Norm(bound) => bound.kernels().map(|kernel| kernel.to_string()).collect(),
        Step::Application(..) => Vec::new(),
    });
    Ok((rows, kernels.collect()))
}

fn main() -> Result<()> {
    let (rows, kernels) = measure()?;
    println!("{TOKENS} tokens, {CHANNELS} channels, {HEADS} heads, {HIDDEN} hidden, eps {EPS:e}\n");
    println!("tensor                              elements  largest number  largest error");
    for Row { name, elements, scale, error } in &rows {
        println!("{name:<35} {elements:>8} {scale:>15.3} {error:>14.1e}");
    }
    println!("\nkernels of the norms\n  {}", kernels.join("\n  "));
    Ok(())
}
