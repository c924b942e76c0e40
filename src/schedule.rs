//! A partition's shape and a device profile to a schedule. Pure: no device, no kind of norm.

use std::fmt;

use crate::partition::Partition;
use crate::plan::{Plan, Reduction};

/// Longest segment that one workgroup normalizes alone.
const MAX_FUSED_LEN: u64 = 32 * 1024;

/// Longest run of elements that one invocation accumulates: keeps the chain of roundings short.
const MAX_CHAIN: u64 = 4096;

/// Most records that are merged into one: as many as keep the chains of a merging workgroup short.
const MAX_MERGED: u64 = 1 << 16;

/// Fewest elements of a slice for each invocation: below that, partial records cost more than they win.
const MIN_SLICE_PER_LANE: u64 = 16;

/// Most bytes of partial records.
const MAX_PARTIALS: u64 = 16 << 20;

/// Fewest rows of a walker: below that, its partial sums cost more than it wins.
const MIN_ROWS_PER_WALKER: u64 = 4;

/// Fewest elements of a segment of the common refinement.
const MIN_REFINED_LEN: u64 = 8;

/// Shortest run of memory (in elements) that is walked as a row where segments interleave.
const MIN_INTERLEAVED_ROW: u64 = 32;

/// Bytes of a record.
pub(crate) const RECORD: u64 = 16;

/// What schedules depend on of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceProfile {
    /// Invocations of a workgroup that reduces.
    pub workgroup_size: u32,
    /// Invocations of a workgroup that maps elements.
    pub map_workgroup_size: u32,
    /// Workgroups that fill the device.
    pub workgroups: u32,
    /// Most bytes of a binding, wherever it starts.
    pub max_binding: u64,
}

impl DeviceProfile {
    /// Defaults by kind of device, within its limits.
    pub fn new(info: &wgpu::AdapterInfo, limits: &wgpu::Limits) -> Self {
        let largest = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
        let largest = 1 << largest.max(1).ilog2();
        // a processor pays dearly for barriers between subgroups: one subgroup is a workgroup there
        let software = info.device_type == wgpu::DeviceType::Cpu;
        let subgroup = info.subgroup_max_size.clamp(4, 16).next_power_of_two();
        let (reduce, map, workgroups) = if software { (subgroup, 64, 64) } else { (256, 256, 2048) };
        let shared = limits.max_compute_workgroup_storage_size / RECORD as u32;
        let shared = 1 << shared.max(1).ilog2();
        let slack = u64::from(limits.min_storage_buffer_offset_alignment);
        let max_binding = limits.max_storage_buffer_binding_size.saturating_sub(slack);
        Self {
            workgroup_size: largest.min(reduce).min(shared),
            map_workgroup_size: largest.min(map).min(shared),
            workgroups,
            max_binding,
        }
    }
}

impl DeviceProfile {
    /// Partial records are bound whole.
    fn max_partials(&self) -> u64 {
        MAX_PARTIALS.min(self.max_binding)
    }

    /// Merging is little work, with chains to be kept short: many invocations even where barriers are dear.
    pub(crate) fn merge_workgroup_size(&self) -> u32 {
        self.map_workgroup_size
    }

    /// A segment that one workgroup normalizes is bound whole.
    fn max_fused_len(&self) -> u64 {
        MAX_FUSED_LEN.min(self.max_binding / 4)
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
    /// One dispatch; `lanes` invocations own a segment.
    Fused {
        /// Invocations of a workgroup.
        workgroup_size: u32,
        /// Invocations that share a segment, a power of two.
        lanes: u32,
    },
    /// Reduce, merge where there are slices, apply.
    Split(Reduce),
}

/// How statistics are reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reduce {
    /// How elements are visited.
    pub walk: Walk,
    /// Invocations of a workgroup.
    pub workgroup_size: u32,
    /// Invocations that share a slice of a segment, a power of two.
    pub lanes: u32,
    /// Slices of a segment, reduced apart and then merged.
    pub slices: u32,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fused { workgroup_size, lanes } => write!(f, "fused {lanes}x{}", workgroup_size / lanes),
            Self::Split(reduce) => reduce.fmt(f),
        }
    }
}

impl fmt::Display for Reduce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let walk = match self.walk {
            Walk::Rows => "rows",
            Walk::Columns => "columns",
        };
        write!(f, "{walk} {}x{}", self.lanes, self.workgroup_size / self.lanes)?;
        if self.slices > 1 { write!(f, " in {} slices", self.slices) } else { Ok(()) }
    }
}

impl Schedule {
    /// The schedule for a reduction followed by a map over the same tensor.
    pub(crate) fn choose(reduction: &Reduction, profile: &DeviceProfile) -> Self {
        let partition = &reduction.partition;
        let enough = partition.segments() >= u64::from(profile.workgroups);
        let short = partition.segment_len() <= u64::from(profile.workgroup_size) * 64;
        if Self::accepts_fused(partition, profile) && (enough || short) {
            return Self::fused(partition, profile.workgroup_size);
        }
        Self::Split(Reduce::choose(partition, profile))
    }

    /// Every schedule worth comparing for this reduction: the chosen one first, then the others that accept it.
    pub(crate) fn candidates(reduction: &Reduction, profile: &DeviceProfile) -> Vec<Self> {
        let partition = &reduction.partition;
        let mut all = vec![Self::choose(reduction, profile)];
        let sizes = [profile.workgroup_size, profile.map_workgroup_size];
        for size in sizes {
            if Self::accepts_fused(partition, profile) {
                all.push(Self::fused(partition, size));
                all.push(Self::Fused { workgroup_size: size, lanes: size });
            }
            for walk in [Walk::Rows, Walk::Columns] {
                for slices in [1, 3] {
                    let reduce =
                        Reduce { walk, workgroup_size: size, lanes: lanes(partition.segment_len(), size), slices };
                    if reduce.accepts(partition, profile) {
                        all.push(Self::Split(reduce));
                    }
                }
            }
        }
        let mut unique = Vec::new();
        all.retain(|schedule| {
            !unique.contains(schedule) && {
                unique.push(*schedule);
                true
            }
        });
        all
    }

