//! Batches in shards: the stages, and synchronized batch norm over ranks on threads, against the f64 reference of the
//! whole batch.

use std::thread;
use std::time::{Duration, Instant};

use crate::halves::*;
use crate::harness::*;
use wgpu_norm::reference::{self, ReferenceInputs, ReferenceOutput, update_running};
use wgpu_norm::sync::{
    LocalTransport, SyncBackwardArgs, SyncBatchNorm, SyncError, SyncForwardArgs, Transport, TransportError,
};
use wgpu_norm::*;
use wgpu_norm_tools::elements::rounded;
use wgpu_norm_tools::tier;

const TOLERANCE: f64 = 2e-6;

/// A batch whose samples are cut into shards.
struct Batch {
    data: Data,
    grad_output: Vec<f32>,
    /// Shape of one sample.
    sample: Vec<u64>,
    shards: Vec<u64>,
    format: MemoryFormat,
    affine: Affine,
    types: Types,
}

/// What one rank found.
#[derive(Debug)]
struct Found {
    output: Vec<f32>,
    grad_input: Vec<f32>,
    grad_scale: Option<Vec<f32>>,
    grad_bias: Option<Vec<f32>>,
    running: [Vec<f32>; 2],
    statistics: Vec<u32>,
}

impl Batch {
    fn random(shards: &[u64], sample: &[u64], format: MemoryFormat, affine: Affine, mean: f32) -> Self {
        let mut batch = Self {
            data: Data::default(),
            grad_output: Vec::new(),
            sample: sample.to_vec(),
            shards: shards.to_vec(),
            format,
            affine,
            types: Types::default(),
        };
        let shape = batch.shape(shards.iter().sum());
        batch.data = Data::random(gpu(), &batch.descriptor(&shape), mean, 5);
        batch.grad_output = Data::random(gpu(), &batch.descriptor(&shape), 0.25, 6).input;
        batch
    }

    /// The same numbers as these types have them.
    fn of(mut self, types: Types) -> Self {
        self.types = types;
        self.data.input = rounded(&self.data.input, types.input);
        self.data.scale = self.data.scale.map(|values| rounded(&values, types.scale));
        self.data.bias = self.data.bias.map(|values| rounded(&values, types.bias));
        self.grad_output = rounded(&self.grad_output, types.grad_output);
        self
    }

    fn shape(&self, samples: u64) -> Vec<u64> {
        [&[samples], &self.sample[..]].concat()
    }

