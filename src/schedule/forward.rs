//! How segments that lanes hold in registers are shared out: rows of memory, and columns of them.

use std::fmt;

use super::profile::MAX_VECTORS;
use super::{DeviceProfile, LINE, lent};
use crate::kernel::Exchange;
use crate::partition::Partition;
use crate::walk::lookup;

/// Lanes side by side of rows that are read element by element, if they have as many: a cache line.
const SPREAD_SIDE: u32 = 32;

/// Most vectors side by side in a tile: longer pieces of rows win nothing.
const MAX_SIDE: u64 = 16;

/// Most lanes of a tile: beyond, compilers have too few registers for four sums a lane.
const MAX_TILE: u32 = 512;

/// Most elements that rows of a pair lend one another in workgroup memory: a quarter of 16 KB is left for exchanges.
const LENT: u32 = 3 << 10;

/// Lanes that share barriers where rows are exchanged through workgroup memory: of rows that take no more, and of
/// others.
const MEMORY_WORKGROUPS: [u32; 2] = [64, 256];

/// Groups of lanes that each hold a segment which is a row of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rows {
    /// Invocations of a workgroup.
    pub workgroup: u32,
    /// Lanes of a segment, a power of two.
    pub lanes: u32,
    /// Vectors that each of them holds.
    pub vectors: u32,
    /// Most lanes that exchange within a subgroup; 1: all exchange through workgroup memory.
    pub cluster: u32,
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rows {}x{}", self.lanes, self.vectors)?;
        if self.cluster == 1 { f.write_str(" through memory") } else { Ok(()) }
    }
}

impl Rows {
    /// With so many lanes a segment.
    pub(crate) fn with_lanes(lanes: u32, vectors: u32, cluster: u32, profile: &DeviceProfile) -> Self {
        let workgroup = match cluster {
            1 => {
                let [small, large] = MEMORY_WORKGROUPS;
                lanes.max(if lanes <= small { small } else { large }.min(profile.max_workgroup()))
            }
            _ => lanes.max(profile.workgroup_size),
        };
        Self { workgroup, lanes, vectors, cluster }
    }

    /// For segments of `len` elements; `None` where no lanes have the registers.
    ///
    /// Sizes are powers of two, so that a norm over changing shapes has few kernels. Few vectors a lane, for many lanes
    /// to have loads in flight; where there are no lanes for that, as many vectors as it can hold: none between, which
    /// would be kernels more.
    pub(crate) fn choose(len: u64, profile: &DeviceProfile) -> Option<Self> {
        let all = len.div_ceil(4).max(1).next_power_of_two();
        // without subgroup operations a longer row has larger workgroups and more barriers: two dispatches are no
        // slower
        let most = if profile.subgroup == 1 { profile.workgroup_size } else { profile.max_lanes };
        let [few, many] = [profile.vectors, profile.max_vectors].map(|vectors| u64::from(1u32 << vectors.ilog2()));
        let lanes = [few, many].map(|each| {
            // elements that are read one by one, many a lane, are slower than two dispatches
            let held = each == few || len.is_multiple_of(4);
            held.then_some((all / each).max(all.min(LINE.into())))
        });
        let lanes = lanes.into_iter().flatten().find(|&lanes| lanes <= most.into())?;
        let chosen = Self::with_lanes(lanes as u32, (all / lanes) as u32, profile.subgroup, profile);
        profile.has_registers(chosen.workgroup, chosen.vectors).then_some(chosen)
    }

    /// How lanes exchange, and fewest and most of them in rows that are chosen to be held with so many vectors a lane.
    ///
    /// The shortest rows, whose exchange is much of what there is to do, have kernels of their own: those of one line
    /// of lanes, with two vectors or fewer than a lane may hold. All others have one, whose barriers those of a
    /// subgroup leave out. Rows that are read one by one have one for subgroups and one for what is longer (`apart`).
    pub(crate) fn exchange(&self, apart: bool, profile: &DeviceProfile) -> (Exchange, u32, u32) {
        let short = self.lanes <= LINE && self.vectors <= 2 || self.vectors < 1 << profile.vectors.ilog2();
        let exchange = match self.cluster {
            1 => Exchange::Memory,
            cluster if self.lanes <= cluster && (short || apart) => Exchange::Subgroup,
            _ => Exchange::Workgroup,
        };
        let (least, most) = match exchange {
            _ if self.vectors == 1 => (1, LINE),
            _ if short => (LINE, LINE),
            Exchange::Subgroup => (LINE, profile.subgroup),
            _ if apart => (2 * self.cluster, self.workgroup),
            _ => (LINE, self.workgroup),
        };
        (exchange, least.min(self.lanes), most.max(self.lanes))
    }

