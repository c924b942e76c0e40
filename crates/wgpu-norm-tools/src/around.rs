//! What networks put around norms, and what of it lies in memory in a pass.

use std::convert::Infallible;

use serde::{Deserialize, Serialize};
use wgpu_norm::{
    ALL_AXES, Activation, Affine, Buffer, Element, Epilogue, FusedArgs, FusedGradients, Fusion, Modulation, Multiplier,
    NormDescriptor, NormKind, NormalizedRounding, Prologue, SumRounding, TensorView, Types,
};

use crate::exact::Descriptor;
use crate::fused::Fused;
use crate::outline::Which;

/// What a network puts around a norm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Around {
    /// Nothing.
    #[default]
    None,
    /// A residual is added, and the sum is kept as it is stored: the stream of a transformer.
    Add,
    /// The same in Llama's order: the normalized tensor is rounded before it meets its scale.
    AddLlama,
    /// Llama's order alone, as queries and keys are normalized.
    Llama,
    /// `N(x * silu(z))`, as Mamba has it.
    GateBefore,
    /// `N(x) * silu(z)`, as gated delta networks have it.
    GateAfter,
    /// `silu(N(x))`, as diffusion models have it.
    Silu,
    /// `relu(N(x) + e)`: the end of a block of a ResNet.
    AddRelu,
    /// `N(x) * (1 + g) + t`, both of a sample: a view of its six lists.
    AdaLn,
    /// `N(x * q + r) * (1 + g) + t`, q of a sample too: a layer's end and the next one's begin. The sum is kept.
    AdaLnZero,
}

/// The axes of the lists of a sample, of a tensor `[N, T, C]`.
const OF_SAMPLE: &[usize] = &[0, 2];
/// Lists of a sample, one after the other.
const LISTS: u64 = 6;

/// Where an operand lies, or a gradient to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is a part of: equal for the lists of a sample.
    pub storage: &'static str,
    /// Its type.
    pub element: Element,
    /// Elements of the storage.
    pub total: u64,
    /// Where it starts in the storage.
    pub first: u64,
    /// Its elements.
    pub len: u64,
    /// From row to row, where it has gaps.
    pub row_stride: Option<u64>,
    /// Whether it has the shape of the input.
    pub is_tensor: bool,
}

impl Part {
    /// All of a storage.
    fn whole(storage: &'static str, element: Element, len: u64) -> Self {
        Self { storage, element, total: len, first: 0, len, row_stride: None, is_tensor: false }
    }

    fn tensor(storage: &'static str, element: Element, len: u64) -> Self {
        Self { is_tensor: true, ..Self::whole(storage, element, len) }
    }

    /// Its part of a view of the storage.
    pub fn view<B: Buffer>(&self, storage: &TensorView<B>) -> TensorView<B> {
        let offset = storage.offset + self.first * self.element.bytes();
        let view = TensorView::new(storage.buffer, offset, self.len).of(self.element);
        self.row_stride.map_or(view, |stride| view.with_row_stride(stride))
    }

    /// Puts its values into the storage's.
    pub fn put(&self, values: &[f32], storage: &mut [f32]) {
        let stride = self.row_stride.unwrap_or(self.total.max(1)) as usize;
        let rows = storage[self.first as usize..].chunks_mut(stride);
        let width = values.len() / rows.len().max(1);
        rows.zip(values.chunks(width.max(1))).for_each(|(row, values)| row[..width].copy_from_slice(values));
    }
}

/// What a pass reads and writes beside the operands of the norm alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beside<T> {
    /// What the fusion names.
    pub fused: Fused<T>,
    /// The sum of the prologue, which a forward pass writes. Backward starts from it; without one, its input is that.
    pub sum: Option<T>,
    /// The input of the forward pass, where backward needs it.
    pub multiplied: Option<T>,
    /// A gradient that arrives at the sum.
    pub arriving: Option<T>,
    /// Gradients to what the fusion names.
    pub gradients: Fused<T>,
}

