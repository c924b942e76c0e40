//! The backward pass.

use super::{
    BackwardArgs, BackwardStatistics, Cutter, GradientSumsArgs, InputGradientArgs, NormPlan, Operands, Role,
};
use crate::error::BindError;
use crate::kernel::Source;
use crate::lower::bindings::Unbindable;
use crate::lower::{
    BackwardMap, ColumnSums, GradientOperands, Lowering, MergeOperands, Summed, Tensor, old_partials_size,
    sums_are_gradients,
};
use crate::moments::RECORD;
use crate::operand::Operand;
use crate::partition::Partition;
use crate::plan::{Plan, Reduction};
use crate::recipe::Recipe;
use crate::schedule::{Backward, Reduce};
use crate::view::{Buffer, BufferView, Destination, TensorView};
use crate::walk::team::Team;

/// Regions of a backward workspace.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Regions {
    sums: u64,
    records: u64,
    partials: u64,
    pub(super) size: u64,
}

/// Operands of a backward pass in the table.
pub(super) struct Bound {
    pub(super) input: Tensor,
    pub(super) grad_output: Tensor,
    pub(super) statistics: Tensor,
    pub(super) indexed: Partition,
    pub(super) given: bool,
    pub(super) scale: Option<Tensor>,
    pub(super) grad_input: Option<Tensor>,
    pub(super) grad_scale: Option<Tensor>,
    pub(super) grad_bias: Option<Tensor>,
    /// On the gradients to scale and bias: those of a style are means over it.
    pub(super) factor: [f32; 2],
    pub(super) scratch: Tensor,
    pub(super) regions: Regions,
    /// The caller's own sums.
    pub(super) sums: Option<Tensor>,
    /// The scale is a factor of the gradient to the input, not a weight in its sums.
    pub(super) scale_last: bool,
}

impl Bound {
    fn at(&self, offset: u64) -> Tensor {
        self.scratch.at(offset)
    }

    /// The map to the gradient of the input, where that is wanted.
    fn map(&self, plan: &Plan) -> Option<BackwardMap> {
        self.grad_input.map(|grad_input| BackwardMap {
            input: self.input,
            grad_output: self.grad_output,
            grad_input,
            row_len: plan.computed.row_len,
            statistics: (self.statistics, self.indexed),
            scale: self.scale.zip(plan.affine),
            scale_last: self.scale_last,
        })
    }

    fn wants_any(&self) -> bool {
        self.grad_input.is_some() || self.wants_affine()
    }

    fn wants_affine(&self) -> bool {
        self.grad_scale.is_some() || self.grad_bias.is_some()
    }

    /// Gradient operands of sums over segments that do or do not share their statistics.
    fn sums(&self, hoisted: bool, scale: Option<(Tensor, Partition)>) -> GradientOperands {
        let needs_input = self.grad_input.is_some() || self.grad_scale.is_some() || self.sums.is_some();
        let input = needs_input.then_some((self.input, self.statistics));
        GradientOperands { input, grad_output: self.grad_output, indexed: self.indexed, hoisted, scale }
    }

    /// Sums of columns that become the gradients to scale and bias, where those are wanted.
    fn columns<'a>(&self, affine: &'a Partition, walkers: u32) -> Option<ColumnSums<'a>> {
        let (grad_scale, grad_bias, factor) = (self.grad_scale, self.grad_bias, self.factor);
        let partials = self.at(self.regions.partials);
        self.wants_affine().then_some(ColumnSums { affine, walkers, partials, grad_scale, grad_bias, factor })
    }

    /// A merge of partial records into the gradients to scale and bias.
    fn gradients(&self, partition: Partition, partials: Option<Tensor>) -> MergeOperands {
        let (grad_scale, grad_bias, factor) = (self.grad_scale, self.grad_bias, self.factor);
        MergeOperands { grad_scale, grad_bias, factor, ..MergeOperands::new(partition, partials, None) }
    }
}

