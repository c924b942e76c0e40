//! How gradients to the input are mapped from sums of their segments: which rows, and who visits them.

use super::DeviceProfile;
use crate::moments::RECORD;
use crate::partition::Partition;
use crate::walk::lookup::{Found, Rows};

/// Shortest rows: shorter ones would leave most of their lanes' vectors empty.
const MIN_ROW: u64 = 16;

/// Most segments that a workgroup of the map meets where it merges their sums itself, `KNOWN` in
/// `shaders/lib/known/merged.wgsl`; and most records that a lane of it adds up.
const MAX_KNOWN: u64 = 128;
const MAX_RECORDS: u64 = 16;

/// Bytes of records that all workgroups may read, from a large cache, in the time of the dispatch that they save.
const MAX_RECORD_BYTES: u64 = 16 << 20;

/// Most invocations of a workgroup that merges: what it needs of workgroup memory is below 16 KB.
const MAX_MERGING: u32 = 256;

/// How the map to the gradient of the input walks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MapWalk {
    /// Elements of a row.
    pub width: u64,
    /// Rows of a block, whose elements have the same segments wherever those are found by column.
    pub block: u64,
    pub statistics: Rows,
    pub affine: Rows,
    pub workgroup: u32,
    pub lanes: u32,
    pub rows: u32,
    pub vectors: u32,
}

impl MapWalk {
    /// By rows that begin and end at words of what is written, if there are any; `has_words` says of which widths.
    /// `None` where the partitions have no rows in common, which partitions of one shape always have.
    pub(crate) fn new(
        statistics: &Partition,
        affine: Option<&Partition>,
        (row_len, padded): (u64, bool),
        has_words: impl Fn(u64) -> bool,
        profile: &DeviceProfile,
    ) -> Option<Self> {
        let elements = statistics.elements();
        let whole = Partition::new(1, 1, 1, elements);
        let affine = affine.unwrap_or(&whole);
        let mut widths: Vec<u64> = [statistics, affine]
            .iter()
            .flat_map(|p| [p.reduced_inner, p.kept_inner * p.reduced_inner])
            .chain([if padded { row_len } else { elements }])
            .filter(|&width| !padded || width > 0 && row_len.is_multiple_of(width))
            .collect();
        widths.sort_unstable();
        let rows = |&width: &u64| Some((width, Rows::new(statistics, width)?, Rows::new(affine, width)?));
        let repeats = |rows: &Rows| if rows.found == Found::Row { u64::MAX } else { rows.repeats };
        let walks = widths.iter().filter_map(rows).map(|(width, statistics, affine)| {
            let all = elements / width;
            let block = repeats(&statistics).min(repeats(&affine)).min(all);
            let by_columns = statistics.found != Found::Row || affine.found != Found::Row;
            let side = if by_columns { 16 } else { profile.workgroup_size };
            Self::of(width, (all, block), statistics, affine, side, profile)
        });
        // then the shortest rows that are not too short, and whose blocks keep a workgroup busy
        walks.min_by_key(|walk| {
            let short = walk.width < MIN_ROW;
            let idle = walk.block * walk.width.div_ceil(4) < walk.workgroup.into();
            (!has_words(walk.width), short, idle, if short { u64::MAX - walk.width } else { walk.width })
        })
    }

    /// Rows of segments of `statistics`, whose columns are summed up, by tiles that see many rows of their columns: the
    /// fewer workgroups have rows of a column, the fewer sums they leave.
    pub(crate) fn with_column_sums(
        statistics: &Partition,
        affine: &Partition,
        profile: &DeviceProfile,
    ) -> Option<Self> {
        let width = statistics.segment_len();
        let all = statistics.segments();
        let (statistics, affine) = (Rows::new(statistics, width)?, Rows::new(affine, width)?);
        Some(Self::of(width, (all, affine.repeats.min(all)), statistics, affine, 16, profile))
    }

    /// At least `side` lanes side by side, as many as leave those below one another rows of a block, and more as long
    /// as workgroups fill the device.
    fn of(
        width: u64,
        (all, block): (u64, u64),
        statistics: Rows,
        affine: Rows,
        side: u32,
        profile: &DeviceProfile,
    ) -> Self {
        let workgroup = profile.workgroup_size;
        // rows that a lane takes at once, and vectors of each
        let (rows, vectors) = if block > 1 && side < workgroup { (4, 1) } else { (1, 4) };
        let by_rows = u64::from(workgroup * rows) / block.next_power_of_two();
        let columns = width.div_ceil(4 * u64::from(vectors));
        let most = columns.next_power_of_two().min(workgroup.into());
        let mut lanes = most.min(by_rows.max(side.into()));
        let blocks = all / block.max(1);
        let filling = profile.walking_lanes() / u64::from(workgroup);
        while 2 * lanes <= most && columns.div_ceil(2 * lanes) * blocks >= filling {
            lanes *= 2;
        }
        Self { width, block, statistics, affine, workgroup, lanes: lanes as u32, rows, vectors }
    }

