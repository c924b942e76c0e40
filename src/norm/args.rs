//! What operations of a norm take: views of the caller's buffers, each with a constructor for what is required.

use crate::descriptor::RunningUpdate;
use crate::moments::{Records, Spread};
use crate::view::{BufferView, Destination, TensorView};

/// Which statistics a forward pass uses.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub enum StatisticsSource<B> {
    /// Computed from the input.
    #[default]
    Input,
    /// Given as [`NormPlan::given_statistics_size`] bytes of moments, as `import` makes them of running means and
    /// variances. Batch and Instance only.
    ///
    /// [`NormPlan::given_statistics_size`]: crate::NormPlan::given_statistics_size
    Given(BufferView<B>),
    /// Moments of this norm's own segments: saved by `training`, or merged by `merge`.
    Saved(BufferView<B>),
}

/// Which statistics a backward pass uses.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum BackwardStatistics<B> {
    /// Saved by `training`: they depend on the input, and so does the gradient.
    Saved(BufferView<B>),
    /// Given, as in inference: constants. The gradient is shorter.
    Given(BufferView<B>),
}

/// Methods that set an optional field: to a value, or to what may be one.
macro_rules! optional {
    ($($(#[$doc:meta])* $field:ident: $ty:ty;)*) => {
        $($(#[$doc])* pub fn $field(mut self, $field: impl Into<Option<$ty>>) -> Self {
            self.$field = $field.into();
            self
        })*
    };
}
pub(super) use optional;

/// Views of what a norm's [`Fusion`](crate::Fusion) names: exactly those that it has. For use with
/// [`ForwardArgs::fused`], [`TrainingArgs::fused`] and [`BackwardArgs::fused`].
///
/// Each has the element type that its view says ([`TensorView::of`]); one that says none has, if it is a tensor, the
/// type of the input, and if it is a parameter, that of the scale. Parameters may have rows that are padded, as views
/// of one tensor `[N, 6C]` are: [`TensorView::with_row_stride`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FusedArgs<B> {
    /// r of the prologue.
    pub residual: Option<TensorView<B>>,
    /// m of the prologue, where it is a parameter.
    pub gate: Option<TensorView<B>>,
    /// The tensor whose activation is a factor, in the prologue or in the epilogue.
    pub z: Option<TensorView<B>>,
    /// c of the prologue.
    pub prologue_bias: Option<TensorView<B>>,
    /// g of the modulation.
    pub modulation_scale: Option<TensorView<B>>,
    /// t of the modulation.
    pub modulation_shift: Option<TensorView<B>>,
    /// e of the epilogue.
    pub addend: Option<TensorView<B>>,
    /// q of the epilogue.
    pub out_gate: Option<TensorView<B>>,
    /// r' of the epilogue.
    pub out_residual: Option<TensorView<B>>,
    /// Forward: receives s of the prologue, where it is wanted. It is what backward takes as its input. Where
    /// statistics see the sum as it is stored, of that type; else of that which the view says, or f32.
    pub sum: Option<TensorView<B>>,
    /// Forward: receives the scales of a quantization, f32.
    pub scales: Option<TensorView<B>>,
    /// The one scale of a static quantization, f32.
    pub static_scale: Option<TensorView<B>>,
    /// Backward: x of the prologue, the input of the forward pass. Needed for the gradient to what it is multiplied
    /// with.
    pub multiplied: Option<TensorView<B>>,
}

impl<B> Default for FusedArgs<B> {
    fn default() -> Self {
        Self {
            residual: None,
            gate: None,
            z: None,
            prologue_bias: None,
            modulation_scale: None,
            modulation_shift: None,
            addend: None,
            out_gate: None,
            out_residual: None,
            sum: None,
            scales: None,
            static_scale: None,
            multiplied: None,
        }
    }
}

impl<B> FusedArgs<B> {
    optional! {
        /// With a residual.
        residual: TensorView<B>;
        /// With a gate of the input.
        gate: TensorView<B>;
        /// With a tensor whose activation is a factor.
        z: TensorView<B>;
        /// With a bias of the prologue.
        prologue_bias: TensorView<B>;
        /// With a scale of the modulation.
        modulation_scale: TensorView<B>;
        /// With a shift of the modulation.
        modulation_shift: TensorView<B>;
        /// With a tensor added before the activation.
        addend: TensorView<B>;
        /// With a gate of the output.
        out_gate: TensorView<B>;
        /// With a tensor added in the end.
        out_residual: TensorView<B>;
        /// With a place for the sum.
        sum: TensorView<B>;
        /// With a place for the scales of a quantization.
        scales: TensorView<B>;
        /// With the scale of a static quantization.
        static_scale: TensorView<B>;
        /// With the input of the forward pass, for backward.
        multiplied: TensorView<B>;
    }
}

/// Gradients to what a norm's [`Fusion`](crate::Fusion) names: those that are wanted, each of the type that its view
/// says, f32 where it says none. For use with [`BackwardArgs::fused_gradients`].
///
/// The gradient to r' of the epilogue is the gradient to the output. Where the prologue has no multiplier, that to its
/// residual is the gradient to the input; it is written twice where both are wanted.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FusedGradients<B> {
    /// A gradient that arrives at the sum (or at the input, where there is no prologue): read, and added to what goes
    /// on to input and residual. May be the very view that the gradient to the input or the residual goes to.
    pub arriving: Option<TensorView<B>>,
    /// To [`FusedArgs::residual`].
    pub residual: Option<TensorView<B>>,
    /// To [`FusedArgs::gate`].
    pub gate: Option<TensorView<B>>,
    /// To [`FusedArgs::z`].
    pub z: Option<TensorView<B>>,
    /// To [`FusedArgs::prologue_bias`].
    pub prologue_bias: Option<TensorView<B>>,
    /// To [`FusedArgs::modulation_scale`].
    pub modulation_scale: Option<TensorView<B>>,
    /// To [`FusedArgs::modulation_shift`].
    pub modulation_shift: Option<TensorView<B>>,
    /// To [`FusedArgs::addend`].
    pub addend: Option<TensorView<B>>,
    /// To [`FusedArgs::out_gate`].
    pub out_gate: Option<TensorView<B>>,
}

