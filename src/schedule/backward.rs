//! How gradients are computed: which kernels, and how work is spread.

use std::fmt;

use super::{DeviceProfile, Reduce, lent};
use crate::facts::DeviceKind;
use crate::kernel::Exchange;
use crate::moments::RECORD;
use crate::partition::Partition;
use crate::plan::Plan;
use crate::walk::lookup::{Found, Rows};

/// Fewest elements of a segment of the common refinement: below that its records cost more than they save.
const MIN_REFINED_LEN: u64 = 8;

/// Fewest rows of a worker that leaves sums of columns.
const MIN_WORKER_ROWS: u64 = 8;

/// Shortest run of elements that has lanes of its own: a shorter one would leave most of their vectors empty.
const MIN_RUN: u64 = 16;

/// Records of a segment that are few to be merged by a handful of lanes.
const FEW_RECORDS: u64 = 64;

/// Segments a compute unit that are enough for workgroups of 64 of them.
const MANY_SEGMENTS: u64 = 32;

/// Marks of a worker's rows fill a word.
const MARKS: u32 = 32;
/// Bytes of workgroup memory for the normalizers of a worker's rows, 24 bytes each: what large workgroups leave of 16
/// KB.
const KNOWN_BYTES: u32 = 3 << 10;
/// Most elements that rows of a pair lend one another in workgroup memory; fewer where exchanges take more of it.
const PAIRED: u32 = 1200;
const PAIRED_IN_MEMORY: u32 = 1024;

/// Fewest invocations that exchange without workgroup memory where workgroups are larger than 256: the others need too
/// much of it.
const WIDE_CLUSTER: u32 = 8;

/// Registers of a lane beside what it holds, as compilers were seen to use them.
const BACKWARD_REGISTERS: u32 = 46;

/// Lanes that hold rows of two tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    /// Invocations of a workgroup.
    pub workgroup: u32,
    /// Lanes of a segment.
    pub lanes: u32,
    /// Lanes of a run of it that has a scale of its own.
    pub run_lanes: u32,
    /// Vectors that a lane holds of a row or a run.
    pub vectors: u32,
    /// Rows that it holds at once, or runs of a segment.
    pub rows: u32,
    /// Whether it reads the next rows while it computes these.
    pub ahead: bool,
    /// Invocations that exchange without workgroup memory.
    pub cluster: u32,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{} of {}", self.lanes, self.vectors, self.workgroup)?;
        if self.run_lanes != self.lanes {
            write!(f, ", {} a run", self.run_lanes)?;
        }
        if self.rows > 1 {
            write!(f, ", {} at once", self.rows)?;
        }
        if self.ahead { write!(f, ", read ahead") } else { Ok(()) }
    }
}

impl Held {
    pub(crate) fn groups(&self) -> u32 {
        self.workgroup / self.lanes
    }

    /// Steps of a worker of rows.
    pub(crate) fn turns(&self) -> u32 {
        (KNOWN_BYTES / 24 / (self.groups() * self.rows)).clamp(1, MARKS / self.rows)
    }

    /// How lanes exchange; of rows that are written in pairs with barriers that all lanes of a workgroup take.
    pub(crate) fn exchange(&self, in_pairs: bool) -> Exchange {
        match self.cluster {
            1 if self.lanes > 1 => Exchange::Memory,
            cluster if self.lanes <= cluster && !in_pairs => Exchange::Subgroup,
            _ => Exchange::Workgroup,
        }
    }

    /// Whether a workgroup holds rows two by two, which may be written as pairs, and has memory for that beside what
    /// workgroups of 256 take.
    pub(crate) fn takes_pairs(&self, len: u64, profile: &DeviceProfile) -> bool {
        let most = if profile.subgroup == 1 { PAIRED_IN_MEMORY } else { PAIRED };
        (self.groups() * self.rows).is_multiple_of(2) && self.beside() <= most && 8 * len <= profile.max_binding
    }

    /// Elements that rows of a pair lend one another.
    pub(crate) fn beside(&self) -> u32 {
        lent(self.groups() * self.rows, self.lanes, self.vectors)
    }

