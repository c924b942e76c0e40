//! Devices with less: WebGPU's defaults, four storage buffers, bindings far smaller than the tensors.

use crate::backward::{Wanted, compare, run_backward};
use crate::elements::Numbers;
use crate::forward::table;
use crate::halves::*;
use crate::harness::*;
use wgpu_norm::*;
use wgpu_norm_tools::tier;

/// Every norm by the schedules that are wanted of it; returns the errors of those that could not be bound.
fn run_all(
    gpu: &Gpu,
    descriptors: &[NormDescriptor<'_>],
    schedules: impl Fn(&NormDescriptor<'_>) -> Vec<Schedule>,
) -> Vec<BindError> {
    let (mut failures, mut cases, mut refused) = (Vec::new(), 0, Vec::new());
    for (seed, descriptor) in descriptors.iter().enumerate() {
        let data = Data::random(gpu, descriptor, 3.0, seed as u64);
        let expected = data.reference(descriptor).output;
        for schedule in schedules(descriptor) {
            cases += 1;
            let norm = gpu.engine.create_norm_with(descriptor, schedule).unwrap().unwrap();
            let worst = match run_training(gpu, &norm, &data) {
                Ok(outcome) => error(&outcome.output, &expected),
                Err(error) => {
                    refused.push(error);
                    continue;
                }
            };
            if !worst.as_ref().is_ok_and(|&e| e <= tolerance(norm.segment_len())) {
                failures.push(format!("{:?} {:?} {schedule}: {worst:?}", descriptor.kind, descriptor.shape));
            }
        }
    }
    all_or_report("norms", &failures, cases);
    refused
}

#[test]
fn default_limits_and_no_features_are_enough() {
    let gpu = open(&adapter(), wgpu::Limits::default());
    // the others are what `wgpu-norm verify` runs on such a device
    let chosen = |descriptor: &NormDescriptor<'_>| vec![gpu.engine.create_norm(descriptor).unwrap().schedule()];
    assert_eq!(run_all(&gpu, &tier::some(table()).collect::<Vec<_>>(), chosen), []);
}

/// Tensors, parameters and statistics many times larger than a binding: every window of every kernel.
#[test]
fn tensors_larger_than_a_binding_are_cut_into_windows() {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 4096, ..wgpu::Limits::default() };
    let gpu = open(&adapter(), limits);
    let small = table().into_iter().filter(|d| d.shape.iter().product::<u64>() < 40_000);
    let mut all: Vec<_> = tier::some(small).collect();
    // parameters larger than a binding, in one segment and in rows that windows must not straddle
    all.push(NormDescriptor::new(NormKind::Layer { axes: 0..1 }, &[9001]));
    all.push(NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &[3, 1500]));
    all.push(NormDescriptor::new(NormKind::Rms { axes: 1..3 }, &[2, 3, 1100]));
    // statistics larger than a binding
    all.push(NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &[4000, 2]));
    all.push(NormDescriptor::new(NormKind::Batch, &[3, 3000]));
    all.push(NormDescriptor::new(NormKind::Batch, &[3, 1000, 2]));
    all.push(NormDescriptor {
        format: MemoryFormat::ChannelsLast,
        ..NormDescriptor::new(NormKind::Instance, &[2, 3, 1500])
    });
    all.push(NormDescriptor {
        format: MemoryFormat::ChannelsLast,
        ..NormDescriptor::new(NormKind::Group { groups: 700 }, &[2, 3, 1400])
    });
    let refused = run_all(&gpu, &all, |descriptor| gpu.engine.schedules(descriptor).unwrap());
    // schedules that keep more partial records than a binding holds say so
    assert!(
        refused.iter().all(|e| matches!(e, BindError::Limit { limit: "max_storage_buffer_binding_size", .. })),
        "{refused:?}"
    );
    let chosen = |d: &NormDescriptor<'_>| {
        run_training(&gpu, &gpu.engine.create_norm(d).unwrap(), &Data::random(&gpu, d, 0.0, 1)).is_ok()
    };
    let failed: Vec<_> = all.iter().filter(|d| !chosen(d)).collect();
    assert!(failed.is_empty(), "the schedule of choice must work: {failed:?}");
    // what is summed up over windows, and what a map merges, is bound whole or refused
    let backward = |d: &NormDescriptor<'_>, parameters: bool| {
        let data = Data::random(&gpu, d, 0.0, 1);
        let has = |values: &Option<Vec<f32>>| parameters && values.is_some();
        let wanted = Wanted { input: true, scale: has(&data.scale), bias: has(&data.bias) };
        let dy = values(&mut fastrand::Rng::with_seed(2), data.input.len() as u64, 0.0, 1.0);
        let off = match run_backward(&gpu, &gpu.engine.create_norm(d).unwrap(), &data, &dy, wanted) {
            Ok(gradients) => compare(d, &data, &dy, &gradients),
            Err(BindError::Limit { limit: "max_storage_buffer_binding_size", .. }) => return None,
            Err(error) => Err(error.to_string()),
        };
        (!off.as_ref().is_ok_and(|&off| off < 2e-5)).then(|| format!("{:?} {:?}: {off:?}", d.kind, d.shape))
    };
    all.push(NormDescriptor::new(NormKind::Group { groups: 20 }, &[5, 60, 4]));
    let failed: Vec<_> = all.iter().flat_map(|d| [backward(d, true), backward(d, false)]).flatten().collect();
    all_or_report("backward", &failed, 2 * all.len());
}

