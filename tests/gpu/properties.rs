//! Random shapes, kinds, formats and wanted gradients against the f64 reference; its own gradients are held against
//! finite differences in `src/reference`.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::backward::{Wanted, compare, grad_output, run_backward};
use crate::harness::*;
use wgpu_norm::*;
use wgpu_norm_tools::tier;

/// A kind as numbers, to be made into a descriptor once the shape is known.
#[derive(Clone, Debug)]
struct Case {
    kind: usize,
    shape: Vec<u64>,
    split: (usize, usize),
    last: bool,
    affine: Affine,
    wanted: [bool; 3],
    mean: f32,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let affine = prop_oneof![Just(Affine::None), Just(Affine::Scale), Just(Affine::Bias), Just(Affine::ScaleAndBias)];
    let shape = prop::collection::vec(1u64..14, 2..5);
    let mean = prop_oneof![Just(0.0f32), Just(100.0), Just(-1e4)];
    (0usize..6, shape, (0usize..4, 0usize..4), any::<bool>(), affine, any::<[bool; 3]>(), mean, any::<u64>()).prop_map(
        |(kind, shape, split, last, affine, wanted, mean, seed)| Case {
            kind,
            shape,
            split,
            last,
            affine,
            wanted,
            mean,
            seed,
        },
    )
}

fn descriptor(case: &Case) -> NormDescriptor<'_> {
    let rank = case.shape.len();
    let format = if case.last { MemoryFormat::ChannelsLast } else { MemoryFormat::ChannelsFirst };
    let channels = if case.last { case.shape[rank - 1] } else { case.shape[1] };
    let (a, b) = (case.split.0 % rank, case.split.1 % rank);
    let axes = a.min(b)..a.max(b) + 1;
    let kind = match case.kind {
        0 => NormKind::Batch,
        1 => NormKind::Instance,
        2 => NormKind::Group { groups: (1..=channels).rev().find(|g| channels % g == 0 && *g <= 3).unwrap_or(1) },
        3 => NormKind::Layer { axes },
        4 => NormKind::Rms { axes },
        _ => NormKind::Weight { dim: Some(a) },
    };
    let affine = if case.kind == 5 { Affine::Scale } else { case.affine };
    let norm = NormDescriptor::new(kind, &case.shape);
    let eps = if case.kind == 5 { norm.eps } else { Epsilon::InsideRoot(1e-5) };
    NormDescriptor { format, affine, eps, single_element: SingleElement::Allow, ..norm }
}

#[test]
fn random_norms_match_the_reference_forward_and_backward() {
    let config = Config { cases: tier::some(0..64).count() as u32, failure_persistence: None, ..Config::default() };
    let mut runner =
        TestRunner::new_with_rng(config, proptest::test_runner::TestRng::deterministic_rng(Default::default()));
    runner
        .run(&cases(), |case| {
            let descriptor = descriptor(&case);
            let norm = match gpu().engine.create_norm(&descriptor) {
                Ok(norm) => norm,
                Err(PlanError::AxesInterleave { .. }) => return Err(TestCaseError::reject("interleaved axes")),
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            };
            let data = Data::random(gpu(), &descriptor, case.mean, case.seed);
            let fail =
                |what: String| TestCaseError::fail(format!("{:?} {:?}: {what}", descriptor.kind, descriptor.affine));
            let outcome = run_training(gpu(), &norm, &data).map_err(|e| fail(e.to_string()))?;
            let worst = error(&outcome.output, &data.reference(&descriptor).output).map_err(fail)?;
            prop_assert!(worst < 2e-6, "forward {:?}: {worst:e}", descriptor.kind);
            let [input, scale, bias] = case.wanted;
            let (scale, bias) = (scale && descriptor.affine.has_scale(), bias && descriptor.affine.has_bias());
            let wanted = Wanted { input, scale, bias };
            if wanted == Wanted::default() || norm.segment_len() < 3 {
                return Ok(());
            }
            let dy = grad_output(data.input.len(), case.seed % 1000);
            let gradients = run_backward(gpu(), &norm, &data, &dy, wanted).map_err(|e| fail(e.to_string()))?;
            let worst = compare(&descriptor, &data, &dy, &gradients).map_err(fail)?;
            prop_assert!(worst < 1e-5, "backward {:?} {wanted:?}: {worst:e}", descriptor.kind);
            Ok(())
        })
        .unwrap();
}