    pub(crate) fn tiles(&self, width: u64) -> u64 {
        width.div_ceil(4).div_ceil(u64::from(self.lanes * self.vectors))
    }

    /// Rows that a workgroup takes at once.
    fn step(&self) -> u64 {
        u64::from(self.workgroup / self.lanes * self.rows)
    }

    /// Slices of the rows of a block, as many as fill the device; where they leave sums, with some rows each.
    pub(crate) fn slices(
        &self,
        blocks: u64,
        block: u64,
        width: u64,
        sums: bool,
        merges: bool,
        profile: &DeviceProfile,
    ) -> u64 {
        // what a workgroup merges before, or leaves behind, it does once: none waits for others to end
        let lanes = if merges || sums { profile.walking_lanes() } else { profile.lanes() };
        let fill = lanes.div_ceil(self.workgroup.into()).div_ceil(self.tiles(width) * blocks).max(1);
        // what a workgroup does once is shared by two steps, where that leaves one for every unit
        let by_two = block.div_ceil(2 * self.step());
        let shares = sums || merges && self.tiles(width) * blocks * by_two >= profile.units.into();
        let most = if shares { by_two } else { block.div_ceil(self.step()) };
        let bytes = blocks * 8 * self.width.next_multiple_of(4);
        let most = if sums { most.min(profile.max_partials() / bytes) } else { most }.max(1);
        // nothing is held from row to row: a step each, as long as their number is no burden
        let held = sums || merges || self.statistics.found != Found::Row || self.affine.found != Found::Row;
        let by_row = merges && self.statistics.found == Found::Row;
        let least = block.div_ceil(if by_row { self.most_met() } else { self.step() * 1024 }).max(1);
        if held { fill.min(most).max(least) } else { most.min(fill * 16).max(least) }
    }

    /// Most segments that a workgroup can merge, a lane each.
    fn most_met(&self) -> u64 {
        MAX_KNOWN.min(self.workgroup.into())
    }

    /// Segments that a workgroup meets in a slice of so many rows.
    fn met(&self, slice_rows: u64) -> u64 {
        let side = 4 * u64::from(self.lanes * self.vectors);
        match self.statistics.found {
            Found::Row => slice_rows,
            // runs that begin inside a workgroup's columns, and one before them
            Found::Columns | Found::Mixed => (side - 1).div_ceil(self.statistics.run()) + 1,
        }
    }

    /// Segments that a workgroup merges side by side, of so many records each, and lanes for each: powers of two.
    pub(crate) fn merged_side_by_side(&self, slice_rows: u64, records: u64) -> [u32; 2] {
        let met = self.met(slice_rows).next_power_of_two() as u32;
        [met, (self.workgroup / met).min(records.div_ceil(4).next_power_of_two() as u32)]
    }

    /// Whether every workgroup may merge the sums of its segments, of so many records each, instead of a dispatch that
    /// does it once.
    pub(crate) fn merges(&self, records: u64, elements: u64, sums: bool, profile: &DeviceProfile) -> bool {
        let blocks = elements / self.width / self.block;
        let most = if sums { self.column_sums(elements, profile).1 } else { u64::MAX };
        let slices = self.slices(blocks, self.block, self.width, sums, true, profile).min(most);
        let groups = blocks * slices * self.tiles(self.width);
        let met = self.met(self.block.div_ceil(slices));
        met.next_power_of_two() <= self.most_met()
            && met * records <= MAX_RECORDS * u64::from(self.workgroup)
            && groups * met * records * RECORD <= MAX_RECORD_BYTES.max(elements)
            && self.workgroup <= MAX_MERGING
    }

    /// Bytes of the sums of columns that the map of the whole tensor leaves, and slices of it.
    pub(crate) fn column_sums(&self, elements: u64, profile: &DeviceProfile) -> (u64, u64) {
        if elements == 0 {
            return (0, 1);
        }
        let blocks = elements / self.width / self.block;
        let slices = self.slices(blocks, self.block, self.width, true, false, profile);
        if slices == 1 {
            return (0, 1);
        }
        (blocks * slices * 2 * self.width.next_multiple_of(4) * 4, slices)
    }
}
