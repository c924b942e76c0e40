//! The cases of `wgpu-norm verify`: kinds and shapes that have gone wrong somewhere, and what they are filled with.

use serde::Serialize;
use serde_json::{Value, json};
use wgpu_norm::MemoryFormat::{ChannelsFirst, ChannelsLast};
use wgpu_norm::NormKind::{Batch, Group, Instance, Layer, LpNormalize, MeanVariance, Rms, Weight};
use wgpu_norm::{
    ALL_AXES, Activation, AdaptiveDescriptor, Affine, Element, Epilogue, Fusion, MemoryFormat, Modulation, Multiplier,
    NormDescriptor, NormKind, NormalizedRounding, Prologue, SingleElement, StyleEpsilon, SumRounding, Types, Variance,
};
use wgpu_norm_tools::around::Around;
use wgpu_norm_tools::compute::Tensors;
use wgpu_norm_tools::exact::Descriptor;
use wgpu_norm_tools::files::element_count;
use wgpu_norm_tools::fill::{Fill, Random};
use wgpu_norm_tools::fused::{Fused, Numbers};
use wgpu_norm_tools::{elements, fill, types};

/// A kind of norm over a shape.
#[derive(Clone)]
pub struct Case<'a> {
    /// The kind.
    pub kind: Kind<'a>,
    /// Sizes of the axes as they lie in memory.
    pub shape: &'a [u64],
    /// Where the channels are.
    pub format: MemoryFormat,
    /// Element types.
    pub types: Types,
    /// What stands around it.
    pub around: Option<Amid<'a>>,
}

/// What stands around a norm.
#[derive(Clone, Copy)]
pub struct Amid<'a> {
    /// In words.
    pub words: &'static str,
    fusion: Fusion<'a>,
    /// Parameters of the norm.
    affine: Affine,
}

/// A kind of norm, with what only that kind needs.
#[derive(Clone)]
pub enum Kind<'a> {
    /// One of them.
    Norm(NormKind<'a>),
    /// An adaptive instance norm.
    Adaptive {
        /// Sizes of the style's axes.
        style_shape: &'a [u64],
        /// Divisor of both variances.
        variance: Variance,
        /// Where eps enters the style's deviation.
        style_eps: StyleEpsilon,
    },
}

/// Above this only [`Fill::Normal`] and [`Fill::LargeMean`] are run.
pub const SMALL: u64 = 20_000;

const F32: Types = Types::all(Element::F32);
/// With parameters of f32, as mixed precision has them.
const F16: Types = Types::tensors(Element::F16);
const BF16: Types = Types::tensors(Element::Bf16);
/// With parameters of the same type.
const ALL_F16: Types = Types::all(Element::F16);
const ALL_BF16: Types = Types::all(Element::Bf16);

const fn case(kind: NormKind<'static>, shape: &'static [u64]) -> Case<'static> {
    Case { kind: Kind::Norm(kind), shape, format: ChannelsFirst, types: F32, around: None }
}

const fn last(kind: NormKind<'static>, shape: &'static [u64]) -> Case<'static> {
    Case { kind: Kind::Norm(kind), shape, format: ChannelsLast, types: F32, around: None }
}

const fn adain(
    style_shape: &'static [u64],
    variance: Variance,
    style_eps: StyleEpsilon,
    shape: &'static [u64],
    format: MemoryFormat,
) -> Case<'static> {
    Case { kind: Kind::Adaptive { style_shape, variance, style_eps }, shape, format, types: F32, around: None }
}

