//! A device, owned descriptors, and a run of one norm against the f64 reference.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use wgpu_norm::reference::{self, ReferenceInputs, ReferenceOutput};
use wgpu_norm::*;

/// A value that no norm writes: what guard bands and outputs hold before a run.
pub const POISON: f32 = 1.234_567_8e33;

/// Elements before and after each tensor that must stay as they are.
const GUARD: u64 = 33;

pub struct Gpu {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub engine: NormEngine,
    is_lost: Arc<AtomicBool>,
}

/// Devices that no thread has at present.
static IDLE: Mutex<Vec<&'static Gpu>> = Mutex::new(Vec::new());

/// A device that a thread has until it ends.
struct Lease(&'static Gpu);

impl Drop for Lease {
    fn drop(&mut self) {
        // a test may leave one behind on which nothing works
        if !self.0.is_lost.load(Ordering::Relaxed) {
            IDLE.lock().expect("no panic while it is locked").push(self.0);
        }
    }
}

/// A device with the adapter's own limits, for this thread alone: a software adapter compiles one kernel at a time on
/// each. Other threads get it later, since drivers have few devices to give. Without an adapter a test fails.
pub fn gpu() -> &'static Gpu {
    // each test is a thread
    thread_local!(static GPU: Lease = {
        let idle = IDLE.lock().expect("no panic while it is locked").pop();
        Lease(idle.unwrap_or_else(|| {
            let adapter = adapter();
            Box::leak(Box::new(open(&adapter, NormEngine::required_limits(&adapter))))
        }))
    });
    GPU.with(|lease| lease.0)
}

pub fn adapter() -> wgpu::Adapter {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))
        .expect("these tests need a Vulkan, Metal or DX12 adapter; scripts/test installs a software one")
}

pub fn open(adapter: &wgpu::Adapter, required_limits: wgpu::Limits) -> Gpu {
    let descriptor = wgpu::DeviceDescriptor { required_limits, ..wgpu::DeviceDescriptor::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).expect("a device");
    let engine = NormEngine::new(&device, &NormEngineDescriptor::default()).expect("an engine");
    let is_lost = Arc::new(AtomicBool::new(false));
    let lost = is_lost.clone();
    device.set_device_lost_callback(move |_, _| lost.store(true, Ordering::Relaxed));
    Gpu { device, queue, engine, is_lost }
}

impl Gpu {
    /// The same device with an engine of its own, that chooses by another profile.
    pub fn with_profile(&self, profile: DeviceProfile) -> Self {
        let engine = self.engine.with_profile(profile).unwrap();
        let (device, queue) = (self.device.clone(), self.queue.clone());
        Self { device, queue, engine, is_lost: self.is_lost.clone() }
    }

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
        let all = self.read(buffer);
        let (guard, end) = (GUARD as usize, all.len() - GUARD as usize);
        assert!(all[..guard].iter().chain(&all[end..]).all(|&x| x == POISON), "a guard band was overwritten");
        all[guard..end].to_vec()
    }

    pub fn run(&self, bound: &[&BoundNorm]) {
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for norm in bound {
            norm.record(&mut pass);
        }
        drop(pass);
        self.queue.submit([encoder.finish()]);
    }
}

/// Whether the adapter computes with denormal numbers, by a kernel that does: many take them for 0, and results too.
pub fn keeps_denormals(gpu: &Gpu) -> bool {
    const SOURCE: &str = "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
        @compute @workgroup_size(1) fn main() { x[0] = x[1] * x[2]; x[3] = x[4] + x[5]; }";
    let module = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(SOURCE.into()),
    });
    let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    let buffer = gpu.buffer(&[0.0, 1e-20, 1e-20, 0.0, 1e-40, 1e-40]);
    let group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() }],
    });
    let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups(1, 1, 1);
    drop(pass);
    gpu.queue.submit([encoder.finish()]);
    let found = gpu.read(&buffer);
    found[0] != 0.0 && found[3] != 0.0
}

/// The view of a guarded tensor.
pub fn guarded_view(buffer: &wgpu::Buffer, len: usize) -> TensorView<&wgpu::Buffer> {
    TensorView::new(buffer, GUARD * 4, len as u64)
}

/// Values of a norm's operands, random but the same each time.
#[derive(Clone, Default)]
pub struct Data {
    pub input: Vec<f32>,
    pub scale: Option<Vec<f32>>,
    pub bias: Option<Vec<f32>>,
    pub given: Option<(Vec<f32>, Vec<f32>)>,
}

impl Data {
    /// Input around `mean` with deviation about 1; parameters as the norm has them.
    pub fn random(gpu: &Gpu, descriptor: &NormDescriptor<'_>, mean: f32, seed: u64) -> Self {
        let norm = gpu.engine.create_norm(descriptor).expect("a plan");
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut values = |len: u64, center: f32, spread: f32| values(&mut rng, len, center, spread);
        Self {
            input: values(norm.len(), mean, 1.0),
            scale: descriptor.affine.has_scale().then(|| values(norm.affine_len(), 1.0, 0.5)),
            bias: descriptor.affine.has_bias().then(|| values(norm.affine_len(), 0.0, 1.0)),
            given: None,
        }
    }

    pub fn reference(&self, descriptor: &NormDescriptor<'_>) -> ReferenceOutput {
        let inputs = ReferenceInputs {
            input: &self.input,
            scale: self.scale.as_deref(),
            bias: self.bias.as_deref(),
            given: self.given.as_ref().map(|(mean, variance)| (mean.as_slice(), variance.as_slice())),
        };
        reference::forward(descriptor, &inputs).expect("the reference")
    }
}

