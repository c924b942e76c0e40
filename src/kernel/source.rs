//! A kernel's source: constants, parameters, bindings and accessors, fragments, the kernel itself.

use std::fmt::Write;

use super::around::{dealt, store};
use super::fragment::{F16_BUILTINS, Fragment, enter, fragment, gradients, lanes, rows, runs, slopes};
use super::key::{Entry, Exchange, Kernel};
use super::prune::prune;
use super::{access, held, reduced};
use crate::element::Element;
use crate::operand::Operand;

/// Where a map finds the coefficients of segments.
fn known(kernel: &Kernel) -> Vec<Fragment> {
    match kernel {
        _ if kernel.has(Operand::Partials) => {
            vec![fragment!("lib/parts.wgsl", "parts": "Parts"), fragment!("lib/known/merged.wgsl")]
        }
        _ if kernel.has(Operand::Coefficients) => vec![fragment!("lib/known/stored.wgsl")],
        _ => vec![fragment!("lib/known/given.wgsl")],
    }
}

/// Conversions of what is not f32.
fn elements(kernel: &Kernel) -> Vec<Fragment> {
    let (f16, bf16) = (kernel.converts(Element::F16), kernel.converts(Element::Bf16));
    let mut all = Vec::new();
    if f16 || bf16 {
        all.push(fragment!("lib/elements/halves.wgsl"));
    }
    if f16 {
        all.push(match kernel.consts.get(F16_BUILTINS) {
            Some(_) => fragment!("lib/elements/f16_builtins.wgsl"),
            None => fragment!("lib/elements/f16.wgsl"),
        });
    }
    if bf16 {
        all.push(fragment!("lib/elements/bf16.wgsl"));
    }
    all
}

/// Fragments of a kernel, in the order of the source; the kernel's own file and its entry come last.
fn fragments(kernel: &Kernel) -> Vec<Fragment> {
    let mut all = match kernel.entry {
        // one arm for each kernel
        Entry::RowForward | Entry::TileForward => held::fragments(kernel),
        Entry::ReduceContiguous
        | Entry::ReduceStrided
        | Entry::MapRows
        | Entry::MapColumns
        | Entry::MapWords
        | Entry::Narrow
        | Entry::MergeMoments
        | Entry::Export
        | Entry::Import
        | Entry::Running
        | Entry::Compose
        | Entry::Decompose
        | Entry::Scales
        | Entry::Quantize
        | Entry::Count => return once(reduced::fragments(kernel)),
        Entry::RowBackward | Entry::RunBackward | Entry::MapBackward => {
            let mut all = gradients(kernel);
            all.extend(lanes(kernel));
            all.extend(store(kernel));
            let columns = fragment!("lib/gradient/column_sums.wgsl", "column_sums": "ColumnSums");
            match kernel.entry {
                Entry::RowBackward => {
                    all.extend([columns, fragment!("lib/row_again.wgsl")]);
                    all.extend(rows(kernel));
                    all.push(fragment!("row_backward.wgsl", "row_backward": "RowBackward"));
                }
                Entry::RunBackward => {
                    all.extend(runs(kernel));
                    all.push(fragment!("lib/run_again.wgsl"));
                    all.push(fragment!("run_backward.wgsl", "run_backward": "RunBackward"));
                }
                _ => {
                    all.extend([columns, fragment!("lib/gradient/again.wgsl")]);
                    all.extend(known(kernel));
                    all.push(fragment!("map_backward.wgsl", "map_backward": "MapBackward"));
                }
            }
            all
        }
        Entry::MapWordsBackward => {
            let mut all = gradients(kernel);
            all.extend(known(kernel));
            all.extend(store(kernel));
            all.extend([
                dealt(kernel),
                fragment!("lib/words.wgsl", "words": "Words"),
                fragment!("map_words_backward.wgsl"),
            ]);
            all
        }
        Entry::MergeColumns => vec![fragment!("merge_columns.wgsl", "merge_columns": "MergeColumns")],
        Entry::MergeSums => {
            let mut all = slopes(kernel.accumulator);
            all.extend([fragment!("lib/parts.wgsl", "parts": "Parts"), fragment!("merge_sums.wgsl")]);
            all
        }
    };
    all.push(enter(kernel));
    once(all)
}

