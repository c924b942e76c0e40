//! What stands around a norm, bound: the caller's views to operands of stages.

use super::bound::ListRegions;
use super::operands::{Operands, Role, Shape};
use super::{Cutter, FusedArgs, NormPlan};
use crate::element::Element;
use crate::error::BindError;
use crate::fusion::{NormalizedRounding, QuantScale, SumRounding};
use crate::kernel::MAX_SLOTS;
use crate::lower::bindings::Unbindable;
use crate::lower::{
    AffineLists, After, Around, Before, Broadcast, Lowering, MapOperands, Maps, Multiply, QuantizeOperands, Tensor,
};
use crate::operand::Operand;
use crate::partition::Partition;
use crate::plan::{self, Composition, Fused, Parameter};
use crate::view::{Buffer, TensorView};

/// Tensors and lists that a fusion names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FusedTensors {
    pub residual: Option<Tensor>,
    pub gate: Option<Tensor>,
    pub z: Option<Tensor>,
    pub prologue_bias: Option<Tensor>,
    pub modulation_scale: Option<Tensor>,
    pub modulation_shift: Option<Tensor>,
    pub addend: Option<Tensor>,
    pub out_gate: Option<Tensor>,
    pub out_residual: Option<Tensor>,
    pub sum: Option<Tensor>,
    pub multiplied: Option<Tensor>,
    /// Where the bytes of the result go, and its scales.
    pub quantized: Option<[Tensor; 2]>,
}

/// A list of f32.
pub(super) fn floats(len: u64) -> u64 {
    4 * len
}

impl NormPlan {
    /// Whether lists are put into the workspace, where a dispatch has not enough bindings for each by itself.
    pub(super) fn may_pack(&self) -> bool {
        let fused = &self.plan.fused;
        let (epilogue, prologue) = (fused.has_epilogue(), fused.has_prologue());
        let lists = [self.plan.scale, self.plan.bias, fused.bias.is_some() || fused.broadcast.is_some()];
        let tensors = [fused.residual, fused.addend, fused.out_residual, fused.out_gate.is_some(), prologue];
        let z = fused.gate.is_some() || !matches!(fused.multiplier, plan::Multiply::One);
        // input, output, moments, workspace; on the way back the gradients to addend and z
        let own = if epilogue { 6 } else { 4 };
        let count = lists.iter().chain(&tensors).filter(|present| **present).count();
        !fused.is_none() && own + count + usize::from(z) > MAX_SLOTS
    }

    /// Cuts regions for lists; with `packs` for those too that are given.
    pub(super) fn list_regions(&self, cutter: &mut Cutter, packs: bool) -> ListRegions {
        let fused = &self.plan.fused;
        let affine = if packs || fused.modulation.is_some() { floats(self.plan.affine_len()) } else { 0 };
        let finer = fused.broadcast.map(|of| of.finer).or(fused.bias.filter(|_| packs).map(|of| of.partition));
        let packed = |of: Option<Parameter>| floats(of.filter(|_| packs).map_or(0, |of| of.partition.segments()));
        let gate = if let plan::Multiply::Gate(gate) = fused.multiplier { Some(gate) } else { None };
        ListRegions {
            affine: [cutter.region(affine), cutter.region(affine)],
            prologue: cutter.region(floats(finer.map_or(0, |finer| finer.segments()))),
            gate: cutter.region(packed(gate)),
            out_gate: cutter.region(packed(fused.out_gate)),
            packs,
        }
    }

    /// Whether lists have to be made before anything is normalized.
    pub(super) fn composes(&self) -> bool {
        let fused = &self.plan.fused;
        let made = fused.modulation.is_some() || fused.broadcast.is_some() || fused.quantization.is_some();
        made || self.may_pack()
    }

