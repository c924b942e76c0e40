//! How segments are reduced to records: who visits which elements, and in how many slices.

use std::fmt;

use super::{DeviceProfile, Walk};
use crate::kernel::Exchange;
use crate::moments::{Accumulator, RECORD};
use crate::partition::Partition;

/// Most slices of a segment: a map merges so many records of each of its segments itself.
pub(crate) const MAX_SLICES: u64 = 64;

/// Fewest vectors of a lane: below that what a lane does once, and loads of which half are masked, cost more than more
/// lanes win.
pub(crate) const FEW_VECTORS: u64 = 8;

/// Longest runs (in elements) of interleaved segments that are columns of a row, side by side; longer ones are walked
/// as runs.
const MAX_FOLD: u64 = 31;

/// Vectors of a row that a workgroup reads side by side, where there are so many: 256 bytes.
const SIDE: u64 = 16;

/// Fewest of them, where there have to be more workgroups: 64 bytes.
const FEWEST_SIDE: u64 = 4;

/// Most vectors that a lane takes in one after the other: merges of moments are a chain, whose rounding grows with its
/// length.
const MAX_CHAIN: u64 = 1 << 10;

/// Most vectors that a lane loads at once.
const MAX_FLIGHT: u32 = 8;

/// How statistics are reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reduce {
    /// How elements are visited.
    pub walk: Walk,
    /// Invocations of a workgroup.
    pub workgroup: u32,
    /// Along memory: those that share a segment. Across segments: those side by side; the others visit the rows below.
    pub lanes: u32,
    /// Vectors that each loads at once.
    pub flight: u32,
    /// Slices of a segment, reduced apart and then merged.
    pub slices: u32,
}

impl fmt::Display for Reduce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let walk = match self.walk {
            Walk::Rows => "rows",
            Walk::Columns => "columns",
        };
        write!(f, "{walk} {}/{}x{}", self.lanes, self.workgroup, self.flight)?;
        if self.slices > 1 { write!(f, " in {} slices", self.slices) } else { Ok(()) }
    }
}

/// Vectors of memory that runs of so many elements may touch.
pub(crate) fn run_vectors(width: u64) -> u64 {
    if width.is_multiple_of(4) { width / 4 } else { (width + 6) / 4 }
}

/// Vectors of the fewest columns that are whole segments of `fold` neighbours and whole vectors.
pub(crate) fn fold_vectors(fold: u64) -> u64 {
    if fold.is_multiple_of(4) {
        fold / 4
    } else if fold.is_multiple_of(2) {
        fold / 2
    } else {
        fold
    }
}

impl DeviceProfile {
    /// Workgroups of so many lanes that fill the device, as long as each lane has a few of `vectors`.
    pub(crate) fn filling(&self, workgroup: u32, vectors: u64) -> u64 {
        let full = self.walking_lanes() / u64::from(workgroup);
        full.min(vectors / (FEW_VECTORS * u64::from(workgroup))).max(1)
    }

    /// How so many lanes exchange.
    pub(crate) fn exchange(&self, lanes: u32) -> Exchange {
        match lanes {
            _ if self.subgroup == 1 => Exchange::Memory,
            lanes if lanes <= self.subgroup => Exchange::Subgroup,
            _ => Exchange::Workgroup,
        }
    }
}

pub(super) fn power(n: u64) -> u32 {
    n.clamp(1, 1 << 30).next_power_of_two() as u32
}

impl Reduce {
    pub(crate) fn choose(partition: &Partition, profile: &DeviceProfile) -> Self {
        let rows = Self::rows(partition, profile);
        Self::columns(partition, profile).unwrap_or(rows)
    }

    /// Along memory.
    fn rows(partition: &Partition, profile: &DeviceProfile) -> Self {
        let (segments, vectors) = (partition.segments().max(1), Self::segment_vectors(partition));
        let workgroup = Self::workgroup(segments, profile);
        let filling = profile.filling(workgroup, segments * vectors) * u64::from(workgroup);
        let wanted = (filling / segments).max(vectors.div_ceil(MAX_CHAIN)).min(vectors.div_ceil(FEW_VECTORS));
        // few different numbers: a subgroup, a quarter of the workgroup, or the workgroup
        let sizes = [profile.subgroup, workgroup / 4, workgroup];
        let lanes = sizes.into_iter().find(|&lanes| wanted < 2 * u64::from(lanes)).unwrap_or(workgroup);
        let lanes = lanes.min(power(vectors)).min(workgroup).max(1);
        let wanted = filling / (segments * u64::from(lanes));
        let most = vectors / (FEW_VECTORS * u64::from(lanes));
        let least = vectors.div_ceil(MAX_CHAIN * u64::from(lanes));
        let schedule = Self { walk: Walk::Rows, workgroup, lanes, flight: Self::flight(profile), slices: 1 };
        schedule.sliced(partition, profile, wanted.min(most).max(least))
    }

    /// Larger ones where all slices of so many segments, or tiles of them, are too few to fill the device.
    fn workgroup(segments: u64, profile: &DeviceProfile) -> u32 {
        let half = profile.walking_lanes() / u64::from(2 * profile.workgroup_size);
        let few = segments <= half / MAX_SLICES;
        let larger = 2 * profile.workgroup_size;
        let fits = larger <= profile.max_lanes && profile.has_registers(larger, Self::flight(profile) + 4);
        if few && fits { larger } else { profile.workgroup_size }
    }

