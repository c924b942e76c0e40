//! Binding the backward pass.

use super::{Norm, REGION_ALIGN};
use crate::binding::Unbindable;
use crate::bound::BoundNorm;
use crate::dispatch::{
    BackwardMap, ColumnSums, GradientOperands, Lowering, MapOperands, MergeOperands, Summed, Tensor, sums_are_gradients,
};
use crate::error::BindError;
use crate::kernel::{Source, Spread, Team};
use crate::operands::{Operands, Role};
use crate::partition::Partition;
use crate::plan::{Divisor, Plan, Reduction};
use crate::schedule::{Backward, RECORD, Reduce};
use crate::view::{BufferView, Destination, TensorView};

/// Operands of a backward pass. For use with [`Norm::bind_backward`]. A gradient is computed where it has a view; one that has
/// none costs nothing.
#[derive(Clone, Copy, Debug)]
pub struct BackwardArgs<'a> {
    /// The input of the forward pass.
    pub input: TensorView<'a>,
    /// Gradient to the output.
    pub grad_output: TensorView<'a>,
    /// The scale of the forward pass. Needed for the gradient to the input, where the norm has one.
    pub scale: Option<TensorView<'a>>,
    /// The style of the forward pass, of an adaptive instance norm.
    pub style: Option<TensorView<'a>>,
    /// The statistics of the forward pass.
    pub statistics: BackwardStatistics<'a>,
    /// Receives the gradient to the input. In place: over `grad_output`.
    pub grad_input: Option<Destination<'a>>,
    /// Receives the gradient to the scale, [`Norm::affine_len`] elements.
    pub grad_scale: Option<TensorView<'a>>,
    /// Receives the gradient to the bias, [`Norm::affine_len`] elements.
    pub grad_bias: Option<TensorView<'a>>,
    /// Receives the gradient to the style, [`Norm::style_len`] elements.
    pub grad_style: Option<TensorView<'a>>,
    /// [`Norm::backward_workspace_size`] bytes, if that is not 0.
    pub workspace: Option<BufferView<'a>>,
}

impl<'a> BackwardArgs<'a> {
    /// A stage by saved statistics, with no gradient wanted yet.
    fn stage(
        input: TensorView<'a>,
        grad_output: TensorView<'a>,
        scale: Option<TensorView<'a>>,
        statistics: BufferView<'a>,
    ) -> Self {
        let statistics = BackwardStatistics::Saved(statistics);
        let (style, grad_input, grad_scale, grad_bias, grad_style, workspace) = (None, None, None, None, None, None);
        Self { input, grad_output, scale, style, statistics, grad_input, grad_scale, grad_bias, grad_style, workspace }
    }
}

/// Which statistics a backward pass uses.
#[derive(Clone, Copy, Debug)]
pub enum BackwardStatistics<'a> {
    /// Saved by [`Norm::bind_training`]: they depend on the input, and so does the gradient.
    Saved(BufferView<'a>),
    /// Given, as in inference: constants. The gradient is shorter.
    Given(BufferView<'a>),
}

/// Operands of gradient sums. For use with [`Norm::bind_gradient_sums`].
#[derive(Clone, Copy, Debug)]
pub struct GradientSumsArgs<'a> {
    /// As in [`BackwardArgs::input`].
    pub input: TensorView<'a>,
    /// As in [`BackwardArgs::grad_output`].
    pub grad_output: TensorView<'a>,
    /// As in [`BackwardArgs::scale`].
    pub scale: Option<TensorView<'a>>,
    /// Records of the statistics that normalized the input, of all shards merged.
    pub statistics: BufferView<'a>,
    /// Receives [`Norm::statistics_size`] bytes of records.
    pub sums: BufferView<'a>,
    /// As in [`BackwardArgs::grad_scale`], of this shard.
    pub grad_scale: Option<TensorView<'a>>,
    /// As in [`BackwardArgs::grad_bias`], of this shard.
    pub grad_bias: Option<TensorView<'a>>,
    /// As in [`BackwardArgs::workspace`].
    pub workspace: Option<BufferView<'a>>,
}