/// Records of walkers: one of them writes gradients.
fn walked(affine: &Partition, walkers: u32) -> u64 {
    let columns = affine.segments() * affine.reduced_inner;
    if sums_are_gradients(affine, walkers) { 0 } else { columns * u64::from(walkers) }
}

impl NormPlan {
    /// How gradients are computed from saved statistics.
    pub fn backward_schedule(&self) -> Backward {
        self.backward
    }

    /// Schedules that can compute the gradients from saved statistics: the one that is taken first.
    pub fn backward_schedules(&self) -> Vec<Backward> {
        Backward::candidates(&self.plan, &self.planner.profile)
    }

    /// The same norm with another of its [`Norm::backward_schedules`]; `None` if it is none of them.
    pub fn with_backward_schedule(&self, schedule: Backward) -> Option<Self> {
        self.backward_schedules().contains(&schedule).then(|| Self { backward: schedule, ..self.clone() })
    }

    /// Bytes of workspace that [`Norm::bind_backward`] needs; 0: none.
    pub fn backward_workspace_size(&self) -> u64 {
        self.regions().size
    }

    /// Bytes of partial gradient sums.
    fn sums_size(&self, reduce: &Reduce, partition: &Partition) -> u64 {
        reduce.partials_size(partition).max(old_partials_size(partition, &self.planner.profile))
    }

    pub(super) fn regions(&self) -> Regions {
        let plan = &self.plan;
        let mut cutter = Cutter::default();
        let affine = plan.affine.unwrap_or(Partition::new(1, 1, 1, 1));
        // given statistics take the way of sums apart, whatever the schedule
        let apart_affine = self.sums_size(&self.apart.1, &affine);
        let (records, partials) = match self.backward {
            Backward::Fused { walkers, .. } if plan.affine.is_some() => {
                // where rows have one scale each they leave a record each, and walkers none
                let rows = if plan.shares_scale() { plan.computed.partition.segments() } else { 0 };
                let places = if plan.shares_scale() { rows } else { walked(&affine, walkers) };
                (affine.segments().max(rows), (places * RECORD).max(apart_affine))
            }
            Backward::Fused { .. } => (0, 0),
            Backward::Rows { reduce, walkers } => {
                let places = walked(&affine, walkers) * RECORD;
                let sums = self.sums_size(&reduce, &plan.computed.partition);
                (affine.segments(), places.max(sums).max(apart_affine))
            }
            Backward::Folded(reduce) => {
                let refined = plan.refinement.map_or(affine, |r| r.partition);
                (refined.segments().max(affine.segments()), self.sums_size(&reduce, &refined).max(apart_affine))
            }
            Backward::Apart { statistics, .. } => {
                (affine.segments(), self.sums_size(&statistics, &plan.computed.partition).max(apart_affine))
            }
        };
        let sums = cutter.region(self.statistics_size());
        let (records, partials) = (cutter.region(records * RECORD), cutter.region(partials));
        Regions { sums, records, partials, size: cutter.size }
    }

    /// A backward pass: every gradient that has a view, in one walk over input and gradient wherever the norm allows it.
    /// Gradients of gradients are not computed.
    ///
    /// # Errors
    /// [`BindError`] says which operand is wrong.
    pub fn backward<B: Buffer>(&self, args: &BackwardArgs<B>) -> Result<Recipe<B>, BindError> {
        let mut operands = Operands::default();
        let bound = self.backward_operands(&mut operands, args, None)?;
        if !bound.wants_any() {
            return Err(BindError::NothingWanted { operation: "backward" });
        }
        let scratch = operands.workspace(args.workspace.as_ref(), bound.regions.size)?;
        let bound = Bound { scratch, ..bound };
        self.lower("backward", operands, |lowering| self.lower_backward(lowering, &bound))
    }

