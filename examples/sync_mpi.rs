//! Synchronized batch norm over MPI: each rank normalizes its shard of a batch by the statistics of all shards.
//!
//!     mpirun -n 4 sync_mpi             forward and backward over unequal shards, one of them empty, checked against
//! the f64 reference
//!     mpirun -n 4 sync_mpi disagree    the last rank has other channels: an error on every rank
//!     mpirun -n 4 sync_mpi leave       the last rank returns early: an error on every other rank
//!     mpirun -n 4 sync_mpi endless     passes without end, until a rank is killed

use std::error::Error;

use wgpu_norm::reference::{self, ReferenceInputs};
use wgpu_norm::sync::{MpiTransport, SyncBackwardArgs, SyncBatchNorm, SyncError, SyncForwardArgs, Transport};
use wgpu_norm::{
    Destination, NormDescriptor, NormEngine, NormEngineDescriptor, NormKind, TensorView, mpi, read_buffer_blocking,
    wgpu,
};

const CHANNELS: usize = 6;
const SPATIAL: usize = 35;
/// Far from 0, where squares in f32 would be of no use.
const MEAN: f32 = 1e4;

type Outcome<T> = Result<T, Box<dyn Error>>;

struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    engine: NormEngine,
}

impl Gpu {
    fn open() -> Outcome<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()))?;
        let engine = NormEngine::new(&device, &NormEngineDescriptor::default())?;
        Ok(Self { device, queue, engine })
    }

    fn buffer(&self, values: &[f32]) -> wgpu::Buffer {
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: (values.len() as u64 * 4).max(4),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(values));
        buffer
    }

    fn read(&self, buffer: &wgpu::Buffer, len: usize) -> Outcome<Vec<f32>> {
        let bytes = read_buffer_blocking(&self.device, &self.queue, buffer, 0..len as u64 * 4)?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    fn norm(&self, samples: usize, channels: usize, transport: MpiTransport) -> Result<Norm, SyncError> {
        let shape = [samples, channels, SPATIAL].map(|size| size as u64);
        SyncBatchNorm::new(&self.engine, &self.queue, &NormDescriptor::new(NormKind::Batch, &shape), transport)
    }
}

type Norm = SyncBatchNorm<MpiTransport>;

/// The whole batch, the same on every rank.
struct Batch {
    input: Vec<f32>,
    grad_output: Vec<f32>,
    scale: Vec<f32>,
    bias: Vec<f32>,
    shards: Vec<usize>,
}

impl Batch {
    /// Unequal shards, the second of which is empty.
    fn new(ranks: usize) -> Self {
        let shards: Vec<usize> = (0..ranks).map(|rank| if rank == 1 { 0 } else { 2 + 3 * rank }).collect();
        let mut rng = fastrand::Rng::with_seed(1);
        let mut values = |len: usize, mean: f32| -> Vec<f32> { (0..len).map(|_| mean + rng.f32() - 0.5).collect() };
        let len = shards.iter().sum::<usize>() * CHANNELS * SPATIAL;
        let (input, grad_output) = (values(len, MEAN), values(len, 0.0));
        Self { input, grad_output, scale: values(CHANNELS, 1.0), bias: values(CHANNELS, 0.0), shards }
    }

    /// Where a rank's elements are.
    fn shard(&self, rank: usize) -> std::ops::Range<usize> {
        let sample = CHANNELS * SPATIAL;
        let start = self.shards[..rank].iter().sum::<usize>() * sample;
        start..start + self.shards[rank] * sample
    }
}

fn main() -> Outcome<()> {
    let universe = mpi::initialize().ok_or("MPI is initialized already")?;
    let transport = MpiTransport::new(&universe.world());
    let (rank, last) = (transport.rank(), transport.size() - 1);
    let gpu = Gpu::open()?;
    match std::env::args().nth(1).as_deref() {
        None => check(&gpu, transport),
        Some("disagree") => {
            let channels = if rank == last { CHANNELS + 1 } else { CHANNELS };
            expect_error(rank, forward_zeros(&gpu, &mut gpu.norm(2, channels, transport)?, channels))
        }
        Some("leave") if rank == last => Ok(()),
        Some("leave") => expect_error(rank, forward_zeros(&gpu, &mut gpu.norm(2, CHANNELS, transport)?, CHANNELS)),
        Some("endless") => {
            let mut norm = gpu.norm(2, CHANNELS, transport)?;
            forward_zeros(&gpu, &mut norm, CHANNELS)?;
            println!("rank {rank} runs as process {}", std::process::id());
            loop {
                forward_zeros(&gpu, &mut norm, CHANNELS)?;
            }
        }
        Some(other) => Err(format!("no mode {other}: disagree, leave, endless or nothing").into()),
    }
}

fn expect_error(rank: usize, result: Result<(), SyncError>) -> Outcome<()> {
    let error = result.err().ok_or("the pass succeeded")?;
    println!("rank {rank} has the error: {error}");
    Ok(())
}

