use super::backward_tests::apart;
use super::*;
use crate::descriptor::{Affine, Epsilon, NormKind};
use crate::element::{Element, Types};
use crate::fusion::{Activation, Epilogue, Fusion, Modulation, Multiplier, NormalizedRounding, Prologue, SumRounding};

use Activation::{Identity, Relu, Silu};
use NormKind::*;

/// x 2 + 1 + r is 1, 3 and normalized -1, 1; then all of the epilogue.
#[test]
fn all_of_the_algebra_by_hand() {
    let prologue = Prologue::residual(&[0]).bias(&[]).multiplier(Multiplier::Gate(&[]));
    let epilogue = Epilogue::activation(Relu).addend().gate(Identity).out_gate(&[0]).out_residual().factor(0.5);
    let fusion = Fusion::default().prologue(prologue).one_plus_scale().modulation(Modulation::new(&[]));
    let new = NormDescriptor::new(Layer { axes: 0..1 }, &[2]);
    let d = NormDescriptor { eps: Epsilon::InsideRoot(0.0), fusion: fusion.epilogue(epilogue), ..new };
    let inputs = ReferenceInputs {
        input: &[0.0, 0.5_f32],
        scale: Some(&[2.0, 3.0]),
        bias: Some(&[1.0, -1.0]),
        ..Default::default()
    };
    let operands = ReferenceFused {
        residual: Some(&[0.0, 1.0_f32]),
        gate: Some(&[2.0]),
        prologue_bias: Some(&[1.0]),
        // u is -2, 3
        modulation_scale: Some(&[0.5]),
        modulation_shift: Some(&[1.0]),
        // v is -2, 5.5
        addend: Some(&[1.0, 0.5]),
        z: Some(&[2.0, 3.0]),
        out_gate: Some(&[10.0, 100.0]),
        out_residual: Some(&[7.0, 8.0]),
    };
    let output = fused(&d, &inputs, &operands).unwrap();
    let (sum, mean, variance) = (vec![1.0, 3.0], vec![2.0], vec![1.0]);
    assert_eq!(output, FusedOutput { output: vec![7.0, 908.0], sum, mean, variance });

    // Two numbers less their mean, over their deviation, are -1 and 1 whatever they are: only what arrives goes on.
    let gradients = fused_backward(&d, &inputs, &operands, &[1.0, 1.0], Some(&[3.0, 4.0])).unwrap();
    let expected = FusedReferenceGradients {
        out_gate: vec![0.0, 9.0],
        z: vec![0.0, 300.0],
        addend: vec![0.0, 150.0],
        modulation_shift: vec![150.0],
        modulation_scale: vec![450.0],
        bias: vec![0.0, 225.0],
        scale: vec![0.0, 225.0],
        residual: vec![3.0, 4.0],
        prologue_bias: vec![7.0],
        gate: vec![2.0],
        input: vec![6.0, 8.0],
    };
    assert_eq!(gradients, expected);
}

#[test]
fn operands_with_fewer_axes_are_the_same_along_the_others() {
    let input = [0.0; 12];
    let residual = [1.0, 2.0, 3.0, 10.0, 20.0, 30.0];
    for kind in [Group { groups: 1 }, Instance, Rms { axes: 2..3 }] {
        let fusion = Fusion::default().prologue(Prologue::residual(&[0, 2]).bias(&[1]));
        let d = NormDescriptor { affine: Affine::None, fusion, ..NormDescriptor::new(kind, &[2, 2, 3]) };
        let inputs = ReferenceInputs { input: &input[..], ..Default::default() };
        let operands =
            ReferenceFused { residual: Some(&residual), prologue_bias: Some(&[100.0, 200.0]), ..Default::default() };
        let sum = fused(&d, &inputs, &operands).unwrap().sum;
        let expected = [101.0, 102.0, 103.0, 201.0, 202.0, 203.0, 110.0, 120.0, 130.0, 210.0, 220.0, 230.0];
        assert_eq!(sum, expected, "{:?}", d.kind);
    }
}

#[test]
fn a_sum_is_rounded_before_its_statistics() {
    let random = &mut fastrand::Rng::with_seed(15);
    for element in [Element::F32, Element::F16, Element::Bf16] {
        let prologue = Prologue::residual(&[0, 1]).rounding(SumRounding::AsStored(element));
        let fusion = Fusion::default().prologue(prologue);
        let d = NormDescriptor { fusion, ..NormDescriptor::new(Layer { axes: 1..2 }, &[3, 7]) };
        let [input, residual] = [0, 1].map(|_| apart(21, random));
        let [scale, bias] = [0, 1].map(|_| apart(7, random));
        let inputs = ReferenceInputs { input: &input[..], scale: Some(&scale), bias: Some(&bias), given: None };
        let tensors = ReferenceFused { residual: Some(&residual[..]), ..Default::default() };
        let exact: Vec<f64> = input.iter().zip(&residual).map(|(x, r)| x + r).collect();
        let stored: Vec<f64> = exact.iter().map(|&s| rounded(s, element)).collect();
        assert_ne!(stored, exact);

        let actual = fused(&d, &inputs, &tensors).unwrap();
        let of_sum = ReferenceInputs { input: &stored[..], ..inputs };
        let ReferenceOutput { output, mean, variance } = forward(&d, &of_sum).unwrap();
        assert_eq!(actual, FusedOutput { output, sum: stored.clone(), mean, variance }, "{element}");

        let grad_output = apart(21, random);
        let plain = backward(&d, &of_sum, &grad_output).unwrap();
        let actual = fused_backward(&d, &inputs, &tensors, &grad_output, None).unwrap();
        let ReferenceGradients { input, scale, bias } = plain;
        let residual = input.clone();
        let expected = FusedReferenceGradients { input, scale, bias, residual, ..Default::default() };
        assert_eq!(actual, expected, "{element}");
    }
}

