use proptest::prelude::*;

use super::*;
use crate::descriptor::{
    AdaptiveDescriptor, Affine, AffineAxes, Epsilon, MemoryFormat, NormKind, StyleEpsilon, Variance,
};

/// Inputs without parameters.
fn plain(input: &[f32]) -> ReferenceInputs<'_> {
    ReferenceInputs { input, ..Default::default() }
}

fn descriptor<'a>(kind: NormKind<'a>, shape: &'a [u64], eps: Epsilon) -> NormDescriptor<'a> {
    NormDescriptor { eps, affine: Affine::None, ..NormDescriptor::new(kind, shape) }
}

fn exact<'a>(kind: NormKind<'a>, shape: &'a [u64]) -> NormDescriptor<'a> {
    descriptor(kind, shape, Epsilon::InsideRoot(0.0))
}

fn last<'a>(d: NormDescriptor<'a>) -> NormDescriptor<'a> {
    NormDescriptor { format: MemoryFormat::ChannelsLast, ..d }
}

fn run(d: &NormDescriptor, input: &[f32]) -> ReferenceOutput {
    forward(d, &plain(input)).unwrap()
}

fn is_close(actual: &[f64], expected: &[f64], tolerance: f64) -> bool {
    let same = |(a, e): (&f64, &f64)| a == e || (a.is_nan() && e.is_nan()) || (a - e).abs() <= tolerance;
    actual.len() == expected.len() && actual.iter().zip(expected).all(same)
}

#[track_caller]
fn assert_close(name: &str, actual: &[f64], expected: &[f64]) {
    assert!(is_close(actual, expected, 1e-12), "{name}: {actual:?}, expected {expected:?}");
}

/// Reorders `[n, c, s]` to `[n, s, c]`.
fn channels_last<T: Copy>(x: &[T], n: usize, c: usize, s: usize) -> Vec<T> {
    let at = |n: usize, c_at: usize, s_at: usize| x[(n * c + c_at) * s + s_at];
    (0..n).flat_map(|n| (0..s).flat_map(move |s| (0..c).map(move |c| at(n, c, s)))).collect()
}

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;

