use super::axes::Axes;
use super::statistics::sums;
use super::*;
use crate::descriptor::{
    AdaptiveDescriptor, Affine, AffineAxes, Epsilon, MemoryFormat, NormKind, StyleEpsilon, Variance,
};

use Affine::{Bias as WithBias, None as Plain, Scale as WithScale, ScaleAndBias};
use Epsilon::{AddedToDeviation, InsideRoot, Minimum};
use NormKind::*;

const INF: f32 = f32::INFINITY;

/// Everything that a norm can take, as far as it takes it.
#[derive(Clone)]
struct Operands {
    input: Vec<f64>,
    scale: Option<Vec<f64>>,
    bias: Option<Vec<f64>>,
    given: Option<(Vec<f64>, Vec<f64>)>,
}

impl Operands {
    fn random(d: &NormDescriptor, is_given: bool, random: &mut fastrand::Rng) -> Self {
        let axes = Axes::of(d).unwrap();
        let mut vector = |len| apart(len, random);
        let positive = |values: Vec<f64>| values.into_iter().map(f64::abs).collect();
        let means = if is_centred(&d.kind) { axes.given.len } else { 0 };
        Self {
            input: vector(axes.sizes.iter().product()),
            scale: d.affine.has_scale().then(|| vector(axes.affine.len)),
            bias: d.affine.has_bias().then(|| vector(axes.affine.len)),
            given: is_given.then(|| (vector(means), positive(vector(axes.given.len)))),
        }
    }

    fn as_inputs(&self) -> ReferenceInputs<'_, f64> {
        ReferenceInputs {
            input: &self.input,
            scale: self.scale.as_deref(),
            bias: self.bias.as_deref(),
            given: self.given.as_ref().map(|(mean, variance)| (&mean[..], &variance[..])),
        }
    }

    fn differentiable(&mut self) -> [Option<&mut Vec<f64>>; 3] {
        [Some(&mut self.input), self.scale.as_mut(), self.bias.as_mut()]
    }
}

