//! The way back through what stands around a norm.
//!
//! ```text
//! delta       d = dy * factor * q;  dv = d * act1'(v + e) * act2(z), and dz, de               a map of its own
//! norm        ds from dv, with the scale of both maps in one; dS2, dS1 to its scale and bias
//! terms       ds + what arrives;  dx = ds * m;  dr = ds;  dz = ds * x * act'(z)                where ds is stored
//! sums        dm = sum ds * x;  dc = sum ds;  dq = sum dy * core                               reductions of their own
//! lists       from dS2, dS1 to the gradients of scale, bias and modulation                    over lists alone
//! ```

use super::backward::reduce_sums;
use super::bound::{Bound, FusedRegions};
use super::fused::{FusedTensors, floats, multiplier_gate, parameter, terms};
use super::operands::{Operands, Role};
use super::{BackwardArgs, Cutter, FusedArgs, FusedGradients, NormPlan};
use crate::element::Element;
use crate::error::BindError;
use crate::lower::bindings::Unbindable;
use crate::lower::{
    AffineGradients, Around, Delta, GradientOperands, List, Lowering, MapOperands, Maps, MergeSums, Multiply, SumParts,
    Summed, Tensor, Terms,
};
use crate::moments::{Accumulator, Divisor, Infinities, RECORD};
use crate::operand::Operand;
use crate::partition::Partition;
use crate::plan::{self, Parameter, Plan, Reduction};
use crate::schedule::Reduce;
use crate::view::{Buffer, TensorView};

/// Gradients that are wanted.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    arriving: Option<Tensor>,
    residual: Option<Tensor>,
    gate: Option<Tensor>,
    z: Option<Tensor>,
    prologue_bias: Option<Tensor>,
    modulation_scale: Option<Tensor>,
    modulation_shift: Option<Tensor>,
    addend: Option<Tensor>,
    out_gate: Option<Tensor>,
}

/// Everything of a backward pass.
pub(super) struct FusedBound {
    pub bound: Bound,
    tensors: FusedTensors,
    wanted: Wanted,
}

impl Wanted {
    fn affine(&self) -> bool {
        self.modulation_scale.is_some() || self.modulation_shift.is_some()
    }
}

impl NormPlan {
    /// Cuts regions for what stands around the norm.
    pub(super) fn fused_regions(&self, cutter: &mut Cutter) -> FusedRegions {
        let (plan, fused) = (&self.plan, &self.plan.fused);
        if fused.is_none() {
            return FusedRegions::default();
        }
        let lists = self.list_regions(cutter, true);
        let tensor = |used: bool| if used { floats(plan.elements) } else { 0 };
        let summed: Vec<Partition> = self.summed().collect();
        let sums = fused.bias.is_some() || fused.broadcast.is_some() || multiplier_gate(fused).is_some();
        let most = |of: &dyn Fn(&Partition) -> u64| summed.iter().map(of).max().unwrap_or(0);
        let list = most(&|p| floats(p.segments()));
        let partials = most(&|p| Reduce::choose(p, &self.planner.profile).partials_size(p));
        FusedRegions {
            lists,
            delta: cutter.region(tensor(fused.has_epilogue())),
            core: cutter.region(tensor(fused.out_gate.is_some())),
            sum: cutter.region(tensor(sums)),
            gradients: [cutter.region(list), cutter.region(list)],
            records: cutter.region(most(&|p| p.segments() * RECORD)),
            partials: cutter.region(partials),
        }
    }

    /// Partitions of the parameters whose gradients are sums of their own.
    fn summed(&self) -> impl Iterator<Item = Partition> {
        let fused = &self.plan.fused;
        let bias = fused.broadcast.map(|of| of.finer).or(fused.bias.map(|of| of.partition));
        let own = [multiplier_gate(fused).map(|of| of.partition), fused.out_gate.map(|of| of.partition)];
        own.into_iter().chain([bias]).flatten()
    }