    /// Across segments that interleave.
    fn columns(partition: &Partition, profile: &DeviceProfile) -> Option<Self> {
        let [outer, rows, c, d] = partition.dims();
        let least = fold_vectors(d);
        if partition.is_contiguous() || d > MAX_FOLD || partition.elements() == 0 {
            return None;
        }
        let vectors = (c * d).div_ceil(4);
        let workgroup = Self::workgroup(outer * vectors.div_ceil(least.max(FEWEST_SIDE)), profile);
        let filling = profile.filling(workgroup, outer * rows * vectors);
        let fewest = u64::from(power(least.min(vectors))).max(FEWEST_SIDE.min(u64::from(power(vectors))));
        // lines have rows enough to load several at once
        let by_rows = u64::from(workgroup) * FEW_VECTORS / rows.next_power_of_two();
        let mut lanes = SIDE.max(by_rows).min(u64::from(power(vectors))).max(fewest).min(workgroup.into());
        let (mut slices, mut workgroups);
        loop {
            let tiles = vectors.div_ceil((lanes / least * least).max(1)) * outer;
            let most = rows * lanes / (u64::from(workgroup) * FEW_VECTORS);
            slices = (filling / tiles).min(most).clamp(1, MAX_SLICES);
            workgroups = tiles * slices;
            if 2 * workgroups > filling || lanes / 2 < fewest {
                break;
            }
            lanes /= 2;
        }
        let lanes = lanes as u32;
        let schedule = Self { walk: Walk::Columns, workgroup, lanes, flight: Self::flight(profile), slices: 1 };
        let schedule = schedule.sliced(partition, profile, slices);
        schedule.accepts(partition, profile).then_some(schedule)
    }

    fn flight(profile: &DeviceProfile) -> u32 {
        profile.max_vectors.clamp(4, MAX_FLIGHT)
    }

    /// With so many slices, if there is memory for their records.
    fn sliced(self, partition: &Partition, profile: &DeviceProfile, wanted: u64) -> Self {
        let by_memory = profile.max_partials() / (partition.segments() * RECORD).max(1);
        let slices = wanted.min(by_memory).clamp(1, MAX_SLICES);
        let all = Self::walked(partition, self.walk);
        // whole turns of a lane's loop, where there are several
        let turn =
            u64::from(self.flight * if self.walk == Walk::Rows { self.lanes } else { self.workgroup / self.lanes });
        let len = all.div_ceil(slices).max(1);
        let len = if len > turn { len.next_multiple_of(turn) } else { len };
        Self { slices: all.div_ceil(len).max(1) as u32, ..self }
    }

    /// Every other schedule that is worth a try.
    pub(crate) fn candidates(partition: &Partition, profile: &DeviceProfile) -> Vec<Self> {
        let workgroup = profile.workgroup_size;
        let all = [profile.subgroup.clamp(4, workgroup), workgroup];
        let walks = [(Walk::Rows, 1), (Walk::Rows, 3), (Walk::Columns, 1), (Walk::Columns, 3)];
        let each = all.into_iter().flat_map(|lanes| walks.map(|(walk, slices)| (lanes, walk, slices)));
        let all = each.map(|(lanes, walk, slices)| {
            // no more than there are vectors: idle lanes are no other way to compute it
            let [_, _, c, d] = partition.dims();
            let vectors = if walk == Walk::Rows { Self::segment_vectors(partition) } else { (c * d).div_ceil(4) };
            let lanes = lanes.min(power(vectors.max(fold_vectors(d))));
            let schedule = Self { walk, workgroup, lanes, flight: 4, slices: 1 };
            schedule.sliced(partition, profile, slices)
        });
        let all: Vec<_> = all.filter(|schedule| schedule.accepts(partition, profile)).collect();
        [Self::choose(partition, profile)].into_iter().chain(all).collect()
    }

    /// Vectors of a segment.
    pub(crate) fn segment_vectors(partition: &Partition) -> u64 {
        partition.reduced_outer * run_vectors(partition.reduced_inner)
    }

    /// What slices divide.
    fn walked(partition: &Partition, walk: Walk) -> u64 {
        match walk {
            Walk::Rows => Self::segment_vectors(partition),
            Walk::Columns => partition.reduced_outer,
        }
    }

    /// Bytes of partial records.
    pub(crate) fn partials_size(&self, partition: &Partition) -> u64 {
        if self.slices > 1 { u64::from(self.slices) * partition.segments() * RECORD } else { 0 }
    }

    /// Vectors that a lane loads at once of what these moments are made of: powers are long code.
    pub(crate) fn flight_of(&self, accumulator: Accumulator) -> u32 {
        if accumulator == Accumulator::Power { 1 } else { self.flight }
    }

    pub(crate) fn accepts(&self, partition: &Partition, profile: &DeviceProfile) -> bool {
        let powers = self.workgroup.is_power_of_two() && self.lanes.is_power_of_two();
        let fits = powers && self.lanes <= self.workgroup && self.workgroup <= profile.max_workgroup();
        let slices = (1..=MAX_SLICES).contains(&self.slices.into());
        if !fits || !slices || !(1..=MAX_FLIGHT).contains(&self.flight) {
            return false;
        }
        let memory = self.partials_size(partition) <= profile.max_partials();
        let walks = match self.walk {
            Walk::Rows => {
                let turns = Self::segment_vectors(partition) / u64::from(self.slices * self.lanes);
                turns <= 2 * MAX_CHAIN
            }
            Walk::Columns => {
                let [_, rows, _, d] = partition.dims();
                let lines = u64::from(self.workgroup / self.lanes);
                let folds = d <= MAX_FOLD && fold_vectors(d) <= u64::from(self.lanes) && (d == 1 || lines > 1);
                let turns = rows / (u64::from(self.slices) * lines);
                partition.reduced_outer > 1 && folds && turns <= 2 * MAX_CHAIN
            }
        };
        memory && walks
    }
}
