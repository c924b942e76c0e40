//! A partition's shape and a device profile to a schedule. Pure: no device, no kind of norm.

mod backward;
mod forward;
mod profile;
mod map;
mod reduce;

pub use backward::{Backward, Held};
pub(crate) use map::{Grid, MapColumns, MapRows};
pub(crate) use reduce::{fold_vectors, run_vectors};
pub(crate) use forward::tile_vectors;
pub use forward::{Rows as HeldRows, Tiles as HeldTiles};
pub use reduce::Reduce;

use std::fmt;

use crate::facts::{DeviceFacts, DeviceKind};
use crate::partition::Partition;
use crate::plan::Reduction;
use crate::walk::row_quads;
use crate::walk::rows::Items;
use crate::walk::team::{MAX_QUADS, Team};

pub use profile::ProfileMismatch;

/// How much more a walker of a map has to do where it holds what belongs to columns.
const HELD_WORK: u64 = 4;

/// Most quads that a map loads at once where it holds nothing to use again: more was slower on a processor, presumably for the size of
/// its code.
const ROW_QUADS: u32 = 8;
/// The same for runs that start inside quads, whose code is longer.
const LED_QUADS: u32 = 4;

/// Most quads at once in schedules that are tried beside the chosen one: more takes long to compile, and differs in nothing else.
const FORCED_QUADS: u32 = 4;

/// Most rows of a walker that holds what belongs to columns: it returns to each row's pages for its next columns.
const MAX_HELD_ROWS: u64 = 128;

/// Most bytes of partial records.
const MAX_PARTIALS: u64 = 16 << 20;

/// Most turns of a loop over what an invocation holds: lavapipe unrolls no more, and what is not unrolled is not in registers.
const UNROLLED: u32 = 32;

/// Compute units of a device that is not known better: an H100's or H200's. wgpu does not tell.
const UNITS: u32 = 132;

/// Lanes that a compute unit holds: NVIDIA's, AMD's; many others have fewer, and then more units' worth of lanes wait their turn.
const UNIT_LANES: u32 = 2048;

/// Registers of a compute unit: 256 KB on NVIDIA, and no less elsewhere but on small devices.
const UNIT_REGISTERS: u32 = 64 << 10;

/// Registers of a lane beside the vectors that it holds, as compilers were seen to use them.
const SPARE_REGISTERS: u32 = 40;

/// What schedules depend on of a device.
#[cfg_attr(feature = "profile", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceProfile {
    /// Hardware, which is kept busy, or a software driver, which has to compile quickly.
    pub kind: DeviceKind,
    /// Compute units.
    pub units: u32,
    /// Lanes that a unit holds at a time.
    pub unit_lanes: u32,
    /// Registers of a unit, of four bytes.
    pub unit_registers: u32,
    /// Invocations of a workgroup, where nothing asks for others.
    pub workgroup_size: u32,
    /// Most invocations that share a segment.
    pub max_lanes: u32,
    /// Fewest invocations that share a run of memory, where it is long enough: neighbours read neighbours.
    pub min_lanes: u32,
    /// Invocations that exchange without workgroup memory: a size that no subgroup undercuts; 1 without subgroup operations.
    pub subgroup: u32,
    /// Most vectors of four elements that a lane holds of a segment, forward.
    pub vectors: u32,
    /// Most vectors of each of two tensors that it holds, backward.
    pub vectors_backward: u32,
    /// Most quads of four elements that an invocation holds of a segment.
    pub held_quads: u32,
    /// Most quads that it holds of two tensors, parameters and sums.
    pub held_quads_backward: u32,
    /// Quads that an invocation loads at once in other kernels.
    pub quads: u32,
    /// Fewest quads that an invocation of a map visits, where the tensor is large enough.
    pub map_quads: u32,
    /// Workgroups that fill the device.
    pub workgroups: u32,
    /// Most bytes of a binding, wherever it starts.
    #[cfg_attr(feature = "profile", serde(skip))]
    pub max_binding: u64,
}