/// Fragments that several parts of a kernel ask for, once.
fn once(all: Vec<Fragment>) -> Vec<Fragment> {
    let mut out: Vec<Fragment> = Vec::new();
    for fragment in all {
        if fragment.text().is_empty() || out.iter().all(|known| known.text() != fragment.text()) {
            out.push(fragment);
        }
    }
    out
}

impl Kernel {
    /// Its WGSL. Binding 0 of group 0 is the uniform block of parameters, binding k + 1 the k-th storage binding of a
    /// dispatch.
    pub fn source(&self) -> String {
        assemble(self)
    }

    /// Name of the entry point.
    pub const fn entry_point(&self) -> &'static str {
        "main"
    }

    /// Pipeline-overridable constants and their values.
    pub fn constants(&self) -> Vec<(&'static str, f64)> {
        self.constants_of(&self.source())
    }

    /// Those of `source`, its WGSL: what a kernel does not use is left out of its text, and may not be given.
    pub(crate) fn constants_of(&self, source: &str) -> Vec<(&'static str, f64)> {
        let declared = |name: &str| source.contains(&format!("override {name}:"));
        self.overrides.iter().filter(|(name, _)| declared(name)).map(|(name, value)| (name, f64::from(value))).collect()
    }

    /// Whether it has subgroup operations, which a device has to have enabled.
    pub const fn uses_subgroups(&self) -> bool {
        matches!(self.exchange, Exchange::Subgroup | Exchange::Workgroup)
    }

    /// For each storage binding whether it is written.
    pub fn bindings(&self) -> impl Iterator<Item = bool> {
        self.layout.writes()
    }

    /// The operands in each storage binding.
    pub fn binding_names(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.layout.slots().len())
            .map(|slot| self.operands_in(slot).map(|o| o.name()).collect::<Vec<_>>().join("+"))
    }

    /// Fields of its block of parameters, in order.
    pub(crate) fn fields(&self) -> Vec<&'static str> {
        let mut all = vec!["places"];
        all.extend(fragments(self).iter().filter_map(Fragment::block).map(|(field, _)| field));
        all
    }
}

fn assemble(kernel: &Kernel) -> String {
    let mut fragments = elements(kernel);
    fragments.extend(self::fragments(kernel));
    let mut members = vec!["@align(16) places: Places".to_owned()];
    let blocks = fragments.iter().filter_map(Fragment::block);
    members.extend(blocks.map(|(field, block)| format!("@align(16) {field}: {block}")));
    let parameters = format!("struct Parameters {{ {} }}\n", members.join(", "));
    let accessors = |texts: &[String]| {
        let mut out = String::new();
        access::write(kernel, &texts.concat(), &mut out);
        out
    };
    // accessors are those that the fragments call, fragments those that the kernel and its accessors need
    let mut texts: Vec<String> = fragments.iter().map(|fragment| fragment.text().to_owned()).collect();
    for _ in 0..2 {
        let others = parameters.clone() + &accessors(&texts);
        texts = prune(&texts.iter().map(String::as_str).collect::<Vec<_>>(), &others);
    }
    let accessors = accessors(&texts);
    // what opens with a comment stands apart
    let spaced = |text: String| if text.starts_with("//") { format!("\n{text}") } else { text };
    let text = texts.into_iter().map(spaced).collect::<String>();
    let mut source = format!("// {kernel}\n");
    for (name, value) in kernel.consts.iter().filter(|(name, _)| text.contains(name)) {
        let _ = writeln!(source, "const {name} = {value}u;");
    }
    let _ = writeln!(source, "struct Places {{ {}: u32 }}", access::places(kernel).join(": u32, "));
    source + &parameters + "@group(0) @binding(0) var<uniform> p: Parameters;\n" + &accessors + &text
}