    fn descriptor<'a>(&self, shape: &'a [u64]) -> NormDescriptor<'a> {
        let Self { format, affine, types, .. } = *self;
        NormDescriptor { format, affine, types, ..NormDescriptor::new(NormKind::Batch, shape) }
    }

    /// The part of `values` that a rank holds.
    fn shard<'a>(&self, values: &'a [f32], rank: usize) -> &'a [f32] {
        let len = self.sample.iter().product::<u64>() as usize;
        let start = self.shards[..rank].iter().sum::<u64>() as usize * len;
        &values[start..start + self.shards[rank] as usize * len]
    }

    fn reference(&self) -> ReferenceOutput {
        self.data.reference(&self.descriptor(&self.shape(self.shards.iter().sum())))
    }

    /// Forward, backward and a running update of one rank.
    fn run(&self, gpu: &Gpu, transport: LocalTransport) -> Result<Found, SyncError> {
        let rank = transport.rank();
        let shape = self.shape(self.shards[rank]);
        let mut norm = SyncBatchNorm::new(&gpu.engine, &gpu.queue, &self.descriptor(&shape), transport)?;
        let (x, dy) = (self.shard(&self.data.input, rank), self.shard(&self.grad_output, rank));
        let (len, affine) = (x.len(), norm.norm().affine_len() as usize);
        let types = self.types;
        let (input, output) = (Lone::new(gpu, types.input, x), Lone::empty(gpu, types.output, len));
        let grad = Lone::new(gpu, types.grad_output, dy);
        let parameter = |element, values: &Option<Vec<f32>>| values.as_ref().map(|d| Lone::new(gpu, element, d));
        let scale = parameter(types.scale, &self.data.scale);
        let bias = parameter(types.bias, &self.data.bias);
        let [grad_scale, grad_bias] = [(types.grad_scale, &scale), (types.grad_bias, &bias)]
            .map(|(element, used)| used.as_ref().map(|_| Lone::empty(gpu, element, affine)));
        fn view(of: &Option<Lone>) -> Option<TensorView<&wgpu::Buffer>> {
            of.as_ref().map(Lone::view)
        }
        let args = SyncForwardArgs::new(input.view(), output.view());
        norm.forward(&args.scale(view(&scale)).bias(view(&bias)))?;
        let args = SyncBackwardArgs::new(input.view(), grad.view())
            .scale(view(&scale))
            .grad_input(Destination::InPlace)
            .grad_scale(view(&grad_scale))
            .grad_bias(view(&grad_bias));
        norm.backward(&args)?;
        let statistics = norm.merged_statistics()?;
        let channels = norm.norm().given_segment_count() as usize;
        let (mean, variance) = (gpu.buffer(&vec![0.0; channels]), gpu.buffer(&vec![1.0; channels]));
        let args = RunningArgs::new(statistics, TensorView::whole(&mean), TensorView::whole(&variance));
        gpu.run(&[&norm.norm().bind_running_update(&args)?]);
        Ok(Found {
            output: output.read(gpu),
            grad_input: grad.read(gpu),
            grad_scale: grad_scale.map(|b| b.read(gpu)),
            grad_bias: grad_bias.map(|b| b.read(gpu)),
            running: [gpu.read(&mean), gpu.read(&variance)],
            statistics: gpu.read(statistics.buffer).into_iter().map(f32::to_bits).collect(),
        })
    }

    /// The worst errors of all ranks together, by name.
    fn errors(&self, found: &[Found]) -> Result<Vec<(&'static str, f64)>, String> {
        let forward = self.reference();
        let shape = self.shape(self.shards.iter().sum());
        let inputs = ReferenceInputs {
            input: &self.data.input,
            scale: self.data.scale.as_deref(),
            bias: self.data.bias.as_deref(),
            given: None,
        };
        let gradients = reference::backward(&self.descriptor(&shape), &inputs, &self.grad_output).unwrap();
        // the gradient to the input is a difference: its terms are as large as the gradient with frozen statistics
        let [mean, variance] =
            [&forward.mean, &forward.variance].map(|v| v.iter().map(|&x| x as f32).collect::<Vec<_>>());
        let frozen = ReferenceInputs { given: Some((&mean, &variance)), ..inputs };
        let frozen = reference::backward(&self.descriptor(&shape), &frozen, &self.grad_output).unwrap();
        let largest = |values: &[f64]| values.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        let terms = (largest(&gradients.input) / largest(&frozen.input)).min(1.0);
        let channels = forward.mean.len();
        let count = (self.data.input.len() / channels) as u64;
        let running = (&vec![0.0; channels][..], &vec![1.0; channels][..]);
        let (mean, variance) = update_running(&forward, count, running, RunningUpdate::default(), 0);
        let joined = |part: fn(&Found) -> &Vec<f32>| found.iter().flat_map(|f| part(f).clone()).collect::<Vec<f32>>();
        // each rank has the sums over its own shard
        let summed = |part: fn(&Found) -> &Option<Vec<f32>>| {
            let sum = |a: Vec<f32>, b: &Vec<f32>| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<f32>>();
            found.iter().filter_map(|f| part(f).as_ref()).fold(vec![0.0; channels], sum)
        };
        let mut errors = vec![
            ("output", error(&joined(|f| &f.output), &forward.output)?),
            ("grad_input", error(&joined(|f| &f.grad_input), &gradients.input)? * terms),
        ];
        if self.affine.has_scale() {
            errors.push(("grad_scale", error(&summed(|f| &f.grad_scale), &gradients.scale)?));
        }
        if self.affine.has_bias() {
            errors.push(("grad_bias", error(&summed(|f| &f.grad_bias), &gradients.bias)?));
        }
        for rank in found {
            errors.push(("running mean", error(&rank.running[0], &mean)?));
            errors.push(("running variance", error(&rank.running[1], &variance)?));
        }
        Ok(errors)
    }
}

/// Runs every rank of a group on a thread of its own.
fn on_threads<R: Send>(size: usize, rank: impl Fn(LocalTransport) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let rank = &rank;
        let threads: Vec<_> =
            LocalTransport::group(size).into_iter().map(|transport| scope.spawn(move || rank(transport))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a rank")).collect()
    })
}