    /// What stands around the norm, beside the operands of its own backward pass.
    pub(super) fn fused_operands<B: Buffer>(
        &self,
        operands: &mut Operands<B>,
        args: &BackwardArgs<B>,
        mut bound: Bound,
    ) -> Result<FusedBound, BindError> {
        let mut wanted = self.wanted(operands, &args.fused_gradients)?;
        let tensors = self.given_back(operands, &args.fused, &wanted)?;
        wanted.arriving = self.arriving(operands, &args.fused_gradients, &bound, &wanted)?;
        bound.around.terms = self.terms(&wanted, &tensors);
        let affine = bound.wants_affine() || wanted.affine();
        let after = wanted.z.is_some() || wanted.addend.is_some() || wanted.out_gate.is_some();
        if !(bound.maps() || self.sums_wanted(&wanted) || affine || after) {
            return Err(BindError::NothingWanted { operation: "backward" });
        }
        self.check_given(&bound, &wanted)?;
        Ok(FusedBound { bound, tensors, wanted })
    }

    /// Scale and bias of the forward pass, where the result of the affine map has to be known.
    fn check_given(&self, bound: &Bound, wanted: &Wanted) -> Result<(), BindError> {
        let plan = &self.plan;
        let epilogue = plan.fused.has_epilogue();
        let maps = bound.maps() || self.sums_wanted(wanted);
        let scale = maps || epilogue || wanted.modulation_scale.is_some();
        if plan.given_scale && bound.scale.is_none() && scale {
            return Err(BindError::Missing { operand: Operand::Scale });
        }
        if plan.given_bias && bound.bias.is_none() && (epilogue || wanted.modulation_scale.is_some()) {
            return Err(BindError::Missing { operand: Operand::Bias });
        }
        Ok(())
    }

    /// Gradients that are wanted of what stands around the norm.
    fn wanted<B: Buffer>(&self, operands: &mut Operands<B>, args: &FusedGradients<B>) -> Result<Wanted, BindError> {
        let fused = &self.plan.fused;
        let shape = self.shape();
        let mut tensor = |operand, view: &Option<TensorView<B>>, used: bool| match view {
            Some(view) if used => {
                operands.tensor(operand, view, shape, view.element.unwrap_or_default(), Role::Written).map(Some)
            }
            Some(_) => Err(BindError::Unexpected { operand }),
            None => Ok(None),
        };
        let gated = fused.gate.is_some() || matches!(fused.multiplier, plan::Multiply::Activation(_));
        let z = tensor(Operand::GradZ, &args.z, gated)?;
        let addend = tensor(Operand::GradAddend, &args.addend, fused.addend)?;
        let residual = if fused.broadcast.is_some() {
            None
        } else {
            tensor(Operand::GradResidual, &args.residual, fused.residual)?
        };
        let mut list = |operand, view: &Option<TensorView<B>>, of: Option<&Parameter>| match (view, of) {
            (Some(view), Some(of)) => {
                let element = view.element.unwrap_or_default();
                operands.list(operand, view, of.partition.segments(), element, Role::Written).map(Some)
            }
            (Some(_), None) => Err(BindError::Unexpected { operand }),
            (None, _) => Ok(None),
        };
        let modulation = fused.modulation.as_ref();
        let second =
            |used: fn(&plan::Modulation) -> bool| modulation.filter(|m| used(m)).map(|m| &m.composition.second);
        let gate = multiplier_gate(fused);
        let of_residual = match &fused.broadcast {
            Some(of) => list(Operand::GradResidual, &args.residual, Some(&of.second))?,
            None => None,
        };
        Ok(Wanted {
            arriving: None,
            residual: residual.or(of_residual),
            gate: list(Operand::GradGate, &args.gate, gate.as_ref())?,
            z,
            prologue_bias: list(Operand::GradPrologueBias, &args.prologue_bias, fused.bias.as_ref())?,
            modulation_scale: list(Operand::GradModulationScale, &args.modulation_scale, second(|m| m.scale))?,
            modulation_shift: list(Operand::GradModulationShift, &args.modulation_shift, second(|m| m.shift))?,
            addend,
            out_gate: list(Operand::GradOutGate, &args.out_gate, fused.out_gate.as_ref())?,
        })
    }

