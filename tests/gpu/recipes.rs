//! Recipes run by a host of its own: it reads the JSON of a recipe and calls wgpu, and knows nothing else of this
//! library.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use wgpu_norm::reference::{self, SpectralReference, adaptive, adaptive_backward, spectral, spectral_backward};
use wgpu_norm::*;

use crate::backward::{Gradients, compare, grad_output};
use crate::harness::*;
use wgpu_norm_tools::tier;

/// The JSON of a recipe, as `docs/recipe.md` has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    version: u32,
    operation: String,
    buffers: Vec<JsonBuffer>,
    kernels: Vec<JsonKernel>,
    dispatches: Vec<JsonDispatch>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonBuffer {
    id: usize,
    name: String,
    size: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonKernel {
    name: String,
    source: String,
    entry_point: String,
    constants: BTreeMap<String, f64>,
    subgroups: bool,
    bindings: Vec<JsonKernelBinding>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonKernelBinding {
    binding: u32,
    access: String,
    operands: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonDispatch {
    kernel: usize,
    workgroups: [u32; 2],
    parameters: String,
    bindings: Vec<JsonBinding>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonBinding {
    binding: u32,
    buffer: usize,
    offset: u64,
    size: u64,
    access: String,
}

type Pipelines = HashMap<(String, String), (wgpu::ComputePipeline, wgpu::BindGroupLayout)>;

/// Buffers by name, and pipelines by source.
struct Host<'a> {
    device: &'a wgpu::Device,
    queue: &'a wgpu::Queue,
    buffers: BTreeMap<String, wgpu::Buffer>,
    pipelines: &'a RefCell<Pipelines>,
}

impl<'a> Host<'a> {
    fn new(gpu: &'a Gpu, pipelines: &'a RefCell<Pipelines>) -> Self {
        Self { device: &gpu.device, queue: &gpu.queue, buffers: BTreeMap::new(), pipelines }
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> u64 {
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(name),
            size: (bytes.len() as u64).max(4),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.queue.write_buffer(&buffer, 0, bytes);
        self.buffers.insert(name.to_owned(), buffer);
        (bytes.len() as u64).max(4)
    }

    /// What a buffer holds.
    fn read(&self, name: &str) -> Vec<f32> {
        let buffer = &self.buffers[name];
        let target = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: buffer.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &target, 0, buffer.size());
        self.queue.submit([encoder.finish()]);
        let (sender, receiver) = std::sync::mpsc::channel();
        target.map_async(wgpu::MapMode::Read, .., move |mapped| drop(sender.send(mapped)));
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("a result");
        // a test beside this one may have taken the callback
        receiver.recv().expect("an answer").expect("a mapping");
        bytemuck::pod_collect_to_vec(&target.get_mapped_range(..).expect("a mapping"))
    }

    /// Runs a recipe as the page says.
    fn run(&self, text: &str) {
        let recipe: Json = serde_json::from_str(text).expect("a recipe");
        assert_eq!(recipe.version, 1);
        for (id, buffer) in recipe.buffers.iter().enumerate() {
            assert_eq!((buffer.id, buffer.size), (id, self.buffers[&buffer.name].size()), "{}", buffer.name);
        }
        let compiled: Vec<_> = recipe.kernels.iter().map(|kernel| self.compile(kernel)).collect();
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some(&recipe.operation),
            ..wgpu::ComputePassDescriptor::default()
        });
        for dispatch in &recipe.dispatches {
            let kernel = &recipe.kernels[dispatch.kernel];
            let (pipeline, layout) = &compiled[dispatch.kernel];
            let parameters = bytes_of_hex(&dispatch.parameters);
            let uniform = self.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: parameters.len() as u64,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            self.queue.write_buffer(&uniform, 0, &parameters);
            let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: uniform.as_entire_binding() }];
            for (bound, declared) in dispatch.bindings.iter().zip(&kernel.bindings) {
                assert_eq!((bound.binding, &bound.access), (declared.binding, &declared.access), "{}", kernel.name);
                entries.push(wgpu::BindGroupEntry {
                    binding: bound.binding,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: &self.buffers[&recipe.buffers[bound.buffer].name],
                        offset: bound.offset,
                        size: wgpu::BufferSize::new(bound.size),
                    }),
                });
            }
            let descriptor = wgpu::BindGroupDescriptor { label: Some(&kernel.name), layout, entries: &entries };
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, &self.device.create_bind_group(&descriptor), &[]);
            pass.dispatch_workgroups(dispatch.workgroups[0], dispatch.workgroups[1], 1);
        }
        drop(pass);
        self.queue.submit([encoder.finish()]);
    }

    fn compile(&self, kernel: &JsonKernel) -> (wgpu::ComputePipeline, wgpu::BindGroupLayout) {
        let key = (kernel.source.clone(), format!("{:?}", kernel.constants));
        if let Some(known) = self.pipelines.borrow().get(&key) {
            return known.clone();
        }
        assert!(!kernel.subgroups || self.device.features().contains(wgpu::Features::SUBGROUP), "{}", kernel.name);
        assert!(kernel.bindings.iter().all(|b| !b.operands.is_empty()), "{}: a binding without operand", kernel.name);
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(&kernel.name),
            source: wgpu::ShaderSource::Wgsl(kernel.source.as_str().into()),
        });
        let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let storage = |b: &JsonKernelBinding| {
            entry(b.binding, wgpu::BufferBindingType::Storage { read_only: b.access == "read" })
        };
        let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform)];
        entries.extend(kernel.bindings.iter().map(storage));
        let descriptor = wgpu::BindGroupLayoutDescriptor { label: Some(&kernel.name), entries: &entries };
        let layout = self.device.create_bind_group_layout(&descriptor);
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&kernel.name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let constants: Vec<(&str, f64)> =
            kernel.constants.iter().map(|(name, &value)| (name.as_str(), value)).collect();
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&kernel.name),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(&kernel.entry_point),
            compilation_options: wgpu::PipelineCompilationOptions { constants: &constants, ..Default::default() },
            cache: None,
        });
        self.pipelines.borrow_mut().entry(key).or_insert((pipeline, layout)).clone()
    }
}

