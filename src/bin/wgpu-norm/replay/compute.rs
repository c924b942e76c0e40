//! From a request to results: nothing here can see an expected result.

use wgpu_norm::wgpu;
use wgpu_norm::{
    BindError, BoundNorm, BufferView, Destination, ExportArgs, ForwardArgs, ImportArgs, Norm, PlanError, RunningArgs,
    RunningUpdate, Spread, StatisticsSource, TensorView, TrainingArgs,
};

use crate::failure::Failure;
use crate::golden::{Request, Store};
use crate::gpu::{Gpu, Tensor};

use super::derived::{self, Moments};
use super::setup::{Setup, Source};
use super::{Array, Outcome, Refusal, Results, Values};

/// Why a case has no results.
enum Stop {
    Refused(Refusal),
    Failed(Failure),
}

impl From<PlanError> for Stop {
    fn from(error: PlanError) -> Self {
        Self::Refused(Refusal::Plan(error))
    }
}

impl From<BindError> for Stop {
    fn from(error: BindError) -> Self {
        Self::Refused(Refusal::Bind(error))
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Computes all that `request` asks for, or the engine's refusal.
pub fn compute(gpu: &Gpu, request: &Request, store: &Store) -> Result<Outcome, Failure> {
    match attempt(gpu, request, store) {
        Ok(results) => Ok(Outcome::Computed(results)),
        Err(Stop::Refused(refusal)) => Ok(Outcome::Refused(refusal)),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

fn attempt(gpu: &Gpu, request: &Request, store: &Store) -> Result<Results, Stop> {
    let setup = Setup::of(request)?;
    let inputs = Inputs::read(request, &setup, store)?;
    let runner = Runner::new(gpu, &setup, &inputs)?;
    let mut results = match (&inputs.batches, &inputs.input) {
        (Some(batches), _) => steps(&runner, &setup, request, batches)?,
        (None, Some(input)) => once(&runner, &setup, &inputs, input, request)?,
        // A module that was only constructed.
        (None, None) => return Ok(Results::new()),
    };
    if let Some(running) = &runner.running {
        results.insert("running_mean_out".into(), Array::vector(gpu.download(&running.mean)?));
        results.insert("running_var_out".into(), Array::vector(gpu.download(&running.variance)?));
    }
    if let Some(counted) = runner.batches(&inputs)? {
        results.insert("num_batches_tracked_out".into(), Array::new(&[1], Values::I64(vec![counted])));
    }
    results.retain(|name, _| request.wanted.contains_key(name));
    Ok(results)
}

/// The input tensors of a case, in memory order.
struct Inputs {
    input: Option<Vec<f32>>,
    /// Inputs of the training steps before the last.
    earlier: Vec<Vec<f32>>,
    /// Inputs of many steps, one behind the other.
    batches: Option<Vec<f32>>,
    style: Option<Vec<f32>>,
    scale: Option<Vec<f32>>,
    bias: Option<Vec<f32>>,
    running: Option<(Vec<f32>, Vec<f32>)>,
    batches_so_far: Option<i64>,
    sample_index: Option<Vec<i64>>,
}

impl Inputs {
    fn read(request: &Request, setup: &Setup, store: &Store) -> Result<Self, Failure> {
        let read = |name: &str| request.input(name, store);
        let to_memory = |values: Vec<f32>| setup.layout.to_memory(values, &setup.shape);
        let parameter = |values: Vec<f32>| setup.layout.parameter_to_memory(values, &setup.parameter_shape);
        let earlier = (0..).map_while(|step| read(&format!("input_before_{step}")).transpose());
        let mut inputs = Self {
            input: read("input")?.map(to_memory),
            earlier: earlier.map(|values| values.map(to_memory)).collect::<Result<_, _>>()?,
            batches: read("batches")?,
            style: read("style")?,
            scale: read("weight")?.map(parameter),
            bias: read("bias")?.map(parameter),
            running: read("running_mean")?.zip(read("running_var")?),
            batches_so_far: request.integers("num_batches_tracked", store)?.and_then(|values| values.first().copied()),
            sample_index: request.integers("sample_index", store)?,
        };
        if let Some(generate) = &request.generate {
            let make = |sequence, shape: &[u64]| derived::generate(sequence, shape.iter().product());
            inputs.input = generate.input.map(|sequence| make(sequence, &setup.shape));
            inputs.scale = generate.weight.map(|sequence| make(sequence, &setup.parameter_shape));
            inputs.bias = generate.bias.map(|sequence| make(sequence, &setup.parameter_shape));
            // RMS norm has no bias in PyTorch, whatever the record generates.
            inputs.bias = inputs.bias.filter(|_| setup.is_centred());
        }
        if let Some(init) = request.running_init {
            let channels = setup.shape[1] as usize;
            inputs.running = Some((vec![init.mean; channels], vec![init.var; channels]));
        }
        Ok(inputs)
    }
}

/// One step on one tensor, after the earlier training steps.
fn once(runner: &Runner, setup: &Setup, inputs: &Inputs, input: &[f32], request: &Request) -> Result<Results, Stop> {
    let gpu = runner.gpu;
    let buffers = |values: &[f32]| Ok::<_, Failure>((gpu.upload(values)?, gpu.poisoned(values.len() as u64)?));
    let earlier: Vec<_> = inputs.earlier.iter().map(|values| buffers(values)).collect::<Result<_, _>>()?;
    let (input, output) = buffers(input)?;
    let mut work = Vec::new();
    for (input, output) in &earlier {
        // In inference they leave no trace.
        if setup.source == Source::Training {
            work.extend(runner.train(input.view(), output.view())?);
        }
    }
    let wants = |name: &str| request.wanted.contains_key(name);
    let saves = wants("save_mean") || wants("save_rstd");
    work.extend(match setup.source {
        Source::Running => runner.infer(input.view(), output.view())?,
        Source::Input if !saves => vec![runner.forward(input.view(), output.view())?],
        Source::Input | Source::Training => runner.train(input.view(), output.view())?,
    });
    let saved = match setup.source {
        Source::Input | Source::Training if saves => {
            let (mean, rstd) = (gpu.poisoned(runner.segments())?, gpu.poisoned(runner.segments())?);
            work.push(runner.export(setup.is_centred().then(|| mean.view()), rstd.view())?);
            vec![("save_mean", mean), ("save_rstd", rstd)]
        }
        _ => Vec::new(),
    };
    gpu.run(&work)?;
    let mut results = Results::new();
    for (name, tensor) in saved {
        if let Some(spec) = request.wanted.get(name) {
            results.insert(name.into(), Array::new(&spec.shape, Values::F32(gpu.download(&tensor)?)));
        }
    }
    let output = setup.layout.restore(gpu.download(&output)?, &setup.shape);
    summaries(&mut results, &output, setup, inputs);
    let shape = request.inputs.get("input").map_or(&setup.shape, |input| &input.shape);
    results.insert("output".into(), Array::new(shape, Values::F32(output)));
    Ok(results)
}

fn summaries(results: &mut Results, output: &[f32], setup: &Setup, inputs: &Inputs) {
    if let Some(positions) = &inputs.sample_index {
        results.insert("output_sample".into(), Array::vector(derived::sample(output, positions)));
        results.insert("output_sums".into(), Array::vector(derived::sums(output)));
        insert_moments(results, output, &setup.shape);
    }
}

fn insert_moments(results: &mut Results, output: &[f32], shape: &[u64]) {
    for (suffix, by_sample) in [("nc", true), ("c", false)] {
        let groups = if by_sample { &shape[..2] } else { &shape[1..2] };
        let Moments { mean, deviation } = Moments::of(output, shape, by_sample);
        results.insert(format!("output_mean_{suffix}"), Array::new(groups, Values::F32(mean)));
        results.insert(format!("output_std_{suffix}"), Array::new(groups, Values::F32(deviation)));
    }
}

/// Training over many batches, then inference on the last. All steps between two checkpoints are one submit.
fn steps(runner: &Runner, setup: &Setup, request: &Request, batches: &[f32]) -> Result<Results, Stop> {
    let gpu = runner.gpu;
    let len: u64 = setup.shape.iter().product();
    let count = batches.len() as u64 / len.max(1);
    let (input, output) = (gpu.upload(batches)?, gpu.poisoned(count * len)?);
    let mut at: (Vec<f32>, Vec<f32>) = Default::default();
    let mut work = Vec::new();
    for step in 0..count {
        work.extend(runner.train(input.part(step * len, len), output.part(step * len, len))?);
        if let Some(running) = &runner.running
            && request.attrs.checkpoints.contains(&(step as usize + 1))
        {
            gpu.run(&std::mem::take(&mut work))?;
            at.0.extend(gpu.download(&running.mean)?);
            at.1.extend(gpu.download(&running.variance)?);
        }
    }
    let eval = gpu.poisoned(len)?;
    work.extend(runner.infer(input.part((count - 1) * len, len), eval.view())?);
    gpu.run(&work)?;

    let output = gpu.download(&output)?;
    let mut results = Results::new();
    insert_moments(&mut results, &output, &setup.shape);
    let last = output[((count - 1) * len) as usize..].to_vec();
    results.insert("output_last".into(), Array::new(&setup.shape, Values::F32(last)));
    results.insert("output_eval_last".into(), Array::new(&setup.shape, Values::F32(gpu.download(&eval)?)));
    let checkpoints = [request.attrs.checkpoints.len() as u64, setup.shape[1]];
    results.insert("running_mean_at".into(), Array::new(&checkpoints, Values::F32(at.0)));
    results.insert("running_var_at".into(), Array::new(&checkpoints, Values::F32(at.1)));
    Ok(results)
}

/// A norm with its parameters and buffers.
struct Runner<'a> {
    gpu: &'a Gpu,
    norm: Norm,
    scale: Option<Tensor>,
    bias: Option<Tensor>,
    style: Option<Tensor>,
    running: Option<Running>,
    saved: wgpu::Buffer,
    given: wgpu::Buffer,
    workspace: Option<wgpu::Buffer>,
}

/// Running statistics.
struct Running {
    mean: Tensor,
    variance: Tensor,
    batches: Option<wgpu::Buffer>,
    update: RunningUpdate,
}

impl<'a> Runner<'a> {
    fn new(gpu: &'a Gpu, setup: &Setup, inputs: &Inputs) -> Result<Self, Stop> {
        let (scale, bias) = (inputs.scale.is_some(), inputs.bias.is_some());
        let norm = setup.describe(scale, bias, |descriptor| gpu.engine().create_norm(descriptor))?;
        let upload = |values: &Option<Vec<f32>>| values.as_ref().map(|values| gpu.upload(values)).transpose();
        let running = match &inputs.running {
            None => None,
            Some((mean, variance)) => Some(Running {
                mean: gpu.upload(mean)?,
                variance: gpu.upload(variance)?,
                batches: match inputs.batches_so_far {
                    Some(count) if setup.counts_batches() => Some(gpu.counter(count as u32)?),
                    _ => None,
                },
                update: setup.update,
            }),
        };
        let workspace = norm.workspace_size();
        Ok(Self {
            gpu,
            scale: upload(&inputs.scale)?,
            bias: upload(&inputs.bias)?,
            style: upload(&inputs.style)?,
            running,
            saved: gpu.scratch(norm.statistics_size())?,
            given: gpu.scratch(norm.given_statistics_size())?,
            workspace: if workspace > 0 { Some(gpu.scratch(workspace)?) } else { None },
            norm,
        })
    }

    fn segments(&self) -> u64 {
        self.norm.segment_count()
    }

    /// With statistics of the input.
    fn forward(&self, input: TensorView<'_>, output: TensorView<'_>) -> Result<BoundNorm, BindError> {
        self.bind_forward(input, output, StatisticsSource::Input)
    }

    /// With running statistics, imported first.
    fn infer(&self, input: TensorView<'_>, output: TensorView<'_>) -> Result<Vec<BoundNorm>, BindError> {
        let Some(running) = &self.running else {
            return Err(BindError::Missing { operand: "running statistics" });
        };
        let statistics = BufferView::whole(&self.given);
        let import = ImportArgs { mean: running.mean.view(), variance: running.variance.view(), statistics };
        let import = self.norm.bind_import(&import)?;
        Ok(vec![import, self.bind_forward(input, output, StatisticsSource::Given(statistics))?])
    }

    fn bind_forward(
        &self,
        input: TensorView<'_>,
        output: TensorView<'_>,
        statistics: StatisticsSource<'_>,
    ) -> Result<BoundNorm, BindError> {
        self.norm.bind_forward(&ForwardArgs {
            input,
            output: Destination::View(output),
            scale: self.scale.as_ref().map(Tensor::view),
            bias: self.bias.as_ref().map(Tensor::view),
            style: self.style.as_ref().map(Tensor::view),
            statistics,
            workspace: self.workspace.as_ref().map(BufferView::whole),
        })
    }

    /// With statistics of the input, saved, and taken in by the running statistics.
    fn train(&self, input: TensorView<'_>, output: TensorView<'_>) -> Result<Vec<BoundNorm>, BindError> {
        let saved = BufferView::whole(&self.saved);
        let mut work = vec![self.norm.bind_training(&TrainingArgs {
            input,
            output: Destination::View(output),
            scale: self.scale.as_ref().map(Tensor::view),
            bias: self.bias.as_ref().map(Tensor::view),
            style: self.style.as_ref().map(Tensor::view),
            saved,
            workspace: self.workspace.as_ref().map(BufferView::whole),
        })?];
        if let Some(running) = &self.running {
            work.push(self.norm.bind_running_update(&RunningArgs {
                statistics: saved,
                mean: running.mean.view(),
                variance: running.variance.view(),
                batches: running.batches.as_ref().map(BufferView::whole),
                update: running.update,
            })?);
        }
        Ok(work)
    }

    /// Saved statistics as plain numbers.
    fn export(&self, mean: Option<TensorView<'_>>, rstd: TensorView<'_>) -> Result<BoundNorm, BindError> {
        let statistics = BufferView::whole(&self.saved);
        self.norm.bind_export(&ExportArgs { statistics, mean, spread: Some((Spread::Rstd, rstd)) })
    }

    /// Number of batches counted so far; what it was where they are not counted.
    fn batches(&self, inputs: &Inputs) -> Result<Option<i64>, Failure> {
        match self.running.as_ref().and_then(|running| running.batches.as_ref()) {
            Some(counter) => Ok(Some(self.gpu.download_counter(counter)?.into())),
            None => Ok(inputs.batches_so_far),
        }
    }
}
