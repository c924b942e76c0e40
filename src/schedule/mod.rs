//! A partition's shape and a device profile to a schedule. Pure: no device, no kind of norm.

mod backward;
mod forward;
mod map;
mod map_backward;
mod profile;
mod reduce;

pub use backward::{Backward, Held};
pub(crate) use forward::tile_vectors;
pub use forward::{Rows as HeldRows, Tiles as HeldTiles};
pub(crate) use map::{Grid, MapColumns, MapRows};
pub(crate) use map_backward::MapWalk;
pub use reduce::Reduce;
use reduce::power;
pub(crate) use reduce::{fold_vectors, run_vectors};

use std::fmt;

use crate::element::Element;
use crate::facts::{DeviceFacts, DeviceKind};
use crate::partition::Partition;
use crate::plan::Reduction;

pub use profile::ProfileMismatch;

/// Fewest lanes side by side of a row, if it has as many vectors: eight vectors are a cache line.
pub(crate) const LINE: u32 = 8;

/// Fewest invocations of a subgroup: four sums are exchanged by one each (`shaders/lib/within.wgsl`).
const MIN_SUBGROUP: u32 = 4;

/// Most bytes of partial records.
const MAX_PARTIALS: u64 = 16 << 20;

/// Compute units of a device that is not known better: an H100's or H200's. wgpu does not tell.
const UNITS: u32 = 132;

/// Lanes that a compute unit holds: NVIDIA's, AMD's; many others have fewer, and then more units' worth of lanes wait
/// their turn.
const UNIT_LANES: u32 = 2048;

/// Registers of a compute unit: 256 KB on NVIDIA, and no less elsewhere but on small devices.
const UNIT_REGISTERS: u32 = 64 << 10;

/// Registers of a lane beside the vectors that it holds, as compilers were seen to use them.
const SPARE_REGISTERS: u32 = 40;

/// Registers of a lane of a kernel that walks through a tensor, at most.
const WALK_REGISTERS: u32 = 128;

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
    /// Invocations that exchange without workgroup memory: a size that no subgroup undercuts; 1 without subgroup
    /// operations.
    pub subgroup: u32,
    /// Vectors of four elements that a lane holds of a segment, forward, as long as there are lanes for it.
    pub vectors: u32,
    /// Most that it holds of a longer segment, and of a column of a tile; reductions load so many at once, 4 to 8.
    pub max_vectors: u32,
    /// Most vectors of each of two tensors that it holds, backward.
    pub vectors_backward: u32,
    /// Whether WGSL's own conversions of f16 are exact on the device, and taken: half the instructions. WGSL leaves
    /// open how they round: `converts_f16_exactly` asks the device, and so does `bench --tune`.
    pub f16_builtins: bool,
    /// Most bytes of a binding, wherever it starts.
    #[cfg_attr(feature = "profile", serde(skip))]
    pub max_binding: u64,
    /// Elements that a word of the tensors holds: 2 of those of 16 bits. A norm's own affair, 1 in a device's profile.
    #[cfg_attr(feature = "profile", serde(skip, default = "whole"))]
    pub grain: u32,
}

#[cfg(feature = "profile")]
fn whole() -> u32 {
    1
}

/// Elements that so many rows of a workgroup lend one another where they are written in pairs: see `lib/pairs.wgsl`.
pub(crate) fn lent(rows: u32, lanes: u32, vectors: u32) -> u32 {
    rows / 2 * (2 * lanes * vectors + 1)
}

/// Invocations of a subgroup that exchange: smaller ones than `MIN_SUBGROUP` save no barrier.
fn subgroup_of(facts: &DeviceFacts) -> u32 {
    let subgroup = facts.min_subgroup.min(facts.largest_workgroup());
    if subgroup < MIN_SUBGROUP { 1 } else { subgroup }
}

impl DeviceProfile {
    /// Defaults by kind of device, within its limits.
    pub fn new(facts: &DeviceFacts) -> Self {
        let largest = facts.largest_workgroup();
        let software = facts.kind == DeviceKind::Software;
        // small subgroups are Intel's, whose compiler spills more than four vectors
        let spacious = |many, few| if facts.min_subgroup >= 32 { many } else { few };
        Self {
            kind: facts.kind,
            units: if software { 8 } else { UNITS },
            unit_lanes: if software { 256 } else { UNIT_LANES },
            unit_registers: UNIT_REGISTERS,
            workgroup_size: if software { 64 } else { 256 }.min(largest),
            max_lanes: if software { 256 } else { 512 }.min(largest),
            // many lanes with few loads each are faster than the reverse on an H100; the more a lane holds the longer
            // the code, and a software driver takes its time
            vectors: if software { 4 } else { 2 },
            max_vectors: if software { 4 } else { spacious(16, 4) },
            vectors_backward: if software { 2 } else { spacious(4, 2) },
            subgroup: subgroup_of(facts),
            f16_builtins: false,
            max_binding: facts.max_range(),
            grain: 1,
        }
    }

