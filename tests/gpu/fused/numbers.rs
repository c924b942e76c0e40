//! Values of everything that a norm and what stands around it take, and what the f64 reference makes of them.

use crate::harness::values;
use wgpu_norm::reference::{self, FusedOutput, FusedReferenceGradients, ReferenceFused, ReferenceInputs};
use wgpu_norm::*;
use wgpu_norm_tools::elements::rounded;

/// An operand that is read: its values, each as its element has it, and the length of a row of it.
pub struct Item {
    pub operand: Operand,
    pub element: Element,
    /// Whether views say the element.
    pub named: bool,
    pub row: usize,
    pub values: Vec<f32>,
}

pub struct Numbers {
    pub items: Vec<Item>,
    /// Mean and variance of each channel, in place of the input's own.
    pub given: Option<(Vec<f32>, Vec<f32>)>,
}

/// What the reference computes.
pub struct Expected {
    pub forward: FusedOutput,
    pub gradients: Vec<Gradient>,
}

/// A gradient, and the largest magnitude of what it is a difference of.
pub struct Gradient {
    pub operand: Operand,
    pub values: Vec<f64>,
    pub terms: f64,
}

/// The gradients that a norm has, each with the operand that it is one to.
pub const GRADIENTS: [(Operand, Operand); 11] = [
    (Operand::GradInput, Operand::Input),
    (Operand::GradScale, Operand::Scale),
    (Operand::GradBias, Operand::Bias),
    (Operand::GradResidual, Operand::Residual),
    (Operand::GradGate, Operand::Gate),
    (Operand::GradZ, Operand::Z),
    (Operand::GradPrologueBias, Operand::PrologueBias),
    (Operand::GradModulationScale, Operand::ModulationScale),
    (Operand::GradModulationShift, Operand::ModulationShift),
    (Operand::GradAddend, Operand::Addend),
    (Operand::GradOutGate, Operand::OutGate),
];

/// What a fusion names, and the axes that each varies along.
fn named(d: &NormDescriptor<'_>) -> Vec<(Operand, Vec<usize>)> {
    let Fusion { prologue, modulation, epilogue, .. } = d.fusion;
    let all: Vec<usize> = (0..d.shape.len()).collect();
    let whole = |is_there: bool| is_there.then(|| all.clone());
    let of = |axes: Option<&[usize]>| axes.map(<[usize]>::to_vec);
    let gate = if let Multiplier::Gate(axes) = prologue.multiplier { Some(axes) } else { None };
    let is_activated = matches!(prologue.multiplier, Multiplier::Activation(_));
    let [g, t] = [modulation.filter(|m| m.scale), modulation.filter(|m| m.shift)].map(|m| m.map(|m| m.axes));
    let operands = [
        (Operand::Input, whole(true)),
        (Operand::GradOutput, whole(true)),
        (Operand::Residual, of(prologue.residual)),
        (Operand::Gate, of(gate)),
        (Operand::Z, whole(is_activated || epilogue.gate.is_some())),
        (Operand::PrologueBias, of(prologue.bias)),
        (Operand::ModulationScale, of(g)),
        (Operand::ModulationShift, of(t)),
        (Operand::Addend, whole(epilogue.addend)),
        (Operand::OutGate, of(epilogue.out_gate)),
        (Operand::OutResidual, whole(epilogue.out_residual)),
        (Operand::Arriving, whole(true)),
    ];
    operands.into_iter().filter_map(|(operand, axes)| Some((operand, axes?))).collect()
}

/// Around what the values of an operand lie, and how far.
fn center(d: &NormDescriptor<'_>, operand: Operand) -> (f32, f32) {
    let one_plus = d.fusion.modulation.is_some_and(|m| m.one_plus);
    let of_scale = |one_plus: bool| (if one_plus { 0.0 } else { 1.0 }, 0.5);
    match operand {
        Operand::Input => (0.5, 1.0),
        Operand::Scale => of_scale(d.fusion.one_plus_scale),
        Operand::ModulationScale => of_scale(one_plus),
        Operand::Gate | Operand::OutGate => (1.0, 0.5),
        _ => (0.0, 1.0),
    }
}

/// Whether an operand is a tensor, as the input is.
fn is_tensor(d: &NormDescriptor<'_>, operand: Operand) -> bool {
    let whole = d.fusion.prologue.residual.is_some_and(|axes| axes.len() == d.shape.len());
    matches!(operand, Operand::Z | Operand::Addend | Operand::OutResidual) || operand == Operand::Residual && whole
}

impl Numbers {
    /// Random, but the same each time. With `typed` what the fusion names has types of its own.
    pub fn random(norm: &Norm, d: &NormDescriptor<'_>, typed: bool, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let affine = norm.affine_len() as usize;
        let mut forms: Vec<(Operand, usize, usize)> = Vec::new();
        for (operand, axes) in named(d) {
            let sizes: Vec<usize> = axes.iter().map(|&axis| d.shape[axis] as usize).collect();
            forms.push((operand, sizes.iter().product(), sizes.last().copied().unwrap_or(1)));
        }
        forms.extend(d.affine.has_scale().then_some((Operand::Scale, affine, affine)));
        forms.extend(d.affine.has_bias().then_some((Operand::Bias, affine, affine)));
        let items =
            forms.into_iter().map(|(operand, len, row)| item(d, operand, (len, row), typed, &mut rng)).collect();
        Self { items, given: None }
    }

    pub fn item(&self, operand: Operand) -> Option<&Item> {
        self.items.iter().find(|item| item.operand == operand)
    }

