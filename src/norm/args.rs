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
        $($(#[$doc])* pub fn $field(self, $field: impl Into<Option<$ty>>) -> Self {
            Self { $field: $field.into(), ..self }
        })*
    };
}
pub(super) use optional;

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
    /// The workspace, if the norm needs one. What it holds before and after is of no meaning.
    pub workspace: Option<BufferView<B>>,
}

impl<B> ForwardArgs<B> {
    /// Normalizes `input` by its own statistics, without parameters.
    pub fn new(input: TensorView<B>, output: impl Into<Destination<B>>) -> Self {
        let (scale, bias, statistics, workspace) = (None, None, StatisticsSource::Input, None);
        Self { input, output: output.into(), scale, bias, statistics, workspace }
    }

    optional! {
        /// With a scale.
        scale: TensorView<B>;
        /// With a bias.
        bias: TensorView<B>;
        /// With a workspace.
        workspace: BufferView<B>;
    }

    /// By these statistics.
    pub fn statistics(self, statistics: StatisticsSource<B>) -> Self {
        Self { statistics, ..self }
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
    /// As in [`ForwardArgs::workspace`].
    pub workspace: Option<BufferView<B>>,
}

impl<B> TrainingArgs<B> {
    /// Normalizes `input` and saves its statistics, without parameters.
    pub fn new(input: TensorView<B>, output: impl Into<Destination<B>>, saved: BufferView<B>) -> Self {
        let (scale, bias, workspace) = (None, None, None);
        Self { input, output: output.into(), saved, scale, bias, workspace }
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
    /// A u32, the number of batches so far, incremented. Needed for
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
    pub fn update(self, update: RunningUpdate) -> Self {
        Self { update, ..self }
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
    /// The input of the forward pass.
    pub input: TensorView<B>,
    /// Gradient to the output.
    pub grad_output: TensorView<B>,
    /// The statistics of the forward pass.
    pub statistics: BackwardStatistics<B>,
    /// The scale of the forward pass. Needed for the gradient to the input, where the norm has one.
    pub scale: Option<TensorView<B>>,
    /// Receives the gradient to the input. In place: over `grad_output`.
    pub grad_input: Option<Destination<B>>,
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
        let (scale, grad_input, grad_scale, grad_bias, workspace) = (None, None, None, None, None);
        Self { input, grad_output, statistics, scale, grad_input, grad_scale, grad_bias, workspace }
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

    /// With the gradient to the input.
    pub fn grad_input(self, grad_input: impl Into<Destination<B>>) -> Self {
        Self { grad_input: Some(grad_input.into()), ..self }
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
