//! How the rows of a dispatch are spread over walkers and tiles: see `shaders/lib/span.wgsl` and `shaders/lib/tile.wgsl`.

use std::ops::Range;

use super::geometry::{self, Geometry};
use crate::kernel::Team;
use crate::params::Params;
use crate::schedule::{DeviceProfile, ROWS_ALIKE, row_quads};

/// How runs of memory are spread over walkers: see `first_of_walker` in `shaders/lib/span.wgsl`.
#[derive(Clone, Copy)]
pub(super) struct Walkers {
    pub count: u64,
    /// Distance of the runs that a walker walks in turn: neighbours walk neighbouring runs.
    pub spacing: u64,
    /// Runs of a walker.
    pub turns: u64,
}

impl Walkers {
    /// At least `wanted` walkers of `runs` runs, of which `neighbours` are read at a time; a walker's are multiples of `alike` apart.
    pub(super) fn new(wanted: u64, runs: u64, neighbours: u64, alike: u64) -> Self {
        let spacing = if wanted < runs { lcm(neighbours, alike) } else { wanted.max(1) };
        Self::spaced(wanted.next_multiple_of(spacing), spacing, runs)
    }

    /// Just so many walkers, a multiple of `ROWS_ALIKE` where runs have to start alike.
    pub(super) fn exactly(count: u64, runs: u64, neighbours: u64) -> Self {
        let spacing =
            [neighbours.max(ROWS_ALIKE), ROWS_ALIKE].into_iter().find(|&spacing| count.is_multiple_of(spacing));
        Self::spaced(count, spacing.unwrap_or(1), runs)
    }

    fn spaced(count: u64, spacing: u64, runs: u64) -> Self {
        Self { count, spacing, turns: runs.div_ceil(count) }
    }
}

pub(super) fn lcm(a: u64, b: u64) -> u64 {
    a / geometry::gcd(a, b) * b
}

/// Distance of runs of `len` elements that start at the same place in a quad.
pub(super) fn alike(len: u64) -> u64 {
    if len.is_multiple_of(4) { 1 } else { ROWS_ALIKE }
}

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
        // on a processor invocations read a stream each: taking rows in turn costs a quarter there
        let neighbours = if parts == 1 && profile.min_lanes > 1 { team.groups() } else { 1 };
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The runs of every walker, by the formula of `first_of_walker`.
    fn walked(walkers: &Walkers, runs: u64) -> Vec<Vec<u64>> {
        let Walkers { count, spacing, turns } = *walkers;
        let first = |w: u64| w / spacing * turns * spacing + w % spacing;
        let of = |w| (0..turns).map(|t| first(w) + t * spacing).filter(|&run| run < runs).collect();
        (0..count).map(of).collect()
    }

    #[test]
    fn walkers_share_all_runs_and_step_as_they_must() {
        for (runs, wanted, neighbours, alike) in [
            (1, 1, 8, 4),
            (7, 7, 8, 4),
            (7, 3, 1, 1),
            (100, 8, 8, 1),
            (100, 8, 2, 4),
            (1000, 64, 6, 4),
            (1024, 32, 32, 1),
            (33, 32, 32, 4),
        ] {
            let made = Walkers::new(wanted, runs, neighbours, alike);
            let all = walked(&made, runs);
            let mut seen: Vec<u64> = all.concat();
            seen.sort_unstable();
            assert_eq!(seen, (0..runs).collect::<Vec<_>>(), "{runs} {wanted} {neighbours} {alike}");
            let apart = |walk: &Vec<u64>| {
                walk.windows(2).all(|pair| (pair[1] - pair[0]).is_multiple_of(lcm(neighbours, alike)))
            };
            assert!(all.iter().all(apart), "{runs} {wanted} {neighbours} {alike}");
        }
        for (count, runs, neighbours) in [(1, 9, 8), (16, 100, 8), (4, 100, 8), (3, 10, 1), (12, 13, 8)] {
            let mut seen: Vec<u64> = walked(&Walkers::exactly(count, runs, neighbours), runs).concat();
            seen.sort_unstable();
            assert_eq!(seen, (0..runs).collect::<Vec<_>>(), "{count} {runs} {neighbours}");
        }
    }
}