impl<B> Default for FusedGradients<B> {
    fn default() -> Self {
        Self {
            arriving: None,
            residual: None,
            gate: None,
            z: None,
            prologue_bias: None,
            modulation_scale: None,
            modulation_shift: None,
            addend: None,
            out_gate: None,
        }
    }
}

impl<B> FusedGradients<B> {
    optional! {
        /// With a gradient that arrives at the sum.
        arriving: TensorView<B>;
        /// With the gradient to the residual.
        residual: TensorView<B>;
        /// With the gradient to the gate of the input.
        gate: TensorView<B>;
        /// With the gradient to the tensor whose activation is a factor.
        z: TensorView<B>;
        /// With the gradient to the bias of the prologue.
        prologue_bias: TensorView<B>;
        /// With the gradient to the scale of the modulation.
        modulation_scale: TensorView<B>;
        /// With the gradient to the shift of the modulation.
        modulation_shift: TensorView<B>;
        /// With the gradient to what is added before the activation.
        addend: TensorView<B>;
        /// With the gradient to the gate of the output.
        out_gate: TensorView<B>;
    }
}

/// Operands of a forward pass. For use with `Norm::bind_forward`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ForwardArgs<B> {
    /// The tensor to normalize.
    pub input: TensorView<B>,
    /// Where the result goes.
    pub output: Destination<B>,
    /// As many elements as the affine partition has segments, where the norm has a scale.
    pub scale: Option<TensorView<B>>,
    /// As many elements as the affine partition has segments, where the norm has a bias.
    pub bias: Option<TensorView<B>>,
    /// Which statistics normalize.
    pub statistics: StatisticsSource<B>,
    /// What the norm's fusion names.
    pub fused: FusedArgs<B>,
    /// The workspace, if the norm needs one. What it holds before and after is of no meaning.
    pub workspace: Option<BufferView<B>>,
}