fn bytes_of_hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

/// What plans of a norm need to know of the host's buffers: a number and a length each.
struct Buffers<'a> {
    host: Host<'a>,
    names: Vec<&'static str>,
}

impl<'a> Buffers<'a> {
    fn new(pipelines: &'a RefCell<Pipelines>) -> Self {
        Self { host: Host::new(gpu(), pipelines), names: Vec::new() }
    }

    fn id(&mut self, name: &'static str, bytes: &[u8]) -> BufferId {
        let size = self.host.add(name, bytes);
        self.names.push(name);
        BufferId { id: self.names.len() as u32 - 1, size }
    }

    /// A tensor with these values.
    fn tensor(&mut self, name: &'static str, values: &[f32]) -> TensorView<BufferId> {
        TensorView::new(self.id(name, bytemuck::cast_slice(values)), 0, values.len() as u64)
    }

    /// A tensor to be written.
    fn output(&mut self, name: &'static str, len: u64) -> TensorView<BufferId> {
        self.tensor(name, &vec![POISON; len as usize])
    }

    fn parameter(&mut self, name: &'static str, values: &Option<Vec<f32>>) -> Option<TensorView<BufferId>> {
        values.as_ref().map(|values| self.tensor(name, values))
    }

    /// Moments, or a workspace: nothing that a kernel may rely on is in it.
    fn bytes(&mut self, name: &'static str, size: u64) -> BufferView<BufferId> {
        let id = self.id(name, bytemuck::cast_slice(&vec![POISON; size as usize / 4]));
        BufferView::new(id, 0, size)
    }

    fn workspace(&mut self, name: &'static str, size: u64) -> Option<BufferView<BufferId>> {
        (size > 0).then(|| self.bytes(name, size))
    }

    fn run(&self, recipe: Result<Recipe<BufferId>, BindError>) {
        let json = recipe.expect("a recipe").to_json(|buffer| self.names[buffer.id as usize].to_owned());
        self.host.run(&json.to_string());
    }
}

/// One shape of each kind that takes other stages: whole segments, slices that are merged, columns.
fn norms() -> Vec<NormDescriptor<'static>> {
    let new = NormDescriptor::new;
    let last = |kind, shape| NormDescriptor { format: MemoryFormat::ChannelsLast, ..new(kind, shape) };
    vec![
        new(NormKind::Batch, &[3, 5, 300]),
        last(NormKind::Batch, &[3, 50, 6]),
        new(NormKind::Instance, &[2, 3, 150]),
        new(NormKind::Group { groups: 2 }, &[2, 6, 35]),
        last(NormKind::Group { groups: 2 }, &[2, 35, 6]),
        new(NormKind::Layer { axes: 1..2 }, &[9, 301]),
        new(NormKind::Layer { axes: 0..1 }, &[70_001]),
        new(NormKind::Rms { axes: 1..2 }, &[9, 64]),
        new(NormKind::LpNormalize { p: 3.0, axes: 1..2 }, &[4, 37]),
        new(NormKind::Weight { dim: Some(0) }, &[7, 5, 3]),
        new(NormKind::MeanVariance { axes: &[0, 2] }, &[3, 4, 10]),
    ]
}