    /// The operands of a backward pass, parameters and what is wanted included.
    fn backward_operands<B: Buffer>(
        &self,
        operands: &mut Operands<B>,
        args: &BackwardArgs<B>,
        sums: Option<(&BufferView<B>, Role)>,
    ) -> Result<Bound, BindError> {
        let plan = &self.plan;
        let affine_len = self.affine_len();
        let bound = self.backward_tensors(operands, args, sums)?;
        let mut parameter = |operand, view: &Option<TensorView<B>>, used: bool, role| match view {
            Some(_) if !used => Err(BindError::Unexpected { operand }),
            Some(view) => operands.list(operand, view, affine_len, role).map(Some),
            None => Ok(None),
        };
        let scale = parameter(Operand::Scale, &args.scale, plan.scale, Role::Read)?;
        let grad_scale = parameter(Operand::GradScale, &args.grad_scale, plan.scale, Role::Written)?;
        let grad_bias = parameter(Operand::GradBias, &args.grad_bias, plan.bias, Role::Written)?;
        if plan.scale && scale.is_none() && args.grad_input.is_some() {
            return Err(BindError::Missing { operand: Operand::Scale });
        }
        Ok(Bound { scale, grad_scale, grad_bias, ..bound })
    }

    /// The operands that every backward pass has.
    pub(super) fn backward_tensors<B: Buffer>(
        &self,
        operands: &mut Operands<B>,
        args: &BackwardArgs<B>,
        sums: Option<(&BufferView<B>, Role)>,
    ) -> Result<Bound, BindError> {
        let plan = &self.plan;
        let (len, row_len) = (plan.elements, plan.computed.row_len);
        let in_place = matches!(args.grad_input, Some(Destination::InPlace));
        let input = operands.tensor(Operand::Input, &args.input, len, row_len, Role::Read)?;
        let role = if in_place { Role::Written } else { Role::Read };
        let grad_output = operands.tensor(Operand::GradOutput, &args.grad_output, len, row_len, role)?;
        let (statistics, indexed, given) = match &args.statistics {
            BackwardStatistics::Saved(view) => {
                let statistics = operands.records(Operand::Moments, view, self.statistics_size(), Role::Read)?;
                (statistics, plan.computed.partition, false)
            }
            BackwardStatistics::Given(view) => {
                let given = self.given("backward from given statistics")?;
                (operands.records(Operand::Moments, view, self.given_statistics_size(), Role::Read)?, given, true)
            }
        };
        let grad_input = match &args.grad_input {
            Some(Destination::View(view)) => Some(operands.tensor(Operand::GradInput, view, len, row_len, Role::Written)?),
            Some(Destination::InPlace) => Some(grad_output),
            None => None,
        };
        let sums = sums
            .map(|(view, role)| operands.records(Operand::Sums, view, self.statistics_size(), role))
            .transpose()?;
        Ok(Bound {
            input,
            grad_output,
            statistics,
            indexed,
            given,
            scale: None,
            grad_input,
            grad_scale: None,
            grad_bias: None,
            factor: [1.0; 2],
            scratch: Tensor::NOWHERE,
            regions: self.regions(),
            sums,
            scale_last: !given && plan.shares_scale(),
        })
    }

    /// The sums that the gradient to the input needs, as records that can be merged with those of other shards of the
    /// batch, and the gradients to scale and bias of this shard.
    ///
    /// # Errors
    /// As [`NormPlan::backward`].
    pub fn gradient_sums<B: Buffer>(&self, args: &GradientSumsArgs<B>) -> Result<Recipe<B>, BindError> {
        if self.plan.scale && args.scale.is_none() {
            return Err(BindError::Missing { operand: Operand::Scale });
        }
        let stage = BackwardArgs {
            scale: args.scale,
            grad_scale: args.grad_scale,
            grad_bias: args.grad_bias,
            ..BackwardArgs::new(args.input, args.grad_output, BackwardStatistics::Saved(args.statistics))
        };
        let mut operands = Operands::default();
        let bound = self.backward_operands(&mut operands, &stage, Some((&args.sums, Role::Written)))?;
        let scratch = operands.workspace(args.workspace.as_ref(), bound.regions.size)?;
        let bound = Bound { scratch, ..bound };
        self.lower("gradient sums", operands, |lowering| {
            if self.plan.elements == 0 {
                self.empty_gradients(lowering, &bound)?;
                let nothing = MergeOperands::nothing(self.segment_count(), bound.sums);
                return lowering.merge(Source::Gradients, &self.plan.computed, &nothing);
            }
            self.sum_gradients(lowering, &bound, bound.sums)
        })
    }

