//! Statistics as stages: moments of a shard, merging of shards.

use super::Norm;
use crate::bound::BoundNorm;
use crate::dispatch::{MergeOperands, Summed};
use crate::error::BindError;
use crate::kernel::Source;
use crate::operands::{Operands, Role};
use crate::partition::Partition;
use crate::schedule::{Reduce, Schedule};
use crate::view::{BufferView, TensorView};

/// Operands of the moments of one shard. For use with [`Norm::bind_moments`].
#[derive(Clone, Copy, Debug)]
pub struct MomentsArgs<'a> {
    /// The shard.
    pub input: TensorView<'a>,
    /// Receives [`Norm::statistics_size`] bytes of records.
    pub records: BufferView<'a>,
    /// [`Norm::moments_workspace_size`] bytes, if that is not 0.
    pub workspace: Option<BufferView<'a>>,
}

/// Operands of a merge. For use with [`Norm::bind_merge`].
#[derive(Clone, Copy, Debug)]
pub struct MergeArgs<'a> {
    /// `count` times [`Norm::statistics_size`] bytes: the records of one shard after those of another.
    pub parts: BufferView<'a>,
    /// Number of shards.
    pub count: u32,
    /// What the records are.
    pub records: Records,
    /// Receives [`Norm::statistics_size`] bytes of records.
    pub merged: BufferView<'a>,
}

/// What records hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Records {
    /// Statistics, of [`Norm::bind_moments`] or [`Norm::bind_training`].
    Statistics,
    /// Gradient sums, of [`Norm::bind_gradient_sums`].
    GradientSums,
}

impl Norm {
    /// How the moments of a shard are reduced.
    fn moments_schedule(&self) -> Reduce {
        match self.schedule {
            Schedule::Split(reduce) => reduce,
            Schedule::Fused(_) | Schedule::Cached(_) => {
                Reduce::choose(&self.plan.computed.partition, &self.shared.profile)
            }
        }
    }

    /// Bytes of workspace that [`Norm::bind_moments`] needs; 0: none.
    pub fn moments_workspace_size(&self) -> u64 {
        if self.plan.elements == 0 { 0 } else { self.moments_schedule().partials_size(&self.plan.computed.partition) }
    }

    /// Binds the moments of one shard of a batch: records that [`Norm::bind_merge`] merges with those of other shards, of any
    /// size, none included. With [`StatisticsSource::Saved`](super::StatisticsSource::Saved) they normalize; [`Norm::bind_export`]
    /// makes plain means and variances of them.
    ///
    /// # Errors
    /// As [`Norm::bind_forward`].
    pub fn bind_moments(&self, args: &MomentsArgs<'_>) -> Result<BoundNorm, BindError> {
        let reduction = &self.plan.computed;
        let mut operands = Operands::default();
        let input = operands.tensor("input", &args.input, self.plan.elements, reduction.row_len, Role::Read)?;
        let records = operands.records("records", &args.records, self.statistics_size(), Role::Written)?;
        let scratch = self.workspace_operand(&mut operands, args.workspace.as_ref(), self.moments_workspace_size())?;
        let schedule = self.moments_schedule();
        self.finish(operands, "moments", |lowering| {
            lowering.reduce(reduction, &schedule, &Summed::Values(input), records, scratch)
        })
    }

    /// Binds the merge of the records of shards, weighed by their counts, in their order.
    ///
    /// # Errors
    /// As [`Norm::bind_forward`].
    pub fn bind_merge(&self, args: &MergeArgs<'_>) -> Result<BoundNorm, BindError> {
        let size = self.statistics_size();
        let mut operands = Operands::default();
        let parts = operands.records("parts", &args.parts, size.saturating_mul(args.count.into()), Role::Read)?;
        let merged = operands.records("merged", &args.merged, size, Role::Written)?;
        let source = match args.records {
            Records::Statistics => Source::Values,
            Records::GradientSums => Source::Gradients,
        };
        let partition = Partition::new(1, args.count.into(), self.segment_count(), 1);
        self.finish(operands, "merge", |lowering| {
            lowering.merge(source, &self.plan.computed, &MergeOperands::new(partition, Some(parts), Some(merged)))
        })
    }
}
