use super::backward_tests::{apart, check_gradient, dot};
use super::statistics::is_centred;
use super::*;
use crate::descriptor::{Affine, AffineAxes, Epsilon, MemoryFormat, NormKind};
use crate::fusion::{ALL_AXES, Activation, Epilogue, Fusion, Modulation, Multiplier, Prologue};

use Activation::{Gelu, GeluTanh, Identity, LeakyRelu, Relu, Sigmoid, Silu};
use NormKind::*;

const NAMES: [&str; 12] = [
    "input",
    "scale",
    "bias",
    "residual",
    "gate",
    "z",
    "prologue_bias",
    "modulation_scale",
    "modulation_shift",
    "addend",
    "out_gate",
    "out_residual",
];

/// All operands in the order of [`NAMES`], as far as there are any.
#[derive(Clone)]
struct Operands {
    values: [Option<Vec<f64>>; 12],
    given: Option<(Vec<f64>, Vec<f64>)>,
}

impl Operands {
    fn random(d: &NormDescriptor, is_given: bool, random: &mut fastrand::Rng) -> Self {
        let values = lengths(d).map(|len| len.map(|len| apart(len, random)));
        let axes = Axes::of(d).unwrap();
        let mean = apart(if is_centred(&d.kind) { axes.given.len } else { 0 }, random);
        let variance = apart(axes.given.len, random).into_iter().map(f64::abs).collect();
        Self { values, given: is_given.then_some((mean, variance)) }
    }

    fn split(&self) -> (ReferenceInputs<'_, f64>, ReferenceFused<'_, f64>) {
        let [input, scale, bias, residual, gate, z, prologue_bias, rest @ ..] =
            self.values.each_ref().map(Option::as_deref);
        let [modulation_scale, modulation_shift, addend, out_gate, out_residual] = rest;
        let given = self.given.as_ref().map(|(mean, variance)| (&mean[..], &variance[..]));
        let inputs = ReferenceInputs { input: input.unwrap_or_default(), scale, bias, given };
        let before = ReferenceFused { residual, gate, z, prologue_bias, ..Default::default() };
        (inputs, ReferenceFused { modulation_scale, modulation_shift, addend, out_gate, out_residual, ..before })
    }

    fn forward(&self, d: &NormDescriptor) -> Result<FusedOutput, ReferenceError> {
        let (inputs, operands) = self.split();
        fused(d, &inputs, &operands)
    }

    /// Gradients in the order of [`NAMES`].
    fn backward(&self, d: &NormDescriptor, grad_output: &[f64], arriving: Option<&[f64]>) -> [Vec<f64>; 12] {
        let (inputs, operands) = self.split();
        let g = fused_backward(d, &inputs, &operands, grad_output, arriving).unwrap();
        let out_residual = if operands.out_residual.is_some() { grad_output.to_vec() } else { Vec::new() };
        let [bias, residual, gate, z] = [g.bias, g.residual, g.gate, g.z];
        let [modulation_scale, modulation_shift, addend] = [g.modulation_scale, g.modulation_shift, g.addend];
        let after = [modulation_scale, modulation_shift, addend, g.out_gate, out_residual];
        let mut all = [g.input, g.scale, bias, residual, gate, z, g.prologue_bias].into_iter().chain(after);
        NAMES.map(|_| all.next().unwrap())
    }
}

/// The elements of each operand that the norm has.
fn lengths(d: &NormDescriptor) -> [Option<usize>; 12] {
    let Fusion { prologue, modulation, epilogue, .. } = d.fusion;
    let along = |axes: &[usize]| axes.iter().map(|&axis| d.shape[axis] as usize).product::<usize>();
    let all = along(&ALL_AXES[..d.shape.len()]);
    let affine = Axes::of(d).unwrap().affine.len;
    let (gate, is_activated) = match prologue.multiplier {
        Multiplier::None => (None, false),
        Multiplier::Gate(axes) => (Some(along(axes)), false),
        Multiplier::Activation(_) => (None, true),
    };
    [
        Some(all),
        d.affine.has_scale().then_some(affine),
        d.affine.has_bias().then_some(affine),
        prologue.residual.map(along),
        gate,
        (is_activated || epilogue.gate.is_some()).then_some(all),
        prologue.bias.map(along),
        modulation.filter(|m| m.scale).map(|m| along(m.axes)),
        modulation.filter(|m| m.shift).map(|m| along(m.axes)),
        epilogue.addend.then_some(all),
        epilogue.out_gate.map(along),
        epilogue.out_residual.then_some(all),
    ]
}