#[test]
fn a_normalized_tensor_is_rounded_before_its_scale() {
    let random = &mut fastrand::Rng::with_seed(16);
    for element in [Element::F32, Element::F16, Element::Bf16] {
        let fusion = Fusion::default().normalized_rounding(NormalizedRounding::AsOutput);
        let types = Types::default().output(element);
        let d = NormDescriptor { fusion, types, ..NormDescriptor::new(Rms { axes: 1..2 }, &[1, 7]) };
        let [input, scale] = [0, 1].map(|_| apart(7, random));
        let inputs = ReferenceInputs { input: &input[..], scale: Some(&scale), bias: None, given: None };
        let none = ReferenceFused::default();
        let plain = NormDescriptor { affine: Affine::None, fusion: Fusion::default(), ..d.clone() };
        let h = forward(&plain, &ReferenceInputs { scale: None, ..inputs }).unwrap().output;
        let h: Vec<f64> = h.into_iter().map(|h| rounded(h, element)).collect();
        let times = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<_>>();
        assert_eq!(fused(&d, &inputs, &none).unwrap().output, times(&h, &scale), "{element}");

        let grad_output = apart(7, random);
        let actual = fused_backward(&d, &inputs, &none, &grad_output, None).unwrap();
        assert_eq!(actual.scale, times(&grad_output, &h), "{element}");
        let plain = NormDescriptor { fusion: Fusion::default(), ..d.clone() };
        assert_eq!(actual.input, backward(&plain, &inputs, &grad_output).unwrap().input, "{element}");
    }
}

#[test]
fn activations_far_out_are_ordinary() {
    let fusion = Fusion::default().epilogue(Epilogue::activation(Silu).gate(Silu).addend());
    let new = NormDescriptor::new(Layer { axes: 0..1 }, &[2]);
    let d = NormDescriptor { affine: Affine::None, fusion, ..new };
    let inputs = ReferenceInputs { input: &[1.0, 3.0_f32], ..Default::default() };
    let z = Some(&[2.0, 1e30][..]);
    let operands = ReferenceFused { addend: Some(&[-1e30, 1000.0]), z, ..Default::default() };
    let output = fused(&d, &inputs, &operands).unwrap().output;
    assert!(output[0] == 0.0 && output[0].is_sign_negative(), "{output:?}");
    assert!((output[1] / 1e30 - 1001.0).abs() < 0.01, "{output:?}");
    let gradients = fused_backward(&d, &inputs, &operands, &[1.0, 1.0], None).unwrap();
    assert_eq!(gradients.addend, [0.0, f64::from(1e30_f32)]);
    assert!(gradients.input.iter().chain(&gradients.z).all(|x| x.is_finite()), "{gradients:?}");
}

#[test]
fn nan_stays_where_it_is() {
    let fusion = Fusion::default().prologue(Prologue::residual(&[0, 1]));
    let fusion = fusion.epilogue(Epilogue::activation(Relu).addend().out_gate(&[1]));
    let d = NormDescriptor { affine: Affine::None, fusion, ..NormDescriptor::new(Rms { axes: 1..2 }, &[3, 2]) };
    let inputs = ReferenceInputs { input: &[1.0; 6], ..Default::default() };
    let operands = ReferenceFused {
        residual: Some(&[0.0, 0.0, f32::NAN, 0.0, 0.0, 0.0]),
        addend: Some(&[0.0, 0.0, 0.0, 0.0, f32::NAN, 0.0]),
        out_gate: Some(&[1.0, 2.0]),
        ..Default::default()
    };
    let output = fused(&d, &inputs, &operands).unwrap();
    let is_nan: Vec<bool> = output.output.iter().map(|x| x.is_nan()).collect();
    assert_eq!(is_nan, [false, false, true, true, true, false]);
    assert_eq!(output.sum.iter().map(|x| x.is_nan()).collect::<Vec<_>>(), [false, false, true, false, false, false]);
}

#[test]
fn empty_tensors_have_sums_of_zero() {
    let prologue = Prologue::residual(&[0, 1]).bias(&[1]).multiplier(Multiplier::Gate(&[]));
    let fusion = Fusion::default().prologue(prologue).modulation(Modulation::new(&[0]));
    let d = NormDescriptor { fusion, ..NormDescriptor::new(Batch, &[0, 3]) };
    let parameter = Some(&[1.0_f32; 3][..]);
    let inputs = ReferenceInputs { input: &[], scale: parameter, bias: parameter, given: None };
    let operands = ReferenceFused {
        residual: Some(&[]),
        prologue_bias: parameter,
        gate: Some(&[2.0]),
        modulation_scale: Some(&[]),
        modulation_shift: Some(&[]),
        ..Default::default()
    };
    let output = fused(&d, &inputs, &operands).unwrap();
    assert!(output.output.is_empty() && output.sum.is_empty());
    let gradients = fused_backward(&d, &inputs, &operands, &[], Some(&[])).unwrap();
    let zeros = vec![0.0; 3];
    let (scale, bias, prologue_bias) = (zeros.clone(), zeros.clone(), zeros);
    let expected = FusedReferenceGradients { scale, bias, prologue_bias, gate: vec![0.0], ..Default::default() };
    assert_eq!(gradients, expected);
}
