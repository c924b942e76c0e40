//! Stages, statistics and norms without elements over tensors of 16 bits.

use crate::elements::Numbers;
use crate::halves::*;
use crate::harness::*;
use wgpu_norm::reference::{self, ReferenceInputs, update_running};
use wgpu_norm::*;
use wgpu_norm_tools::elements::rounded;

use MemoryFormat::{ChannelsFirst, ChannelsLast};

fn workspace(gpu: &Gpu, bytes: u64) -> wgpu::Buffer {
    gpu.bytes(&vec![0; bytes as usize])
}

/// What shards of a batch leave: merged moments, outputs, gradients to the input, and gradients to scale and bias.
struct Pass {
    moments: Vec<f32>,
    output: Vec<f32>,
    grad_input: Vec<f32>,
    parameters: [Vec<f32>; 2],
}

/// A shard on the device.
struct Shard {
    norm: Norm,
    input: Lone,
    output: Lone,
    grad_output: Lone,
    grad_input: Lone,
}

fn shards(descriptor: &NormDescriptor<'_>, numbers: &Numbers, samples: &[u64]) -> Vec<Shard> {
    let (gpu, types) = (gpu(), descriptor.types);
    let sample = &descriptor.shape[1..];
    let mut start = 0;
    let shard = |&n: &u64| {
        let shape = [&[n], sample].concat();
        let norm = gpu.engine.create_norm(&NormDescriptor { shape: &shape, ..descriptor.clone() }).unwrap();
        let (len, range) = (norm.len() as usize, start..start + norm.len() as usize);
        start = range.end;
        Shard {
            norm,
            input: Lone::new(gpu, types.input, &numbers.data.input[range.clone()]),
            output: Lone::empty(gpu, types.output, len),
            grad_output: Lone::new(gpu, types.grad_output, &numbers.dy[range]),
            grad_input: Lone::empty(gpu, types.grad_input, len),
        }
    };
    samples.iter().map(shard).collect()
}

/// Forward and backward by stages.
fn pass(descriptor: &NormDescriptor<'_>, numbers: &Numbers, samples: &[u64]) -> Pass {
    let (gpu, types) = (gpu(), descriptor.types);
    let shards = shards(descriptor, numbers, samples);
    let (first, count) = (&shards[0].norm, shards.len() as u64);
    let (size, affine) = (first.statistics_size(), first.affine_len() as usize);
    let [parts, sums] = [(); 2].map(|()| workspace(gpu, size * count));
    let [moments, summed] = [(); 2].map(|()| workspace(gpu, size));
    let part = |buffer, k: usize| BufferView::new(buffer, k as u64 * size, size);
    let scale = Lone::new(gpu, types.scale, numbers.data.scale.as_ref().unwrap());
    let bias = Lone::new(gpu, types.bias, numbers.data.bias.as_ref().unwrap());
    for (k, Shard { norm, input, .. }) in shards.iter().enumerate() {
        let scratch = workspace(gpu, norm.moments_workspace_size());
        let args = MomentsArgs::new(input.view(), part(&parts, k)).workspace(BufferView::whole(&scratch));
        gpu.run(&[&norm.bind_moments(&args).unwrap()]);
    }
    let merge = |from, records, to| {
        let args = MergeArgs::new(BufferView::whole(from), count as u32, records, BufferView::whole(to));
        gpu.run(&[&first.bind_merge(&args).unwrap()]);
    };
    merge(&parts, Records::Statistics, &moments);
    let statistics = BufferView::whole(&moments);
    let mut parameters = [vec![0.0; affine], vec![0.0; affine]];
    for (k, Shard { norm, input, output, grad_output, .. }) in shards.iter().enumerate() {
        let args = ForwardArgs::new(input.view(), output.view()).scale(scale.view()).bias(bias.view());
        let forward = norm.bind_forward(&args.statistics(StatisticsSource::Saved(statistics))).unwrap();
        let scratch = workspace(gpu, norm.backward_workspace_size());
        let to = [types.grad_scale, types.grad_bias].map(|element| Lone::empty(gpu, element, affine));
        let args = GradientSumsArgs::new(input.view(), grad_output.view(), statistics, part(&sums, k))
            .scale(scale.view())
            .grad_scale(to[0].view())
            .grad_bias(to[1].view())
            .workspace(BufferView::whole(&scratch));
        gpu.run(&[&forward, &norm.bind_gradient_sums(&args).unwrap()]);
        for (all, own) in parameters.iter_mut().zip(&to) {
            all.iter_mut().zip(own.read(gpu)).for_each(|(sum, x)| *sum += x);
        }
    }
    merge(&sums, Records::GradientSums, &summed);
    for Shard { norm, input, grad_output, grad_input, .. } in &shards {
        let scratch = workspace(gpu, norm.backward_workspace_size());
        let merged = BufferView::whole(&summed);
        let args = InputGradientArgs::new(input.view(), grad_output.view(), statistics, merged, grad_input.view());
        let args = args.scale(scale.view()).workspace(BufferView::whole(&scratch));
        gpu.run(&[&norm.bind_input_gradient(&args).unwrap()]);
    }
    let all = |tensor: fn(&Shard) -> &Lone| shards.iter().flat_map(|shard| tensor(shard).read(gpu)).collect();
    Pass { moments: gpu.read(&moments), output: all(|s| &s.output), grad_input: all(|s| &s.grad_input), parameters }
}