/// Operands of the gradient to the input from merged sums. For use with [`Norm::bind_input_gradient`].
#[derive(Clone, Copy, Debug)]
pub struct InputGradientArgs<'a> {
    /// As in [`BackwardArgs::input`].
    pub input: TensorView<'a>,
    /// As in [`BackwardArgs::grad_output`].
    pub grad_output: TensorView<'a>,
    /// As in [`BackwardArgs::scale`].
    pub scale: Option<TensorView<'a>>,
    /// As in [`GradientSumsArgs::statistics`].
    pub statistics: BufferView<'a>,
    /// Merged records of [`Norm::bind_gradient_sums`].
    pub sums: BufferView<'a>,
    /// Receives the gradient to the input. In place: over `grad_output`.
    pub grad_input: Destination<'a>,
}

/// Regions of a backward workspace.
#[derive(Clone, Copy, Debug, Default)]
struct Regions {
    sums: u64,
    records: u64,
    partials: u64,
    style_statistics: u64,
    style_deviation: u64,
    grad_mean: u64,
    grad_deviation: u64,
    size: u64,
}

/// The style of an adaptive norm in the table.
#[derive(Clone, Copy)]
struct Style {
    input: Tensor,
    reduction: Reduction,
    grad: Option<Tensor>,
}

/// Operands of a backward pass in the table.
struct Bound {
    input: Tensor,
    grad_output: Tensor,
    statistics: Tensor,
    indexed: Partition,
    given: bool,
    scale: Option<Tensor>,
    grad_input: Option<Tensor>,
    grad_scale: Option<Tensor>,
    grad_bias: Option<Tensor>,
    /// On the gradients to scale and bias: those of a style are means over it.
    factor: [f32; 2],
    scratch: Tensor,
    regions: Regions,
    /// The caller's own sums.
    sums: Option<Tensor>,
    /// The scale is a factor of the gradient to the input, not a weight in its sums.
    scale_last: bool,
}

impl Bound {
    fn at(&self, offset: u64) -> Tensor {
        Tensor { offset: self.scratch.offset + offset, ..self.scratch }
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

impl Norm {
    /// How gradients are computed from saved statistics.
    pub fn backward_schedule(&self) -> Backward {
        self.backward
    }

    /// Schedules that can compute the gradients from saved statistics: the one that is taken first.
    pub fn backward_schedules(&self) -> Vec<Backward> {
        Backward::candidates(&self.plan, &self.shared.profile)
    }

    /// The same norm with another of its [`Norm::backward_schedules`]; `None` if it is none of them.
    pub fn with_backward_schedule(&self, schedule: Backward) -> Option<Self> {
        self.backward_schedules().contains(&schedule).then(|| Self { backward: schedule, ..self.clone() })
    }

    /// Bytes of workspace that [`Norm::bind_backward`] needs; 0: none.
    pub fn backward_workspace_size(&self) -> u64 {
        self.regions().size
    }

    /// A buffer of [`Norm::backward_workspace_size`] bytes, if any are needed.
    pub fn create_backward_workspace(&self) -> Option<wgpu::Buffer> {
        self.create_buffer("backward workspace", self.backward_workspace_size())
    }

    fn regions(&self) -> Regions {
        let plan = &self.plan;
        let mut size = 0;
        let mut region = |bytes: u64| {
            let start = size;
            size += bytes.div_ceil(REGION_ALIGN) * REGION_ALIGN;
            start
        };
        let affine = plan.affine.unwrap_or(Partition::new(1, 1, 1, 1));
        // given statistics take the way of sums apart, whatever the schedule
        let apart_affine = self.apart.1.partials_size(&affine);
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
                let sums = reduce.partials_size(&plan.computed.partition);
                (affine.segments(), places.max(sums).max(apart_affine))
            }
            Backward::Folded(reduce) => {
                let refined = plan.refinement.map_or(affine, |r| r.partition);
                (refined.segments().max(affine.segments()), reduce.partials_size(&refined).max(apart_affine))
            }
            Backward::Apart { statistics, .. } => {
                (affine.segments(), statistics.partials_size(&plan.computed.partition).max(apart_affine))
            }
        };
        let style = plan.style.zip(self.style);
        let segments = style.map_or(0, |(style, _)| style.partition.segments());
        let partials = partials.max(style.map_or(0, |(style, reduce)| reduce.partials_size(&style.partition)));
        Regions {
            sums: region(self.statistics_size()),
            records: region(records * RECORD),
            partials: region(partials),
            style_statistics: region(segments * RECORD),
            style_deviation: region(segments * 4),
            grad_mean: region(segments * 4),
            grad_deviation: region(segments * 4),
            size,
        }
    }