    /// The operands of a forward pass.
    pub(super) fn fused_tensors<B: Buffer>(
        &self,
        operands: &mut Operands<B>,
        args: &FusedArgs<B>,
    ) -> Result<FusedTensors, BindError> {
        let fused = &self.plan.fused;
        let z = fused.gate.is_some() || matches!(fused.multiplier, plan::Multiply::Activation(_));
        let mut tensor = |operand, view: &Option<TensorView<B>>, used| self.whole(operands, operand, view, used);
        let (residual, z) = (
            if fused.broadcast.is_some() { None } else { tensor(Operand::Residual, &args.residual, fused.residual)? },
            tensor(Operand::Z, &args.z, z)?,
        );
        let addend = tensor(Operand::Addend, &args.addend, fused.addend)?;
        let out_residual = tensor(Operand::OutResidual, &args.out_residual, fused.out_residual)?;
        if args.multiplied.is_some() {
            return Err(BindError::Unexpected { operand: Operand::Multiplied });
        }
        let mut tensors = self.fused_lists(operands, args, true)?;
        tensors.sum = match &args.sum {
            Some(view) if fused.has_prologue() => {
                let element = self.sum_element(view);
                Some(operands.tensor(Operand::Sum, view, self.shape(), element, Role::Written)?)
            }
            Some(_) => return Err(BindError::Unexpected { operand: Operand::Sum }),
            None => None,
        };
        let scales = self.scales(operands, args)?;
        tensors.quantized = scales.map(|scales| [Tensor::NOWHERE, scales]);
        tensors.residual = residual.or(tensors.residual);
        (tensors.z, tensors.addend, tensors.out_residual) = (z, addend, out_residual);
        Ok(tensors)
    }

    /// The parameters, those that are only `added` too, and a residual that is the same along some axes.
    pub(super) fn fused_lists<B: Buffer>(
        &self,
        operands: &mut Operands<B>,
        args: &FusedArgs<B>,
        added: bool,
    ) -> Result<FusedTensors, BindError> {
        let fused = &self.plan.fused;
        let modulation = fused.modulation.as_ref();
        let gate = if let plan::Multiply::Gate(gate) = &fused.multiplier { Some(gate) } else { None };
        let (scale, shift) = (modulation.filter(|m| m.scale), modulation.filter(|m| m.shift));
        let mut list =
            |operand, view: &Option<TensorView<B>>, of: Option<&Parameter>| self.parameter(operands, operand, view, of);
        Ok(FusedTensors {
            residual: match &fused.broadcast {
                Some(of) if added => list(Operand::Residual, &args.residual, Some(&of.second))?,
                _ => None,
            },
            gate: list(Operand::Gate, &args.gate, gate)?,
            prologue_bias: list(Operand::PrologueBias, &args.prologue_bias, fused.bias.as_ref().filter(|_| added))?,
            modulation_scale: list(
                Operand::ModulationScale,
                &args.modulation_scale,
                scale.map(|m| &m.composition.second),
            )?,
            modulation_shift: list(
                Operand::ModulationShift,
                &args.modulation_shift,
                shift.map(|m| &m.composition.second),
            )?,
            out_gate: list(Operand::OutGate, &args.out_gate, fused.out_gate.as_ref())?,
            ..FusedTensors::default()
        })
    }

    /// The scales of a quantization.
    fn scales<B: Buffer>(&self, operands: &mut Operands<B>, args: &FusedArgs<B>) -> Result<Option<Tensor>, BindError> {
        let plan = &self.plan;
        let how = plan.fused.quantization;
        let given = how.is_some_and(|how| how.scale == QuantScale::Static);
        let all = [
            (Operand::Scales, &args.scales, how.is_some() && !given, Role::Written),
            (Operand::StaticScale, &args.static_scale, given, Role::Read),
        ];
        let mut scales = None;
        for (operand, view, used, role) in all {
            scales = match (view, used, how) {
                (Some(view), true, Some(how)) => {
                    let len = how.scales(plan.elements, plan.computed.row_len);
                    Some(operands.list(operand, view, len, Element::F32, role)?)
                }
                (Some(_), ..) => return Err(BindError::Unexpected { operand }),
                (None, true, _) => return Err(BindError::Missing { operand }),
                (None, ..) => scales,
            };
        }
        Ok(scales)
    }

