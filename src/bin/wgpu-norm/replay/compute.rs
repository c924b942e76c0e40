//! From a request to results: nothing here can see an expected result.

use wgpu_norm::{BindError, PlanError};

use crate::failure::Failure;
use crate::golden::{Request, Store};
use crate::gpu::Gpu;

use super::derived::{self, Moments};
use super::gradients::{Gradients, Wanted};
use super::inputs::Inputs;
use super::runner::Runner;
use super::setup::{Setup, Source};
use super::spectral::spectral_norm;
use super::sync::sync_batch_norm;
use super::{Array, Outcome, Refusal, Results, Values};

/// Why a case has no results.
pub enum Stop {
    /// The engine refused it.
    Refused(Refusal),
    /// Something else went wrong.
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
    let results = match request.op.as_str() {
        "spectral_norm" => spectral_norm(gpu, request, store),
        "sync_batch_norm" => sync_batch_norm(gpu, request, store),
        _ => norm(gpu, request, store),
    };
    match results {
        Ok(mut results) => {
            results.retain(|name, _| request.wanted.contains_key(name));
            Ok(Outcome::Computed(results))
        }
        Err(Stop::Refused(refusal)) => Ok(Outcome::Refused(refusal)),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

fn norm(gpu: &Gpu, request: &Request, store: &Store) -> Result<Results, Stop> {
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
    Ok(results)
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
    let wanted = Wanted::of(request, setup);
    let exports = setup.source != Source::Running && (wants("save_mean") || wants("save_rstd"));
    work.extend(match setup.source {
        Source::Running => runner.infer(input.view(), output.view())?,
        Source::Input if !exports && !wanted.any() => vec![runner.forward(input.view(), output.view())?],
        Source::Input | Source::Training => runner.train(input.view(), output.view())?,
    });
    let mut saved = Vec::new();
    if exports {
        let (mean, rstd) = (gpu.poisoned(runner.segments())?, gpu.poisoned(runner.segments())?);
        work.push(runner.export(setup.is_centred().then(|| mean.view()), rstd.view())?);
        saved = vec![("save_mean", mean), ("save_rstd", rstd)];
    }
    let mut gradients = None;
    if let Some(grad_output) = inputs.grad_output.as_ref().filter(|_| wanted.any()) {
        let (bound, backward) = Gradients::bind(runner, setup.source, &input, grad_output, wanted)?;
        work.push(bound);
        gradients = Some(backward);
    }
    gpu.run(&work)?;

    let mut results = Results::new();
    for (name, tensor) in saved {
        if let Some(spec) = request.wanted.get(name) {
            results.insert(name.into(), Array::new(&spec.shape, Values::F32(gpu.download(&tensor)?)));
        }
    }
    let output = setup.layout.restore(gpu.download(&output)?, &setup.shape);
    let positions = inputs.sample_index.as_deref();
    if positions.is_some() {
        insert_moments(&mut results, &output, &setup.shape);
    }
    insert(&mut results, request, positions, "output", output);
    for (name, values) in gradients.map_or(Ok(Vec::new()), |gradients| gradients.download(gpu, setup))? {
        insert(&mut results, request, positions, name, values);
    }
    Ok(results)
}

/// A tensor in the shape that is asked for, and what a large one is recorded by.
fn insert(results: &mut Results, request: &Request, positions: Option<&[i64]>, name: &str, values: Vec<f32>) {
    if let Some(positions) = positions {
        results.insert(format!("{name}_sample"), Array::vector(derived::sample(&values, positions)));
        results.insert(format!("{name}_sums"), Array::vector(derived::sums(&values)));
    }
    if let Some(spec) = request.wanted.get(name) {
        results.insert(name.into(), Array::new(&spec.shape, Values::F32(values)));
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
