//! Saved, given and running statistics.

use crate::harness::*;
use wgpu_norm::reference::update_running;
use wgpu_norm::*;

#[test]
fn saved_mean_and_variance_are_those_of_the_segments() {
    let cases: [(NormKind<'static>, &[u64], MemoryFormat); 5] = [
        (NormKind::Batch, &[3, 4, 5], MemoryFormat::ChannelsFirst),
        (NormKind::Instance, &[2, 33, 5], MemoryFormat::ChannelsLast),
        (NormKind::Group { groups: 2 }, &[2, 9, 6], MemoryFormat::ChannelsLast),
        (NormKind::Layer { axes: 1..2 }, &[3, 40, 6], MemoryFormat::ChannelsFirst),
        (NormKind::Layer { axes: 0..1 }, &[70_000], MemoryFormat::ChannelsFirst),
    ];
    for (kind, shape, format) in cases {
        let descriptor = NormDescriptor { format, ..NormDescriptor::new(kind, shape) };
        let data = Data::random(gpu(), &descriptor, 100.0, 1);
        let expected = data.reference(&descriptor);
        for schedule in gpu().engine.schedules(&descriptor).unwrap() {
            let norm = gpu().engine.create_norm_with(&descriptor, schedule).unwrap().unwrap();
            let outcome = run_training(gpu(), &norm, &data).unwrap();
            let errors = [error(&outcome.mean, &expected.mean), error(&outcome.variance, &expected.variance)];
            assert!(
                errors.iter().all(|e| e.as_ref().is_ok_and(|&e| e < 1e-6)),
                "{:?} {schedule}: {errors:?}",
                descriptor.kind
            );
        }
    }
}

#[test]
fn inference_uses_the_given_statistics() {
    for kind in [NormKind::Batch, NormKind::Instance] {
        for (shape, format) in [([3u64, 5, 7], MemoryFormat::ChannelsFirst), ([3, 7, 5], MemoryFormat::ChannelsLast)] {
            for affine in [Affine::None, Affine::Scale, Affine::Bias, Affine::ScaleAndBias] {
                let descriptor = NormDescriptor { format, affine, ..NormDescriptor::new(kind.clone(), &shape) };
                let mut data = Data::random(gpu(), &descriptor, 2.0, 2);
                data.given = Some((vec![0.5, 1e6, -3.0, 0.0, 2.0], vec![1.0, 4.0, 0.0, f32::INFINITY, -1.0]));
                let norm = gpu().engine.create_norm(&descriptor).unwrap();
                let outcome = run_given(gpu(), &norm, &data).unwrap();
                let worst = error(&outcome.output, &data.reference(&descriptor).output);
                assert!(worst.clone().is_ok_and(|e| e < 1e-6), "{kind:?} {format:?} {affine:?}: {worst:?}");
            }
        }
    }
}

/// Runs `steps` training passes with running updates, against the reference.
fn running(kind: NormKind<'_>, shape: &[u64], update: RunningUpdate, single: SingleElement, steps: u64) {
    let gpu = gpu();
    let affine = Affine::None;
    let descriptor = NormDescriptor { affine, single_element: single, ..NormDescriptor::new(kind, shape) };
    let norm = gpu.engine.create_norm(&descriptor).unwrap();
    let channels = norm.given_segment_count() as usize;
    let (mut mean, mut variance) = (vec![0.0; channels], vec![1.0; channels]);
    let (gpu_mean, gpu_variance) = (gpu.buffer(&vec![0.0; channels]), gpu.buffer(&vec![1.0; channels]));
    let batches = gpu.bytes(bytemuck::bytes_of(&0u32));
    let (input, output) = (gpu.buffer(&vec![0.0; norm.len() as usize]), gpu.buffer(&vec![0.0; norm.len() as usize]));
    let (saved, workspace) =
        (gpu.buffer(&vec![0.0; norm.statistics_size() as usize / 4]), norm.create_workspace().unwrap());
    let statistics = BufferView::new(&saved, 0, norm.statistics_size());
    let (from, to) = (TensorView::new(&input, 0, norm.len()), TensorView::new(&output, 0, norm.len()));
    let training = TrainingArgs::new(from, to, statistics).workspace(workspace.as_ref().map(BufferView::whole));
    let running = RunningArgs::new(statistics, TensorView::whole(&gpu_mean), TensorView::whole(&gpu_variance))
        .batches(BufferView::whole(&batches))
        .update(update);
    let bound = [norm.bind_training(&training).unwrap(), norm.bind_running_update(&running).unwrap()];
    for step in 0..steps {
        let data = Data::random(gpu, &descriptor, 10.0 + step as f32, step);
        gpu.queue.write_buffer(&input, 0, bytemuck::cast_slice(&data.input));
        gpu.run(&[&bound[0], &bound[1]]);
        let statistics = data.reference(&descriptor);
        (mean, variance) = update_running(&statistics, norm.segment_len(), (&mean, &variance), update, step);
    }
    let errors = [error(&gpu.read(&gpu_mean), &mean), error(&gpu.read(&gpu_variance), &variance)];
    assert!(errors.iter().all(|e| e.as_ref().is_ok_and(|&e| e < 1e-6)), "{shape:?} {update:?}: {errors:?}");
    // what was not taken in does not count in an average: the next batch is the first
    let averages = update.momentum == Momentum::Cumulative;
    let taken_in = if norm.is_empty() && averages { 0 } else { steps as u32 };
    assert_eq!(gpu.read(&batches)[0].to_bits(), taken_in);
}

#[test]
fn running_statistics_follow_the_formula() {
    for momentum in [
        Momentum::Weight(0.1),
        Momentum::Weight(0.0),
        Momentum::Weight(1.0),
        Momentum::AsGiven(-1.0),
        Momentum::Cumulative,
    ] {
        for variance in [Variance::Biased, Variance::Unbiased] {
            let update = RunningUpdate { momentum, variance };
            running(NormKind::Batch, &[4, 5, 6], update, SingleElement::Refuse, 3);
            running(NormKind::Instance, &[4, 5, 6], update, SingleElement::Refuse, 3);
            running(NormKind::Batch, &[0, 5, 6], update, SingleElement::Refuse, 2);
            running(NormKind::Instance, &[0, 5, 6], update, SingleElement::Refuse, 2);
            running(NormKind::Instance, &[2, 5, 0], update, SingleElement::Refuse, 2);
        }
    }
    running(NormKind::Instance, &[130, 3, 5], RunningUpdate::default(), SingleElement::Refuse, 2);
    running(NormKind::Batch, &[1, 3], RunningUpdate::default(), SingleElement::Allow, 1);
}