/// Random values around `center`.
pub fn values(rng: &mut fastrand::Rng, len: u64, center: f32, spread: f32) -> Vec<f32> {
    (0..len).map(|_| center + spread * (rng.f32() + rng.f32() + rng.f32() - 1.5) * 2.0).collect()
}

/// A guarded buffer of values, if there are any.
pub fn guarded_of(gpu: &Gpu, values: &Option<Vec<f32>>) -> Option<wgpu::Buffer> {
    values.as_ref().map(|v| gpu.guarded(v))
}

/// The view of such a buffer.
pub fn view_of(buffer: &Option<wgpu::Buffer>, len: usize) -> Option<TensorView<&wgpu::Buffer>> {
    buffer.as_ref().map(|b| guarded_view(b, len))
}

/// What a run left.
pub struct Outcome {
    pub output: Vec<f32>,
    /// Mean and biased variance of each segment, where the run saved them.
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
    pub kernels: Vec<Kernel>,
}

/// Runs a norm, saving its statistics.
pub fn run_training(gpu: &Gpu, norm: &Norm, data: &Data) -> Result<Outcome, BindError> {
    let len = data.input.len();
    let (input, output) = (gpu.guarded(&data.input), gpu.guarded(&vec![POISON; len]));
    let [scale, bias] = [&data.scale, &data.bias].map(|values| guarded_of(gpu, values));
    let (segments, affine) = (norm.segment_count(), norm.affine_len() as usize);
    let saved = gpu.buffer(&vec![POISON; 4 * segments.max(1) as usize]);
    let workspace = norm.create_workspace().unwrap();
    let statistics = BufferView::new(&saved, 0, norm.statistics_size());
    let args = TrainingArgs::new(guarded_view(&input, len), guarded_view(&output, len), statistics)
        .scale(view_of(&scale, affine))
        .bias(view_of(&bias, affine))
        .workspace(workspace.as_ref().map(BufferView::whole));
    let bound = norm.bind_training(&args)?;
    let [mean, variance] = [(); 2].map(|()| gpu.guarded(&vec![POISON; segments as usize]));
    let export = ExportArgs::new(statistics)
        .mean(guarded_view(&mean, segments as usize))
        .spread(Spread::Variance, guarded_view(&variance, segments as usize));
    let export = norm.bind_export(&export)?;
    gpu.run(&[&bound, &export]);
    Ok(Outcome {
        output: gpu.read_guarded(&output),
        mean: gpu.read_guarded(&mean),
        variance: gpu.read_guarded(&variance),
        kernels: bound.kernels().collect(),
    })
}

/// Runs inference from given statistics.
pub fn run_given(gpu: &Gpu, norm: &Norm, data: &Data) -> Result<Outcome, BindError> {
    let len = data.input.len();
    let (input, output) = (gpu.guarded(&data.input), gpu.guarded(&vec![POISON; len]));
    let [scale, bias] = [&data.scale, &data.bias].map(|values| guarded_of(gpu, values));
    let (mean, variance) = data.given.as_ref().expect("given statistics");
    let (mean, variance) = (gpu.buffer(mean), gpu.buffer(variance));
    let (channels, affine) = (norm.given_segment_count(), norm.affine_len() as usize);
    let records = gpu.buffer(&vec![POISON; 4 * channels as usize]);
    let statistics = BufferView::whole(&records);
    let (mean, variance) = (TensorView::new(&mean, 0, channels), TensorView::new(&variance, 0, channels));
    let import = norm.bind_import(&ImportArgs::new(mean, variance, statistics))?;
    let args = ForwardArgs::new(guarded_view(&input, len), guarded_view(&output, len))
        .scale(view_of(&scale, affine))
        .bias(view_of(&bias, affine))
        .statistics(StatisticsSource::Given(statistics));
    let bound = norm.bind_forward(&args)?;
    gpu.run(&[&import, &bound]);
    let kernels = bound.kernels().collect();
    Ok(Outcome { output: gpu.read_guarded(&output), mean: Vec::new(), variance: Vec::new(), kernels })
}

/// Largest error as a share of the largest reference value; NaN and infinity must stand where they stand there.
pub fn error(actual: &[f32], expected: &[f64]) -> Result<f64, String> {
    assert_eq!(actual.len(), expected.len());
    let scale = expected.iter().filter(|e| e.is_finite()).fold(0.0f64, |m, e| m.max(e.abs()));
    let mut worst = 0.0f64;
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let rounded = e as f32;
        if !a.is_finite() || !rounded.is_finite() {
            let same = a == rounded || a.is_nan() && rounded.is_nan();
            if !same {
                return Err(format!("element {i}: {a}, expected {e}"));
            }
            continue;
        }
        worst = worst.max((f64::from(a) - e).abs() / if scale > 0.0 { scale } else { 1.0 });
    }
    Ok(worst)
}

/// What rounding may leave of a segment of `len` elements: a few units in the last place, and a little for each level
/// of the sum.
pub fn tolerance(len: u64) -> f64 {
    let levels = (len.max(2) as f64).log2();
    (8.0 + levels) * f64::from(f32::EPSILON) / 2.0
}

/// One schedule of each family, the first: those whose names differ in numbers alone are a family. `wgpu-norm verify
/// --all` runs them all.
pub fn families<S: std::fmt::Display>(schedules: Vec<S>) -> Vec<S> {
    let mut seen = std::collections::HashSet::new();
    let family = |schedule: &S| schedule.to_string().replace(|c: char| c.is_ascii_digit(), "");
    schedules.into_iter().filter(|schedule| seen.insert(family(schedule))).collect()
}

/// Reports every failure of a table at once.
pub fn all_or_report(what: &str, failures: &[String], cases: usize) {
    assert!(cases > 0, "{what}: no case ran");
    assert!(failures.is_empty(), "{what}: {} of {cases} failed\n{}", failures.len(), failures.join("\n"));
}
