//! Lanes: how the invocations of a workgroup share the segments that it works on.

use std::fmt;

/// How invocations share the work of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Team {
    /// Invocations of a workgroup, a power of two.
    pub workgroup_size: u32,
    /// Invocations that share a segment (maps: a tile), a power of two.
    pub lanes: u32,
    /// Invocations that share a run of memory of it, a power of two.
    pub run_lanes: u32,
    /// Quads of four elements that an invocation takes in at once.
    pub quads: u32,
    /// Tiles of columns that an invocation reduces in turn, where it reduces columns; times `quads` that it holds, where it holds
    /// segments whole; segments whose walks it takes together, where it finds them again in a cache.
    pub turns: u32,
    /// Invocations that exchange through a subgroup, a power of two; 1: all exchange through workgroup memory.
    pub cluster: u32,
}

impl Team {
    /// Invocations that each have work of their own.
    pub(crate) const fn alone(workgroup_size: u32) -> Self {
        Self { workgroup_size, lanes: 1, run_lanes: 1, quads: 1, turns: 1, cluster: 1 }
    }

    /// Segments (maps: tiles) of a workgroup.
    pub(crate) fn groups(&self) -> u64 {
        u64::from(self.workgroup_size / self.lanes)
    }

    /// Whether lanes hold so many quads.
    pub(crate) fn has_room(&self, quads: u64) -> bool {
        quads <= u64::from(self.lanes) * self.held()
    }

    /// Whether a segment of so many elements is just what lanes hold.
    pub(crate) fn fills(&self, len: u64) -> bool {
        len == 4 * u64::from(self.lanes) * self.held()
    }

    /// Quads that an invocation holds.
    pub(crate) fn held(&self) -> u64 {
        u64::from(self.quads) * u64::from(self.turns)
    }

    /// Turns of loops that a segment takes which it holds, unusual numbers included.
    pub(crate) fn held_turns(&self) -> u64 {
        4 * self.held() + self.exchange_turns()
    }

    /// Turns of loops in which lanes exchange what they have of a segment (a word for each of six sums), and of those around them.
    pub(crate) fn exchange_turns(&self) -> u64 {
        let each = if self.cluster > 1 { self.lanes / self.cluster } else { self.lanes.ilog2() };
        u64::from(6 * each + 8)
    }

    pub(crate) fn is_valid(&self) -> bool {
        let powers =
            [self.workgroup_size, self.lanes, self.run_lanes, self.cluster].iter().all(|n| n.is_power_of_two());
        let nested = self.cluster.max(self.run_lanes) <= self.lanes && self.lanes <= self.workgroup_size;
        powers && nested && (1..=MAX_QUADS).contains(&self.quads) && (1..=MAX_TURNS).contains(&self.turns)
    }
}

impl fmt::Display for Team {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.lanes, self.workgroup_size / self.lanes, self.quads)?;
        if self.turns > 1 {
            write!(f, "x{}", self.turns)?;
        }
        if self.cluster > 1 { f.write_str(" subgroups") } else { Ok(()) }
    }
}

/// Most tiles of columns that an invocation reduces in turn.
pub(crate) const MAX_TURNS: u32 = 16;

/// Most quads that an invocation holds.
pub(crate) const MAX_QUADS: u32 = 64;

/// How the records or the parameters of elements are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Found {
    /// By column: the same in every row of a tile, and held there.
    #[default]
    Held,
    /// One for a row.
    ByRow,
    /// Looked up for every element.
    ByElement,
}

/// How a kernel finds records and parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Lookup {
    pub statistics: Found,
    /// Records of a row are neighbours, as its elements are.
    pub statistics_along: bool,
    pub affine: Found,
    pub affine_along: bool,
    /// All elements of a segment share their record: it is looked up once.
    pub hoisted: bool,
}

impl Lookup {
    /// Parameters are held, and walked as the tensors are.
    pub(crate) fn holds_along(&self) -> bool {
        self.affine == Found::Held && self.affine_along
    }
}
