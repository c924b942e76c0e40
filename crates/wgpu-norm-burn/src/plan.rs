//! From an operation on tensors to a norm of the engine.

use burn::backend::DType;
use wgpu_norm::*;

use crate::op::{Kind, Op};

/// All that a plan depends on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Planned {
    pub kind: Kind,
    pub epsilon: f32,
    pub activation: Activation,
    pub shape: Vec<u64>,
    pub input: Element,
    pub scale: Option<Element>,
    pub bias: Option<Element>,
    /// Whether a residual is added before.
    pub residual: bool,
}

impl Planned {
    pub(crate) fn new(op: &Op, shape: &[usize], input: Element) -> Self {
        let Op { kind, epsilon, activation, .. } = *op;
        let (scale, bias, residual) = (None, None, false);
        Self { kind, epsilon, activation, shape: kind.merged(shape), input, scale, bias, residual }
    }

    pub(crate) fn plan(&self, engine: &NormEngine) -> Result<Norm, PlanError> {
        let rank = self.shape.len();
        let last = rank.saturating_sub(1)..rank;
        let (kind, label) = match self.kind {
            Kind::Layer => (NormKind::Layer { axes: last }, "layer"),
            Kind::Rms => (NormKind::Rms { axes: last }, "rms"),
            Kind::Group { groups } => (NormKind::Group { groups: groups as u64 }, "group"),
            Kind::Instance => (NormKind::Instance, "instance"),
            Kind::Batch => (NormKind::Batch, "batch"),
        };
        let scale = self.scale.unwrap_or(Element::F32);
        let bias = self.bias.unwrap_or(Element::F32);
        let types = Types::tensors(self.input).scale(scale).grad_scale(scale).bias(bias).grad_bias(bias);
        let mut fusion = Fusion::default().epilogue(Epilogue::activation(self.activation));
        if self.residual {
            // what backward sees is the sum as it is stored
            let rounding = SumRounding::AsStored(self.input);
            fusion = fusion.prologue(Prologue::residual(&ALL_AXES[..rank]).rounding(rounding));
        }
        engine.create_norm(&NormDescriptor {
            label: Some(label),
            eps: Epsilon::AsGiven(self.epsilon),
            affine: Affine::with(self.scale.map(drop), self.bias.map(drop)),
            // Burn computes them as the formula says
            single_element: SingleElement::Allow,
            types,
            fusion,
            ..NormDescriptor::new(kind, &self.shape)
        })
    }
}

/// The engine's name of an element type, if it has it.
pub(crate) fn element(dtype: DType) -> Option<Element> {
    match dtype {
        DType::F32 => Some(Element::F32),
        DType::F16 => Some(Element::F16),
        DType::BF16 => Some(Element::Bf16),
        _ => None,
    }
}
