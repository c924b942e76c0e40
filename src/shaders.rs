//! Every kernel as source, for tools that look at shaders.

use crate::descriptor::DataType;
use crate::kernel::{ABSENT, Accumulator, Entry, Found, KernelKey, Layout, Lookup};
use crate::kernel::{MAX_OPERANDS, Operand, Source, Spread, Team};
use crate::wgsl;

/// One assembled kernel.
#[derive(Clone, Debug)]
pub struct ShaderInfo {
    /// Name, of letters, digits, `.`, `-`, `+` and `!`.
    pub name: String,
    /// WGSL source.
    pub source: String,
    /// Name of the entry point.
    pub entry_point: &'static str,
    /// Bindings of group 0.
    pub bindings: Vec<BindingInfo>,
    /// Pipeline-overridable constants and their values.
    pub constants: Vec<(&'static str, f64)>,
}

/// One binding of a kernel.
#[derive(Clone, Debug)]
pub struct BindingInfo {
    /// Number in group 0.
    pub binding: u32,
    /// Operands in it.
    pub name: String,
    /// `uniform`, `read` or `read_write`.
    pub access: &'static str,
}

/// Every kernel with every accumulator: by words and by 16 bytes, with workgroup memory and with subgroups, in place, with padded
/// rows, and with every way to find records and parameters.
pub fn all() -> Vec<ShaderInfo> {
    let mut keys = Vec::new();
    for (entry, source) in
        Entry::ALL.iter().flat_map(|&entry| entry.sources().iter().map(move |&source| (entry, source)))
    {
        let accumulators: Vec<_> =
            if entry.accumulates(source) { Accumulator::ALL.map(Some).to_vec() } else { vec![None] };
        let spreads: &[_] = match entry {
            Entry::Export => &[Some(Spread::Variance), Some(Spread::Rstd), Some(Spread::Deviation)],
            _ => &[None],
        };
        for (accumulator, &spread) in accumulators.iter().flat_map(|&a| spreads.iter().map(move |s| (a, s))) {
            keys.extend(variants(entry, source, accumulator, spread));
        }
    }
    keys.iter().map(info).collect()
}

fn variants(entry: Entry, source: Source, accumulator: Option<Accumulator>, spread: Option<Spread>) -> Vec<KernelKey> {
    let team = Team { workgroup_size: 64, lanes: 64, run_lanes: 64, quads: 4, turns: 1, cluster: 1 };
    let plain = KernelKey {
        entry,
        accumulator,
        layout: layout(entry, source, &[], false),
        source,
        dtype: DataType::F32,
        padded: false,
        spread,
        team,
        lookup: Lookup::default(),
        leads: false,
        sums_columns: false,
        filled: false,
        resumes: false,
        strided: false,
        joins: false,
        across: entry == Entry::ReduceColumns,
    };
    let wide = KernelKey { layout: layout(entry, source, &[], true), ..plain };
    let mut keys = vec![plain, KernelKey { filled: entry != Entry::Merge, team: Team { turns: 4, ..team }, ..wide }];
    if entry.exchanges() && entry != Entry::ReduceColumns {
        keys.push(KernelKey { team: Team { cluster: 8, ..team }, ..wide });
    }
    let output = entry.operands().contains(&(Operand::Output, true));
    if output {
        keys.push(KernelKey { layout: layout(entry, source, &[Operand::Input, Operand::Output], false), ..plain });
        keys.push(KernelKey { padded: true, ..plain });
        keys.push(KernelKey { leads: true, ..plain });
    }
    if matches!(entry, Entry::Fused | Entry::FusedCached) {
        // one way through a quad each: runs in rows of memory, four segments, quads that segments share
        let strided = KernelKey { strided: true, team: Team { run_lanes: 4, ..team }, ..wide };
        keys.push(strided);
        keys.push(KernelKey { across: true, team: Team { lanes: 4, run_lanes: 1, ..team }, ..strided });
        keys.push(KernelKey { team: Team { turns: 4, ..strided.team }, ..strided });
        let joins = entry == Entry::Fused;
        keys.push(KernelKey { leads: true, joins, team: Team { lanes: 8, run_lanes: 8, ..team }, ..wide });
    }
    if matches!(entry, Entry::ReduceRows | Entry::ReduceColumns) {
        keys.push(KernelKey { resumes: true, ..wide });
    }
    if output || source == Source::Gradients {
        let ways = [Found::Held, Found::ByRow, Found::ByElement];
        for (statistics, affine) in ways.into_iter().flat_map(|s| ways.map(|a| (s, a))) {
            let along = |found| found == Found::Held;
            let (statistics_along, affine_along) = (along(statistics), along(affine));
            let lookup = Lookup { statistics, statistics_along, affine, affine_along, hoisted: along(statistics) };
            keys.push(KernelKey { lookup, sums_columns: source == Source::Gradients && along(affine), ..wide });
        }
    }
    keys
}

/// Operands that a kernel has for gradients only.
fn for_gradients(operand: Operand) -> bool {
    use Operand::*;
    matches!(operand, GradOutput | GradScale | GradBias | Sums)
}

/// Each operand in a binding of its own, but for those that share the binding of the first of `shared`.
fn layout(entry: Entry, source: Source, shared: &[Operand], wide: bool) -> Layout {
    let plain = source == Source::Values && entry.sources().len() > 1;
    // records of walkers, or the gradients themselves
    let walks = matches!(entry, Entry::ApplyBackward | Entry::FusedRowsBackward);
    let either = |operand| walks && matches!(operand, Operand::GradScale | Operand::GradBias);
    let absent = |operand| {
        either(operand) || plain && (for_gradients(operand) || matches!(operand, Operand::Scale | Operand::Statistics))
    };
    let mut layout = Layout { slot_of: [ABSENT; MAX_OPERANDS], writable: 0, words: 0, quads: 0, slots: 0 };
    for (k, &(operand, written)) in entry.operands().iter().enumerate().filter(|(_, (operand, _))| !absent(*operand)) {
        let first =
            entry.operands()[..k].iter().position(|(other, _)| shared.contains(other) && shared.contains(&operand));
        let slot = first.map_or(layout.slots, |first| layout.slot_of[first]);
        layout.slot_of[k] = slot;
        layout.slots = layout.slots.max(slot + 1);
        layout.writable |= u8::from(written) << slot;
        layout.words |= u8::from(operand == Operand::Counter) << slot;
        let walked =
            entry == Entry::Merge || entry == Entry::Running || matches!(operand, Operand::Mean | Operand::Spread);
        let single = operand == Operand::Counter || written && operand.words() == 1 && walked;
        layout.quads |= u8::from(wide && !single) << slot;
    }
    layout
}

fn info(key: &KernelKey) -> ShaderInfo {
    let mut bindings = vec![BindingInfo { binding: 0, name: "params".into(), access: "uniform" }];
    for slot in 0..key.layout.slots {
        let names: Vec<_> =
            key.operands().filter(|(_, s)| *s == Some(slot)).map(|(operand, _)| operand.name()).collect();
        let access = if key.layout.writable >> slot & 1 == 1 { "read_write" } else { "read" };
        bindings.push(BindingInfo { binding: u32::from(slot) + 1, name: names.join("+"), access });
    }
    ShaderInfo {
        name: key.to_string(),
        source: wgsl::assemble(key),
        entry_point: "main",
        bindings,
        constants: key.constants(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// naga accepts every kernel, and finds the bindings that the layout says.
    #[test]
    fn every_kernel_is_valid() {
        let mut failures = Vec::new();
        for shader in all() {
            let module = match naga::front::wgsl::parse_str(&shader.source) {
                Ok(module) => module,
                Err(error) => {
                    failures.push(format!("{}: {}", shader.name, error.emit_to_string(&shader.source)));
                    continue;
                }
            };
            let mut validator =
                naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::SUBGROUP);
            if let Err(error) = validator.validate(&module) {
                failures.push(format!("{}: {}", shader.name, error.emit_to_string(&shader.source)));
            }
            let mut found: Vec<u32> =
                module.global_variables.iter().filter_map(|(_, v)| v.binding.as_ref().map(|b| b.binding)).collect();
            found.sort_unstable();
            assert_eq!(found, shader.bindings.iter().map(|b| b.binding).collect::<Vec<_>>(), "{}", shader.name);
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
}