    /// The same with workgroups of two rows, which can be written as a pair; `None` where that would be too many lanes,
    /// or two rows no binding.
    pub(crate) fn of_pairs(self, len: u64, profile: &DeviceProfile) -> Option<Self> {
        let workgroup = self.workgroup.max(2 * self.lanes);
        let fits = workgroup <= profile.workgroup_size.max(profile.max_lanes)
            && lent(workgroup / self.lanes, self.lanes, self.vectors) <= LENT
            && profile.has_registers(workgroup, self.vectors)
            && 8 * len <= profile.max_binding;
        fits.then_some(Self { workgroup, ..self })
    }

    /// `exchange` of rows that are written in pairs, with barriers that all lanes of a workgroup take: one kernel.
    pub(crate) fn exchange_of_pairs(&self) -> (Exchange, u32, u32) {
        let exchange = if self.cluster == 1 { Exchange::Memory } else { Exchange::Workgroup };
        (exchange, 1, self.workgroup / 2)
    }

    /// Lanes side by side, whose elements are neighbours; 0: all.
    pub(crate) fn side(&self, spread: bool) -> u32 {
        match self.lanes {
            _ if !spread => LINE,
            _ if self.vectors == 1 => 0,
            lanes => {
                if lanes < SPREAD_SIDE {
                    LINE
                } else {
                    SPREAD_SIDE
                }
            }
        }
    }

    /// Vectors of a lane that lie together: all, where the lanes of a row are neighbours and their number is known; of
    /// others, those that are there in every lane.
    pub(crate) fn together(&self, whole: u32, (least, most): (u32, u32)) -> u32 {
        if least == most && self.lanes <= LINE { self.vectors } else { whole.max(1) }
    }

    /// The first so many vectors of a lane are there in every lane, if rows have `len` elements: all of them, half, or
    /// none.
    pub(crate) fn whole(&self, len: u64) -> u32 {
        match self.room() {
            _ if self.vectors == 1 => 0,
            room if len == room => self.vectors,
            room if 2 * len >= room => self.vectors / 2,
            _ => 0,
        }
    }

    /// Elements for which there is room.
    pub(crate) fn room(&self) -> u64 {
        4 * u64::from(self.lanes) * u64::from(self.vectors)
    }

    /// Whether a device can hold segments of this partition so.
    pub(crate) fn accepts(&self, partition: &Partition, affine: Option<&Partition>, profile: &DeviceProfile) -> bool {
        let len = partition.segment_len();
        let powers = [self.workgroup, self.lanes, self.vectors, self.cluster].iter().all(|n| n.is_power_of_two());
        let neighbours = self.vectors == 1 || self.lanes >= LINE;
        let fits = neighbours
            && self.vectors <= MAX_VECTORS
            && self.workgroup <= profile.workgroup_size.max(profile.max_lanes)
            && self.lanes <= self.workgroup;
        let exchanges = self.cluster <= profile.subgroup;
        let finds = affine.is_none_or(|affine| lookup::Rows::new(affine, len).is_some());
        let bound = len > 0 && len <= self.room() && 4 * len <= profile.max_binding;
        partition.is_contiguous() && powers && fits && exchanges && finds && bound
    }
}

/// Workgroups that hold segments which are columns of rows of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tiles {
    /// Vectors side by side, a power of two.
    pub lanes: u32,
    /// Lanes below one another, a power of two.
    pub lines: u32,
    /// Rows that each lane holds.
    pub vectors: u32,
}

impl fmt::Display for Tiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tiles {}x{}x{}", self.lanes, self.lines, self.vectors)
    }
}