#[test]
fn shards_of_any_size_give_what_the_whole_batch_gives() {
    use MemoryFormat::{ChannelsFirst, ChannelsLast};
    type Case = (&'static [u64], &'static [u64], MemoryFormat, Affine, f32);
    let cases: [Case; 9] = [
        (&[3, 1, 4], &[5, 6, 7], ChannelsFirst, Affine::ScaleAndBias, 0.5),
        (&[3, 0, 4, 1], &[6, 7, 5], ChannelsLast, Affine::ScaleAndBias, 0.5),
        (&[0, 2, 0], &[3, 33], ChannelsFirst, Affine::Scale, 1e4),
        (&[7, 2], &[67], ChannelsFirst, Affine::Bias, 1e4),
        (&[2, 0, 5], &[3, 257], ChannelsFirst, Affine::None, 1e6),
        (&[5, 9, 1, 0], &[40, 3], ChannelsLast, Affine::ScaleAndBias, 1e6),
        (&[1, 1], &[4], ChannelsFirst, Affine::ScaleAndBias, 0.0),
        (&[6], &[3, 50], ChannelsFirst, Affine::ScaleAndBias, 100.0),
        (&[1, 13], &[2, 70, 70], ChannelsFirst, Affine::ScaleAndBias, -3.0),
    ];
    let (mut failures, mut count) = (Vec::new(), 0);
    for (shards, sample, format, affine, mean) in tier::some(cases) {
        count += 1;
        let batch = Batch::random(shards, sample, format, affine, mean);
        let found = on_threads(shards.len(), |transport| batch.run(gpu(), transport).unwrap());
        let case = format!("{shards:?} of {sample:?} {format:?} {affine:?} mean {mean}");
        match batch.errors(&found) {
            Ok(errors) => failures.extend(
                errors
                    .iter()
                    .filter(|(_, error)| *error > TOLERANCE)
                    .map(|(what, error)| format!("{case}: {what} is off by {error:.2e}")),
            ),
            Err(error) => failures.push(format!("{case}: {error}")),
        }
        if found.iter().any(|f| f.statistics != found[0].statistics) {
            failures.push(format!("{case}: ranks have other bits of the merged statistics"));
        }
    }
    all_or_report("shards", &failures, count);
}

/// What is stored is rounded: to half a unit in the last of the 11 or 8 bits of each number.
#[test]
fn shards_may_have_16_bits() {
    for (element, unit, format) in
        [(Element::F16, 2e-3, MemoryFormat::ChannelsFirst), (Element::Bf16, 16e-3, MemoryFormat::ChannelsLast)]
    {
        let batch = Batch::random(&[3, 0, 1, 4], &[5, 7, 5], format, Affine::ScaleAndBias, 0.5).of(Types::all(element));
        let found = on_threads(4, |transport| batch.run(gpu(), transport).unwrap());
        for (what, error) in batch.errors(&found).unwrap() {
            let limit = if what.starts_with("running") { TOLERANCE } else { unit };
            assert!(error <= limit, "{element} {what} is off by {error:.2e}");
        }
        assert!(found.iter().all(|f| f.statistics == found[0].statistics));
    }
}

#[test]
fn ranks_may_have_devices_of_their_own() {
    let batch = Batch::random(&[2, 3], &[4, 30], MemoryFormat::ChannelsFirst, Affine::ScaleAndBias, 7.0);
    let adapter = adapter();
    let found = on_threads(2, |transport| {
        let own = open(&adapter, wgpu::Limits::default());
        batch.run(&own, transport).unwrap()
    });
    let errors = batch.errors(&found).unwrap();
    assert!(errors.iter().all(|(_, error)| *error < TOLERANCE), "{errors:?}");
    assert_eq!(found[0].statistics, found[1].statistics);
}

/// A forward pass over zeros.
fn forward(shape: &[u64], transport: impl Transport) -> Result<(), SyncError> {
    let descriptor = NormDescriptor { affine: Affine::None, ..NormDescriptor::new(NormKind::Batch, shape) };
    let mut norm = SyncBatchNorm::new(&gpu().engine, &gpu().queue, &descriptor, transport)?;
    forward_into(&mut norm, shape.iter().product())
}

/// A forward pass in place over a view of `len` elements.
fn forward_into(norm: &mut SyncBatchNorm<impl Transport>, len: u64) -> Result<(), SyncError> {
    let buffer = gpu().buffer(&vec![0.0; len as usize]);
    let input = TensorView::new(&buffer, 0, len);
    norm.forward(&SyncForwardArgs::new(input, Destination::InPlace))
}

#[test]
fn batches_without_an_element_are_no_mistake() {
    for shape in [[0, 3, 5], [2, 0, 5], [2, 3, 0], [0, 0, 0]] {
        assert_eq!(on_threads(2, |transport| forward(&shape, transport)), vec![Ok(()); 2], "{shape:?}");
    }
}

