//! From a request to results: nothing here can see an expected result.

use wgpu_norm::sync::SyncError;
use wgpu_norm::{BindError, Operand, Spread};
use wgpu_norm_tools::compute::Runner;
use wgpu_norm_tools::device::Gpu;
use wgpu_norm_tools::failure::Failure;

use crate::derived::{self, Moments};
use crate::fused::fused_norm;
use crate::golden::{Request, Store};
use crate::gradients::Wanted;
use crate::inputs::Inputs;
use crate::setup::{Setup, Source};
use crate::spectral::spectral_norm;
use crate::sync::sync_batch_norm;
use crate::{Array, Outcome, Refusal, Results, Values};

/// Computes all that `request` asks for, or the engine's refusal.
pub fn compute(gpu: &Gpu, request: &Request, store: &Store) -> Result<Outcome, Failure> {
    let results = match request.op.as_str() {
        "spectral_norm" => spectral_norm(gpu, request, store),
        "sync_batch_norm" => sync_batch_norm(gpu, request, store),
        op if op.starts_with("fused_") => fused_norm(gpu, request, store),
        _ => norm(gpu, request, store),
    };
    match results {
        Ok(mut results) => {
            results.retain(|name, _| request.wanted.contains_key(name));
            results.iter_mut().for_each(|(name, array)| array.round(request.wanted_element(name)));
            Ok(Outcome::Computed(results))
        }
        Err(Failure::Plan(error) | Failure::Sync(SyncError::Plan(error))) => Ok(Outcome::Refused(Refusal::Plan(error))),
        Err(Failure::Bind(error) | Failure::Sync(SyncError::Bind(error))) => Ok(Outcome::Refused(Refusal::Bind(error))),
        Err(failure) => Err(failure),
    }
}

fn norm(gpu: &Gpu, request: &Request, store: &Store) -> Result<Results, Failure> {
    let setup = Setup::of(request)?;
    let inputs = Inputs::read(request, &setup, store)?;
    let runner = match (setup.source, &inputs.running) {
        (Source::Running, None) => return Err(BindError::Missing { operand: Operand::RunningMean }.into()),
        (Source::Running, given) => inputs.runner(gpu, &setup, given.as_ref())?,
        _ => inputs.runner(gpu, &setup, None)?,
    };
    let mut results = match (&inputs.batches, &inputs.input) {
        (Some(batches), _) => steps(&runner, &setup, request, &inputs, batches)?,
        (None, Some(input)) => once(&runner, &setup, &inputs, input, request)?,
        // A module that was only constructed.
        (None, None) => return Ok(Results::new()),
    };
    let after = runner.download_running()?;
    let counted = after.as_ref().and_then(|running| running.batches).map(i64::from);
    let running = after.map(|running| (running.mean, running.variance));
    if let Some((mean, variance)) = running.or(inputs.running) {
        results.insert("running_mean_out".into(), Array::vector(mean));
        results.insert("running_var_out".into(), Array::vector(variance));
    }
    // what it was where batches are not counted
    if let Some(counted) = counted.or(inputs.batches_so_far) {
        results.insert("num_batches_tracked_out".into(), Array::new(&[1], Values::Integers(vec![counted])));
    }
    Ok(results)
}

