//! Fragments of the kernels that reduce, merge and map.

use super::around::{after, before, dealt, maps};
use super::fragment::{Fragment, SHARED, divisor_of, enter, fragment, lanes};
use super::key::{Entry, Kernel, Source};
use crate::moments::Accumulator;

/// What reduces elements to moments, and what merges records of them.
struct Accumulated {
    moments: Fragment,
    records: Fragment,
}

/// How vectors at the edges of rows are mapped.
fn edges(kernel: &Kernel) -> Fragment {
    match kernel.consts.get(SHARED) {
        Some(_) => fragment!("lib/edges/shared.wgsl"),
        None => fragment!("lib/edges/own.wgsl"),
    }
}

fn accumulated(accumulator: Accumulator) -> Accumulated {
    match accumulator {
        Accumulator::Centred => Accumulated {
            moments: fragment!("lib/moments/centred.wgsl"),
            records: fragment!("lib/records/centred.wgsl"),
        },
        Accumulator::Uncentred => Accumulated {
            moments: fragment!("lib/moments/uncentred.wgsl"),
            records: fragment!("lib/records/uncentred.wgsl"),
        },
        Accumulator::Magnitude => Accumulated {
            moments: fragment!("lib/moments/magnitude.wgsl"),
            records: fragment!("lib/records/magnitude.wgsl"),
        },
        Accumulator::Largest => Accumulated {
            moments: fragment!("lib/moments/largest.wgsl"),
            records: fragment!("lib/records/largest.wgsl"),
        },
        Accumulator::Power => {
            Accumulated { moments: fragment!("lib/moments/power.wgsl"), records: fragment!("lib/records/power.wgsl") }
        }
    }
}

pub(super) fn fragments(kernel: &Kernel) -> Vec<Fragment> {
    if kernel.source == Source::Gradients {
        return gradients(kernel);
    }
    let mut all = vec![fragment!("lib/exact.wgsl", "exact": "Exact")];
    let of = kernel.accumulator.map(accumulated);
    let ordered = matches!(kernel.accumulator, Some(Accumulator::Power | Accumulator::Largest));
    let divides = matches!(kernel.entry, Entry::MapRows | Entry::MapColumns | Entry::MapWords | Entry::Export);
    if divides || ordered {
        all.extend([fragment!("lib/pow.wgsl"), fragment!("lib/divisor.wgsl", "divisor": "Divisor")]);
        all.extend(kernel.accumulator.into_iter().flat_map(divisor_of));
    }
    match kernel.entry {
        Entry::ReduceContiguous | Entry::ReduceStrided => {
            let strided = kernel.entry == Entry::ReduceStrided;
            all.push(fragment!("lib/row.wgsl"));
            all.extend(before(kernel));
            if strided {
                all.push(fragment!("lib/across.wgsl", "columns": "Columns"));
            } else {
                all.extend(lanes(kernel));
                all.push(fragment!("lib/along.wgsl"));
            }
            all.push(fragment!("lib/slices.wgsl", "slices": "Slices"));
            all.extend(of.into_iter().flat_map(|of| [of.records, fragment!("lib/source/values.wgsl"), of.moments]));
            if kernel.accumulator != Some(Accumulator::Centred) {
                all.push(fragment!("lib/source/chunk.wgsl"));
            }
            all.push(if strided {
                fragment!("reduce_strided.wgsl")
            } else {
                fragment!("reduce_contiguous.wgsl", "runs": "Runs")
            });
        }
        Entry::MapRows | Entry::MapColumns | Entry::MapWords => {
            all.extend([
                fragment!("lib/normalizer.wgsl"),
                fragment!("lib/lookup.wgsl"),
                fragment!("lib/row.wgsl"),
                fragment!("lib/affine.wgsl", "affine": "Affine"),
            ]);
            all.extend(before(kernel));
            all.extend(after(kernel));
            all.push(fragment!("lib/normalized.wgsl"));
            if kernel.entry == Entry::MapWords {
                all.extend([dealt(kernel), fragment!("lib/words.wgsl", "words": "Words"), fragment!("map_words.wgsl")]);
            } else {
                all.extend(of.map(|of| of.records));
                all.push(fragment!("lib/partials.wgsl", "partials": "Partials"));
            }
            if kernel.entry == Entry::MapRows {
                all.extend(lanes(kernel));
                all.push(edges(kernel));
                all.push(fragment!("map_rows.wgsl", "map_rows": "MapRows"));
            } else if kernel.entry == Entry::MapColumns {
                all.push(fragment!("map_columns.wgsl", "map_columns": "MapColumns"));
            }
        }
        Entry::MergeMoments => {
            all.extend(of.map(|of| of.records));
            all.push(fragment!("merge.wgsl", "merge": "Merge"));
        }
        Entry::Running => {
            all.extend(lanes(kernel));
            all.push(fragment!("running.wgsl", "running": "Running"));
        }
        Entry::Export => all.extend([fragment!("lib/each.wgsl", "each": "Each"), fragment!("export.wgsl")]),
        Entry::Narrow => all.extend([fragment!("lib/each.wgsl", "each": "Each"), fragment!("narrow.wgsl")]),
        Entry::Import => all.extend([fragment!("lib/each.wgsl", "each": "Each"), fragment!("import.wgsl")]),
        Entry::Compose => {
            all.extend(maps());
            all.extend([fragment!("lib/each.wgsl", "each": "Each"), fragment!("compose.wgsl")]);
        }
        Entry::Decompose => {
            all.extend(maps());
            all.push(fragment!("decompose.wgsl", "decompose": "Decompose"));
        }
        Entry::Scales => all.push(fragment!("scales.wgsl", "scales": "Scales")),
        Entry::Quantize => all.push(fragment!("quantize.wgsl", "quantize": "Quantize")),
        Entry::Count => all.extend([fragment!("lib/each.wgsl", "each": "Each"), fragment!("count.wgsl")]),
        _ => {}
    }
    all.push(enter(kernel));
    all
}

/// A reduction of gradients.
fn gradients(kernel: &Kernel) -> Vec<Fragment> {
    let strided = kernel.entry == Entry::ReduceStrided;
    let mut all = super::fragment::gradients(kernel);
    if strided {
        all.push(fragment!("lib/across.wgsl", "columns": "Columns"));
    } else {
        all.extend(lanes(kernel));
        all.push(fragment!("lib/along.wgsl"));
    }
    all.extend([
        fragment!("lib/slices.wgsl", "slices": "Slices"),
        fragment!("lib/source/gradients.wgsl", "gradients": "Gradients"),
        fragment!("lib/source/chunk.wgsl"),
        if strided { fragment!("reduce_strided.wgsl") } else { fragment!("reduce_contiguous.wgsl", "runs": "Runs") },
        enter(kernel),
    ]);
    all
}