/// All of them. Widths take every remainder of 4; 4099 is a prime beyond a workgroup's reach; 70 001 segments are more
/// than one dimension of a dispatch; a million elements are more than a workgroup reduces.
pub const CASES: &[Case<'static>] = &[
    case(Batch, &[2, 3]),
    case(Batch, &[7, 4]),
    case(Batch, &[5, 1, 1]),
    case(Batch, &[3, 5, 7]),
    case(Batch, &[2, 3, 4, 4]),
    case(Batch, &[2, 3, 2, 3, 5]),
    case(Batch, &[2, 2, 4099]),
    case(Batch, &[2, 70_001]),
    case(Batch, &[70_001, 2]),
    case(Batch, &[3, 2, 500, 333]),
    last(Batch, &[2, 5, 7, 3]),
    last(Batch, &[4, 6, 6, 16]),
    last(Batch, &[2, 4099, 5]),
    last(Batch, &[2, 250, 333, 6]),
    case(Instance, &[2, 3, 5]),
    case(Instance, &[3, 2, 4, 4]),
    case(Instance, &[1, 3, 7, 7]),
    case(Instance, &[2, 3, 1]),
    case(Instance, &[2, 2, 4099]),
    case(Instance, &[2, 35_003, 3]),
    case(Instance, &[1, 2, 500, 1001]),
    last(Instance, &[2, 5, 7, 3]),
    last(Instance, &[3, 6, 6, 8]),
    last(Instance, &[2, 3, 35_003]),
    last(Instance, &[2, 1031, 4]),
    case(Group { groups: 1 }, &[2, 6, 5]),
    case(Group { groups: 2 }, &[3, 6, 7]),
    case(Group { groups: 2 }, &[9, 6, 7]),
    case(Group { groups: 6 }, &[2, 6, 3, 3]),
    case(Group { groups: 32 }, &[2, 64, 8, 8]),
    case(Group { groups: 3 }, &[4, 6]),
    case(Group { groups: 2 }, &[1, 4, 500, 503]),
    last(Group { groups: 2 }, &[2, 5, 7, 6]),
    last(Group { groups: 4 }, &[3, 4, 4, 16]),
    last(Group { groups: 3 }, &[2, 1031, 9]),
    case(Layer { axes: 1..2 }, &[3, 1]),
    case(Layer { axes: 1..2 }, &[5, 64]),
    case(Layer { axes: 1..2 }, &[5, 65]),
    case(Layer { axes: 1..2 }, &[5, 66]),
    case(Layer { axes: 1..2 }, &[5, 67]),
    case(Layer { axes: 1..2 }, &[3, 4099]),
    case(Layer { axes: 1..2 }, &[70_001, 5]),
    case(Layer { axes: 0..1 }, &[1_000_003]),
    case(Layer { axes: 1..4 }, &[2, 3, 4, 5]),
    case(Layer { axes: 1..2 }, &[2, 5, 3, 7]),
    case(Layer { axes: 0..2 }, &[3, 5, 6]),
    case(Layer { axes: 0..1 }, &[4099, 3]),
    case(Rms { axes: 1..2 }, &[5, 64]),
    case(Rms { axes: 1..2 }, &[5, 61]),
    case(Rms { axes: 1..2 }, &[5, 1]),
    case(Rms { axes: 1..3 }, &[2, 7, 586]),
    case(Rms { axes: 1..2 }, &[3, 5, 4]),
    case(Rms { axes: 0..1 }, &[1_000_003]),
    adain(&[2, 3, 5, 4], Variance::Biased, StyleEpsilon::AsContent, &[2, 3, 4, 7], ChannelsFirst),
    adain(&[1, 3, 6], Variance::Unbiased, StyleEpsilon::None, &[2, 3, 4099], ChannelsFirst),
    adain(&[2, 2, 150_001], Variance::Biased, StyleEpsilon::AsContent, &[2, 2, 9], ChannelsFirst),
    adain(&[2, 5, 4, 3], Variance::Unbiased, StyleEpsilon::AsContent, &[2, 4, 7, 3], ChannelsLast),
    case(LpNormalize { p: 1.0, axes: 1..2 }, &[5, 67]),
    case(LpNormalize { p: 2.0, axes: 1..2 }, &[3, 4, 5]),
    case(LpNormalize { p: 3.5, axes: 1..2 }, &[3, 1031]),
    case(LpNormalize { p: f32::INFINITY, axes: 0..1 }, &[33, 3]),
    case(LpNormalize { p: 2.0, axes: 0..1 }, &[]),
    case(MeanVariance { axes: &[0, 2, 3] }, &[3, 4, 3, 5]),
    case(MeanVariance { axes: &[1] }, &[3, 7, 5]),
    case(MeanVariance { axes: &[0, 1, 2] }, &[3, 41, 5]),
    case(Weight { dim: Some(0) }, &[7, 5, 3]),
    case(Weight { dim: Some(1) }, &[7, 5, 9]),
    case(Weight { dim: Some(2) }, &[31, 9, 4]),
    case(Weight { dim: None }, &[33, 67]),
    case(Weight { dim: Some(0) }, &[3, 100_003]),
];