    /// For tensors of this type. Vectors of 16-bit elements have half the bytes: a lane takes more of them.
    pub(crate) fn of(self, element: Element) -> Self {
        let grain = element.grain() as u32;
        // conversions of f16 are long code: compilers keep loops over more vectors as loops, and what is held in
        // memory; backward they take the registers of two more
        let (most, most_backward) = match element {
            Element::F32 => (self.max_vectors, self.max_vectors.div_ceil(2)),
            Element::F16 if !self.f16_builtins => (8, 2),
            Element::F16 | Element::Bf16 => (self.max_vectors, 4),
        };
        let max_vectors = self.max_vectors.min(most);
        let vectors = (self.vectors * grain).min(max_vectors);
        let vectors_backward = self.vectors_backward.min(most_backward);
        Self { vectors, max_vectors, vectors_backward, grain, ..self }
    }

    /// Vectors that a lane loads in place of one: of 16 bits more, but for compilers that spill early.
    pub(crate) fn fetched(&self) -> u32 {
        if self.is_tight() { 1 } else { self.grain }
    }

    /// Whether its compiler spills early.
    pub(crate) fn is_tight(&self) -> bool {
        self.vectors_backward < 4
    }

    /// Lanes that fill the device.
    pub(crate) fn lanes(&self) -> u64 {
        u64::from(self.units) * u64::from(self.unit_lanes)
    }

    /// Lanes that are there at a time of kernels that walk through a tensor, which take many registers. There are no
    /// more: what each does once takes as long as a few vectors.
    pub(crate) fn walking_lanes(&self) -> u64 {
        u64::from(self.units) * u64::from(self.unit_lanes.min(self.unit_registers / WALK_REGISTERS))
    }

    /// Whether a unit has the registers for a workgroup of lanes that hold so many vectors each, and what they compute
    /// with.
    pub(crate) fn has_registers(&self, workgroup: u32, vectors: u32) -> bool {
        u64::from(workgroup) * u64::from(4 * vectors + SPARE_REGISTERS) <= self.unit_registers.into()
    }

    /// Partial records are bound whole.
    pub(crate) fn max_partials(&self) -> u64 {
        MAX_PARTIALS.min(self.max_binding)
    }

    pub(crate) fn max_workgroup(&self) -> u32 {
        self.workgroup_size.max(self.max_lanes)
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
        // a processor holds nothing in registers across the barriers that lines of a tile take
        let hardware = profile.kind == DeviceKind::Gpu;
        let tiles = || HeldTiles::choose(partition, affine, profile).filter(|_| hardware).map(Self::Tiles);
        rows.or_else(tiles).unwrap_or_else(|| Self::Split(Reduce::choose(partition, profile)))
    }

    /// Every schedule worth comparing for this reduction: the chosen one first, then the others that accept it.
    pub(crate) fn candidates(reduction: &Reduction, affine: Option<&Partition>, profile: &DeviceProfile) -> Vec<Self> {
        let partition = &reduction.partition;
        let mut all = vec![Self::choose(reduction, affine, profile)];
        all.extend(held_candidates(partition, profile));
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
        u32::try_from(each).ok().filter(|&each| each <= profile.max_vectors)
    };
    for lanes in [1, profile.subgroup, 64, profile.max_lanes] {
        for cluster in [profile.subgroup, 1] {
            // no more than there are vectors: idle lanes are no other way to compute it
            let lanes = lanes.min(profile.max_lanes).min(power(vectors));
            let rows = held(vectors, lanes).map(|vectors| HeldRows::with_lanes(lanes, vectors, cluster, profile));
            all.extend(rows.map(Schedule::Rows));
        }
    }
    for (lanes, lines) in [(1, 64), (4, 16), (2, 256)] {
        all.extend(held(rows, lines).map(|vectors| Schedule::Tiles(HeldTiles { lanes, lines, vectors })));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_without_rows_have_a_schedule() {
        let profile = DeviceProfile::new(&DeviceFacts::DEFAULT);
        for dims in [[1, 0, 5, 1], [0, 3, 5, 1], [2, 0, 5, 0], [1, 3, 5, 0]] {
            let partition = Partition::new(dims[0], dims[1], dims[2], dims[3]);
            assert_eq!(Reduce::choose(&partition, &profile).slices, 1, "{dims:?}");
        }
    }
}
