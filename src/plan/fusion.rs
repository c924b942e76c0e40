//! What stands around a norm, as partitions and flags.

use super::axes::{TensorAxes, partition};
use crate::descriptor::{Affine, NormDescriptor};
use crate::error::PlanError;
use crate::fusion::{Activation, Fusion, Multiplier, NormalizedRounding, QuantScale, Quantization, SumRounding};
use crate::partition::Partition;

/// A parameter over a partition of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Parameter {
    pub partition: Partition,
    /// Elements of its innermost axis: views may have padded rows of so many.
    pub row_len: u64,
}

/// Two affine maps, one after the other, as one over the finer of their partitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Composition {
    pub finer: Partition,
    /// The first map's segments as those of the elements of a list of the finer's segments.
    pub first: Parameter,
    /// The second map's.
    pub second: Parameter,
}

/// What the input is multiplied with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Multiply {
    #[default]
    One,
    Gate(Parameter),
    Activation(Activation),
}

/// A second affine map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Modulation {
    pub composition: Composition,
    pub scale: bool,
    pub shift: bool,
    pub one_plus: bool,
}

/// What stands around a norm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Fused {
    pub multiplier: Multiply,
    pub bias: Option<Parameter>,
    /// A tensor.
    pub residual: bool,
    /// A residual that is the same along some axes: added to the bias, over the finer of both.
    pub broadcast: Option<Composition>,
    pub rounding: SumRounding,
    /// 1 is added to the scale.
    pub one_plus: bool,
    pub normalized: NormalizedRounding,
    pub modulation: Option<Modulation>,
    pub addend: bool,
    pub activation: Activation,
    pub gate: Option<Activation>,
    pub out_gate: Option<Parameter>,
    pub out_residual: bool,
    factor: Factor,
    pub quantization: Option<Quantization>,
}

/// A factor that is 1 by default.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Factor(f32);

impl Default for Factor {
    fn default() -> Self {
        Self(1.0)
    }
}

impl Fused {
    /// `axes` become those of the map that the norm itself applies: with a modulation, of both maps in one.
    pub(super) fn new(descriptor: &NormDescriptor<'_>, axes: &mut TensorAxes) -> Result<Self, PlanError> {
        let Fusion { prologue, epilogue, modulation, one_plus_scale, normalized_rounding, quantization } =
            descriptor.fusion;
        check(descriptor)?;
        let parameter = |named: &[usize]| axes.parameter(&axes.named(named)?);
        let multiplier = match prologue.multiplier {
            Multiplier::None => Multiply::One,
            Multiplier::Gate(named) => Multiply::Gate(parameter(named)?),
            Multiplier::Activation(activation) => Multiply::Activation(activation),
        };
        let whole = prologue.residual.map(|named| axes.named(named).map(|kept| kept.iter().all(|&kept| kept)));
        let whole = whole.transpose()?;
        let broadcast = match prologue.residual {
            Some(named) if whole == Some(false) => {
                let first = axes.named(prologue.bias.unwrap_or(&[]))?;
                Some(axes.composition(&first, &axes.named(named)?)?)
            }
            _ => None,
        };
        let out_gate = epilogue.out_gate.map(parameter).transpose()?;
        let bias = prologue.bias.map(parameter).transpose()?;
        let modulation = match modulation {
            Some(given) => {
                let own = if descriptor.affine == Affine::None {
                    vec![false; axes.affine.len()]
                } else {
                    axes.affine.clone()
                };
                let second = axes.named(given.axes)?;
                let composition = axes.composition(&own, &second)?;
                axes.affine = own.iter().zip(&second).map(|(&a, &b)| a || b).collect();
                Some(Modulation { composition, scale: given.scale, shift: given.shift, one_plus: given.one_plus })
            }
            None => None,
        };
        Ok(Self {
            multiplier,
            bias,
            residual: whole == Some(true),
            broadcast,
            rounding: prologue.rounding,
            one_plus: one_plus_scale,
            normalized: normalized_rounding,
            modulation,
            addend: epilogue.addend,
            activation: epilogue.activation,
            gate: epilogue.gate,
            out_gate,
            out_residual: epilogue.out_residual,
            factor: Factor(epilogue.factor),
            quantization,
        })
    }