#[test]
fn every_rank_refuses_what_one_has_wrong() {
    // other channels on one rank
    let channels = [3, 3, 4];
    let results = on_threads(3, |transport| forward(&[2, channels[transport.rank()], 5], transport));
    let disagree = SyncError::Disagree { what: "the number of channels", values: channels.to_vec() };
    assert_eq!(results, vec![Err(disagree.clone()); 3]);
    assert_eq!(disagree.to_string(), "the ranks disagree on the number of channels: [3, 3, 4]");

    // one element in the whole batch
    let samples = [0, 1, 0];
    let results = on_threads(3, |transport| forward(&[samples[transport.rank()], 3], transport));
    assert_eq!(results, vec![Err(SyncError::SingleElement { ranks: 3 }); 3]);

    // a view of the wrong length on one rank: its own error there, and a word to the others
    let results = on_threads(3, |mut transport| {
        let rank = transport.rank();
        let descriptor = NormDescriptor { affine: Affine::None, ..NormDescriptor::new(NormKind::Batch, &[2, 3]) };
        let mut norm = SyncBatchNorm::new(&gpu().engine, &gpu().queue, &descriptor, &mut transport).unwrap();
        let failed = forward_into(&mut norm, if rank == 1 { 7 } else { 6 });
        assert_eq!(norm.merged_statistics().unwrap_err(), SyncError::NoStatistics);
        // the group is whole: the next pass succeeds
        forward_into(&mut norm, 6).unwrap();
        norm.merged_statistics().unwrap();
        failed
    });
    let length = BindError::Length { operand: Operand::Input, expected: 6, actual: 7 };
    let peer = || Err(SyncError::Peer { rank: 1 });
    assert_eq!(results, [peer(), Err(length.into()), peer()]);

    // one rank in backward, the other in forward
    let results = on_threads(2, |mut transport| {
        let rank = transport.rank();
        let descriptor = NormDescriptor { affine: Affine::None, ..NormDescriptor::new(NormKind::Batch, &[2, 3]) };
        let mut norm = SyncBatchNorm::new(&gpu().engine, &gpu().queue, &descriptor, &mut transport).unwrap();
        forward_into(&mut norm, 6).unwrap();
        if rank == 0 {
            return forward_into(&mut norm, 6);
        }
        let buffer = gpu().buffer(&[0.0; 6]);
        let other = gpu().buffer(&[0.0; 6]);
        let args = SyncBackwardArgs::new(TensorView::whole(&buffer), TensorView::whole(&other));
        norm.backward(&args.grad_input(Destination::InPlace))
    });
    let what = "the pass (1: forward, 2: backward)";
    assert_eq!(results, vec![Err(SyncError::Disagree { what, values: vec![1, 2] }); 2]);
}

#[test]
fn descriptors_that_cannot_be_synchronized_are_refused() {
    let shape = [2, 4, 3];
    let new = |descriptor: &NormDescriptor<'_>| {
        let transport = LocalTransport::group(1).remove(0);
        SyncBatchNorm::new(&gpu().engine, &gpu().queue, descriptor, transport).map(drop).unwrap_err()
    };
    let batch = NormDescriptor::new(NormKind::Batch, &shape);
    let zero = NormDescriptor { eps: Epsilon::InsideRoot(0.0), ..batch.clone() };
    assert_eq!(new(&zero), SyncError::Epsilon { eps: 0.0 });
    assert_eq!(new(&NormDescriptor::new(NormKind::Instance, &shape)), SyncError::Kind { kind: "instance" });
    let flat = NormDescriptor::new(NormKind::Batch, &shape[..1]);
    assert_eq!(new(&flat), PlanError::RankTooLow { kind: "batch", rank: 1, min: 2 }.into());
}

