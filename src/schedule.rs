//! A partition's shape and a device profile to a schedule. Pure: no device, no kind of norm.

mod backward;
mod reduce;

pub use backward::Backward;
pub use reduce::Reduce;

use std::fmt;

use crate::dispatch::geometry::{Items, MIN_HELD};
use crate::kernel::{Found, MAX_QUADS, MAX_TURNS, Team};
use crate::partition::Partition;
use crate::plan::Reduction;
use crate::profile;

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

/// Most turns of all loops of an invocation together, nested ones multiplied: lavapipe leaves them after 65535, wherever they are, and
/// counts the way out of each.
const MAX_LOOPS: u64 = 50_000;

/// Most bytes of partial records.
const MAX_PARTIALS: u64 = 16 << 20;

/// Most turns of a loop over what an invocation holds: lavapipe unrolls no more, and what is not unrolled is not in registers.
const UNROLLED: u32 = 32;

/// Largest workgroup that is made for the sake of neighbours alone: every device takes it.
const MAX_JOINED: u32 = 64;

/// Elements that half of a second-level cache keeps.
const CACHED: u32 = 1 << 17;

/// Most segments whose second walks a team takes together.
const MAX_SIDE_BY_SIDE: u64 = 8;

/// Fewest, below which looking parameters up for each costs what the cache saves.
const MIN_SIDE_BY_SIDE: u64 = 4;

/// Shortest runs with parameters of their own that are walked twice.
const MIN_WALKED_RUN: u64 = 1024;

/// Shortest runs of memory, in elements, that bring columns into a cache, unless rows are shorter.
const MIN_TOUCHED: u64 = 256;

/// Bytes of a record.
pub(crate) const RECORD: u64 = 16;

/// What schedules depend on of a device.
#[cfg_attr(feature = "profile", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceProfile {
    /// Invocations of a workgroup.
    pub workgroup_size: u32,
    /// Most invocations that share a segment.
    pub max_lanes: u32,
    /// Fewest invocations that share a run of memory, where it is long enough: neighbours read neighbours.
    pub min_lanes: u32,
    /// Invocations that exchange without workgroup memory: a size that no subgroup undercuts; 1 without subgroup operations.
    pub subgroup: u32,
    /// Most quads of four elements that an invocation holds of a segment.
    pub held_quads: u32,
    /// Most quads that it holds of two tensors, parameters and sums.
    pub held_quads_backward: u32,
    /// Quads that an invocation loads at once in other kernels.
    pub quads: u32,
    /// Fewest quads that an invocation of a map visits, where the tensor is large enough.
    pub map_quads: u32,
    /// Elements that a workgroup finds again in its cache, after it has read them; 0: nothing is read again. Rows with parameters of
    /// columns are walked twice where two of them are found: sharing parameters pays beyond that too.
    pub cached: u32,
    /// Workgroups that fill the device.
    pub workgroups: u32,
    /// Most bytes of a binding, wherever it starts.
    #[cfg_attr(feature = "profile", serde(skip))]
    pub max_binding: u64,
}

impl DeviceProfile {
    /// Defaults by kind of device, within its limits; subgroup operations where the device has them enabled.
    pub fn new(info: &wgpu::AdapterInfo, limits: &wgpu::Limits, features: wgpu::Features) -> Self {
        let largest = profile::largest_workgroup(limits);
        let subgroup = profile::largest_subgroup(info, features);
        let slack = u64::from(limits.min_storage_buffer_offset_alignment);
        let max_binding = limits.max_storage_buffer_binding_size.saturating_sub(slack);
        let profile = if info.device_type == wgpu::DeviceType::Cpu {
            // a processor pays dearly for barriers between subgroups: one subgroup is a workgroup there
            let size = 1 << info.subgroup_max_size.clamp(4, 16).ilog2();
            Self {
                workgroup_size: size,
                max_lanes: size,
                min_lanes: 1,
                subgroup,
                held_quads: 32,
                held_quads_backward: 32,
                quads: 16,
                map_quads: 128,
                cached: CACHED,
                workgroups: 32,
                max_binding,
            }
        } else {
            Self {
                workgroup_size: 256,
                max_lanes: 1024,
                min_lanes: 8,
                subgroup,
                held_quads: 8,
                held_quads_backward: 4,
                quads: 4,
                map_quads: 8,
                cached: 0,
                workgroups: 2048,
                max_binding,
            }
        };
        Self {
            workgroup_size: profile.workgroup_size.min(largest),
            max_lanes: profile.max_lanes.min(largest),
            subgroup: subgroup.min(largest),
            ..profile
        }
    }

