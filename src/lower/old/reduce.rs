//! How gradient sums are reduced: who visits which elements, and in how many slices.

use std::fmt;

use crate::schedule::{DeviceProfile, Walk, even_quads, few_quads};
use crate::moments::RECORD;
use crate::partition::Partition;
use crate::walk::row_quads;
use crate::walk::team::Team;

/// Longest run of elements that one invocation accumulates: keeps the chain of roundings short.
const MAX_CHAIN: u64 = 4096;

/// Most merges of an invocation that reduces columns, one after the other.
const MAX_LINKS: u64 = 64;

/// Most records that are merged into one: as many as keep the chains of a merging workgroup short.
const MAX_MERGED: u64 = 1 << 16;

/// Most turns of an invocation's loops over what it reduces.
const MAX_LOOP: u64 = 1 << 14;

/// Fewest elements of a slice for each invocation: below that, partial records cost more than they win.
const MIN_SLICE_PER_LANE: u64 = 16;

/// Fewest rows of a slice of columns, for each invocation: every column of a slice leaves a record.
const MIN_SLICE_ROWS: u64 = 64;

/// Longest segment, in quads, of which an invocation has one to itself.
const SHORT_SEGMENT: u64 = 512;

/// Shortest run of memory (in elements) that is walked as a row where segments interleave.
const MIN_INTERLEAVED_ROW: u64 = 32;

/// How statistics are reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reduce {
    /// How elements are visited.
    pub walk: Walk,
    /// Who visits them: lanes share a slice of a segment.
    pub team: Team,
    /// Slices of a segment, reduced apart and then merged.
    pub slices: u32,
}

impl fmt::Display for Reduce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let walk = match self.walk {
            Walk::Rows => "rows",
            Walk::Columns => "columns",
        };
        write!(f, "{walk} {}", self.team)?;
        if self.slices > 1 { write!(f, " in {} slices", self.slices) } else { Ok(()) }
    }
}

impl Reduce {
    pub(crate) fn choose(partition: &Partition, profile: &DeviceProfile) -> Self {
        let interleaved = !partition.is_contiguous() && partition.reduced_inner < MIN_INTERLEAVED_ROW;
        let columns = Self { walk: Walk::Columns, team: Self::columns_team(partition, profile), slices: 1 };
        let spread = columns.spread(partition, profile);
        if interleaved && spread.accepts(partition, profile) {
            return spread;
        }
        let run = if partition.is_contiguous() { partition.segment_len() } else { partition.reduced_inner };
        let quads = row_quads(partition.segment_len());
        let by_len = quads.div_ceil(profile.quads.into()).next_power_of_two();
        // neighbours read short segments whole, where there are enough of them
        let to_fill = profile.invocations().div_ceil(partition.segments().max(1)).next_power_of_two();
        let least = if quads <= SHORT_SEGMENT { to_fill.max(profile.min_lanes.into()) } else { by_len };
        let lanes = by_len.min(least).clamp(1, profile.workgroup_size.into()) as u32;
        let (run_lanes, quads) = profile.walk(row_quads(run), lanes, profile.quads);
        Self { walk: Walk::Rows, team: profile.team(lanes, run_lanes, quads), slices: 1 }.spread(partition, profile)
    }

    fn columns_team(partition: &Partition, profile: &DeviceProfile) -> Team {
        let columns = (partition.kept_inner * partition.reduced_inner).div_ceil(4);
        let tile = columns.clamp(1, profile.workgroup_size.into()).next_power_of_two() as u32;
        let lanes = profile.workgroup_size / tile;
        let quads = few_quads(partition.reduced_outer, lanes, profile);
        // the lanes of a column are too far apart in the workgroup for a subgroup
        Team { cluster: 1, ..profile.team(lanes, 1, quads) }
    }

    /// Segments (columns: quads of columns) of a workgroup.
    fn tile(&self) -> u64 {
        match self.walk {
            Walk::Rows => self.team.groups(),
            Walk::Columns => 4 * self.team.groups() * u64::from(self.team.turns),
        }
    }

