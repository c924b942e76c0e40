//! What norms cost the host: planning, binding, recording, and the first result of a process.
//!
//!     cargo bench --bench host
//!
//! Allocations are counted. `record` makes one norm record itself into an open pass; `record_by_hand` records the same
//! commands with calls of wgpu alone: what both allocate is wgpu's, what only the first one allocates is ours.

use std::sync::OnceLock;

use divan::{Bencher, counter::ItemsCount};
use wgpu_norm::*;

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    // an adapter that is not there is said once, and not by every benchmark
    println!("adapter: {}", gpu().device.adapter_info().name);
    divan::main();
}

/// Shapes by how their segments lie: rows in one dispatch, planes that are reduced and then mapped.
const CASES: [&str; 3] = ["layer", "group", "batch"];

struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    engine: NormEngine,
}

/// Operands of one norm.
struct Operands {
    input: wgpu::Buffer,
    output: wgpu::Buffer,
    parameters: wgpu::Buffer,
    workspace: Option<wgpu::Buffer>,
}

/// A pass that is recorded into; it goes before its encoder.
struct Open {
    pass: wgpu::ComputePass<'static>,
    _encoder: wgpu::CommandEncoder,
}

fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(Gpu::open)
}

fn descriptor(case: &str) -> NormDescriptor<'static> {
    match case {
        "layer" => NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &[512, 1024]),
        "group" => NormDescriptor::new(NormKind::Group { groups: 32 }, &[2, 64, 56, 56]),
        _ => NormDescriptor::new(NormKind::Batch, &[2, 64, 56, 56]),
    }
}

impl Gpu {
    fn open() -> Self {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))
            .expect("these benchmarks need a Vulkan, Metal or DX12 adapter");
        let descriptor = wgpu::DeviceDescriptor {
            required_features: NormEngine::required_features(&adapter),
            required_limits: NormEngine::required_limits(&adapter),
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).expect("a device");
        let engine = NormEngine::new(&device, &NormEngineDescriptor::default()).expect("an engine");
        Self { device, queue, engine }
    }

    fn norm(&self, case: &str) -> Norm {
        self.engine.create_norm(&descriptor(case)).expect("a plan")
    }

    fn operands(&self, norm: &Norm) -> Operands {
        let tensor = |len: u64| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: len * 4,
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            })
        };
        Operands {
            input: tensor(norm.len()),
            output: tensor(norm.len()),
            parameters: tensor(norm.affine_len()),
            workspace: norm.create_workspace().unwrap(),
        }
    }

    fn open_pass(&self) -> Open {
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()).forget_lifetime();
        Open { pass, _encoder: encoder }
    }

    /// Runs a norm, and reads the first value of its result.
    fn first_value(&self, bound: &BoundNorm, output: &wgpu::Buffer) -> Vec<u8> {
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        bound.record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
        self.queue.submit([encoder.finish()]);
        read_buffer_blocking(&self.device, &self.queue, output, 0..4).expect("a result")
    }
}

impl Operands {
    fn bind(&self, norm: &Norm) -> BoundNorm {
        let parameters = TensorView::whole(&self.parameters);
        let args = ForwardArgs::new(TensorView::whole(&self.input), TensorView::whole(&self.output))
            .scale(parameters)
            .bias(parameters)
            .workspace(self.workspace.as_ref().map(BufferView::whole));
        norm.bind_forward(&args).expect("a binding")
    }
}

#[divan::bench(args = CASES)]
fn plan(bencher: Bencher<'_, '_>, case: &str) {
    bencher.bench(|| gpu().norm(case));
}

/// The recipe of a forward pass: views checked, stages lowered, without a device.
#[divan::bench(args = CASES)]
fn lower(bencher: Bencher<'_, '_>, case: &str) {
    let norm = gpu().norm(case);
    let buffer = |id: u32, size: u64| BufferId { id, size };
    let tensor = |id| TensorView::whole(buffer(id, 4 * norm.len()));
    let parameters = TensorView::whole(buffer(2, 4 * norm.affine_len()));
    let workspace = (norm.workspace_size() > 0).then(|| BufferView::whole(buffer(3, norm.workspace_size())));
    let args = ForwardArgs::new(tensor(0), tensor(1)).scale(parameters).bias(parameters).workspace(workspace);
    bencher.bench(|| norm.forward(&args).expect("a recipe"));
}

