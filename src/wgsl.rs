//! A kernel's source: fragments concatenated, and accessors for its bindings.

use std::fmt::Write;

use crate::kernel::{Accumulator, Entry, KernelKey, Operand, Source};

const PARAMS: &str = include_str!("../shaders/lib/params.wgsl");
const EXACT: &str = include_str!("../shaders/lib/exact.wgsl");
const INDEX: &str = include_str!("../shaders/lib/index.wgsl");
const WALK: &str = include_str!("../shaders/lib/walk.wgsl");
const VALUES: &str = include_str!("../shaders/lib/values.wgsl");
const RECORD: &str = include_str!("../shaders/lib/record.wgsl");
const GRADIENTS: &str = include_str!("../shaders/lib/gradients.wgsl");
const WORKGROUP: &str = include_str!("../shaders/lib/workgroup.wgsl");
const NORMALIZER: &str = include_str!("../shaders/lib/normalizer.wgsl");
const GRADIENT_RECORD: &str = include_str!("../shaders/lib/gradient_record.wgsl");
const NORMALIZE: &str = include_str!("../shaders/lib/normalize.wgsl");
const SCALE: &str = include_str!("../shaders/lib/scale.wgsl");
const CHUNK: &str = include_str!("../shaders/lib/chunk.wgsl");
const POW: &str = include_str!("../shaders/lib/pow.wgsl");

const fn accumulator_source(accumulator: Accumulator) -> &'static str {
    match accumulator {
        Accumulator::Centred => include_str!("../shaders/lib/centred.wgsl"),
        Accumulator::Uncentred => include_str!("../shaders/lib/uncentred.wgsl"),
        Accumulator::Magnitude => include_str!("../shaders/lib/magnitude.wgsl"),
        Accumulator::Largest => include_str!("../shaders/lib/largest.wgsl"),
        Accumulator::Power => include_str!("../shaders/lib/power.wgsl"),
    }
}

/// The kernel's own file and the fragments that it stands on.
const fn entry_source(entry: Entry) -> (&'static str, &'static [&'static str]) {
    match entry {
        Entry::FusedRows => {
            (include_str!("../shaders/fused_rows.wgsl"), &[INDEX, WALK, WORKGROUP, NORMALIZER, NORMALIZE])
        }
        Entry::ReduceRows => (include_str!("../shaders/reduce_rows.wgsl"), &[WALK, WORKGROUP]),
        Entry::ReduceColumns => (include_str!("../shaders/reduce_columns.wgsl"), &[WALK, WORKGROUP]),
        Entry::Merge => (include_str!("../shaders/merge.wgsl"), &[INDEX, WALK, WORKGROUP]),
        Entry::Apply => (include_str!("../shaders/apply.wgsl"), &[INDEX, NORMALIZER, NORMALIZE]),
        Entry::FusedRowsBackward => (include_str!("../shaders/fused_rows_backward.wgsl"), &[WALK, WORKGROUP]),
        Entry::ApplyBackward => (include_str!("../shaders/apply_backward.wgsl"), &[WALK]),
        Entry::Export => (include_str!("../shaders/export.wgsl"), &[]),
        Entry::Import => (include_str!("../shaders/import.wgsl"), &[]),
        Entry::Running => (include_str!("../shaders/running.wgsl"), &[]),
        Entry::Count => (include_str!("../shaders/count.wgsl"), &[]),
    }
}

/// What records are made of: nothing that a kernel without records would need.
const fn source_fragments(key: &KernelKey) -> &'static [&'static str] {
    match (key.source, key.entry) {
        (_, Entry::Export | Entry::Import | Entry::Running | Entry::Count | Entry::Apply) => &[],
        (Source::Values, Entry::Merge) => &[RECORD],
        (Source::Values, _) => &[RECORD, VALUES],
        (Source::Gradients, Entry::Merge) => &[GRADIENT_RECORD],
        (Source::Gradients, _) => &[INDEX, NORMALIZER, GRADIENT_RECORD, GRADIENTS],
    }
}