    /// The gradient to the input from merged sums.
    ///
    /// # Errors
    /// As [`NormPlan::backward`].
    pub fn input_gradient<B: Buffer>(&self, args: &InputGradientArgs<B>) -> Result<Recipe<B>, BindError> {
        let stage = BackwardArgs {
            scale: args.scale,
            grad_input: Some(args.grad_input),
            ..BackwardArgs::new(args.input, args.grad_output, BackwardStatistics::Saved(args.statistics))
        };
        let mut operands = Operands::default();
        let bound = self.backward_operands(&mut operands, &stage, Some((&args.sums, Role::Read)))?;
        self.lower("input gradient", operands, |lowering| match bound.map(&self.plan) {
            Some(map) if self.plan.elements > 0 => lowering.apply_backward(&self.plan.computed, &map, bound.sums, None),
            _ => Ok(()),
        })
    }

    /// Sums over no element are 0.
    fn empty_gradients(&self, lowering: &mut Lowering, bound: &Bound) -> Result<(), Unbindable> {
        match self.plan.affine {
            Some(affine) if bound.wants_affine() => {
                let none = MergeOperands::nothing(affine.segments(), None).partition;
                lowering.merge(Source::Gradients, &self.plan.computed, &bound.gradients(none, None))
            }
            _ => Ok(()),
        }
    }

    /// Every gradient that is wanted.
    pub(super) fn lower_backward(&self, lowering: &mut Lowering, bound: &Bound) -> Result<(), Unbindable> {
        if self.plan.elements == 0 {
            return self.empty_gradients(lowering, bound);
        }
        let plan = &self.plan;
        let reduction = &plan.computed;
        let map = bound.map(plan);
        if bound.given {
            self.affine_sums(lowering, bound)?;
            return map.map_or(Ok(()), |map| lowering.apply_backward(reduction, &map, None, None));
        }
        match (self.backward, map) {
            (Backward::Fused { team, walkers }, Some(map)) => {
                self.fused_backward(lowering, bound, &map, (team, walkers))
            }
            (Backward::Rows { reduce, walkers }, Some(map)) => {
                self.rows_backward(lowering, bound, &map, (reduce, walkers))
            }
            (_, map) => {
                let sums = bound.at(bound.regions.sums);
                self.sum_gradients(lowering, bound, map.map(|_| sums))?;
                map.map_or(Ok(()), |map| lowering.apply_backward(reduction, &map, Some(sums), None))
            }
        }
    }

    /// One walk over contiguous segments.
    fn fused_backward(
        &self,
        lowering: &mut Lowering,
        bound: &Bound,
        map: &BackwardMap,
        (team, walkers): (Team, u32),
    ) -> Result<(), Unbindable> {
        let plan = &self.plan;
        let reduction = &plan.computed;
        let Some(rows) = plan.fused_rows() else { return Ok(()) };
        // where a segment has one scale, its own sums are what gradients to scale and bias are made of
        let folded = plan.refinement.filter(|_| bound.scale_last && bound.wants_affine()).map(|r| r.affine);
        let records = folded.map(|_| bound.at(bound.regions.partials));
        let columns = plan.affine.as_ref().filter(|_| !bound.scale_last);
        let columns = columns.and_then(|affine| bound.columns(affine, walkers));
        lowering.fused_backward(reduction, &rows, (team, walkers), map, columns, records)?;
        if let Some(folded) = folded {
            return lowering.merge(Source::Gradients, reduction, &bound.gradients(folded, records));
        }
        self.merge_columns(lowering, bound, columns)
    }

