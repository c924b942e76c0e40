//! What a norm will write, for Burn's fusion: it runs operations later, and wants their tensors' shapes now.

use burn::backend::fusion::custom::TensorSpec;
use burn::backend::{DType, Shape};

use crate::op::*;

fn optional(spec: Option<TensorSpec>) -> OptionalMetadata {
    spec.map_or(OptionalMetadata::Absent, OptionalMetadata::Present)
}

fn is_present(tensor: &OptionalMetadata) -> bool {
    matches!(tensor, OptionalMetadata::Present(_))
}

pub(crate) fn outputs(operands: &OperandsMetadata, op: &Op) -> OutputsMetadata {
    let input = &operands.input;
    let moments = op.moments_shape(&input.shape);
    let exported = op.statistics == Statistics::Exported;
    let channels = exported.then(|| TensorSpec::new(Shape::new([moments[0]]), DType::F32));
    OutputsMetadata {
        output: input.clone(),
        sum: optional(is_present(&operands.residual).then(|| input.clone())),
        moments: optional(op.has_moments().then(|| TensorSpec::new(moments, DType::F32))),
        mean: optional(channels.clone()),
        variance: optional(channels),
    }
}

pub(crate) fn gradients(saved: &SavedMetadata, _: &Op, wanted: &Wanted) -> GradientsMetadata {
    let like = |wanted: bool, parameter: &OptionalMetadata| match parameter {
        OptionalMetadata::Present(spec) if wanted => OptionalMetadata::Present(spec.clone()),
        _ => OptionalMetadata::Absent,
    };
    GradientsMetadata {
        input: optional(wanted.input.then(|| saved.input.clone())),
        scale: like(wanted.scale, &saved.scale),
        bias: like(wanted.bias, &saved.bias),
    }
}