#[test]
fn micro_batches_have_the_moments_of_their_values() {
    let gpu = gpu();
    for (element, format) in HALVES.into_iter().zip([ChannelsFirst, ChannelsLast]) {
        // the gradients of shards are added up here: rounded ones would not have the sum
        let types = Types::all(element).grad_scale(Element::F32).grad_bias(Element::F32);
        let half = NormDescriptor { format, types, ..NormDescriptor::new(NormKind::Batch, &[8, 5, 7]) };
        let wide = NormDescriptor { types: Types::default(), ..half.clone() };
        let numbers = Numbers::random(gpu, &half, 3);
        let [found, exact] = [&half, &wide].map(|descriptor| pass(descriptor, &numbers, &[3, 0, 4, 1]));
        for (a, b) in found.moments.chunks(4).zip(exact.moments.chunks(4)) {
            let close = |a: f32, b: f32| (a - b).abs() <= 1e-6 * b.abs().max(1.0);
            assert!(close(a[0] + a[1], b[0] + b[1]) && close(a[2], b[2]) && a[3] == b[3], "{a:?}, as f32 {b:?}");
        }
        let expected = reference::forward(&half, &numbers.inputs()).unwrap().output;
        let gradients = reference::backward(&half, &numbers.inputs(), &numbers.dy).unwrap();
        compare(&found.output, &expected, element, 4.0).unwrap();
        compare(&found.grad_input, &gradients.input, element, 8.0).unwrap();
        for (actual, expected) in found.parameters.iter().zip([&gradients.scale, &gradients.bias]) {
            assert!(error(actual, expected).unwrap() < 3e-6);
        }
    }
}

#[test]
fn statistics_may_be_given_in_16_bits() {
    let gpu = gpu();
    for (element, (kind, format)) in
        HALVES.into_iter().zip([(NormKind::Batch, ChannelsLast), (NormKind::Instance, ChannelsFirst)])
    {
        let half = NormDescriptor { format, types: Types::all(element), ..NormDescriptor::new(kind, &[3, 7, 5]) };
        let norm = gpu.engine.create_norm(&half).unwrap();
        let (n, channels) = (norm.len() as usize, norm.given_segment_count() as usize);
        let numbers = Numbers::random(gpu, &half, 1);
        let mean = rounded(&values(&mut fastrand::Rng::with_seed(2), channels as u64, 0.5, 1.0), element);
        let variance = rounded(&values(&mut fastrand::Rng::with_seed(3), channels as u64, 4.0, 1.0), element);
        let inputs = ReferenceInputs { given: Some((&mean, &variance)), ..numbers.inputs() };
        let [mean, variance] = [&mean, &variance].map(|values| Lone::new(gpu, element, values));
        let records = workspace(gpu, norm.given_statistics_size());
        let statistics = BufferView::whole(&records);
        let import = norm.bind_import(&ImportArgs::new(mean.view(), variance.view(), statistics)).unwrap();
        let [input, dy] = [&numbers.data.input, &numbers.dy].map(|values| Lone::new(gpu, element, values));
        let parameter = |values: &Option<Vec<f32>>| Lone::new(gpu, element, values.as_ref().unwrap());
        let (scale, bias) = (parameter(&numbers.data.scale), parameter(&numbers.data.bias));
        let [output, grad_input, grad_scale, grad_bias] =
            [n, n, channels, channels].map(|len| Lone::empty(gpu, element, len));
        let args = ForwardArgs::new(input.view(), output.view()).scale(scale.view()).bias(bias.view());
        let forward = norm.bind_forward(&args.statistics(StatisticsSource::Given(statistics))).unwrap();
        let scratch = norm.create_backward_workspace().unwrap();
        let args = BackwardArgs::new(input.view(), dy.view(), BackwardStatistics::Given(statistics))
            .scale(scale.view())
            .grad_input(grad_input.view())
            .grad_scale(grad_scale.view())
            .grad_bias(grad_bias.view())
            .workspace(scratch.as_ref().map(BufferView::whole));
        gpu.run(&[&import, &forward, &norm.bind_backward(&args).unwrap()]);
        let expected = reference::forward(&half, &inputs).unwrap().output;
        let gradients = reference::backward(&half, &inputs, &numbers.dy).unwrap();
        compare(&output.read(gpu), &expected, element, 4.0).unwrap();
        compare(&grad_input.read(gpu), &gradients.input, element, 4.0).unwrap();
        compare(&grad_scale.read(gpu), &gradients.scale, element, 32.0).unwrap();
        compare(&grad_bias.read(gpu), &gradients.bias, element, 32.0).unwrap();
    }
}