/// With all kernels compiled.
#[divan::bench(args = CASES)]
fn bind(bencher: Bencher<'_, '_>, case: &str) {
    let norm = gpu().norm(case);
    let operands = gpu().operands(&norm);
    operands.bind(&norm);
    bencher.bench(|| operands.bind(&norm));
}

#[divan::bench(args = CASES)]
fn record(bencher: Bencher<'_, '_>, case: &str) {
    let norm = gpu().norm(case);
    let bound = gpu().operands(&norm).bind(&norm);
    bencher
        .counter(ItemsCount::new(bound.dispatch_count()))
        .with_inputs(|| gpu().open_pass())
        .bench_local_refs(|open| bound.record(&mut open.pass));
}

/// As many dispatches of another pipeline, recorded by calls of wgpu.
#[divan::bench(args = CASES)]
fn record_by_hand(bencher: Bencher<'_, '_>, case: &str) {
    let gpu = gpu();
    let norm = gpu.norm(case);
    let dispatches = gpu.operands(&norm).bind(&norm).dispatch_count();
    let (pipeline, bind_group) = by_hand(&gpu.device);
    let label = format!("wgpu-norm {case} norm forward");
    bencher.counter(ItemsCount::new(dispatches)).with_inputs(|| gpu.open_pass()).bench_local_refs(|open| {
        open.pass.push_debug_group(&label);
        for _ in 0..dispatches {
            open.pass.set_pipeline(&pipeline);
            open.pass.set_bind_group(0, &bind_group, &[]);
            open.pass.dispatch_workgroups(1, 1, 1);
        }
        open.pass.pop_debug_group();
    });
}

/// A kernel with one binding.
fn by_hand(device: &wgpu::Device) -> (wgpu::ComputePipeline, wgpu::BindGroup) {
    let source = "@group(0) @binding(0) var<storage, read_write> x: array<u32>;
        @compute @workgroup_size(1) fn main() { x[0] = 1u; }";
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 16,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() }],
    });
    (pipeline, bind_group)
}

/// The kernels of all cases and of all their schedules on a new engine: one after the other, and ahead on all threads.
#[divan::bench(args = [false, true], sample_count = 5, sample_size = 1)]
fn compile(bencher: Bencher<'_, '_>, warm_up: bool) {
    let gpu = gpu();
    let keys: Vec<Kernel> = CASES
        .iter()
        .flat_map(|case| {
            let descriptor = descriptor(case);
            let schedules = gpu.engine.schedules(&descriptor).expect("a plan");
            let norms = schedules
                .into_iter()
                .filter_map(move |schedule| gpu.engine.create_norm_with(&descriptor, schedule).expect("a plan"));
            norms.flat_map(|norm| gpu.operands(&norm).bind(&norm).kernels().collect::<Vec<_>>())
        })
        .collect();
    let engine = || NormEngine::new(&gpu.device, &NormEngineDescriptor::default()).expect("an engine");
    bencher.with_inputs(engine).bench_local_refs(|engine| match warm_up {
        true => engine.warm_up(&keys).expect("kernels"),
        false => keys.iter().for_each(|key| engine.warm_up(&[*key]).expect("kernels")),
    });
}

/// From nothing to a result: instance, device, engine, plan, kernels, and a run.
#[divan::bench(args = CASES, sample_count = 5, sample_size = 1)]
fn cold_start(bencher: Bencher<'_, '_>, case: &str) {
    bencher.bench_local(|| {
        let gpu = Gpu::open();
        let norm = gpu.norm(case);
        let operands = gpu.operands(&norm);
        gpu.first_value(&operands.bind(&norm), &operands.output)
    });
}