impl<T> Default for Beside<T> {
    fn default() -> Self {
        let (fused, gradients) = Default::default();
        Self { fused, sum: None, multiplied: None, arriving: None, gradients }
    }
}

impl<T> Beside<T> {
    /// Borrowed.
    pub fn as_ref(&self) -> Beside<&T> {
        Beside {
            fused: self.fused.as_ref(),
            sum: self.sum.as_ref(),
            multiplied: self.multiplied.as_ref(),
            arriving: self.arriving.as_ref(),
            gradients: self.gradients.as_ref(),
        }
    }

    /// Each that is there made into another thing.
    pub fn try_map<U, E>(self, mut make: impl FnMut(T) -> Result<U, E>) -> Result<Beside<U>, E> {
        Ok(Beside {
            fused: self.fused.try_map(|_, of| make(of))?,
            sum: self.sum.map(&mut make).transpose()?,
            multiplied: self.multiplied.map(&mut make).transpose()?,
            arriving: self.arriving.map(&mut make).transpose()?,
            gradients: self.gradients.try_map(|_, of| make(of))?,
        })
    }

    /// Each that is there made into another thing.
    pub fn map<U>(self, mut make: impl FnMut(T) -> U) -> Beside<U> {
        let Ok(made) = self.try_map(|of| Ok::<_, Infallible>(make(of)));
        made
    }

    /// What a pass reads, by name.
    pub fn read(self) -> impl Iterator<Item = (&'static str, T)> {
        let others = [("multiplied", self.multiplied), ("arriving", self.arriving)];
        self.fused.named().chain(others.into_iter().filter_map(|(name, of)| Some((name, of?))))
    }

    /// What a pass writes, by the names of what gradients lead to.
    pub fn written(self) -> impl Iterator<Item = (&'static str, T)> {
        self.sum.map(|sum| ("sum", sum)).into_iter().chain(self.gradients.named())
    }

    /// Those that are there.
    pub fn present(self) -> impl Iterator<Item = T> {
        let own = [self.sum, self.multiplied, self.arriving].into_iter().flatten();
        self.fused.present().chain(own).chain(self.gradients.present())
    }
}

impl Beside<Part> {
    /// All that the fusion of a norm names, each in memory of its own; `None` where nothing stands around it.
    pub fn of(descriptor: &Descriptor<'_>, which: Which) -> Option<Self> {
        let Descriptor::Norm(NormDescriptor { fusion, shape, types, .. }) = descriptor else { return None };
        if !descriptor.is_fused() {
            return None;
        }
        let all = &ALL_AXES[..shape.len()];
        let parts = |storage: fn(&'static str) -> &'static str| {
            let part = |name, axes: &[usize]| {
                let element = if axes == all { types.input } else { types.scale };
                Ok::<_, Infallible>(Part::whole(storage(name), element, axes.iter().map(|&axis| shape[axis]).product()))
            };
            let Ok(parts) = Fused::axes(fusion, all).try_map(part);
            parts
        };
        let element =
            if let SumRounding::AsStored(element) = fusion.prologue.rounding { element } else { Element::F32 };
        let tensor =
            |is_there: bool, name, element| is_there.then(|| Part::tensor(name, element, shape.iter().product()));
        let (fused, sum) = (parts(|name| name), tensor(fusion.prologue != Prologue::default(), "sum", element));
        if which != Which::Backward {
            return Some(Self { fused, sum, ..Self::default() });
        }
        Some(Self {
            // what is only added leaves no trace on the way back
            fused: Fused { residual: None, prologue_bias: None, out_residual: None, ..fused },
            sum,
            multiplied: tensor(fusion.prologue.multiplier != Multiplier::None, "multiplied", types.input),
            arriving: None,
            gradients: Fused { out_residual: None, ..parts(gradient_to) },
        })
    }
}

/// The name of the gradient to what a fusion names.
fn gradient_to(name: &'static str) -> &'static str {
    match name {
        "residual" => "dresidual",
        "gate" => "dgate",
        "prologue bias" => "dprologue_bias",
        "z" => "dz",
        "modulation scale" => "dmod_scale",
        "modulation shift" => "dmod_shift",
        "addend" => "daddend",
        _ => "dout_gate",
    }
}

impl<B> Beside<TensorView<B>> {
    /// As a pass takes them, and the gradients to them.
    pub fn args(self) -> (FusedArgs<B>, FusedGradients<B>) {
        let args = FusedArgs::from(self.fused).sum(self.sum).multiplied(self.multiplied);
        (args, FusedGradients::from(self.gradients).arriving(self.arriving))
    }
}

impl Around {
    /// Whether there is nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// In a word; none for nothing.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Add => Some("add"),
            Self::AddLlama => Some("add-llama"),
            Self::Llama => Some("llama"),
            Self::GateBefore => Some("gate-before"),
            Self::GateAfter => Some("gate-after"),
            Self::Silu => Some("silu"),
            Self::AddRelu => Some("add-relu"),
            Self::AdaLn => Some("ada-ln"),
            Self::AdaLnZero => Some("ada-ln-zero"),
        }
    }