    /// Makes bytes of the result, where it goes out as such.
    pub(super) fn lower_quantized(
        &self,
        lowering: &mut Lowering,
        tensors: &FusedTensors,
        unquantized: Tensor,
    ) -> Result<(), Unbindable> {
        let (Some(how), Some([quantized, scales])) = (self.plan.fused.quantization, tensors.quantized) else {
            return Ok(());
        };
        let (elements, width) = (self.plan.elements, self.plan.computed.row_len);
        lowering.quantize(&how, &QuantizeOperands { unquantized, quantized, scales, elements, width })
    }

    /// A tensor of the input's shape.
    pub(super) fn whole<B: Buffer>(
        &self,
        operands: &mut Operands<B>,
        operand: Operand,
        view: &Option<TensorView<B>>,
        used: bool,
    ) -> Result<Option<Tensor>, BindError> {
        let plan = &self.plan;
        match (view, used) {
            (Some(view), true) => {
                let element = view.element.unwrap_or(plan.types.input);
                let shape = self.shape();
                operands.tensor(operand, view, shape, element, Role::Read).map(Some)
            }
            (None, false) => Ok(None),
            (Some(_), false) => Err(BindError::Unexpected { operand }),
            (None, true) => Err(BindError::Missing { operand }),
        }
    }

    /// A parameter over a partition of its own.
    fn parameter<B: Buffer>(
        &self,
        operands: &mut Operands<B>,
        operand: Operand,
        view: &Option<TensorView<B>>,
        of: Option<&Parameter>,
    ) -> Result<Option<Tensor>, BindError> {
        match (view, of) {
            (Some(view), Some(of)) => {
                let element = view.element.unwrap_or(self.plan.types.scale);
                let shape = Shape::list(of.partition.segments(), of.row_len);
                operands.tensor(operand, view, shape, element, Role::Read).map(Some)
            }
            (None, None) => Ok(None),
            (Some(_), None) => Err(BindError::Unexpected { operand }),
            (None, Some(_)) => Err(BindError::Missing { operand }),
        }
    }

    /// The type that a sum is stored in.
    pub(super) fn sum_element<B>(&self, view: &TensorView<B>) -> Element {
        match self.plan.fused.rounding {
            SumRounding::AsStored(element) => element,
            SumRounding::Exact => view.element.unwrap_or_default(),
        }
    }

    /// What the normalized tensor is rounded to.
    pub(super) fn normalized_element(&self) -> Element {
        match self.plan.fused.normalized {
            NormalizedRounding::None => Element::F32,
            NormalizedRounding::AsOutput => self.plan.types.output,
        }
    }

    /// Makes the lists that are made of others, and all of them in the workspace where `packs`. Gives scale and bias of
    /// the map, and what stands around the norm on the way forward.
    pub(super) fn lower_lists(
        &self,
        lowering: &mut Lowering,
        map: &MapOperands,
        tensors: &FusedTensors,
        (scratch, regions, packs): (Tensor, &ListRegions, bool),
    ) -> Result<MapOperands, Unbindable> {
        let fused = &self.plan.fused;
        lowering.one_plus = fused.one_plus && fused.modulation.is_none();
        let packs = packs && regions.packs;
        let mut copy = |of: Option<Broadcast>, region: u64| match of.filter(|_| packs) {
            Some(of) => packed(lowering, of, scratch.at(region)).map(Some),
            None => Ok(of),
        };
        let gate = copy(parameter(multiplier_gate(fused), tensors.gate), regions.gate)?;
        let out_gate = copy(parameter(fused.out_gate, tensors.out_gate), regions.out_gate)?;
        let bias = match fused.broadcast {
            Some(of) if tensors.residual.is_some() => {
                let made = scratch.at(regions.prologue);
                lowering.compose(&terms(&of, tensors), None, Some(made))?;
                Some(Broadcast { tensor: made, partition: of.finer })
            }
            _ => copy(parameter(fused.bias, tensors.prologue_bias), regions.prologue)?,
        };
        let [scale, bias_of_map] = self.lower_affine(lowering, map, tensors, (scratch, regions, packs))?;
        let multiplier = match (fused.multiplier, gate, tensors.z) {
            (plan::Multiply::Gate(_), Some(gate), _) => Multiply::Gate(gate),
            (plan::Multiply::Activation(activation), _, Some(z)) => Multiply::Activation(activation, z),
            _ => Multiply::One,
        };
        let rounding = if let SumRounding::AsStored(element) = fused.rounding { element } else { Element::F32 };
        let residual = tensors.residual.filter(|_| fused.broadcast.is_none());
        let before = Before { multiplier, bias, residual, rounding, sum: tensors.sum };
        let after = After {
            addend: tensors.addend,
            activation: fused.activation,
            gate: fused.gate.zip(tensors.z),
            out_gate,
            out_residual: tensors.out_residual,
            factor: fused.factor(),
            delta: None,
        };
        let mut map = *map;
        (map.scale, map.bias) = (scale, bias_of_map);
        map.around = Around {
            before: fused.has_prologue().then_some(before),
            after: fused.has_epilogue().then_some(after),
            terms: None,
            normalized: self.normalized_element(),
        };
        Ok(map)
    }