impl Tiles {
    /// For segments of a strided partition; `None` where no workgroup holds one.
    ///
    /// As wide as it can be while there are tiles for all compute units.
    pub(crate) fn choose(partition: &Partition, affine: Option<&Partition>, profile: &DeviceProfile) -> Option<Self> {
        let [outer, rows, ..] = partition.dims();
        let side = row_vectors(partition)?;
        let run = u64::from(tile_vectors(partition));
        let fits = |workgroup: u32, lanes: u64| {
            let lines = workgroup / u32::try_from(lanes).ok().filter(|&lanes| lanes <= workgroup)?;
            let vectors = rows.div_ceil(lines.into()).max(1).next_power_of_two();
            let vectors = u32::try_from(vectors).ok().filter(|&vectors| vectors <= profile.max_vectors)?;
            Some(Self { lanes: lanes as u32, lines, vectors }).filter(|tiles| tiles.accepts(partition, affine, profile))
        };
        let size = profile.workgroup_size.clamp(64, 256).min(MAX_TILE);
        let widths: Vec<u64> = (0..=MAX_SIDE.max(run).ilog2()).map(|k| 1 << k).filter(|&lanes| lanes >= run).collect();
        let all: Vec<Self> = [size, 256, MAX_TILE]
            .into_iter()
            .flat_map(|workgroup| widths.iter().rev().filter_map(move |&lanes| fits(workgroup, lanes)))
            .collect();
        let tiles = |tiles: &Self| outer * side.div_ceil(tiles.lanes.into());
        let full = all.iter().find(|each| tiles(each) >= profile.units.into());
        full.or_else(|| all.iter().max_by_key(|each| tiles(each))).copied()
    }

    /// Whether a device can hold segments of this partition so.
    pub(crate) fn accepts(&self, partition: &Partition, affine: Option<&Partition>, profile: &DeviceProfile) -> bool {
        let Some(vectors) = row_vectors(partition) else { return false };
        let [_, rows, ..] = partition.dims();
        let powers = [self.lanes, self.lines, self.vectors].iter().all(|n| n.is_power_of_two());
        let fits = self.workgroup() <= profile.workgroup_size.max(profile.max_lanes).min(MAX_TILE)
            && self.vectors <= MAX_VECTORS;
        let holds = rows <= u64::from(self.lines) * u64::from(self.vectors);
        let finds = affine.is_none_or(|affine| {
            let found = lookup::Rows::new(affine, 4 * vectors);
            found.is_some_and(|found| found.repeats == u64::MAX || found.repeats.is_multiple_of(rows))
        });
        let bound = 16 * rows * vectors <= profile.max_binding;
        powers && fits && holds && finds && bound && tile_vectors(partition) <= self.lanes
    }

    /// Invocations of a workgroup.
    pub(crate) fn workgroup(&self) -> u32 {
        self.lanes.saturating_mul(self.lines)
    }
}

/// Vectors of a row of memory whose columns are strided segments; `None` where segments are no whole vectors or columns
/// of vectors.
fn row_vectors(partition: &Partition) -> Option<u64> {
    let [_, rows, c, d] = partition.dims();
    let whole =
        if d == 1 { c.is_multiple_of(4) } else { d.is_multiple_of(4) && (d / 4).is_power_of_two() && d / 4 <= 64 };
    (!partition.is_contiguous() && rows * c * d > 0 && whole).then_some(c * d / 4)
}