    /// What the forward pass was given, as far as the way back takes it.
    fn given_back<B: Buffer>(
        &self,
        operands: &mut Operands<B>,
        args: &FusedArgs<B>,
        wanted: &Wanted,
    ) -> Result<FusedTensors, BindError> {
        let fused = &self.plan.fused;
        // terms that are only added leave no trace on the way back
        let unused = [
            (Operand::OutResidual, &args.out_residual),
            (Operand::Sum, &args.sum),
            (Operand::Residual, &args.residual),
            (Operand::PrologueBias, &args.prologue_bias),
            (Operand::Scales, &args.scales),
            (Operand::StaticScale, &args.static_scale),
        ];
        if let Some((operand, _)) = unused.into_iter().find(|(_, view)| view.is_some()) {
            return Err(BindError::Unexpected { operand });
        }
        let mut tensors = self.fused_lists(operands, args, false)?;
        let gated = fused.gate.is_some() || matches!(fused.multiplier, plan::Multiply::Activation(_));
        tensors.z = self.whole(operands, Operand::Z, &args.z, gated)?;
        tensors.addend = self.whole(operands, Operand::Addend, &args.addend, fused.addend)?;
        let prologue_z = wanted.z.is_some() && fused.gate.is_none();
        if matches!(fused.multiplier, plan::Multiply::One) && args.multiplied.is_some() {
            return Err(BindError::Unexpected { operand: Operand::Multiplied });
        }
        if wanted.gate.is_some() || prologue_z {
            tensors.multiplied = self.whole(operands, Operand::Multiplied, &args.multiplied, true)?;
        }
        Ok(tensors)
    }

    /// A gradient that arrives at the sum: maybe in the very place that one of those goes to that leave it.
    fn arriving<B: Buffer>(
        &self,
        operands: &mut Operands<B>,
        args: &FusedGradients<B>,
        bound: &Bound,
        wanted: &Wanted,
    ) -> Result<Option<Tensor>, BindError> {
        let Some(view) = &args.arriving else { return Ok(None) };
        let (element, shape) = (view.element.unwrap_or_default(), self.shape());
        let alone = operands.apart().tensor(Operand::Arriving, view, shape, element, Role::Read)?;
        if [bound.grad_input, wanted.residual].contains(&Some(alone)) {
            return Ok(Some(alone));
        }
        operands.tensor(Operand::Arriving, view, shape, element, Role::Read).map(Some)
    }

    /// Where the gradient to the sum goes.
    fn terms(&self, wanted: &Wanted, tensors: &FusedTensors) -> Option<Terms> {
        let fused = &self.plan.fused;
        let multiplier = match (fused.multiplier, tensors.z) {
            (plan::Multiply::Gate(_), _) => match parameter(multiplier_gate(fused), tensors.gate) {
                Some(gate) => Multiply::Gate(gate),
                None => Multiply::One,
            },
            (plan::Multiply::Activation(activation), Some(z)) => Multiply::Activation(activation, z),
            _ => Multiply::One,
        };
        let in_prologue = fused.gate.is_none();
        let terms = Terms {
            arriving: wanted.arriving,
            multiplier,
            multiplied: tensors.multiplied.filter(|_| in_prologue && wanted.z.is_some()),
            grad_residual: wanted.residual.filter(|_| fused.broadcast.is_none()),
            grad_z: wanted.z.filter(|_| in_prologue),
        };
        let idle = terms == Terms { multiplied: terms.multiplied, ..Terms::default() };
        let sums = self.sums_wanted(wanted);
        (!idle || sums).then_some(terms)
    }

    /// Whether sums of the gradient to the sum are wanted.
    fn sums_wanted(&self, wanted: &Wanted) -> bool {
        let residual = wanted.residual.is_some() && self.plan.fused.broadcast.is_some();
        wanted.gate.is_some() || wanted.prologue_bias.is_some() || residual
    }

    /// With each list in a binding of its own. Where those are too many (`short`), lists go into the workspace; a norm
    /// with nothing around it has no room for them there, and merges before what its map would have merged.
    pub(super) fn lower_fused(&self, lowering: &mut Lowering, all: &FusedBound, short: bool) -> Result<(), Unbindable> {
        let (bound, plan) = (&all.bound, &self.plan);
        let packs = short && !plan.fused.is_none();
        let regions = bound.regions.fused;
        let at = |region| bound.at(region);
        let map = MapOperands {
            input: Some(bound.input),
            output: at(regions.delta),
            row_len: plan.computed.row_len,
            affine: plan.affine,
            scale: bound.scale,
            bias: bound.bias,
            around: Around::default(),
        };
        let map = self.lower_lists(lowering, &map, &all.tensors, (bound.scratch, &regions.lists, packs))?;
        let mut bound = *bound;
        (bound.scale, bound.merges) = (map.scale, packs || !short);
        bound.around.normalized = self.normalized_element();
        if plan.fused.has_epilogue() {
            self.lower_delta(lowering, all, &map)?;
            bound.grad_output = map.output;
        }
        // sums are made of f32
        let sums = self.sums_wanted(&all.wanted);
        let ds = all.wanted.residual.filter(|own| own.element == Element::F32 && plan.fused.broadcast.is_none());
        let ds = ds.unwrap_or(at(regions.sum));
        if let (true, Some(terms)) = (sums, &mut bound.around.terms) {
            terms.grad_residual = Some(ds);
        }
        self.lower_norm(lowering, all, &bound, packs)?;
        if !sums {
            return Ok(());
        }
        if let Some(own) = all.wanted.residual.filter(|own| *own != ds && plan.fused.broadcast.is_none()) {
            match own.rows {
                None => lowering.narrow(ds, own, plan.elements)?,
                // a list has no rows
                Some(_) => {
                    let partition = plan.computed.partition;
                    lowering.apply(&unit(partition, plan), &partition, &to_rows(ds, own, plan), None)?;
                }
            }
        }
        self.lower_term_sums(lowering, all, ds)
    }

