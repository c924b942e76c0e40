//! Forward passes of segments that lanes hold in registers.

use std::ops::Range;

use super::affine::affine_block;
use super::bindings::{Access, Heads, Unbindable, VectorWalk};
use super::{Draft, Lowering, MapOperands, Tensor, access};
use crate::kernel::blocks::{Affine, Divisor, Eps, Exact, HeldRow, HeldTile, Lanes};
use crate::kernel::parameters::Parameters;
use crate::kernel::{EPS_ALONE, Entry, Exchange, FOLDS, IN_PAIRS, LANES_GIVEN, SAME_COLUMNS, SPREAD, Settings, Source};
use crate::operand::Operand;
use crate::plan::Reduction;
use crate::schedule::{HeldRows, HeldTiles, lent, tile_vectors};
use crate::walk::lookup::{self, Found};

/// Rows that start alike: windows are cut between so many.
const ALIKE: u64 = 4;

impl Lowering {
    /// Normalizes segments that are rows; saves their moments where asked.
    pub(crate) fn row_forward(
        &mut self,
        reduction: &Reduction,
        schedule: &HeldRows,
        map: &MapOperands,
        saved: Option<Tensor>,
    ) -> Result<(), Unbindable> {
        let len = reduction.partition.segment_len();
        let accesses = |range: &Range<u64>| accesses(reduction, map, saved, range);
        let in_pairs = !map.has_whole_words(len);
        let paired = in_pairs.then(|| schedule.of_pairs(len, &self.profile)).flatten();
        let schedule = paired.unwrap_or(*schedule);
        let units = [ALIKE * len, if in_pairs { 2 * len } else { len }];
        for range in self.windows(Entry::RowForward, 0..reduction.partition.elements(), &units, &accesses)? {
            let affine = affine(map, len, &range);
            let straddles = map.straddles(len);
            let walk = map.vectors(len, &range).map(|unit| VectorWalk::new(unit, Heads::Never, affine.along));
            let accesses = accesses(&range);
            let walk = if self.takes_vectors(Entry::RowForward, &accesses, walk)? { walk } else { None };
            let spread = walk.is_none();
            let whole = schedule.whole(len);
            let consts = affine.choices(choices(reduction, map)).with("VECTORS", schedule.vectors);
            let mut consts = consts.with(LANES_GIVEN, true);
            if spread {
                consts = consts.with(SPREAD, true);
            }
            if straddles {
                consts = consts.with("STRADDLES", true);
            }
            if in_pairs {
                consts = consts.with(IN_PAIRS, true);
            }
            let groups = u64::from(schedule.workgroup / schedule.lanes);
            let (exchange, least, most) = match in_pairs {
                true => schedule.exchange_of_pairs(),
                false => schedule.exchange(spread && affine.found != Found::Mixed, &self.profile),
            };
            let mut overrides = Settings::default()
                .with("WORKGROUP", schedule.workgroup)
                .with("SIDE", schedule.side(spread))
                .with("TOGETHER", schedule.together(whole, (least, most)))
                .with("WHOLE", whole)
                .with("LEAST", least)
                .with("MOST", most);
            if exchange == Exchange::Workgroup {
                overrides = overrides.with("CLUSTER", schedule.cluster);
            }
            if in_pairs {
                overrides = overrides.with("BESIDE", lent(groups as u32, schedule.lanes, schedule.vectors));
            }
            let block = HeldRow {
                segments: ((range.end - range.start) / len) as u32,
                width: len as u32,
                turns: schedule.vectors,
                len: len as f32,
                inverse_len: (1.0 / len as f64) as f32,
                pad: [0; 3],
            };
            let draft = Draft {
                entry: Entry::RowForward,
                accumulator: Some(reduction.accumulator),
                source: Source::Values,
                exchange,
                across: false,
                consts,
                around: map.around.key(),
                overrides: map.around.settings(affine.settings(overrides, spread), len),
                walk,
                column: map.column(range.start),
            };
            let lanes = Lanes::new(schedule.lanes);
            let parameters = shared(reduction).with(affine.block).with(block).with(lanes);
            let parameters = map.around.parameters(parameters, &range);
            self.dispatch(draft, parameters, &accesses, u64::from(block.segments).div_ceil(groups))?;
        }
        Ok(())
    }

