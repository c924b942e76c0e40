//! Where scale and bias of rows are found: parameters and settings of `shaders/lib/affine.wgsl`.

use crate::kernel::Settings;
use crate::kernel::blocks::{Affine, Lookup};
use crate::walk::lookup::{Found, Placed};

/// Of the rows of a window; `None`: the norm has neither.
pub(super) fn affine_block(placed: Option<&Placed>) -> Affine {
    let Some(&Placed { lookup, first_row, first_column, .. }) = placed else {
        let lookup = Lookup { outer_div: 1, inner_div: 1, inner_mod: 1, run: 1, wrap: 1, ..Lookup::default() };
        return Affine { lookup, ..Affine::default() };
    };
    // beyond any column: nothing repeats
    let inverse = |n: u32| if n >= 1 << 31 { 0.0 } else { 1.0 / n as f32 };
    let (inverse_run, inverse_wrap) = (inverse(lookup.run), inverse(lookup.wrap));
    Affine { lookup, first_row, first_column, inverse_run, inverse_wrap }
}

pub(super) fn with_affine(overrides: Settings, found: Found, placed: &Placed) -> Settings {
    overrides
        .with("AFFINE", found as u32)
        .with("AFFINE_BASE", placed.by_row)
        .with("RUN_OF_VECTORS", placed.run_of_vectors)
}
