//! The source of kernels that have one block of parameters for all.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use super::key::Exchange;
use super::key::{Content, Entry, Kernel, Source};
use crate::moments::Accumulator;
use crate::operand::{Operand, Unit, WhenAbsent};

macro_rules! fragments {
    ($($name:ident = $path:literal;)*) => { $(const $name: &str = include_str!(concat!("../../shaders/old/", $path));)* };
}

fragments! {
    PARAMS = "lib/params.wgsl";
    EXACT = "lib/exact.wgsl";
    ENTER = "lib/enter.wgsl";
    ENTER_SUBGROUP = "lib/enter_subgroup.wgsl";
    LANES_SHARED = "lib/lanes_shared.wgsl";
    LANES_SUBGROUP = "lib/lanes_subgroup.wgsl";
    ALONG = "lib/along.wgsl";
    ACROSS = "lib/across.wgsl";
    CHUNK = "lib/chunk.wgsl";
    SPAN = "lib/span.wgsl";
    ITEMS = "lib/items.wgsl";
    WHOLE = "lib/whole.wgsl";
    TILE = "lib/tile.wgsl";
    INDEX = "lib/index.wgsl";
    FOUND = "lib/found.wgsl";
    FOUND_RECORDS = "lib/found_records.wgsl";
    FOUND_SCALE = "lib/found_scale.wgsl";
    VALUES = "lib/values.wgsl";
    RECORD = "lib/record.wgsl";
    GRADIENTS = "lib/gradients.wgsl";
    GRADIENT_RECORD = "lib/gradient_record.wgsl";
    GRADIENT_SUMS = "lib/gradient_sums.wgsl";
    NORMALIZER = "lib/normalizer.wgsl";
    NORMALIZE = "lib/normalize.wgsl";
    PULL = "lib/pull.wgsl";
    COLUMNS = "lib/columns.wgsl";
    SCALE = "lib/scale.wgsl";
    POW = "lib/pow.wgsl";
}

/// How an accumulator takes elements in, and what its records give.
const fn accumulator_sources(accumulator: Accumulator) -> (&'static str, &'static str) {
    match accumulator {
        Accumulator::Centred => (
            include_str!("../../shaders/old/lib/accumulators/centred.wgsl"),
            include_str!("../../shaders/old/lib/divisors/centred.wgsl"),
        ),
        Accumulator::Uncentred => (
            include_str!("../../shaders/old/lib/accumulators/uncentred.wgsl"),
            include_str!("../../shaders/old/lib/divisors/uncentred.wgsl"),
        ),
        Accumulator::Magnitude => (
            include_str!("../../shaders/old/lib/accumulators/magnitude.wgsl"),
            include_str!("../../shaders/old/lib/divisors/magnitude.wgsl"),
        ),
        Accumulator::Largest => (
            include_str!("../../shaders/old/lib/accumulators/largest.wgsl"),
            include_str!("../../shaders/old/lib/divisors/largest.wgsl"),
        ),
        Accumulator::Power => (
            include_str!("../../shaders/old/lib/accumulators/power.wgsl"),
            include_str!("../../shaders/old/lib/divisors/power.wgsl"),
        ),
    }
}

/// What a kernel does with an accumulator.
#[derive(Clone, Copy, PartialEq)]
enum Uses {
    Nothing,
    Accumulates,
    Divides,
    Both,
}

/// The kernel's own file.
const fn kernel_source(entry: Entry) -> &'static str {
    match entry {
        Entry::Fused => include_str!("../../shaders/old/fused.wgsl"),
        Entry::ReduceRows => include_str!("../../shaders/old/reduce_rows.wgsl"),
        Entry::ReduceColumns => include_str!("../../shaders/old/reduce_columns.wgsl"),
        Entry::Merge => include_str!("../../shaders/old/merge.wgsl"),
        Entry::Apply => include_str!("../../shaders/old/apply.wgsl"),
        Entry::FusedRowsBackward => include_str!("../../shaders/old/fused_rows_backward.wgsl"),
        Entry::ApplyBackward => include_str!("../../shaders/old/apply_backward.wgsl"),
        Entry::Export => include_str!("../../shaders/old/export.wgsl"),
        Entry::Import => include_str!("../../shaders/old/import.wgsl"),
        Entry::Running => include_str!("../../shaders/old/running.wgsl"),
        Entry::Count => include_str!("../../shaders/old/count.wgsl"),
    }
}

