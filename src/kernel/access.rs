//! Accessors: functions that load and store an operand, whatever its binding looks like.
//!
//! Element tensors are seen as rows (`lib/row.wgsl`): `load4_T(row, j)` is the j-th vector of a row, `load_T(row, c)`
//! its column c, `store4_T(row, j, v)` and `store_T(row, j, e, x)` write a vector and its element e. All others are
//! lists: `load_T(i)`, `load4_T(i)`, `load4_T_at(first, j)`, `store_T(i, x)`, `store4_T(i, v)`. An absent operand loads
//! as what changes nothing.

use std::fmt::Write;

use super::key::{Content, Kernel};
use crate::operand::{IndexedBy, Operand, Unit, WhenAbsent};

/// The bindings of a kernel, and those accessors of its operands that `text` calls.
pub(super) fn write(kernel: &Kernel, text: &str, out: &mut String) {
    for (slot, layout) in kernel.layout.slots().iter().enumerate() {
        let access = if layout.writes { "read_write" } else { "read" };
        let content = match layout.content {
            Content::Vectors => "vec4<f32>",
            Content::Words => "u32",
            Content::Floats => "f32",
        };
        let number = slot + 1;
        let _ = writeln!(out, "@group(0) @binding({number}) var<storage, {access}> slot_{slot}: array<{content}>;");
    }
    for (operand, slot) in kernel.operands() {
        let functions = match slot.map(usize::from) {
            Some(slot) => Accessor { operand, slot, content: kernel.layout.slots[slot].content }.functions(kernel),
            None => absent(operand),
        };
        for (name, body) in functions {
            let called = text.contains(&format!("{name}("));
            let place = name.starts_with("place_") && slot.is_some();
            if called || place {
                let _ = writeln!(out, "fn {name}{body}");
            }
        }
    }
}

/// Fields of the block `places`: where operands lie in their bindings.
pub(super) fn places(kernel: &Kernel) -> Vec<String> {
    let mut fields = ["phase", "row_len", "column", "workgroups"].map(str::to_owned).to_vec();
    for (operand, _) in kernel.operands() {
        fields.push(operand.name().to_owned());
        if is_tensor(operand) {
            fields.push(format!("{}_stride", operand.name()));
        }
    }
    fields
}

/// Whether kernels see an operand as rows.
pub(crate) fn is_tensor(operand: Operand) -> bool {
    operand.spec().indexed_by == IndexedBy::Element
}

type Functions = Vec<(String, String)>;

struct Accessor {
    operand: Operand,
    slot: usize,
    content: Content,
}

impl Accessor {
    fn functions(&self, kernel: &Kernel) -> Functions {
        match self.operand.spec().unit {
            Unit::Record => self.records(),
            Unit::Element if is_tensor(self.operand) => self.rows(kernel),
            Unit::Element | Unit::Counter | Unit::Bytes => self.list(),
        }
    }

    fn is_vectors(&self) -> bool {
        self.content == Content::Vectors
    }

    fn rows(&self, kernel: &Kernel) -> Functions {
        let (t, slot) = (self.operand.name(), self.slot);
        // rows of a kernel that reach over several padded rows of the tensor: each element has a place of its own
        let straddles = kernel.consts.get("STRADDLES").is_some();
        let place = if kernel.padded {
            format!(
                "{{ let i = p.places.column + first; return p.places.{t} + i / p.places.row_len * p.places.{t}_stride \
                 + i % p.places.row_len - p.places.column; }}"
            )
        } else {
            format!("{{ return p.places.{t} + first; }}")
        };
        let mut all = vec![(format!("place_{t}"), format!("(first: u32) -> u32 {place}"))];
        let at = format!("(place_{t}(row.first) - row.head) / 4u + j");
        let column = format!("place_{t}(row.first) + c");
        let column = if straddles { format!("place_{t}(row.first + c)") } else { column };
        let places = |columns: &str| {
            if straddles {
                format!("place_{t}s(vec4(row.first) + {columns})")
            } else {
                format!("vec4(place_{t}(row.first)) + {columns}")
            }
        };
        let clamped = places("min(columns_of(row, j), vec4(row.width - 1u))");
        let columns = places("columns_of(row, j)");
        if straddles {
            let each = ["x", "y", "z", "w"].map(|e| format!("place_{t}(i.{e})")).join(", ");
            all.push((format!("place_{t}s"), format!("(i: vec4<u32>) -> vec4<u32> {{ return vec4({each}); }}")));
        }
        let [load4, load, store4, store] = if self.is_vectors() {
            [
                format!("{{ return slot_{slot}[{at}]; }}"),
                format!("{{ return slot_{slot}[({column}) / 4u][({column}) % 4u]; }}"),
                format!("{{ slot_{slot}[{at}] = v; }}"),
                format!("{{ slot_{slot}[{at}][e] = x; }}"),
            ]
        } else {
            [
                format!("{{ let i = {clamped}; return {}; }}", self.gather()),
                format!("{{ return {}; }}", self.word(&column)),
                format!("{{ let i = {columns}; {} }}", self.scatter()),
                format!("{{ {} }}", self.assign(&format!("({columns})[e]"), "x")),
            ]
        };
        all.push((format!("load4_{t}"), format!("(row: Row, j: u32) -> vec4<f32> {load4}")));
        all.push((format!("load_{t}"), format!("(row: Row, c: u32) -> f32 {load}")));
        all.push((format!("store4_{t}"), format!("(row: Row, j: u32, v: vec4<f32>) {store4}")));
        all.push((format!("store_{t}"), format!("(row: Row, j: u32, e: u32, x: f32) {store}")));
        all
    }

