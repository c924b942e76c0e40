//! A norm or an adaptive norm that is planned: one type for both, so that what plans, runs and checks norms has no
//! special cases.

use std::ops::Deref;

use wgpu_norm::wgpu;
use wgpu_norm::{
    AdaptiveArgs, AdaptiveBackwardArgs, AdaptiveNorm, AdaptivePlan, BackwardArgs, BackwardStatistics, BindError,
    BoundNorm, Buffer, BufferView, ForwardArgs, FusedArgs, FusedGradients, Norm, NormEngine, NormPlan, PlanError,
    Planner, Recipe, Schedule, StatisticsSource, TensorView, TrainingArgs,
};

use crate::exact::Descriptor;

impl Descriptor<'_> {
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