    /// Partial records are bound whole.
    fn max_partials(&self) -> u64 {
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
    fn invocations(&self) -> u64 {
        u64::from(self.workgroups) * u64::from(self.workgroup_size)
    }

    fn max_workgroup(&self) -> u32 {
        self.workgroup_size.max(self.max_lanes)
    }

    /// A team whose lanes walk runs of `quads` quads, with few of them idle; the more lanes the better.
    fn walk(&self, quads: u64, max_lanes: u32, max_quads: u32) -> (u32, u32) {
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

/// Quads of a row, one that starts inside a quad included.
pub(crate) fn row_quads(width: u64) -> u64 {
    if width.is_multiple_of(4) { width / 4 } else { (width + 6) / 4 }
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
    /// One dispatch; a team's lanes hold a segment whole.
    Fused(Team),
    /// One dispatch; a team's lanes walk a segment twice, the second time from a cache.
    Cached(Team),
    /// Reduce, merge where there are slices, apply.
    Split(Reduce),
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fused(team) => write!(f, "fused {team}"),
            Self::Cached(team) => write!(f, "cached {team}"),
            Self::Split(reduce) => reduce.fmt(f),
        }
    }
}

impl Schedule {
    /// The schedule for a reduction followed by a map over the same tensor.
    pub(crate) fn choose(reduction: &Reduction, affine: Option<&Partition>, profile: &DeviceProfile) -> Self {
        let partition = &reduction.partition;
        // a processor would rather read twice than look parameters up for every element, or read rows of memory in short pieces
        let cheap = |items: &Items| profile.min_lanes > 1 || finds_cheaply(items, partition);
        let items = Items::new(partition, affine).filter(cheap);
        let held = items.filter(|items| profile.min_lanes > 1 || !items.strided);
        let fused = held.and_then(|items| fused_team(&items, profile, profile.held_quads)).map(Self::Fused);
        let walked = Items::walked(partition, affine).filter(cheap);
        let cached = || walked.and_then(|items| cached_team(&items, partition, profile)).map(Self::Cached);
        fused.or_else(cached).unwrap_or_else(|| Self::Split(Reduce::choose(partition, profile)))
    }

