//! A device, owned descriptors, and a run of one norm against the f64 reference.

use std::ops::Deref;
use std::sync::OnceLock;

use wgpu_norm::reference::{self, ReferenceInputs, ReferenceOutput};
use wgpu_norm::*;
use wgpu_norm_tools::check::Comparison;
use wgpu_norm_tools::compute::Runner;
use wgpu_norm_tools::device;
pub use wgpu_norm_tools::device::POISON;
use wgpu_norm_tools::failure::Failure;

/// Elements before and after each tensor that must stay as they are.
pub const GUARD: u64 = 33;

/// A device whose memory is poisoned.
pub struct Gpu(device::Gpu);

impl Deref for Gpu {
    type Target = device::Gpu;

    fn deref(&self) -> &device::Gpu {
        &self.0
    }
}

/// The adapter's own limits. Without an adapter a test fails.
pub fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        let adapter = adapter();
        open(&adapter, NormEngine::required_limits(&adapter))
    })
}

pub fn adapter() -> wgpu::Adapter {
    let adapter = device::adapter(None).expect("the best adapter");
    adapter.expect("these tests need a Vulkan, Metal or DX12 adapter; scripts/test installs a software one")
}

pub fn open(adapter: &wgpu::Adapter, required_limits: wgpu::Limits) -> Gpu {
    let mut gpu = device::Gpu::with(adapter, wgpu::Features::empty(), required_limits).expect("a device");
    gpu.engine = gpu.engine.with_profile(short_kernels(*gpu.engine.profile())).expect("a profile");
    Gpu(gpu.poisoning())
}

/// With fewer quads at once: hundreds of a processor's own kernels would take it a quarter of an hour to compile.
/// `wgpu-norm verify` runs those.
fn short_kernels(own: DeviceProfile) -> DeviceProfile {
    DeviceProfile {
        quads: own.quads.min(4),
        // odd rows of more than 512 elements among eight lanes
        held_quads: own.held_quads.min(18),
        held_quads_backward: own.held_quads_backward.min(8),
        ..own
    }
}

impl Gpu {
    /// A buffer of `data` with guard bands; the tensor starts at `offset()`.
    pub fn guarded(&self, data: &[f32]) -> wgpu::Buffer {
        let mut all = vec![POISON; GUARD as usize];
        all.extend_from_slice(data);
        all.extend([POISON; GUARD as usize]);
        self.buffer(&all)
    }

    pub fn buffer(&self, data: &[f32]) -> wgpu::Buffer {
        self.bytes(bytemuck::cast_slice(data))
    }

    pub fn bytes(&self, bytes: &[u8]) -> wgpu::Buffer {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: (bytes.len() as u64).max(4),
            usage,
            mapped_at_creation: false,
        });
        self.queue.write_buffer(&buffer, 0, bytes);
        buffer
    }

    pub fn read(&self, buffer: &wgpu::Buffer) -> Vec<f32> {
        let bytes = read_buffer_blocking(&self.device, &self.queue, buffer, 0..buffer.size()).expect("read back");
        bytemuck::pod_collect_to_vec(&bytes)
    }

    /// The tensor in a guarded buffer, after a check that its guard bands are whole.
    pub fn read_guarded(&self, buffer: &wgpu::Buffer) -> Vec<f32> {
        inside(self.read(buffer))
    }

    /// The elements of a tensor between guard bands, after the same check.
    pub fn download_whole(&self, tensor: &device::Tensor) -> Result<Vec<f32>, Failure> {
        self.download_guarded(tensor).map(inside)
    }

    pub fn run(&self, bound: &[&BoundNorm]) {
        self.0.run_all(bound.iter().copied()).expect("a run");
    }
}

fn inside(all: Vec<f32>) -> Vec<f32> {
    let (guard, end) = (GUARD as usize, all.len() - GUARD as usize);
    assert!(all[..guard].iter().chain(&all[end..]).all(|&x| x == POISON), "a guard band was overwritten");
    all[guard..end].to_vec()
}

/// The view of a guarded tensor.
pub fn guarded_view(buffer: &wgpu::Buffer, len: usize) -> TensorView<'_> {
    TensorView::new(buffer, GUARD * 4, len as u64)
}

/// Values of a norm's operands, random but the same each time.
#[derive(Clone, Default)]
pub struct Data {
    pub input: Vec<f32>,
    pub scale: Option<Vec<f32>>,
    pub bias: Option<Vec<f32>>,
    pub style: Option<Vec<f32>>,
    pub given: Option<(Vec<f32>, Vec<f32>)>,
}

