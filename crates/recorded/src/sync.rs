//! Synchronized batch norm: a thread a rank, each with its shard of the batch.

use std::thread;

use wgpu_norm::sync::{LocalTransport, SyncBackwardArgs, SyncBatchNorm, SyncForwardArgs};
use wgpu_norm::{
    Affine, BufferView, Epsilon, ExportArgs, MomentsArgs, Norm, NormDescriptor, NormKind, RunningArgs, Spread, Types,
};
use wgpu_norm_tools::device::{Gpu, Tensor};
use wgpu_norm_tools::elements;
use wgpu_norm_tools::failure::Failure;

use crate::golden::{Request, Store};
use crate::setup;
use crate::{Array, Results, Values};

/// What all ranks have alike.
struct Common<'a> {
    gpu: &'a Gpu,
    request: &'a Request,
    scale: Option<Vec<f32>>,
    bias: Option<Vec<f32>>,
    running: Option<(Vec<f32>, Vec<f32>)>,
}

/// What one rank has.
struct Shard {
    rank: usize,
    shape: Vec<u64>,
    input: Vec<f32>,
    grad_output: Vec<f32>,
}

impl Shard {
    fn read(rank: usize, request: &Request, store: &Store) -> Result<Option<Self>, Failure> {
        let name = format!("input_{rank}");
        let Some(spec) = request.inputs.get(&name) else { return Ok(None) };
        let input = request.input(&name, store)?.unwrap_or_default();
        let grad_output = request.input(&format!("dy_{rank}"), store)?.unwrap_or_default();
        Ok(Some(Self { rank, shape: spec.shape.clone(), input, grad_output }))
    }
}

/// All ranks, and what is summed over them.
pub fn sync_batch_norm(gpu: &Gpu, request: &Request, store: &Store) -> Result<Results, Failure> {
    let read = |name: &str| request.input(name, store);
    let running = read("running_mean")?.zip(read("running_var")?);
    let common = Common { gpu, request, scale: read("weight")?, bias: read("bias")?, running };
    let shards = (0..).map_while(|rank| Shard::read(rank, request, store).transpose());
    let shards: Vec<Shard> = shards.collect::<Result<_, _>>()?;
    let common = &common;
    let ranks = thread::scope(|scope| {
        let transports = LocalTransport::group(shards.len());
        let start = |(shard, transport)| scope.spawn(move || run_rank(common, shard, transport));
        let threads: Vec<_> = shards.iter().zip(transports).map(start).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect::<Vec<Result<Results, Failure>>>()
    });
    let mut results = Results::new();
    for rank in ranks {
        results.extend(rank?);
    }
    for name in ["dweight", "dbias"] {
        let own: Vec<&Vec<f32>> =
            (0..shards.len()).filter_map(|rank| values(&results, &format!("{name}_{rank}"))).collect();
        if let (Some(first), Some(spec)) = (own.first(), request.wanted.get(name)) {
            let element = request.wanted_element(name);
            let exact = |channel: usize| own.iter().map(|rank| f64::from(rank[channel])).sum();
            let sums = (0..first.len()).map(|channel| elements::round(exact(channel), element) as f32).collect();
            results.insert(name.into(), Array::new(&spec.shape, Values::Floats(sums)));
        }
    }
    Ok(results)
}

fn values<'a>(results: &'a Results, name: &str) -> Option<&'a Vec<f32>> {
    match results.get(name)?.values {
        Values::Floats(ref values) => Some(values),
        Values::Integers(_) | Values::Bytes(..) => None,
    }
}

/// Element types of a case. The gradients that are summed over ranks are rounded behind that.
pub fn types(request: &Request) -> Types {
    let parameters = (request.input_element("weight"), request.input_element("bias"));
    Types::tensors(request.element()).scale(parameters.0).bias(parameters.1)
}

