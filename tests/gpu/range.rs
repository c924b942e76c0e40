//! The whole range of f32: huge and tiny numbers, gradients and parameters, denormals, orders of any sign.

use crate::backward::{Wanted, run_backward};
use crate::harness::*;
use wgpu_norm::reference::{self, ReferenceInputs};
use wgpu_norm::*;
use wgpu_norm_tools::tier;

/// Shapes whose schedules take every kernel.
fn descriptors() -> Vec<NormDescriptor<'static>> {
    let of = |kind, shape, format| NormDescriptor { format, ..NormDescriptor::new(kind, shape) };
    let (first, last) = (MemoryFormat::ChannelsFirst, MemoryFormat::ChannelsLast);
    let p =
        |p| NormDescriptor { affine: Affine::Scale, ..of(NormKind::LpNormalize { p, axes: 1..2 }, &[3, 148], first) };
    let mut all = vec![
        of(NormKind::Layer { axes: 1..2 }, &[4, 148], first),
        of(NormKind::Layer { axes: 1..2 }, &[5, 37], first),
        of(NormKind::Rms { axes: 1..2 }, &[4, 148], first),
        of(NormKind::Batch, &[3, 4, 52], first),
        of(NormKind::Batch, &[40, 8], last),
        of(NormKind::Instance, &[2, 70, 4], last),
        of(NormKind::Group { groups: 2 }, &[2, 4, 36], first),
        of(NormKind::Group { groups: 2 }, &[2, 40, 6], last),
        of(NormKind::Layer { axes: 0..1 }, &[60, 5], first),
        of(NormKind::Weight { dim: Some(0) }, &[6, 40], first),
    ];
    all.extend([1.0, 2.0, 3.0, f32::INFINITY].map(p));
    // eps stands where it makes nothing of what is tiny
    let strict = all.clone().into_iter().map(|d| {
        let eps = match d.kind {
            NormKind::LpNormalize { .. } => Epsilon::Minimum(0.0),
            NormKind::Batch => Epsilon::AsGiven(1e-38),
            _ => Epsilon::InsideRoot(0.0),
        };
        NormDescriptor { eps, ..d }
    });
    let strict: Vec<_> = strict.collect();
    all.extend(strict);
    all
}

/// Largest error beyond what a denormal result may be off by.
fn worst(actual: &[f32], expected: &[f64], unit: f64, denormal: f64) -> Result<f64, String> {
    let mut worst = 0.0f64;
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let rounded = e as f32;
        if !a.is_finite() || !rounded.is_finite() {
            // what is about the largest float may be rounded to infinity
            let same = a == rounded || a.is_nan() && rounded.is_nan();
            let edge = e.abs() > 3.402e38 && e.abs() < 3.404e38 && f64::from(a).signum() == e.signum() && !a.is_nan();
            if !same && !edge {
                return Err(format!("element {i}: {a}, expected {e}"));
            }
            continue;
        }
        let error = ((f64::from(a) - e).abs() - denormal).max(0.0);
        worst = worst.max(error / unit);
    }
    Ok(worst)
}

/// What is multiplied with random inputs, gradients and scales.
const FACTORS: [[f32; 3]; 18] = [
    [1.0, 1.0, 1.0],
    [1e38, 1.0, 1.0],
    [1e30, 1.0, 1.0],
    [1e-30, 1.0, 1.0],
    [1e-37, 1.0, 1.0],
    [1e-40, 1.0, 1.0],
    [1.0, 1e37, 1.0],
    [1.0, 1e-30, 1.0],
    [1.0, 1e-37, 1.0],
    [1.0, 1e-40, 1.0],
    [1.0, 1.0, 1e-30],
    [1.0, 1.0, 1e30],
    [1e30, 1e30, 1.0],
    [1e-30, 1e-30, 1.0],
    [1e-20, 1e-20, 1e-20],
    [1e20, 1e-30, 1e30],
    [1e-20, 1e20, 1e-20],
    [1e35, 1e35, 1.0],
];