    /// Of rows of `len` elements whose sums of columns stay in registers.
    fn of_rows(len: u64, profile: &DeviceProfile) -> Option<Self> {
        let vectors = len.div_ceil(4);
        // (vectors of a row, rows, whether the next are read ahead, most lanes): several rows share an exchange, and
        // loads in flight; short rows are so many at once that few workers have a second step
        let all = [(1, 4, false, 64), (2, 2, true, 512), (2, 1, true, 512), (2, 2, false, 512), (4, 1, false, 256)];
        all.into_iter().find_map(|(held, rows, ahead, most)| {
            // rows of an odd number of halves need another for a pair, so that lanes hold less of each
            let in_pairs = profile.grain > 1 && !len.is_multiple_of(2) && rows > 1;
            let (held, rows) = match is_tight(len, profile) {
                true if in_pairs => (1, 2),
                true => (held, (rows / 2).max(1)),
                false => (held, rows),
            };
            let lanes = u32::try_from(vectors.div_ceil(held.into())).ok()?.next_power_of_two().max(8);
            let cluster = profile.subgroup.min(lanes);
            let largest = if cluster < WIDE_CLUSTER { 256 } else { profile.max_workgroup() };
            let workgroup = profile.workgroup_size.max(lanes);
            let held = Self { workgroup, lanes, run_lanes: lanes, vectors: held, rows, ahead, cluster };
            let fits = lanes <= most.min(profile.max_lanes).min(largest)
                && held.vectors <= profile.vectors_backward
                && (!ahead || held.gains_ahead(profile))
                && workgroup * (held.registers() + held.next()) <= profile.unit_registers;
            fits.then_some(held)
        })
    }

    /// Whether reading ahead pays: not on a processor, nor with a compiler that spills early; and single rows of 16
    /// bits are too few bytes for that.
    fn gains_ahead(&self, profile: &DeviceProfile) -> bool {
        profile.kind == DeviceKind::Gpu && !profile.is_tight() && (self.rows > 1 || profile.grain == 1)
    }

    /// Registers of a lane for rows of two tensors, their scale and their sums of columns.
    fn registers(&self) -> u32 {
        4 * self.vectors * (2 * self.rows + 3) + BACKWARD_REGISTERS
    }

    /// Registers of a lane for what it reads ahead.
    fn next(&self) -> u32 {
        if self.ahead { 8 * self.vectors * self.rows } else { 0 }
    }

    /// Of each of `segments` segments of `runs` runs of `width` elements.
    fn of_runs(segments: u64, runs: u64, width: u64, profile: &DeviceProfile) -> Option<Self> {
        // (runs of a lane, vectors of each), fewest first: lanes that hold more share the work for a segment
        let all = [(1, 1), (1, 2), (1, 4), (2, 2), (4, 1), (1, 8)];
        let each = || all.into_iter().filter_map(|held| Self::of_runs_held(runs, width, held, profile));
        // what leaves lanes enough for every compute unit
        let enough = |lanes: u32| segments * u64::from(lanes) >= profile.lanes() / 4;
        let busy = |held: &Self| held.rows * held.vectors <= 4 && enough(held.lanes);
        each().rev().filter(busy).max_by_key(|held| held.rows * held.vectors).or_else(|| each().next())
    }

    /// With so many runs of a lane, and vectors of each.
    fn of_runs_held(runs: u64, width: u64, (rows, held): (u64, u64), profile: &DeviceProfile) -> Option<Self> {
        let fewest = if runs == 1 { 4 } else { 1 };
        let run_lanes = u32::try_from(width.div_ceil(4 * held)).ok()?.next_power_of_two();
        // no lanes that hold more than there is
        if rows > runs || run_lanes < fewest && held > 1 {
            return None;
        }
        let run_lanes = run_lanes.max(fewest);
        let lanes = u32::try_from(runs.div_ceil(rows)).ok()?.checked_next_power_of_two()?.checked_mul(run_lanes)?;
        let workgroup = profile.workgroup_size.max(lanes);
        let (rows, held) = (rows as u32, held as u32);
        let fits = lanes <= profile.max_lanes.min(512)
            && (held * rows >= 4 || lanes <= 64)
            && held * rows <= if is_tight(width, profile) { 1 } else { 2 } * profile.vectors_backward
            && profile.has_registers(workgroup, 2 * held * rows);
        let cluster = profile.subgroup.min(lanes);
        fits.then_some(Self { workgroup, lanes, run_lanes, vectors: held, rows, ahead: false, cluster })
    }
}

