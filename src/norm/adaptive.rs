//! Adaptive instance normalization: a composition of two norms above the plan. The moments of the style become scale
//! and bias of the content: `(x - mean(x)) / std(x) * std(style) + mean(style)`, statistics per sample and channel.

use super::args::optional;
use super::{BackwardStatistics, Cutter, FusedArgs, MapArgs, NormPlan, Operands, Planner, Role, Shape};
use crate::descriptor::{
    AdaptiveDescriptor, Affine, AffineAxes, Epsilon, NormDescriptor, NormKind, SingleElement, StyleEpsilon, Variance,
};
use crate::element::Element;
use crate::error::{BindError, PlanError};
use crate::lower::bindings::Unbindable;
use crate::lower::{Around, Lowering, MapOperands, Summed, Tensor};
use crate::moments::{Divisor, Infinities, RECORD, Spread};
use crate::operand::Operand;
use crate::plan::{Plan, Reduction, Refusal, channel_axis, unbiased_factor};
use crate::recipe::Recipe;
use crate::schedule::{Reduce, Schedule};
use crate::view::{Buffer, BufferView, Destination, TensorView};

const KIND: &str = "adain";

impl AdaptiveDescriptor<'_> {
    /// Checks everything that needs no device: what planning would answer.
    ///
    /// # Errors
    /// [`PlanError`] says what is wrong.
    pub fn validate(&self) -> Result<(), PlanError> {
        plans(self).map(drop)
    }
}

/// Operands of an adaptive forward pass. For use with `AdaptiveNorm::bind_forward`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AdaptiveArgs<B> {
    /// The content.
    pub input: TensorView<B>,
    /// The style.
    pub style: TensorView<B>,
    /// Where the result goes.
    pub output: Destination<B>,
    /// Receives the moments of the content, for backward: 16 bytes a segment.
    pub saved: Option<BufferView<B>>,
    /// [`AdaptivePlan::workspace_size`] bytes.
    pub workspace: Option<BufferView<B>>,
}

impl<B> AdaptiveArgs<B> {
    /// Gives the content the moments of the style.
    pub fn new(input: TensorView<B>, style: TensorView<B>, output: impl Into<Destination<B>>) -> Self {
        Self { input, style, output: output.into(), saved: None, workspace: None }
    }

    optional! {
        /// Saves the moments of the content.
        saved: BufferView<B>;
        /// With a workspace.
        workspace: BufferView<B>;
    }
}

/// Operands of an adaptive backward pass. For use with `AdaptiveNorm::bind_backward`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AdaptiveBackwardArgs<B> {
    /// The content of the forward pass.
    pub input: TensorView<B>,
    /// The style of the forward pass.
    pub style: TensorView<B>,
    /// Gradient to the output.
    pub grad_output: TensorView<B>,
    /// The moments of the content.
    pub saved: BufferView<B>,
    /// Receives the gradient to the content. In place: over `grad_output`.
    pub grad_input: Option<Destination<B>>,
    /// Receives the gradient to the style.
    pub grad_style: Option<TensorView<B>>,
    /// [`AdaptivePlan::backward_workspace_size`] bytes.
    pub workspace: Option<BufferView<B>>,
}

impl<B> AdaptiveBackwardArgs<B> {
    /// A backward pass; no gradient is wanted yet.
    pub fn new(input: TensorView<B>, style: TensorView<B>, grad_output: TensorView<B>, saved: BufferView<B>) -> Self {
        Self { input, style, grad_output, saved, grad_input: None, grad_style: None, workspace: None }
    }

    /// With the gradient to the content.
    pub fn grad_input(mut self, grad_input: impl Into<Destination<B>>) -> Self {
        self.grad_input = Some(grad_input.into());
        self
    }

    optional! {
        /// With the gradient to the style.
        grad_style: TensorView<B>;
        /// With a workspace.
        workspace: BufferView<B>;
    }
}

/// An adaptive instance norm planned for one pair of shapes and one device.
#[derive(Clone, Debug)]
pub struct AdaptivePlan {
    content: NormPlan,
    style: Reduction,
    reduce: Reduce,
}

/// Where a style's numbers lie in a workspace, behind what the content needs.
struct StyleRegions {
    statistics: u64,
    partials: u64,
    mean: u64,
    deviation: u64,
    grad_mean: u64,
    grad_deviation: u64,
    size: u64,
}

