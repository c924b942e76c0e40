//! The algebra around a norm, an element at a time: what [`fused`](super::fused) says, with the names used there.

use super::activation::{slope, value};
use super::axes::{Axes, Lookup, check_length, check_operand, walk, wide};
use super::rounding::rounded;
use super::statistics::values;
use super::sum::Sum;
use super::{ReferenceError, ReferenceFused, ReferenceInputs, ReferenceOutput, backward, forward};
use crate::descriptor::{Affine, AffineAxes, NormDescriptor};
use crate::fusion::{Fusion, Multiplier, NormalizedRounding, SumRounding};

/// What a factor is that is not there.
const ONE: f64 = 1.0;
/// What a summand is that is not there: unlike 0, it keeps the sign of a zero.
const NOTHING: f64 = -0.0;

/// A norm, what stands around it, and all operands.
pub(super) struct Algebra<'a> {
    pub(super) norm: Norm<'a>,
    fusion: Fusion<'a>,
    axes: Axes,
    input: Vec<f64>,
    gate: Operand,
    z: Operand,
    prologue_bias: Operand,
    residual: Operand,
    /// With its added 1, as the scale of the modulation.
    scale: Operand,
    bias: Operand,
    modulation_scale: Operand,
    modulation_shift: Operand,
    addend: Operand,
    out_gate: Operand,
    out_residual: Operand,
}

impl<'a> Algebra<'a> {
    pub(super) fn new<T: Copy + Into<f64>>(
        d: &'a NormDescriptor<'a>,
        inputs: &ReferenceInputs<T>,
        given: &ReferenceFused<T>,
    ) -> Result<Self, ReferenceError> {
        let axes = Axes::of(d)?;
        check_length("input", inputs.input.len(), axes.sizes.iter().product())?;
        let Fusion { prologue, modulation, epilogue, .. } = d.fusion;
        let operand = |name, given, kept: Option<&[usize]>, when_absent| {
            let lookup = axes.along(kept.unwrap_or_default())?;
            Operand::new(name, given, lookup, kept.is_some(), when_absent)
        };
        let parameter = |name, given, is_wanted, when_absent| {
            let lookup = if is_wanted { axes.affine.clone() } else { axes.along(&[])? };
            Operand::new(name, given, lookup, is_wanted, when_absent)
        };
        let all: Vec<usize> = (0..d.shape.len()).collect();
        let tensor = |is_wanted: bool| is_wanted.then_some(&all[..]);
        let (gate, is_activated) = match prologue.multiplier {
            Multiplier::None => (None, false),
            Multiplier::Gate(axes) => (Some(axes), false),
            Multiplier::Activation(_) => (None, true),
        };
        let has_z = is_activated || epilogue.gate.is_some();
        let g = modulation.filter(|modulation| modulation.scale).map(|modulation| modulation.axes);
        let t = modulation.filter(|modulation| modulation.shift).map(|modulation| modulation.axes);
        let is_one_added_to_g = modulation.is_some_and(|modulation| modulation.one_plus);
        Ok(Self {
            norm: Norm::of(d, inputs),
            fusion: d.fusion,
            input: wide(inputs.input).collect(),
            gate: operand("gate", given.gate, gate, ONE)?,
            z: operand("z", given.z, tensor(has_z), ONE)?,
            prologue_bias: operand("prologue_bias", given.prologue_bias, prologue.bias, NOTHING)?,
            residual: operand("residual", given.residual, prologue.residual, NOTHING)?,
            scale: parameter("scale", inputs.scale, d.affine.has_scale(), ONE)?.plus_one(d.fusion.one_plus_scale),
            bias: parameter("bias", inputs.bias, d.affine.has_bias(), NOTHING)?,
            modulation_scale: operand("modulation_scale", given.modulation_scale, g, ONE)?.plus_one(is_one_added_to_g),
            modulation_shift: operand("modulation_shift", given.modulation_shift, t, NOTHING)?,
            addend: operand("addend", given.addend, tensor(epilogue.addend), NOTHING)?,
            out_gate: operand("out_gate", given.out_gate, epilogue.out_gate, ONE)?,
            out_residual: operand("out_residual", given.out_residual, tensor(epilogue.out_residual), NOTHING)?,
            axes,
        })
    }