    /// Scale and bias of the map: those of two in one, or the norm's own.
    fn lower_affine(
        &self,
        lowering: &mut Lowering,
        map: &MapOperands,
        tensors: &FusedTensors,
        (scratch, regions, packs): (Tensor, &ListRegions, bool),
    ) -> Result<[Option<Tensor>; 2], Unbindable> {
        let made =
            [(self.plan.scale, 0), (self.plan.bias, 1)].map(|(used, k)| used.then(|| scratch.at(regions.affine[k])));
        if let Some(maps) = self.affine_maps(map.scale, map.bias, tensors) {
            lowering.compose(&maps, made[0], made[1])?;
            return Ok(made);
        }
        let (Some(affine), true) = (self.plan.affine, packs) else { return Ok([map.scale, map.bias]) };
        let mut both = [map.scale, map.bias];
        for (own, made) in both.iter_mut().zip(made) {
            if let (Some(tensor), Some(made)) = (*own, made) {
                packed(lowering, Broadcast { tensor, partition: affine }, made)?;
                *own = Some(made);
            }
        }
        Ok(both)
    }

    /// The norm's own map and the modulation.
    pub(super) fn affine_maps(
        &self,
        scale: Option<Tensor>,
        bias: Option<Tensor>,
        tensors: &FusedTensors,
    ) -> Option<Maps> {
        let fused = &self.plan.fused;
        let of = fused.modulation?;
        let Composition { finer, first, second } = of.composition;
        Some(Maps {
            len: finer.segments(),
            first: AffineLists { partition: first.partition, scale, bias, one_plus: fused.one_plus },
            second: AffineLists {
                partition: second.partition,
                scale: tensors.modulation_scale,
                bias: tensors.modulation_shift,
                one_plus: of.one_plus && of.scale,
            },
        })
    }
}

/// A bias and a residual that is the same along some axes, as two maps of which there are only the summands.
pub(super) fn terms(of: &Composition, tensors: &FusedTensors) -> Maps {
    Maps {
        len: of.finer.segments(),
        first: AffineLists::bias(of.first.partition, tensors.prologue_bias),
        second: AffineLists::bias(of.second.partition, tensors.residual),
    }
}

pub(super) fn multiplier_gate(fused: &Fused) -> Option<Parameter> {
    if let plan::Multiply::Gate(gate) = fused.multiplier { Some(gate) } else { None }
}

pub(super) fn parameter(of: Option<Parameter>, tensor: Option<Tensor>) -> Option<Broadcast> {
    Some(Broadcast { partition: of?.partition, tensor: tensor? })
}

/// A copy of a list as f32, without padding.
fn packed(lowering: &mut Lowering, of: Broadcast, to: Tensor) -> Result<Broadcast, Unbindable> {
    let len = of.partition.segments();
    let each = Partition::new(1, 1, len, 1);
    let (first, second) = (AffineLists::bias(each, Some(of.tensor)), AffineLists::bias(each, None));
    lowering.compose(&Maps { len, first, second }, None, Some(to))?;
    Ok(Broadcast { tensor: to, ..of })
}
