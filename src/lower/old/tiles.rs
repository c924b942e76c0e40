//! How the rows of a map are spread over tiles: see `shaders/lib/tile.wgsl`.

use std::ops::Range;

use crate::kernel::parameters::Params;
use crate::schedule::DeviceProfile;
use crate::walk::row_quads;
use crate::walk::rows::Geometry;
use crate::walk::team::Team;
use crate::walk::workers::{Walkers, alike};

/// About `most` of so many tiles: such that all take as many, where that can be.
fn even_turns(tiles: u64, most: u64) -> u64 {
    let most = most.clamp(1, tiles);
    (most.div_ceil(2)..=most).rev().find(|&turns| tiles.is_multiple_of(turns)).unwrap_or(most)
}

/// How the rows of a window are spread over tiles: see `shaders/lib/tile.wgsl`.
pub(super) struct Tiles {
    rows: Geometry,
    /// Blocks of held rows.
    outer: u64,
    /// Sets of tiles of a row.
    parts: u64,
    /// Tiles of a set, mapped in turn.
    turns: u64,
    /// Of the rows of a block.
    walkers: Walkers,
}

impl Tiles {
    /// With so many walkers of a block, or as many as there is work for.
    pub(super) fn new(
        profile: &DeviceProfile,
        rows: &Geometry,
        range: &Range<u64>,
        team: &Team,
        walkers: Option<u64>,
    ) -> Self {
        let all = (range.end - range.start) / rows.width;
        let holds = rows.holds();
        let held = if holds { rows.held } else { all };
        let outer = all / held;
        let tiles = row_quads(rows.width).div_ceil(u64::from(team.lanes * team.quads));
        // with nothing to hold from row to row, neighbouring tiles come first
        let turns = if holds { 1 } else { even_turns(tiles, u64::from(profile.map_quads / team.quads)) };
        let parts = tiles.div_ceil(turns);
        let neighbours = if parts == 1 { team.groups() } else { 1 };
        let walkers = match walkers {
            Some(count) => Walkers::exactly(count, held, neighbours),
            None => {
                let wanted = profile.map_walkers(all, turns, parts, team, holds).div_ceil(outer);
                Walkers::new(wanted, held, neighbours, if holds { alike(rows.width) } else { 1 })
            }
        };
        Self { rows: Geometry { held, ..*rows }, outer, parts, turns, walkers }
    }

    /// Elements from one row of a walker to its next.
    pub(super) fn step(&self) -> u64 {
        self.walkers.spacing * self.rows.width
    }

    pub(super) fn params(&self, params: Params) -> Params {
        Params {
            segments: self.outer as u32,
            rows: self.rows.held as u32,
            width: self.rows.width as u32,
            parts: self.parts as u32,
            turns: self.turns as u32,
            blocks: self.walkers.count as u32,
            spacing: self.walkers.spacing as u32,
            slice_len: self.walkers.turns as u32,
            ..params
        }
    }

    /// Whether all quads of all tiles are there.
    pub(super) fn are_filled(&self, team: &Team) -> bool {
        self.rows.width == 4 * u64::from(team.lanes * team.quads) * self.parts * self.turns
    }

    pub(super) fn workgroups(&self, team: &Team) -> u64 {
        (self.outer * self.walkers.count * self.parts).div_ceil(team.groups())
    }
}