/// Forward and backward of one rank, in step with the others.
fn run_rank(common: &Common<'_>, shard: &Shard, transport: LocalTransport) -> Result<Results, Failure> {
    let Common { gpu, request, .. } = *common;
    let (scale, bias, types) = (&common.scale, &common.bias, types(request));
    let descriptor = NormDescriptor {
        eps: Epsilon::InsideRoot(request.attrs.eps.flatten().unwrap_or(1e-5) as f32),
        affine: Affine::with(scale.as_ref().map(drop), bias.as_ref().map(drop)),
        types,
        ..NormDescriptor::new(NormKind::Batch, &shard.shape)
    };
    let mut norm = SyncBatchNorm::new(&gpu.engine, &gpu.queue, &descriptor, transport)?;
    let upload = |element, values: &Option<Vec<f32>>| {
        values.as_ref().map(|values| gpu.upload_of("parameter", element, values)).transpose()
    };
    let (scale, bias) = (upload(types.scale, scale)?, upload(types.bias, bias)?);
    let input = gpu.upload_of("input", types.input, &shard.input)?;
    let grad_output = gpu.upload_of("grad_output", types.grad_output, &shard.grad_output)?;
    let output = gpu.tensor_of("output", types.output, input.len)?;
    let grad_input = gpu.tensor_of("grad_input", types.grad_input, input.len)?;
    let parameter =
        |like: &Option<Tensor>| like.as_ref().map(|_| gpu.tensor("gradient", norm.norm().affine_len())).transpose();
    let (grad_scale, grad_bias) = (parameter(&scale)?, parameter(&bias)?);
    let mut forward = SyncForwardArgs::new(input.view(), output.view());
    (forward.scale, forward.bias) = (scale.as_ref().map(Tensor::view), bias.as_ref().map(Tensor::view));
    norm.forward(&forward)?;
    let mut backward = SyncBackwardArgs::new(input.view(), grad_output.view()).grad_input(grad_input.view());
    backward.scale = scale.as_ref().map(Tensor::view);
    backward.grad_scale = grad_scale.as_ref().map(Tensor::view);
    backward.grad_bias = grad_bias.as_ref().map(Tensor::view);
    norm.backward(&backward)?;

    let mut tensors =
        vec![("output", Some(output)), ("dx", Some(grad_input)), ("dweight", grad_scale), ("dbias", grad_bias)];
    let [mean, rstd] = local_statistics(gpu, norm.norm(), &input)?;
    tensors.extend([("local_mean", Some(mean)), ("local_rstd", Some(rstd))]);
    let own = tensors.into_iter().filter_map(|(name, tensor)| Some((format!("{name}_{}", shard.rank), tensor?)));
    let mut results = Results::new();
    for (name, tensor) in own.chain(whole_statistics(common, &norm)?) {
        if let Some(spec) = request.wanted.get(&name) {
            results.insert(name, Array::new(&spec.shape, Values::Floats(gpu.download(&tensor)?)));
        }
    }
    Ok(results)
}

/// Mean and 1 / deviation of the shard alone.
fn local_statistics(gpu: &Gpu, norm: &Norm, input: &Tensor) -> Result<[Tensor; 2], Failure> {
    let records = gpu.buffer("statistics", norm.statistics_size())?;
    let records = BufferView::whole(&records);
    let workspace = gpu.buffer("workspace", norm.moments_workspace_size())?;
    let args = MomentsArgs::new(input.view(), records).workspace(BufferView::whole(&workspace));
    let moments = norm.bind_moments(&args)?;
    let (mean, rstd) = (gpu.tensor("mean", norm.segment_count())?, gpu.tensor("rstd", norm.segment_count())?);
    let export = ExportArgs::new(records).mean(mean.view()).spread(Spread::Rstd, rstd.view());
    let export = norm.bind_export(&export)?;
    gpu.run_all(&[moments, export])?;
    Ok([mean, rstd])
}

/// Statistics of the whole batch, and the running ones that have taken it in: the same on every rank.
fn whole_statistics(
    common: &Common<'_>,
    sync: &SyncBatchNorm<LocalTransport>,
) -> Result<Vec<(String, Tensor)>, Failure> {
    let (gpu, norm, statistics) = (common.gpu, sync.norm(), sync.merged_statistics()?);
    let (mean, rstd) = (gpu.tensor("mean", norm.segment_count())?, gpu.tensor("rstd", norm.segment_count())?);
    let export = ExportArgs::new(statistics).mean(mean.view()).spread(Spread::Rstd, rstd.view());
    let mut work = vec![norm.bind_export(&export)?];
    let mut all = vec![("save_mean".to_owned(), mean), ("save_rstd".to_owned(), rstd)];
    if let Some((mean, variance)) = &common.running {
        let (mean, variance) = (gpu.upload("mean", mean)?, gpu.upload("variance", variance)?);
        let update = RunningArgs::new(statistics, mean.view(), variance.view());
        work.push(norm.bind_running_update(&update.update(setup::running_update(common.request)))?);
        all.extend([("running_mean_out".to_owned(), mean), ("running_var_out".to_owned(), variance)]);
    }
    gpu.run_all(&work)?;
    Ok(all)
}
