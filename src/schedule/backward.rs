//! How gradients are computed: which kernels, and how work is spread.

use std::fmt;

use super::{DeviceProfile, Reduce, UNROLLED, fused_team};
use crate::moments::RECORD;
use crate::partition::Partition;
use crate::plan::Plan;
use crate::walk::row_quads;
use crate::walk::rows::{Items, MIN_HELD};
use crate::walk::team::Team;
use crate::walk::workers::{ROWS_ALIKE, fewest_walkers};

/// Fewest rows of a walker: below that, its partial sums cost more than it wins.
const MIN_ROWS_PER_WALKER: u64 = 4;

/// Fewest elements of a segment of the common refinement.
const MIN_REFINED_LEN: u64 = 8;

/// How gradients are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backward {
    /// One walk over input and gradient, each read once; what belongs to scale and bias is left for a second dispatch to add up.
    Fused {
        /// Who walks: lanes hold a segment whole.
        team: Team,
        /// Walkers of each set of parameters.
        walkers: u32,
    },
    /// Sums of each row; then the map to the gradient of the input, which sums up what belongs to scale and bias on its way.
    Rows {
        /// Over statistics segments.
        reduce: Reduce,
        /// Walkers of each set of parameters.
        walkers: u32,
    },
    /// Sums over the common refinement of both partitions, folded into each of them; then the map to the gradient of the input.
    Folded(Reduce),
    /// Sums over each partition by itself, for partitions without a coarse refinement.
    Apart {
        /// Over statistics segments.
        statistics: Reduce,
        /// Over affine segments.
        affine: Reduce,
    },
}

impl fmt::Display for Backward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fused { team, walkers } => write!(f, "backward fused {team}, {walkers} walkers"),
            Self::Rows { reduce, walkers } => write!(f, "backward {reduce}, {walkers} walkers"),
            Self::Folded(reduce) => write!(f, "backward folded, {reduce}"),
            Self::Apart { statistics, affine } => write!(f, "backward apart, {statistics} and {affine}"),
        }
    }
}

impl Backward {
    /// Every schedule that can compute the gradients of a plan, best first.
    pub(crate) fn candidates(plan: &Plan, profile: &DeviceProfile) -> Vec<Self> {
        let mut all = Vec::new();
        // two tensors to load
        let halved = DeviceProfile { quads: profile.backward_quads(), ..*profile };
        let reduce = |partition: &Partition| Reduce::choose(partition, &halved);
        all.extend(Self::fused(plan, profile));
        if let (Some(rows), Some(_)) = (plan.rows(), plan.affine) {
            let reduce = reduce(&plan.computed.partition);
            let team = profile.map_team(rows.kept_inner, profile.backward_quads(), true);
            let tiles = row_quads(rows.kept_inner).div_ceil(u64::from(team.lanes * team.quads));
            let walkers = profile.map_walkers(rows.reduced_outer, 1, tiles, &team, true);
            all.extend(Self::walkers(&rows, walkers, &team, profile).map(|walkers| Self::Rows { reduce, walkers }));
        }
        // a refinement of few elements a segment makes more records than it saves
        let refinement = plan.refinement.map(|r| r.partition).filter(|p| {
            p.segment_len() >= MIN_REFINED_LEN.min(plan.computed.partition.segment_len())
                && p.segments() * RECORD <= profile.max_binding
        });
        all.extend(refinement.map(|partition| Self::Folded(reduce(&partition))));
        let (statistics, affine) = Self::apart(plan, profile);
        all.push(Self::Apart { statistics, affine });
        all
    }

    /// Reductions over the statistics segments and over the affine segments.
    pub(crate) fn apart(plan: &Plan, profile: &DeviceProfile) -> (Reduce, Reduce) {
        let statistics = Reduce::choose(&plan.computed.partition, profile);
        (statistics, plan.affine.map_or(statistics, |affine| Reduce::choose(&affine, profile)))
    }

    /// Parameters that belong to the columns of rows, or one to a whole row.
    fn fused(plan: &Plan, profile: &DeviceProfile) -> Option<Self> {
        let statistics = &plan.computed.partition;
        let items = Items::new(statistics, plan.affine.as_ref()).filter(|items| !items.strided)?;
        let team = fused_team(&items, profile, profile.held_quads_backward.min(UNROLLED))?;
        let rows = plan.fused_rows()?;
        let parts = rows.kept_inner / statistics.segment_len().max(1);
        // a record for each column pays where it is the sum of several rows
        let folds = plan.affine.is_some_and(|affine| affine.reduced_inner > 1) && !plan.shares_scale();
        if folds && (rows.reduced_outer < MIN_HELD || rows.segments() * RECORD > profile.max_partials()) {
            return None;
        }
        let to_fill = u64::from(profile.workgroups) * team.groups() / (rows.kept_outer * parts).max(1);
        let walkers = to_fill.min(rows.reduced_outer.div_ceil(MIN_ROWS_PER_WALKER));
        let records = if plan.affine.is_none() || plan.shares_scale() { 0 } else { rows.segments() };
        if records == 0 {
            let walkers = walkers.max(fewest_walkers(rows.reduced_outer, team.held_turns()));
            return Some(Self::Fused { team, walkers: walkers.clamp(1, 1 << 30) as u32 });
        }
        Self::walkers(&rows, walkers, &team, profile).map(|walkers| Self::Fused { team, walkers })
    }

    /// So many walkers or as many as there is memory for their partial records; rows that start inside quads are walked by fours.
    fn walkers(rows: &Partition, wanted: u64, team: &Team, profile: &DeviceProfile) -> Option<u32> {
        let alike = rows.kept_inner.is_multiple_of(4) || rows.reduced_outer == 1;
        let spacing = if alike { 1 } else { ROWS_ALIKE };
        // one walker leaves no records
        let one = u64::from(spacing == 1);
        let by_memory = (profile.max_partials() / (rows.segments() * RECORD).max(1) / spacing * spacing).max(one);
        let fewest = fewest_walkers(rows.reduced_outer, team.held_turns());
        let walkers = wanted.max(fewest).max(1).next_multiple_of(spacing).min(by_memory);
        (walkers >= fewest && walkers + one > 1).then_some(walkers.clamp(1, 1 << 30) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{DeviceFacts, DeviceKind};
    use crate::descriptor::{NormDescriptor, NormKind};

    /// Few rows have no room for records of each column, and need none.
    #[test]
    fn gradients_of_one_long_row_are_written_by_its_map() {
        let profile = DeviceProfile::new(&DeviceFacts { kind: DeviceKind::Software, ..DeviceFacts::DEFAULT });
        for (shape, expected) in [([1, 1 << 24], 1), ([4, 1 << 22], 1), ([1024, 4096], 8)] {
            let plan = Plan::new(&NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &shape)).unwrap();
            let chosen = Backward::candidates(&plan, &profile)[0];
            assert!(matches!(chosen, Backward::Rows { walkers, .. } if walkers == expected), "{shape:?}: {chosen}");
        }
    }

    /// So many rows that walkers would not come to an end on some drivers have more walkers.
    #[test]
    fn walkers_of_many_rows_are_many() {
        let profile = DeviceProfile::new(&DeviceFacts { kind: DeviceKind::Software, ..DeviceFacts::DEFAULT });
        let plan = Plan::new(&NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &[1 << 20, 64])).unwrap();
        let Backward::Fused { team, walkers } = Backward::candidates(&plan, &profile)[0] else { panic!("fused") };
        assert!((1 << 20) / u64::from(walkers) * team.held_turns() <= 65_535, "{walkers} of {team}");
    }
}