fn forward_zeros(gpu: &Gpu, norm: &mut Norm, channels: usize) -> Result<(), SyncError> {
    let [input, parameter] = [2 * channels * SPATIAL, channels].map(|len| gpu.buffer(&vec![0.0; len]));
    let parameter = Some(TensorView::whole(&parameter));
    let (input, output) = (TensorView::whole(&input), Destination::InPlace);
    norm.forward(&SyncForwardArgs::new(input, output).scale(parameter).bias(parameter))
}

/// What a rank computed for its shard: output, gradient to the input, and its own gradients to scale and bias.
fn run(gpu: &Gpu, norm: &mut Norm, batch: &Batch, rank: usize) -> Outcome<[Vec<f32>; 4]> {
    let shard = batch.shard(rank);
    let len = shard.len();
    let (input, grad) = (gpu.buffer(&batch.input[shard.clone()]), gpu.buffer(&batch.grad_output[shard]));
    let output = gpu.buffer(&vec![0.0; len]);
    let (scale, bias) = (gpu.buffer(&batch.scale), gpu.buffer(&batch.bias));
    let [grad_scale, grad_bias] = [(); 2].map(|()| gpu.buffer(&[0.0; CHANNELS]));
    // an empty shard has a buffer, but no element in it
    let view = |buffer| TensorView::new(buffer, 0, len as u64);
    let args = SyncForwardArgs::new(view(&input), view(&output));
    norm.forward(&args.scale(TensorView::whole(&scale)).bias(TensorView::whole(&bias)))?;
    let args = SyncBackwardArgs::new(view(&input), view(&grad))
        .scale(TensorView::whole(&scale))
        .grad_input(Destination::InPlace)
        .grad_scale(TensorView::whole(&grad_scale))
        .grad_bias(TensorView::whole(&grad_bias));
    norm.backward(&args)?;
    Ok([
        gpu.read(&output, len)?,
        gpu.read(&grad, len)?,
        gpu.read(&grad_scale, CHANNELS)?,
        gpu.read(&grad_bias, CHANNELS)?,
    ])
}

fn check(gpu: &Gpu, transport: MpiTransport) -> Outcome<()> {
    let rank = transport.rank();
    let batch = Batch::new(transport.size());
    let mut norm = gpu.norm(batch.shards[rank], CHANNELS, transport)?;
    let [output, grad_input, grad_scale, grad_bias] = run(gpu, &mut norm, &batch, rank)?;
    let statistics = gpu.read(norm.merged_statistics()?.buffer, CHANNELS * 4)?;

    // the sums of a training loop's all-reduce, and whether every rank has the same bits
    let sum = |all: Vec<Vec<f32>>| {
        all.iter().fold(vec![0.0; CHANNELS], |sum, part| sum.iter().zip(part).map(|(a, b)| a + b).collect::<Vec<f32>>())
    };
    let grad_scale = sum(norm.transport().all_gather(&grad_scale)?);
    let grad_bias = sum(norm.transport().all_gather(&grad_bias)?);
    let same = norm.transport().all_gather(&statistics)?.iter().all(|other| *other == statistics);

    let whole = [batch.shards.iter().sum(), CHANNELS, SPATIAL].map(|size| size as u64);
    let descriptor = NormDescriptor::new(NormKind::Batch, &whole);
    let (scale, bias) = (Some(&batch.scale[..]), Some(&batch.bias[..]));
    let inputs = ReferenceInputs { input: &batch.input, scale, bias, given: None };
    let forward = reference::forward(&descriptor, &inputs)?;
    let gradients = reference::backward(&descriptor, &inputs, &batch.grad_output)?;
    let shard = batch.shard(rank);
    let errors = [
        error(&output, &forward.output[shard.clone()]),
        error(&grad_input, &gradients.input[shard]),
        error(&grad_scale, &gradients.scale),
        error(&grad_bias, &gradients.bias),
    ];
    let worst = errors.into_iter().fold(0.0, f32::max);
    let of_ranks = norm.transport().all_gather(&[worst])?;
    if rank == 0 {
        println!("shards {:?}: worst error of each rank {of_ranks:?}", batch.shards);
    }
    if !same {
        return Err("ranks have other bits of the merged statistics".into());
    }
    if of_ranks.iter().flatten().any(|&error| error > 2e-6) {
        return Err("a rank differs from the whole batch in one tensor".into());
    }
    Ok(())
}

/// The largest error as a share of the largest value; infinite where there is a NaN.
fn error(actual: &[f32], expected: &[f64]) -> f32 {
    let largest = expected.iter().fold(f64::MIN_POSITIVE, |most, value| most.max(value.abs()));
    let worst = actual.iter().zip(expected).map(|(&a, e)| (f64::from(a) - e).abs() / largest);
    worst.fold(0.0, |most, error| if error.is_nan() { f64::INFINITY } else { most.max(error) }) as f32
}