/// The magnitude of the terms of each gradient: of sums that cancel, and of the difference that the gradient to the
/// input is.
fn units(d: &NormDescriptor<'_>, data: &Data, dy: &[f32]) -> [f64; 3] {
    let scale: Vec<f64> = data.scale.iter().flatten().map(|&x| f64::from(x)).collect();
    let bias: Vec<f64> = data.bias.iter().flatten().map(|&x| f64::from(x)).collect();
    let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    let input = wide(&data.input);
    let inputs = ReferenceInputs {
        input: &input,
        scale: data.scale.as_ref().map(|_| &scale[..]),
        bias: data.bias.as_ref().map(|_| &bias[..]),
        given: None,
    };
    let largest = |values: &[f64]| values.iter().filter(|x| x.is_finite()).fold(0.0f64, |m, x| m.max(x.abs()));
    let forward = reference::forward(d, &inputs).unwrap();
    let plain = NormDescriptor { affine: Affine::None, ..d.clone() };
    let bare = ReferenceInputs { scale: None, bias: None, ..inputs };
    let x_hat = reference::forward(&plain, &bare).unwrap().output;
    // dy * x_hat and dy, without their signs, as gradients to a bias
    let summed = |terms: Vec<f64>| {
        let len = data.scale.as_ref().or(data.bias.as_ref()).map_or(0, Vec::len);
        let zeros = vec![0.0; len];
        let bias_only = NormDescriptor { affine: Affine::Bias, ..d.clone() };
        let inputs = ReferenceInputs { scale: None, bias: Some(&zeros), ..inputs };
        if len == 0 { 0.0 } else { largest(&reference::backward(&bias_only, &inputs, &terms).unwrap().bias) }
    };
    let products = dy.iter().zip(&x_hat).map(|(&g, &x)| (f64::from(g) * x).abs()).collect();
    let smallest = forward.variance.iter().filter(|x| **x > 0.0).fold(f64::INFINITY, |m, &x| m.min(x));
    let is_norm = matches!(d.kind, NormKind::LpNormalize { .. } | NormKind::Weight { .. });
    let eps = match d.eps {
        Epsilon::InsideRoot(eps) | Epsilon::AsGiven(eps) => f64::from(eps),
        Epsilon::Machine => f64::from(f32::EPSILON),
        _ => 0.0,
    };
    let minimum = if let Epsilon::Minimum(eps) = d.eps { f64::from(eps) } else { 0.0 };
    let divisor = if is_norm { smallest.max(minimum) } else { (smallest + eps).sqrt() };
    let terms = largest(&wide(dy)) * scale.iter().fold(0.0f64, |m, x| m.max(x.abs())) / divisor;
    [terms, summed(products), summed(wide(dy).into_iter().map(f64::abs).collect())]
}