/// The whole source of a kernel. Its entry point is `main`, binding 0 the parameters, binding k + 1 the layout's slot k.
pub(crate) fn assemble(key: &KernelKey) -> String {
    let (kernel, fragments) = entry_source(key.entry);
    let mut source = format!("// {key}\n\n{PARAMS}\n{EXACT}\n");
    if let Some(accumulator) = key.accumulator {
        if accumulator == Accumulator::Power {
            source += POW;
        }
        source += SCALE;
        source += CHUNK;
        source += accumulator_source(accumulator);
        source.push('\n');
    }
    for fragment in source_fragments(key).iter().chain(fragments) {
        source += fragment;
        source.push('\n');
    }
    bindings(key, &mut source);
    source + kernel
}

fn bindings(key: &KernelKey, out: &mut String) {
    out.push_str("// Bindings and the operands in them.\n\n");
    for slot in 0..key.layout.slots {
        let access = if key.layout.writable >> slot & 1 == 1 { "read_write" } else { "read" };
        let word = if key.layout.words >> slot & 1 == 1 { "u32" } else { "f32" };
        let _ = writeln!(out, "@group(0) @binding({}) var<storage, {access}> slot_{slot}: array<{word}>;", slot + 1);
    }
    for (position, ((operand, slot), (_, written))) in key.operands().zip(key.entry.operands()).enumerate() {
        let _ = match slot {
            Some(slot) => accessors(key, operand, slot, position, *written, out),
            None => absent_accessors(operand, *written, out),
        };
    }
    out.push('\n');
}

/// `load_NAME` and, where the operand is written, `store_NAME`.
fn accessors(
    key: &KernelKey,
    operand: Operand,
    slot: u8,
    position: usize,
    written: bool,
    out: &mut String,
) -> std::fmt::Result {
    let name = operand.name();
    let words = key.layout.words >> slot & 1 == 1;
    let offset = format!("params.offsets[{}][{}]", position / 4, position % 4);
    let place = match operand {
        Operand::Input if key.padded => "padded(params.input_rows, i)",
        Operand::Output if key.padded => "padded(params.output_rows, i)",
        Operand::GradOutput if key.padded => "padded(params.gradient_rows, i)",
        _ => "i",
    };
    let counter = operand == Operand::Counter;
    let element = |at: &str| {
        let element = format!("slot_{slot}[{at}]");
        if words && !counter { format!("bitcast<f32>({element})") } else { element }
    };
    let assign = |at: &str, value: &str| {
        let value = if words && !counter { format!("bitcast<u32>({value})") } else { value.to_string() };
        format!("slot_{slot}[{at}] = {value};")
    };
    if operand.words() == 4 {
        let load: Vec<_> = (0..4).map(|k| element(&format!("at + {k}u"))).collect();
        writeln!(
            out,
            "fn load_{name}(i: u32) -> vec4<f32> {{ let at = {offset} + 4u * i; return vec4<f32>({}); }}",
            load.join(", ")
        )?;
        if written {
            let store: Vec<_> = ["x", "y", "z", "w"]
                .iter()
                .enumerate()
                .map(|(k, c)| assign(&format!("at + {k}u"), &format!("v.{c}")))
                .collect();
            writeln!(
                out,
                "fn store_{name}(i: u32, v: vec4<f32>) {{ let at = {offset} + 4u * i; {} }}",
                store.join(" ")
            )?;
        }
        return Ok(());
    }
    let ty = if counter { "u32" } else { "f32" };
    let at = format!("{offset} + {place}");
    writeln!(out, "fn load_{name}(i: u32) -> {ty} {{ return {}; }}", element(&at))?;
    if written {
        writeln!(out, "fn store_{name}(i: u32, v: {ty}) {{ {} }}", assign(&at, "v"))?;
    }
    Ok(())
}

/// An absent operand loads as what changes nothing, and swallows what is stored.
fn absent_accessors(operand: Operand, written: bool, out: &mut String) -> std::fmt::Result {
    let name = operand.name();
    let (ty, identity) = match operand {
        Operand::Counter => ("u32", "0u"),
        Operand::Scale => ("f32", "1.0"),
        _ if operand.words() == 4 => ("vec4<f32>", "vec4<f32>(0.0)"),
        _ => ("f32", "-0.0"),
    };
    writeln!(out, "fn load_{name}(i: u32) -> {ty} {{ return {identity}; }}")?;
    if written {
        writeln!(out, "fn store_{name}(i: u32, v: {ty}) {{ }}")?;
    }
    Ok(())
}