impl DeviceProfile {
    /// Defaults by kind of device, within its limits.
    pub fn new(facts: &DeviceFacts) -> Self {
        let largest = facts.largest_workgroup();
        let software = facts.kind == DeviceKind::Software;
        Self {
            kind: facts.kind,
            units: if software { 8 } else { UNITS },
            unit_lanes: if software { 256 } else { UNIT_LANES },
            unit_registers: UNIT_REGISTERS,
            workgroup_size: if software { 64 } else { 256 }.min(largest),
            max_lanes: if software { 256 } else { 1024 }.min(largest),
            // small subgroups are Intel's, whose compiler spills more than four
            vectors: if software || facts.min_subgroup >= 32 { 8 } else { 4 },
            vectors_backward: if software || facts.min_subgroup >= 32 { 4 } else { 2 },
            min_lanes: 8,
            subgroup: facts.min_subgroup.min(largest),
            held_quads: 8,
            held_quads_backward: 4,
            quads: 4,
            map_quads: 8,
            workgroups: if software { 32 } else { 2048 },
            max_binding: facts.max_range(),
        }
    }

    /// Lanes that fill the device.
    pub(crate) fn lanes(&self) -> u64 {
        u64::from(self.units) * u64::from(self.unit_lanes)
    }

    /// Whether a unit has the registers for a workgroup of lanes that hold so many vectors each, and what they compute with.
    pub(crate) fn has_registers(&self, workgroup: u32, vectors: u32) -> bool {
        u64::from(workgroup) * u64::from(4 * vectors + SPARE_REGISTERS) <= self.unit_registers.into()
    }

    /// Partial records are bound whole.
    pub(crate) fn max_partials(&self) -> u64 {
        MAX_PARTIALS.min(self.max_binding)
    }

    /// A team of so many lanes.
    pub(crate) fn team(&self, lanes: u32, run_lanes: u32, quads: u32) -> Team {
        let workgroup_size = self.workgroup_size.max(lanes);
        Team { workgroup_size, lanes, run_lanes, quads, turns: 1, cluster: self.subgroup.min(lanes) }
    }

    /// A team that merges so many records a segment.
    pub(crate) fn merge_team(&self, records: u64) -> Team {
        let lanes = records.clamp(1, self.workgroup_size.into()).next_power_of_two() as u32;
        self.team(lanes, 1, 1)
    }

    /// Invocations that fill the device.
    pub(crate) fn invocations(&self) -> u64 {
        u64::from(self.workgroups) * u64::from(self.workgroup_size)
    }

    pub(crate) fn max_workgroup(&self) -> u32 {
        self.workgroup_size.max(self.max_lanes)
    }

    /// A team whose lanes walk runs of `quads` quads, with few of them idle; the more lanes the better.
    pub(crate) fn walk(&self, quads: u64, max_lanes: u32, max_quads: u32) -> (u32, u32) {
        let slots = |lanes: u64| {
            let each = even_quads(quads.div_ceil(lanes), max_quads);
            (lanes * quads.div_ceil(lanes).next_multiple_of(each.into()), each)
        };
        let fewest = u64::from(self.min_lanes.min(max_lanes));
        let all: Vec<u64> = (0..=max_lanes.ilog2()).map(|k| 1 << k).filter(|&lanes| lanes >= fewest).collect();
        let least = all.iter().map(|&lanes| slots(lanes).0).min().unwrap_or(1);
        let lanes = all.into_iter().rev().find(|&lanes| slots(lanes).0 * 15 <= least * 16).unwrap_or(1);
        (lanes as u32, slots(lanes).1)
    }

    /// The team of a map over rows of `width` elements, which holds what belongs to columns or looks up what belongs to a row.
    pub(crate) fn map_team(&self, width: u64, max_quads: u32, holds: bool) -> Team {
        let most = match (holds, width.is_multiple_of(4)) {
            (true, true) => max_quads,
            (true, false) => max_quads.min(LED_QUADS.max(max_quads / 2)),
            (false, true) => max_quads.min(ROW_QUADS),
            (false, false) => max_quads.min(LED_QUADS),
        };
        let (lanes, quads) = self.walk(row_quads(width), self.workgroup_size, most);
        Team { cluster: 1, ..self.team(lanes, lanes, quads) }
    }

    /// Walkers of `rows` rows in `parts` parts of `turns` tiles: few enough for each to have work, enough to fill the device.
    /// Looking up what is held takes as long as mapping some rows.
    pub(crate) fn map_walkers(&self, rows: u64, turns: u64, parts: u64, team: &Team, holds: bool) -> u64 {
        let least = u64::from(self.map_quads) * if holds { HELD_WORK } else { 1 };
        let by_work = (rows * turns * u64::from(team.quads)).div_ceil(least);
        let to_fill = (u64::from(self.workgroups) * team.groups()).div_ceil(parts);
        let by_pages = if holds { rows.div_ceil(MAX_HELD_ROWS) } else { 1 };
        by_work.min(to_fill.max(by_work / 16)).max(by_pages).clamp(1, rows.max(1))
    }
}

