//! What the examples share: a device, buffers, one way to run a norm, and sums on the CPU to compare with.

#![allow(dead_code, reason = "each example is a program of its own and takes what it needs")]

use wgpu_norm::reference::ReferenceInputs;
use wgpu_norm::{
    BoundNorm, BufferView, ForwardArgs, NormDescriptor, NormEngine, NormEngineDescriptor, NormKind, TensorView,
};

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The application's device and queue, and the engine on them.
pub struct Gpu {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub engine: NormEngine,
    pub adapter: String,
}

impl Gpu {
    pub fn open() -> Result<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
        let required_limits = NormEngine::required_limits(&adapter);
        let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))?;
        let engine = NormEngine::new(&device, &NormEngineDescriptor::default())?;
        Ok(Self { device, queue, engine, adapter: adapter.get_info().name })
    }

    /// A buffer for `len` f32.
    pub fn buffer(&self, len: u64) -> wgpu::Buffer {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: None, size: len * 4, usage, mapped_at_creation: false };
        self.device.create_buffer(&descriptor)
    }

    pub fn upload(&self, values: &[f32]) -> wgpu::Buffer {
        let buffer = self.buffer(values.len() as u64);
        self.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(values));
        buffer
    }

    pub fn download(&self, buffer: &wgpu::Buffer) -> Result<Vec<f32>> {
        let bytes = wgpu_norm::read_buffer_blocking(&self.device, &self.queue, buffer, 0..buffer.size())?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    /// Runs bound norms in one compute pass.
    pub fn run(&self, bound: &[&BoundNorm]) {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        bound.iter().for_each(|norm| norm.record(&mut pass));
        drop(pass);
        self.queue.submit([encoder.finish()]);
    }

    /// Normalizes `inputs`, there and back. Gives the output and the kernels that made it.
    pub fn forward(&self, descriptor: &NormDescriptor, inputs: &ReferenceInputs) -> Result<(Vec<f32>, Vec<String>)> {
        let norm = self.engine.create_norm(descriptor)?;
        let [scale, bias] = [inputs.scale, inputs.bias].map(|values| values.map(|values| self.upload(values)));
        let (input, output) = (self.upload(inputs.input), self.buffer(norm.len()));
        let workspace = norm.create_workspace()?;
        let args = ForwardArgs::new(TensorView::whole(&input), TensorView::whole(&output))
            .scale(scale.as_ref().map(TensorView::whole))
            .bias(bias.as_ref().map(TensorView::whole))
            .workspace(workspace.as_ref().map(BufferView::whole));
        let bound = norm.bind_forward(&args)?;
        self.run(&[&bound]);
        Ok((self.download(&output)?, bound.kernels().map(|kernel| kernel.to_string()).collect()))
    }
}

/// A sample of the standard normal distribution.
pub fn normal(rng: &mut fastrand::Rng) -> f32 {
    let (radius, angle) = ((-2.0 * (1.0 - rng.f64()).ln()).sqrt(), std::f64::consts::TAU * rng.f64());
    (radius * angle.cos()) as f32
}

/// The segment to which sample `n` and channel `c` belong: what shares a mean and a variance.
pub fn segment(kind: &NormKind, channels: usize, n: usize, c: usize) -> usize {
    match kind {
        NormKind::Batch => c,
        NormKind::Instance => n * channels + c,
        NormKind::Group { groups } => (n * channels + c) * *groups as usize / channels,
        _ => n,
    }
}

/// Mean and variance of each segment of a tensor of `shape` N, C, H, W, in f64 and two passes.
pub fn moments(values: &[f32], shape: &[u64; 4], kind: &NormKind) -> Vec<(f64, f64)> {
    let [samples, channels, height, width] = shape.map(|size| size as usize);
    let segments = 1 + segment(kind, channels, samples - 1, channels - 1);
    let average = |of: &dyn Fn(f64, usize) -> f64| {
        let mut sums = vec![0.0; segments];
        for (k, plane) in values.chunks(height * width).enumerate() {
            let s = segment(kind, channels, k / channels, k % channels);
            sums[s] += plane.iter().map(|&x| of(f64::from(x), s)).sum::<f64>();
        }
        let count = values.len() as f64 / segments as f64;
        sums.into_iter().map(move |sum| sum / count).collect::<Vec<_>>()
    };
    let mean = average(&|x, _| x);
    let variance = average(&|x, s| (x - mean[s]).powi(2));
    mean.into_iter().zip(variance).collect()
}

/// The largest difference of two tensors.
pub fn largest_difference<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[A], b: &[B]) -> f64 {
    assert_eq!(a.len(), b.len());
    // not f64::max, which would pass over NaN
    let larger = |most: f64, difference: f64| if difference > most || difference.is_nan() { difference } else { most };
    a.iter().zip(b).map(|(&a, &b)| (a.into() - b.into()).abs()).fold(0.0, larger)
}
