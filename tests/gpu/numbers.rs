//! Hard numbers: constants, large means, NaN and infinity, tiny and huge values.

use crate::harness::*;
use wgpu_norm::*;

/// Every schedule of a few shapes that take different kernels.
fn each_schedule(affine: Affine, mut check: impl FnMut(&NormDescriptor<'_>, Norm, &str)) {
    let shapes: [(NormKind<'static>, &[u64], MemoryFormat); 4] = [
        (NormKind::Layer { axes: 1..2 }, &[4, 150], MemoryFormat::ChannelsFirst),
        (NormKind::Batch, &[3, 4, 50], MemoryFormat::ChannelsFirst),
        (NormKind::Instance, &[2, 70, 4], MemoryFormat::ChannelsLast),
        (NormKind::Group { groups: 2 }, &[2, 40, 6], MemoryFormat::ChannelsLast),
    ];
    for (kind, shape, format) in shapes {
        let descriptor = NormDescriptor { format, affine, ..NormDescriptor::new(kind, shape) };
        for schedule in gpu().engine.schedules(&descriptor).unwrap() {
            let norm = gpu().engine.create_norm_with(&descriptor, schedule).unwrap().unwrap();
            check(&descriptor, norm, &format!("{:?} {schedule}", descriptor.kind));
        }
    }
}

#[test]
fn a_constant_gives_exactly_the_bias() {
    each_schedule(Affine::ScaleAndBias, |descriptor, norm, name| {
        for constant in [0.1, -1e-3, 1e4, 3e7] {
            let mut data = Data::random(gpu(), descriptor, 0.0, 1);
            data.input.fill(constant);
            let expected: Vec<f32> = data.reference(descriptor).output.iter().map(|&y| y as f32).collect();
            assert_eq!(run_training(gpu(), &norm, &data).unwrap().output, expected, "{name} constant {constant}");
        }
    });
}

#[test]
fn large_means_and_tiny_variances_keep_six_digits() {
    each_schedule(Affine::None, |descriptor, norm, name| {
        for (mean, spread) in [(1e6f32, 1.0f32), (-1e5, 1.0), (1e6, 0.25), (1.0, 1e-6), (0.0, 1e-15), (1e3, 1e-3)] {
            let descriptor = NormDescriptor { eps: Epsilon::InsideRoot(1e-30), ..descriptor.clone() };
            let norm = gpu().engine.create_norm_with(&descriptor, norm.schedule()).unwrap().unwrap();
            let mut data = Data::random(gpu(), &descriptor, 0.0, 2);
            data.input.iter_mut().for_each(|x| *x = mean + *x * spread);
            let worst = error(&run_training(gpu(), &norm, &data).unwrap().output, &data.reference(&descriptor).output);
            assert!(worst.clone().is_ok_and(|e| e <= 1e-6), "{name} mean {mean} spread {spread}: {worst:?}");
        }
    });
}

#[test]
fn what_is_not_finite_poisons_its_segment_and_no_other() {
    each_schedule(Affine::ScaleAndBias, |descriptor, norm, name| {
        for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in [0, 1, 77, 299] {
                let mut data = Data::random(gpu(), descriptor, 0.0, 3);
                data.input[place] = poison;
                let expected = data.reference(descriptor).output;
                assert!(expected.iter().any(|y| y.is_nan()) && expected.iter().any(|y| y.is_finite()));
                let worst = error(&run_training(gpu(), &norm, &data).unwrap().output, &expected);
                assert!(worst.clone().is_ok_and(|e| e <= 2e-6), "{name} {poison} at {place}: {worst:?}");
            }
        }
    });
}

/// In PyTorch's order, `x * alpha + (bias - mean * alpha)`, both products of positive numbers are infinite.
#[test]
fn an_infinite_scale_is_folded_with_the_mean_by_every_map() {
    let kinds = [NormKind::Batch, NormKind::Instance, NormKind::Group { groups: 2 }];
    for (kind, plane) in kinds.into_iter().flat_map(|kind| [5, 49, 1200].map(|plane| (kind.clone(), plane))) {
        for format in [MemoryFormat::ChannelsFirst, MemoryFormat::ChannelsLast] {
            let first = format == MemoryFormat::ChannelsFirst;
            let shape = if first { [3, 8, plane] } else { [3, plane, 8] };
            let descriptor = NormDescriptor { format, ..NormDescriptor::new(kind.clone(), &shape) };
            let mut data = Data::random(gpu(), &descriptor, 20.0, 6);
            data.scale.as_mut().unwrap()[1] = f32::INFINITY;
            let expected = data.reference(&descriptor).output;
            assert_eq!(expected.iter().filter(|y| y.is_nan()).count() as u64, 3 * plane);
            for schedule in gpu().engine.schedules(&descriptor).unwrap() {
                let norm = gpu().engine.create_norm_with(&descriptor, schedule).unwrap().unwrap();
                let worst = error(&run_training(gpu(), &norm, &data).unwrap().output, &expected);
                assert!(worst.clone().is_ok_and(|e| e <= 2e-6), "{kind:?} {plane} {format:?} {schedule}: {worst:?}");
            }
        }
    }
}

/// Where the mean is no part of the norm, an infinity leaves 0 and NaN, a NaN only NaN.
#[test]
fn uncentred_norms_keep_nan_and_infinity_apart() {
    for kind in [1.0, 2.0, 1.5, f32::INFINITY]
        .map(|p| NormKind::LpNormalize { p, axes: 1..2 })
        .into_iter()
        .chain([NormKind::Rms { axes: 1..2 }])
    {
        let descriptor = NormDescriptor { affine: Affine::None, ..NormDescriptor::new(kind, &[3, 37]) };
        for poison in [f32::NAN, f32::INFINITY] {
            let mut data = Data::random(gpu(), &descriptor, 0.0, 4);
            data.input[40] = poison;
            let norm = gpu().engine.create_norm(&descriptor).unwrap();
            let worst = error(&run_training(gpu(), &norm, &data).unwrap().output, &data.reference(&descriptor).output);
            assert!(worst.clone().is_ok_and(|e| e <= 2e-6), "{:?} {poison}: {worst:?}", descriptor.kind);
        }
    }
}

#[test]
fn a_zero_vector_has_zero_as_its_direction() {
    for p in [0.5, 1.0, 2.0, f32::INFINITY] {
        let eps = Epsilon::InsideRoot(0.0);
        let descriptor =
            NormDescriptor { eps, ..NormDescriptor::new(NormKind::LpNormalize { p, axes: 1..2 }, &[2, 5]) };
        let data = Data { input: [vec![0.0; 5], vec![1.0, -2.0, 3.0, 0.0, 0.5]].concat(), ..Data::default() };
        let norm = gpu().engine.create_norm(&descriptor).unwrap();
        let output = run_training(gpu(), &norm, &data).unwrap().output;
        assert_eq!(output[..5], [0.0; 5], "p {p}");
        assert!(error(&output, &data.reference(&descriptor).output).unwrap() < 1e-6, "p {p}");
    }
}

#[test]
fn two_runs_have_the_same_bits() {
    let descriptor = NormDescriptor::new(NormKind::Layer { axes: 0..1 }, &[200_003]);
    let data = Data::random(gpu(), &descriptor, 5.0, 5);
    for schedule in gpu().engine.schedules(&descriptor).unwrap() {
        let norm = gpu().engine.create_norm_with(&descriptor, schedule).unwrap().unwrap();
        let [a, b] = [(); 2].map(|()| run_training(gpu(), &norm, &data).unwrap());
        let bits =
            |o: &Outcome| [&o.output, &o.mean, &o.variance].map(|v| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
        assert_eq!(bits(&a), bits(&b), "{schedule}");
    }
}