/// Inference where it is possible, training, statistics, running statistics, gradients.
fn check_norm(planner: &Planner, pipelines: &RefCell<Pipelines>, d: &NormDescriptor<'_>) -> Result<(), String> {
    let plan = planner.plan(d).expect("a plan");
    let (n, segments, affine) = (plan.len(), plan.segment_count(), plan.affine_len());
    let mut data = Data::random(gpu(), d, 2.0, 11);
    let dy = grad_output(data.input.len(), 5);
    let expected = data.reference(d);
    let mut b = Buffers::new(pipelines);
    let input = b.tensor("input", &data.input);
    let (scale, bias) = (b.parameter("scale", &data.scale), b.parameter("bias", &data.bias));
    let (output, again) = (b.output("output", n), b.output("output of training", n));
    let moments = b.bytes("moments", plan.statistics_size());
    let workspace = b.workspace("workspace", plan.workspace_size());
    let forward = ForwardArgs::new(input, output).scale(scale).bias(bias);
    b.run(plan.forward(&forward.workspace(workspace)));
    let training = TrainingArgs::new(input, again, moments).scale(scale).bias(bias);
    b.run(plan.training(&training.workspace(workspace)));
    let (mean, variance) = (b.output("mean", segments), b.output("variance", segments));
    b.run(plan.export(&ExportArgs::new(moments).mean(mean).spread(Spread::Variance, variance)));
    let within = |what: &str, worst: Result<f64, String>, most: f64| match worst {
        Ok(worst) if worst <= most => Ok(()),
        other => Err(format!("{:?} {:?} {:?}: {what} {other:?}", d.kind, d.shape, d.format)),
    };
    let exact = tolerance(plan.segment_len());
    within("output", error(&b.host.read("output"), &expected.output), exact)?;
    within("output of training", error(&b.host.read("output of training"), &expected.output), exact)?;
    // of a weight the reference gives the norm, an export the mean square
    if !matches!(d.kind, NormKind::Weight { .. }) {
        within("variance", error(&b.host.read("variance"), &expected.variance), 1e-6)?;
    }
    if !expected.mean.is_empty() {
        within("mean", error(&b.host.read("mean"), &expected.mean), 1e-6)?;
    }

    let backward = |b: &mut Buffers<'_>, names: [&'static str; 4], statistics| {
        let gradient = b.output(names[0], n);
        let args = BackwardArgs::new(input, b.tensor("grad_output", &dy), statistics)
            .scale(scale)
            .grad_input(gradient)
            .grad_scale(scale.map(|_| b.output(names[1], affine)))
            .grad_bias(bias.map(|_| b.output(names[2], affine)))
            .workspace(b.workspace(names[3], plan.backward_workspace_size()));
        b.run(plan.backward(&args));
        let read = |name, wanted: bool| if wanted { b.host.read(name) } else { Vec::new() };
        [read(names[0], true), read(names[1], scale.is_some()), read(names[2], bias.is_some())]
    };
    let names = ["grad_input", "grad_scale", "grad_bias", "workspace of backward"];
    let gradients: Gradients = backward(&mut b, names, BackwardStatistics::Saved(moments));
    within("gradients", compare(d, &data, &dy, &gradients), 3e-6)?;

    let channels = plan.given_segment_count() as usize;
    if channels == 0 {
        return Ok(());
    }
    let (mean, variance): (Vec<f32>, Vec<f32>) = (0..channels).map(|c| (0.5 * c as f32, 1.0 + c as f32)).unzip();
    let (means, variances) = (b.tensor("running_mean", &mean), b.tensor("running_var", &variance));
    let given = b.bytes("given moments", plan.given_statistics_size());
    b.run(plan.import(&ImportArgs::new(means, variances, given)));
    let inferred = b.output("output of inference", n);
    let args = ForwardArgs::new(input, inferred).scale(scale).bias(bias);
    b.run(plan.forward(&args.statistics(StatisticsSource::Given(given))));
    let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    b.run(plan.running_update(&RunningArgs::new(moments, means, variances)));
    let update = RunningUpdate::default();
    let running = (&wide(&mean)[..], &wide(&variance)[..]);
    let running = reference::update_running(&expected, plan.segment_len(), running, update, 0);
    within("running mean", error(&b.host.read("running_mean"), &running.0), 1e-6)?;
    within("running variance", error(&b.host.read("running_var"), &running.1), 1e-6)?;
    data.given = Some((mean, variance));
    within("output of inference", error(&b.host.read("output of inference"), &data.reference(d).output), 1e-6)?;
    let names = ["given grad_input", "given grad_scale", "given grad_bias", "workspace of given"];
    let gradients = backward(&mut b, names, BackwardStatistics::Given(given));
    within("gradients from given statistics", compare(d, &data, &dy, &gradients), 3e-6)
}