/// The fragments that a kernel stands on, and what it does with its accumulator. Those that sum up take a direction besides.
const fn shared_sources(key: &Kernel) -> (&'static [&'static str], Uses) {
    match (key.entry, key.source) {
        (Entry::Fused, _) => {
            (&[RECORD, CHUNK, SPAN, ITEMS, INDEX, FOUND, FOUND_SCALE, NORMALIZER, NORMALIZE, WHOLE], Uses::Both)
        }
        (Entry::ReduceRows | Entry::ReduceColumns, Source::Values) => {
            (&[RECORD, CHUNK, SPAN, VALUES], Uses::Accumulates)
        }
        (Entry::ReduceRows | Entry::ReduceColumns, Source::Gradients) => (
            &[
                GRADIENT_RECORD,
                GRADIENT_SUMS,
                CHUNK,
                SPAN,
                GRADIENTS,
                INDEX,
                FOUND,
                FOUND_RECORDS,
                FOUND_SCALE,
                NORMALIZER,
            ],
            Uses::Divides,
        ),
        (Entry::Merge, Source::Values) => (&[RECORD, CHUNK, INDEX], Uses::Accumulates),
        (Entry::Merge, Source::Gradients) => (&[GRADIENT_RECORD, GRADIENT_SUMS, INDEX], Uses::Nothing),
        (Entry::Apply, _) => {
            (&[CHUNK, SPAN, TILE, INDEX, FOUND, FOUND_RECORDS, FOUND_SCALE, NORMALIZER, NORMALIZE], Uses::Divides)
        }
        (Entry::FusedRowsBackward, _) => (
            &[GRADIENT_RECORD, GRADIENT_SUMS, CHUNK, SPAN, INDEX, FOUND, FOUND_SCALE, NORMALIZER, PULL, COLUMNS],
            Uses::Divides,
        ),
        (Entry::ApplyBackward, _) => (
            &[GRADIENT_SUMS, CHUNK, SPAN, TILE, INDEX, FOUND, FOUND_RECORDS, FOUND_SCALE, NORMALIZER, PULL, COLUMNS],
            Uses::Divides,
        ),
        (Entry::Export, _) => (&[], Uses::Divides),
        (Entry::Import | Entry::Running | Entry::Count, _) => (&[], Uses::Nothing),
    }
}

/// Whether a quad belongs to one segment or to four.
const fn direction(key: &Kernel) -> Option<&'static str> {
    match key.entry {
        _ if key.across => Some(ACROSS),
        Entry::Export | Entry::Import | Entry::Count => None,
        _ => Some(ALONG),
    }
}

/// Fragments of a kernel, in the order of the source.
fn fragments(key: &Kernel) -> Vec<&'static str> {
    let (shared, uses) = shared_sources(key);
    let mut all = vec![PARAMS, EXACT];
    if let Some(accumulator) = key.accumulator {
        let (accumulates, divides) = accumulator_sources(accumulator);
        all.extend((accumulator == Accumulator::Power).then_some(POW));
        all.extend((uses != Uses::Divides).then_some(accumulates));
        all.extend((uses != Uses::Accumulates).then_some([SCALE, divides]).into_iter().flatten());
    }
    all.extend(direction(key));
    all.extend(shared);
    let exchanges = key.entry.exchanges();
    let subgroups = key.exchange == Exchange::Subgroup;
    all.extend(exchanges.then_some(if subgroups { LANES_SUBGROUP } else { LANES_SHARED }));
    all.extend([kernel_source(key.entry), if subgroups { ENTER_SUBGROUP } else { ENTER }]);
    all
}

/// Those settings that the kernel's fragments declare.
pub(crate) fn declared(kernel: &Kernel) -> Kernel {
    let declared: Vec<&str> = fragments(kernel).into_iter().flat_map(overrides_of).copied().collect();
    Kernel { overrides: kernel.overrides.filter(|name| declared.contains(&name)), ..*kernel }
}