    /// The way back through the epilogue, and the gradient to its gate.
    fn lower_delta(&self, lowering: &mut Lowering, all: &FusedBound, map: &MapOperands) -> Result<(), Unbindable> {
        let (bound, wanted, fused) = (&all.bound, &all.wanted, &self.plan.fused);
        let core = bound.at(bound.regions.fused.core);
        let delta = Delta {
            grad_output: bound.grad_output,
            grad_z: wanted.z.filter(|_| fused.gate.is_some()),
            grad_addend: wanted.addend,
            core: wanted.out_gate.map(|_| core),
        };
        let mut map = *map;
        map.around.before = None;
        if let Some(after) = &mut map.around.after {
            after.delta = Some(delta);
            after.out_residual = None;
        }
        if self.plan.elements > 0 {
            lowering.apply(&self.plan.computed, &bound.indexed, &map, Some(bound.statistics))?;
        }
        let (Some(own), Some(of)) = (wanted.out_gate, fused.out_gate) else { return Ok(()) };
        self.list_gradient(lowering, all, (of.partition, Some(core), bound.grad_output), [Some(own), None])
    }

    /// The way back through the norm, and through two maps in one.
    fn lower_norm(
        &self,
        lowering: &mut Lowering,
        all: &FusedBound,
        bound: &Bound,
        packs: bool,
    ) -> Result<(), Unbindable> {
        let wanted = &all.wanted;
        let Some(maps) = self.affine_maps(all.bound.scale, all.bound.bias, &all.tensors) else {
            if !bound.maps() && bound.grad_scale.is_none() && bound.grad_bias.is_none() {
                return Ok(());
            }
            return self
                .with_f32_parameters(lowering, bound, packs, &|lowering, bound| self.lower_backward(lowering, bound));
        };
        let any = wanted.affine() || bound.grad_scale.is_some() || bound.grad_bias.is_some();
        let sums = bound.regions.parameters.map(|region| any.then(|| bound.at(region)));
        let [grad_scale, grad_bias] =
            [(self.plan.scale, 0), (self.plan.bias, 1)].map(|(used, k)| sums[k].filter(|_| used));
        // the modulation's scale takes both sums, whether or not there is a summand
        let mut composed = *bound;
        (composed.grad_scale, composed.grad_bias) = (grad_scale, grad_bias.or(sums[1]));
        if composed.maps() || any {
            self.lower_backward(lowering, &composed)?;
        }
        let lists = [
            (List::FirstScale, bound.grad_scale),
            (List::FirstBias, bound.grad_bias),
            (List::SecondScale, wanted.modulation_scale),
            (List::SecondBias, wanted.modulation_shift),
        ];
        for (list, gradient) in lists {
            if let Some(gradient) = gradient {
                lowering.decompose(&maps, list, sums, gradient)?;
            }
        }
        Ok(())
    }

