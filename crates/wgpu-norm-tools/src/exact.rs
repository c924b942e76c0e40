//! A norm or an adaptive norm by its description: one type for both, what it computes from in memory, and what the f64
//! reference makes of it.

use wgpu_norm::reference::{
    self, FusedOutput, FusedReferenceGradients, ReferenceError, ReferenceGradients, ReferenceInputs, ReferenceOutput,
};
use wgpu_norm::{AdaptiveDescriptor, Affine, Fusion, MemoryFormat, NormDescriptor, NormKind, PlanError, Types};

use crate::fused::Fused;

/// Describes a norm.
#[derive(Clone, Debug)]
pub enum Descriptor<'a> {
    /// One with scale and bias of its own.
    Norm(NormDescriptor<'a>),
    /// One whose scale and bias are a style's.
    Adaptive(AdaptiveDescriptor<'a>),
}

impl<'a> From<NormDescriptor<'a>> for Descriptor<'a> {
    fn from(descriptor: NormDescriptor<'a>) -> Self {
        Self::Norm(descriptor)
    }
}

impl<'a> From<AdaptiveDescriptor<'a>> for Descriptor<'a> {
    fn from(descriptor: AdaptiveDescriptor<'a>) -> Self {
        Self::Adaptive(descriptor)
    }
}

/// What a norm computes from, in memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inputs<'a> {
    /// What is normalized.
    pub input: &'a [f32],
    /// Factor of the result.
    pub scale: Option<&'a [f32]>,
    /// Summand of the result.
    pub bias: Option<&'a [f32]>,
    /// Of an adaptive norm.
    pub style: Option<&'a [f32]>,
    /// Mean and variance in place of the input's own.
    pub given: Option<(&'a [f32], &'a [f32])>,
    /// What the norm's fusion names.
    pub fused: Fused<&'a [f32]>,
    /// A gradient that arrives at the sum of its prologue.
    pub arriving: Option<&'a [f32]>,
}

impl<'a> From<&ReferenceInputs<'a>> for Inputs<'a> {
    fn from(inputs: &ReferenceInputs<'a>) -> Self {
        let ReferenceInputs { input, scale, bias, given } = *inputs;
        Self { input, scale, bias, given, ..Self::default() }
    }
}

impl<'a> Inputs<'a> {
    /// As the reference takes them.
    pub fn as_reference(&self) -> ReferenceInputs<'a> {
        let Self { input, scale, bias, given, .. } = *self;
        ReferenceInputs { input, scale, bias, given }
    }

    fn style(&self) -> &'a [f32] {
        self.style.unwrap_or_default()
    }
}

/// The exact result of a norm.
pub struct Exact {
    /// Output and statistics.
    pub norm: ReferenceOutput,
    /// What is normalized, where a fusion makes it.
    pub sum: Vec<f64>,
}

/// The exact gradients; empty where the norm has no such input.
#[derive(Clone, Debug, Default)]
pub struct ExactGradients {
    /// To the input.
    pub input: Vec<f64>,
    /// To the scale.
    pub scale: Vec<f64>,
    /// To the bias.
    pub bias: Vec<f64>,
    /// To the style.
    pub style: Vec<f64>,
    /// To what the norm's fusion names, but for what is added in the end: that is the gradient to the output.
    pub fused: Fused<Vec<f64>>,
}

impl ExactGradients {
    /// Those that are there, by the names of what they lead to.
    pub fn named(self) -> impl Iterator<Item = (&'static str, Vec<f64>)> {
        let Self { input, scale, bias, style, fused } = self;
        let own = [("input", input), ("scale", scale), ("bias", bias), ("style", style)];
        own.into_iter().filter(|(_, values)| !values.is_empty()).chain(fused.named())
    }
}

impl From<FusedReferenceGradients> for ExactGradients {
    fn from(exact: FusedReferenceGradients) -> Self {
        let some = |values: Vec<f64>| (!values.is_empty()).then_some(values);
        let fused = Fused {
            residual: some(exact.residual),
            gate: some(exact.gate),
            prologue_bias: some(exact.prologue_bias),
            z: some(exact.z),
            modulation_scale: some(exact.modulation_scale),
            modulation_shift: some(exact.modulation_shift),
            addend: some(exact.addend),
            out_gate: some(exact.out_gate),
            out_residual: None,
        };
        Self { input: exact.input, scale: exact.scale, bias: exact.bias, style: Vec::new(), fused }
    }
}