    /// Normalizes segments that are columns of rows; saves their moments where asked.
    pub(crate) fn tile_forward(
        &mut self,
        reduction: &Reduction,
        schedule: &HeldTiles,
        map: &MapOperands,
        saved: Option<Tensor>,
    ) -> Result<(), Unbindable> {
        let [_, rows, c, d] = reduction.partition.dims();
        let width = c * d;
        let accesses = |range: &Range<u64>| accesses(reduction, map, saved, range);
        let units = [rows * width];
        for range in self.windows(Entry::TileForward, 0..reduction.partition.elements(), &units, &accesses)? {
            let affine = affine(map, width, &range);
            let walk = map.vectors(width, &range).map(|unit| VectorWalk::new(unit, Heads::Never, affine.along));
            let accesses = accesses(&range);
            let walk = if self.takes_vectors(Entry::TileForward, &accesses, walk)? { walk } else { None };
            let room = u64::from(schedule.lines * schedule.vectors);
            let whole = match rows {
                rows if rows == room => schedule.vectors,
                rows if 2 * rows >= room => schedule.vectors / 2,
                _ => 0,
            };
            let mut consts = affine.choices(choices(reduction, map)).with("VECTORS", schedule.vectors);
            if map.straddles(width) {
                consts = consts.with("STRADDLES", true);
            }
            let overrides = Settings::default()
                .with("WORKGROUP", schedule.workgroup())
                .with("LANES", schedule.lanes)
                .with("LINES", schedule.lines)
                .with("RUN", tile_vectors(&reduction.partition))
                .with("WHOLE", whole);
            let outer = (range.end - range.start) / (rows * width);
            let tiles = (width / 4).div_ceil(schedule.lanes.into());
            let len = reduction.partition.segment_len();
            let block = HeldTile {
                rows: rows as u32,
                vectors: (width / 4) as u32,
                tiles: tiles as u32,
                outer: outer as u32,
                turns: schedule.vectors,
                len: len as f32,
                inverse_len: (1.0 / len as f64) as f32,
                pad: 0,
            };
            let draft = Draft {
                entry: Entry::TileForward,
                accumulator: Some(reduction.accumulator),
                source: Source::Values,
                exchange: Exchange::Memory,
                across: d == 1,
                consts,
                around: map.around.key(),
                overrides: map.around.settings(affine.settings(overrides, false), width),
                walk,
                column: map.column(range.start),
            };
            let parameters = shared(reduction).with(affine.block).with(block);
            let parameters = map.around.parameters(parameters, &range);
            self.dispatch(draft, parameters, &accesses, outer * tiles)?;
        }
        Ok(())
    }
}

/// What a window touches.
fn accesses(reduction: &Reduction, map: &MapOperands, saved: Option<Tensor>, range: &Range<u64>) -> Vec<Access> {
    let mut all = map.accesses(range);
    let (low, high) = reduction.partition.segments_of(range.start, range.end);
    all.extend(saved.map(|tensor| access(Operand::Moments, tensor, &(low..high))));
    all
}

fn shared(reduction: &Reduction) -> Parameters {
    let divisor = Divisor::from(&reduction.divisor);
    let eps = Eps { inside: divisor.eps_inside, square_root: divisor.eps_root, pad: [0; 2] };
    Parameters::default().with(Exact::NEW).with(divisor).with(eps)
}

/// Which fragments divide and store.
fn choices(reduction: &Reduction, map: &MapOperands) -> Settings {
    let divisor = &reduction.divisor;
    let choose = |all: Settings, name, chosen| if chosen { all.with(name, true) } else { all };
    let all = choose(Settings::default(), EPS_ALONE, divisor.is_safe_root(reduction.accumulator));
    choose(all, FOLDS, map.scale.is_some() && divisor.infinities.folds_scale())
}

/// How the parameters of rows are found.
struct Parameter {
    block: Affine,
    found: Found,
    by_row: bool,
    run_of_vectors: bool,
    /// They lie as the elements do.
    along: bool,
}

impl Parameter {
    fn choices(&self, all: Settings) -> Settings {
        if self.found == Found::Columns && !self.by_row { all.with(SAME_COLUMNS, true) } else { all }
    }

    fn settings(&self, overrides: Settings, spread: bool) -> Settings {
        if self.found == Found::Columns && !self.by_row {
            return overrides;
        }
        overrides
            .with("AFFINE", self.found as u32)
            .with("AFFINE_BASE", self.by_row)
            .with("RUN_OF_VECTORS", self.run_of_vectors && !spread)
    }
}

/// Of rows of a width, which the schedule has accepted.
fn affine(map: &MapOperands, width: u64, range: &Range<u64>) -> Parameter {
    let partition = map.affine.filter(|_| map.scale.is_some() || map.bias.is_some());
    let placed =
        partition.and_then(|p| lookup::Rows::new(&p, width)).map(|rows| (rows.found, rows.placed(range, false)));
    let block = affine_block(placed.as_ref().map(|(_, placed)| placed));
    let Some((found, lookup::Placed { by_row, run_of_vectors, .. })) = placed else {
        return Parameter { block, found: Found::Row, by_row: false, run_of_vectors: false, along: false };
    };
    Parameter { block, found, by_row, run_of_vectors, along: found == Found::Columns }
}