/// More workgroups than one dimension has, whose number is often no product of two: some are too many.
#[test]
fn workgroups_too_many_in_a_folded_grid_write_nothing() {
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 13, ..wgpu::Limits::default() };
    let gpu = open(&adapter(), limits);
    let rows: Vec<[u64; 2]> = (17..40).step_by(5).map(|n| [n, 2048]).collect();
    let planes: Vec<[u64; 3]> = (13..40).step_by(3).map(|n| [n, 32, 8]).collect();
    let last = |kind, shape| NormDescriptor { format: MemoryFormat::ChannelsLast, ..NormDescriptor::new(kind, shape) };
    let layer = |shape| NormDescriptor::new(NormKind::Layer { axes: 1..2 }, shape);
    let mut all: Vec<_> = rows.iter().map(|shape| layer(shape.as_slice())).collect();
    all.extend(planes.iter().flat_map(|shape| [NormKind::Instance, NormKind::Batch].map(|kind| last(kind, shape))));
    let too_many = |e: &BindError| matches!(e, BindError::Limit { limit: "max_compute_workgroups_per_dimension", .. });
    let chosen = |d: &NormDescriptor<'_>| vec![gpu.engine.create_norm(d).unwrap().schedule()];
    assert!(run_all(&gpu, &all, chosen).iter().all(too_many));
    let mut failed = Vec::new();
    for d in &all {
        let data = Data::random(&gpu, d, 0.0, 1);
        let wanted = Wanted { input: true, scale: data.scale.is_some(), bias: data.bias.is_some() };
        let dy = values(&mut fastrand::Rng::with_seed(2), data.input.len() as u64, 0.0, 1.0);
        let off = match run_backward(&gpu, &gpu.engine.create_norm(d).unwrap(), &data, &dy, wanted) {
            Ok(gradients) => compare(d, &data, &dy, &gradients),
            Err(error) if too_many(&error) => continue,
            Err(error) => Err(error.to_string()),
        };
        if !off.as_ref().is_ok_and(|&off| off < 2e-5) {
            failed.push(format!("{:?} {:?}: {off:?}", d.kind, d.shape));
        }
    }
    all_or_report("backward", &failed, all.len());
}