/// What the quick tier has in 16 bits: rows that share words, rows that are made of words, lists of parameters. Kernels
/// know no kind, and each takes its time to compile.
pub const HALVES: &[Case<'static>] =
    &[case(Layer { axes: 1..2 }, &[5, 67]).of(ALL_F16), case(Rms { axes: 1..2 }, &[5, 64]).of(ALL_BF16)];

/// Norms with what networks put around them; the quick tier has the first [`QUICK_FUSED`]. Each operand and each
/// gradient is there once.
pub fn fused() -> Vec<Case<'static>> {
    let (none, scale, both) = (Affine::None, Affine::Scale, Affine::ScaleAndBias);
    let (fusion, rows, planes) = (Fusion::default(), &ALL_AXES[..2], &ALL_AXES[..3]);
    let add = Prologue::residual(rows);
    let add_zero = Prologue::residual(planes).multiplier(Multiplier::Gate(&[0, 2]));
    let zero = fusion.prologue(add_zero).modulation(Modulation::new(&[0, 2]));
    let silu = fusion.epilogue(Epilogue::activation(Activation::Silu));
    let gated = Prologue::default().multiplier(Multiplier::Activation(Activation::Silu));
    let relu = Epilogue::activation(Activation::Relu).addend();
    let gates = Epilogue::activation(Activation::GeluTanh).gate(Activation::Sigmoid).out_gate(&[1]).factor(0.5);
    let llama = fusion
        .prologue(add.rounding(SumRounding::AsStored(Element::Bf16)))
        .normalized_rounding(NormalizedRounding::AsOutput);
    let rms = |shape| case(Rms { axes: 1..2 }, shape);
    let (layer, group) = (case(Layer { axes: 2..3 }, &[2, 3, 33]), last(Group { groups: 2 }, &[2, 5, 7, 6]));
    vec![
        rms(&[5, 67]).with("add", scale, fusion.prologue(add).one_plus_scale()),
        layer.with("adaln silu", none, zero.epilogue(silu.epilogue.out_residual())),
        rms(&[5, 64]).of(ALL_BF16).with("as llama", scale, llama),
        group.clone().with("bias silu", both, silu.prologue(Prologue::default().bias(&[3]))),
        group.with("skip silu", both, silu.prologue(Prologue::residual(&[0, 3]).bias(&[3]))),
        rms(&[5, 61]).with("gated before", scale, fusion.prologue(gated)),
        case(Layer { axes: 1..2 }, &[5, 66]).with("gates", both, fusion.epilogue(gates)),
        case(Batch, &[3, 5, 7]).with("addend relu", both, fusion.epilogue(relu)),
    ]
}

/// How many of [`fused`] the quick tier has: each takes some seconds to compile.
pub const QUICK_FUSED: usize = 3;

/// Each kernel without its norm's kind.
pub fn quick() -> Vec<Case<'static>> {
    [CASES, HALVES, &fused()[..QUICK_FUSED]].concat()
}

/// All cases in f32, and every other one that is not large in a 16-bit type, with parameters of f32 or of the same.
pub fn all() -> Vec<Case<'static>> {
    let types = [F16, ALL_BF16, BF16, ALL_F16].into_iter().cycle();
    let halves = CASES.iter().step_by(2).zip(types).map(|(case, types)| case.clone().of(types));
    CASES.iter().cloned().chain(halves.filter(|case| case.len() <= SMALL)).chain(fused()).collect()
}

/// A case as `verify --list` has it.
#[derive(Serialize)]
pub struct Listed {
    norm: Value,
    fills: &'static [Fill],
    backward_fills: &'static [Fill],
    /// Whether statistics may be given.
    given: bool,
}

/// As the npm package takes it.
fn norm_json(d: &NormDescriptor<'_>) -> Value {
    let affine = match d.affine {
        Affine::None => "none",
        Affine::Scale => "scale",
        Affine::Bias => "bias",
        Affine::ScaleAndBias => "scale-and-bias",
    };
    let mut norm = common_json(d.kind.name(), d.shape, d.format, d.types);
    norm["affine"] = affine.into();
    match &d.kind {
        Layer { axes } | Rms { axes } => norm["axes"] = axes.clone().collect(),
        LpNormalize { p, axes } => {
            norm["axes"] = axes.clone().collect();
            // JSON has no infinity
            norm["p"] = if p.is_finite() { (*p).into() } else { p.to_string().replace("inf", "Infinity").into() };
        }
        MeanVariance { axes } => norm["axes"] = (*axes).into(),
        Group { groups } => norm["groups"] = (*groups).into(),
        Weight { dim } => norm["dim"] = (*dim).into(),
        _ => {}
    }
    norm
}