#[test]
fn kinds_by_hand() {
    use NormKind::*;
    // Statistics of 1, 3 are 2 and 1; of 1, 3, 5, 7 they are 4 and 5.
    let mixed = [1.0, 3.0, 10.0, 30.0, 5.0, 7.0, 10.0, 30.0];
    let d5 = 5.0_f64.sqrt();
    let channel: Vec<f64> = [-3.0, -1.0, 1.0, 3.0].iter().map(|x| x / d5).collect();
    let batch = [channel[0], channel[1], -1.0, 1.0, channel[2], channel[3], -1.0, 1.0];
    let signs = [-1.0, 1.0, -1.0, 1.0];
    let r2 = 2.0_f64.sqrt();
    let minimum = Epsilon::Minimum(10.0);
    let cases: &[(&str, NormDescriptor, &[f32], &[f64])] = &[
        ("batch", exact(Batch, &[2, 2, 2]), &mixed, &batch),
        ("batch of features", exact(Batch, &[2, 2]), &[1.0, 10.0, 3.0, 30.0], &[-1.0, -1.0, 1.0, 1.0]),
        ("batch last", last(exact(Batch, &[2, 2])), &[1.0, 10.0, 3.0, 30.0], &[-1.0, -1.0, 1.0, 1.0]),
        ("instance", exact(Instance, &[1, 2, 2]), &[1.0, 3.0, 10.0, 30.0], &signs),
        ("instance last", last(exact(Instance, &[1, 2, 2])), &[1.0, 10.0, 3.0, 30.0], &[-1.0, -1.0, 1.0, 1.0]),
        ("group", exact(Group { groups: 2 }, &[1, 4, 1]), &[1.0, 3.0, 10.0, 30.0], &signs),
        ("group last", last(exact(Group { groups: 2 }, &[1, 1, 4])), &[1.0, 3.0, 10.0, 30.0], &signs),
        ("layer", exact(Layer { axes: 1..2 }, &[2, 2]), &[1.0, 3.0, 10.0, 30.0], &signs),
        ("layer, first axis", exact(Layer { axes: 0..1 }, &[2, 2]), &[1.0, 10.0, 3.0, 30.0], &[-1.0, -1.0, 1.0, 1.0]),
        (
            "layer, inner axis",
            exact(Layer { axes: 1..2 }, &[1, 2, 2]),
            &[1.0, 10.0, 3.0, 30.0],
            &[-1.0, -1.0, 1.0, 1.0],
        ),
        ("layer, rank 0", descriptor(Layer { axes: 0..0 }, &[], Epsilon::default()), &[3.0], &[0.0]),
        ("rms", exact(Rms { axes: 1..2 }, &[2, 2]), &[1.0, 7.0, -5.0, 5.0], &[0.2, 1.4, -1.0, 1.0]),
        (
            "rms eps",
            descriptor(Rms { axes: 0..1 }, &[2], Epsilon::InsideRoot(11.0)),
            &[1.0, 7.0],
            &[1.0 / 6.0, 7.0 / 6.0],
        ),
        ("l2", exact(LpNormalize { p: 2.0, axes: 1..2 }, &[2, 2]), &[3.0, -4.0, 0.0, 0.0], &[0.6, -0.8, 0.0, 0.0]),
        ("l1", exact(LpNormalize { p: 1.0, axes: 0..1 }, &[2]), &[1.0, -3.0], &[0.25, -0.75]),
        ("l1/2", exact(LpNormalize { p: 0.5, axes: 0..1 }, &[2]), &[1.0, 4.0], &[1.0 / 9.0, 4.0 / 9.0]),
        ("l3", exact(LpNormalize { p: 3.0, axes: 0..1 }, &[3]), &[3.0, -4.0, 5.0], &[3.0, -4.0, 5.0].map(|x| x / 6.0)),
        ("l1000", exact(LpNormalize { p: 1000.0, axes: 0..1 }, &[2]), &[1e30, -5e29], &[1.0, -0.5]),
        ("l0", exact(LpNormalize { p: 0.0, axes: 0..1 }, &[3]), &[3.0, 0.0, -4.0], &[1.5, 0.0, -2.0]),
        ("l-1", exact(LpNormalize { p: -1.0, axes: 0..1 }, &[3]), &[1.0, -2.0, 4.0], &[1.75, -3.5, 7.0]),
        ("l-1 with a zero", exact(LpNormalize { p: -1.0, axes: 0..1 }, &[2]), &[1.0, 0.0], &[0.0, 0.0]),
        ("l-inf", exact(LpNormalize { p: -INF, axes: 0..1 }, &[3]), &[2.0, -8.0, 4.0], &[1.0, -4.0, 2.0]),
        ("l inf", exact(LpNormalize { p: INF, axes: 0..1 }, &[3]), &[2.0, -8.0, 1.0], &[0.25, -1.0, 0.125]),
        ("lp, rank 0", exact(LpNormalize { p: 1.25, axes: 0..1 }, &[]), &[-3.0], &[-1.0]),
        ("lp minimum", descriptor(LpNormalize { p: 2.0, axes: 0..1 }, &[2], minimum), &[3.0, 4.0], &[0.3, 0.4]),
        ("mvn", exact(MeanVariance { axes: &[0, 2] }, &[2, 2, 2]), &mixed, &batch),
        (
            "mvn eps",
            descriptor(MeanVariance { axes: &[0] }, &[2], Epsilon::AddedToDeviation(1.0)),
            &[1.0, 3.0],
            &[-0.5, 0.5],
        ),
        (
            "mvn, interleaved",
            exact(MeanVariance { axes: &[0, 2, 4] }, &[2, 1, 1, 2, 1]),
            &[1.0, 0.0, 3.0, 4.0],
            &[-1.0, -1.0, 1.0, 1.0],
        ),
        ("negative eps", descriptor(Batch, &[2, 1], Epsilon::AsGiven(-0.5)), &[1.0, 3.0], &[-r2, r2]),
        ("too negative eps", descriptor(Batch, &[2, 1], Epsilon::AsGiven(-2.0)), &[1.0, 3.0], &[f64::NAN; 2]),
        (
            "machine eps",
            descriptor(Rms { axes: 0..1 }, &[1], Epsilon::Machine),
            &[f32::EPSILON],
            &[f64::from(f32::EPSILON).sqrt() / (1.0 + f64::from(f32::EPSILON)).sqrt()],
        ),
    ];
    for (name, d, input, expected) in cases {
        assert_close(name, &run(d, input).output, expected);
    }
}