    /// The operands of the prologue.
    fn before(&self) -> [&Operand; 4] {
        [&self.gate, &self.z, &self.prologue_bias, &self.residual]
    }

    /// The operands that are met after the norm and have gradients of their own.
    fn after(&self) -> [&Operand; 7] {
        let Self { scale, bias, modulation_scale, modulation_shift, addend, z, out_gate, .. } = self;
        [scale, bias, modulation_scale, modulation_shift, addend, z, out_gate]
    }

    /// m of an element.
    fn multiplier(&self, gate: usize, z: usize) -> f64 {
        match self.fusion.prologue.multiplier {
            Multiplier::Activation(activation) => value(activation, self.z.values[z]),
            Multiplier::None | Multiplier::Gate(_) => self.gate.values[gate],
        }
    }

    /// s, as statistics see it.
    pub(super) fn sum(&self) -> Vec<f64> {
        let mut sum = Vec::with_capacity(self.input.len());
        walk(self.input.iter(), &self.axes.sizes, lookups(self.before()), |&x, [gate, z, c, r]| {
            let s = x * self.multiplier(gate, z) + self.prologue_bias.values[c] + self.residual.values[r];
            sum.push(match self.fusion.prologue.rounding {
                SumRounding::Exact => s,
                SumRounding::AsStored(element) => rounded(s, element),
            });
        });
        sum
    }

    /// y, of what the norm gives.
    pub(super) fn output(&self, normalized: &[f64]) -> Vec<f64> {
        let mut output = Vec::with_capacity(normalized.len());
        let elements = normalized.iter().enumerate();
        walk(elements, &self.axes.sizes, lookups(self.after()), |(index, &h), places| {
            let p = self.passage(h, places);
            let last = if self.out_residual.is_present { index } else { 0 };
            output.push(p.factor * p.activated * p.gate * p.q + self.out_residual.values[last]);
        });
        output
    }

    /// The gradients to what the norm gives and to the operands [`after`](Self::after) it.
    pub(super) fn gradients_after(
        &self,
        normalized: &[f64],
        grad_output: impl Iterator<Item = f64>,
    ) -> (Vec<f64>, [Vec<f64>; 7]) {
        let mut to_normalized = Vec::with_capacity(normalized.len());
        let elements = normalized.iter().zip(grad_output);
        let to_operands = gradients(elements, &self.axes.sizes, self.after(), |(&h, dy), places| {
            let p = self.passage(h, places);
            let d = p.factor * dy * p.q;
            let dv = d * p.activated_slope * p.gate;
            let du = dv * p.g;
            to_normalized.push(du * p.w);
            let dz = p.gate_slope.map_or(0.0, |slope| d * p.activated * slope);
            [du * p.h, du, dv * p.u, dv, dv, dz, p.factor * dy * p.activated * p.gate]
        });
        (to_normalized, to_operands)
    }

    /// The gradients to the input and to the operands [`before`](Self::before) the norm, of that to the sum.
    pub(super) fn gradients_before(&self, to_sum: &[f64]) -> (Vec<f64>, [Vec<f64>; 4]) {
        let mut to_input = Vec::with_capacity(to_sum.len());
        let elements = self.input.iter().zip(to_sum);
        let to_operands = gradients(elements, &self.axes.sizes, self.before(), |(&x, &ds), [gate, z, ..]| {
            to_input.push(ds * self.multiplier(gate, z));
            let dz = match self.fusion.prologue.multiplier {
                Multiplier::Activation(activation) => ds * x * slope(activation, self.z.values[z]),
                Multiplier::None | Multiplier::Gate(_) => 0.0,
            };
            [ds * x, dz, ds, ds]
        });
        (to_input, to_operands)
    }

