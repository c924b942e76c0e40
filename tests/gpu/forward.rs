//! One table of norms x every family of schedules that accepts them, against the f64 reference.

use crate::harness::*;
use wgpu_norm::*;
use wgpu_norm_tools::tier;

const NONE: Affine = Affine::None;
const BOTH: Affine = Affine::ScaleAndBias;

/// Shapes with widths mod 4 = 0..3, primes, ones, and more segments than a grid's dimension.
pub fn table() -> Vec<NormDescriptor<'static>> {
    use MemoryFormat::{ChannelsFirst, ChannelsLast};
    let mut all = Vec::new();
    let mut add = |kind: NormKind<'static>, shape: &'static [u64], format, affine| {
        all.push(NormDescriptor { format, affine, ..NormDescriptor::new(kind, shape) });
    };
    let channelwise: [(&[u64], _); 10] = [
        (&[3, 5, 7], ChannelsFirst),
        (&[2, 8, 4, 4], ChannelsFirst),
        (&[2, 4, 5, 7, 3], ChannelsFirst),
        (&[16, 6], ChannelsFirst),
        (&[4, 32, 64], ChannelsFirst),
        (&[3, 7, 6], ChannelsLast),
        (&[2, 5, 3, 8], ChannelsLast),
        (&[130, 3, 2], ChannelsFirst),
        (&[9, 6, 7], ChannelsFirst),
        (&[2, 50, 40, 12], ChannelsLast),
    ];
    for (shape, format) in channelwise {
        add(NormKind::Batch, shape, format, BOTH);
        if shape.len() > 2 {
            add(NormKind::Instance, shape, format, BOTH);
            add(NormKind::Instance, shape, format, NONE);
        }
        let channels = if format == ChannelsFirst { shape[1] } else { shape[shape.len() - 1] };
        // one group is a layer norm, groups of one channel an instance norm
        for groups in (2..channels).filter(|g| channels % g == 0) {
            add(NormKind::Group { groups }, shape, format, BOTH);
        }
    }
    for cols in [1, 2, 3, 5, 63, 64, 127, 1021, 1024, 4099] {
        let shape: &'static [u64] = Box::leak(Box::new([5, cols]));
        add(NormKind::Layer { axes: 1..2 }, shape, ChannelsFirst, BOTH);
        if cols % 3 != 0 {
            add(NormKind::Rms { axes: 1..2 }, shape, ChannelsFirst, Affine::Scale);
        }
    }
    // groups of whole vectors, in planes that start inside them
    add(NormKind::Group { groups: 2 }, &[1, 16, 66], ChannelsFirst, BOTH);
    // odd rows, which share vectors
    add(NormKind::Layer { axes: 1..2 }, &[72, 517], ChannelsFirst, BOTH);
    add(NormKind::Layer { axes: 1..2 }, &[70_001, 3], ChannelsFirst, BOTH);
    add(NormKind::Layer { axes: 0..1 }, &[150_000], ChannelsFirst, BOTH);
    add(NormKind::Layer { axes: 1..3 }, &[3, 5, 7], ChannelsFirst, Affine::Bias);
    add(NormKind::Layer { axes: 1..2 }, &[3, 5, 7, 2], ChannelsFirst, BOTH);
    add(NormKind::Rms { axes: 1..2 }, &[3, 9, 4], ChannelsFirst, BOTH);
    add(NormKind::Layer { axes: 0..8 }, &[2, 1, 3, 2, 1, 2, 2, 3], ChannelsFirst, BOTH);
    add(NormKind::MeanVariance { axes: &[0, 2, 3] }, &[3, 4, 5, 2], ChannelsFirst, NONE);
    add(NormKind::MeanVariance { axes: &[1, 2] }, &[3, 4, 5, 2], ChannelsFirst, NONE);
    for p in [0.5, 1.0, 1.2, 2.0, 3.0, 7.5, f32::INFINITY] {
        add(NormKind::LpNormalize { p, axes: 1..2 }, &[4, 37, 3], ChannelsFirst, NONE);
    }
    for p in [1.0, 1.2, f32::INFINITY] {
        add(NormKind::LpNormalize { p, axes: 1..2 }, &[4, 150], ChannelsFirst, NONE);
    }
    add(NormKind::LpNormalize { p: 3.0, axes: 0..1 }, &[], ChannelsFirst, NONE);
    all.push(NormDescriptor {
        affine_axes: AffineAxes::Groups,
        ..NormDescriptor::new(NormKind::Group { groups: 3 }, &[2, 6, 5])
    });
    all.push(NormDescriptor {
        affine_axes: AffineAxes::Axes(&[0, 2]),
        ..NormDescriptor::new(NormKind::Layer { axes: 2..3 }, &[2, 3, 5])
    });
    all
}

#[test]
fn every_norm_and_family_of_schedules_matches_the_reference() {
    let gpu = gpu();
    let (mut failures, mut cases) = (Vec::new(), 0);
    for (seed, descriptor) in tier::some(table().iter().enumerate()) {
        for mean in [0.0, 1e4] {
            let data = Data::random(gpu, descriptor, mean, seed as u64);
            let expected = data.reference(descriptor);
            for schedule in families(gpu.engine.schedules(descriptor).unwrap()) {
                cases += 1;
                let norm = gpu.engine.create_norm_with(descriptor, schedule).unwrap().expect("its own schedules");
                let name = format!("{:?} {:?} mean {mean} {schedule}", descriptor.kind, descriptor.shape);
                let outcome = match run_training(gpu, &norm, &data) {
                    Ok(outcome) => outcome,
                    Err(error) => {
                        failures.push(format!("{name}: {error}"));
                        continue;
                    }
                };
                let tolerance = tolerance(norm.segment_len());
                match error(&outcome.output, &expected.output) {
                    Ok(worst) if worst <= tolerance => {}
                    Ok(worst) => failures.push(format!("{name}: error {worst:.2e} over {tolerance:.2e}")),
                    Err(place) => failures.push(format!("{name}: {place}")),
                }
            }
        }
    }
    all_or_report("norms", &failures, cases);
}
