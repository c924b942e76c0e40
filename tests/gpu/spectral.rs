//! Spectral norm against the f64 reference.

use crate::halves::*;
use crate::harness::*;
use wgpu_norm::reference::{SpectralOrder, SpectralReference, spectral, spectral_backward};
use wgpu_norm::*;
use wgpu_norm_tools::elements::rounded;
use wgpu_norm_tools::tier;

fn values(len: usize, seed: u64, spread: f32) -> Vec<f32> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| spread * (rng.f32() * 2.0 - 1.0)).collect()
}

type Case<'a> = (&'a [u64], usize, PowerIterations, PowerOrder, f32);

fn check((shape, dim, iterations, order, spread): Case<'_>, types: Types) {
    let gpu = gpu();
    let descriptor = SpectralDescriptor { dim, order, types, ..SpectralDescriptor::new(shape) };
    let norm = gpu.engine.create_spectral_norm(&descriptor).unwrap();
    let n = norm.len() as usize;
    let weight = rounded(&values(n, 1, spread), types.input);
    let dy = rounded(&values(n, 2, 1.0), types.grad_output);
    let (u, v) = (values(norm.rows() as usize, 3, 0.5), values(norm.columns() as usize, 4, 0.5));
    let (w, gdy) = (Lone::new(gpu, types.input, &weight), Lone::new(gpu, types.grad_output, &dy));
    let [gu, gv] = [&u, &v].map(|values| Lone::new(gpu, Element::F32, values));
    let (output, grad) = (Lone::empty(gpu, types.output, n), Lone::empty(gpu, types.grad_input, n));
    let sigma = Lone::empty(gpu, Element::F32, 1);
    let workspace = norm.create_workspace().unwrap().expect("a workspace");
    let vectors = (shape.len() > 1).then(|| (gu.view(), gv.view()));
    let workspace = BufferView::whole(&workspace);
    let mut args = SpectralArgs::new(w.view(), output.view(), sigma.view(), workspace);
    (args.vectors, args.iterations) = (vectors, iterations);
    let forward = norm.bind_forward(&args).unwrap();
    let mut args = SpectralBackwardArgs::new(w.view(), gdy.view(), grad.view(), sigma.view(), workspace);
    args.vectors = vectors;
    let backward = norm.bind_backward(&args).unwrap();
    gpu.run(&[&forward, &backward]);
    let count = if let PowerIterations::Count(count) = iterations { count } else { 0 };
    let order = if order == PowerOrder::UThenV { SpectralOrder::UThenV } else { SpectralOrder::VThenU };
    let case = SpectralReference { weight: &weight, shape, dim, u: &u, v: &v, iterations: count, order, eps: 1e-12 };
    let expected = spectral(&case).unwrap();
    let gradient = spectral_backward(&case, &expected, &dy).unwrap();
    let mut results = vec![
        ("sigma", Element::F32, sigma, vec![expected.sigma]),
        ("output", types.output, output, expected.output),
        ("gradient", types.grad_input, grad, gradient),
    ];
    if vectors.is_some() {
        results.push(("u", Element::F32, gu, expected.u));
        results.push(("v", Element::F32, gv, expected.v));
    }
    for (name, element, actual, expected) in results {
        let close = is_close(&actual.read(gpu), &expected, element, 2e-6);
        assert!(close.is_ok(), "{shape:?} dim {dim} {iterations:?} {order:?} {types:?} {name}: {close:?}");
    }
}

#[test]
fn spectral_norm_matches_the_reference() {
    let check = |case: Case<'_>| check(case, Types::default());
    let weights: [(&[u64], usize, f32); 5] =
        [(&[8, 12], 0, 1.0), (&[7, 3, 5], 0, 1.0), (&[7, 3, 5], 1, 1.0), (&[40, 300], 0, 1e25), (&[3, 1000], 1, 1e-10)];
    let ways = [PowerOrder::UThenV, PowerOrder::VThenU].into_iter().flat_map(|order| {
        [PowerIterations::Count(1), PowerIterations::Count(15), PowerIterations::Frozen].map(|count| (order, count))
    });
    let all = ways.flat_map(|way| weights.map(|weight| (way, weight)));
    for ((order, iterations), (shape, dim, spread)) in tier::some(all) {
        check((shape, dim, iterations, order, spread));
    }
    check((&[37], 0, PowerIterations::Count(1), PowerOrder::UThenV, 3.0));
    check((&[5], 0, PowerIterations::Frozen, PowerOrder::UThenV, 1e25));
}

/// Vectors and sigma stay f32.
#[test]
fn weights_of_16_bits_match_the_reference() {
    let mixed = Types::tensors(Element::F16).output(Element::F32).grad_input(Element::Bf16);
    let weights = [
        (&[7, 3, 5][..], 0, PowerIterations::Count(1)),
        (&[7, 3, 5], 1, PowerIterations::Frozen),
        (&[40, 300], 0, PowerIterations::Count(2)),
        (&[37], 0, PowerIterations::Frozen),
    ];
    let all = [Types::all(Element::Bf16), Types::all(Element::F16), mixed];
    let all = all.into_iter().flat_map(|types| weights.map(|weight| (types, weight)));
    for (types, (shape, dim, iterations)) in tier::some(all) {
        check((shape, dim, iterations, PowerOrder::UThenV, 1.0), types);
    }
}

#[test]
fn spectral_mistakes_are_typed() {
    let engine = &gpu().engine;
    let plan = |shape: &[u64], dim, eps| {
        engine.create_spectral_norm(&SpectralDescriptor { dim, eps, ..SpectralDescriptor::new(shape) }).map(|_| ())
    };
    assert!(matches!(plan(&[], 0, 0.0), Err(PlanError::RankTooLow { kind: "spectral", .. })));
    assert!(matches!(plan(&[2, 3], 2, 0.0), Err(PlanError::AxesOutOfRange { .. })));
    assert!(matches!(plan(&[2, 3], 0, -1.0), Err(PlanError::Epsilon { .. })));
    let norm = engine.create_spectral_norm(&SpectralDescriptor::new(&[2, 3])).unwrap();
    let buffer = gpu().buffer(&vec![1.0; 64 + norm.workspace_size() as usize / 4]);
    let view = |at: u64, len: u64| TensorView::new(&buffer, 4 * at, len);
    let workspace = BufferView::new(&buffer, 256, norm.workspace_size());
    let without = |len| SpectralArgs::new(view(0, len), Destination::InPlace, view(16, 1), workspace);
    let with = |len, count| without(len).vectors(view(8, 2), view(12, 3), PowerIterations::Count(count));
    let bind = |args: &SpectralArgs<&wgpu::Buffer>| norm.bind_forward(args).map(|_| ());
    assert_eq!(bind(&with(6, 1)), Ok(()));
    for count in [0, MAX_POWER_ITERATIONS + 1, u32::MAX] {
        let refused = BindError::PowerIterations { count, max: MAX_POWER_ITERATIONS };
        assert_eq!(bind(&with(6, count)), Err(refused));
    }
    assert_eq!(bind(&without(6)), Err(BindError::Missing { operand: Operand::SingularVectors }));
    let length = BindError::Length { operand: Operand::Weight, expected: 6, actual: 5 };
    assert_eq!(bind(&with(5, 1)), Err(length));
}
