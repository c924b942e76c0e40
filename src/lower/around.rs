//! What stands around a norm, to dispatches: tensors beside the input, parameters over partitions of their own.

use std::ops::Range;

use super::bindings::Access;
use super::{Tensor, access};
use crate::element::Element;
use crate::fusion::Activation;
use crate::kernel::parameters::Parameters;
use crate::kernel::{self, Settings, blocks};
use crate::operand::Operand;
use crate::partition::Partition;
use crate::walk::lookup::{Found, Rows};

/// A parameter over a partition of its own; its rows may be padded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Broadcast {
    pub tensor: Tensor,
    pub partition: Partition,
}

/// What the input is multiplied with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Multiply {
    #[default]
    One,
    Gate(Broadcast),
    Activation(Activation, Tensor),
}

/// The terms of the sum that is normalized.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Before {
    pub multiplier: Multiply,
    pub bias: Option<Broadcast>,
    pub residual: Option<Tensor>,
    /// What statistics see it rounded to.
    pub rounding: Element,
    /// Where the sum goes.
    pub sum: Option<Tensor>,
}

/// What becomes of the result of the affine map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct After {
    pub addend: Option<Tensor>,
    pub activation: Activation,
    pub gate: Option<(Activation, Tensor)>,
    pub out_gate: Option<Broadcast>,
    pub out_residual: Option<Tensor>,
    pub factor: f32,
    pub delta: Option<Delta>,
}

/// The way back through an epilogue: to the output goes the gradient to the result of the affine map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Delta {
    pub grad_output: Tensor,
    pub grad_z: Option<Tensor>,
    pub grad_addend: Option<Tensor>,
    pub core: Option<Tensor>,
}

/// The way back from the sum that was normalized to its terms.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Terms {
    pub arriving: Option<Tensor>,
    pub multiplier: Multiply,
    pub multiplied: Option<Tensor>,
    pub grad_residual: Option<Tensor>,
    pub grad_z: Option<Tensor>,
}

/// Everything around a norm that one dispatch has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Around {
    pub before: Option<Before>,
    pub after: Option<After>,
    pub terms: Option<Terms>,
    /// What the normalized tensor is rounded to before it meets its scale.
    pub normalized: Element,
}

/// An operand that is read or written.
type Bound<T> = (Operand, T, bool);

impl Multiply {
    fn tensor(&self) -> Option<Tensor> {
        if let Self::Activation(_, z) = self { Some(*z) } else { None }
    }

    fn gate(&self) -> Option<Broadcast> {
        if let Self::Gate(gate) = self { Some(*gate) } else { None }
    }

    fn activation(&self) -> Option<Activation> {
        if let Self::Activation(activation, _) = self { Some(*activation) } else { None }
    }
}

impl Around {
    /// Whether nothing stands around a norm, roundings aside.
    pub(super) fn is_none(&self) -> bool {
        self.before.is_none() && self.after.is_none() && self.terms.is_none()
    }

    /// Tensors, and whether they are written.
    fn bound(&self) -> Vec<Bound<Tensor>> {
        let mut all: Vec<Bound<Option<Tensor>>> = Vec::new();
        if let Some(before) = &self.before {
            all.push((Operand::Residual, before.residual, false));
            all.push((Operand::Z, before.multiplier.tensor(), false));
            all.push((Operand::Sum, before.sum, true));
        }
        if let Some(after) = &self.after {
            all.push((Operand::Addend, after.addend, false));
            all.push((Operand::Z, after.gate.map(|(_, z)| z), false));
            all.push((Operand::OutResidual, after.out_residual, false));
            if let Some(delta) = &after.delta {
                all.push((Operand::GradOutput, Some(delta.grad_output), false));
                all.push((Operand::GradZ, delta.grad_z, true));
                all.push((Operand::GradAddend, delta.grad_addend, true));
                all.push((Operand::Core, delta.core, true));
            }
        }
        if let Some(terms) = &self.terms {
            all.push((Operand::Arriving, terms.arriving, false));
            all.push((Operand::Z, terms.multiplier.tensor(), false));
            all.push((Operand::Multiplied, terms.multiplied, false));
            all.push((Operand::GradResidual, terms.grad_residual, true));
            all.push((Operand::GradZ, terms.grad_z, true));
        }
        all.into_iter().filter_map(|(operand, tensor, written)| Some((operand, tensor?, written))).collect()
    }

    fn broadcasts(&self) -> Vec<(Operand, Broadcast)> {
        let before = self.before.as_ref();
        let multiplier = before.map(|b| b.multiplier).or(self.terms.map(|t| t.multiplier)).unwrap_or_default();
        let gate = multiplier.gate();
        let bias = before.and_then(|b| b.bias);
        let out_gate = self.after.and_then(|after| after.out_gate);
        let all = [(Operand::Gate, gate), (Operand::PrologueBias, bias), (Operand::OutGate, out_gate)];
        all.into_iter().filter_map(|(operand, of)| Some((operand, of?))).collect()
    }

