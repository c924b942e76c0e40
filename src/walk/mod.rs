//! How memory is walked: pure arithmetic of rows, segments, windows and groups of lanes.

pub(crate) mod lookup;
pub(crate) mod rows;
pub(crate) mod team;
pub(crate) mod window;
pub(crate) mod workers;

/// Quads of a row, one that starts inside a quad included.
pub(crate) fn row_quads(width: u64) -> u64 {
    if width.is_multiple_of(4) { width / 4 } else { (width + 6) / 4 }
}