    /// Every schedule worth comparing for this reduction: the chosen one first, then the others that accept it.
    pub(crate) fn candidates(reduction: &Reduction, affine: Option<&Partition>, profile: &DeviceProfile) -> Vec<Self> {
        let partition = &reduction.partition;
        let mut all = vec![Self::choose(reduction, affine, profile)];
        let items = Items::new(partition, affine);
        let walked = Items::walked(partition, affine);
        for team in teams(profile) {
            let quads = few_quads(row_quads(partition.segment_len()), team.lanes, profile).min(FORCED_QUADS);
            let team = Team { quads, ..team };
            let fused = items.as_ref().and_then(|items| holding(items, row_quads(items.width), team));
            // what holds more takes long to compile, and is better shared by more lanes; turns are worth a try where they are short
            let fused = fused.filter(|team| team.held() <= u64::from(2 * FORCED_QUADS));
            let halves = fused.filter(|team| (2..=4).contains(&team.quads));
            all.extend(fused.map(Self::Fused));
            all.extend(halves.map(|team| Self::Fused(Team { quads: team.quads.div_ceil(2), turns: 2, ..team })));
            let twice = |turns: u32| walked.as_ref().and_then(|items| walking(items, Team { turns, ..team }));
            let twice =
                twice(2).filter(|team| walked.is_some_and(|items| accepts_cached(&items, team, profile))).or(twice(1));
            all.extend(twice.map(Self::Cached));
            for (walk, slices, run_lanes) in
                [(Walk::Rows, 1, team.lanes), (Walk::Rows, 3, 1), (Walk::Columns, 1, 1), (Walk::Columns, 3, 1)]
            {
                let cluster = if walk == Walk::Columns { 1 } else { team.cluster };
                all.push(Self::Split(Reduce { walk, team: Team { run_lanes, cluster, ..team }, slices }));
            }
        }
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
            Self::Fused(team) => {
                Items::new(&reduction.partition, affine).is_some_and(|items| accepts_fused(&items, team, profile))
            }
            Self::Cached(team) => {
                Items::walked(&reduction.partition, affine).is_some_and(|items| accepts_cached(&items, team, profile))
            }
            Self::Split(reduce) => reduce.accepts(&reduction.partition, profile),
        }
    }
}

/// Whether what items need of parameters is looked up for each, or once for many.
fn finds_cheaply(items: &Items, statistics: &Partition) -> bool {
    let Items { lookup, period, .. } = items;
    match lookup.affine {
        Found::ByRow => true,
        Found::Held => lookup.affine_along || *period == 1 || statistics.segments() >= MIN_HELD * period,
        Found::ByElement => false,
    }
}

/// Teams to try: few lanes and many, through subgroups and through workgroup memory.
fn teams(profile: &DeviceProfile) -> Vec<Team> {
    let size = profile.workgroup_size;
    let all = [1, profile.subgroup, size, profile.max_lanes.min(64), profile.max_lanes];
    let team = |lanes: u32| profile.team(lanes, lanes, profile.quads);
    all.into_iter().flat_map(|lanes| [team(lanes), Team { cluster: 1, ..team(lanes) }]).collect()
}

/// Quads for `lanes` invocations that share `all` of them: no more than there are, of few different numbers.
fn few_quads(all: u64, lanes: u32, profile: &DeviceProfile) -> u32 {
    all.div_ceil(lanes.into()).clamp(1, profile.quads.into()).next_power_of_two().min(profile.quads.into()) as u32
}

/// Quads for chunks of `all` of them: at most `most`, at least half as many, and such that all chunks are full or nearly so.
fn even_quads(all: u64, most: u32) -> u32 {
    if all <= most.into() {
        return all.max(1) as u32;
    }
    let padded = |quads: &u32| all.next_multiple_of(u64::from(*quads)) - all;
    (most.div_ceil(2).max(1)..=most).rev().min_by_key(padded).unwrap_or(1)
}

/// An item whole in the registers of a team, of no more than `max_quads` quads each; if need be without room for a lead.
fn fused_team(items: &Items, profile: &DeviceProfile, max_quads: u32) -> Option<Team> {
    let most = if items.across { profile.workgroup_size } else { profile.max_lanes };
    // a lead may take one more, and that may make two turns
    let slack = if items.joins { 2 } else { 0 };
    let held = |lanes: u32, run: u64| {
        holding(items, run, profile.team(lanes, lanes, 1))
            .filter(|team| team.held() <= u64::from(max_quads) + slack && accepts_fused(items, team, profile))
    };
    // beyond one lane a processor takes the whole subgroup
    let more = |lanes: u32| if lanes == 1 && !items.strided { profile.subgroup.max(2) } else { 2 * lanes };
    let fewest = if items.strided { 1 } else { profile.min_lanes.min(most) };
    let all = std::iter::successors(Some(fewest), |&lanes| (lanes < most).then(|| more(lanes).min(most)));
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
    // four neighbours that start inside quads write those that they share once
    let joined = ROWS_ALIKE as u32 * team.lanes;
    let joins = items.joins && joined <= MAX_JOINED;
    let workgroup_size = if joins { team.workgroup_size.max(joined) } else { team.workgroup_size };
    let turns = u32::try_from(turns).ok()?;
    let team = Team { workgroup_size, run_lanes, cluster, quads: quads as u32, turns, ..team };
    team.is_valid().then_some(team)
}