    /// Whether this schedule can compute the reduction.
    pub(crate) fn accepts(&self, reduction: &Reduction, profile: &DeviceProfile) -> bool {
        match self {
            Self::Fused { workgroup_size, lanes } => {
                Self::accepts_fused(&reduction.partition, profile) && valid_lanes(*workgroup_size, *lanes)
            }
            Self::Split(reduce) => reduce.accepts(&reduction.partition, profile),
        }
    }

    fn accepts_fused(partition: &Partition, profile: &DeviceProfile) -> bool {
        partition.is_contiguous() && partition.segment_len() <= profile.max_fused_len()
    }

    fn fused(partition: &Partition, workgroup_size: u32) -> Self {
        Self::Fused { workgroup_size, lanes: lanes(partition.segment_len(), workgroup_size) }
    }
}

impl Reduce {
    pub(crate) fn choose(partition: &Partition, profile: &DeviceProfile) -> Self {
        let interleaved = !partition.is_contiguous() && partition.reduced_inner < MIN_INTERLEAVED_ROW;
        let columns = Self { walk: Walk::Columns, workgroup_size: profile.workgroup_size, lanes: 1, slices: 1 };
        if interleaved && columns.accepts(partition, profile) {
            return columns.spread(partition, profile);
        }
        let lanes = lanes(partition.segment_len(), profile.workgroup_size);
        Self { walk: Walk::Rows, lanes, ..columns }.spread(partition, profile)
    }

    /// Adds slices until the device is full or the chains are short, within the memory for partial records.
    fn spread(self, partition: &Partition, profile: &DeviceProfile) -> Self {
        let tile = u64::from(self.workgroup_size / self.lanes);
        let workgroups = self.records(partition).div_ceil(tile).max(1);
        let len = self.walked_len(partition);
        let to_fill = u64::from(profile.workgroups) / workgroups;
        let by_work = len / (u64::from(self.lanes) * MIN_SLICE_PER_LANE);
        let by_chain = len.div_ceil(u64::from(self.lanes) * MAX_CHAIN);
        let by_memory = profile.max_partials() / (self.records(partition) * RECORD).max(1);
        let slices = to_fill.min(by_work).max(by_chain).min(by_memory).clamp(1, 65535);
        Self { slices: slices as u32, ..self }
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
    pub(crate) fn walked_len(&self, partition: &Partition) -> u64 {
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

    pub(crate) fn accepts(&self, partition: &Partition, profile: &DeviceProfile) -> bool {
        let walks = self.walk == Walk::Rows || partition.reduced_outer > 1;
        let merges = self.merges(partition);
        let partials = self.records(partition).saturating_mul(u64::from(self.slices) * RECORD);
        let merged = self.fold(partition).saturating_mul(self.slices.into());
        let fits = !merges || partials <= profile.max_partials() && merged <= MAX_MERGED;
        walks && fits && valid_lanes(self.workgroup_size, self.lanes) && self.slices > 0
    }
}

/// How gradients are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backward {
    /// One walk over input and gradient; walkers sum up what belongs to scale and bias, which a second dispatch adds up.
    Rows {
        /// Invocations of a workgroup.
        workgroup_size: u32,
        /// Invocations that share a segment, a power of two.
        lanes: u32,
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
            Self::Rows { workgroup_size, lanes, walkers } => {
                write!(f, "backward rows {lanes}x{}, {walkers} walkers", workgroup_size / lanes)
            }
            Self::Folded(reduce) => write!(f, "backward folded, {reduce}"),
            Self::Apart { statistics, affine } => write!(f, "backward apart, {statistics} and {affine}"),
        }
    }
}

impl Backward {
    /// Every schedule that can compute the gradients of a plan, best first.
    pub(crate) fn candidates(plan: &Plan, profile: &DeviceProfile) -> Vec<Self> {
        let mut all = Vec::new();
        let reduce = |partition: &Partition| Reduce::choose(partition, profile);
        all.extend(plan.rows().and_then(|rows| Self::rows(plan, &rows, profile)));
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

    fn rows(plan: &Plan, rows: &Partition, profile: &DeviceProfile) -> Option<Self> {
        let len = rows.kept_inner;
        let workgroup_size = profile.workgroup_size;
        let lanes = lanes(len, workgroup_size);
        let places = (rows.kept_outer * len * RECORD).max(1);
        let by_memory = profile.max_partials() / places;
        let to_fill = u64::from(profile.workgroups) * u64::from(workgroup_size / lanes) / rows.kept_outer.max(1);
        let by_work = rows.reduced_outer.div_ceil(MIN_ROWS_PER_WALKER);
        let walkers = to_fill.min(by_work).max(1);
        let fits = len <= profile.max_fused_len() && (plan.affine.is_none() || by_memory > 0);
        let walkers = if plan.affine.is_none() { walkers } else { walkers.min(by_memory) };
        fits.then_some(Self::Rows { workgroup_size, lanes, walkers: walkers as u32 })
    }
}

fn valid_lanes(workgroup_size: u32, lanes: u32) -> bool {
    lanes.is_power_of_two() && lanes <= workgroup_size && workgroup_size.is_multiple_of(lanes)
}

/// Invocations for a segment: four elements each, at most a workgroup.
fn lanes(len: u64, workgroup_size: u32) -> u32 {
    (len / 4).clamp(1, u64::from(workgroup_size)).next_power_of_two() as u32
}