    /// The tensors that are walked with the input.
    pub(super) fn tensors(&self) -> Vec<Tensor> {
        self.bound().into_iter().map(|(_, tensor, _)| tensor).collect()
    }

    /// Those that are written.
    pub(super) fn written(&self) -> Vec<(Operand, Tensor)> {
        self.bound()
            .into_iter()
            .filter(|&(.., written)| written)
            .map(|(operand, tensor, _)| (operand, tensor))
            .collect()
    }

    /// What a run of elements touches.
    pub(super) fn accesses(&self, range: &Range<u64>) -> Vec<Access> {
        let tensors = self.bound().into_iter().map(|(operand, tensor, _)| access(operand, tensor, range));
        let lists = self.broadcasts().into_iter().filter(|(_, of)| of.partition.segments() > 0);
        tensors.chain(lists.map(|(operand, of)| access(operand, of.tensor, &(0..of.partition.segments())))).collect()
    }

    /// The fragments that it takes.
    pub(super) fn key(&self) -> kernel::Around {
        kernel::Around {
            before: self.before.is_some(),
            after: match &self.after {
                None => kernel::After::None,
                Some(After { delta: None, .. }) => kernel::After::Fused,
                Some(_) => kernel::After::Delta,
            },
            terms: self.terms.is_some(),
            sum: self.before.map_or(Element::F32, |before| before.rounding),
            normalized: self.normalized,
            one_plus: false,
            dealt: None,
        }
    }

    /// The constants of rows of `width` elements.
    pub(super) fn settings(&self, mut settings: Settings, width: u64) -> Settings {
        let multiplier = self.before.map(|b| b.multiplier).or(self.terms.map(|t| t.multiplier));
        if let Some(multiplier) = multiplier {
            settings = settings.with("MULTIPLIER", code(multiplier.activation()));
        }
        if let Some(after) = &self.after {
            let gate = after.gate.map(|(activation, _)| activation);
            settings = settings.with("ACTIVATION", code(Some(after.activation))).with("GATE_ACTIVATION", code(gate));
        }
        for (operand, of) in self.broadcasts() {
            let found = Rows::new(&of.partition, width).map_or(Found::Mixed, |rows| rows.found);
            let (at, padded) = match operand {
                Operand::Gate => ("GATE_FOUND", "GATE_PADDED"),
                Operand::PrologueBias => ("PROLOGUE_BIAS_FOUND", "PROLOGUE_BIAS_PADDED"),
                _ => ("OUT_GATE_FOUND", "OUT_GATE_PADDED"),
            };
            settings = settings.with(at, found as u32).with(padded, of.tensor.rows.is_some());
        }
        settings
    }

    /// The blocks of a window.
    pub(super) fn parameters(&self, mut parameters: Parameters, range: &Range<u64>) -> Parameters {
        let multiplier = self.before.map(|b| b.multiplier).or(self.terms.map(|t| t.multiplier));
        if let Some(multiplier) = multiplier {
            parameters = parameters.with(blocks::Before { slope: slope(multiplier.activation()), pad: [0; 3] });
        }
        if let Some(after) = &self.after {
            let gate_slope = slope(after.gate.map(|(activation, _)| activation));
            let own = slope(Some(after.activation));
            let block = blocks::After { factor: after.factor, slope: own, gate_slope, pad: 0 };
            parameters = parameters.with(block);
        }
        for (operand, of) in self.broadcasts() {
            let block = of.block(range);
            parameters = parameters.with_bytes(operand.name(), bytemuck::bytes_of(&block));
        }
        parameters
    }
}

impl Broadcast {
    /// Where the elements of a window find theirs.
    pub(super) fn block(&self, range: &Range<u64>) -> blocks::Broadcast {
        if range.is_empty() {
            return blocks::Broadcast::default();
        }
        let one = Partition::new(1, 1, 1, self.partition.elements());
        let rows = Rows::new(&self.partition, 1).or_else(|| Rows::new(&one, 1));
        let (len, stride) = self.tensor.rows.unwrap_or((1, 1));
        let Some(placed) = rows.map(|rows| rows.placed(range, true)) else { return blocks::Broadcast::default() };
        blocks::Broadcast {
            lookup: placed.lookup,
            first: placed.first_row,
            len: len as u32,
            stride: stride as u32,
            pad: 0,
        }
    }
}

/// As `lib/activation.wgsl` has it. A dispatch has z where the prologue or the epilogue takes it: to the other it is 1.
fn code(activation: Option<Activation>) -> u32 {
    match activation {
        Some(Activation::Identity) => 0,
        Some(Activation::Relu) => 1,
        Some(Activation::LeakyRelu { .. }) => 2,
        Some(Activation::Silu) => 3,
        Some(Activation::Gelu) => 4,
        Some(Activation::GeluTanh) => 5,
        Some(Activation::Sigmoid) => 6,
        None => 7,
    }
}

fn slope(activation: Option<Activation>) -> f32 {
    if let Some(Activation::LeakyRelu { slope }) = activation { slope } else { 0.0 }
}