/// Values whose magnitudes keep away from 0 and from each other, where some norms have no derivative.
pub(super) fn apart(len: usize, random: &mut fastrand::Rng) -> Vec<f64> {
    let mut values: Vec<f64> = (0..len).map(|i| 0.5 + 2.0 * i as f64 / len as f64).collect();
    random.shuffle(&mut values);
    values.into_iter().map(|x| if random.bool() { x } else { -x }).collect()
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Compares a gradient with finite differences of `loss` along a random direction, the loss being a function of what is
/// moved.
pub(super) fn check_gradient(
    name: &str,
    gradient: &[f64],
    random: &mut fastrand::Rng,
    loss: impl Fn(&dyn Fn(&mut [f64])) -> f64,
) {
    const STEP: f64 = 1e-4;
    let direction = apart(gradient.len(), random);
    let moved = |step: f64| loss(&|values| values.iter_mut().zip(&direction).for_each(|(x, by)| *x += step * by));
    let central = |step: f64| (moved(step) - moved(-step)) / (2.0 * step);
    let expected = (4.0 * central(STEP) - central(2.0 * STEP)) / 3.0;
    let actual = dot(gradient, &direction);
    let magnitude: f64 = gradient.iter().zip(&direction).map(|(g, by)| (g * by).abs()).sum();
    let tolerance = 1e-6 * (1.0 + magnitude);
    assert!((actual - expected).abs() <= tolerance, "{name} is {actual}, expected {expected}");
}

/// Every gradient of a norm is the derivative of its output.
fn check_derivatives(d: &NormDescriptor, is_given: bool, random: &mut fastrand::Rng) {
    let operands = Operands::random(d, is_given, random);
    let grad_output = apart(operands.input.len(), random);
    let gradients = backward(d, &operands.as_inputs(), &grad_output).unwrap();
    for (which, gradient) in [gradients.input, gradients.scale, gradients.bias].into_iter().enumerate() {
        let name = format!("{d:?}, given {is_given}: gradient {which}");
        let Some(len) = operands.clone().differentiable()[which].as_ref().map(|values| values.len()) else {
            assert!(gradient.is_empty(), "{name} of nothing");
            continue;
        };
        assert_eq!(gradient.len(), len, "{name}");
        check_gradient(&name, &gradient, random, |change| {
            let mut moved = operands.clone();
            if let Some(values) = &mut moved.differentiable()[which] {
                change(values);
            }
            dot(&forward(d, &moved.as_inputs()).unwrap().output, &grad_output)
        });
    }
}

/// Sizes of a random tensor with as many channels.
fn random_shape(channels: u64, format: MemoryFormat, random: &mut fastrand::Rng) -> Vec<u64> {
    let mut shape: Vec<u64> = (0..random.usize(1..4)).map(|_| random.u64(1..5)).collect();
    let place = if format == MemoryFormat::ChannelsFirst { 1 } else { shape.len() };
    shape.insert(place, channels);
    shape
}

#[test]
fn gradients_are_derivatives() {
    let random = &mut fastrand::Rng::with_seed(1);
    for round in 0..40 {
        let groups = random.u64(1..4);
        let channels = groups * random.u64(1..4);
        for format in [MemoryFormat::ChannelsFirst, MemoryFormat::ChannelsLast] {
            let shape = &random_shape(channels, format, random);
            let rank = shape.len();
            let start = random.usize(0..rank);
            let end = random.usize(start..rank) + 1;
            let axes = || start..end;
            let set: Vec<usize> = (0..rank).filter(|axis| axis % 2 == round % 2 || *axis == start).collect();
            let lp = |p| LpNormalize { p, axes: axes() };
            let kinds = [
                (Batch, InsideRoot(0.1)),
                (Instance, InsideRoot(0.1)),
                (Group { groups }, InsideRoot(0.1)),
                (Layer { axes: axes() }, InsideRoot(0.1)),
                (Layer { axes: axes() }, AddedToDeviation(0.1)),
                (Layer { axes: axes() }, Minimum(0.913)),
                (Rms { axes: axes() }, InsideRoot(0.1)),
                (Rms { axes: axes() }, Epsilon::Machine),
                (lp(1.0), Minimum(1e-12)),
                (lp(2.0), Minimum(2.013)),
                (lp(0.5), InsideRoot(0.0)),
                (lp(3.5), InsideRoot(0.3)),
                (lp(INF), AddedToDeviation(0.2)),
                (MeanVariance { axes: &set }, AddedToDeviation(0.1)),
                (Weight { dim: Some(start) }, InsideRoot(0.0)),
                (Weight { dim: None }, InsideRoot(0.1)),
            ];
            for (kind, eps) in kinds {
                for affine in [Plain, WithScale, WithBias, ScaleAndBias] {
                    for is_given in [false, true] {
                        let d = NormDescriptor { eps, affine, format, ..NormDescriptor::new(kind.clone(), shape) };
                        check_derivatives(&d, is_given, random);
                    }
                }
            }
        }
    }
}

#[test]
fn gradients_of_norms_of_other_orders_are_derivatives() {
    let random = &mut fastrand::Rng::with_seed(4);
    for p in [0.0, -0.5, -1.0, -2.5, -INF] {
        for (eps, affine) in [(Minimum(1e-12), Plain), (InsideRoot(0.0), ScaleAndBias), (Minimum(9.0), WithScale)] {
            let kind = LpNormalize { p, axes: 1..2 };
            let d = NormDescriptor { eps, affine, ..NormDescriptor::new(kind, &[2, 5, 3]) };
            check_derivatives(&d, false, random);
        }
    }
}

#[test]
fn gradients_of_scales_along_other_axes_are_derivatives() {
    let random = &mut fastrand::Rng::with_seed(2);
    let shape = [2, 4, 3];
    let cases = [
        (Group { groups: 2 }, AffineAxes::Groups),
        (Group { groups: 2 }, AffineAxes::Axes(&[0, 1])),
        (Layer { axes: 2..3 }, AffineAxes::Axes(&[0, 2])),
        (Layer { axes: 1..3 }, AffineAxes::Axes(&[])),
        (Batch, AffineAxes::Axes(&[0, 1, 2])),
    ];
    for (kind, affine_axes) in cases {
        for format in [MemoryFormat::ChannelsFirst, MemoryFormat::ChannelsLast] {
            let shape = if format == MemoryFormat::ChannelsFirst { shape } else { [2, 3, 4] };
            let eps = InsideRoot(0.1);
            let new = NormDescriptor::new(kind.clone(), &shape);
            check_derivatives(&NormDescriptor { eps, affine_axes, format, ..new }, false, random);
        }
    }
}

#[test]
fn gradients_of_the_style_are_derivatives() {
    let random = &mut fastrand::Rng::with_seed(3);
    for format in [MemoryFormat::ChannelsFirst, MemoryFormat::ChannelsLast] {
        for samples in [1, 3] {
            let (shape, style_shape) = match format {
                MemoryFormat::ChannelsFirst => ([3, 2, 5], [samples, 2, 4]),
                MemoryFormat::ChannelsLast => ([3, 5, 2], [samples, 4, 2]),
            };
            for variance in [Variance::Biased, Variance::Unbiased] {
                for style_eps in [StyleEpsilon::AsContent, StyleEpsilon::None] {
                    for eps in [InsideRoot(0.1), AddedToDeviation(0.1), Minimum(1.513)] {
                        let new = AdaptiveDescriptor::new(&shape, &style_shape);
                        let d = AdaptiveDescriptor { eps, format, variance, style_eps, ..new };
                        let (content, style) = (apart(30, random), apart(8 * samples as usize, random));
                        let grad_output = apart(30, random);
                        let (to_content, to_style) = adaptive_backward(&d, &content, &style, &grad_output).unwrap();
                        let loss = |x: &[f64], s: &[f64]| dot(&adaptive(&d, x, s).unwrap().output, &grad_output);
                        check_gradient(&format!("{d:?}: content"), &to_content, random, |change| {
                            let mut moved = content.clone();
                            change(&mut moved);
                            loss(&moved, &style)
                        });
                        check_gradient(&format!("{d:?}: style"), &to_style, random, |change| {
                            let mut moved = style.clone();
                            change(&mut moved);
                            loss(&content, &moved)
                        });
                    }
                }
            }
        }
    }
}

#[test]
fn a_shift_of_a_segment_has_no_gradient() {
    let random = &mut fastrand::Rng::with_seed(4);
    let shape = [3, 4, 5];
    for kind in [Batch, Instance, Group { groups: 2 }, Layer { axes: 1..3 }, MeanVariance { axes: &[0, 2] }] {
        let d = NormDescriptor { affine: ScaleAndBias, ..NormDescriptor::new(kind, &shape) };
        let operands = Operands::random(&d, false, random);
        let grad_output = apart(60, random);
        let gradients = backward(&d, &operands.as_inputs(), &grad_output).unwrap();
        let axes = Axes::of(&d).unwrap();
        for sum in sums(gradients.input.iter(), &axes.sizes, &axes.computed, |&x, _| x) {
            assert!(sum.abs() < 1e-12, "{d:?}: {sum}");
        }
        let expected = sums(grad_output.iter(), &axes.sizes, &axes.affine, |&x, _| x);
        assert_eq!(gradients.bias, expected, "{d:?}");
    }
}

#[test]
fn gradients_by_hand() {
    const N: f64 = f64::NAN;
    let lp = |p| LpNormalize { p, axes: 0..1 };
    let layer = || Layer { axes: 0..1 };
    let root8 = 8.0_f64.sqrt();
    type Case<'a> = (&'a str, NormKind<'a>, Epsilon, &'a [u64], &'a [f32], &'a [f32], &'a [f64]);
    let cases: &[Case] = &[
        // Of x / |x| the part of dy across x stays.
        ("l2", lp(2.0), Minimum(1e-12), &[2], &[3.0, 4.0], &[1.0, 0.0], &[0.128, -0.096]),
        ("l2 at its minimum", lp(2.0), Minimum(10.0), &[2], &[3.0, 4.0], &[1.0, 2.0], &[0.1, 0.2]),
        ("l2 on its minimum", lp(2.0), Minimum(5.0), &[2], &[3.0, 4.0], &[1.0, 0.0], &[0.128, -0.096]),
        ("l2 of zeros", lp(2.0), Minimum(0.5), &[2], &[0.0, 0.0], &[1.0, 2.0], &[2.0, 4.0]),
        ("l2 of zeros by zero", lp(2.0), Minimum(0.0), &[2], &[0.0, 0.0], &[1.0, 2.0], &[0.0, 0.0]),
        ("l1", lp(1.0), InsideRoot(0.0), &[3], &[1.0, 0.0, -3.0], &[0.0, 2.0, 4.0], &[0.75, 0.5, 0.25]),
        ("l0", lp(0.0), Minimum(1e-12), &[3], &[1.0, 0.0, -3.0], &[0.0, 2.0, 4.0], &[0.0, 1.0, 2.0]),
        // of a zero the norm is 0, and at its minimum; without one the smallest of [2, -2, 4] is 2, twice
        ("l-1 with a zero", lp(-1.0), Minimum(0.5), &[2], &[1.0, 0.0], &[1.0, 2.0], &[2.0, 4.0]),
        ("l-inf", lp(f32::NEG_INFINITY), Minimum(0.0), &[3], &[2.0, -2.0, 4.0], &[0.0, 0.0, 1.0], &[-0.5, 0.5, 0.5]),
        ("l1/2 at 0", lp(0.5), InsideRoot(0.0), &[2], &[0.0, 2.0], &[4.0, 1.0], &[2.0, 0.0]),
        ("l inf", lp(INF), InsideRoot(0.0), &[2], &[1.0, -2.0], &[1.0, 0.0], &[0.5, 0.25]),
        ("l inf, ties", lp(INF), InsideRoot(0.0), &[3], &[2.0, -2.0, 1.0], &[1.0, 0.0, 0.0], &[0.25, 0.25, 0.0]),
        ("l inf of zeros", lp(INF), InsideRoot(0.0), &[2], &[0.0, 0.0], &[1.0, 0.0], &[0.0, 0.0]),
        ("batch", Batch, InsideRoot(0.0), &[2, 1], &[1.0, 3.0], &[1.0, 0.0], &[0.0, 0.0]),
        (
            "batch, eps",
            Batch,
            InsideRoot(7.0),
            &[2, 1],
            &[1.0, 3.0],
            &[1.0, 0.0],
            &[7.0, -7.0].map(|x| x / 16.0 / root8),
        ),
        ("batch of a constant", Batch, InsideRoot(0.0), &[2, 1], &[3.0, 3.0], &[1.0, 0.0], &[0.0, 0.0]),
        ("layer of a constant", layer(), InsideRoot(0.0), &[2], &[3.0, 3.0], &[1.0, 0.0], &[N, N]),
        ("deviation 0", layer(), AddedToDeviation(0.5), &[2], &[3.0, 3.0], &[1.0, 0.0], &[1.0, -1.0]),
        ("a single element", Batch, InsideRoot(0.5), &[1, 1], &[3.0], &[1.0], &[0.0]),
        ("rms", Rms { axes: 0..1 }, InsideRoot(0.0), &[2], &[1.0, 7.0], &[50.0, 0.0], &[9.8, -1.4]),
        (
            "NaN",
            Layer { axes: 1..2 },
            InsideRoot(0.0),
            &[2, 2],
            &[f32::NAN, 1.0, 1.0, 3.0],
            &[1.0; 4],
            &[N, N, 0.0, 0.0],
        ),
        ("infinity", Rms { axes: 1..2 }, InsideRoot(0.0), &[2, 2], &[INF, 1.0, 1.0, 1.0], &[1.0; 4], &[N, N, 0.0, 0.0]),
    ];
    for (name, kind, eps, shape, input, grad_output, expected) in cases {
        let d = NormDescriptor { eps: *eps, affine: Plain, ..NormDescriptor::new(kind.clone(), shape) };
        let inputs = ReferenceInputs { input, ..Default::default() };
        let actual = backward(&d, &inputs, grad_output).unwrap().input;
        assert_close(name, &actual, expected);
    }
}

#[track_caller]
fn assert_close(name: &str, actual: &[f64], expected: &[f64]) {
    let same = |(a, e): (&f64, &f64)| (a.is_nan() && e.is_nan()) || (a - e).abs() <= 1e-15;
    let is_close = actual.len() == expected.len() && actual.iter().zip(expected).all(same);
    assert!(is_close, "{name}: {actual:?}, expected {expected:?}");
}

#[test]
fn zero_rows_of_a_weight_have_no_gradient() {
    let d = NormDescriptor::new(Weight { dim: Some(0) }, &[2, 2]);
    let inputs = ReferenceInputs { input: &[0.0, 0.0, 3.0, 4.0], scale: Some(&[5.0, 10.0]), ..Default::default() };
    let output = forward(&d, &inputs).unwrap();
    assert_close("output", &output.output, &[0.0, 0.0, 6.0, 8.0]);
    assert_eq!((output.mean, output.variance), (vec![], vec![0.0, 5.0]));
    let gradients = backward(&d, &inputs, &[1.0; 4]).unwrap();
    assert_close("v", &gradients.input, &[0.0, 0.0, 0.32, -0.24]);
    assert_close("g", &gradients.scale, &[0.0, 1.4]);
    for (kind, shape, input, expected) in [
        (Weight { dim: None }, vec![2, 2], [0.0, 0.0, 3.0, 4.0], [0.0, 0.0, 0.6, 0.8]),
        (Weight { dim: Some(1) }, vec![2, 2], [0.0, 3.0, 0.0, -4.0], [0.0, 0.6, 0.0, -0.8]),
    ] {
        let d = NormDescriptor { affine: Plain, ..NormDescriptor::new(kind, &shape) };
        let output = forward(&d, &ReferenceInputs { input: &input[..], ..Default::default() }).unwrap().output;
        assert_close("other axes", &output, &expected);
    }
}

#[test]
fn a_constant_style_has_the_gradient_of_its_mean() {
    let d = AdaptiveDescriptor { style_eps: StyleEpsilon::None, ..AdaptiveDescriptor::new(&[1, 1, 2], &[1, 1, 4]) };
    let gradients = adaptive_backward(&d, &[1.0, 3.0], &[5.0; 4], &[1.0, 3.0]);
    assert_eq!(gradients, Ok((vec![0.0; 2], vec![1.0; 4])));
}

#[test]
fn empty_tensors_have_gradients_of_zero() {
    let new = |affine| NormDescriptor { affine, ..NormDescriptor::new(Batch, &[0, 3, 4]) };
    let parameter = Some(&[1.0; 3][..]);
    let inputs = ReferenceInputs { input: &[], scale: parameter, bias: parameter, ..Default::default() };
    let zeros = ReferenceGradients { scale: vec![0.0; 3], bias: vec![0.0; 3], ..Default::default() };
    assert_eq!(backward(&new(ScaleAndBias), &inputs, &[]), Ok(zeros));
    let inputs = ReferenceInputs { input: &[], ..Default::default() };
    assert_eq!(backward(&new(Plain), &inputs, &[0.0_f32; 0]), Ok(ReferenceGradients::default()));
}

#[test]
fn mistakes_are_typed_errors() {
    use ReferenceError as E;
    let inputs = ReferenceInputs { input: &[1.0, 2.0], ..Default::default() };
    let new = |kind, shape| NormDescriptor { affine: Plain, ..NormDescriptor::new(kind, shape) };
    let cases: &[(NormDescriptor, &[f32], E)] = &[
        (new(Batch, &[2, 1]), &[1.0], E::Length { operand: "grad_output", expected: 2, actual: 1 }),
        (new(Batch, &[2, 2]), &[1.0; 4], E::Length { operand: "input", expected: 4, actual: 2 }),
        (new(Weight { dim: None }, &[]), &[1.0], E::RankTooLow { kind: "weight", rank: 0, min: 1 }),
        (new(Weight { dim: Some(1) }, &[2]), &[1.0; 2], E::AxesOutOfRange { axes: vec![1], rank: 1 }),
    ];
    for (d, grad_output, expected) in cases {
        assert_eq!(backward(d, &inputs, grad_output).as_ref(), Err(expected), "{d:?}");
    }
}