    /// Binds a backward pass: every gradient that has a view, in one walk over input and gradient wherever the norm allows it.
    /// Gradients of gradients are not computed.
    ///
    /// # Errors
    /// [`BindError`] says which operand is wrong; nothing has been recorded or written then.
    pub fn bind_backward(&self, args: &BackwardArgs<'_>) -> Result<BoundNorm, BindError> {
        let mut operands = Operands::default();
        let (bound, style) = self.backward_operands(&mut operands, args, None)?;
        self.finish(operands, "backward", |lowering| match style {
            Some(style) => self.styled_backward(lowering, bound, &style),
            None => self.plain_backward(lowering, &bound),
        })
    }

    fn backward_operands(
        &self,
        operands: &mut Operands,
        args: &BackwardArgs<'_>,
        sums: Option<(&BufferView<'_>, Role)>,
    ) -> Result<(Bound, Option<Style>), BindError> {
        let plan = &self.plan;
        let (len, row_len, affine_len) = (plan.elements, plan.computed.row_len, self.affine_len());
        let in_place = matches!(args.grad_input, Some(Destination::InPlace));
        let input = operands.tensor("input", &args.input, len, row_len, Role::Read)?;
        let role = if in_place { Role::Written } else { Role::Read };
        let grad_output = operands.tensor("grad_output", &args.grad_output, len, row_len, role)?;
        let (statistics, indexed, given) = match &args.statistics {
            BackwardStatistics::Saved(view) => {
                let statistics = operands.records("saved statistics", view, self.statistics_size(), Role::Read)?;
                (statistics, plan.computed.partition, false)
            }
            BackwardStatistics::Given(view) => {
                let given = self.given("backward from given statistics")?;
                (operands.records("given statistics", view, self.given_statistics_size(), Role::Read)?, given, true)
            }
        };
        let own = plan.style.is_none();
        let mut parameter = |name, view: &Option<TensorView<'_>>, used: bool, role| match view {
            Some(_) if !used => Err(BindError::Unexpected { operand: name }),
            Some(view) => operands.tensor(name, view, affine_len, affine_len, role).map(Some),
            None => Ok(None),
        };
        let scale = parameter("scale", &args.scale, plan.scale && own, Role::Read)?;
        let grad_scale = parameter("grad_scale", &args.grad_scale, plan.scale && own, Role::Written)?;
        let grad_bias = parameter("grad_bias", &args.grad_bias, plan.bias && own, Role::Written)?;
        if plan.scale && own && scale.is_none() && args.grad_input.is_some() {
            return Err(BindError::Missing { operand: "scale" });
        }
        let grad_input = match &args.grad_input {
            Some(Destination::View(view)) => Some(operands.tensor("grad_input", view, len, row_len, Role::Written)?),
            Some(Destination::InPlace) => Some(grad_output),
            None => None,
        };
        let style = self.style_operand(operands, args.style.as_ref())?.map(|(input, reduction, _)| (input, reduction));
        let grad_style = match (&args.grad_style, plan.style) {
            (Some(view), Some(style)) => {
                Some(operands.tensor("grad_style", view, style.partition.elements(), style.row_len, Role::Written)?)
            }
            (Some(_), None) => return Err(BindError::Unexpected { operand: "grad_style" }),
            (None, _) => None,
        };
        let sums = sums
            .map(|(view, role)| operands.records("gradient sums", view, self.statistics_size(), role))
            .transpose()?;
        if sums.is_none() && grad_input.is_none() && grad_scale.is_none() && grad_bias.is_none() && grad_style.is_none()
        {
            return Err(BindError::Missing { operand: "a gradient" });
        }
        let regions = self.regions();
        // the map alone needs no scratch
        let maps_only = sums.is_some() && grad_input.is_some();
        let scratch_size = if maps_only { 0 } else { regions.size };
        let scratch = self.workspace_operand(operands, args.workspace.as_ref(), scratch_size)?;
        let factor = [1.0; 2];
        let bound = Bound {
            input,
            grad_output,
            statistics,
            indexed,
            given,
            scale,
            grad_input,
            grad_scale,
            grad_bias,
            factor,
            scratch,
            regions,
            sums,
            scale_last: !given && plan.shares_scale(),
        };
        Ok((bound, style.map(|(input, reduction)| Style { input, reduction, grad: grad_style })))
    }