/// Vectors side by side that belong to one segment.
pub(crate) fn tile_vectors(partition: &Partition) -> u32 {
    (partition.reduced_inner / 4).max(1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{DeviceFacts, DeviceKind};

    fn profile(min_subgroup: u32, max: u32) -> DeviceProfile {
        let facts = DeviceFacts {
            min_subgroup,
            max_workgroup_size: max,
            max_workgroup_memory: 32 << 10,
            ..DeviceFacts::DEFAULT
        };
        DeviceProfile::new(&facts)
    }

    #[test]
    fn rows_are_shared_by_many_lanes_that_hold_little() {
        let cases = [
            (1, Some("rows 1x1")),
            (16, Some("rows 4x1")),
            (49, Some("rows 8x2")),
            (64, Some("rows 8x2")),
            (1023, Some("rows 128x2")),
            (1024, Some("rows 128x2")),
            (4096, Some("rows 512x2")),
            (4097, None),
            (4100, Some("rows 128x16")),
            (32768, Some("rows 512x16")),
            (32769, None),
        ];
        for (len, expected) in cases {
            let chosen = Rows::choose(len, &profile(32, 1024));
            assert_eq!(chosen.map(|rows| Rows { cluster: 2, ..rows }.to_string()).as_deref(), expected, "{len}");
        }
        assert_eq!(Rows::choose(1024, &profile(8, 1024)).map(|rows| (rows.lanes, rows.vectors)), Some((128, 2)));
        let without = profile(1, 256);
        let exchange = Rows::choose(1024, &without).map(|rows| rows.exchange(false, &without).0);
        assert_eq!(exchange, Some(Exchange::Memory));
    }

    /// Rows that are read element by element: every element is held once, and what counts as there in every lane is.
    #[test]
    fn rows_are_held_whole_whatever_lanes_and_workgroups_are() {
        let mut rows = 0;
        for (subgroup, workgroup) in
            [1, 4, 8, 16, 32, 64, 128].into_iter().flat_map(|s| [8, 16, 64, 128, 256].map(|w| (s, w)))
        {
            let device = profile(subgroup, 256);
            let device = DeviceProfile { workgroup_size: workgroup, subgroup: subgroup.min(workgroup), ..device };
            for len in (1..2048).step_by(13) {
                let Some(held) = Rows::choose(len, &device) else { continue };
                let (_, least, most) = held.exchange(true, &device);
                let whole = held.whole(len);
                let (side, together) = (held.side(true), u64::from(held.together(whole, (least, most))));
                let lanes = u64::from(held.lanes);
                let side = if side == 0 { lanes } else { side.into() };
                let mut found = vec![0; held.room() as usize];
                for (lane, k, e) in
                    (0..lanes).flat_map(|l| (0..held.vectors.into()).flat_map(move |k| (0..4).map(move |e| (l, k, e))))
                {
                    // lib/held/spread.wgsl and row.wgsl
                    let vector = lane / side * side * together + k / together * together * lanes + k % together * side;
                    let column = 4 * vector + lane % side + e * side;
                    assert!(k >= u64::from(whole) || column < len, "{held}: {len} of {lane}, {k}, {e}");
                    found[column as usize] += 1;
                }
                assert!(found.iter().all(|&times| times == 1), "{held}: {len}");
                rows += 1;
            }
        }
        assert!(rows > 3000, "{rows}");
    }

    /// A norm over changing widths has few kernels.
    #[test]
    fn widths_share_their_schedules() {
        for kind in [DeviceKind::Gpu, DeviceKind::Software] {
            let profile = DeviceProfile { kind, ..profile(32, 1024) };
            let mut all: Vec<_> = (1..=60).filter_map(|len| Rows::choose(len, &profile)).collect();
            all.dedup();
            assert!(all.len() <= 5, "{all:?}");
        }
    }

    #[test]
    fn tiles_are_as_wide_as_fills_the_device() {
        let by = Partition::new;
        let cases = [
            ("instance, channels last", by(32, 49, 512, 1), Some("tiles 16x16x4")),
            ("batch of a few images", by(1, 1568, 512, 1), Some("tiles 1x512x4")),
            ("group, channels last", by(32, 49, 32, 16), Some("tiles 16x16x4")),
            ("too many rows", by(1, 1 << 20, 512, 1), None),
            ("odd columns", by(2, 9, 7, 1), None),
            ("groups of three channels", by(2, 9, 4, 3), None),
            ("groups of twelve channels", by(2, 9, 4, 12), None),
            ("rows", by(1, 1, 64, 512), None),
        ];
        for (name, partition, expected) in cases {
            let chosen = Tiles::choose(&partition, None, &profile(32, 1024));
            assert_eq!(chosen.map(|tiles| tiles.to_string()).as_deref(), expected, "{name}");
        }
    }
}