/// Every gradient is the derivative of what output and sum are together.
fn check_derivatives(d: &NormDescriptor, is_given: bool, random: &mut fastrand::Rng) {
    let mut operands = Operands::random(d, is_given, random);
    if matches!(d.fusion.epilogue.activation, Relu | LeakyRelu { .. }) {
        // So far out that the kink at 0 is out of reach.
        operands.values[9].iter_mut().flatten().for_each(|x| *x *= 100.0);
    }
    let len = d.shape.iter().product::<u64>() as usize;
    let (grad_output, arriving) = (apart(len, random), apart(len, random));
    let gradients = operands.backward(d, &grad_output, Some(&arriving));
    for (which, gradient) in gradients.into_iter().enumerate() {
        let name = format!("{d:?}, given {is_given}: {}", NAMES[which]);
        assert_eq!(gradient.len(), operands.values[which].as_ref().map_or(0, Vec::len), "{name}");
        check_gradient(&name, &gradient, random, |change| {
            let mut moved = operands.clone();
            moved.values[which].iter_mut().for_each(|values| change(values));
            let FusedOutput { output, sum, .. } = moved.forward(d).unwrap();
            dot(&output, &grad_output) + dot(&sum, &arriving)
        });
    }
}

fn kinds() -> [NormKind<'static>; 10] {
    [
        Layer { axes: 2..3 },
        Rms { axes: 1..3 },
        Group { groups: 2 },
        Batch,
        Instance,
        MeanVariance { axes: &[0, 2] },
        LpNormalize { p: 2.0, axes: 1..2 },
        LpNormalize { p: 3.5, axes: 2..3 },
        Weight { dim: Some(1) },
        Layer { axes: 1..2 },
    ]
}

fn prologues() -> [Prologue<'static>; 8] {
    let none = Prologue::default();
    let residual = Prologue::residual(&ALL_AXES[..3]);
    [
        none,
        residual,
        residual.bias(&[1]),
        none.bias(&[0, 2]).multiplier(Multiplier::Gate(&[1, 2])),
        Prologue::residual(&[1]).multiplier(Multiplier::Gate(&[0])),
        none.multiplier(Multiplier::Activation(Silu)),
        residual.bias(&[2]).multiplier(Multiplier::Activation(GeluTanh)),
        Prologue::residual(&[]).bias(&[]).multiplier(Multiplier::Gate(&[0, 1, 2])),
    ]
}

fn modulations() -> [Option<Modulation<'static>>; 6] {
    let coarse = Modulation::new(&[0]);
    [
        None,
        Some(coarse),
        Some(Modulation { one_plus: false, ..Modulation::new(&[0, 1, 2]) }),
        Some(Modulation { shift: false, ..Modulation::new(&[1, 2]) }),
        Some(Modulation { scale: false, ..Modulation::new(&[0, 2]) }),
        Some(Modulation::new(&[])),
    ]
}

fn epilogues() -> [Epilogue<'static>; 11] {
    let none = Epilogue::default();
    [
        none,
        Epilogue::activation(Relu).addend(),
        Epilogue::activation(LeakyRelu { slope: 0.25 }).addend().gate(LeakyRelu { slope: -0.5 }),
        Epilogue::activation(Silu).addend().out_residual(),
        Epilogue::activation(Gelu).out_gate(&[0]),
        Epilogue::activation(GeluTanh).gate(Silu).factor(0.75),
        Epilogue::activation(Sigmoid).out_gate(&[1, 2]).out_residual(),
        none.gate(Relu),
        none.gate(Gelu).addend(),
        none.gate(Sigmoid).out_gate(&[]).factor(-2.0),
        none.gate(Identity).out_gate(&[0, 1, 2]).out_residual().factor(3.0),
    ]
}

#[test]
fn gradients_are_derivatives() {
    let random = &mut fastrand::Rng::with_seed(11);
    let affines = [Affine::ScaleAndBias, Affine::Scale, Affine::None, Affine::Bias];
    let epilogues = epilogues();
    let mut round = 0;
    for kind in kinds() {
        for prologue in prologues() {
            for modulation in modulations() {
                let epilogue = epilogues[round % epilogues.len()];
                let fusion = Fusion { prologue, modulation, epilogue, ..Fusion::default() };
                let fusion = if round % 3 == 0 { fusion.one_plus_scale() } else { fusion };
                let is_last = round % 2 == 1;
                let format = if is_last { MemoryFormat::ChannelsLast } else { MemoryFormat::ChannelsFirst };
                let shape = if is_last { [2, 3, 4] } else { [2, 4, 3] };
                let (eps, affine) = (Epsilon::InsideRoot(0.1), affines[round / 2 % affines.len()]);
                let new = NormDescriptor::new(kind.clone(), &shape);
                let d = NormDescriptor { format, eps, affine, fusion, ..new };
                check_derivatives(&d, round % 5 == 0, random);
                round += 1;
            }
        }
    }
}

#[test]
fn gradients_with_a_scale_along_other_axes_are_derivatives() {
    let random = &mut fastrand::Rng::with_seed(12);
    let fusion = Fusion::default()
        .prologue(Prologue::residual(&[0, 2]).multiplier(Multiplier::Gate(&[1])))
        .modulation(Modulation::new(&[0, 1]))
        .epilogue(Epilogue::activation(Silu).gate(Silu));
    for (kind, affine_axes) in [
        (Group { groups: 2 }, AffineAxes::Groups),
        (Group { groups: 2 }, AffineAxes::Axes(&[0, 1])),
        (Layer { axes: 2..3 }, AffineAxes::Axes(&[1])),
        (Batch, AffineAxes::Axes(&[0, 1, 2])),
    ] {
        let new = NormDescriptor::new(kind, &[2, 4, 3]);
        let d = NormDescriptor { affine: Affine::ScaleAndBias, affine_axes, fusion, ..new };
        check_derivatives(&d, false, random);
    }
}