impl<B> ForwardArgs<B> {
    /// Normalizes `input` by its own statistics, without parameters.
    pub fn new(input: TensorView<B>, output: impl Into<Destination<B>>) -> Self {
        let (scale, bias, statistics, workspace) = (None, None, StatisticsSource::Input, None);
        Self { input, output: output.into(), scale, bias, statistics, fused: FusedArgs::default(), workspace }
    }

    optional! {
        /// With a scale.
        scale: TensorView<B>;
        /// With a bias.
        bias: TensorView<B>;
        /// With a workspace.
        workspace: BufferView<B>;
    }

    /// With what the norm's fusion names.
    pub fn fused(mut self, fused: FusedArgs<B>) -> Self {
        self.fused = fused;
        self
    }

    /// By these statistics.
    pub fn statistics(mut self, statistics: StatisticsSource<B>) -> Self {
        self.statistics = statistics;
        self
    }
}

/// Operands of a forward pass that saves its statistics for backward and for running statistics. For use with
/// `Norm::bind_training`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TrainingArgs<B> {
    /// The tensor to normalize.
    pub input: TensorView<B>,
    /// Where the result goes.
    pub output: Destination<B>,
    /// Receives moments, 16 bytes a segment.
    pub saved: BufferView<B>,
    /// As in [`ForwardArgs::scale`].
    pub scale: Option<TensorView<B>>,
    /// As in [`ForwardArgs::bias`].
    pub bias: Option<TensorView<B>>,
    /// As in [`ForwardArgs::fused`].
    pub fused: FusedArgs<B>,
    /// As in [`ForwardArgs::workspace`].
    pub workspace: Option<BufferView<B>>,
}

impl<B> TrainingArgs<B> {
    /// Normalizes `input` and saves its statistics, without parameters.
    pub fn new(input: TensorView<B>, output: impl Into<Destination<B>>, saved: BufferView<B>) -> Self {
        let (scale, bias, workspace) = (None, None, None);
        Self { input, output: output.into(), saved, scale, bias, fused: FusedArgs::default(), workspace }
    }

    /// With what the norm's fusion names.
    pub fn fused(mut self, fused: FusedArgs<B>) -> Self {
        self.fused = fused;
        self
    }

    optional! {
        /// With a scale.
        scale: TensorView<B>;
        /// With a bias.
        bias: TensorView<B>;
        /// With a workspace.
        workspace: BufferView<B>;
    }
}

/// Operands that turn moments into plain numbers. For use with `Norm::bind_export`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ExportArgs<B> {
    /// Moments of a training pass.
    pub statistics: BufferView<B>,
    /// Receives a mean a segment.
    pub mean: Option<TensorView<B>>,
    /// Receives for each segment what [`Spread`] says.
    pub spread: Option<(Spread, TensorView<B>)>,
}

impl<B> ExportArgs<B> {
    /// Of these moments; nothing is wanted yet.
    pub fn new(statistics: BufferView<B>) -> Self {
        Self { statistics, mean: None, spread: None }
    }

    optional! {
        /// With means.
        mean: TensorView<B>;
    }

    /// With a measure of the spread.
    pub fn spread(self, kind: Spread, view: TensorView<B>) -> Self {
        Self { spread: Some((kind, view)), ..self }
    }
}

/// Operands that turn running means and variances into moments. For use with `Norm::bind_import`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ImportArgs<B> {
    /// A mean a channel.
    pub mean: TensorView<B>,
    /// A variance a channel.
    pub variance: TensorView<B>,
    /// Receives moments, 16 bytes a channel.
    pub statistics: BufferView<B>,
}

impl<B> ImportArgs<B> {
    /// From means and variances to moments.
    pub fn new(mean: TensorView<B>, variance: TensorView<B>, statistics: BufferView<B>) -> Self {
        Self { mean, variance, statistics }
    }
}