    /// Gradients to the gate, the bias and a residual that is the same along some axes: sums of ds.
    fn lower_term_sums(&self, lowering: &mut Lowering, all: &FusedBound, ds: Tensor) -> Result<(), Unbindable> {
        let (fused, wanted) = (&self.plan.fused, &all.wanted);
        if let (Some(of), Some(own)) = (multiplier_gate(fused), wanted.gate) {
            self.list_gradient(lowering, all, (of.partition, all.tensors.multiplied, ds), [Some(own), None])?;
        }
        let Some(of) = fused.broadcast else {
            return match (fused.bias, wanted.prologue_bias) {
                (Some(of), Some(own)) => self.list_gradient(lowering, all, (of.partition, None, ds), [None, Some(own)]),
                _ => Ok(()),
            };
        };
        if wanted.prologue_bias.is_none() && wanted.residual.is_none() {
            return Ok(());
        }
        let made = all.bound.at(all.bound.regions.fused.gradients[1]);
        self.sum_list(lowering, all, (of.finer, None, ds), [None, Some(made)])?;
        let maps: Maps = terms(&of, &all.tensors);
        for (list, own) in [(List::FirstBias, wanted.prologue_bias), (List::SecondBias, wanted.residual)] {
            if let Some(own) = own {
                lowering.decompose(&maps, list, [None, Some(made)], own)?;
            }
        }
        Ok(())
    }

    /// Sums of g * x, and of g, over the segments of a partition, in whatever types they are wanted.
    fn list_gradient(
        &self,
        lowering: &mut Lowering,
        all: &FusedBound,
        of: (Partition, Option<Tensor>, Tensor),
        own: [Option<Tensor>; 2],
    ) -> Result<(), Unbindable> {
        let regions = all.bound.regions.fused.gradients;
        let mut wide = own;
        for (tensor, region) in wide.iter_mut().zip(regions) {
            *tensor = tensor.map(|own| if own.element == Element::F32 { own } else { all.bound.at(region) });
        }
        self.sum_list(lowering, all, of, wide)?;
        for (own, wide) in own.into_iter().zip(wide) {
            if let (Some(own), Some(wide)) = (own, wide)
                && own != wide
            {
                lowering.narrow(wide, own, of.0.segments())?;
            }
        }
        Ok(())
    }

    /// Sums of g * x, and of g, as gradient sums of what a divisor of 1 normalizes.
    fn sum_list(
        &self,
        lowering: &mut Lowering,
        all: &FusedBound,
        (partition, x, g): (Partition, Option<Tensor>, Tensor),
        [grad_scale, grad_bias]: [Option<Tensor>; 2],
    ) -> Result<(), Unbindable> {
        let regions = &all.bound.regions.fused;
        let reduction = unit(partition, &self.plan);
        let input = x.map(|x| (x, None));
        let whole = Partition::new(1, 1, 1, partition.elements());
        let operands = GradientOperands {
            input,
            grad_output: g,
            indexed: whole,
            hoisted: true,
            scale: None,
            normalized: Element::F32,
        };
        let schedule = Reduce::choose(&partition, &self.planner.profile);
        let at = (all.bound.at(regions.records), all.bound.at(regions.partials));
        let (empty, segments) = (self.plan.elements == 0, partition.segments());
        let parts = if empty {
            let parts = SumParts::new(Tensor::NOWHERE, Partition::new(1, 0, 1, 1), 1);
            SumParts { affine: Partition::new(1, 0, segments, 1), ..parts }
        } else {
            let (sums, slices) = reduce_sums(lowering, &reduction, &schedule, &Summed::Gradients(operands), at)?;
            let identity = Partition::new(1, 1, segments, 1);
            SumParts { affine: identity, ..SumParts::new(sums, identity, slices) }
        };
        let affine =
            AffineGradients { affine: &partition, grad_scale, grad_bias, factor: [1.0; 2], partials: Tensor::NOWHERE };
        lowering.merge_sums(&reduction, &MergeSums { affine: Some(affine), ..MergeSums::new(parts) })
    }
}

/// What a divisor of 1 normalizes: it stays as it is.
fn unit(partition: Partition, plan: &Plan) -> Reduction {
    let divisor = Divisor {
        inside: 1.0,
        added: 0.0,
        minimum: 0.0,
        factor: 1.0,
        p: 2.0,
        inverse_of_zero: f32::INFINITY,
        infinities: Infinities::Plain,
    };
    Reduction { partition, accumulator: Accumulator::Uncentred, divisor, row_len: plan.computed.row_len }
}

/// A tensor to another of its shape.
fn to_rows(from: Tensor, to: Tensor, plan: &Plan) -> MapOperands {
    MapOperands {
        input: Some(from),
        output: to,
        row_len: plan.computed.row_len,
        affine: None,
        scale: None,
        bias: None,
        around: Around::default(),
    }
}