#[test]
fn what_is_not_finite_stays_in_its_segment() {
    use NormKind::*;
    const N: f64 = f64::NAN;
    let layer = || Layer { axes: 1..2 };
    let rms = || Rms { axes: 1..2 };
    let lp = |p| LpNormalize { p, axes: 1..2 };
    let minimum = Epsilon::Minimum(1e-12);
    let cases: &[(&str, NormDescriptor, &[f32], &[f64])] = &[
        ("layer NaN", exact(layer(), &[2, 2]), &[NAN, 1.0, 1.0, 3.0], &[N, N, -1.0, 1.0]),
        ("layer infinity", exact(layer(), &[2, 2]), &[INF, 1.0, 1.0, 3.0], &[N, N, -1.0, 1.0]),
        ("layer constant", exact(layer(), &[2, 2]), &[2.0, 2.0, 1.0, 3.0], &[N, N, -1.0, 1.0]),
        ("batch NaN", exact(Batch, &[2, 2]), &[NAN, 1.0, 1.0, 3.0], &[N, -1.0, N, 1.0]),
        ("batch infinity", exact(Batch, &[2, 2]), &[-INF, 1.0, 1.0, 3.0], &[N, -1.0, N, 1.0]),
        ("batch constant", exact(Batch, &[2, 2]), &[2.0, 1.0, 2.0, 3.0], &[0.0, -1.0, 0.0, 1.0]),
        ("rms NaN", exact(rms(), &[2, 2]), &[1.0, NAN, 7.0, 1.0], &[N, N, 1.4, 0.2]),
        ("rms infinity", exact(rms(), &[2, 2]), &[1.0, INF, 7.0, 1.0], &[0.0, N, 1.4, 0.2]),
        ("rms zero", exact(rms(), &[2, 2]), &[0.0, 0.0, 7.0, 1.0], &[N, N, 1.4, 0.2]),
        ("l2 NaN", descriptor(lp(2.0), &[2, 2], minimum), &[NAN, INF, 3.0, 4.0], &[N, N, 0.6, 0.8]),
        ("l2 infinity", exact(lp(2.0), &[2, 2]), &[1.0, -INF, 3.0, 4.0], &[0.0, N, 0.6, 0.8]),
        ("l inf NaN", exact(lp(INF), &[2, 2]), &[NAN, 8.0, 3.0, 4.0], &[N, N, 0.75, 1.0]),
        ("l2 zero", descriptor(lp(2.0), &[2, 2], minimum), &[0.0, 0.0, 3.0, 4.0], &[0.0, 0.0, 0.6, 0.8]),
    ];
    for (name, d, input, expected) in cases {
        assert_close(name, &run(d, input).output, expected);
    }
}

#[test]
fn scale_and_bias_vary_as_asked() {
    use NormKind::*;
    // Alternately -1 and 1 once normalized along the last axis.
    let input = [1.0, 3.0].repeat(4);
    let group = || Group { groups: 2 };
    let layer = || Layer { axes: 2..3 };
    let (cube, channels) = ([2, 2, 2], [2, 4, 1]);
    // Parameters are 2, 3, ...: how many there are, and which of them each element takes.
    type Case<'a> = (&'a str, NormKind<'a>, &'a [u64], AffineAxes<'a>, usize, [u8; 8]);
    let cases: &[Case] = &[
        ("channels", Instance, &cube, AffineAxes::OfKind, 2, [2, 2, 3, 3, 2, 2, 3, 3]),
        ("channels of groups", group(), &channels, AffineAxes::OfKind, 4, [2, 3, 4, 5, 2, 3, 4, 5]),
        ("groups", group(), &channels, AffineAxes::Groups, 2, [2, 2, 3, 3, 2, 2, 3, 3]),
        ("samples and channels", group(), &channels, AffineAxes::Axes(&[0, 1]), 8, [2, 3, 4, 5, 6, 7, 8, 9]),
        ("samples of groups", group(), &cube, AffineAxes::Axes(&[0, 2]), 4, [2, 3, 2, 3, 4, 5, 4, 5]),
        ("layer", layer(), &cube, AffineAxes::OfKind, 2, [2, 3, 2, 3, 2, 3, 2, 3]),
        ("adaptive layer", layer(), &cube, AffineAxes::Axes(&[0, 2]), 4, [2, 3, 2, 3, 4, 5, 4, 5]),
        ("scalar", layer(), &cube, AffineAxes::Axes(&[]), 1, [2; 8]),
    ];
    for (name, kind, shape, affine_axes, len, taken) in cases {
        let values: Vec<f32> = (0..*len).map(|i| i as f32 + 2.0).collect();
        let signed = |sign_at_even: f64| {
            let value = |(i, &value): (usize, &u8)| f64::from(value) * if i % 2 == 0 { sign_at_even } else { 1.0 };
            taken.iter().enumerate().map(value).collect::<Vec<_>>()
        };
        let with = |affine, scale, bias| {
            let d = NormDescriptor { affine_axes: *affine_axes, affine, ..exact(kind.clone(), shape) };
            forward(&d, &ReferenceInputs { scale, bias, ..plain(&input) }).unwrap().output
        };
        let values = Some(&values[..]);
        let scaled = with(Affine::Scale, values, None);
        assert_close(name, &scaled, &signed(-1.0));
        let shifted: Vec<f64> = [-1.0, 1.0].repeat(4).iter().zip(signed(1.0)).map(|(x, bias)| x + bias).collect();
        assert_close(name, &with(Affine::Bias, None, values), &shifted);
        let both: Vec<f64> = scaled.iter().zip(signed(1.0)).map(|(x, bias)| x + bias).collect();
        assert_close(name, &with(Affine::ScaleAndBias, values, values), &both);
    }
}

