//! The whole range of f32: huge and tiny numbers, gradients and parameters, denormals, orders of any sign.

use crate::backward::{Wanted, run_backward};
use crate::harness::*;
use wgpu_norm::reference::{self, ReferenceInputs};
use wgpu_norm::*;

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

/// Largest error, each element in units of the largest of its own segment; without a segment, of all.
fn worst(actual: &[f32], expected: &[f64], unit: f64) -> Result<f64, String> {
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
        // one rounding of what is denormal
        let error = ((f64::from(a) - e).abs() - 0.75e-45).max(0.0);
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
    for (number, descriptor) in descriptors().iter().enumerate() {
        let engine = &gpu().engine;
        let random = Data::random(gpu(), descriptor, 0.0, number as u64);
        let unscaled = values(&mut fastrand::Rng::with_seed(7), random.input.len() as u64, 0.1, 1.0);
        for factors in FACTORS {
            let times = |values: &[f32], factor: f32| values.iter().map(|x| x * factor).collect::<Vec<_>>();
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
                let found = worst(&run_training(gpu(), &norm, &data).unwrap().output, &expected, unit);
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
            for schedule in families(norm.backward_schedules()) {
                let norm = norm.with_backward_schedule(schedule).unwrap();
                let found = run_backward(gpu(), &norm, &data, &dy, wanted).unwrap();
                cases += 1;
                for (k, expected) in [&gradients.input, &gradients.scale, &gradients.bias].into_iter().enumerate() {
                    if found[k].is_empty() {
                        continue;
                    }
                    let found = worst(&found[k], expected, units[k]);
                    if !found.clone().is_ok_and(|e| e <= 2e-6) {
                        failures.push(format!("{} gradient {k}: {found:?}", name(&schedule.to_string())));
                    }
                }
            }
        }
    }
    all_or_report("the whole range", &failures, cases);
}