/// Names of the overrides that a fragment declares; each fragment is searched once, since every binding asks.
fn overrides_of(fragment: &'static str) -> &'static [&'static str] {
    static KNOWN: Mutex<BTreeMap<usize, &'static [&'static str]>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(fragment.as_ptr().addr()).or_insert_with(|| {
        let name = |line: &'static str| line.strip_prefix("override ")?.split_once(':').map(|(name, _)| name);
        fragment.lines().filter_map(name).collect::<Vec<_>>().leak()
    })
}

/// The whole source of a kernel. Its entry point is `main`, binding 0 the parameters, binding k + 1 the layout's slot k.
pub(super) fn assemble(key: &Kernel) -> String {
    // an array in registers needs a size that is a constant, not an override
    let mut source = format!("// {key}\n\n");
    source += "// Quads of four elements that an invocation takes in at once; what it takes in turn of them.\n";
    for (name, value) in key.consts.iter() {
        let _ = writeln!(source, "const {name} = {value}u;");
    }
    let mut fragments = fragments(key);
    let kernel = fragments.split_off(fragments.len() - 2);
    for fragment in fragments {
        source += fragment;
        source.push('\n');
    }
    bindings(key, &mut source);
    source + &kernel.concat()
}

fn bindings(key: &Kernel, out: &mut String) {
    out.push_str("// Bindings and the operands in them.\n\n");
    for (slot, layout) in key.layout.slots().iter().enumerate() {
        let access = if layout.writes { "read_write" } else { "read" };
        let element = match layout.content {
            Content::Vectors => "vec4<f32>",
            Content::Words => "u32",
            Content::Floats => "f32",
        };
        let _ = writeln!(out, "@group(0) @binding({}) var<storage, {access}> slot_{slot}: array<{element}>;", slot + 1);
    }
    for (position, ((operand, slot), (_, written))) in key.operands().zip(key.entry.operands()).enumerate() {
        let _ = match slot {
            Some(slot) => Accessors::new(key, operand, slot, position).write(*written, out),
            None => absent_accessors(operand, *written, out),
        };
    }
    out.push('\n');
}

/// Functions that load and store an operand: `load_NAME` and `store_NAME` an item, `load4_NAME` and `store4_NAME` the quad at `i`, of
/// which the elements within `low .. low + width` count.
struct Accessors {
    operand: Operand,
    slot: u8,
    quads: bool,
    words: bool,
    offset: String,
    /// Where element `i` lies, rows padded.
    rows: Option<&'static str>,
}

impl Accessors {
    fn new(key: &Kernel, operand: Operand, slot: u8, position: usize) -> Self {
        let rows = match operand {
            Operand::Input if key.padded => Some("params.input_rows"),
            Operand::Output if key.padded => Some("params.output_rows"),
            Operand::GradOutput if key.padded => Some("params.gradient_rows"),
            _ => None,
        };
        Self {
            operand,
            slot,
            quads: key.layout.slots[usize::from(slot)].content == Content::Vectors,
            words: key.layout.slots[usize::from(slot)].content == Content::Words && operand != Operand::Batches,
            offset: format!("params.offsets[{}][{}]", position / 4, position % 4),
            rows,
        }
    }

    fn at(&self, i: &str) -> String {
        let offset = &self.offset;
        self.rows.map_or_else(|| format!("{offset} + {i}"), |rows| format!("{offset} + padded({rows}, {i})"))
    }

    fn element(&self, at: &str) -> String {
        let slot = self.slot;
        match (self.quads, self.words) {
            (true, _) => format!("slot_{slot}[({at}) / 4u][({at}) % 4u]"),
            (false, true) => format!("bitcast<f32>(slot_{slot}[{at}])"),
            (false, false) => format!("slot_{slot}[{at}]"),
        }
    }

    fn assign(&self, at: &str, value: &str) -> String {
        let value = if self.words { format!("bitcast<u32>({value})") } else { value.to_string() };
        format!("slot_{}[{at}] = {value};", self.slot)
    }

    fn write(&self, written: bool, out: &mut String) -> std::fmt::Result {
        match self.operand {
            operand if operand.words() == 4 => self.records(written, out),
            Operand::Batches => {
                let (name, at) = (self.operand.name(), self.at("i"));
                writeln!(out, "fn load_{name}(i: u32) -> u32 {{ return slot_{}[{at}]; }}", self.slot)?;
                if written {
                    writeln!(out, "fn store_{name}(i: u32, v: u32) {{ slot_{}[{at}] = v; }}", self.slot)
                } else {
                    Ok(())
                }
            }
            _ => self.elements(written, out),
        }
    }