    fn passage(&self, h: f64, [scale, bias, g, t, e, z, q]: [usize; 7]) -> Passage {
        let Fusion { normalized_rounding, epilogue, .. } = &self.fusion;
        let h = match normalized_rounding {
            NormalizedRounding::None => h,
            NormalizedRounding::AsOutput => rounded(h, self.norm.descriptor.types.output),
        };
        let (w, g, z) = (self.scale.values[scale], self.modulation_scale.values[g], self.z.values[z]);
        let u = h * w + self.bias.values[bias];
        let v = u * g + self.modulation_shift.values[t];
        let activated = v + self.addend.values[e];
        Passage {
            h,
            w,
            u,
            g,
            activated: value(epilogue.activation, activated),
            activated_slope: slope(epilogue.activation, activated),
            gate: epilogue.gate.map_or(ONE, |gate| value(gate, z)),
            gate_slope: epilogue.gate.map(|gate| slope(gate, z)),
            q: self.out_gate.values[q],
            factor: f64::from(epilogue.factor),
        }
    }
}

/// What an element meets on its way from the norm to the output.
struct Passage {
    h: f64,
    w: f64,
    u: f64,
    g: f64,
    /// act1, and its slope there.
    activated: f64,
    activated_slope: f64,
    /// act2, and its slope where there is one.
    gate: f64,
    gate_slope: Option<f64>,
    q: f64,
    factor: f64,
}

/// The norm alone, and the statistics that are given to it.
pub(super) struct Norm<'a> {
    descriptor: NormDescriptor<'a>,
    given: Option<(Vec<f64>, Vec<f64>)>,
}

impl<'a> Norm<'a> {
    fn of<T: Copy + Into<f64>>(d: &NormDescriptor<'a>, inputs: &ReferenceInputs<T>) -> Self {
        let (affine, affine_axes, fusion) = (Affine::None, AffineAxes::OfKind, Fusion::default());
        let given = inputs.given.map(|(mean, variance)| (wide(mean).collect(), wide(variance).collect()));
        Self { descriptor: NormDescriptor { affine, affine_axes, fusion, ..d.clone() }, given }
    }

    fn inputs<'b>(&'b self, sum: &'b [f64]) -> ReferenceInputs<'b, f64> {
        let given = self.given.as_ref().map(|(mean, variance)| (&mean[..], &variance[..]));
        ReferenceInputs { input: sum, scale: None, bias: None, given }
    }

    pub(super) fn forward(&self, sum: &[f64]) -> Result<ReferenceOutput, ReferenceError> {
        forward(&self.descriptor, &self.inputs(sum))
    }

    /// The gradient to the sum.
    pub(super) fn backward(&self, sum: &[f64], to_normalized: &[f64]) -> Result<Vec<f64>, ReferenceError> {
        Ok(backward(&self.descriptor, &self.inputs(sum), to_normalized)?.input)
    }
}

/// An operand, and where an element finds its value there. One that is absent is a single number that changes nothing.
struct Operand {
    values: Vec<f64>,
    lookup: Lookup,
    is_present: bool,
}

impl Operand {
    fn new<T: Copy + Into<f64>>(
        name: &'static str,
        given: Option<&[T]>,
        lookup: Lookup,
        is_wanted: bool,
        when_absent: f64,
    ) -> Result<Self, ReferenceError> {
        check_operand(name, given, is_wanted.then_some(lookup.len))?;
        let values = given.map_or_else(|| vec![when_absent], |given| wide(given).collect());
        Ok(Self { values, lookup, is_present: is_wanted })
    }

    fn plus_one(mut self, is_added: bool) -> Self {
        if self.is_present && is_added {
            self.values.iter_mut().for_each(|value| *value += 1.0);
        }
        self
    }
}

fn lookups<const N: usize>(operands: [&Operand; N]) -> [&Lookup; N] {
    operands.map(|operand| &operand.lookup)
}

/// Gradients to operands: what `terms` gives of each element, summed over the elements that share a value. Empty where
/// an operand is absent.
fn gradients<E, const N: usize>(
    elements: impl Iterator<Item = E>,
    sizes: &[usize],
    operands: [&Operand; N],
    mut terms: impl FnMut(E, [usize; N]) -> [f64; N],
) -> [Vec<f64>; N] {
    let mut sums = operands.map(|operand| vec![Sum::default(); operand.values.len()]);
    walk(elements, sizes, lookups(operands), |element, places| {
        for ((sums, place), term) in sums.iter_mut().zip(places).zip(terms(element, places)) {
            sums[place].add(term);
        }
    });
    let mut present = operands.iter().map(|operand| operand.is_present);
    sums.map(|sums| if present.next() == Some(true) { values(sums) } else { Vec::new() })
}