/// Operands of a running update. For use with `Norm::bind_running_update`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RunningArgs<B> {
    /// Moments of a training pass.
    pub statistics: BufferView<B>,
    /// A running mean a channel, updated.
    pub mean: TensorView<B>,
    /// A running variance a channel, updated.
    pub variance: TensorView<B>,
    /// A u32, the number of batches so far, incremented; in an average only by what has elements. Needed for
    /// [`Momentum::Cumulative`](crate::Momentum::Cumulative).
    pub batches: Option<BufferView<B>>,
    /// How the batch is weighed.
    pub update: RunningUpdate,
}

impl<B> RunningArgs<B> {
    /// Takes moments into running statistics, weighed as PyTorch does by default.
    pub fn new(statistics: BufferView<B>, mean: TensorView<B>, variance: TensorView<B>) -> Self {
        Self { statistics, mean, variance, batches: None, update: RunningUpdate::default() }
    }

    optional! {
        /// With a counter of batches.
        batches: BufferView<B>;
    }

    /// Weighed so.
    pub fn update(mut self, update: RunningUpdate) -> Self {
        self.update = update;
        self
    }
}

/// Operands of the moments of one shard. For use with `Norm::bind_moments`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MomentsArgs<B> {
    /// The shard.
    pub input: TensorView<B>,
    /// Receives moments, 16 bytes a segment.
    pub records: BufferView<B>,
    /// The workspace of moments, if there is one.
    pub workspace: Option<BufferView<B>>,
}

impl<B> MomentsArgs<B> {
    /// The moments of a shard.
    pub fn new(input: TensorView<B>, records: BufferView<B>) -> Self {
        Self { input, records, workspace: None }
    }

    optional! {
        /// With a workspace.
        workspace: BufferView<B>;
    }
}

/// Operands of a merge. For use with `Norm::bind_merge`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MergeArgs<B> {
    /// The records of one shard after those of another.
    pub shards: BufferView<B>,
    /// Number of shards.
    pub count: u32,
    /// What the records are.
    pub records: Records,
    /// Receives the records of all shards together.
    pub merged: BufferView<B>,
}

impl<B> MergeArgs<B> {
    /// Merges the records of `count` shards.
    pub fn new(shards: BufferView<B>, count: u32, records: Records, merged: BufferView<B>) -> Self {
        Self { shards, count, records, merged }
    }
}

/// Operands of a backward pass. For use with `Norm::bind_backward`. A gradient is computed where it has a view; one
/// that has none costs nothing.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BackwardArgs<B> {
    /// What was normalized: the input of the forward pass, or where a prologue changes that, the sum that
    /// [`FusedArgs::sum`] has received.
    pub input: TensorView<B>,
    /// Gradient to the output.
    pub grad_output: TensorView<B>,
    /// The statistics of the forward pass.
    pub statistics: BackwardStatistics<B>,
    /// The scale of the forward pass. Needed for the gradient to the input, where the norm has one.
    pub scale: Option<TensorView<B>>,
    /// The bias of the forward pass. Needed where what follows it is no plain sum: a modulation's scale or an
    /// activation.
    pub bias: Option<TensorView<B>>,
    /// Receives the gradient to the input. In place: over `grad_output`.
    pub grad_input: Option<Destination<B>>,
    /// What the norm's fusion names, as in the forward pass; r and c of the prologue and r' of the epilogue are not
    /// needed.
    pub fused: FusedArgs<B>,
    /// Gradients to what the norm's fusion names.
    pub fused_gradients: FusedGradients<B>,
    /// Receives the gradient to the scale, as many elements as that has.
    pub grad_scale: Option<TensorView<B>>,
    /// Receives the gradient to the bias, as many elements as that has.
    pub grad_bias: Option<TensorView<B>>,
    /// The backward workspace, if there is one.
    pub workspace: Option<BufferView<B>>,
}

impl<B> BackwardArgs<B> {
    /// A backward pass; no gradient is wanted yet.
    pub fn new(input: TensorView<B>, grad_output: TensorView<B>, statistics: BackwardStatistics<B>) -> Self {
        let (scale, bias, grad_input, grad_scale, grad_bias, workspace) = (None, None, None, None, None, None);
        Self {
            input,
            grad_output,
            statistics,
            scale,
            bias,
            grad_input,
            grad_scale,
            grad_bias,
            fused: FusedArgs::default(),
            fused_gradients: FusedGradients::default(),
            workspace,
        }
    }