    pub fn get(&self, operand: Operand) -> Option<&[f32]> {
        self.item(operand).map(|item| &item.values[..])
    }

    /// Those of an operand that is there.
    pub fn values(&mut self, operand: Operand) -> &mut Vec<f32> {
        &mut self.items.iter_mut().find(|item| item.operand == operand).expect("an operand of the norm").values
    }

    /// The gradients that there are, all of them.
    pub fn gradients(&self) -> Vec<Operand> {
        GRADIENTS.into_iter().filter(|&(_, of)| self.item(of).is_some()).map(|(gradient, _)| gradient).collect()
    }

    fn inputs<'a>(&'a self, given: Option<&'a (Vec<f32>, Vec<f32>)>) -> ReferenceInputs<'a> {
        ReferenceInputs {
            input: self.get(Operand::Input).expect("an input"),
            scale: self.get(Operand::Scale),
            bias: self.get(Operand::Bias),
            given: given.map(|(mean, variance)| (mean.as_slice(), variance.as_slice())),
        }
    }

    fn operands(&self) -> ReferenceFused<'_> {
        ReferenceFused {
            residual: self.get(Operand::Residual),
            gate: self.get(Operand::Gate),
            z: self.get(Operand::Z),
            prologue_bias: self.get(Operand::PrologueBias),
            modulation_scale: self.get(Operand::ModulationScale),
            modulation_shift: self.get(Operand::ModulationShift),
            addend: self.get(Operand::Addend),
            out_gate: self.get(Operand::OutGate),
            out_residual: self.get(Operand::OutResidual),
        }
    }

    pub fn forward(&self, d: &NormDescriptor<'_>) -> FusedOutput {
        reference::fused(d, &self.inputs(self.given.as_ref()), &self.operands()).expect("the reference")
    }

    /// `arrives`: whether a gradient arrives at the sum.
    pub fn expected(&self, d: &NormDescriptor<'_>, arrives: bool) -> Expected {
        let forward = self.forward(d);
        let dy = self.get(Operand::GradOutput).expect("a gradient");
        let arriving = self.get(Operand::Arriving).filter(|_| arrives);
        let backward = |d: &NormDescriptor<'_>, given: Option<&(Vec<f32>, Vec<f32>)>| {
            let inputs = self.inputs(given);
            list(reference::fused_backward(d, &inputs, &self.operands(), dy, arriving).expect("the reference"))
        };
        let gradients = backward(d, self.given.as_ref());
        // the gradient through statistics is a difference whose terms are as large as that without them; only as groups
        // of one are those of each sample and channel given
        let channel = if d.format == MemoryFormat::ChannelsLast { d.shape.len() - 1 } else { 1 };
        let kind = match &d.kind {
            NormKind::Instance => NormKind::Group { groups: d.shape[channel] },
            kind => kind.clone(),
        };
        let frozen = NormDescriptor { kind, ..d.clone() };
        let [mean, variance] = [&forward.mean, &forward.variance].map(|v| v.iter().map(|&x| x as f32).collect());
        let statistics = (mean, variance);
        let frozen = self.given.is_none().then(|| backward(&frozen, Some(&statistics)));
        let largest = |values: &[f64]| values.iter().fold(0.0f64, |most, x| most.max(x.abs()));
        let found =
            GRADIENTS.into_iter().zip(gradients).enumerate().filter(|(_, ((_, of), _))| self.item(*of).is_some());
        let gradients = found
            .map(|(k, ((operand, _), values))| {
                let terms = largest(&values).max(frozen.as_ref().map_or(0.0, |frozen| largest(&frozen[k])));
                Gradient { operand, values, terms }
            })
            .collect();
        Expected { forward, gradients }
    }
}

/// In the order of [`GRADIENTS`].
fn list(g: FusedReferenceGradients) -> [Vec<f64>; 11] {
    let FusedReferenceGradients { input, scale, bias, residual, gate, z, prologue_bias, .. } = g;
    let after = [g.modulation_scale, g.modulation_shift, g.addend, g.out_gate];
    let [modulation_scale, modulation_shift, addend, out_gate] = after;
    [input, scale, bias, residual, gate, z, prologue_bias, modulation_scale, modulation_shift, addend, out_gate]
}

fn item(
    d: &NormDescriptor<'_>,
    operand: Operand,
    (len, row): (usize, usize),
    typed: bool,
    rng: &mut fastrand::Rng,
) -> Item {
    let types = d.types;
    let own = [Element::F32, Element::F16, Element::Bf16][rng.usize(..3)];
    let (element, named) = match operand {
        Operand::Input => (types.input, true),
        Operand::GradOutput => (types.grad_output, true),
        Operand::Scale => (types.scale, true),
        Operand::Bias => (types.bias, true),
        Operand::Arriving => (if typed { own } else { Element::F32 }, typed),
        _ if typed => (own, true),
        operand if is_tensor(d, operand) => (types.input, false),
        _ => (types.scale, false),
    };
    let (center, spread) = center(d, operand);
    let mut values = values(rng, len as u64, center, spread);
    let in_prologue =
        [Operand::Input, Operand::Residual, Operand::Gate, Operand::Z, Operand::PrologueBias].contains(&operand);
    if in_prologue && d.fusion.prologue.rounding != SumRounding::Exact {
        // sums that f32 has, so that device and reference round the same numbers
        values.iter_mut().for_each(|x| *x = (*x * 8.0).round() / 8.0);
    }
    Item { operand, element, named, row, values: rounded(&values, element) }
}