/// The plan of the content, whose scale and bias are the style's, and the reduction of the style.
fn plans(descriptor: &AdaptiveDescriptor<'_>) -> Result<(Plan, Reduction), PlanError> {
    let AdaptiveDescriptor { shape, style_shape, format, eps, types, .. } = *descriptor;
    let channel = channel_axis(shape, format, KIND)?;
    let fits = style_shape.len() == shape.len()
        && style_shape[channel] == shape[channel]
        && (style_shape[0] == shape[0] || style_shape[0] == 1);
    if !fits {
        return Err(PlanError::StyleShape { style: style_shape.to_vec(), content: shape.to_vec(), format });
    }
    let all = [0, channel];
    let axes = if style_shape[0] == shape[0] { &all[..] } else { &all[1..] };
    let instance = |shape, eps, affine| NormDescriptor {
        format,
        eps,
        affine,
        affine_axes: AffineAxes::Axes(axes),
        single_element: SingleElement::Allow,
        // the moments of the style are scale and bias
        types: types.parameters(Element::F32),
        ..NormDescriptor::new(NormKind::Instance, shape)
    };
    let style_eps = if descriptor.style_eps == StyleEpsilon::None { Epsilon::InsideRoot(0.0) } else { eps };
    let mut content = Plan::new(&instance(shape, eps, Affine::ScaleAndBias))?;
    let mut style = Plan::new(&instance(style_shape, style_eps, Affine::None))?.computed;
    for reduction in [&mut content.computed, &mut style] {
        let factor = unbiased_factor(descriptor.variance, reduction.partition.segment_len());
        let (inverse_of_zero, infinities) = (f32::INFINITY, Infinities::Plain);
        reduction.divisor = Divisor { factor, inverse_of_zero, infinities, ..reduction.divisor };
    }
    if style.partition.segment_len() == 0 && style.partition.segments() > 0 {
        return Err(PlanError::EmptySegments { kind: KIND, shape: style_shape.to_vec() });
    }
    let unbiased = descriptor.variance == Variance::Unbiased && descriptor.single_element == SingleElement::Refuse;
    let single = [&content.computed, &style].iter().any(|reduction| reduction.partition.segment_len() == 1);
    content.refusal = (unbiased && single && !shape.contains(&0)).then_some(Refusal::SingleElement);
    (content.kind, content.given, content.crosses_samples) = (KIND, None, false);
    Ok((content, style))
}

impl Planner {
    /// Plans an adaptive instance norm.
    ///
    /// # Errors
    /// [`PlanError`] says what is wrong with the descriptor.
    pub fn plan_adaptive(&self, descriptor: &AdaptiveDescriptor<'_>) -> Result<AdaptivePlan, PlanError> {
        let (plan, style) = plans(descriptor)?;
        let planner = self.of(plan.types.input);
        let schedule = Schedule::choose(&plan.computed, plan.affine.as_ref(), &planner.profile);
        let reduce = Reduce::choose(&style.partition, &planner.profile);
        Ok(AdaptivePlan { content: NormPlan::new(planner, plan, schedule), style, reduce })
    }
}

impl AdaptivePlan {
    /// The norm of the content: its sizes and schedules.
    pub fn content(&self) -> &NormPlan {
        &self.content
    }

    /// Elements of the style.
    pub fn style_len(&self) -> u64 {
        self.style.partition.elements()
    }

    /// Bytes of the moments of the content: 16 a segment.
    pub fn statistics_size(&self) -> u64 {
        self.content.statistics_size()
    }

    /// Bytes of workspace of a forward pass; 0: none.
    pub fn workspace_size(&self) -> u64 {
        self.regions(self.content.workspace_size()).size
    }

    /// Bytes of workspace of a backward pass; 0: none.
    pub fn backward_workspace_size(&self) -> u64 {
        self.regions(self.content.backward_workspace_size()).size
    }

    fn regions(&self, content: u64) -> StyleRegions {
        let segments = self.style.partition.segments();
        let partials = self.reduce.partials_size(&self.style.partition);
        let mut cutter = Cutter { size: content };
        let statistics = cutter.region(segments * RECORD);
        let partials = cutter.region(partials);
        let [mean, deviation, grad_mean, grad_deviation] = [(); 4].map(|()| cutter.region(segments * 4));
        StyleRegions { statistics, partials, mean, deviation, grad_mean, grad_deviation, size: cutter.size }
    }