    /// Adds slices until the device is full or the chains are short, within the memory for partial records.
    fn spread(self, partition: &Partition, profile: &DeviceProfile) -> Self {
        let workgroups = self.records(partition).div_ceil(self.tile()).max(1);
        let len = self.walked_len(partition);
        let lanes = u64::from(self.team.lanes);
        let to_fill = u64::from(profile.workgroups) / workgroups;
        let (least, chain) = match self.walk {
            Walk::Rows => (MIN_SLICE_PER_LANE, MAX_CHAIN),
            Walk::Columns => (MIN_SLICE_ROWS, MAX_LINKS * u64::from(self.team.quads)),
        };
        let by_work = len / (lanes * least);
        let by_chain = len.div_ceil(lanes * chain);
        let by_memory = profile.max_partials() / (self.records(partition) * RECORD).max(1);
        let by_turns = self.turns(partition).div_ceil(MAX_LOOP);
        let slices = to_fill.min(by_work).max(by_chain).max(by_turns).min(by_memory).clamp(1, 65535);
        if self.walk == Walk::Rows {
            return Self { slices: slices as u32, ..self };
        }
        // no more slices than whole chunks fill
        let slices = len.div_ceil(self.slice_rows(len.div_ceil(slices).max(1))).max(1);
        let quads = if slices == 1 { even_quads(len.div_ceil(lanes), self.team.quads) } else { self.team.quads };
        Self { slices: slices as u32, team: Team { quads, ..self.team }, ..self }
    }

    /// Rows of a slice of at least `rows`: whole chunks.
    pub(crate) fn slice_rows(&self, rows: u64) -> u64 {
        rows.next_multiple_of(u64::from(self.team.lanes * self.team.quads))
    }

    /// Records that one slice of all segments leaves.
    pub(crate) fn records(&self, partition: &Partition) -> u64 {
        partition.segments() * self.fold(partition)
    }

    /// Neighbouring records that belong to one segment: columns are finer than segments.
    pub(crate) fn fold(&self, partition: &Partition) -> u64 {
        match self.walk {
            Walk::Rows => 1,
            Walk::Columns => partition.reduced_inner,
        }
    }

    /// Elements that slices divide.
    fn walked_len(&self, partition: &Partition) -> u64 {
        match self.walk {
            Walk::Rows => partition.segment_len(),
            Walk::Columns => partition.reduced_outer,
        }
    }

    /// Whether slices or columns have to be merged.
    pub(crate) fn merges(&self, partition: &Partition) -> bool {
        self.slices > 1 || self.fold(partition) > 1
    }

    /// Bytes of partial records.
    pub(crate) fn partials_size(&self, partition: &Partition) -> u64 {
        if self.merges(partition) { u64::from(self.slices) * self.records(partition) * RECORD } else { 0 }
    }

    /// Turns that an invocation's loops take together, over all slices.
    fn turns(&self, partition: &Partition) -> u64 {
        let Team { lanes, run_lanes, quads, .. } = self.team;
        let (lanes, run_lanes, quads) = (u64::from(lanes), u64::from(run_lanes.min(lanes)), u64::from(quads));
        match self.walk {
            Walk::Rows => {
                let turns = row_quads(partition.reduced_inner).div_ceil(quads * run_lanes);
                partition.reduced_outer.div_ceil(lanes / run_lanes) * (turns + 1)
            }
            Walk::Columns => {
                let tiles = u64::from(self.team.turns);
                partition.reduced_outer.div_ceil(lanes * quads) * (tiles + 1)
            }
        }
    }

    pub(crate) fn accepts(&self, partition: &Partition, profile: &DeviceProfile) -> bool {
        if !self.team.is_valid() || self.slices == 0 {
            return false;
        }
        let walks = self.walk == Walk::Rows || partition.reduced_outer > 1;
        let merges = self.merges(partition);
        let partials = self.records(partition).saturating_mul(u64::from(self.slices) * RECORD);
        let merged = self.fold(partition).saturating_mul(self.slices.into());
        let fits = !merges || partials <= profile.max_partials() && merged <= MAX_MERGED;
        let exchanges = self.team.cluster <= profile.subgroup
            && (self.walk == Walk::Rows || self.team.cluster == 1)
            && self.team.workgroup_size <= profile.max_workgroup();
        let turns = self.turns(partition) <= MAX_LOOP * u64::from(self.slices);
        // merges of columns are one chain, whose rounding grows with its length
        let links =
            partition.reduced_outer.div_ceil(u64::from(self.slices) * u64::from(self.team.lanes * self.team.quads));
        let turns = turns && (self.walk == Walk::Rows || links <= 4 * MAX_LINKS);
        walks && fits && exchanges && turns
    }
}

/// Bytes of partial records of gradient sums over these segments.
pub(crate) fn partials_size(partition: &Partition, profile: &DeviceProfile) -> u64 {
    Reduce::choose(partition, profile).partials_size(partition)
}