/// One tensor for the prologue and the epilogue, which no kernel has, has the sum of both gradients.
#[test]
fn a_tensor_may_gate_twice() {
    let random = &mut fastrand::Rng::with_seed(13);
    let prologue = Prologue::default().multiplier(Multiplier::Activation(Sigmoid));
    let fusion = Fusion::default().prologue(prologue).epilogue(Epilogue::default().gate(Silu));
    let d = NormDescriptor { fusion, ..NormDescriptor::new(Layer { axes: 1..2 }, &[2, 5]) };
    check_derivatives(&d, false, random);
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn without_a_fusion_it_is_the_plain_norm() {
    let random = &mut fastrand::Rng::with_seed(14);
    for kind in kinds() {
        for affine in [Affine::None, Affine::Scale, Affine::Bias, Affine::ScaleAndBias] {
            for is_given in [false, true] {
                let d = NormDescriptor { affine, ..NormDescriptor::new(kind.clone(), &[2, 4, 3]) };
                let mut operands = Operands::random(&d, is_given, random);
                operands.values[0].iter_mut().for_each(|input| input[..3].copy_from_slice(&[0.0, -0.0, f64::NAN]));
                operands.values[1].iter_mut().for_each(|scale| scale[0] = -0.0);
                let (inputs, none) = operands.split();
                let (plain, actual) = (forward(&d, &inputs).unwrap(), fused(&d, &inputs, &none).unwrap());
                assert_eq!(bits(&actual.output), bits(&plain.output), "{d:?}");
                assert_eq!(bits(&actual.mean), bits(&plain.mean), "{d:?}");
                assert_eq!(bits(&actual.variance), bits(&plain.variance), "{d:?}");
                assert_eq!(bits(&actual.sum), bits(inputs.input), "{d:?}");

                let grad_output = apart(24, random);
                let plain = backward(&d, &inputs, &grad_output).unwrap();
                let actual = fused_backward(&d, &inputs, &none, &grad_output, None).unwrap();
                assert_eq!(bits(&actual.input), bits(&plain.input), "{d:?}");
                assert_eq!(bits(&actual.scale), bits(&plain.scale), "{d:?}");
                assert_eq!(bits(&actual.bias), bits(&plain.bias), "{d:?}");
            }
        }
    }
}

#[test]
fn mistakes_are_typed_errors() {
    use ReferenceError as E;
    let random = &mut fastrand::Rng::with_seed(17);
    let prologue = Prologue::residual(&[0, 1]).bias(&[1]).multiplier(Multiplier::Gate(&[0]));
    let epilogue = Epilogue::activation(Silu).addend().gate(Silu).out_gate(&[1]).out_residual();
    let fusion = Fusion::default().prologue(prologue).modulation(Modulation::new(&[0])).epilogue(epilogue);
    let full = NormDescriptor { fusion, ..NormDescriptor::new(Layer { axes: 1..2 }, &[2, 5]) };
    let bare = NormDescriptor { affine: Affine::None, ..NormDescriptor::new(Layer { axes: 1..2 }, &[2, 5]) };
    let operands = Operands::random(&full, false, random);
    for (which, operand) in NAMES.into_iter().enumerate() {
        let mut one_more = operands.clone();
        one_more.values[which].iter_mut().for_each(|values| values.push(0.0));
        let expected = operands.values[which].as_ref().unwrap().len();
        let length = E::Length { operand, expected, actual: expected + 1 };
        assert_eq!(one_more.forward(&full), Err(length));
        if which == 0 {
            continue;
        }
        let mut without = operands.clone();
        without.values[which] = None;
        assert_eq!(without.forward(&full), Err(E::Missing { operand }));
        let mut alone = Operands { values: Default::default(), given: None };
        alone.values[0] = operands.values[0].clone();
        alone.values[which] = operands.values[which].clone();
        assert_eq!(alone.forward(&bare), Err(E::Unexpected { operand }));
    }

    let (inputs, tensors) = operands.split();
    let run = |grad_output: &[f64], arriving| fused_backward(&full, &inputs, &tensors, grad_output, arriving);
    assert_eq!(run(&[0.0; 9], None), Err(E::Length { operand: "grad_output", expected: 10, actual: 9 }));
    assert_eq!(run(&[0.0; 10], Some(&[0.0])), Err(E::Length { operand: "arriving", expected: 10, actual: 1 }));
    for axes in [&[2][..], &[1, 0], &[0, 0]] {
        let d = NormDescriptor { fusion: fusion.prologue(prologue.bias(axes)), ..full.clone() };
        assert_eq!(operands.forward(&d), Err(E::AxesOutOfRange { axes: axes.to_vec(), rank: 2 }));
    }
}