/// Whether a compiler that spills early has to find registers for rows that are no vectors of memory.
fn is_tight(len: u64, profile: &DeviceProfile) -> bool {
    profile.is_tight() && !len.is_multiple_of(4)
}

impl DeviceProfile {
    /// Of `segments` segments those that a workgroup merges side by side, of so many records each at most: many where
    /// there are so many, and each has few records.
    pub(crate) fn merged_side_by_side(&self, segments: u64, records: u64) -> u64 {
        let many = segments >= MANY_SEGMENTS * u64::from(self.units);
        let columns = if many && records <= FEW_RECORDS { 64 } else { 8 };
        columns.min(self.workgroup_size.into())
    }

    /// Of so many units of columns those that a workgroup merges side by side, of so many partial sums each: many of few
    /// units by more lanes, so that a lane takes its own at once.
    pub(crate) fn merged_columns(&self, units: u64, partials: u32) -> u64 {
        let few = units.div_ceil(8) < self.units.into();
        if few && partials > self.workgroup_size / 2 { 2 } else { 8 }
    }
}

/// How gradients are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backward {
    /// One walk over input and gradient, each read once, by workers that leave sums of columns.
    Rows {
        /// Lanes that hold a row.
        held: Held,
        /// Workers of each set of parameters.
        workers: u32,
    },
    /// One walk over input and gradient, each read once; segments leave sums of their runs.
    Runs(Held),
    /// Sums of each row; then the map to the gradient of the input, which sums up columns on its way.
    Columns(Reduce),
    /// Sums over the common refinement of both partitions, folded into each of them; then the map to the gradient of
    /// the input.
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
            Self::Rows { held, workers } => write!(f, "backward rows {held}, {workers} workers"),
            Self::Runs(held) => write!(f, "backward runs {held}"),
            Self::Columns(reduce) => write!(f, "backward columns, {reduce}"),
            Self::Folded(reduce) => write!(f, "backward folded, {reduce}"),
            Self::Apart { statistics, affine } => write!(f, "backward apart, {statistics} and {affine}"),
        }
    }
}

impl Backward {
    /// Every schedule that can compute the gradients of a plan, best first.
    pub(crate) fn candidates(plan: &Plan, profile: &DeviceProfile) -> Vec<Self> {
        let mut all = Vec::new();
        all.extend(Self::runs(plan, profile));
        all.extend(Self::rows(plan, profile));
        all.extend(Self::split(plan, profile));
        all
    }