/// How the elements of a segment are visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Walk {
    /// Along memory: neighbouring invocations read neighbours of one segment.
    Rows,
    /// Across segments: neighbouring invocations read neighbouring segments.
    Columns,
}

/// How a norm is computed: which kernels, and how work is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Schedule {
    /// One dispatch; a group of lanes holds a segment that is a row of memory.
    Rows(HeldRows),
    /// One dispatch; the lanes of a workgroup hold segments that are columns of rows.
    Tiles(HeldTiles),
    /// Reduce, merge where there are slices, apply.
    Split(Reduce),
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(rows) => rows.fmt(f),
            Self::Tiles(tiles) => tiles.fmt(f),
            Self::Split(reduce) => reduce.fmt(f),
        }
    }
}

impl Schedule {
    /// The schedule for a reduction followed by a map over the same tensor.
    pub(crate) fn choose(reduction: &Reduction, affine: Option<&Partition>, profile: &DeviceProfile) -> Self {
        let partition = &reduction.partition;
        let rows = HeldRows::choose(partition.segment_len(), profile);
        let rows = rows.filter(|rows| rows.accepts(partition, affine, profile)).map(Self::Rows);
        let tiles = || HeldTiles::choose(partition, affine, profile).map(Self::Tiles);
        rows.or_else(tiles).unwrap_or_else(|| Self::Split(Reduce::choose(partition, profile)))
    }

    /// Every schedule worth comparing for this reduction: the chosen one first, then the others that accept it.
    pub(crate) fn candidates(reduction: &Reduction, affine: Option<&Partition>, profile: &DeviceProfile) -> Vec<Self> {
        let partition = &reduction.partition;
        let mut all = vec![Self::choose(reduction, affine, profile)];
        all.extend(held_candidates(partition, profile));
        for team in teams(profile) {
            let quads = few_quads(row_quads(partition.segment_len()), team.lanes, profile).min(FORCED_QUADS);
            let team = Team { quads, ..team };
        }
        all.extend(Reduce::candidates(partition, profile).into_iter().map(Self::Split));
        let mut unique = Vec::new();
        for schedule in all {
            if !unique.contains(&schedule) && schedule.accepts(reduction, affine, profile) {
                unique.push(schedule);
            }
        }
        unique
    }

    /// Whether this schedule can compute the reduction.
    pub(crate) fn accepts(&self, reduction: &Reduction, affine: Option<&Partition>, profile: &DeviceProfile) -> bool {
        match self {
            Self::Rows(rows) => rows.accepts(&reduction.partition, affine, profile),
            Self::Tiles(tiles) => tiles.accepts(&reduction.partition, affine, profile),
            Self::Split(reduce) => reduce.accepts(&reduction.partition, profile),
        }
    }
}

/// Groups of lanes to try: few and many, through subgroups and through workgroup memory.
fn held_candidates(partition: &Partition, profile: &DeviceProfile) -> Vec<Schedule> {
    let mut all = Vec::new();
    let (vectors, rows) = (partition.segment_len().div_ceil(4).max(1), partition.reduced_outer.max(1));
    let held = |all: u64, lanes: u32| {
        let each = all.div_ceil(lanes.into()).next_power_of_two();
        u32::try_from(each).ok().filter(|&each| each <= profile.vectors)
    };
    for lanes in [1, 4, profile.subgroup, 64, 256, profile.max_lanes] {
        for cluster in [profile.subgroup, 1] {
            let lanes = lanes.min(profile.max_lanes);
            let rows = held(vectors, lanes).map(|vectors| HeldRows::with_lanes(lanes, vectors, cluster, profile));
            all.extend(rows.map(Schedule::Rows));
        }
    }
    for (lanes, lines) in [(1, 64), (4, 16), (16, 4), (16, 16), (2, 256)] {
        all.extend(held(rows, lines).map(|vectors| Schedule::Tiles(HeldTiles { lanes, lines, vectors })));
    }
    all
}