fn adaptive_json(d: &AdaptiveDescriptor<'_>) -> Value {
    let mut norm = common_json("adain", d.shape, d.format, d.types);
    norm["styleShape"] = d.style_shape.into();
    norm["variance"] = if d.variance == Variance::Unbiased { "unbiased" } else { "biased" }.into();
    norm["styleEps"] = if d.style_eps == StyleEpsilon::None { "none" } else { "as-content" }.into();
    norm
}

fn common_json(kind: &str, shape: &[u64], format: MemoryFormat, types: Types) -> Value {
    let mut norm = json!({ "kind": kind, "shape": shape, "singleElement": "allow" });
    if format == ChannelsLast {
        norm["format"] = "channels-last".into();
    }
    if types != Types::default() {
        let tensors = ["input", "output", "gradOutput", "gradInput"].map(|name| (name, types.input));
        let parameters = ["scale", "bias", "gradScale", "gradBias"].map(|name| (name, types.scale));
        let all = tensors.into_iter().chain(parameters);
        norm["types"] = all.map(|(name, element)| (name.to_owned(), Value::from(element.name()))).collect();
    }
    norm
}

impl<'a> Case<'a> {
    const fn of(self, types: Types) -> Self {
        Self { types, ..self }
    }

    fn with(self, words: &'static str, affine: Affine, fusion: Fusion<'a>) -> Self {
        Self { around: Some(Amid { words, fusion, affine }), ..self }
    }

    /// The same with what networks put around it.
    pub fn amid(self, around: Around) -> Self {
        let alone = self.descriptor().affine();
        let (Some(words), Kind::Norm(kind)) = (around.name(), &self.kind) else { return self };
        let (affine, fusion) = (around.affine(kind, alone), around.fusion(self.shape.len(), self.types.input));
        self.with(words, affine, fusion)
    }

    /// Whether something stands around the norm.
    pub fn is_fused(&self) -> bool {
        self.around.is_some()
    }

    /// Whether tensors have 16 bits.
    pub fn is_half(&self) -> bool {
        self.types.input != Element::F32
    }