impl Data {
    /// Input around `mean` with deviation about 1; parameters as the norm has them.
    pub fn random(gpu: &Gpu, descriptor: &NormDescriptor<'_>, mean: f32, seed: u64) -> Self {
        let norm = gpu.engine.create_norm(descriptor).expect("a plan");
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut values = |len: u64, center: f32, spread: f32| -> Vec<f32> {
            (0..len).map(|_| center + spread * (rng.f32() + rng.f32() + rng.f32() - 1.5) * 2.0).collect()
        };
        let styled = norm.style_len().is_some();
        Self {
            input: values(norm.len(), mean, 1.0),
            scale: (descriptor.affine.has_scale() && !styled).then(|| values(norm.affine_len(), 1.0, 0.5)),
            bias: (descriptor.affine.has_bias() && !styled).then(|| values(norm.affine_len(), 0.0, 1.0)),
            style: norm.style_len().map(|len| values(len, 3.0, 2.0)),
            given: None,
        }
    }

    pub fn inputs(&self) -> ReferenceInputs<'_> {
        ReferenceInputs {
            input: &self.input,
            scale: self.scale.as_deref(),
            bias: self.bias.as_deref(),
            style: self.style.as_deref(),
            given: self.given.as_ref().map(|(mean, variance)| (mean.as_slice(), variance.as_slice())),
        }
    }

    pub fn reference(&self, descriptor: &NormDescriptor<'_>) -> ReferenceOutput {
        reference::forward(descriptor, &self.inputs()).expect("the reference")
    }
}

/// What a run left.
pub struct Outcome {
    pub output: Vec<f32>,
    /// Mean and biased variance of each segment, where the run saved them.
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
    pub kernels: Vec<KernelKey>,
}

/// What the engine refuses; all else is a fault of the test.
pub fn refusal(failure: Failure) -> BindError {
    match failure {
        Failure::Bind(error) => error,
        failure => panic!("{failure}"),
    }
}

/// Runs a norm, saving its statistics.
pub fn run_training(gpu: &Gpu, norm: &Norm, data: &Data) -> Result<Outcome, BindError> {
    training(gpu, norm, data).map_err(refusal)
}

fn training(gpu: &Gpu, norm: &Norm, data: &Data) -> Result<Outcome, Failure> {
    let runner = Runner::new(gpu, norm.clone(), &data.inputs(), None, GUARD)?;
    let input = gpu.upload_guarded("input", &data.input, GUARD)?;
    let tensor = |what, len| gpu.0.guarded(what, len, GUARD);
    let (output, segments) = (tensor("output", input.len)?, norm.segment_count());
    let (mean, variance) = (tensor("mean", segments)?, tensor("variance", segments)?);
    let mut work = runner.train(input.view(), output.view())?;
    let kernels = work.iter().flat_map(BoundNorm::kernels).collect();
    work.push(runner.export(Some(mean.view()), Some((Spread::Variance, variance.view())))?);
    gpu.run_all(&work)?;
    let read = |tensor| gpu.download_whole(tensor);
    Ok(Outcome { output: read(&output)?, mean: read(&mean)?, variance: read(&variance)?, kernels })
}

/// Runs inference from given statistics.
pub fn run_given(gpu: &Gpu, norm: &Norm, data: &Data) -> Result<Outcome, BindError> {
    given(gpu, norm, data).map_err(refusal)
}

fn given(gpu: &Gpu, norm: &Norm, data: &Data) -> Result<Outcome, Failure> {
    let runner = Runner::new(gpu, norm.clone(), &data.inputs(), None, GUARD)?;
    let input = gpu.upload_guarded("input", &data.input, GUARD)?;
    let output = gpu.0.guarded("output", input.len, GUARD)?;
    let work = runner.forward(input.view(), output.view())?;
    gpu.run_all(&work)?;
    let kernels = work.last().into_iter().flat_map(BoundNorm::kernels).collect();
    Ok(Outcome { output: gpu.download_whole(&output)?, mean: Vec::new(), variance: Vec::new(), kernels })
}

/// Largest error as a share of the largest reference value; NaN and infinity must stand where they stand there.
pub fn error(actual: &[f32], expected: &[f64]) -> Result<f64, String> {
    let found = Comparison::new(actual, expected);
    match found.first_misplaced {
        Some(i) => Err(format!("element {i}: {}, expected {}", actual[i], expected[i])),
        None => Ok(found.relative),
    }
}

/// What rounding may leave of a segment of `len` elements: a few units in the last place, and a little for each level
/// of the sum.
pub fn tolerance(len: u64) -> f64 {
    let levels = (len.max(2) as f64).log2();
    (8.0 + levels) * f64::from(f32::EPSILON) / 2.0
}

/// Reports every failure of a table at once.
pub fn all_or_report(what: &str, failures: &[String], cases: usize) {
    assert!(cases > 0, "{what}: no case ran");
    assert!(failures.is_empty(), "{what}: {} of {cases} failed\n{}", failures.len(), failures.join("\n"));
}