/// Forward and backward of a norm, each tensor in a buffer of its own.
fn check_apart(gpu: &Gpu, d: &NormDescriptor<'_>) -> Result<(), String> {
    let norm = gpu.engine.create_norm(d).map_err(|e| e.to_string())?;
    let (numbers, types) = (Numbers::random(gpu, d, 7), d.types);
    let (n, affine) = (norm.len() as usize, norm.affine_len() as usize);
    let parameter = |element, values: &Option<Vec<f32>>| Lone::new(gpu, element, values.as_ref().unwrap());
    let (scale, bias) = (parameter(types.scale, &numbers.data.scale), parameter(types.bias, &numbers.data.bias));
    let [input, grad_output] = [(types.input, &numbers.data.input), (types.grad_output, &numbers.dy)]
        .map(|(element, values)| Lone::new(gpu, element, values));
    let [output, grad_input] = [types.output, types.grad_input].map(|element| Lone::empty(gpu, element, n));
    let [grad_scale, grad_bias] = [types.grad_scale, types.grad_bias].map(|element| Lone::empty(gpu, element, affine));
    let records = gpu.buffer(&vec![POISON; 4 * norm.segment_count() as usize]);
    let (saved, workspace) = (BufferView::whole(&records), norm.create_workspace().unwrap());
    let scratch = norm.create_backward_workspace().unwrap();
    let args = TrainingArgs::new(input.view(), output.view(), saved).scale(scale.view()).bias(bias.view());
    let args = args.workspace(workspace.as_ref().map(BufferView::whole));
    let training = norm.bind_training(&args).map_err(|e| e.to_string())?;
    let args = BackwardArgs::new(input.view(), grad_output.view(), BackwardStatistics::Saved(saved))
        .scale(scale.view())
        .grad_input(grad_input.view())
        .grad_scale(grad_scale.view())
        .grad_bias(grad_bias.view())
        .workspace(scratch.as_ref().map(BufferView::whole));
    let backward = norm.bind_backward(&args).map_err(|e| e.to_string())?;
    gpu.run(&[&training, &backward]);
    let forward = reference::forward(d, &numbers.inputs()).map_err(|e| e.to_string())?;
    let gradients = reference::backward(d, &numbers.inputs(), &numbers.dy).map_err(|e| e.to_string())?;
    let results = [
        (output, types.output, forward.output),
        (grad_input, types.grad_input, gradients.input),
        (grad_scale, types.grad_scale, gradients.scale),
        (grad_bias, types.grad_bias, gradients.bias),
    ];
    results.iter().try_for_each(|(actual, element, expected)| is_close(&actual.read(gpu), expected, *element, 2e-5))
}

/// Windows, and folded grids, of maps of rows that share words, and of those that are dealt by words.
#[test]
fn tensors_of_16_bits_are_cut_into_windows_and_folded() {
    let layer = NormKind::Layer { axes: 1..2 };
    let of = |types, kind, shape| NormDescriptor { types, ..NormDescriptor::new(kind, shape) };
    let last = |d| NormDescriptor { format: MemoryFormat::ChannelsLast, ..d };
    let (bf16, f16) = (Types::all(Element::Bf16), Types::tensors(Element::F16));
    let all = [
        of(bf16, layer.clone(), &[5, 900]),
        of(f16, layer.clone(), &[60, 517]),
        of(bf16, layer, &[1001, 3]),
        of(f16, NormKind::Instance, &[3, 1, 12001]),
        of(f16, NormKind::Batch, &[3, 5, 1001]),
        of(bf16, NormKind::Instance, &[7, 6, 350]),
        last(of(bf16, NormKind::Batch, &[3, 1001, 5])),
        last(of(f16, NormKind::Group { groups: 2 }, &[2, 701, 6])),
    ];
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 14, ..wgpu::Limits::default() };
    let short = open(&adapter(), limits);
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 13, ..wgpu::Limits::default() };
    let folded = open(&adapter(), limits);
    let devices = [("short bindings", &short), ("folded grids", &folded)];
    let all = devices.into_iter().flat_map(|device| all.iter().map(move |d| (device, d)));
    let all: Vec<_> = tier::some(all).collect();
    let failed = all.iter().filter_map(|((name, gpu), d)| {
        check_apart(gpu, d).err().map(|error| format!("{name}: {:?} {:?}: {error}", d.kind, d.shape))
    });
    all_or_report("tensors of 16 bits", &failed.collect::<Vec<_>>(), all.len());
}