#[test]
fn results_are_right_over_the_whole_range() {
    let (mut failures, mut cases) = (Vec::new(), 0);
    // one rounding, where the adapter keeps what is denormal; else the smallest number that is none, of each of the few
    // partial sums that a sum is made of
    let keeps = keeps_denormals(gpu());
    let denormal = if keeps { 0.75e-45 } else { 8.0 * f64::from(f32::MIN_POSITIVE) };
    for (number, descriptor) in tier::some(descriptors().iter().enumerate()) {
        let engine = &gpu().engine;
        let random = Data::random(gpu(), descriptor, 0.0, number as u64);
        let unscaled = values(&mut fastrand::Rng::with_seed(7), random.input.len() as u64, 0.1, 1.0);
        for factors in FACTORS.into_iter().filter(|factors| keeps || factors.iter().all(|f| f.is_normal())) {
            let times = |values: &[f32], factor: f32| {
                let normal = |x: f32| if keeps || x.is_normal() { x } else { 0.0 };
                values.iter().map(|x| normal(x * factor)).collect::<Vec<_>>()
            };
            let data = Data {
                input: times(&random.input, factors[0]),
                scale: random.scale.as_ref().map(|scale| times(scale, factors[2])),
                ..random.clone()
            };
            let dy = times(&unscaled, factors[1]);
            let name = |schedule: &str| format!("{:?} {:?} {factors:?} {schedule}", descriptor.kind, descriptor.eps);
            let expected = data.reference(descriptor).output;
            let unit = expected.iter().filter(|e| e.is_finite()).fold(0.0f64, |m, e| m.max(e.abs()));
            for schedule in families(engine.schedules(descriptor).unwrap()) {
                let norm = engine.create_norm_with(descriptor, schedule).unwrap().unwrap();
                let found = worst(&run_training(gpu(), &norm, &data).unwrap().output, &expected, unit, denormal);
                cases += 1;
                if !found.clone().is_ok_and(|e| e <= 2e-6) {
                    failures.push(format!("{}: {found:?}", name(&schedule.to_string())));
                }
            }
            let norm = engine.create_norm(descriptor).unwrap();
            let wanted =
                Wanted { input: true, scale: descriptor.affine.has_scale(), bias: descriptor.affine.has_bias() };
            let inputs = ReferenceInputs {
                input: &data.input,
                scale: data.scale.as_deref(),
                bias: data.bias.as_deref(),
                given: None,
            };
            let gradients = reference::backward(descriptor, &inputs, &dy).unwrap();
            let units = units(descriptor, &data, &dy);
            // a GPU walks no column a second time (ARCHITECTURE, "The whole range"): products that it flushes are lost
            let terms = data.input.len() / data.scale.as_ref().map_or(1, Vec::len).max(1);
            let once = !keeps && engine.profile().kind == DeviceKind::Gpu;
            let lost = if once { terms as f64 * f64::from(f32::MIN_POSITIVE) } else { denormal };
            for schedule in families(norm.backward_schedules()) {
                let norm = norm.with_backward_schedule(schedule).unwrap();
                let found = run_backward(gpu(), &norm, &data, &dy, wanted).unwrap();
                cases += 1;
                for (k, expected) in [&gradients.input, &gradients.scale, &gradients.bias].into_iter().enumerate() {
                    if found[k].is_empty() {
                        continue;
                    }
                    let found =
                        worst(&found[k], expected, units[k], if k == 0 { denormal } else { lost.max(denormal) });
                    if !found.clone().is_ok_and(|e| e <= 2e-6) {
                        failures.push(format!("{} gradient {k}: {found:?}", name(&schedule.to_string())));
                    }
                }
            }
        }
    }
    all_or_report("the whole range", &failures, cases);
}