#[test]
fn given_statistics_replace_the_inputs() {
    use NormKind::*;
    let input = [1.0, 2.0, 3.0, 4.0];
    type Case<'a> = (&'a str, NormDescriptor<'a>, &'a [f32], &'a [f32], &'a [f64]);
    let cases: &[Case] = &[
        ("batch", exact(Batch, &[2, 2]), &[1.0, 2.0], &[4.0, 0.25], &[0.0, 0.0, 1.0, 4.0]),
        ("instance", exact(Instance, &[1, 2, 2]), &[1.0, 2.0], &[4.0, 0.25], &[0.0, 0.5, 2.0, 4.0]),
        ("instance last", last(exact(Instance, &[2, 1, 2])), &[1.0, 2.0], &[4.0, 0.25], &[0.0, 0.0, 1.0, 4.0]),
        ("no deviation", exact(Batch, &[2, 2]), &[1.0, 2.0], &[4.0, 0.0], &[0.0, 0.0, 1.0, 0.0]),
        ("negative variance", exact(Batch, &[2, 2]), &[1.0, 2.0], &[4.0, -1.0], &[0.0, f64::NAN, 1.0, f64::NAN]),
        ("layer", exact(Layer { axes: 1..2 }, &[2, 2]), &[1.0, 2.0], &[4.0, 0.25], &[0.0, 0.5, 2.0, 4.0]),
        ("rms", exact(Rms { axes: 1..2 }, &[2, 2]), &[], &[4.0, 0.25], &[0.5, 1.0, 6.0, 8.0]),
        ("l2", exact(LpNormalize { p: 2.0, axes: 1..2 }, &[2, 2]), &[], &[4.0, 0.5], &[0.25, 0.5, 6.0, 8.0]),
    ];
    for (name, d, mean, variance, expected) in cases {
        let inputs = ReferenceInputs { given: Some((mean, variance)), ..plain(&input) };
        let ReferenceOutput { output, mean, variance } = forward(d, &inputs).unwrap();
        assert_close(name, &output, expected);
        assert!(mean.is_empty() && variance.is_empty(), "{name}: given statistics are not computed");
    }
}

#[test]
fn adaptive_instance_takes_the_moments_of_the_style() {
    // Deviations 1 and 10, variances 1 and 100 (unbiased 2 and 200).
    let input = [1.0, 3.0, 10.0, 30.0];
    // Means 2 and 0, variances 8/3 and 2/3 (unbiased 4 and 1).
    let style = [0.0, 2.0, 4.0, -1.0, 0.0, 1.0];
    let (biased, unbiased) = (Variance::Biased, Variance::Unbiased);
    let (alike, none) = (StyleEpsilon::AsContent, StyleEpsilon::None);
    // Squares of what the outputs of the two channels are off their means.
    let cases = [
        ("biased", biased, none, 0.0, [8.0 / 3.0, 2.0 / 3.0]),
        ("unbiased", unbiased, none, 0.0, [4.0 / 2.0, 100.0 * 1.0 / 200.0]),
        ("eps in both", biased, alike, 3.0, [(8.0 / 3.0 + 3.0) / 4.0, 100.0 * (2.0 / 3.0 + 3.0) / 103.0]),
        ("eps in content", biased, none, 3.0, [8.0 / 3.0 / 4.0, 100.0 * (2.0 / 3.0) / 103.0]),
    ];
    for (name, variance, style_eps, eps, squares) in cases {
        let eps = Epsilon::InsideRoot(eps);
        let d = AdaptiveDescriptor { eps, variance, style_eps, ..AdaptiveDescriptor::new(&[1, 2, 2], &[1, 2, 3]) };
        let actual = adaptive(&d, &input, &style).unwrap();
        let [a, b] = squares.map(f64::sqrt);
        assert_close(name, &actual.output, &[2.0 - a, 2.0 + a, -b, b]);
        assert_close(name, &actual.variance, &[1.0, 100.0]);
    }
}