/// Drivers that leave loops after 65535 turns of an invocation (lavapipe does) get more invocations.
#[test]
fn loops_do_not_outlast_a_driver() {
    let gpu = open(&adapter(), NormEngine::required_limits(&adapter()));
    let profile = DeviceProfile { units: 1, unit_lanes: 64, ..*gpu.engine.profile() };
    let engine = gpu.engine.with_profile(profile).unwrap();
    let last = |kind, shape| NormDescriptor {
        affine: Affine::Scale,
        format: MemoryFormat::ChannelsLast,
        ..NormDescriptor::new(kind, shape)
    };
    let descriptors = [
        last(NormKind::Rms { axes: 1..2 }, &[40_000, 16]),
        last(NormKind::Rms { axes: 1..2 }, &[3, 1 << 19]),
        last(NormKind::Instance, &[200, 7, 7, 64]),
        last(NormKind::Batch, &[200_000, 8]),
    ];
    for (seed, descriptor) in descriptors.iter().enumerate() {
        let norm = engine.create_norm(descriptor).unwrap();
        let mut data = Data::random(&gpu, descriptor, 0.0, seed as u64);
        data.scale.iter_mut().flatten().for_each(|scale| *scale *= 1e-32);
        let outcome = run_training(&gpu, &norm, &data).unwrap();
        let worst = error(&outcome.output, &data.reference(descriptor).output);
        let schedule = norm.schedule().to_string();
        assert!(worst.as_ref().is_ok_and(|&e| e <= tolerance(norm.segment_len())), "{schedule}: {worst:?}");
    }
}

#[test]
fn four_storage_buffers_are_enough_for_inference() {
    let limits = wgpu::Limits { ..wgpu::Limits::downlevel_defaults() };
    assert_eq!(limits.max_storage_buffers_per_shader_stage, 4);
    let gpu = open(&adapter(), limits);
    let descriptor = NormDescriptor::new(NormKind::Batch, &[3, 5, 7]);
    let norm = gpu.engine.create_norm(&descriptor).unwrap();
    let mut data = Data::random(&gpu, &descriptor, 1.0, 1);
    data.given = Some((vec![0.5; 5], vec![2.0; 5]));
    // five buffers are one too many, and the error says which limit
    let error_of_five = run_given(&gpu, &norm, &data).map(|_| ()).unwrap_err();
    let expected = BindError::Limit {
        operation: "inference",
        limit: "max_storage_buffers_per_shader_stage",
        needed: 5,
        available: 4,
    };
    assert_eq!(error_of_five, expected);
    // scale and bias in one buffer share a binding
    let parameters = [data.scale.clone().unwrap(), data.bias.clone().unwrap()].concat();
    let [input, output, parameters] = [&data.input, &vec![POISON; 105], &parameters].map(|d| gpu.buffer(d));
    let (mean, variance) = data.given.clone().unwrap();
    let [mean, variance, records] = [&mean, &variance, &vec![0.0; 20]].map(|d| gpu.buffer(d));
    let statistics = BufferView::whole(&records);
    let import =
        norm.bind_import(&ImportArgs::new(TensorView::whole(&mean), TensorView::whole(&variance), statistics)).unwrap();
    let args = ForwardArgs::new(TensorView::whole(&input), TensorView::whole(&output))
        .scale(TensorView::new(&parameters, 0, 5))
        .bias(TensorView::new(&parameters, 20, 5))
        .statistics(StatisticsSource::Given(statistics));
    let bound = norm.bind_forward(&args).unwrap();
    gpu.run(&[&import, &bound]);
    assert!(error(&gpu.read(&output), &data.reference(&descriptor).output).unwrap() < 1e-6);
    // layer norm has four buffers: it runs, saving statistics is the fifth
    let layer = NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &[5, 21]);
    let norm = gpu.engine.create_norm(&layer).unwrap();
    let refused = run_training(&gpu, &norm, &Data::random(&gpu, &layer, 0.0, 1)).map(|_| ()).unwrap_err();
    assert!(matches!(refused, BindError::Limit { needed: 5, available: 4, .. }), "{refused}");
}