#[test]
fn recipes_of_norms_are_all_that_a_host_needs() {
    let (planner, pipelines) = (Planner::new(*gpu().engine.planner().facts()), RefCell::default());
    let all: Vec<_> = tier::some(norms()).collect();
    let failures: Vec<String> = all.iter().filter_map(|d| check_norm(&planner, &pipelines, d).err()).collect();
    all_or_report("recipes", &failures, all.len());
}

#[test]
fn a_recipe_of_an_adaptive_norm_is_all_that_a_host_needs() {
    let (planner, pipelines) = (Planner::new(*gpu().engine.planner().facts()), RefCell::default());
    let d = AdaptiveDescriptor::new(&[2, 3, 150], &[1, 3, 44]);
    let plan = planner.plan_adaptive(&d).unwrap();
    let mut rng = fastrand::Rng::with_seed(3);
    let (content, style) = (values(&mut rng, 900, 2.0, 1.0), values(&mut rng, 132, -1.0, 3.0));
    let dy = grad_output(900, 4);
    let mut b = Buffers::new(&pipelines);
    let (content_view, style_view) = (b.tensor("content", &content), b.tensor("style", &style));
    let (output, saved) = (b.output("output", 900), b.bytes("moments", plan.statistics_size()));
    let workspace = b.workspace("workspace", plan.workspace_size());
    b.run(plan.forward(&AdaptiveArgs::new(content_view, style_view, output).saved(saved).workspace(workspace)));
    let args = AdaptiveBackwardArgs::new(content_view, style_view, b.tensor("grad_output", &dy), saved)
        .grad_input(b.output("grad_content", 900))
        .grad_style(b.output("grad_style", 132))
        .workspace(b.workspace("workspace of backward", plan.backward_workspace_size()));
    b.run(plan.backward(&args));
    let (to_content, to_style) = adaptive_backward(&d, &content, &style, &dy).unwrap();
    let expected = [
        ("output", adaptive(&d, &content, &style).unwrap().output),
        ("grad_content", to_content),
        ("grad_style", to_style),
    ];
    for (name, expected) in expected {
        let worst = error(&b.host.read(name), &expected);
        assert!(worst.as_ref().is_ok_and(|&e| e < 3e-6), "{name}: {worst:?}");
    }
}

#[test]
fn a_recipe_of_a_spectral_norm_is_all_that_a_host_needs() {
    let (planner, pipelines) = (Planner::new(*gpu().engine.planner().facts()), RefCell::default());
    let shape = [7, 3, 5];
    let plan = planner.plan_spectral(&SpectralDescriptor::new(&shape)).unwrap();
    let mut rng = fastrand::Rng::with_seed(5);
    let [weight, u, v, dy] = [105, 7, 15, 105].map(|len| values(&mut rng, len, 0.0, 1.0));
    let mut b = Buffers::new(&pipelines);
    let weight_view = b.tensor("weight", &weight);
    let (u_view, v_view) = (b.tensor("u", &u), b.tensor("v", &v));
    let (output, sigma) = (b.output("output", 105), b.output("sigma", 1));
    let workspace = b.bytes("workspace", plan.workspace_size());
    let args = SpectralArgs::new(weight_view, output, sigma, workspace);
    b.run(plan.forward(&args.vectors(u_view, v_view, PowerIterations::Count(2))));
    let (dy_view, grad) = (b.tensor("grad_output", &dy), b.output("grad_weight", 105));
    b.run(
        plan.backward(&SpectralBackwardArgs::new(weight_view, dy_view, grad, sigma, workspace).vectors(u_view, v_view)),
    );
    let case = SpectralReference {
        weight: &weight,
        shape: &shape,
        dim: 0,
        u: &u,
        v: &v,
        iterations: 2,
        order: reference::SpectralOrder::UThenV,
        eps: 1e-12,
    };
    let expected = spectral(&case).unwrap();
    let gradient = spectral_backward(&case, &expected, &dy).unwrap();
    for (name, expected) in [
        ("output", expected.output),
        ("sigma", vec![expected.sigma]),
        ("u", expected.u),
        ("v", expected.v),
        ("grad_weight", gradient),
    ] {
        let worst = error(&b.host.read(name), &expected);
        assert!(worst.as_ref().is_ok_and(|&e| e < 3e-6), "{name}: {worst:?}");
    }
}