    fn list(&self) -> Functions {
        let (t, slot) = (self.operand.name().replace(' ', "_"), self.slot);
        let ty = if self.operand.spec().unit == Unit::Counter { "u32" } else { "f32" };
        let at = format!("p.places.{t} + i");
        let four = format!("let i = vec4({at}) + vec4(0u, 1u, 2u, 3u);");
        let [load, load4, store, store4] = if self.is_vectors() {
            [
                format!("{{ return slot_{slot}[({at}) / 4u][({at}) % 4u]; }}"),
                format!("{{ return slot_{slot}[({at}) / 4u]; }}"),
                format!("{{ slot_{slot}[({at}) / 4u][({at}) % 4u] = x; }}"),
                format!("{{ slot_{slot}[({at}) / 4u] = v; }}"),
            ]
        } else {
            let four = four.replace("let i =", "let at =");
            [
                format!("{{ return {}; }}", self.word(&at)),
                format!("{{ {four} return {}; }}", self.gather().replace("[i.", "[at.")),
                format!("{{ {} }}", self.assign(&at, "x")),
                format!("{{ {four} {} }}", self.scatter().replace("[i.", "[at.")),
            ]
        };
        let each = if self.is_vectors() {
            format!("{{ return slot_{slot}[(p.places.{t} + first) / 4u + j]; }}")
        } else {
            let first = format!("let at = vec4(p.places.{t} + first + 4u * j) + vec4(0u, 1u, 2u, 3u);");
            format!("{{ {first} return {}; }}", self.gather().replace("[i.", "[at."))
        };
        vec![
            (format!("load_{t}"), format!("(i: u32) -> {ty} {load}")),
            (format!("load4_{t}"), format!("(i: u32) -> vec4<{ty}> {load4}")),
            (format!("load4_{t}_at"), format!("(first: u32, j: u32) -> vec4<{ty}> {each}")),
            (format!("store_{t}"), format!("(i: u32, x: {ty}) {store}")),
            (format!("store4_{t}"), format!("(i: u32, v: vec4<{ty}>) {store4}")),
        ]
    }

    fn records(&self) -> Functions {
        let (t, slot) = (self.operand.name().replace(' ', "_"), self.slot);
        let (load, store) = if self.is_vectors() {
            let at = format!("p.places.{t} / 4u + i");
            (format!("{{ return slot_{slot}[{at}]; }}"), format!("{{ slot_{slot}[{at}] = v; }}"))
        } else {
            let at = format!("let at = vec4(p.places.{t} + 4u * i) + vec4(0u, 1u, 2u, 3u);");
            let (gather, scatter) = (self.gather().replace("[i.", "[at."), self.scatter().replace("[i.", "[at."));
            (format!("{{ {at} return {gather}; }}"), format!("{{ {at} {scatter} }}"))
        };
        vec![
            (format!("load_{t}"), format!("(i: u32) -> vec4<f32> {load}")),
            (format!("store_{t}"), format!("(i: u32, v: vec4<f32>) {store}")),
        ]
    }

    /// The word at a place: a counter's binding holds words, in which numbers are taken by their bits.
    fn word(&self, at: &str) -> String {
        let word = format!("slot_{}[{at}]", self.slot);
        if self.is_bits() { format!("bitcast<f32>({word})") } else { word }
    }

    fn assign(&self, at: &str, value: &str) -> String {
        let value = if self.is_bits() { format!("bitcast<u32>({value})") } else { value.to_owned() };
        format!("slot_{}[{at}] = {value};", self.slot)
    }

    fn is_bits(&self) -> bool {
        self.content == Content::Words && self.operand.spec().unit != Unit::Counter
    }

    /// Four words at the places in `i`.
    fn gather(&self) -> String {
        format!("vec4({})", ["i.x", "i.y", "i.z", "i.w"].map(|at| self.word(at)).join(", "))
    }

    fn scatter(&self) -> String {
        ["x", "y", "z", "w"].map(|e| self.assign(&format!("i.{e}"), &format!("v.{e}"))).join(" ")
    }
}

/// Loads give what changes nothing, stores do nothing.
fn absent(operand: Operand) -> Functions {
    let spec = operand.spec();
    let t = spec.name.replace(' ', "_");
    let none = match spec.when_absent {
        WhenAbsent::One => "1.0",
        WhenAbsent::MinusZero => "-0.0",
        WhenAbsent::Zero => "0.0",
    };
    let function = |name: String, arguments: &str, value: &str| (name, format!("({arguments}){value}"));
    let one = format!(" -> f32 {{ return {none}; }}");
    let four = format!(" -> vec4<f32> {{ return vec4({none}); }}");
    match spec.unit {
        Unit::Record => vec![
            function(format!("load_{t}"), "i: u32", &four),
            function(format!("store_{t}"), "i: u32, v: vec4<f32>", " { }"),
        ],
        Unit::Counter => vec![function(format!("load_{t}"), "i: u32", " -> u32 { return 0u; }")],
        Unit::Element | Unit::Bytes if is_tensor(operand) => vec![
            function(format!("load4_{t}"), "row: Row, j: u32", &four),
            function(format!("load_{t}"), "row: Row, c: u32", &one),
            function(format!("store4_{t}"), "row: Row, j: u32, v: vec4<f32>", " { }"),
            function(format!("store_{t}"), "row: Row, j: u32, e: u32, x: f32", " { }"),
        ],
        Unit::Element | Unit::Bytes => vec![
            function(format!("load_{t}"), "i: u32", &one),
            function(format!("load4_{t}"), "i: u32", &four),
            function(format!("load4_{t}_at"), "first: u32, j: u32", &four),
            function(format!("store_{t}"), "i: u32, x: f32", " { }"),
            function(format!("store4_{t}"), "i: u32, v: vec4<f32>", " { }"),
        ],
    }
}
