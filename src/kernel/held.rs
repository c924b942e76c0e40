//! Fragments of the kernels that hold segments in registers: what an accumulator does with them, how they lie in
//! memory, what divides them, where their parameters are. Which of them a kernel takes say constants of its key.

use super::around::{after, before};
use super::fragment::{Fragment, IN_PAIRS, SPREAD, divisor, fragment, lanes};
use super::key::{Entry, Kernel};
use super::terse::shader;
use crate::moments::Accumulator;
use crate::operand::Operand;

/// The divisor is the root of variance + eps, eps no tiny number.
pub(crate) const EPS_ALONE: &str = "EPS_ALONE";

/// An infinite scale is folded with the mean.
pub(crate) const FOLDS: &str = "FOLDS";

/// Parameters of neighbours are neighbours, the same in every row.
pub(crate) const SAME_COLUMNS: &str = "SAME_COLUMNS";

pub(super) fn fragments(kernel: &Kernel) -> Vec<Fragment> {
    let chosen = |name| kernel.consts.get(name).is_some();
    let mut all = if chosen(EPS_ALONE) {
        vec![
            fragment!("lib/exact.wgsl", "exact": "Exact"),
            fragment!("lib/held/eps.wgsl", "eps": "Eps"),
            fragment!("lib/divisors/scaled.wgsl"),
        ]
    } else {
        let mut all = divisor(kernel.accumulator);
        all.retain(|fragment| fragment.text() != LOOKUP);
        all.push(fragment!("lib/held/divisors.wgsl"));
        all
    };
    all.extend(kernel.accumulator.map(|accumulator| match accumulator {
        Accumulator::Centred => fragment!("lib/held/centred.wgsl"),
        Accumulator::Uncentred => fragment!("lib/held/uncentred.wgsl"),
        Accumulator::Magnitude => fragment!("lib/held/magnitude.wgsl"),
        Accumulator::Largest => fragment!("lib/held/largest.wgsl"),
        Accumulator::Power => fragment!("lib/held/power.wgsl"),
    }));
    match kernel.entry {
        _ if !chosen(SAME_COLUMNS) => {
            all.extend([fragment!("lib/lookup.wgsl"), fragment!("lib/affine.wgsl", "affine": "Affine")]);
        }
        Entry::RowForward if !chosen(SPREAD) => all.push(fragment!("lib/held/affine_vectors.wgsl")),
        _ => all.push(fragment!("lib/affine_columns.wgsl")),
    }
    all.push(match kernel.has(Operand::Moments) {
        true => fragment!("lib/held/save.wgsl"),
        false => fragment!("lib/held/save_none.wgsl"),
    });
    if kernel.entry == Entry::RowForward {
        all.push(if chosen(SPREAD) { fragment!("lib/held/spread.wgsl") } else { fragment!("lib/held/vectors.wgsl") });
        all.push(fragment!("lib/held/row.wgsl", "held": "HeldRow"));
        all.extend(lanes(kernel));
    } else {
        all.extend([
            fragment!("lib/row.wgsl"),
            fragment!("lib/held/tile.wgsl", "held": "HeldTile"),
            fragment!("lib/held/lines.wgsl"),
        ]);
    }
    all.extend([if kernel.across { fragment!("lib/held/across.wgsl") } else { fragment!("lib/held/along.wgsl") }]);
    all.extend(before(kernel));
    all.extend(after(kernel));
    let folds = chosen(FOLDS);
    all.push(if folds { fragment!("lib/held/again_folded.wgsl") } else { fragment!("lib/held/again.wgsl") });
    if folds || chosen(IN_PAIRS) {
        all.push(fragment!("lib/held/in_place.wgsl"));
    }
    if chosen(IN_PAIRS) {
        all.extend([fragment!("lib/pairs.wgsl"), fragment!("lib/held/pairs.wgsl")]);
    } else {
        all.push(if folds { fragment!("lib/held/fold.wgsl") } else { fragment!("lib/held/store.wgsl") });
        all.push(fragment!("lib/held/stream.wgsl"));
    }
    all.push(fragment!("row_forward.wgsl"));
    all
}

/// What `divisor` brings for others.
const LOOKUP: &str = shader!("lib/lookup.wgsl");
