//! The backward pass.

use super::bound::{Bound, Regions};
use super::operands::check_in_place;
use super::{BackwardArgs, BackwardStatistics, Cutter, GradientSumsArgs, InputGradientArgs, NormPlan, Operands, Role};
use crate::element::Element;
use crate::error::BindError;
use crate::kernel::Source;
use crate::lower::bindings::Unbindable;
use crate::lower::{
    AffineGradients, Around, Lowering, MergeOperands, MergeSums, SegmentData, SumParts, Summed, Tensor,
};
use crate::moments::RECORD;
use crate::operand::Operand;
use crate::partition::Partition;
use crate::plan::Reduction;
use crate::recipe::Recipe;
use crate::schedule::{Backward, Held, MapWalk, Reduce};
use crate::view::{Buffer, BufferView, Destination, TensorView};

/// A partition of nothing in particular.
const ONE: Partition = Partition::new(1, 1, 1, 1);

impl NormPlan {
    /// How gradients are computed from saved statistics.
    pub fn backward_schedule(&self) -> Backward {
        self.backward
    }

    /// Schedules that can compute the gradients from saved statistics: the one that is taken first.
    pub fn backward_schedules(&self) -> Vec<Backward> {
        Backward::candidates(&self.plan, &self.planner.profile)
    }

    /// The same norm with another of its [`Self::backward_schedules`]; `None` if it is none of them.
    pub fn with_backward_schedule(&self, schedule: Backward) -> Option<Self> {
        self.backward_schedules().contains(&schedule).then(|| Self { backward: schedule, ..self.clone() })
    }

    /// Bytes of workspace that its backward pass needs; 0: none.
    pub fn backward_workspace_size(&self) -> u64 {
        self.regions().size
    }

    /// Of the schedule that was chosen; the size is that of any.
    pub(super) fn regions(&self) -> Regions {
        self.regions_of(self.backward)
    }

    /// Regions of a schedule. Where tensors are padded, statistics given or sums wanted, others are taken than the
    /// chosen one: a workspace serves all.
    fn regions_of(&self, schedule: Backward) -> Regions {
        let all =
            [self.backward, self.by_sums(), if self.plan.given.is_some() { self.given_sums() } else { self.backward }];
        let size = all.map(|schedule| self.cut(schedule).size).into_iter().max().unwrap_or(0);
        Regions { size, ..self.cut(schedule) }
    }

    fn cut(&self, schedule: Backward) -> Regions {
        let plan = &self.plan;
        let statistics = &plan.computed.partition;
        let affine = plan.affine.unwrap_or(ONE);
        let mut cutter = Cutter::default();
        // first: they are filled by one schedule as by another
        let fused = !plan.fused.is_none();
        let wide = |element: Element| if element == Element::F32 && !fused { 0 } else { 4 * plan.affine_len() };
        let parameters = [plan.types.grad_scale, plan.types.grad_bias].map(|element| cutter.region(wide(element)));
        let fused = self.fused_regions(&mut cutter);
        let (splits, sums, records, partials) = match schedule {
            Backward::Rows { workers, .. } => {
                let len = statistics.segment_len().max(1);
                let blocks = plan.fused_rows().map_or(0, |rows| rows.kept_outer * (rows.kept_inner / len));
                (false, 0, 0, blocks * u64::from(workers) * 2 * len.next_multiple_of(4) * 4)
            }
            Backward::Runs(_) => {
                let runs = plan.refinement.filter(|_| plan.affine.is_some()).map_or(0, |r| r.partition.segments());
                (false, 0, runs, 0)
            }
            Backward::Columns(reduce) => {
                let profile = &self.planner.profile;
                let walk = MapWalk::with_column_sums(statistics, &affine, profile);
                let columns = walk.map_or(0, |walk| walk.column_sums(plan.elements, profile).0);
                (true, statistics.segments(), reduce.partials_size(statistics) / RECORD, columns)
            }
            Backward::Folded(reduce) => {
                let refined = plan.refinement.map_or(affine, |r| r.partition);
                (true, 0, refined.segments(), reduce.partials_size(&refined))
            }
            Backward::Apart { statistics: reduce, affine: by_affine } => {
                let partials = reduce.partials_size(statistics).max(by_affine.partials_size(&affine));
                (true, statistics.segments(), affine.segments(), partials)
            }
        };
        let coefficients =
            cutter.region(if splits { 2 * self.statistics_size().max(self.given_statistics_size()) } else { 0 });
        let (sums, records) = (cutter.region(sums * RECORD), cutter.region(records * RECORD));
        let partials = cutter.region(partials);
        Regions { coefficients, sums, records, partials, parameters, fused, size: cutter.size }
    }