    /// Binds the sums that the gradient to the input needs, as records that can be merged with those of other shards of the
    /// batch, and the gradients to scale and bias of this shard.
    ///
    /// # Errors
    /// As [`Norm::bind_backward`].
    pub fn bind_gradient_sums(&self, args: &GradientSumsArgs<'_>) -> Result<BoundNorm, BindError> {
        let GradientSumsArgs { input, grad_output, scale, statistics, sums, grad_scale, grad_bias, workspace } = *args;
        self.check_plain("gradient sums")?;
        if self.plan.scale && scale.is_none() {
            return Err(BindError::Missing { operand: "scale" });
        }
        let args = BackwardArgs {
            grad_scale,
            grad_bias,
            workspace,
            ..BackwardArgs::stage(input, grad_output, scale, statistics)
        };
        let mut operands = Operands::default();
        let (bound, _) = self.backward_operands(&mut operands, &args, Some((&sums, Role::Written)))?;
        self.finish(operands, "gradient sums", |lowering| {
            if self.plan.elements == 0 {
                self.empty_gradients(lowering, &bound)?;
                let nothing = MergeOperands::nothing(self.segment_count(), bound.sums);
                return lowering.merge(Source::Gradients, &self.plan.computed, &nothing);
            }
            self.sum_gradients(lowering, &bound, bound.sums)
        })
    }

    /// Binds the gradient to the input from merged sums.
    ///
    /// # Errors
    /// As [`Norm::bind_backward`].
    pub fn bind_input_gradient(&self, args: &InputGradientArgs<'_>) -> Result<BoundNorm, BindError> {
        let InputGradientArgs { input, grad_output, scale, statistics, sums, grad_input } = *args;
        self.check_plain("input gradient")?;
        let stage = BackwardArgs::stage(input, grad_output, scale, statistics);
        let args = BackwardArgs { grad_input: Some(grad_input), ..stage };
        let mut operands = Operands::default();
        let (bound, _) = self.backward_operands(&mut operands, &args, Some((&sums, Role::Read)))?;
        self.finish(operands, "input gradient", |lowering| match bound.map(&self.plan) {
            Some(map) if self.plan.elements > 0 => lowering.apply_backward(&self.plan.computed, &map, bound.sums, None),
            _ => Ok(()),
        })
    }

    /// Adaptive norms have no stages: their style is a tensor of its own.
    pub(super) fn check_plain(&self, operation: &'static str) -> Result<(), BindError> {
        match self.plan.style {
            Some(_) => Err(BindError::NoSuchOperation { kind: self.plan.kind, operation }),
            None => Ok(()),
        }
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

    /// The style's moments are recomputed; its gradient is a map of its own, with the gradients to deviation and mean as scale and bias.
    fn styled_backward(&self, lowering: &mut Lowering, mut bound: Bound, style: &Style) -> Result<(), Unbindable> {
        let Style { input, reduction: style, grad: grad_style } = *style;
        let regions = bound.regions;
        let statistics = bound.at(regions.style_statistics);
        let Some(reduce) = self.style else { return Ok(()) };
        lowering.reduce(&style, &reduce, &Summed::Values(input), statistics, bound.at(regions.partials))?;
        lowering.export(&style, statistics, None, Some((Spread::Deviation, bound.at(regions.style_deviation))))?;
        bound.scale = Some(bound.at(regions.style_deviation));
        if grad_style.is_some() {
            let n = style.partition.segment_len() as f32;
            bound.grad_scale = Some(bound.at(regions.grad_deviation));
            bound.grad_bias = Some(bound.at(regions.grad_mean));
            bound.factor = [1.0 / n, style.divisor.factor / n];
        }
        self.plain_backward(lowering, &bound)?;
        let Some(grad_style) = grad_style else { return Ok(()) };
        let map = MapOperands {
            input: Some(input),
            output: grad_style,
            row_len: style.row_len,
            affine: Some(style.partition),
            scale: bound.grad_scale,
            bias: bound.grad_bias,
        };
        // the derivative of the root, whatever is added to it
        let root = Reduction { divisor: Divisor { added: 0.0, ..style.divisor }, ..style };
        lowering.apply(&root, &style.partition, &map, Some(statistics))
    }

    fn plain_backward(&self, lowering: &mut Lowering, bound: &Bound) -> Result<(), Unbindable> {
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