#[test]
fn one_style_serves_all_samples() {
    let input = [1.0, 3.0, 5.0, 2.0, 4.0, 9.0, 7.0, 7.5];
    let style = [1.0, 2.0, 4.0, 0.0, 6.0, 5.0];
    let with = |style_shape: &[u64], style: &[f32], format| {
        let eps = Epsilon::InsideRoot(0.0);
        let d = AdaptiveDescriptor { eps, format, ..AdaptiveDescriptor::new(&[2, 2, 2], style_shape) };
        adaptive(&d, &input, style).unwrap()
    };
    let first = MemoryFormat::ChannelsFirst;
    assert_eq!(with(&[1, 2, 3], &style, first), with(&[2, 2, 3], &style.repeat(2), first));
    let last = MemoryFormat::ChannelsLast;
    assert_eq!(with(&[1, 3, 2], &style, last), with(&[2, 3, 2], &style.repeat(2), last));
}

#[test]
fn statistics_lie_in_order_of_their_axes() {
    use NormKind::*;
    let shape = [2, 3, 4];
    let input: Vec<f32> = (0..24).map(|i| i as f32).collect();
    let cases: &[(&str, NormDescriptor, &[f64])] = &[
        ("batch", exact(Batch, &shape), &[7.5, 11.5, 15.5]),
        ("batch last", last(exact(Batch, &shape)), &[10.0, 11.0, 12.0, 13.0]),
        ("instance", exact(Instance, &shape), &[1.5, 5.5, 9.5, 13.5, 17.5, 21.5]),
        ("instance last", last(exact(Instance, &shape)), &[4.0, 5.0, 6.0, 7.0, 16.0, 17.0, 18.0, 19.0]),
        ("group", exact(Group { groups: 1 }, &shape), &[5.5, 17.5]),
        ("group last", last(exact(Group { groups: 2 }, &shape)), &[4.5, 6.5, 16.5, 18.5]),
        ("layer of an inner axis", exact(Layer { axes: 1..2 }, &shape), &[4.0, 5.0, 6.0, 7.0, 16.0, 17.0, 18.0, 19.0]),
        ("mvn", exact(MeanVariance { axes: &[0, 2] }, &shape), &[7.5, 11.5, 15.5]),
    ];
    for (name, d, mean) in cases {
        assert_close(name, &run(d, &input).mean, mean);
    }
    let rms = run(&exact(Rms { axes: 0..1 }, &[2]), &[1.0, 7.0]);
    assert_eq!((rms.mean, rms.variance), (vec![], vec![25.0]));
    let l2 = run(&exact(LpNormalize { p: 2.0, axes: 0..1 }, &[2]), &[3.0, 4.0]);
    assert!(l2.mean.is_empty());
    assert_close("norm", &l2.variance, &[5.0]);
}

#[test]
fn empty_tensors_give_empty_outputs() {
    use NormKind::*;
    for shape in [[0, 3, 4], [2, 3, 0], [0, 3, 0]] {
        let check = |name: &str, actual: ReferenceOutput| {
            assert!(actual.output.is_empty(), "{name} {shape:?}");
            assert!(actual.variance.iter().all(|x| x.is_nan()), "{name} {shape:?}");
        };
        for kind in [Batch, Instance, Group { groups: 3 }, Layer { axes: 1..3 }, Rms { axes: 0..2 }] {
            check(&format!("{kind:?}"), run(&exact(kind, &shape), &[]));
        }
        check("adaptive", adaptive::<f32>(&AdaptiveDescriptor::new(&shape, &[1, 3, 0]), &[], &[]).unwrap());
    }
    assert_eq!(run(&exact(LpNormalize { p: 2.0, axes: 1..2 }, &[2, 0]), &[]).variance, [0.0, 0.0]);
}

#[test]
fn a_large_mean_costs_no_digits() {
    let input: Vec<f32> = (0..1_000_000).map(|i| 1e6 + [0.5, -0.5, 0.25, -0.25][i % 4]).collect();
    let actual = run(&exact(NormKind::Layer { axes: 0..1 }, &[1_000_000]), &input);
    assert_eq!((actual.mean[0], actual.variance[0]), (1e6, 0.15625));
}