    optional! {
        /// With a scale.
        scale: TensorView<B>;
        /// With a bias.
        bias: TensorView<B>;
        /// With the gradient to the scale.
        grad_scale: TensorView<B>;
        /// With the gradient to the bias.
        grad_bias: TensorView<B>;
        /// With a workspace.
        workspace: BufferView<B>;
    }

    /// With what the norm's fusion names.
    pub fn fused(mut self, fused: FusedArgs<B>) -> Self {
        self.fused = fused;
        self
    }

    /// With gradients to what the norm's fusion names.
    pub fn fused_gradients(mut self, fused_gradients: FusedGradients<B>) -> Self {
        self.fused_gradients = fused_gradients;
        self
    }

    /// With the gradient to the input.
    pub fn grad_input(mut self, grad_input: impl Into<Destination<B>>) -> Self {
        self.grad_input = Some(grad_input.into());
        self
    }
}

/// Operands of gradient sums. For use with `Norm::bind_gradient_sums`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GradientSumsArgs<B> {
    /// As in [`BackwardArgs::input`].
    pub input: TensorView<B>,
    /// As in [`BackwardArgs::grad_output`].
    pub grad_output: TensorView<B>,
    /// Moments that normalized the input, of all shards merged.
    pub statistics: BufferView<B>,
    /// Receives gradient sums, 16 bytes a segment.
    pub sums: BufferView<B>,
    /// As in [`BackwardArgs::scale`].
    pub scale: Option<TensorView<B>>,
    /// As in [`BackwardArgs::grad_scale`], of this shard.
    pub grad_scale: Option<TensorView<B>>,
    /// As in [`BackwardArgs::grad_bias`], of this shard.
    pub grad_bias: Option<TensorView<B>>,
    /// As in [`BackwardArgs::workspace`].
    pub workspace: Option<BufferView<B>>,
}

impl<B> GradientSumsArgs<B> {
    /// The gradient sums of a shard.
    pub fn new(
        input: TensorView<B>,
        grad_output: TensorView<B>,
        statistics: BufferView<B>,
        sums: BufferView<B>,
    ) -> Self {
        let (scale, grad_scale, grad_bias, workspace) = (None, None, None, None);
        Self { input, grad_output, statistics, sums, scale, grad_scale, grad_bias, workspace }
    }

    optional! {
        /// With a scale.
        scale: TensorView<B>;
        /// With the gradient to the scale.
        grad_scale: TensorView<B>;
        /// With the gradient to the bias.
        grad_bias: TensorView<B>;
        /// With a workspace.
        workspace: BufferView<B>;
    }
}

/// Operands of the gradient to the input from merged sums. For use with `Norm::bind_input_gradient`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct InputGradientArgs<B> {
    /// As in [`BackwardArgs::input`].
    pub input: TensorView<B>,
    /// As in [`BackwardArgs::grad_output`].
    pub grad_output: TensorView<B>,
    /// As in [`GradientSumsArgs::statistics`].
    pub statistics: BufferView<B>,
    /// Merged gradient sums.
    pub sums: BufferView<B>,
    /// Receives the gradient to the input. In place: over `grad_output`.
    pub grad_input: Destination<B>,
    /// As in [`BackwardArgs::scale`].
    pub scale: Option<TensorView<B>>,
    /// The backward workspace, if there is one.
    pub workspace: Option<BufferView<B>>,
}

impl<B> InputGradientArgs<B> {
    /// The gradient to the input.
    pub fn new(
        input: TensorView<B>,
        grad_output: TensorView<B>,
        statistics: BufferView<B>,
        sums: BufferView<B>,
        grad_input: impl Into<Destination<B>>,
    ) -> Self {
        Self { input, grad_output, statistics, sums, grad_input: grad_input.into(), scale: None, workspace: None }
    }

    optional! {
        /// With a scale.
        scale: TensorView<B>;
        /// With a workspace.
        workspace: BufferView<B>;
    }
}