fn accepts_fused(items: &Items, team: &Team, profile: &DeviceProfile) -> bool {
    accepts_items(items, team, profile) && items.have_room(team) && team.held() <= MAX_QUADS.into()
}

fn accepts_items(items: &Items, team: &Team, profile: &DeviceProfile) -> bool {
    let exchanges = team.cluster <= profile.subgroup && team.workgroup_size <= profile.max_workgroup().max(MAX_JOINED);
    let reaches = !items.across || team.cluster == 1;
    team.is_valid() && exchanges && reaches && 4 * items.block() <= profile.max_binding
}

/// The team that walks an item whole, run by run.
fn walking(items: &Items, team: Team) -> Option<Team> {
    let run_lanes = if items.strided { u32::try_from(items.run_quads()).ok()? } else { team.lanes };
    let cluster = if items.across { 1 } else { team.cluster };
    let team = Team { run_lanes, cluster, ..team };
    team.is_valid().then_some(team)
}

/// A team that walks items twice, the second time in a device's cache, where there are enough of them for all its workgroups.
fn cached_team(items: &Items, partition: &Partition, profile: &DeviceProfile) -> Option<Team> {
    let lanes = if items.strided { items.run_quads() } else { profile.workgroup_size.into() };
    let lanes =
        u32::try_from(lanes).ok().filter(|&lanes| lanes.is_power_of_two() && lanes <= profile.workgroup_size)?;
    let team = walking(items, profile.team(lanes, lanes, 1))?;
    let run = items.run();
    let leads = !items.strided && !run.is_multiple_of(4);
    let quads = match items.walked_by(&team).chunks {
        all if leads => all.min(profile.quads.min(LED_QUADS).into()) as u32,
        all => even_quads(all, profile.quads.min(ROW_QUADS)),
    };
    let taken = items.len().max(1) * team.groups();
    let by_cache = u64::from(profile.cached) / taken;
    let (most, least) = if items.strided {
        // beside the result; long runs of memory
        let row = items.parts / team.groups();
        (row.min(by_cache / 2), row.min(MIN_TOUCHED.div_ceil(items.width * team.groups())))
    } else if items.lookup.affine == Found::Held {
        let most = if by_cache >= 2 && items.lookup.affine_along { MAX_SIDE_BY_SIDE } else { 0 };
        (most, MIN_SIDE_BY_SIDE)
    } else {
        (if leads || run < MIN_WALKED_RUN { 0 } else { by_cache.min(1) }, 1)
    };
    let by_work = 2 * partition.elements() / taken / u64::from(profile.workgroups);
    let turns = most.min(by_work).min(MAX_TURNS.into());
    let team = Team { quads, turns: turns as u32, ..team };
    (turns >= least.max(1) && accepts_cached(items, &team, profile)).then_some(team)
}

fn accepts_cached(items: &Items, team: &Team, profile: &DeviceProfile) -> bool {
    let run_lanes = if items.strided { items.run_quads() } else { team.lanes.into() };
    // what is looked up for every element differs from item to item
    let shared = items.lookup.affine != Found::ByElement || team.turns == 1;
    let accepts = accepts_items(items, team, profile) && u64::from(team.run_lanes) == run_lanes && shared;
    accepts && items.walked_by(team).turns <= MAX_LOOPS
}

/// Fewest walkers of so many items, of which each takes up to `turns` turns of loops.
pub(crate) fn fewest_walkers(items: u64, turns: u64) -> u64 {
    items.div_ceil((MAX_LOOPS / turns.max(1)).max(1))
}