#[test]
fn a_constant_gives_the_bias() {
    for value in [0.1, 1e-40, 3e38, -1e6] {
        let d = NormDescriptor { affine: Affine::ScaleAndBias, ..exact(NormKind::Batch, &[7, 2, 13]) };
        let (scale, bias) = (Some(&[2.0, 3.0][..]), Some(&[4.0, 5.0][..]));
        let actual = forward(&d, &ReferenceInputs { scale, bias, ..plain(&[value; 182]) }).unwrap();
        let expected: Vec<f64> = (0..182).map(|i| [4.0, 5.0][i / 13 % 2]).collect();
        assert_eq!(actual.output, expected, "{value}");
    }
}

/// As PyTorch: `x * alpha + (bias - mean * alpha)`, whose infinities meet.
#[test]
fn an_infinite_scale_is_folded_with_the_mean() {
    let output = |kind, x: &[f32; 3]| {
        let d = NormDescriptor { affine: Affine::Scale, ..exact(kind, &[1, 1, 3]) };
        forward(&d, &ReferenceInputs { scale: Some(&[INF]), ..plain(x) }).unwrap().output
    };
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    for kind in [NormKind::Batch, NormKind::Instance, NormKind::Group { groups: 1 }] {
        assert_close("all above 0", &output(kind.clone(), &[1.0, 2.0, 3.0]), &[nan; 3]);
        assert_close("a mean below 0", &output(kind, &[-3.0, 1.0, -4.0]), &[nan, inf, nan]);
    }
    let d = NormDescriptor { affine: Affine::Scale, ..exact(NormKind::Layer { axes: 0..1 }, &[3]) };
    let scale = Some(&[INF; 3][..]);
    let layer = forward(&d, &ReferenceInputs { scale, ..plain(&[-1.0, 2.0, 5.0]) }).unwrap();
    assert_close("layer", &layer.output, &[-inf, nan, inf]);
}

#[test]
fn running_statistics_take_in_a_batch() {
    const N: f64 = f64::NAN;
    let update = |momentum, variance| RunningUpdate { momentum, variance };
    let half = |variance| update(Momentum::Weight(0.5), variance);
    let (biased, unbiased) = (Variance::Biased, Variance::Unbiased);
    // Means, variances, elements a segment, batches before; running means were 10, 20 and variances 1, 2.
    type Case<'a> = (&'a str, RunningUpdate, &'a [f64], &'a [f64], u64, u64, [f64; 2], [f64; 2]);
    let cases: &[Case] = &[
        ("biased", half(biased), &[0.0, 4.0], &[3.0, 6.0], 4, 0, [5.0, 12.0], [2.0, 4.0]),
        ("unbiased", half(unbiased), &[0.0, 4.0], &[3.0, 6.0], 4, 0, [5.0, 12.0], [2.5, 5.0]),
        ("single elements", half(unbiased), &[0.0, 4.0], &[0.0, 0.0], 1, 0, [5.0, 12.0], [N, N]),
        ("instances", half(biased), &[0.0, 4.0, 2.0, 8.0], &[3.0, 6.0, 5.0, 8.0], 4, 0, [5.5, 13.0], [2.5, 4.5]),
        ("first of all", update(Momentum::Cumulative, biased), &[0.0, 4.0], &[3.0, 6.0], 4, 0, [0.0, 4.0], [3.0, 6.0]),
        ("fourth", update(Momentum::Cumulative, biased), &[2.0, 4.0], &[5.0, 6.0], 4, 3, [8.0, 16.0], [2.0, 3.0]),
        (
            "any weight",
            update(Momentum::AsGiven(-1.0), biased),
            &[0.0, 4.0],
            &[3.0, 6.0],
            4,
            0,
            [20.0, 36.0],
            [-1.0, -2.0],
        ),
        ("empty batch", half(unbiased), &[N, N], &[N, N], 0, 0, [10.0, 20.0], [1.0, 2.0]),
        ("no instance", half(unbiased), &[], &[], 4, 0, [10.0, 20.0], [1.0, 2.0]),
        ("other channels", half(unbiased), &[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0], 4, 0, [N, N], [N, N]),
    ];
    for &(name, update, mean, variance, count, batches, expected_mean, expected_variance) in cases {
        let statistics = ReferenceOutput { output: vec![], mean: mean.to_vec(), variance: variance.to_vec() };
        let (mean, variance) = update_running(&statistics, count, (&[10.0, 20.0], &[1.0, 2.0]), update, batches);
        assert_close(name, &mean, &expected_mean);
        assert_close(name, &variance, &expected_variance);
    }
}