    /// As the engine knows it, for tensors of a rank and a type.
    pub fn fusion(self, rank: usize, element: Element) -> Fusion<'static> {
        let stored = SumRounding::AsStored(element);
        let added = Prologue::residual(&ALL_AXES[..rank]).rounding(stored);
        let (fusion, llama) = (Fusion::default(), NormalizedRounding::AsOutput);
        match self {
            Self::None => fusion,
            Self::Add => fusion.prologue(added),
            Self::AddLlama => fusion.prologue(added).normalized_rounding(llama),
            Self::Llama => fusion.normalized_rounding(llama),
            Self::GateBefore => {
                let gate = Multiplier::Activation(Activation::Silu);
                fusion.prologue(Prologue::default().multiplier(gate).rounding(stored))
            }
            Self::GateAfter => fusion.epilogue(Epilogue::default().gate(Activation::Silu)),
            Self::Silu => fusion.epilogue(Epilogue::activation(Activation::Silu)),
            Self::AddRelu => fusion.epilogue(Epilogue::activation(Activation::Relu).addend()),
            Self::AdaLn => fusion.modulation(Modulation::new(OF_SAMPLE)),
            Self::AdaLnZero => {
                let prologue = added.multiplier(Multiplier::Gate(OF_SAMPLE));
                fusion.prologue(prologue).modulation(Modulation::new(OF_SAMPLE))
            }
        }
    }

    /// Parameters of a norm that has these alone. RMS norms have no bias then.
    pub fn affine(self, kind: &NormKind<'_>, alone: Affine) -> Affine {
        match (self, kind) {
            (Self::None, _) => alone,
            (Self::AdaLn | Self::AdaLnZero, _) => Affine::None,
            (_, NormKind::Rms { .. }) => Affine::Scale,
            _ => alone,
        }
    }

    /// A norm with it.
    pub fn put(self, norm: NormDescriptor<'_>) -> NormDescriptor<'_> {
        let affine = self.affine(&norm.kind, norm.affine);
        NormDescriptor { affine, fusion: self.fusion(norm.shape.len(), norm.types.input), ..norm }
    }

    /// Whether something is done to the input before it is normalized: backward takes the sum.
    pub fn has_sum(self) -> bool {
        self.is_added_to() || self == Self::GateBefore
    }

    /// Whether a residual is added, so that a gradient arrives at the sum.
    pub fn is_added_to(self) -> bool {
        matches!(self, Self::Add | Self::AddLlama | Self::AdaLnZero)
    }

    /// How far results may lie apart in units of the largest where a number within is rounded to a type: one between
    /// two of its numbers goes to either.
    pub fn slack(self, element: Element) -> f64 {
        let rounds = self.has_sum() || self == Self::Llama;
        match element {
            Element::F16 if rounds => 1.0 / f64::from(1 << 10),
            Element::Bf16 if rounds => 1.0 / f64::from(1 << 7),
            _ => 0.0,
        }
    }

    /// Operands of a pass beside those of the norm, over a shape as it lies in memory.
    pub fn operands(self, which: Which, shape: &[u64], types: &Types) -> Beside<Part> {
        let len = shape.iter().product();
        let tensor = |is_there: bool, name| is_there.then(|| Part::tensor(name, types.input, len));
        let list = |is_there: bool, k: u64| {
            is_there.then(|| {
                let (samples, width) = (shape[0], shape[shape.len() - 1]);
                Part {
                    first: k * width,
                    len: samples * width,
                    row_stride: Some(LISTS * width),
                    ..Part::whole("lists", types.scale, LISTS * samples * width)
                }
            })
        };
        let modulated = matches!(self, Self::AdaLn | Self::AdaLnZero);
        let fused = Fused {
            // what is only added leaves no trace on the way back
            residual: tensor(self.is_added_to() && which != Which::Backward, "residual"),
            z: tensor(matches!(self, Self::GateBefore | Self::GateAfter), "z"),
            addend: tensor(self == Self::AddRelu, "addend"),
            modulation_shift: list(modulated, 0),
            modulation_scale: list(modulated, 1),
            gate: list(self == Self::AdaLnZero, 2),
            ..Fused::default()
        };
        if which != Which::Backward {
            // what is only needed on the way back is kept by a training pass
            let keeps = self.has_sum() && (which == Which::Training || self != Self::GateBefore);
            return Beside { fused, sum: tensor(keeps, "sum"), ..Beside::default() };
        }
        let arriving = self.is_added_to().then(|| Part::tensor("dsum", types.grad_output, len));
        let multiplied = tensor(matches!(self, Self::GateBefore | Self::AdaLnZero), "multiplied");
        Beside { fused, sum: None, multiplied, arriving, gradients: self.gradients(shape, types) }
    }

    /// Gradients beside those to input, scale and bias. Where a residual is only added, its gradient is the input's.
    fn gradients(self, shape: &[u64], types: &Types) -> Fused<Part> {
        let tensor = |name| Some(Part::tensor(name, types.grad_input, shape.iter().product()));
        let list = |name| Some(Part::whole(name, types.grad_scale, shape[0] * shape[shape.len() - 1]));
        let none = Fused::default();
        match self {
            Self::None | Self::Add | Self::AddLlama | Self::Llama | Self::Silu => none,
            Self::GateBefore | Self::GateAfter => Fused { z: tensor("dz"), ..none },
            Self::AddRelu => Fused { addend: tensor("daddend"), ..none },
            Self::AdaLn | Self::AdaLnZero => {
                let modulation =
                    Fused { modulation_scale: list("dmod_scale"), modulation_shift: list("dmod_shift"), ..none };
                match self {
                    Self::AdaLn => modulation,
                    _ => Fused { residual: tensor("dresidual"), gate: list("dgate"), ..modulation },
                }
            }
        }
    }

    /// Tensors that a pass reads or writes, each once.
    pub fn tensors(self, which: Which) -> u32 {
        let own = if which == Which::Backward { 3 } else { 2 };
        let all = self.operands(which, &[1; 3], &Types::default());
        own + all.present().filter(|part| part.is_tensor).count() as u32
    }

    /// Tensors that kernels of their own would move instead, beside those of the norm: one kernel for all that stands
    /// before it, one for all that stands behind.
    pub fn steps(self, which: Which) -> u32 {
        match (self, which == Which::Backward) {
            (Self::None, _) | (Self::Llama, true) => 0,
            (Self::Silu | Self::AdaLn | Self::Llama, false) => 2,
            (Self::AddLlama | Self::AdaLnZero, false) => 5,
            (_, false) => 3,
            (Self::GateBefore | Self::GateAfter, true) => 5,
            // from dv and u to du; from ds, what arrives and x to the gradients of x and r
            (Self::AdaLnZero, true) => 3 + 5,
            (_, true) => 3,
        }
    }
}