/// Of rows whose length is no multiple of four every fourth starts at the same place in a quad.
pub(crate) const ROWS_ALIKE: u64 = 4;

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

    fn processor() -> DeviceProfile {
        let mut info = wgpu::AdapterInfo::new(wgpu::DeviceType::Cpu, wgpu::Backend::Vulkan);
        (info.subgroup_min_size, info.subgroup_max_size) = (8, 8);
        DeviceProfile::new(&info, &wgpu::Limits::default(), wgpu::Features::SUBGROUP)
    }

    /// (statistics, affine) to the team that walks twice; `None`: registers hold it, or there are too few segments, or their rows are long.
    #[test]
    fn what_a_cache_keeps_is_walked_twice() {
        let by = Partition::new;
        let rows = |n, len| (by(1, 1, n, len), by(1, n, len, 1));
        let planes = |n, k, len| (by(1, 1, n * 32, k * len), by(1, n, 32 * k, len));
        let columns = |n, s, g, k| (by(n, s, g, k), by(1, n * s, g * k, 1));
        let cases = [
            (rows(1024, 4096), Some("8x1x8x8 subgroups")),
            (rows(64, 65536), Some("8x1x8x4 subgroups")),
            (rows(32, 65536), None),
            (rows(64, 1 << 20), None),
            (rows(4096, 1024), None),
            (planes(8, 1, 14400), Some("8x1x6 subgroups")),
            (planes(8, 2, 14400), Some("8x1x6 subgroups")),
            (planes(8, 2, 196), None),
            (columns(32, 49, 512, 1), Some("1x8x7x16")),
            (columns(32, 49, 32, 16), Some("4x2x7x16 subgroups")),
            (columns(5, 1024, 256, 1), None),
        ];
        for ((statistics, affine), expected) in cases {
            let items = Items::walked(&statistics, Some(&affine)).unwrap();
            let held = !items.strided && fused_team(&items, &processor(), 32).is_some();
            let team = cached_team(&items, &statistics, &processor()).filter(|_| !held);
            assert_eq!(team.map(|team| team.to_string()).as_deref(), expected, "{statistics} {affine}");
        }
    }

    #[test]
    fn teams_that_cannot_be_are_refused() {
        let statistics = Partition::new(4, 49, 64, 1);
        let items = Items::walked(&statistics, None).unwrap();
        let good = walking(&items, processor().team(1, 1, 4)).unwrap();
        assert!(accepts_cached(&items, &good, &processor()));
        for team in [
            Team { quads: 0, ..good },
            Team { lanes: 0, ..good },
            Team { turns: 0, ..good },
            Team { run_lanes: 2, ..good },
            Team { run_lanes: 0, ..good },
        ] {
            assert!(!accepts_cached(&items, &team, &processor()), "{team:?}");
            let reduce = Reduce { walk: Walk::Columns, team, slices: 1 };
            assert!(!reduce.accepts(&statistics, &processor()), "{team:?}");
        }
    }

    /// No walker takes more turns than its driver does.
    #[test]
    fn walkers_share_what_one_cannot_finish() {
        for (items, turns, expected) in [(0, 10, 0), (1, 50_000, 1), (5_000, 10, 1), (5_001, 10, 2), (7, 70_000, 7)] {
            assert_eq!(fewest_walkers(items, turns), expected, "{items} of {turns}");
        }
    }

    #[test]
    fn segments_without_rows_have_a_schedule() {
        let profile = processor();
        for dims in [[1, 0, 5, 1], [0, 3, 5, 1], [2, 0, 5, 0], [1, 3, 5, 0]] {
            let partition = Partition::new(dims[0], dims[1], dims[2], dims[3]);
            assert_eq!(Reduce::choose(&partition, &profile).slices, 1, "{dims:?}");
        }
    }
}