    /// Those that take every layout of the tensors.
    pub(crate) fn split(plan: &Plan, profile: &DeviceProfile) -> Vec<Self> {
        let mut all = Vec::new();
        let reduce = |partition: &Partition| Reduce::choose(partition, profile);
        if let (Some(_), Some(_)) = (plan.rows(), plan.affine) {
            all.push(Self::Columns(reduce(&plan.computed.partition)));
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

    /// Runs of contiguous segments that have one parameter each.
    fn runs(plan: &Plan, profile: &DeviceProfile) -> Option<Self> {
        let refinement = plan.refinement?;
        let runs = &refinement.partition;
        let statistics = &plan.computed.partition;
        let contiguous = statistics.is_contiguous() && runs.is_contiguous() && statistics.segment_len() > 0;
        let count = statistics.segment_len() / runs.segment_len().max(1);
        // as many runs as segments have parts, one after the other
        let nested = runs.segments() == statistics.segments() * count && runs.segment_len() > 0;
        let long = runs.segment_len() >= MIN_RUN || count == 1;
        let by_run = plan
            .affine
            .is_none_or(|affine| Rows::new(&affine, runs.segment_len()).is_some_and(|rows| rows.found == Found::Row));
        let small = runs.segments() * RECORD <= profile.max_binding;
        if !(contiguous && nested && long && by_run && small) {
            return None;
        }
        let held = Held::of_runs(statistics.segments(), count, runs.segment_len(), profile)?;
        // lanes of a run write no word that another has a half of, unless two segments of one run each are a pair
        let whole = runs.segment_len().is_multiple_of(plan.types.grad_input.grain());
        let in_pairs = count == 1 && statistics.segments().is_multiple_of(2);
        (whole || in_pairs && held.takes_pairs(runs.segment_len(), profile)).then_some(Self::Runs(held))
    }

    /// Rows whose parameters belong to columns.
    fn rows(plan: &Plan, profile: &DeviceProfile) -> Option<Self> {
        let rows = plan.fused_rows().filter(|_| plan.affine.is_some() && !plan.shares_scale())?;
        let len = plan.computed.partition.segment_len().max(1);
        let held = Held::of_rows(len, profile)?;
        let blocks = rows.kept_outer * (rows.kept_inner / len);
        let workers = Self::workers(&held, blocks, rows.reduced_outer, profile);
        let bytes = workers * blocks * 2 * len.next_multiple_of(4) * 4;
        let least = rows.reduced_outer.div_ceil(u64::from(held.turns() * held.rows * held.groups()));
        (workers >= least && bytes <= profile.max_binding && workers <= 1 << 20)
            .then_some(Self::Rows { held, workers: workers as u32 })
    }

    /// As many workers of a block as fill the device, with some rows each.
    fn workers(held: &Held, blocks: u64, rows: u64, profile: &DeviceProfile) -> u64 {
        // what is read ahead is not counted: an H100 is as fast with a worker more a unit as without
        let by_registers = profile.unit_registers / (held.workgroup * held.registers());
        let resident = by_registers.min(profile.unit_lanes / held.workgroup);
        let to_fill = u64::from(profile.units * resident.max(1)).div_ceil(blocks.max(1));
        let least = rows.div_ceil(u64::from(held.turns() * held.rows * held.groups()));
        to_fill.min(rows.div_ceil(MIN_WORKER_ROWS)).max(least).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::{NormDescriptor, NormKind};
    use crate::element::{Element, Types};
    use crate::facts::DeviceFacts;

    fn chosen(shape: &[u64], facts: &DeviceFacts) -> Backward {
        let plan = Plan::new(&NormDescriptor::new(NormKind::Layer { axes: 1..2 }, shape)).unwrap();
        Backward::candidates(&plan, &DeviceProfile::new(facts))[0]
    }

    /// Rows in registers, as many workgroups as fit at a time, but where rows are few or very many.
    #[test]
    fn workers_fill_the_device() {
        let facts = DeviceFacts { min_subgroup: 32, max_workgroup_size: 1024, ..DeviceFacts::DEFAULT };
        for (shape, lanes, vectors, workers) in [
            ([4096, 1024], 128, 2, 264),
            ([1024, 4096], 512, 2, 128),
            ([16_384, 64], 16, 1, 264),
            ([1 << 20, 64], 16, 1, 8192),
        ] {
            let Backward::Rows { held, workers: n } = chosen(&shape, &facts) else { panic!("{shape:?}") };
            assert_eq!((held.lanes, held.vectors, n), (lanes, vectors, workers), "{shape:?}: {held}");
        }
    }

    /// Planes of 7x7 share words of 16 bits, those of 14x14 do not.
    #[test]
    fn runs_are_whole_words() {
        let facts = DeviceFacts { min_subgroup: 32, max_workgroup_size: 1024, ..DeviceFacts::DEFAULT };
        for (element, side, runs) in
            [(Element::F32, 7, true), (Element::Bf16, 7, false), (Element::Bf16, 14, true), (Element::F16, 7, false)]
        {
            let shape = [32, 256, side, side];
            let descriptor = NormDescriptor {
                types: Types::tensors(element),
                ..NormDescriptor::new(NormKind::Group { groups: 32 }, &shape)
            };
            let profile = DeviceProfile::new(&facts).of(element);
            let chosen = Backward::candidates(&Plan::new(&descriptor).unwrap(), &profile)[0];
            assert_eq!(matches!(chosen, Backward::Runs(_)), runs, "{element} {side}: {chosen}");
        }
    }

    /// Long rows are reduced first.
    #[test]
    fn long_rows_are_split() {
        for shape in [[1, 1 << 24], [64, 65_536]] {
            assert!(matches!(chosen(&shape, &DeviceFacts::DEFAULT), Backward::Columns(_)), "{shape:?}");
        }
    }
}