    /// The schedule that takes every layout, and leaves sums of statistics segments.
    fn by_sums(&self) -> Backward {
        match self.backward {
            Backward::Folded(_) | Backward::Apart { .. } => self.backward,
            _ => self.sums,
        }
    }

    /// Constants leave the sums of scale and bias to a walk of their own.
    fn given_sums(&self) -> Backward {
        Backward::Apart { statistics: self.apart.0, affine: self.apart.1 }
    }

    /// A backward pass: every gradient that has a view, in one walk over input and gradient wherever the norm allows
    /// it. Gradients of gradients are not computed.
    ///
    /// # Errors
    /// [`BindError`] says which operand is wrong.
    pub fn backward<B: Buffer>(&self, args: &BackwardArgs<B>) -> Result<Recipe<B>, BindError> {
        if self.plan.fused.quantization.is_some() {
            let operation = "way back through a quantization";
            return Err(BindError::NoSuchOperation { kind: self.plan.kind, operation });
        }
        let mut operands = Operands::default();
        let bound = self.backward_operands(&mut operands, args, None)?;
        let mut all = self.fused_operands(&mut operands, args, bound)?;
        all.bound.scratch = operands.workspace(args.workspace.as_ref(), all.bound.regions.size)?;
        self.lower("backward", operands, &|lowering| {
            let before = lowering.dispatches.len();
            let first = self.lower_fused(lowering, &all, false);
            if !first.as_ref().is_err_and(Unbindable::is_too_many) {
                return first;
            }
            lowering.dispatches.truncate(before);
            self.lower_fused(lowering, &all, true)
        })
    }

    /// The operands of a backward pass, parameters and what is wanted included.
    pub(super) fn backward_operands<B: Buffer>(
        &self,
        operands: &mut Operands<B>,
        args: &BackwardArgs<B>,
        sums: Option<(&BufferView<B>, Role)>,
    ) -> Result<Bound, BindError> {
        let plan = &self.plan;
        let affine_len = self.affine_len();
        let mut bound = self.backward_tensors(operands, args, sums)?;
        let types = plan.types;
        let mut parameter = |operand, view: &Option<TensorView<B>>, used: bool, element, role| match view {
            Some(_) if !used => Err(BindError::Unexpected { operand }),
            Some(view) => operands.list(operand, view, affine_len, element, role).map(Some),
            None => Ok(None),
        };
        let (used_scale, used_bias) = (plan.given_scale, plan.given_bias);
        bound.scale = parameter(Operand::Scale, &args.scale, used_scale, types.scale, Role::Read)?;
        bound.bias = parameter(Operand::Bias, &args.bias, used_bias, types.bias, Role::Read)?;
        let (wide_scale, wide_bias) = (types.grad_scale, types.grad_bias);
        bound.grad_scale = parameter(Operand::GradScale, &args.grad_scale, used_scale, wide_scale, Role::Written)?;
        bound.grad_bias = parameter(Operand::GradBias, &args.grad_bias, used_bias, wide_bias, Role::Written)?;
        if used_scale && bound.scale.is_none() && args.grad_input.is_some() {
            return Err(BindError::Missing { operand: Operand::Scale });
        }
        Ok(bound)
    }

