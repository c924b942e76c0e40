//! Statistics as stages: moments of a shard, merging of shards.

use super::{MergeArgs, MomentsArgs, NormPlan, Operands, Role};
use crate::error::BindError;
use crate::kernel::Source;
use crate::lower::{Around, MergeOperands, Summed};
use crate::moments::Records;
use crate::operand::Operand;
use crate::partition::Partition;
use crate::recipe::Recipe;
use crate::schedule::{Reduce, Schedule};
use crate::view::Buffer;

impl NormPlan {
    /// How the moments of a shard are reduced.
    pub(super) fn moments_schedule(&self) -> Reduce {
        match self.schedule {
            Schedule::Split(reduce) => reduce,
            Schedule::Rows(_) | Schedule::Tiles(_) => {
                Reduce::choose(&self.plan.computed.partition, &self.planner.profile)
            }
        }
    }

    /// Shards share statistics of what they hold: sums, epilogues and modulations are applied by stages of their own.
    pub(super) fn check_stages(&self) -> Result<(), BindError> {
        if self.plan.fused.is_none() {
            return Ok(());
        }
        Err(BindError::NoSuchOperation {
            kind: self.plan.kind,
            operation: "stages that shards share, when it is fused",
        })
    }

    /// Bytes of workspace that [`NormPlan::moments`] needs; 0: none.
    pub fn moments_workspace_size(&self) -> u64 {
        if self.plan.elements == 0 { 0 } else { self.moments_schedule().partials_size(&self.plan.computed.partition) }
    }

    /// The moments of one shard of a batch: records that [`NormPlan::merge`] merges with those of other shards, of any
    /// size, none included. With [`StatisticsSource::Saved`](crate::StatisticsSource::Saved) they normalize;
    /// [`NormPlan::export`] makes plain means and variances of them.
    ///
    /// # Errors
    /// As [`NormPlan::forward`].
    pub fn moments<B: Buffer>(&self, args: &MomentsArgs<B>) -> Result<Recipe<B>, BindError> {
        self.check_stages()?;
        let reduction = &self.plan.computed;
        let shape = self.shape();
        let mut operands = Operands::default();
        let input = operands.tensor(Operand::Input, &args.input, shape, self.plan.types.input, Role::Read)?;
        let records = operands.records(Operand::Records, &args.records, self.statistics_size(), Role::Written)?;
        let scratch = operands.workspace(args.workspace.as_ref(), self.moments_workspace_size())?;
        let schedule = self.moments_schedule();
        self.lower("moments", operands, &|lowering| {
            lowering.reduce(reduction, &schedule, &Summed::Values(input, Around::default()), records, scratch)
        })
    }

    /// The merge of the records of shards, weighed by their counts, in their order.
    ///
    /// # Errors
    /// As [`NormPlan::forward`].
    pub fn merge<B: Buffer>(&self, args: &MergeArgs<B>) -> Result<Recipe<B>, BindError> {
        let size = self.statistics_size();
        let mut operands = Operands::default();
        let shards =
            operands.records(Operand::Shards, &args.shards, size.saturating_mul(args.count.into()), Role::Read)?;
        let merged = operands.records(Operand::Records, &args.merged, size, Role::Written)?;
        let source = match args.records {
            Records::Statistics => Source::Values,
            Records::GradientSums => Source::Gradients,
        };
        let partition = Partition::new(1, args.count.into(), self.segment_count(), 1);
        self.lower("merge", operands, &|lowering| {
            lowering.merge(source, &self.plan.computed, &MergeOperands::new(partition, Some(shards), Some(merged)))
        })
    }
}