/// One step on one tensor, after the earlier training steps.
fn once(runner: &Runner, setup: &Setup, inputs: &Inputs, input: &[f32], request: &Request) -> Result<Results, Failure> {
    let (gpu, types) = (runner.gpu, setup.types);
    let buffers = |values: &[f32]| {
        let input = gpu.upload_of("input", types.input, values)?;
        let output = gpu.tensor_of("output", types.output, input.len)?;
        Ok::<_, Failure>((input, output))
    };
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
    let plain = setup.source == Source::Running || setup.source == Source::Input && !exports && !wanted.any();
    work.extend(if plain {
        runner.forward(input.view(), output.view())?
    } else {
        runner.train(input.view(), output.view())?
    });
    let mut saved = Vec::new();
    if exports {
        let segments = runner.norm.content().segment_count();
        let (mean, rstd) = (gpu.tensor("mean", segments)?, gpu.tensor("rstd", segments)?);
        work.push(runner.export(setup.is_centred().then(|| mean.view()), Some((Spread::Rstd, rstd.view())))?);
        saved = vec![("save_mean", mean), ("save_rstd", rstd)];
    }
    let mut gradients = None;
    if let Some(grad_output) = inputs.grad_output.as_ref().filter(|_| wanted.any()) {
        let grad_output = gpu.upload_of("grad_output", types.grad_output, grad_output)?;
        let tensors = runner.gradients(wanted.each(), 0)?;
        work.push(runner.backward(input.view(), grad_output.view(), &tensors)?);
        gradients = Some(tensors);
    }
    gpu.run_all(&work)?;

    let mut results = Results::new();
    for (name, tensor) in saved {
        if let Some(spec) = request.wanted.get(name) {
            results.insert(name.into(), Array::new(&spec.shape, Values::Floats(gpu.download(&tensor)?)));
        }
    }
    let output = setup.layout.restore(gpu.download(&output)?, &setup.shape);
    let positions = inputs.sample_index.as_deref();
    if positions.is_some() {
        insert_moments(&mut results, &output, &setup.shape);
    }
    insert(&mut results, request, positions, "output", output);
    if let Some(gradients) = gradients {
        for (name, values) in wanted.download(gpu, setup, &gradients)? {
            insert(&mut results, request, positions, name, values);
        }
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
        results.insert(name.into(), Array::new(&spec.shape, Values::Floats(values)));
    }
}

fn insert_moments(results: &mut Results, output: &[f32], shape: &[u64]) {
    for (suffix, by_sample) in [("nc", true), ("c", false)] {
        let groups = if by_sample { &shape[..2] } else { &shape[1..2] };
        let Moments { mean, deviation } = Moments::of(output, shape, by_sample);
        results.insert(format!("output_mean_{suffix}"), Array::new(groups, Values::Floats(mean)));
        results.insert(format!("output_std_{suffix}"), Array::new(groups, Values::Floats(deviation)));
    }
}

/// Training over many batches, then inference on the last. All steps between two checkpoints are one submit.
fn steps(
    runner: &Runner,
    setup: &Setup,
    request: &Request,
    inputs: &Inputs,
    batches: &[f32],
) -> Result<Results, Failure> {
    let (gpu, types) = (runner.gpu, setup.types);
    let len: u64 = setup.shape.iter().product();
    let count = batches.len() as u64 / len.max(1);
    let input = gpu.upload_of("batches", types.input, batches)?;
    let output = gpu.tensor_of("output", types.output, count * len)?;
    let mut at: (Vec<f32>, Vec<f32>) = Default::default();
    let mut work = Vec::new();
    for step in 0..count {
        work.extend(runner.train(input.part(step * len, len), output.part(step * len, len))?);
        if let Some(running) = &runner.running
            && request.attrs.checkpoints.contains(&(step as usize + 1))
        {
            gpu.run_all(&std::mem::take(&mut work))?;
            at.0.extend(gpu.download(&running.mean)?);
            at.1.extend(gpu.download(&running.variance)?);
        }
    }
    gpu.run_all(&work)?;
    let running = runner.download_running()?.map(|running| (running.mean, running.variance));
    let eval = gpu.tensor_of("output", types.output, len)?;
    let inference = inputs.runner(gpu, setup, running.as_ref())?;
    gpu.run_all(&inference.forward(input.part((count - 1) * len, len), eval.view())?)?;

    let output = gpu.download(&output)?;
    let mut results = Results::new();
    insert_moments(&mut results, &output, &setup.shape);
    let last = output[((count - 1) * len) as usize..].to_vec();
    results.insert("output_last".into(), Array::new(&setup.shape, Values::Floats(last)));
    results.insert("output_eval_last".into(), Array::new(&setup.shape, Values::Floats(gpu.download(&eval)?)));
    let checkpoints = [request.attrs.checkpoints.len() as u64, setup.shape[1]];
    results.insert("running_mean_at".into(), Array::new(&checkpoints, Values::Floats(at.0)));
    results.insert("running_var_at".into(), Array::new(&checkpoints, Values::Floats(at.1)));
    Ok(results)
}