    fn records(&self, written: bool, out: &mut String) -> std::fmt::Result {
        let (name, slot, offset) = (self.operand.name(), self.slot, &self.offset);
        if self.quads {
            writeln!(out, "fn load_{name}(i: u32) -> vec4<f32> {{ return slot_{slot}[{offset} / 4u + i]; }}")?;
            return if written {
                writeln!(out, "fn store_{name}(i: u32, v: vec4<f32>) {{ slot_{slot}[{offset} / 4u + i] = v; }}")
            } else {
                Ok(())
            };
        }
        let load: Vec<_> = (0..4).map(|k| self.element(&format!("at + {k}u"))).collect();
        let at = format!("let at = {offset} + 4u * i;");
        writeln!(out, "fn load_{name}(i: u32) -> vec4<f32> {{ {at} return vec4<f32>({}); }}", load.join(", "))?;
        if !written {
            return Ok(());
        }
        let store: Vec<_> =
            "xyzw".chars().enumerate().map(|(k, c)| self.assign(&format!("at + {k}u"), &format!("v.{c}"))).collect();
        writeln!(out, "fn store_{name}(i: u32, v: vec4<f32>) {{ {at} {} }}", store.join(" "))
    }

    fn elements(&self, written: bool, out: &mut String) -> std::fmt::Result {
        let (name, slot) = (self.operand.name(), self.slot);
        let at = self.at("i");
        writeln!(out, "fn load_{name}(i: u32) -> f32 {{ return {}; }}", self.element(&at))?;
        let load = if self.quads {
            format!("slot_{slot}[({at}) / 4u]")
        } else {
            let near: Vec<_> =
                (0..4).map(|e| format!("load_{name}(low + min(i + {e}u - low, max(width, 1u) - 1u))")).collect();
            format!("vec4<f32>({})", near.join(", "))
        };
        writeln!(out, "fn load4_{name}(i: u32, low: u32, width: u32) -> vec4<f32> {{ return {load}; }}")?;
        if !written {
            return Ok(());
        }
        if self.quads {
            // of one invocation, as the whole quad is: a device may write all of it
            writeln!(out, "fn store_{name}(i: u32, v: f32) {{ {} = v; }}", self.element(&at))?;
            return writeln!(
                out,
                "fn store4_{name}(i: u32, v: vec4<f32>, low: u32, width: u32) {{ slot_{slot}[({at}) / 4u] = v; }}"
            );
        }
        writeln!(out, "fn store_{name}(i: u32, v: f32) {{ {} }}", self.assign(&at, "v"))?;
        let store: Vec<_> = "xyzw"
            .chars()
            .enumerate()
            .map(|(e, c)| format!("if i + {e}u - low < width {{ store_{name}(i + {e}u, v.{c}); }}"))
            .collect();
        writeln!(out, "fn store4_{name}(i: u32, v: vec4<f32>, low: u32, width: u32) {{ {} }}", store.join(" "))
    }
}

/// An absent operand loads as what changes nothing, and swallows what is stored.
fn absent_accessors(operand: Operand, written: bool, out: &mut String) -> std::fmt::Result {
    let name = operand.name();
    let (ty, identity) = match (operand.spec().unit, operand.spec().when_absent) {
        (Unit::Counter, _) => ("u32", "0u"),
        (Unit::Record, _) => ("vec4<f32>", "vec4<f32>(0.0)"),
        (_, WhenAbsent::One) => ("f32", "1.0"),
        (_, WhenAbsent::MinusZero | WhenAbsent::Zero) => ("f32", "-0.0"),
    };
    writeln!(out, "fn load_{name}(i: u32) -> {ty} {{ return {identity}; }}")?;
    if ty == "f32" {
        writeln!(
            out,
            "fn load4_{name}(i: u32, low: u32, width: u32) -> vec4<f32> {{ return vec4<f32>({identity}); }}"
        )?;
    }
    if !written {
        return Ok(());
    }
    writeln!(out, "fn store_{name}(i: u32, v: {ty}) {{ }}")?;
    if ty == "f32" {
        writeln!(out, "fn store4_{name}(i: u32, v: vec4<f32>, low: u32, width: u32) {{ }}")?;
    }
    Ok(())
}
