//! Maps: a tensor normalized by moments that are there, or are merged on the way.

use std::ops::Range;

use super::affine::affine_block;
use super::bindings::{Heads, Unbindable, VectorWalk};
use super::{Draft, Lowering, MapOperands, Tensor, access};
use crate::kernel::blocks::{self, Affine, Divisor, Exact, Lanes, Partials};
use crate::kernel::parameters::Parameters;
use crate::kernel::{Around, Entry, Exchange, LANES_GIVEN, SHARED, Settings, Source};
use crate::operand::Operand;
use crate::partition::Partition;
use crate::plan::Reduction;
use crate::schedule::{Grid, LINE, MapColumns, MapRows};
use crate::walk::lookup::{Found, Placed};

/// Most lanes that merge the records of a segment: what each of them leaves is added up by one after the other.
const MAX_LINES: u64 = 16;

/// The moments that a map normalizes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    /// Absent: zeros.
    pub records: Option<Tensor>,
    /// Records of each segment: those of a slice side by side.
    pub slices: u64,
    /// Whether there may be several, if not here.
    pub merges: bool,
    /// Where merged moments are stored.
    pub saved: Option<Tensor>,
}

/// What a dispatch maps: rows of a width, whole ones or a part of one.
struct Part {
    range: Range<u64>,
    rows: u64,
    width: u64,
    /// Rows share words of what is written.
    shares: bool,
    statistics: Placed,
    affine: Affine,
    /// All elements of a vector have one parameter.
    run_of_vectors: bool,
    overrides: Settings,
}

impl Lowering {
    /// Normalizes every element by the moments of its segment of `partition`, one record each; without records by
    /// zeros.
    pub(crate) fn apply(
        &mut self,
        reduction: &Reduction,
        partition: &Partition,
        map: &MapOperands,
        statistics: Option<Tensor>,
    ) -> Result<(), Unbindable> {
        self.map(reduction, partition, map, &Moments { records: statistics, slices: 1, merges: false, saved: None })
    }

    /// Normalizes every element by the moments of its segment of `partition`.
    pub(crate) fn map(
        &mut self,
        reduction: &Reduction,
        partition: &Partition,
        map: &MapOperands,
        moments: &Moments,
    ) -> Result<(), Unbindable> {
        let elements = partition.elements();
        if elements == 0 {
            return Ok(());
        }
        let grid = grid(partition, map);
        if by_words(&grid, map) {
            // its moments were merged before: see `merges`
            return self.map_words(reduction, partition, map, moments.records);
        }
        let by_rows = grid.statistics.found == Found::Row;
        let entry = if by_rows { Entry::MapRows } else { Entry::MapColumns };
        let merges = moments.slices > 1;
        let accesses = |range: &Range<u64>| {
            let mut all = map.accesses(range);
            let (low, high) = partition.segments_of(range.start, range.end);
            let records = if merges { 0..moments.slices * partition.segments() } else { low..high };
            all.extend(moments.records.map(|tensor| access(Operand::Partials, tensor, &records)));
            all.extend(moments.saved.map(|tensor| access(Operand::Moments, tensor, &(0..partition.segments()))));
            all
        };
        for range in self.windows(entry, 0..elements, &grid.units(map.grain()), &accesses)? {
            let part = part(&grid, reduction, map, moments, range);
            let along = grid.affine.is_none_or(|rows| rows.found == Found::Columns);
            let heads = match by_rows {
                true if part.shares => Heads::Written,
                true => Heads::Read,
                false => Heads::Never,
            };
            let walk = map.walk(&part.range, VectorWalk::new(part.width, heads, along));
            let partials = Partials { count: moments.slices as u32, stride: partition.segments() as u32, pad: [0; 2] };
            let parameters = Parameters::default()
                .with(Exact::NEW)
                .with(Divisor::from(&reduction.divisor))
                .with(part.affine)
                .with(partials);
            let (mut draft, parameters, workgroups) = if by_rows {
                self.rows_of(&part, (moments, map.around.after.is_none()), parameters)
            } else {
                self.columns_of(&grid, &part, (moments, map.around.after.is_none()), parameters)
            };
            if map.straddles(part.width) {
                draft.consts = draft.consts.with("STRADDLES", true);
            }
            draft.accumulator = Some(reduction.accumulator);
            draft.overrides = map.around.settings(draft.overrides, part.width);
            draft.walk = walk;
            let parameters = map.around.parameters(parameters, &part.range);
            (draft.around, draft.column) = (map.around.key(), map.column(part.range.start));
            self.dispatch(draft, parameters, &accesses(&part.range), workgroups)?;
        }
        Ok(())
    }

    /// Whether a map merges records of a segment; one by words takes one record, and saves none.
    pub(crate) fn merges(partition: &Partition, map: &MapOperands) -> bool {
        !by_words(&grid(partition, map), map)
    }