/// Lists that begin or end inside a word, of other types than each other's.
#[test]
fn statistics_are_exported_in_16_bits() {
    let gpu = gpu();
    for (channels, [of_mean, of_spread]) in [
        (5, [Element::F16, Element::Bf16]),
        (6, [Element::Bf16, Element::F32]),
        (1, [Element::F32, Element::F16]),
        (301, [Element::Bf16; 2]),
    ] {
        let shape = [3, channels, 4];
        let types = Types::tensors(Element::F16);
        let descriptor = NormDescriptor { types, affine: Affine::None, ..NormDescriptor::new(NormKind::Batch, &shape) };
        let norm = gpu.engine.create_norm(&descriptor).unwrap();
        let numbers = Numbers::random(gpu, &descriptor, channels);
        let input = Lone::new(gpu, Element::F16, &numbers.data.input);
        let records = workspace(gpu, norm.statistics_size());
        let scratch = norm.create_workspace().unwrap();
        let statistics = BufferView::whole(&records);
        let args = TrainingArgs::new(input.view(), Destination::InPlace, statistics);
        let training = norm.bind_training(&args.workspace(scratch.as_ref().map(BufferView::whole))).unwrap();
        let [mean, variance] = [of_mean, of_spread].map(|element| Lone::empty(gpu, element, channels as usize));
        let args = ExportArgs::new(statistics).mean(mean.view()).spread(Spread::Variance, variance.view());
        gpu.run(&[&training, &norm.bind_export(&args).unwrap()]);
        let expected = reference::forward(&descriptor, &numbers.inputs()).unwrap();
        compare(&mean.read(gpu), &expected.mean, of_mean, 1.0).unwrap();
        compare(&variance.read(gpu), &expected.variance, of_spread, 1.0).unwrap();
    }
}

#[test]
fn running_statistics_stay_f32() {
    let gpu = gpu();
    let types = Types::all(Element::F16);
    let descriptor = NormDescriptor { types, affine: Affine::None, ..NormDescriptor::new(NormKind::Batch, &[4, 5, 7]) };
    let norm = gpu.engine.create_norm(&descriptor).unwrap();
    let numbers = Numbers::random(gpu, &descriptor, 1);
    let input = Lone::new(gpu, Element::F16, &numbers.data.input);
    let (records, scratch) = (workspace(gpu, norm.statistics_size()), norm.create_workspace().unwrap());
    let statistics = BufferView::whole(&records);
    let args = TrainingArgs::new(input.view(), Destination::InPlace, statistics);
    let training = norm.bind_training(&args.workspace(scratch.as_ref().map(BufferView::whole))).unwrap();
    let [mean, variance] = [0.0, 1.0].map(|x| Lone::new(gpu, Element::F32, &[x; 5]));
    let running = norm.bind_running_update(&RunningArgs::new(statistics, mean.view(), variance.view())).unwrap();
    gpu.run(&[&training, &running]);
    let forward = reference::forward(&descriptor, &numbers.inputs()).unwrap();
    let update = RunningUpdate::default();
    let expected = update_running(&forward, norm.segment_len(), (&[0.0; 5], &[1.0; 5]), update, 0);
    assert!(error(&mean.read(gpu), &expected.0).unwrap() < 1e-6);
    assert!(error(&variance.read(gpu), &expected.1).unwrap() < 1e-6);
    let args = RunningArgs::new(statistics, mean.view().of(Element::F16), variance.view());
    let refused = BindError::Element { operand: Operand::RunningMean, expected: Element::F32, actual: Element::F16 };
    assert_eq!(norm.bind_running_update(&args).map(drop), Err(refused));
}

/// Nothing is normalized, gradients to parameters are 0 and rounded to their type, saved moments are those of nothing.
#[test]
fn norms_without_elements_write_zeros_in_16_bits() {
    let gpu = gpu();
    for (shape, element) in [([0, 3, 4], Element::F16), ([2, 3, 0], Element::Bf16)] {
        let descriptor = NormDescriptor { types: Types::all(element), ..NormDescriptor::new(NormKind::Batch, &shape) };
        let norm = gpu.engine.create_norm(&descriptor).unwrap();
        let [nothing, output, grad_input] = [(); 3].map(|()| Lone::empty(gpu, element, 0));
        let [scale, bias, grad_scale, grad_bias] = [(); 4].map(|()| Lone::empty(gpu, element, 3));
        let records = gpu.buffer(&[POISON; 12]);
        let statistics = BufferView::whole(&records);
        let scratch = norm.create_backward_workspace().unwrap();
        let args = TrainingArgs::new(nothing.view(), output.view(), statistics).scale(scale.view()).bias(bias.view());
        let training = norm.bind_training(&args).unwrap();
        let args = BackwardArgs::new(nothing.view(), nothing.view(), BackwardStatistics::Saved(statistics))
            .scale(scale.view())
            .grad_input(grad_input.view())
            .grad_scale(grad_scale.view())
            .grad_bias(grad_bias.view())
            .workspace(scratch.as_ref().map(BufferView::whole));
        gpu.run(&[&training, &norm.bind_backward(&args).unwrap()]);
        assert_eq!(gpu.read(&records), [0.0; 12]);
        assert_eq!([output.read(gpu), grad_scale.read(gpu), grad_bias.read(gpu)], [vec![], vec![0.0; 3], vec![0.0; 3]]);
    }
}