    /// The kinds of contents this case is run with. Few differ in 16 bits: a mean and a deviation that are far apart
    /// are rounded to a constant. A sum that is rounded has few of its own either where it is large.
    pub fn fills(&self) -> &'static [Fill] {
        let all = &[Fill::Normal, Fill::LargeMean, Fill::TinyVariance, Fill::Constant, Fill::Zero, Fill::NotANumber];
        match (self.is_half() || self.is_fused(), self.len() <= SMALL) {
            (false, true) => all,
            (false, false) => &all[..2],
            (true, true) => &[Fill::Normal, Fill::NotANumber],
            (true, false) => &[Fill::Normal],
        }
    }

    /// Those of them that gradients are computed from.
    pub fn backward_fills(&self) -> &'static [Fill] {
        match self.len() <= SMALL || self.is_half() {
            true => self.fills(),
            false => &[Fill::LargeMean],
        }
    }

    /// Number of elements.
    pub fn len(&self) -> u64 {
        element_count(self.shape).unwrap_or(0)
    }

    /// Whether statistics may be given.
    pub fn takes_running_statistics(&self) -> bool {
        matches!(self.kind, Kind::Norm(Batch | Instance))
    }

    /// The norm.
    pub fn descriptor(&self) -> Descriptor<'_> {
        let Self { shape, format, types, around, .. } = *self;
        let single_element = SingleElement::Allow;
        match &self.kind {
            Kind::Norm(kind) => Descriptor::Norm(NormDescriptor {
                format,
                affine: match (around, kind) {
                    (Some(around), _) => around.affine,
                    (None, LpNormalize { .. } | MeanVariance { .. }) => Affine::None,
                    (None, Weight { .. }) => Affine::Scale,
                    (None, _) => Affine::ScaleAndBias,
                },
                fusion: around.map(|around| around.fusion).unwrap_or_default(),
                single_element,
                types,
                ..NormDescriptor::new(kind.clone(), shape)
            }),
            &Kind::Adaptive { style_shape, variance, style_eps } => Descriptor::Adaptive(AdaptiveDescriptor {
                format,
                variance,
                style_eps,
                single_element,
                types,
                ..AdaptiveDescriptor::new(shape, style_shape)
            }),
        }
    }

    /// The kind, as the program spells it.
    pub fn name(&self) -> &'static str {
        self.descriptor().name()
    }

    /// The kind, what stands around it, and the types.
    pub fn title(&self) -> String {
        let around = self.around.map(|around| format!(" fused {}", around.words)).unwrap_or_default();
        self.name().to_owned() + &around + &types::suffix(self.types.input.name(), self.types.scale.name())
    }

    /// As hosts in other languages ask for it, with what it is filled with; none of one with something around it.
    pub fn listed(&self) -> Option<Listed> {
        let norm = match self.descriptor() {
            Descriptor::Norm(descriptor) => norm_json(&descriptor),
            Descriptor::Adaptive(descriptor) => adaptive_json(&descriptor),
        };
        (!self.is_fused()).then(|| Listed {
            norm,
            fills: self.fills(),
            backward_fills: self.backward_fills(),
            given: self.takes_running_statistics(),
        })
    }

    /// Operands, rounded to their types, with `affine_len` parameters, and running statistics of so many `channels`
    /// where asked for.
    pub fn tensors(&self, fill: Fill, affine_len: u64, channels: Option<u64>) -> Tensors {
        let mut random = Random::of_operands(self.len());
        let style = match self.kind {
            Kind::Adaptive { style_shape, .. } => {
                Some(random.fill(Fill::Normal, element_count(style_shape).unwrap_or(0)))
            }
            Kind::Norm(_) => None,
        };
        let affine = self.descriptor().affine();
        Tensors {
            input: elements::rounded(&random.fill(fill, self.len()), self.types.input),
            scale: affine.has_scale().then(|| elements::rounded(&random.scales(affine_len), self.types.scale)),
            bias: affine.has_bias().then(|| elements::rounded(&random.biases(affine_len), self.types.bias)),
            style: style.map(|style| elements::rounded(&style, self.types.input)),
            running: None,
            fused: self.fused(&mut Random(0x51_7CC1 ^ self.len())),
            sum: self.sum(),
            quantize: None,
            given: channels.map(|n| (random.means(fill, n), random.scales(n))),
        }
    }

    /// What the fusion names: tensors of the input's type, parameters of the scale's.
    fn fused(&self, random: &mut Random) -> Fused<Numbers> {
        let all = &ALL_AXES[..self.shape.len()];
        let axes = self.around.map(|around| Fused::axes(&around.fusion, all)).unwrap_or_default();
        axes.map(|axes| {
            let sizes = axes.iter().map(|&axis| self.shape[axis]).collect::<Vec<_>>();
            let values = random.fill(Fill::Normal, element_count(&sizes).unwrap_or(0));
            let element = if axes == all { self.types.input } else { self.types.scale };
            Numbers { element, values: elements::rounded(&values, element) }
        })
    }

    /// Whether the prologue multiplies the input with something.
    pub fn multiplies(&self) -> bool {
        self.around.is_some_and(|around| around.fusion.prologue.multiplier != Multiplier::None)
    }

    /// The type of the sum, where there is one: what backward starts from.
    fn sum(&self) -> Option<Element> {
        let prologue = self.around?.fusion.prologue;
        match prologue.rounding {
            SumRounding::AsStored(element) => Some(element),
            _ => (prologue != Prologue::default()).then_some(Element::F32),
        }
    }

    /// A gradient to the output.
    pub fn grad_output(&self) -> Vec<f32> {
        elements::rounded(&fill::gradient(self.len()), self.types.grad_output)
    }

    /// A gradient that arrives at the sum before the norm.
    pub fn arriving(&self) -> Vec<f32> {
        let gradient = Random(0x3C6E_F372 ^ self.len()).many(self.len(), |random| 2.0 * random.uniform() - 1.0);
        elements::rounded(&gradient, self.types.grad_output)
    }
}