    /// The operands that every backward pass has.
    pub(super) fn backward_tensors<B: Buffer>(
        &self,
        operands: &mut Operands<B>,
        args: &BackwardArgs<B>,
        sums: Option<(&BufferView<B>, Role)>,
    ) -> Result<Bound, BindError> {
        let plan = &self.plan;
        let (shape, types) = (self.shape(), plan.types);
        let in_place = matches!(args.grad_input, Some(Destination::InPlace));
        let element = if plan.fused.has_prologue() { self.sum_element(&args.input) } else { types.input };
        let input = operands.tensor(Operand::Input, &args.input, shape, element, Role::Read)?;
        let role = if in_place { Role::Written } else { Role::Read };
        if in_place {
            check_in_place(Operand::GradInput, types.grad_input, types.grad_output)?;
        }
        let grad_output = operands.tensor(Operand::GradOutput, &args.grad_output, shape, types.grad_output, role)?;
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
            Some(Destination::View(view)) => {
                Some(operands.tensor(Operand::GradInput, view, shape, types.grad_input, Role::Written)?)
            }
            Some(Destination::InPlace) => Some(grad_output),
            None => None,
        };
        let sums =
            sums.map(|(view, role)| operands.records(Operand::Sums, view, self.statistics_size(), role)).transpose()?;
        Ok(Bound {
            input,
            grad_output,
            statistics,
            indexed,
            given,
            scale: None,
            bias: None,
            grad_input,
            grad_scale: None,
            grad_bias: None,
            factor: [1.0; 2],
            scratch: Tensor::NOWHERE,
            regions: self.regions(),
            sums,
            scale_last: !given && plan.shares_scale(),
            around: Around::default(),
            merges: true,
        })
    }

    /// The sums that the gradient to the input needs, as records that can be merged with those of other shards of the
    /// batch, and the gradients to scale and bias of this shard.
    ///
    /// # Errors
    /// As [`NormPlan::backward`].
    pub fn gradient_sums<B: Buffer>(&self, args: &GradientSumsArgs<B>) -> Result<Recipe<B>, BindError> {
        self.check_stages()?;
        if self.plan.scale && args.scale.is_none() {
            return Err(BindError::Missing { operand: Operand::Scale });
        }
        let statistics = BackwardStatistics::Saved(args.statistics);
        let mut stage = BackwardArgs::new(args.input, args.grad_output, statistics);
        (stage.scale, stage.grad_scale, stage.grad_bias) = (args.scale, args.grad_scale, args.grad_bias);
        let mut operands = Operands::default();
        let mut bound = self.backward_operands(&mut operands, &stage, Some((&args.sums, Role::Written)))?;
        bound.regions = self.regions_of(self.by_sums());
        bound.scratch = operands.workspace(args.workspace.as_ref(), bound.regions.size)?;
        self.lower("gradient sums", operands, &|lowering| {
            self.with_f32_parameters(lowering, &bound, false, &|lowering, bound| {
                if self.plan.elements == 0 {
                    self.empty_gradients(lowering, bound)?;
                    let nothing = MergeOperands::nothing(self.segment_count(), bound.sums);
                    return lowering.merge(Source::Gradients, &self.plan.computed, &nothing);
                }
                self.sum_gradients(lowering, bound, self.by_sums()).map(|_| ())
            })
        })
    }

    /// Gradients to scale and bias are computed as f32, and then rounded to the type that is wanted; `apart`: copied
    /// even if it is that one.
    pub(super) fn with_f32_parameters(
        &self,
        lowering: &mut Lowering,
        bound: &Bound,
        apart: bool,
        lower: &dyn Fn(&mut Lowering, &Bound) -> Result<(), Unbindable>,
    ) -> Result<(), Unbindable> {
        let [scale, bias] = bound.regions.parameters.map(|region| bound.at(region));
        let is_own = |own: &Tensor| own.element == Element::F32 && !apart;
        let wide = |wanted: Option<Tensor>, wide| wanted.map(|own| if is_own(&own) { own } else { wide });
        let mut in_f32 = *bound;
        (in_f32.grad_scale, in_f32.grad_bias) = (wide(bound.grad_scale, scale), wide(bound.grad_bias, bias));
        lower(lowering, &in_f32)?;
        for (wanted, wide) in [(bound.grad_scale, scale), (bound.grad_bias, bias)] {
            if let Some(wanted) = wanted.filter(|own| !is_own(own)) {
                lowering.narrow(wide, wanted, self.plan.affine_len())?;
            }
        }
        Ok(())
    }

    /// The gradient to the input from merged sums.
    ///
    /// # Errors
    /// As [`NormPlan::backward`].
    pub fn input_gradient<B: Buffer>(&self, args: &InputGradientArgs<B>) -> Result<Recipe<B>, BindError> {
        self.check_stages()?;
        let statistics = BackwardStatistics::Saved(args.statistics);
        let mut stage = BackwardArgs::new(args.input, args.grad_output, statistics);
        (stage.scale, stage.grad_input) = (args.scale, Some(args.grad_input));
        let mut operands = Operands::default();
        let mut bound = self.backward_operands(&mut operands, &stage, Some((&args.sums, Role::Read)))?;
        bound.regions = self.regions_of(self.by_sums());
        bound.scratch = operands.workspace(args.workspace.as_ref(), bound.regions.size)?;
        self.lower("input gradient", operands, &|lowering| match bound.sums {
            Some(sums) if self.plan.elements > 0 => {
                let segments = self.plan.computed.partition.segments();
                let parts = SumParts::new(sums, Partition::new(1, 1, segments, 1), 1);
                let merge = self.to_coefficients(&bound, parts);
                let data = self.merge_for_map(lowering, &bound, merge, None)?;
                self.map_gradient(lowering, &bound, &data, None)
            }
            _ => Ok(()),
        })
    }

    /// Sums over no element are 0.
    fn empty_gradients(&self, lowering: &mut Lowering, bound: &Bound) -> Result<(), Unbindable> {
        match self.plan.affine {
            Some(affine) if bound.wants_affine() && affine.segments() > 0 => {
                let none = Partition::new(1, 0, affine.segments(), 1);
                let gradients = bound.affine(&self.plan);
                let parts = SumParts::new(Tensor::NOWHERE, Partition::new(1, 0, 1, 1), 1);
                let parts = SumParts { affine: none, ..parts };
                let nothing = MergeSums { affine: gradients, ..MergeSums::new(parts) };
                lowering.merge_sums(&self.plan.computed, &nothing)
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
        let affine = bound.affine(plan);
        if bound.given {
            let mut bound = *bound;
            bound.regions = self.regions_of(self.given_sums());
            self.affine_sums(lowering, &bound, false)?;
            return self.map_gradient(lowering, &bound, &SegmentData::Given, None);
        }
        let len = reduction.partition.segment_len();
        let in_pairs = |held: &Held, rows| map.has_pairs(rows, len) && held.takes_pairs(len, &self.planner.profile);
        match (self.backward, plan.fused_rows(), plan.refinement) {
            (Backward::Rows { held, workers }, Some(rows), _)
                if map.takes_rows(len)
                    || rows.kept_inner == len && held.rows > 1 && in_pairs(&held, rows.reduced_outer) =>
            {
                lowering.row_backward(reduction, &rows, (held, workers), &map, affine.as_ref())
            }
            (Backward::Runs(held), _, Some(refinement))
                if map.takes_rows(refinement.partition.segment_len())
                    || refinement.partition.segment_len() == len && in_pairs(&held, reduction.partition.segments()) =>
            {
                let records = bound.at(bound.regions.records);
                lowering.run_backward(reduction, &refinement.partition, held, &map, affine.map(|_| records))?;
                let Some(affine) = affine else { return Ok(()) };
                let parts = SumParts::new(records, refinement.statistics, 1);
                let parts = SumParts { affine: refinement.affine, ..parts };
                lowering.merge_sums(reduction, &MergeSums { affine: Some(affine), ..MergeSums::new(parts) })
            }
            (Backward::Columns(reduce), ..) if bound.maps() && map.takes_rows(len) => {
                let (sums, partials) = (bound.at(bound.regions.sums), bound.at(bound.regions.records));
                let weights = bound.scale.zip(plan.affine).filter(|_| !bound.scale_last);
                let summed = Summed::Gradients(bound.sums(true, weights));
                let (sums, slices) = reduce_sums(lowering, reduction, &reduce, &summed, (sums, partials))?;
                let each = Partition::new(1, 1, reduction.partition.segments(), 1);
                let merge = self.to_coefficients(bound, SumParts::new(sums, each, slices));
                let data = self.merge_for_map(lowering, bound, merge, affine.as_ref())?;
                self.map_gradient(lowering, bound, &data, affine.as_ref())
            }
            _ => {
                let schedule = self.by_sums();
                let mut bound = *bound;
                bound.regions = self.regions_of(schedule);
                let data = self.sum_gradients(lowering, &bound, schedule)?;
                self.map_gradient(lowering, &bound, &data, None)
            }
        }
    }

    /// How the gradient to the input is mapped, where it is wanted.
    fn map_walk(&self, bound: &Bound, columns: Option<&AffineGradients<'_>>) -> Option<MapWalk> {
        let (plan, profile) = (&self.plan, &self.planner.profile);
        let map = bound.map(plan);
        let padded = !map.has_whole_rows(0);
        let walk = match columns {
            Some(columns) => MapWalk::with_column_sums(&bound.indexed, columns.affine, profile),
            None => {
                let words = |width| map.writes_words(width);
                MapWalk::new(&bound.indexed, plan.affine.as_ref(), (map.row_len(), padded), words, profile)
            }
        };
        walk.filter(|_| bound.maps())
    }

    /// The map to the gradient of the input, where that is wanted.
    fn map_gradient(
        &self,
        lowering: &mut Lowering,
        bound: &Bound,
        data: &SegmentData<'_>,
        columns: Option<&AffineGradients<'_>>,
    ) -> Result<(), Unbindable> {
        let Some(walk) = self.map_walk(bound, columns) else { return Ok(()) };
        lowering.map_backward(&self.plan.computed, &walk, &bound.map(&self.plan), data, columns)
    }

    /// Merges sums of parts to what is wanted of them, where the map cannot do so on its way: a dispatch less is worth
    /// more than what is merged twice.
    fn merge_for_map<'a>(
        &self,
        lowering: &mut Lowering,
        bound: &Bound,
        merge: MergeSums<'a>,
        columns: Option<&AffineGradients<'_>>,
    ) -> Result<SegmentData<'a>, Unbindable> {
        let walk = self.map_walk(bound, columns).filter(|_| merge.coefficients.is_some());
        let (elements, profile) = (self.plan.elements, &self.planner.profile);
        let whole = merge.parts.bytes().max(4 * self.plan.affine_len());
        let itself = bound.merges
            && whole <= profile.max_binding
            && lowering.has_all_slots()
            && walk.is_some_and(|walk| {
                bound.map(&self.plan).writes_words(walk.width)
                    && 4 * walk.width <= profile.max_binding
                    && walk.merges(merge.parts.records(), elements, columns.is_some(), profile)
            });
        if itself {
            return Ok(SegmentData::Parts(Box::new(merge)));
        }
        lowering.merge_sums(&self.plan.computed, &merge)?;
        Ok(SegmentData::Coefficients(bound.at(bound.regions.coefficients)))
    }

    /// A merge of sums of parts to the coefficients of statistics segments.
    fn to_coefficients(&self, bound: &Bound, parts: SumParts) -> MergeSums<'static> {
        let coefficients = Some((bound.statistics, bound.at(bound.regions.coefficients)));
        MergeSums { coefficients, ..MergeSums::new(parts) }
    }

    /// What the gradient to the input needs of sums, where wanted (coefficients, or the sums where the caller takes
    /// them), and the gradients to scale and bias.
    fn sum_gradients<'a>(
        &'a self,
        lowering: &mut Lowering,
        bound: &Bound,
        schedule: Backward,
    ) -> Result<SegmentData<'a>, Unbindable> {
        let plan = &self.plan;
        let reduction = &plan.computed;
        let partials = bound.at(bound.regions.partials);
        let wanted = bound.maps() || bound.sums.is_some();
        let (Backward::Folded(reduce), Some(refinement)) = (schedule, plan.refinement) else {
            if wanted {
                let weights = bound.scale.zip(plan.affine).filter(|_| !bound.scale_last);
                let summed = Summed::Gradients(bound.sums(true, weights));
                let at = (bound.at(bound.regions.sums), partials);
                let (sums, slices) = reduce_sums(lowering, reduction, &self.apart.0, &summed, at)?;
                let each = Partition::new(1, 1, reduction.partition.segments(), 1);
                let merge = self.to_coefficients(bound, SumParts::new(sums, each, slices));
                lowering.merge_sums(reduction, &bound.with_own_sums(merge))?;
            }
            self.affine_sums(lowering, bound, wanted && bound.sums.is_none())?;
            return Ok(SegmentData::Coefficients(bound.at(bound.regions.coefficients)));
        };
        // one walk over the refinement, and a fold into each partition that is coarser
        let refined = Reduction { partition: refinement.partition, ..*reduction };
        let records = bound.at(bound.regions.records);
        let summed = Summed::Gradients(bound.sums(true, None));
        let (records, slices) = reduce_sums(lowering, &refined, &reduce, &summed, (records, partials))?;
        let affine = bound.affine(plan);
        let scale = bound.scale.filter(|_| !bound.scale_last);
        let parts = SumParts::new(records, refinement.statistics, slices);
        let parts = SumParts { affine: refinement.affine, scale, ..parts };
        let coefficients = wanted.then(|| (bound.statistics, bound.at(bound.regions.coefficients)));
        let merge = MergeSums { coefficients, affine, ..MergeSums::new(parts) };
        self.merge_for_map(lowering, bound, bound.with_own_sums(merge), None)
    }

    /// Gradients to scale and bias by a walk of their own; `known`: the coefficients of the statistics segments are
    /// there.
    fn affine_sums(&self, lowering: &mut Lowering, bound: &Bound, known: bool) -> Result<(), Unbindable> {
        let Some(affine) = bound.affine(&self.plan) else { return Ok(()) };
        let reduction = Reduction { partition: *affine.affine, ..self.plan.computed };
        let records = bound.at(bound.regions.records);
        let shared = *affine.affine == bound.indexed
            || self.plan.refinement.is_some_and(|r| r.partition == *affine.affine && !bound.given);
        let mut operands = bound.sums(shared, None);
        operands.normalized = bound.around.normalized;
        if let (false, Some((input, _))) = (shared, operands.input) {
            // a segment has elements of several statistics segments: what normalizes them is computed once
            let none = Partition::new(1, 0, bound.indexed.segments(), 1);
            if !known {
                let none = SumParts::new(Tensor::NOWHERE, none, 1);
                lowering.merge_sums(&reduction, &self.to_coefficients(bound, none))?;
            }
            operands.input = Some((input, Some(bound.at(bound.regions.coefficients))));
        }
        let at = (records, bound.at(bound.regions.partials));
        let (sums, slices) = reduce_sums(lowering, &reduction, &self.apart.1, &Summed::Gradients(operands), at)?;
        let identity = Partition::new(1, 1, affine.affine.segments(), 1);
        let parts = SumParts { affine: identity, ..SumParts::new(sums, identity, slices) };
        lowering.merge_sums(&reduction, &MergeSums { affine: Some(affine), ..MergeSums::new(parts) })
    }
}

/// Reduces to sums of slices: where they are left, and how many.
pub(super) fn reduce_sums(
    lowering: &mut Lowering,
    reduction: &Reduction,
    schedule: &Reduce,
    summed: &Summed,
    (whole, slices): (Tensor, Tensor),
) -> Result<(Tensor, u64), Unbindable> {
    let left = if schedule.slices == 1 { whole } else { slices };
    lowering.reduce_slices(reduction, schedule, summed, left)?;
    Ok((left, schedule.slices.into()))
}