impl<'a> Descriptor<'a> {
    /// The kind, as the program spells it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Norm(descriptor) => descriptor.kind.name(),
            Self::Adaptive(_) => "adain",
        }
    }

    /// Sizes of the axes as they lie in memory.
    pub fn shape(&self) -> &'a [u64] {
        match self {
            Self::Norm(descriptor) => descriptor.shape,
            Self::Adaptive(descriptor) => descriptor.shape,
        }
    }

    /// Which axis holds the channels.
    pub fn format(&self) -> MemoryFormat {
        match self {
            Self::Norm(descriptor) => descriptor.format,
            Self::Adaptive(descriptor) => descriptor.format,
        }
    }

    /// Element types of its tensors.
    pub fn types(&self) -> Types {
        match self {
            Self::Norm(descriptor) => descriptor.types,
            Self::Adaptive(descriptor) => descriptor.types,
        }
    }

    /// Parameters of its own.
    pub fn affine(&self) -> Affine {
        match self {
            Self::Norm(descriptor) => descriptor.affine,
            Self::Adaptive(_) => Affine::None,
        }
    }

    /// Checks everything that needs no device.
    pub fn validate(&self) -> Result<(), PlanError> {
        match self {
            Self::Norm(descriptor) => descriptor.validate(),
            Self::Adaptive(descriptor) => descriptor.validate(),
        }
    }

    /// The norm without what stands around it; `None` where nothing does.
    pub fn alone(&self) -> Option<Self> {
        let Self::Norm(descriptor) = self else { return None };
        self.is_fused().then(|| Self::Norm(NormDescriptor { fusion: Fusion::default(), ..descriptor.clone() }))
    }

    /// Whether something stands around it.
    pub fn is_fused(&self) -> bool {
        matches!(self, Self::Norm(descriptor) if descriptor.fusion != Fusion::default())
    }

    /// Units of errors of a tensor in the shape of the norm: the largest magnitude of each element's segment.
    pub fn segment_units(&self, given: bool, values: &[f64]) -> Result<Vec<f64>, ReferenceError> {
        match self {
            Self::Norm(descriptor) => reference::segment_units(descriptor, given, values),
            Self::Adaptive(d) => {
                let content = NormDescriptor { format: d.format, ..NormDescriptor::new(NormKind::Instance, d.shape) };
                reference::segment_units(&content, given, values)
            }
        }
    }

    /// Units of errors of the exact output.
    pub fn output_units(&self, inputs: &Inputs<'_>, output: &[f64]) -> Result<Vec<f64>, ReferenceError> {
        match self {
            Self::Norm(descriptor) if !self.is_fused() => reference::output_units(descriptor, &inputs.as_reference()),
            _ => self.segment_units(inputs.given.is_some(), output),
        }
    }

    /// The exact output.
    pub fn forward(&self, inputs: &Inputs<'_>) -> Result<ReferenceOutput, ReferenceError> {
        Ok(self.exact(inputs)?.norm)
    }

    /// The exact output, and the sum that is normalized.
    pub fn exact(&self, inputs: &Inputs<'_>) -> Result<Exact, ReferenceError> {
        let norm = match self {
            Self::Norm(descriptor) if self.is_fused() => {
                let exact = reference::fused(descriptor, &inputs.as_reference(), &inputs.fused.into())?;
                let FusedOutput { output, sum, mean, variance } = exact;
                return Ok(Exact { norm: ReferenceOutput { output, mean, variance }, sum });
            }
            Self::Norm(descriptor) => reference::forward(descriptor, &inputs.as_reference())?,
            Self::Adaptive(descriptor) => reference::adaptive(descriptor, inputs.input, inputs.style())?,
        };
        Ok(Exact { norm, sum: Vec::new() })
    }

    /// The exact gradients.
    pub fn backward(&self, inputs: &Inputs<'_>, grad_output: &[f32]) -> Result<ExactGradients, ReferenceError> {
        match self {
            Self::Norm(descriptor) if self.is_fused() => {
                let (own, operands) = (inputs.as_reference(), inputs.fused.into());
                Ok(reference::fused_backward(descriptor, &own, &operands, grad_output, inputs.arriving)?.into())
            }
            Self::Norm(descriptor) => {
                let exact = reference::backward(descriptor, &inputs.as_reference(), grad_output)?;
                let ReferenceGradients { input, scale, bias } = exact;
                Ok(ExactGradients { input, scale, bias, ..ExactGradients::default() })
            }
            Self::Adaptive(descriptor) => {
                let (input, style) =
                    reference::adaptive_backward(descriptor, inputs.input, inputs.style(), grad_output)?;
                Ok(ExactGradients { input, style, ..ExactGradients::default() })
            }
        }
    }
}
