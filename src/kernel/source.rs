//! A kernel's source: constants, parameters, bindings and accessors, fragments, the kernel itself.

use std::fmt::Write;

use super::key::{Entry, Exchange, Kernel};
use super::{access, old};

/// A piece of WGSL, and the block of parameters that it declares: the field of `Parameters`, and the struct.
#[derive(Clone, Copy)]
pub(super) struct Fragment {
    text: &'static str,
    block: Option<(&'static str, &'static str)>,
}

macro_rules! fragment {
    ($path:literal) => {
        Fragment { text: include_str!(concat!("../../shaders/", $path)), block: None }
    };
    ($path:literal, $field:literal: $block:literal) => {
        Fragment { text: include_str!(concat!("../../shaders/", $path)), block: Some(($field, $block)) }
    };
}
pub(super) use fragment;

/// Fragments of a kernel, in the order of the source; the kernel's own file and its entry come last.
fn fragments(kernel: &Kernel) -> Vec<Fragment> {
    match kernel.entry {
        // one arm for each kernel
        Entry::Fused
        | Entry::ReduceRows
        | Entry::ReduceColumns
        | Entry::Merge
        | Entry::Apply
        | Entry::FusedRowsBackward
        | Entry::ApplyBackward
        | Entry::Export
        | Entry::Import
        | Entry::Running
        | Entry::Count => Vec::new(),
    }
}

impl Kernel {
    /// Its WGSL. Binding 0 of group 0 is the uniform block of parameters, binding k + 1 the k-th storage binding of a dispatch.
    pub fn source(&self) -> String {
        if self.entry.is_old() { old::assemble(self) } else { assemble(self) }
    }

    /// Name of the entry point.
    pub const fn entry_point(&self) -> &'static str {
        "main"
    }

    /// Pipeline-overridable constants and their values.
    pub fn constants(&self) -> Vec<(&'static str, f64)> {
        self.overrides.iter().map(|(name, value)| (name, f64::from(value))).collect()
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
        (0..self.layout.slots().len()).map(|slot| self.operands_in(slot).map(|o| o.name()).collect::<Vec<_>>().join("+"))
    }

    /// Fields of its block of parameters, in order.
    pub(crate) fn fields(&self) -> Vec<&'static str> {
        if self.entry.is_old() {
            return vec!["params"];
        }
        let blocks = fragments(self).into_iter().filter_map(|fragment| fragment.block);
        std::iter::once("places").chain(blocks.map(|(field, _)| field)).collect()
    }

    /// Names of what its block `places` holds, in order; each is a u32.
    pub(crate) fn places(&self) -> Vec<String> {
        access::places(self)
    }
}

fn assemble(kernel: &Kernel) -> String {
    let fragments = fragments(kernel);
    let text: String = fragments.iter().map(|fragment| fragment.text).collect();
    let mut source = format!("// {kernel}\n");
    for (name, value) in kernel.consts.iter() {
        let _ = writeln!(source, "const {name} = {value}u;");
    }
    let _ = writeln!(source, "struct Places {{ {}: u32 }}", access::places(kernel).join(": u32, "));
    let blocks = fragments.iter().filter_map(|fragment| fragment.block);
    let members = std::iter::once(("places", "Places")).chain(blocks);
    let members: Vec<_> = members.map(|(field, block)| format!("@align(16) {field}: {block}")).collect();
    let _ = writeln!(source, "struct Parameters {{ {} }}", members.join(", "));
    source.push_str("@group(0) @binding(0) var<uniform> p: Parameters;\n");
    access::write(kernel, &text, &mut source);
    for fragment in fragments {
        source.push('\n');
        source.push_str(fragment.text);
    }
    source
}