/// Norms of any order, forward and backward, as PyTorch's `normalize` computes them: numbers, zeros, a NaN.
#[test]
fn orders_are_any_number() {
    const ORDERS: [f32; 12] =
        [0.0, -1.0, -0.5, -2.0, -3.7, f32::NEG_INFINITY, 1e-40, -1e-40, 1e10, -1e10, 3e38, f32::INFINITY];
    let (mut failures, mut cases) = (Vec::new(), 0);
    let shapes: [(&[u64], std::ops::Range<usize>); 3] = [(&[5, 37], 1..2), (&[4, 148], 1..2), (&[60, 5], 0..1)];
    let all = ORDERS.iter().flat_map(|p| shapes.iter().map(move |case| (*p, case.clone())));
    for (p, (shape, axes)) in tier::some(all) {
        for eps in [1e-12, 0.0, 0.5] {
            let kind = NormKind::LpNormalize { p, axes: axes.clone() };
            let descriptor = NormDescriptor { eps: Epsilon::Minimum(eps), ..NormDescriptor::new(kind, shape) };
            let mut data = Data::random(gpu(), &descriptor, 0.0, 3);
            let (rows, apart) = if axes.start == 1 { (shape[1] as usize, 1) } else { (1, shape[1] as usize) };
            let place = |segment: usize, k: usize| segment * rows + k * apart;
            // a zero in one segment, zeros in another, a NaN in a third
            data.input[place(1, 7)] = 0.0;
            (0..shape[axes.start] as usize).for_each(|k| data.input[place(2, k)] = 0.0);
            data.input[place(3, 2)] = f32::NAN;
            let dy = values(&mut fastrand::Rng::with_seed(5), data.input.len() as u64, 0.1, 1.0);
            let largest = |values: &[f64]| {
                let finite = values.iter().filter(|x| (**x as f32).is_finite());
                finite.fold(0.0f64, |m, x| m.max(x.abs())).max(f64::from(f32::MIN_POSITIVE))
            };
            let name = |schedule: &str| format!("p {p} eps {eps} {shape:?} {schedule}");
            let expected = data.reference(&descriptor).output;
            let engine = &gpu().engine;
            for schedule in families(engine.schedules(&descriptor).unwrap()) {
                let norm = engine.create_norm_with(&descriptor, schedule).unwrap().unwrap();
                let output = run_training(gpu(), &norm, &data).unwrap().output;
                let found = worst(&output, &expected, largest(&expected), f64::from(f32::MIN_POSITIVE));
                cases += 1;
                if !found.clone().is_ok_and(|e| e <= 2e-6) {
                    failures.push(format!("{}: {found:?}", name(&schedule.to_string())));
                }
            }
            let inputs = ReferenceInputs { input: &data.input, ..Default::default() };
            let expected = reference::backward(&descriptor, &inputs, &dy).unwrap().input;
            let norm = engine.create_norm(&descriptor).unwrap();
            let wanted = Wanted { input: true, ..Wanted::default() };
            // of the smallest positive order the norm is infinite: the formula gives NaN, the device the 0 that it
            // tends to
            let schedules = if p == 1e-40 { Vec::new() } else { norm.backward_schedules() };
            for schedule in families(schedules) {
                let norm = norm.with_backward_schedule(schedule).unwrap();
                let found = &run_backward(gpu(), &norm, &data, &dy, wanted).unwrap()[0];
                let found = worst(found, &expected, largest(&expected), f64::from(f32::MIN_POSITIVE));
                cases += 1;
                if !found.clone().is_ok_and(|e| e <= 5e-6) {
                    failures.push(format!("{}: {found:?}", name(&schedule.to_string())));
                }
            }
        }
    }
    all_or_report("orders of norms", &failures, cases);
}