#[test]
fn mistakes_are_typed_errors() {
    use NormKind::*;
    use ReferenceError as E;
    let axes = |axes: &[usize], rank| E::AxesOutOfRange { axes: axes.to_vec(), rank };
    let cases: &[(NormDescriptor, E)] = &[
        (exact(Layer { axes: 0..1 }, &[1 << 40, 1 << 40]), E::ShapeOverflows { shape: vec![1 << 40, 1 << 40] }),
        (exact(Batch, &[0, u64::MAX]), E::ShapeOverflows { shape: vec![0, u64::MAX] }),
        (exact(Batch, &[3]), E::RankTooLow { kind: "batch", rank: 1, min: 2 }),
        (last(exact(Group { groups: 1 }, &[])), E::RankTooLow { kind: "group", rank: 0, min: 2 }),
        (exact(Group { groups: 2 }, &[2, 3, 4]), E::GroupsDoNotDivideChannels { groups: 2, channels: 3 }),
        (exact(Group { groups: 0 }, &[2, 3, 4]), E::GroupsDoNotDivideChannels { groups: 0, channels: 3 }),
        (exact(Layer { axes: 2..4 }, &[2, 3, 4]), axes(&[2, 3], 3)),
        (exact(Layer { axes: 1..1 }, &[2, 3, 4]), axes(&[], 3)),
        (exact(Rms { axes: 0..usize::MAX }, &[2]), axes(&[0, 1, 2], 1)),
        (exact(LpNormalize { p: 2.0, axes: 0..2 }, &[]), axes(&[0, 1], 0)),
        (exact(MeanVariance { axes: &[2, 0] }, &[2, 3, 4]), axes(&[2, 0], 3)),
        (exact(MeanVariance { axes: &[1, 1] }, &[2, 3, 4]), axes(&[1, 1], 3)),
        (exact(Batch, &[2, 3, 4]), E::Length { operand: "input", expected: 24, actual: 2 }),
        (
            NormDescriptor { affine_axes: AffineAxes::Groups, ..exact(Batch, &[2, 3, 4]) },
            E::GroupScale { kind: "batch" },
        ),
        (NormDescriptor { affine_axes: AffineAxes::Axes(&[3]), ..exact(Batch, &[2, 3, 4]) }, axes(&[3], 3)),
    ];
    for (d, expected) in cases {
        assert_eq!(forward(d, &plain(&[1.0, 2.0])).as_ref(), Err(expected), "{d:?}");
    }
    assert!(forward(&exact(LpNormalize { p: NAN, axes: 0..1 }, &[2]), &plain(&[1.0, 2.0])).is_err());
    for style in [&[2, 3][..], &[2, 4, 4], &[3, 3, 4]] {
        let expected = E::StyleShape { style: style.to_vec(), content: vec![2, 3, 4] };
        assert_eq!(adaptive(&AdaptiveDescriptor::new(&[2, 3, 4], style), &[1.0, 2.0], &[1.0]), Err(expected));
    }
    let short = adaptive(&AdaptiveDescriptor::new(&[2, 3, 4], &[2, 3, 4]), &[1.0; 24], &[1.0]);
    assert_eq!(short, Err(E::Length { operand: "style", expected: 24, actual: 1 }));
}

#[test]
fn operands_must_fit() {
    use ReferenceError as E;
    let short = Some(&[1.0][..]);
    let cases: [(Affine, ReferenceInputs, E); 6] = [
        (Affine::Scale, plain(&[0.0; 4]), E::Missing { operand: "scale" }),
        (Affine::Bias, plain(&[0.0; 4]), E::Missing { operand: "bias" }),
        (Affine::None, ReferenceInputs { bias: short, ..plain(&[0.0; 4]) }, E::Unexpected { operand: "bias" }),
        (
            Affine::Scale,
            ReferenceInputs { scale: short, ..plain(&[0.0; 4]) },
            E::Length { operand: "scale", expected: 2, actual: 1 },
        ),
        (
            Affine::None,
            ReferenceInputs { given: Some((&[1.0], &[1.0, 1.0])), ..plain(&[0.0; 4]) },
            E::Length { operand: "mean", expected: 2, actual: 1 },
        ),
        (
            Affine::None,
            ReferenceInputs { given: Some((&[1.0, 1.0], &[])), ..plain(&[0.0; 4]) },
            E::Length { operand: "variance", expected: 2, actual: 0 },
        ),
    ];
    for (affine, inputs, expected) in cases {
        let d = NormDescriptor { affine, ..exact(NormKind::Batch, &[2, 2]) };
        assert_eq!(forward(&d, &inputs), Err(expected));
    }
}