#[test]
fn no_rank_waits_for_one_that_is_gone() {
    let start = Instant::now();
    let gone: SyncError = TransportError::Gone { rank: 1 }.into();
    // one leaves before the first exchange, by an error of its own
    let results = on_threads(3, |transport| match transport.rank() {
        1 => forward(&[4], transport),
        _ => forward(&[2, 3], transport),
    });
    let rank = PlanError::RankTooLow { kind: "batch", rank: 1, min: 2 };
    assert_eq!(results, [Err(gone.clone()), Err(rank.into()), Err(gone.clone())]);

    // one panics between two exchanges
    let results = thread::scope(|scope| {
        let threads: Vec<_> = LocalTransport::group(3)
            .into_iter()
            .map(|mut transport| {
                scope.spawn(move || {
                    forward(&[2, 3], &mut transport)?;
                    assert_ne!(transport.rank(), 1, "this rank dies");
                    forward(&[2, 3], &mut transport)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().ok()).collect::<Vec<_>>()
    });
    assert_eq!(results, [Some(Err(gone.clone())), None, Some(Err(gone))]);

    // one is there, but does not come
    let mut group = LocalTransport::group(2);
    let (_idle, waiting) = (group.remove(1), group.remove(0));
    let late = forward(&[2, 3], waiting.with_patience(Duration::from_secs(1)));
    assert_eq!(late, Err(TransportError::TimedOut { missing: vec![1], seconds: 1 }.into()));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

/// Micro-batches whose moments are merged: the merged records, and what is needed to go on with them.
fn merged_moments(batch: &Batch) -> (Vec<Norm>, wgpu::Buffer) {
    let gpu = gpu();
    let norms: Vec<Norm> = batch
        .shards
        .iter()
        .map(|&samples| gpu.engine.create_norm(&batch.descriptor(&batch.shape(samples))).unwrap())
        .collect();
    let size = norms[0].statistics_size();
    let count = norms.len() as u64;
    let (parts, merged) = (gpu.bytes(&vec![0; (size * count) as usize]), gpu.bytes(&vec![0; size as usize]));
    for (i, norm) in norms.iter().enumerate() {
        // one micro-batch at a time is on the device
        let input = gpu.guarded(batch.shard(&batch.data.input, i));
        let bytes = norm.moments_workspace_size();
        let workspace = (bytes > 0).then(|| gpu.bytes(&vec![0; bytes as usize]));
        let records = BufferView::new(&parts, i as u64 * size, size);
        let args = MomentsArgs::new(guarded_view(&input, norm.len() as usize), records)
            .workspace(workspace.as_ref().map(BufferView::whole));
        gpu.run(&[&norm.bind_moments(&args).unwrap()]);
    }
    let (shards, all) = (BufferView::whole(&parts), BufferView::whole(&merged));
    let merge = norms[0].bind_merge(&MergeArgs::new(shards, count as u32, Records::Statistics, all));
    gpu.run(&[&merge.unwrap()]);
    (norms, merged)
}

#[test]
fn micro_batches_that_do_not_fit_together_have_exact_batch_statistics() {
    let gpu = gpu();
    for mean in [0.5, 1e4, 1e6] {
        let batch =
            Batch::random(&[4, 4, 0, 3, 9], &[6, 5, 8], MemoryFormat::ChannelsFirst, Affine::ScaleAndBias, mean);
        let (norms, merged) = merged_moments(&batch);
        let (scale, bias) =
            (gpu.buffer(batch.data.scale.as_ref().unwrap()), gpu.buffer(batch.data.bias.as_ref().unwrap()));
        let mut output = Vec::new();
        for (i, norm) in norms.iter().enumerate() {
            let input = gpu.guarded(batch.shard(&batch.data.input, i));
            let args = ForwardArgs::new(guarded_view(&input, norm.len() as usize), Destination::InPlace)
                .scale(TensorView::whole(&scale))
                .bias(TensorView::whole(&bias))
                .statistics(StatisticsSource::Saved(BufferView::whole(&merged)));
            gpu.run(&[&norm.bind_forward(&args).unwrap()]);
            output.extend(gpu.read_guarded(&input));
        }
        let worst = error(&output, &batch.reference().output);
        assert!(worst.clone().is_ok_and(|e| e < TOLERANCE), "mean {mean}: {worst:?}");
    }
}

#[test]
fn running_statistics_are_recalibrated_over_a_data_set() {
    let gpu = gpu();
    let batch = Batch::random(&[8, 8, 8, 8, 3], &[9, 7], MemoryFormat::ChannelsFirst, Affine::None, 1e4);
    let (norms, merged) = merged_moments(&batch);
    let (mean, variance) = (gpu.buffer(&[5.0; 9]), gpu.buffer(&[5.0; 9]));
    // the data set takes the place of what was there
    let update = RunningUpdate { momentum: Momentum::Weight(1.0), variance: Variance::Unbiased };
    let (merged, views) = (BufferView::whole(&merged), (TensorView::whole(&mean), TensorView::whole(&variance)));
    let running = norms[0].bind_running_update(&RunningArgs::new(merged, views.0, views.1).update(update));
    gpu.run(&[&running.unwrap()]);
    let statistics = batch.reference();
    let expected = update_running(&statistics, 35 * 7, (&[5.0; 9], &[5.0; 9]), update, 0);
    let errors = [error(&gpu.read(&mean), &expected.0), error(&gpu.read(&variance), &expected.1)];
    assert!(errors.iter().all(|e| e.as_ref().is_ok_and(|&e| e < 1e-6)), "{errors:?}");
}