    /// Sums of each row, then a map that sums up its columns.
    fn rows_backward(
        &self,
        lowering: &mut Lowering,
        bound: &Bound,
        map: &BackwardMap,
        (reduce, walkers): (Reduce, u32),
    ) -> Result<(), Unbindable> {
        let plan = &self.plan;
        let reduction = &plan.computed;
        let (sums, partials) = (bound.at(bound.regions.sums), bound.at(bound.regions.partials));
        let weights = bound.scale.zip(plan.affine).filter(|_| !bound.scale_last);
        lowering.reduce(reduction, &reduce, &Summed::Gradients(bound.sums(true, weights)), sums, partials)?;
        let rows = plan.rows();
        let columns = rows.as_ref().and_then(|rows| bound.columns(rows, walkers));
        lowering.apply_backward(reduction, map, Some(sums), columns)?;
        self.merge_columns(lowering, bound, columns)
    }

    /// Adds up the records of walkers, where there are several.
    fn merge_columns(
        &self,
        lowering: &mut Lowering,
        bound: &Bound,
        columns: Option<ColumnSums<'_>>,
    ) -> Result<(), Unbindable> {
        let Some(columns) = columns.filter(|columns| !columns.are_gradients()) else { return Ok(()) };
        let walked = Partition { reduced_outer: columns.walkers.into(), ..*columns.affine };
        let merged = bound.gradients(walked, Some(columns.partials));
        lowering.merge(Source::Gradients, &self.plan.computed, &merged)
    }

    /// The sums that the gradient to the input needs, where wanted, and the gradients to scale and bias.
    fn sum_gradients(&self, lowering: &mut Lowering, bound: &Bound, sums: Option<Tensor>) -> Result<(), Unbindable> {
        let reduction = &self.plan.computed;
        let partials = bound.at(bound.regions.partials);
        let (Backward::Folded(reduce), Some(refinement)) = (self.backward, self.plan.refinement) else {
            self.affine_sums(lowering, bound)?;
            let Some(sums) = sums else { return Ok(()) };
            let weights = bound.scale.zip(self.plan.affine).filter(|_| !bound.scale_last);
            let summed = Summed::Gradients(bound.sums(true, weights));
            return lowering.reduce(reduction, &self.apart.0, &summed, sums, partials);
        };
        // one walk over the refinement, and a fold into each partition that is coarser
        let refined = Reduction { partition: refinement.partition, ..*reduction };
        let records = sums.filter(|_| bound.scale_last).unwrap_or(bound.at(bound.regions.records));
        lowering.reduce(&refined, &reduce, &Summed::Gradients(bound.sums(true, None)), records, partials)?;
        if bound.wants_affine() {
            lowering.merge(Source::Gradients, reduction, &bound.gradients(refinement.affine, Some(records)))?;
        }
        let Some(sums) = sums.filter(|_| !bound.scale_last) else { return Ok(()) };
        let scale = bound.scale.map(|scale| (scale, refinement.affine));
        let weighed = MergeOperands { scale, ..MergeOperands::new(refinement.statistics, Some(records), Some(sums)) };
        lowering.merge(Source::Gradients, reduction, &weighed)
    }

    /// Gradients to scale and bias by a walk of their own.
    fn affine_sums(&self, lowering: &mut Lowering, bound: &Bound) -> Result<(), Unbindable> {
        let Some(affine) = self.plan.affine.filter(|_| bound.wants_affine()) else { return Ok(()) };
        let reduction = Reduction { partition: affine, ..self.plan.computed };
        let records = bound.at(bound.regions.records);
        let shared =
            affine == bound.indexed || self.plan.refinement.is_some_and(|r| r.partition == affine && !bound.given);
        let summed = Summed::Gradients(bound.sums(shared, None));
        lowering.reduce(&reduction, &self.apart.1, &summed, records, bound.at(bound.regions.partials))?;
        let identity = Partition::new(1, 1, affine.segments(), 1);
        lowering.merge(Source::Gradients, &reduction, &bound.gradients(identity, Some(records)))
    }
}