/// A tensor of shape `n, groups * k, s` with its values.
fn tensors() -> impl Strategy<Value = ((usize, usize, usize, usize), Vec<f32>)> {
    (1..4_usize, 1..4_usize, 1..4_usize, 1..6_usize).prop_flat_map(|sizes @ (n, groups, k, s)| {
        (Just(sizes), prop::collection::vec(-100.0..100.0_f32, n * groups * k * s))
    })
}

proptest! {
    #[test]
    fn identities_of_the_kinds(((n, groups, k, s), x) in tensors()) {
        use NormKind::*;
        let c = groups * k;
        let shape = [n, c, s].map(|size| size as u64);
        let run = |kind, shape: &[u64], x: &[f32]| run(&descriptor(kind, shape, Epsilon::default()), x);

        let instance = run(Instance, &shape, &x);
        prop_assert_eq!(&instance, &run(Group { groups: c as u64 }, &shape, &x));
        prop_assert_eq!(&instance, &run(Layer { axes: 2..3 }, &shape, &x));
        let sample = [1, shape[1], shape[2]];
        prop_assert_eq!(run(Batch, &sample, &x[..c * s]), run(Instance, &sample, &x[..c * s]));
        prop_assert_eq!(run(Group { groups: 1 }, &shape, &x), run(Layer { axes: 1..3 }, &shape, &x));
        let split = [shape[0], groups as u64, k as u64, shape[2]];
        prop_assert_eq!(run(Group { groups: groups as u64 }, &shape, &x), run(Layer { axes: 2..4 }, &split, &x));
        prop_assert_eq!(run(Batch, &shape, &x), run(MeanVariance { axes: &[0, 2] }, &shape, &x));
    }

    #[test]
    fn channels_first_is_channels_last_transposed(((n, groups, k, s), x) in tensors()) {
        use NormKind::*;
        let c = groups * k;
        let scale: Vec<f32> = (0..c).map(|i| 1.0 + i as f32).collect();
        let bias: Vec<f32> = (0..c).map(|i| 0.5 - i as f32).collect();
        let given = (&bias[..], &scale[..]);
        let (first_shape, last_shape) = ([n, c, s].map(|x| x as u64), [n, s, c].map(|x| x as u64));
        let transposed = channels_last(&x, n, c, s);
        for (kind, given) in [
            (Batch, None),
            (Batch, Some(given)),
            (Instance, None),
            (Instance, Some(given)),
            (Group { groups: groups as u64 }, None),
        ] {
            let inputs = ReferenceInputs { scale: Some(&scale), bias: Some(&bias), given, ..plain(&x) };
            let first = forward(&NormDescriptor::new(kind.clone(), &first_shape), &inputs).unwrap();
            let inputs = ReferenceInputs { input: &transposed, ..inputs };
            let last = forward(&last(NormDescriptor::new(kind, &last_shape)), &inputs).unwrap();
            // The order of summation differs, so the last bits may.
            prop_assert!(is_close(&last.output, &channels_last(&first.output, n, c, s), 1e-9));
            prop_assert!(is_close(&last.mean, &first.mean, 1e-9));
            prop_assert!(is_close(&last.variance, &first.variance, 1e-9));
        }
    }

    #[test]
    fn nan_poisons_its_segment_only(((n, groups, k, s), mut x) in tensors(), position in any::<prop::sample::Index>()) {
        let c = groups * k;
        let poisoned = position.index(x.len());
        x[poisoned] = NAN;
        let shape = [n, c, s].map(|size| size as u64);
        let same_channel = |i: usize| i / s % c == poisoned / s % c;
        let same_group = |i: usize| i / (s * k) == poisoned / (s * k);
        let batch = run(&exact(NormKind::Batch, &shape), &x).output;
        // The eps keeps a group of one element from giving NaN as well.
        let group = run(&descriptor(NormKind::Group { groups: groups as u64 }, &shape, Epsilon::default()), &x).output;
        for i in 0..x.len() {
            prop_assert_eq!(batch[i].is_nan(), same_channel(i));
            prop_assert_eq!(group[i].is_nan(), same_group(i));
        }
    }
}