    /// On the result.
    pub(crate) fn factor(&self) -> f32 {
        self.factor.0
    }

    /// Whether another tensor is normalized than the input.
    pub(crate) fn has_prologue(&self) -> bool {
        let plain = matches!(self.multiplier, Multiply::One) && self.rounding == SumRounding::Exact;
        !plain || self.bias.is_some() || self.residual || self.broadcast.is_some()
    }

    /// Whether the result is another than that of the affine map.
    pub(crate) fn has_epilogue(&self) -> bool {
        let tensors = self.addend || self.gate.is_some() || self.out_residual;
        tensors || self.out_gate.is_some() || self.activation != Activation::Identity || self.factor() != 1.0
    }

    /// Whether it is nothing.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What needs no axes.
fn check(descriptor: &NormDescriptor<'_>) -> Result<(), PlanError> {
    let Fusion { prologue, epilogue, one_plus_scale, .. } = descriptor.fusion;
    let in_prologue = matches!(prologue.multiplier, Multiplier::Activation(_));
    if in_prologue && epilogue.gate.is_some() {
        return Err(PlanError::TwoGates);
    }
    if one_plus_scale && !descriptor.affine.has_scale() {
        return Err(PlanError::NoScale);
    }
    if let Some(Quantization { least, scale, .. }) = descriptor.fusion.quantization {
        if !(least > 0.0 && least.is_finite()) {
            return Err(PlanError::LeastScale { least });
        }
        if (scale == QuantScale::Block { columns: 0 }) {
            return Err(PlanError::EmptyBlocks);
        }
    }
    let slopes = [
        Some(epilogue.activation),
        epilogue.gate,
        if let Multiplier::Activation(activation) = prologue.multiplier { Some(activation) } else { None },
    ];
    let slopes = slopes.into_iter().flatten().filter_map(|activation| match activation {
        Activation::LeakyRelu { slope } => Some(slope),
        _ => None,
    });
    match slopes.chain([epilogue.factor]).find(|number| !number.is_finite()) {
        Some(number) => Err(PlanError::NotFinite { number }),
        None => Ok(()),
    }
}

impl TensorAxes {
    /// A parameter that varies along the axes that are kept.
    fn parameter(&self, kept: &[bool]) -> Result<Parameter, PlanError> {
        Ok(Parameter { partition: self.partition(kept)?, row_len: self.innermost(kept) })
    }

    /// Sizes of the axes that are kept.
    fn sizes(&self, kept: &[bool]) -> Vec<u64> {
        self.shape().iter().zip(kept).filter(|&(_, kept)| *kept).map(|(&size, _)| size).collect()
    }

    /// Size of the last axis that is kept: views may have padded rows of so many.
    fn innermost(&self, kept: &[bool]) -> u64 {
        let Some(last) = (0..kept.len()).rev().find(|&axis| kept[axis]) else { return 1 };
        // groups and their channels are one axis of the tensor
        let whole = self.split() == last.checked_sub(1) && self.split().is_some_and(|axis| kept[axis]);
        let groups = if whole { self.shape()[last - 1] } else { 1 };
        groups * self.shape()[last]
    }

    /// Two maps as one: the axes of one hold those of the other. Along an axis of size 1 nothing varies.
    fn composition(&self, first: &[bool], second: &[bool]) -> Result<Composition, PlanError> {
        let both: Vec<bool> = first.iter().zip(second).map(|(&a, &b)| a || b).collect();
        let holds_both =
            |kept: &[bool]| (0..kept.len()).all(|axis| kept[axis] == both[axis] || self.shape()[axis] == 1);
        if !holds_both(first) && !holds_both(second) {
            return Err(PlanError::Unrelated { first: self.names(first), second: self.names(second) });
        }
        let shape = self.sizes(&both);
        let part = |kept: &[bool]| {
            let of_both: Vec<bool> = kept.iter().zip(&both).filter(|(_, both)| **both).map(|(&kept, _)| kept).collect();
            Ok(Parameter { partition: partition(&shape, &of_both)?, row_len: self.innermost(kept) })
        };
        Ok(Composition { finer: self.partition(&both)?, first: part(first)?, second: part(second)? })
    }
}