/// Teams to try: few lanes and many, through subgroups and through workgroup memory.
fn teams(profile: &DeviceProfile) -> Vec<Team> {
    let size = profile.workgroup_size;
    let all = [1, profile.subgroup, size, profile.max_lanes.min(64), profile.max_lanes];
    let team = |lanes: u32| profile.team(lanes, lanes, profile.quads);
    all.into_iter().flat_map(|lanes| [team(lanes), Team { cluster: 1, ..team(lanes) }]).collect()
}

/// Quads for `lanes` invocations that share `all` of them: no more than there are, of few different numbers.
pub(crate) fn few_quads(all: u64, lanes: u32, profile: &DeviceProfile) -> u32 {
    all.div_ceil(lanes.into()).clamp(1, profile.quads.into()).next_power_of_two().min(profile.quads.into()) as u32
}

/// Quads for chunks of `all` of them: at most `most`, at least half as many, and such that all chunks are full or nearly so.
pub(crate) fn even_quads(all: u64, most: u32) -> u32 {
    if all <= most.into() {
        return all.max(1) as u32;
    }
    let padded = |quads: &u32| all.next_multiple_of(u64::from(*quads)) - all;
    (most.div_ceil(2).max(1)..=most).rev().min_by_key(padded).unwrap_or(1)
}

/// An item whole in the registers of a team, of no more than `max_quads` quads each; if need be without room for a lead.
fn fused_team(items: &Items, profile: &DeviceProfile, max_quads: u32) -> Option<Team> {
    let most = if items.across { profile.workgroup_size } else { profile.max_lanes };
    let held = |lanes: u32, run: u64| {
        holding(items, run, profile.team(lanes, lanes, 1))
            .filter(|team| team.held() <= u64::from(max_quads) && accepts_fused(items, team, profile))
    };
    let fewest = if items.strided { 1 } else { profile.min_lanes.min(most) };
    let all = std::iter::successors(Some(fewest), |&lanes| (lanes < most).then(|| (2 * lanes).min(most)));
    [row_quads(items.width), items.run_quads()]
        .into_iter()
        .find_map(|run| all.clone().find_map(|lanes| held(lanes, run)))
}

/// The team with as many quads as hold an item with runs of `run` quads.
fn holding(items: &Items, run: u64, team: Team) -> Option<Team> {
    let (run_lanes, quads) = if items.strided {
        let run_lanes = u32::try_from(run).ok().filter(|&n| n <= team.lanes)?;
        (run_lanes, items.rows.div_ceil((team.lanes / run_lanes).into()))
    } else {
        (team.lanes, run.div_ceil(team.lanes.into()))
    };
    // lanes of columns are too far apart in the workgroup for a subgroup
    let cluster = if items.across { 1 } else { team.cluster };
    let turns = quads.div_ceil(UNROLLED.into()).max(1);
    let quads = quads.div_ceil(turns).max(1);
    let turns = u32::try_from(turns).ok()?;
    let team = Team { run_lanes, cluster, quads: quads as u32, turns, ..team };
    team.is_valid().then_some(team)
}

fn accepts_fused(items: &Items, team: &Team, profile: &DeviceProfile) -> bool {
    accepts_items(items, team, profile) && items.have_room(team) && team.held() <= MAX_QUADS.into()
}

fn accepts_items(items: &Items, team: &Team, profile: &DeviceProfile) -> bool {
    let exchanges = team.cluster <= profile.subgroup && team.workgroup_size <= profile.max_workgroup();
    let reaches = !items.across || team.cluster == 1;
    team.is_valid() && exchanges && reaches && 4 * items.block() <= profile.max_binding
}

impl DeviceProfile {
    /// Quads of maps that hold sums beside parameters.
    pub(crate) fn backward_quads(&self) -> u32 {
        self.quads.div_ceil(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_even() {
        let cases =
            [(0, 16, 1), (1, 16, 1), (13, 8, 7), (16, 16, 16), (49, 8, 7), (196, 16, 14), (1023, 1, 1), (257, 32, 26)];
        for (all, most, expected) in cases {
            assert_eq!(even_quads(all, most), expected, "{all} by at most {most}");
        }
    }

    #[test]
    fn segments_without_rows_have_a_schedule() {
        let profile = DeviceProfile::new(&DeviceFacts::DEFAULT);
        for dims in [[1, 0, 5, 1], [0, 3, 5, 1], [2, 0, 5, 0], [1, 3, 5, 0]] {
            let partition = Partition::new(dims[0], dims[1], dims[2], dims[3]);
            assert_eq!(Reduce::choose(&partition, &profile).slices, 1, "{dims:?}");
        }
    }
}