/// Divisors that overflow, and differences that do, where the quotient is ordinary.
#[test]
fn quotients_of_what_overflows_are_ordinary() {
    let lp = |p| NormKind::LpNormalize { p, axes: 1..2 };
    type Case = (NormKind<'static>, Epsilon, [f32; 2], [f32; 2]);
    let root = std::f32::consts::FRAC_1_SQRT_2;
    let cases: [Case; 9] = [
        (lp(1.0), Epsilon::Minimum(1e-12), [3e38, -3e38], [0.5, -0.5]),
        (lp(2.0), Epsilon::Minimum(1e-12), [3e38, 3e38], [root, root]),
        (lp(0.5), Epsilon::Minimum(0.0), [3e38, -3e38], [0.25, -0.25]),
        (lp(-1.0), Epsilon::Minimum(0.0), [3e38, -3e38], [2.0, -2.0]),
        (NormKind::Weight { dim: Some(0) }, Epsilon::InsideRoot(0.0), [3e38, 3e38], [root, root]),
        (NormKind::Layer { axes: 1..2 }, Epsilon::InsideRoot(1e-5), [3e38, -3e38], [1.0, -1.0]),
        (NormKind::MeanVariance { axes: &[1] }, Epsilon::AddedToDeviation(1e-9), [3e38, -3e38], [1.0, -1.0]),
        // a constant, beside which the eps nearly vanishes: its inverse overflows; or vanishes
        (NormKind::MeanVariance { axes: &[1] }, Epsilon::AddedToDeviation(1e-3), [1e37, 1e37], [0.0, 0.0]),
        (NormKind::MeanVariance { axes: &[1] }, Epsilon::AddedToDeviation(1e-9), [3e38, 3e38], [0.0, 0.0]),
    ];
    for (kind, eps, [a, b], [first, second]) in cases {
        // each pair alone, and many of them, which takes every schedule
        for pairs in [1, 74] {
            let shape = [3, 2 * pairs];
            let descriptor = NormDescriptor { eps, affine: Affine::None, ..NormDescriptor::new(kind.clone(), &shape) };
            let input = [a, b].repeat(3 * pairs as usize);
            let data = Data { input, ..Data::default() };
            let expected = data.reference(&descriptor).output;
            if pairs == 1 {
                assert!((expected[0] as f32 - first).abs() < 1e-6 && (expected[1] as f32 - second).abs() < 1e-6);
            }
            for schedule in gpu().engine.schedules(&descriptor).unwrap() {
                let norm = gpu().engine.create_norm_with(&descriptor, schedule).unwrap().unwrap();
                let found = error(&run_training(gpu(), &norm, &data).unwrap().output, &expected);
                assert!(found.clone().is_ok_and(|e| e <= 1e-6), "{kind:?} {pairs} {schedule}: {found:?}");
            }
        }
    }
}

/// Small gradients beside one that is not finite, or beside a scale that is not, are what they are: those of other
/// channels, whose statistics it shares, and of other segments.
#[test]
fn what_is_not_finite_takes_no_gradient_along() {
    let (mut failures, mut cases) = (Vec::new(), 0);
    let wanted = Wanted { input: true, scale: true, bias: true };
    // those of orders have no bias
    let all = descriptors().into_iter().filter(|descriptor| descriptor.affine.has_bias());
    for descriptor in tier::some(all) {
        let norm = gpu().engine.create_norm(&descriptor).unwrap();
        let ordinary = Data::random(gpu(), &descriptor, 0.0, 3);
        for (poison, of_scale) in [f32::NAN, f32::INFINITY].into_iter().flat_map(|p| [(p, false), (p, true)]) {
            let mut data = ordinary.clone();
            let mut dy = values(&mut fastrand::Rng::with_seed(5), data.input.len() as u64, 0.0, 1e-4);
            match data.scale.as_mut().filter(|_| of_scale) {
                Some(scale) => scale[1] = poison,
                None => dy[1] = poison,
            }
            let inputs = ReferenceInputs {
                input: &data.input,
                scale: data.scale.as_deref(),
                bias: data.bias.as_deref(),
                given: None,
            };
            let expected = reference::backward(&descriptor, &inputs, &dy).unwrap();
            for schedule in families(norm.backward_schedules()) {
                let norm = norm.with_backward_schedule(schedule).unwrap();
                let found = run_backward(gpu(), &norm, &data, &dy, wanted).unwrap();
                for (what, found, expected) in [
                    ("dx", &found[0], &expected.input),
                    ("scale", &found[1], &expected.scale),
                    ("bias", &found[2], &expected.bias),
                ] {
                    let largest = expected.iter().filter(|e| e.is_finite()).fold(0.0f64, |m, e| m.max(e.abs()));
                    let off = |(&a, &e): (&f32, &f64)| {
                        if e.is_finite() {
                            (f64::from(a) - e).abs() > 5e-6 * largest || a.is_nan()
                        } else {
                            a.is_finite()
                        }
                    };
                    cases += 1;
                    if found.iter().zip(expected).any(off) {
                        let kind = &descriptor.kind;
                        failures
                            .push(format!("{kind:?} {:?} {poison} {of_scale} {schedule}: {what}", descriptor.shape));
                    }
                }
            }
        }
    }
    all_or_report("gradients beside what is not finite", &failures, cases);
}
