//! A norm or an adaptive norm: one type for both, so that what plans, runs and checks norms has no special cases.

use std::ops::Deref;

use wgpu_norm::reference::{
    self, FusedOutput, FusedReferenceGradients, ReferenceError, ReferenceGradients, ReferenceInputs, ReferenceOutput,
};
use wgpu_norm::wgpu;
use wgpu_norm::{
    AdaptiveArgs, AdaptiveBackwardArgs, AdaptiveDescriptor, AdaptiveNorm, AdaptivePlan, Affine, BackwardArgs,
    BackwardStatistics, BindError, BoundNorm, Buffer, BufferView, ForwardArgs, FusedArgs, FusedGradients, Fusion,
    MemoryFormat, Norm, NormDescriptor, NormEngine, NormKind, NormPlan, PlanError, Planner, Recipe, Schedule,
    StatisticsSource, TensorView, TrainingArgs, Types,
};

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

    /// Plans it without a device.
    pub fn plan(&self, planner: &Planner) -> Result<Plan, PlanError> {
        Ok(match self {
            Self::Norm(descriptor) => Planned::Norm(planner.plan(descriptor)?.into()),
            Self::Adaptive(descriptor) => Planned::Adaptive(planner.plan_adaptive(descriptor)?.into()),
        })
    }

    /// Plans it on a device.
    pub fn create(&self, engine: &NormEngine) -> Result<Planned, PlanError> {
        Ok(match self {
            Self::Norm(descriptor) => engine.create_norm(descriptor)?.into(),
            Self::Adaptive(descriptor) => engine.create_adaptive_norm(descriptor)?.into(),
        })
    }

    /// By every schedule that can compute it, the chosen one first.
    pub fn create_all(&self, engine: &NormEngine) -> Result<Vec<Planned>, PlanError> {
        let Self::Norm(descriptor) = self else { return Ok(vec![self.create(engine)?]) };
        let norm = |schedule: Schedule| engine.create_norm_with(descriptor, schedule).transpose();
        engine.schedules(descriptor)?.into_iter().filter_map(norm).map(|norm| Ok(norm?.into())).collect()
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

/// A planned norm, on a device unless said otherwise.
#[derive(Clone, Debug)]
pub enum Planned<N = Norm, A = AdaptiveNorm> {
    /// One with scale and bias of its own.
    Norm(N),
    /// One whose scale and bias are a style's.
    Adaptive(A),
}

/// A norm that is planned without a device.
pub type Plan = Planned<Box<NormPlan>, Box<AdaptivePlan>>;

impl From<Norm> for Planned {
    fn from(norm: Norm) -> Self {
        Self::Norm(norm)
    }
}

impl From<AdaptiveNorm> for Planned {
    fn from(norm: AdaptiveNorm) -> Self {
        Self::Adaptive(norm)
    }
}

/// Operands that all passes have.
#[derive(Clone, Copy, Debug)]
pub struct Operands<B> {
    /// What is normalized.
    pub input: TensorView<B>,
    /// Where the norm has one.
    pub scale: Option<TensorView<B>>,
    /// Where the norm has one.
    pub bias: Option<TensorView<B>>,
    /// Where the norm has one.
    pub style: Option<TensorView<B>>,
    /// What the norm's fusion names, as a forward pass takes it. The sum is what a backward pass starts from; without
    /// one, the input is that.
    pub fused: FusedArgs<B>,
    /// Backward: gradients to what the norm's fusion names, as many as are wanted.
    pub fused_gradients: FusedGradients<B>,
    /// That of the pass, where it needs one.
    pub workspace: Option<BufferView<B>>,
}

/// A pass, with the operands that it alone has.
#[expect(clippy::large_enum_variant, reason = "one of a few on the stack")]
#[derive(Clone, Copy, Debug)]
pub enum Pass<B> {
    /// The output, by given records or the input's own.
    Forward {
        /// Where it goes.
        output: TensorView<B>,
        /// Records of a value a channel.
        given: Option<BufferView<B>>,
    },
    /// The output, and records for backward.
    Training {
        /// Where it goes.
        output: TensorView<B>,
        /// Where the records go.
        saved: BufferView<B>,
    },
    /// The gradients.
    Backward {
        /// That to the output.
        grad_output: TensorView<B>,
        /// What training has saved, or given records.
        records: BufferView<B>,
        /// Which of the two.
        given: bool,
        /// To the input, the scale, the bias, the style: as many as are wanted.
        gradients: [Option<TensorView<B>>; 4],
    },
}

impl<B: Buffer> Operands<B> {
    fn forward(&self, output: TensorView<B>, given: Option<BufferView<B>>) -> ForwardArgs<B> {
        let mut args = ForwardArgs::new(self.input, output);
        (args.scale, args.bias, args.workspace) = (self.scale, self.bias, self.workspace);
        args.fused(self.fused).statistics(given.map_or(StatisticsSource::Input, StatisticsSource::Given))
    }

    fn training(&self, output: TensorView<B>, saved: BufferView<B>) -> TrainingArgs<B> {
        let mut args = TrainingArgs::new(self.input, output, saved);
        (args.scale, args.bias, args.workspace) = (self.scale, self.bias, self.workspace);
        args.fused(self.fused)
    }

    fn backward(
        &self,
        grad_output: TensorView<B>,
        statistics: BackwardStatistics<B>,
        [grad_input, grad_scale, grad_bias, _]: [Option<TensorView<B>>; 4],
    ) -> BackwardArgs<B> {
        let mut fused = self.fused;
        let sum = fused.sum.take();
        // what is only added leaves no trace in gradients
        (fused.residual, fused.prologue_bias, fused.out_residual) = (None, None, None);
        let mut args = BackwardArgs::new(sum.unwrap_or(self.input), grad_output, statistics).fused(fused);
        (args.scale, args.bias, args.workspace) = (self.scale, self.bias, self.workspace);
        (args.grad_input, args.grad_scale, args.grad_bias) = (grad_input.map(Into::into), grad_scale, grad_bias);
        args.fused_gradients(self.fused_gradients)
    }

    /// An adaptive norm without a style has one of no length, which it refuses.
    fn style(&self) -> TensorView<B> {
        self.style.unwrap_or(TensorView::new(self.input.buffer, 0, 0))
    }

    fn adaptive(&self, output: TensorView<B>, saved: Option<BufferView<B>>) -> AdaptiveArgs<B> {
        let mut args = AdaptiveArgs::new(self.input, self.style(), output);
        (args.saved, args.workspace) = (saved, self.workspace);
        args
    }

    fn adaptive_backward(
        &self,
        grad_output: TensorView<B>,
        saved: BufferView<B>,
        [grad_input, .., grad_style]: [Option<TensorView<B>>; 4],
    ) -> AdaptiveBackwardArgs<B> {
        let mut args = AdaptiveBackwardArgs::new(self.input, self.style(), grad_output, saved);
        (args.grad_input, args.grad_style) = (grad_input.map(Into::into), grad_style);
        args.workspace = self.workspace;
        args
    }
}

/// The method of the norm for a pass.
macro_rules! by_pass {
    ($norm:expr, $operands:expr, $pass:expr, $forward:ident, $training:ident, $backward:ident) => {
        match ($norm, *$pass) {
            (Self::Norm(norm), Pass::Forward { output, given }) => norm.$forward(&$operands.forward(output, given)),
            (Self::Norm(norm), Pass::Training { output, saved }) => norm.$training(&$operands.training(output, saved)),
            (Self::Norm(norm), Pass::Backward { grad_output, records, given, gradients }) => {
                let of = if given { BackwardStatistics::Given } else { BackwardStatistics::Saved };
                norm.$backward(&$operands.backward(grad_output, of(records), gradients))
            }
            (Self::Adaptive(norm), Pass::Forward { output, .. }) => norm.$forward(&$operands.adaptive(output, None)),
            (Self::Adaptive(norm), Pass::Training { output, saved }) => {
                norm.$forward(&$operands.adaptive(output, Some(saved)))
            }
            (Self::Adaptive(norm), Pass::Backward { grad_output, records, gradients, .. }) => {
                norm.$backward(&$operands.adaptive_backward(grad_output, records, gradients))
            }
        }
    };
}

impl<N: Deref<Target = NormPlan>, A: Deref<Target = AdaptivePlan>> Planned<N, A> {
    /// The norm of the input, whatever its scale and bias are: its lengths, its statistics, its schedules.
    pub fn content(&self) -> &NormPlan {
        match self {
            Self::Norm(norm) => norm,
            Self::Adaptive(norm) => norm.content(),
        }
    }

    /// Elements of a scale and of a bias of its own.
    pub fn affine_len(&self) -> u64 {
        match self {
            Self::Norm(norm) => norm.affine_len(),
            Self::Adaptive(_) => 0,
        }
    }

    /// Elements of the style; 0 where there is none.
    pub fn style_len(&self) -> u64 {
        match self {
            Self::Norm(_) => 0,
            Self::Adaptive(norm) => norm.style_len(),
        }
    }

    /// Bytes of workspace of a forward or training pass.
    pub fn workspace_size(&self) -> u64 {
        match self {
            Self::Norm(norm) => norm.workspace_size(),
            Self::Adaptive(norm) => norm.workspace_size(),
        }
    }

    /// Bytes of workspace of a backward pass.
    pub fn backward_workspace_size(&self) -> u64 {
        match self {
            Self::Norm(norm) => norm.backward_workspace_size(),
            Self::Adaptive(norm) => norm.backward_workspace_size(),
        }
    }

    /// What a host has to do for a pass.
    pub fn recipe<B: Buffer>(&self, operands: &Operands<B>, pass: &Pass<B>) -> Result<Recipe<B>, BindError> {
        by_pass!(self, operands, pass, forward, training, backward)
    }
}

impl Planned {
    /// Binds a pass.
    pub fn bind(&self, operands: &Operands<&wgpu::Buffer>, pass: &Pass<&wgpu::Buffer>) -> Result<BoundNorm, BindError> {
        by_pass!(self, operands, pass, bind_forward, bind_training, bind_backward)
    }

    /// The norm that has more than a forward, a training and a backward pass: statistics of its own.
    pub fn as_norm(&self, operation: &'static str) -> Result<&Norm, BindError> {
        match self {
            Self::Norm(norm) => Ok(norm),
            Self::Adaptive(_) => Err(BindError::NoSuchOperation { kind: "adain", operation }),
        }
    }

    /// By every schedule that can compute its gradients, the chosen one first.
    pub fn backward_variants(&self) -> Vec<Self> {
        let Self::Norm(norm) = self else { return vec![self.clone()] };
        let variants =
            norm.backward_schedules().into_iter().filter_map(|schedule| norm.with_backward_schedule(schedule));
        variants.map(Self::Norm).collect()
    }
}