    /// Elements, and those of a row.
    fn style_shape(&self) -> Shape<'_> {
        Shape::list(self.style_len(), self.style.row_len)
    }

    fn style<B: Buffer>(&self, operands: &mut Operands<B>, view: &TensorView<B>) -> Result<Tensor, BindError> {
        operands.tensor(Operand::Style, view, self.style_shape(), self.content.types().input, Role::Read)
    }

    /// The style's moments, as scale and bias of the content.
    fn lower_style(
        &self,
        lowering: &mut Lowering,
        input: Tensor,
        scratch: Tensor,
        at: &StyleRegions,
    ) -> Result<(), Unbindable> {
        let statistics = scratch.at(at.statistics);
        lowering.reduce(
            &self.style,
            &self.reduce,
            &Summed::Values(input, Around::default()),
            statistics,
            scratch.at(at.partials),
        )?;
        let deviation = (Spread::Deviation, scratch.at(at.deviation));
        lowering.export(&self.style, statistics, Some(scratch.at(at.mean)), Some(deviation))
    }

    /// A forward pass, which saves the moments of the content where asked.
    ///
    /// # Errors
    /// [`BindError`] says which operand is wrong.
    pub fn forward<B: Buffer>(&self, args: &AdaptiveArgs<B>) -> Result<Recipe<B>, BindError> {
        let content = &self.content;
        content.check_computed()?;
        let mut operands = Operands::default();
        let saved = content.saved(&mut operands, args.saved.as_ref())?;
        let (scale, bias, fused, workspace) = (&None, &None, &FusedArgs::default(), &None);
        let map = MapArgs { input: &args.input, output: &args.output, scale, bias, fused, workspace };
        let map = content.map_operands(&mut operands, &map)?;
        let style = self.style(&mut operands, &args.style)?;
        let at = self.regions(content.workspace_size());
        let scratch = operands.workspace(args.workspace.as_ref(), at.size)?;
        content.planner.lower("forward", operands.buffers, &|lowering| {
            if content.is_empty() {
                return content.lower_computed(lowering, &map, saved, scratch);
            }
            self.lower_style(lowering, style, scratch, &at)?;
            let mut map = map;
            (map.scale, map.bias) = (Some(scratch.at(at.deviation)), Some(scratch.at(at.mean)));
            content.lower_computed(lowering, &map, saved, scratch)
        })
    }

    /// A backward pass: the gradients to content and style that have a view. The style's moments are recomputed; its
    /// gradient is a map of its own, with the gradients to deviation and mean as scale and bias.
    ///
    /// # Errors
    /// As [`AdaptivePlan::forward`].
    pub fn backward<B: Buffer>(&self, args: &AdaptiveBackwardArgs<B>) -> Result<Recipe<B>, BindError> {
        let content = &self.content;
        let mut operands = Operands::default();
        let mut stage = super::BackwardArgs::new(args.input, args.grad_output, BackwardStatistics::Saved(args.saved));
        stage.grad_input = args.grad_input;
        let mut bound = content.backward_tensors(&mut operands, &stage, None)?;
        let style = self.style(&mut operands, &args.style)?;
        let grad_style = args.grad_style.map(|view| {
            operands.tensor(Operand::GradStyle, &view, self.style_shape(), content.types().grad_input, Role::Written)
        });
        let grad_style = grad_style.transpose()?;
        if args.grad_input.is_none() && grad_style.is_none() {
            return Err(BindError::NothingWanted { operation: "backward" });
        }
        let at = self.regions(content.backward_workspace_size());
        let scratch = operands.workspace(args.workspace.as_ref(), at.size)?;
        let wanted = grad_style.is_some();
        bound.scratch = scratch;
        bound.scale = Some(scratch.at(at.deviation));
        bound.grad_scale = wanted.then(|| scratch.at(at.grad_deviation));
        bound.grad_bias = wanted.then(|| scratch.at(at.grad_mean));
        bound.factor = self.gradient_factor();
        content.planner.lower("backward", operands.buffers, &|lowering| {
            self.lower_style(lowering, style, scratch, &at)?;
            content.lower_backward(lowering, &bound)?;
            let Some(grad_style) = grad_style else { return Ok(()) };
            let map = MapOperands {
                input: Some(style),
                output: grad_style,
                row_len: self.style.row_len,
                affine: Some(self.style.partition),
                scale: bound.grad_scale,
                bias: bound.grad_bias,
                around: Around::default(),
            };
            self.map_style(lowering, &map, Some(scratch.at(at.statistics)))
        })
    }

    /// Gradients to mean and deviation are means over the style.
    fn gradient_factor(&self) -> [f32; 2] {
        let n = self.style.partition.segment_len() as f32;
        [1.0 / n, self.style.divisor.factor / n]
    }

    /// By the derivative of the root, whatever is added to it. That of a constant style is taken for 0, as in PyTorch:
    /// what is left is the gradient of its mean.
    fn map_style(
        &self,
        lowering: &mut Lowering,
        map: &MapOperands,
        statistics: Option<Tensor>,
    ) -> Result<(), Unbindable> {
        let mut root = self.style;
        (root.divisor.added, root.divisor.inverse_of_zero) = (0.0, 0.0);
        lowering.apply(&root, &self.style.partition, map, statistics)
    }
}