    /// With moments, of rows that are mapped by themselves or with other tensors beside them.
    fn rows_of(
        &self,
        part: &Part,
        (moments, alone): (&Moments, bool),
        parameters: Parameters,
    ) -> (Draft, Parameters, u64) {
        let schedule = MapRows::choose(part.width, alone, &self.profile);
        let tiles = schedule.tiles(part.width, part.shares);
        let exchange = if self.profile.subgroup > 1 { Exchange::Subgroup } else { Exchange::Memory };
        let side = LINE.min(schedule.lanes);
        let overrides = part
            .overrides
            .with("RUN_OF_VECTORS", part.run_of_vectors && !part.shares)
            .with("WORKGROUP", schedule.workgroup)
            .with("SIDE", side)
            .with("LEAST", side)
            .with("MOST", schedule.workgroup)
            .with("MERGES", moments.merges)
            .with("SAVE", moments.saved.is_some());
        let cluster = self.profile.subgroup;
        let overrides = if exchange == Exchange::Subgroup { overrides.with("CLUSTER", cluster) } else { overrides };
        let block = blocks::MapRows {
            statistics: part.statistics.lookup,
            rows: part.rows as u32,
            width: part.width as u32,
            tiles: tiles as u32,
            first_row: part.statistics.first_row,
            first_column: u32::from(part.statistics.inner),
            pad: [0; 3],
        };
        let mut draft = draft(Entry::MapRows, exchange, ("VECTORS", schedule.vectors), overrides);
        draft.consts = draft.consts.with(LANES_GIVEN, true);
        if part.shares {
            draft.consts = draft.consts.with(SHARED, true);
        }
        let workgroups = (part.rows * tiles).div_ceil(u64::from(schedule.workgroup / schedule.lanes));
        (draft, parameters.with(block).with(Lanes::new(schedule.lanes)), workgroups)
    }

    fn columns_of(
        &self,
        grid: &Grid,
        part: &Part,
        (moments, alone): (&Moments, bool),
        parameters: Parameters,
    ) -> (Draft, Parameters, u64) {
        let rows = grid.repeats().min(part.rows);
        let blocks = part.rows / rows;
        let schedule = MapColumns::choose(part.width, rows, blocks, alone, &self.profile);
        let MapColumns { workgroup, lanes, slices, slice_rows, .. } = schedule;
        let lookup = part.statistics.lookup;
        let tile = u64::from(lanes);
        let tiles = part.width.div_ceil(4).div_ceil(tile);
        let runs = if lookup.run == 1 { 4 * tile } else { (4 * tile).div_ceil(lookup.run.into()) + 1 };
        let segments = runs.min(lookup.wrap.into());
        let opens = (part.range.start / grid.width).is_multiple_of(grid.repeats());
        let overrides = part
            .overrides
            .with("WORKGROUP", workgroup)
            .with("LANES", lanes)
            .with("LINES", workgroup / lanes)
            .with("HELD", grid.holds())
            // what is looked up once a lane is looked up by element
            .with("RUN_OF_VECTORS", part.run_of_vectors && !grid.holds())
            .with("STATISTICS", grid.statistics.found as u32)
            .with("SAVE", moments.saved.is_some() && opens);
        let block = blocks::MapColumns {
            statistics: lookup,
            rows: rows as u32,
            width: part.width as u32,
            tile: lanes,
            tiles: tiles as u32,
            slices: slices as u32,
            slice_rows: slice_rows as u32,
            segments: segments as u32,
            lines: (u64::from(workgroup) / segments).clamp(1, MAX_LINES) as u32,
            first_row: part.statistics.first_row,
            first_column: part.statistics.first_column,
            pad: [0; 2],
        };
        let draft = draft(Entry::MapColumns, Exchange::None, ("ROWS", schedule.rows), overrides);
        (draft, parameters.with(block), tiles * slices * blocks)
    }
}

/// The rows of a map, of a tensor with an element.
fn grid(partition: &Partition, map: &MapOperands) -> Grid {
    let affine = map.affine.as_ref().filter(|_| map.scale.is_some() || map.bias.is_some());
    Grid::new(partition, affine, partition.elements(), map.grain())
}

/// Whether a map is dealt by words of what is written.
fn by_words(grid: &Grid, map: &MapOperands) -> bool {
    let by_row = grid.statistics.found == Found::Row;
    !(map.has_whole_words(grid.width) || by_row && map.takes_shared_rows(grid.width))
}

fn draft(entry: Entry, exchange: Exchange, (name, value): (&'static str, u32), overrides: Settings) -> Draft {
    Draft {
        entry,
        accumulator: None,
        source: Source::Values,
        exchange,
        across: false,
        consts: Settings::default().with(name, value),
        around: Around::default(),
        overrides,
        walk: None,
        column: 0,
    }
}

fn part(grid: &Grid, reduction: &Reduction, map: &MapOperands, moments: &Moments, range: Range<u64>) -> Part {
    let shares = !map.has_whole_words(grid.width);
    let len = range.end - range.start;
    let whole = range.start.is_multiple_of(grid.width) && len.is_multiple_of(grid.width);
    let width = if whole { grid.width } else { len };
    let divisor = &reduction.divisor;
    let placed = grid.affine.map(|rows| (rows.found, rows.placed(&range, false)));
    let overrides = Settings::default()
        .with("TAILS", shares || !width.is_multiple_of(4))
        .with("PLAIN", divisor.is_safe_root(reduction.accumulator))
        .with("FOLDED", map.scale.is_some() && divisor.infinities.folds_scale())
        .with("AFFINE", placed.map_or(Found::Columns, |(found, _)| found) as u32)
        .with("AFFINE_BASE", placed.is_some_and(|(_, placed)| placed.by_row));
    let run_of_vectors = placed.is_some_and(|(_, placed)| placed.run_of_vectors);
    let affine = affine_block(placed.as_ref().map(|(_, placed)| placed));
    let statistics = grid.statistics.placed(&range, moments.slices > 1);
    Part { rows: len / width, width, shares, statistics, affine, run_of_vectors, overrides, range }
}
