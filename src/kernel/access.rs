//! Accessors: functions that load and store an operand, whatever its binding and its elements look like.
//!
//! Element tensors are seen as rows (`lib/row.wgsl`): `load4_T(row, j)` is the j-th vector of a row, `load_T(row, c)`
//! its column c; `store4_T(row, j, v)` writes a vector, `store_some4_T(row, j, live, v)` those of its elements that are
//! live. `packed4_T(row, j)` loads a vector as it is stored, a `Packed_T`, of which `unpacked4_T` makes numbers: halves
//! that wait take half the registers. All others are lists: `load_T(i)`, `load4_T(i)`, `load4_T_at(first, j)`,
//! `store_T(i, x)`, `store4_T(i, v)`. An absent operand loads as what changes nothing.
//!
//! What is stored in 16 bits goes by words: the elements 0 and 1 of a vector that is written, and 2 and 3, are the two
//! halves of one, and both or neither are live. `store_T` of a list and `words4_T` put single halves between what is
//! there: to be called for a word by one invocation alone. Conversions are those of `lib/elements/`.

use std::fmt::Write;

use super::fragment::SPREAD;
use super::key::{Content, Kernel};
use crate::element::Element;
use crate::operand::{IndexedBy, Operand, Unit, WhenAbsent};

/// The bindings of a kernel, and those accessors of its operands that `text` calls.
pub(super) fn write(kernel: &Kernel, text: &str, out: &mut String) {
    for (slot, layout) in kernel.layout.slots().iter().enumerate() {
        let access = if layout.writes { "read_write" } else { "read" };
        let content = match layout.content {
            Content::Vectors => "vec4<f32>",
            Content::WordPairs => "vec2<u32>",
            Content::Words => "u32",
            Content::Floats => "f32",
        };
        let number = slot + 1;
        let _ = writeln!(out, "@group(0) @binding({number}) var<storage, {access}> slot_{slot}: array<{content}>;");
    }
    for ((operand, slot), element) in kernel.operands().zip(kernel.elements) {
        let functions = match slot.map(usize::from) {
            Some(slot) => {
                let content = kernel.layout.slots[slot].content;
                Accessor { operand, slot, content, element, padded: kernel.padded }.functions(kernel)
            }
            None => absent(operand),
        };
        for (name, body) in functions {
            let called = text.contains(&format!("{name}("));
            let place = kernel.padded && name.starts_with("place_") && slot.is_some();
            if called || place {
                let _ = writeln!(out, "fn {name}{body}");
            }
        }
    }
}

/// Fields of the block `places`: where operands lie in their bindings.
pub(super) fn places(kernel: &Kernel) -> Vec<String> {
    let mut fields = ["phase", "row_len", "column", "workgroups"].map(str::to_owned).to_vec();
    for (operand, _) in kernel.operands().filter(|(_, slot)| slot.is_some()) {
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
    element: Element,
    /// Whether rows of tensors lie apart.
    padded: bool,
}

impl Accessor {
    /// Where in its binding an element lies, by its number in the window.
    fn place(&self, number: &str) -> String {
        let t = self.operand.name();
        if self.padded { format!("place_{t}({number})") } else { format!("p.places.{t} + {number}") }
    }

    fn functions(&self, kernel: &Kernel) -> Functions {
        match self.operand.spec().unit {
            Unit::Record => self.records(),
            Unit::Element if is_tensor(self.operand) => self.rows(kernel),
            Unit::Element | Unit::Counter | Unit::Bytes => {
                self.list(kernel.around.one_plus && self.operand == Operand::Scale)
            }
        }
    }

    fn rows(&self, kernel: &Kernel) -> Functions {
        let t = self.operand.name();
        // rows of a kernel that reach over several padded rows of the tensor: each element has a place of its own
        let straddles = kernel.consts.get("STRADDLES").is_some();
        let place = format!(
            "(first: u32) -> u32 {{ let i = p.places.column + first; return p.places.{t} + i / p.places.row_len * \
             p.places.{t}_stride + i % p.places.row_len - p.places.column; }}"
        );
        let mut all = vec![(format!("place_{t}"), place)];
        let first = self.place("row.first");
        let at = format!("({first} - row.head) / 4u + j");
        let column = if straddles { self.place("row.first + c") } else { format!("{first} + c") };
        let places = |columns: &str| {
            if straddles {
                format!("place_{t}s(vec4(row.first) + {columns})")
            } else {
                format!("vec4({first}) + {columns}")
            }
        };
        let clamped = places("min(columns_of(row, j), vec4(row.width - 1u))");
        let columns = places("columns_of(row, j)");
        if straddles {
            let each = ["x", "y", "z", "w"].map(|e| self.place(&format!("i.{e}"))).join(", ");
            all.push((format!("place_{t}s"), format!("(i: vec4<u32>) -> vec4<u32> {{ return vec4({each}); }}")));
        }
        // neighbours two by two, which may be halves of two words
        let pairs = kernel.consts.get(SPREAD).is_some() && !straddles && self.element != Element::F32;
        let is_packed = self.element != Element::F32 && (self.content.is_vectors() || pairs);
        let (stored, store4, store_some4) = if self.content.is_vectors() {
            let some = ["x", "y", "z", "w"].map(|e| format!("if live.{e} {{ slot_{}[at].{e} = v.{e}; }}", self.slot));
            // vectors of words are written whole
            let some = if self.element == Element::F32 { some.join(" ") } else { self.put_vector("at") };
            (
                format!("let v = slot_{}[{at}];", self.slot),
                format!("{{ {} }}", self.put_vector(&at)),
                format!("{{ let at = {at}; {some} }}"),
            )
        } else {
            (
                format!("let i = {clamped}; let v = {};", if pairs { self.gather_pairs() } else { self.gather("i") }),
                format!("{{ let i = {columns}; {} }}", self.scatter("i")),
                format!("{{ let i = {columns}; {} }}", self.scatter_some("i")),
            )
        };
        let (ty, numbers) = if is_packed {
            ("vec2<u32>", format!("{}_of_words(v)", self.element))
        } else {
            ("vec4<f32>", "v".to_owned())
        };
        all.push((format!("load4_{t}"), format!("(row: Row, j: u32) -> vec4<f32> {{ {stored} return {numbers}; }}")));
        all.push(packed(t, ty, &format!("{{ {stored} return v; }}"), &numbers));
        all.push((format!("load_{t}"), format!("(row: Row, c: u32) -> f32 {{ return {}; }}", self.number(&column))));
        all.push((format!("store4_{t}"), format!("(row: Row, j: u32, v: vec4<f32>) {store4}")));
        let some = format!("(row: Row, j: u32, live: vec4<bool>, v: vec4<f32>) {store_some4}");
        all.push((format!("store_some4_{t}"), some));
        let halves = format!(
            "(row: Row, j: u32, live: vec4<bool>, v: vec4<f32>) {{ let i = {columns}; {} }}",
            self.put_halves("i.x")
        );
        all.push((format!("store_halves4_{t}"), halves));
        all.push((format!("words4_{t}"), format!("(d: Dealt, v: vec4<f32>) {}", self.words4())));
        all
    }

    fn list(&self, one_plus: bool) -> Functions {
        let t = self.operand.name().replace(' ', "_");
        let ty = if self.is_bits() { "f32" } else { "u32" };
        let at = format!("p.places.{t} + i");
        let one = if one_plus { "1.0 + " } else { "" };
        let four = |first: &str| format!("let at = vec4({first}) + vec4(0u, 1u, 2u, 3u);");
        let [load4, store4, each] = if self.content.is_vectors() {
            let vector = format!("({at}) / 4u");
            [
                format!("{{ return {one}{}; }}", self.vector(&vector)),
                format!("{{ {} }}", self.put_vector(&vector)),
                format!("{{ return {one}{}; }}", self.vector(&format!("(p.places.{t} + first) / 4u + j"))),
            ]
        } else {
            [
                format!("{{ {} return {one}{}; }}", four(&at), self.gather("at")),
                format!("{{ {} {} }}", four(&at), self.scatter("at")),
                format!("{{ {} return {one}{}; }}", four(&format!("p.places.{t} + first + 4u * j")), self.gather("at")),
            ]
        };
        vec![
            (format!("load_{t}"), format!("(i: u32) -> {ty} {{ return {one}{}; }}", self.number(&at))),
            (format!("load4_{t}"), format!("(i: u32) -> vec4<{ty}> {load4}")),
            (format!("load4_{t}_at"), format!("(first: u32, j: u32) -> vec4<{ty}> {each}")),
            (format!("store_{t}"), format!("(i: u32, x: {ty}) {{ {} }}", self.assign(&at, "x"))),
            (format!("store4_{t}"), format!("(i: u32, v: vec4<{ty}>) {store4}")),
        ]
    }

    fn records(&self) -> Functions {
        let t = self.operand.name().replace(' ', "_");
        let (load, store) = if self.content.is_vectors() {
            let at = format!("p.places.{t} / 4u + i");
            (format!("{{ return {}; }}", self.vector(&at)), format!("{{ {} }}", self.put_vector(&at)))
        } else {
            let at = format!("let at = vec4(p.places.{t} + 4u * i) + vec4(0u, 1u, 2u, 3u);");
            (format!("{{ {at} return {}; }}", self.gather("at")), format!("{{ {at} {} }}", self.scatter("at")))
        };
        vec![
            (format!("load_{t}"), format!("(i: u32) -> vec4<f32> {load}")),
            (format!("store_{t}"), format!("(i: u32, v: vec4<f32>) {store}")),
        ]
    }

    /// The word that an element of 16 bits is a half of.
    fn word(&self, at: &str) -> String {
        match self.content {
            Content::WordPairs => format!("slot_{}[({at}) / 4u][({at}) / 2u % 2u]", self.slot),
            _ => format!("slot_{}[({at}) / 2u]", self.slot),
        }
    }

    /// The number at a place. A binding of words holds counters, and numbers by their bits.
    fn number(&self, at: &str) -> String {
        let (slot, element) = (self.slot, self.element);
        match (element, self.content) {
            (Element::F16 | Element::Bf16, _) => format!("{element}_of_word({}, {at})", self.word(at)),
            (_, Content::Vectors) => format!("slot_{slot}[({at}) / 4u][({at}) % 4u]"),
            (_, Content::Words) if self.is_bits() => format!("bitcast<f32>(slot_{slot}[{at}])"),
            _ => format!("slot_{slot}[{at}]"),
        }
    }

    fn assign(&self, at: &str, value: &str) -> String {
        let (slot, element) = (self.slot, self.element);
        match (element, self.content) {
            (Element::F16 | Element::Bf16, _) => {
                format!("{word} = {element}_in_word({word}, {at}, {value});", word = self.word(at))
            }
            (_, Content::Vectors) => format!("slot_{slot}[({at}) / 4u][({at}) % 4u] = {value};"),
            (_, Content::Words) if self.is_bits() => format!("slot_{slot}[{at}] = bitcast<u32>({value});"),
            _ => format!("slot_{slot}[{at}] = {value};"),
        }
    }

    fn is_bits(&self) -> bool {
        !matches!(self.operand.spec().unit, Unit::Counter | Unit::Bytes)
    }

    /// The vector with this number.
    fn vector(&self, at: &str) -> String {
        match self.element {
            Element::F32 => format!("slot_{}[{at}]", self.slot),
            element => format!("{element}_of_words(slot_{}[{at}])", self.slot),
        }
    }

    fn put_vector(&self, at: &str) -> String {
        match self.element {
            Element::F32 => format!("slot_{}[{at}] = v;", self.slot),
            element => format!("slot_{}[{at}] = {element}_words(v);", self.slot),
        }
    }

    /// Four numbers at the places in `i`.
    fn gather(&self, i: &str) -> String {
        if self.element != Element::F32 {
            let half = |e| format!("half_at({}, {i}.{e})", self.word(&format!("{i}.{e}")));
            return format!("{}_numbers(vec4({}))", self.element, ["x", "y", "z", "w"].map(half).join(", "));
        }
        format!("vec4({})", ["x", "y", "z", "w"].map(|e| self.number(&format!("{i}.{e}"))).join(", "))
    }

    /// Of 16 bits, where the second and the fourth are neighbours of those before them, as two words.
    fn gather_pairs(&self) -> String {
        let pair = |a, b| {
            let word = |e| self.word(&format!("i.{e}"));
            format!("halves_from({}, {}, i.{a})", word(a), word(b))
        };
        format!("vec2({}, {})", pair("x", "y"), pair("z", "w"))
    }

    /// To the places in `i`; of 16 bits word by word.
    fn scatter(&self, i: &str) -> String {
        self.scattered(i, &|_, put| put)
    }

    /// Those that are live.
    fn scatter_some(&self, i: &str) -> String {
        self.scattered(i, &|e, put| format!("if live.{e} {{ {put} }}"))
    }

    /// What is put at the first element of what one store writes.
    fn scattered(&self, i: &str, wrap: &dyn Fn(&str, String) -> String) -> String {
        let element = self.element;
        let put = |e: &str| wrap(e, self.assign(&format!("{i}.{e}"), &format!("v.{e}")));
        let put_word = |(e, half)| wrap(e, format!("{} = w.{half};", self.word(&format!("{i}.{e}"))));
        match element {
            Element::F32 => ["x", "y", "z", "w"].map(put).join(" "),
            _ => format!("let w = {element}_words(v); {}", [("x", "x"), ("z", "y")].map(put_word).join(" ")),
        }
    }

    /// What is dealt by words, maybe another's: halves lie as those that it was dealt by.
    fn words4(&self) -> String {
        if self.element == Element::F32 {
            let put = |e: &str| {
                let assign = self.assign(&self.place(&format!("d.number.{e}")), &format!("v.{e}"));
                format!("if d.live.{e} {{ {assign} }}")
            };
            return format!("{{ {} }}", ["x", "y", "z", "w"].map(put).join(" "));
        }
        let at = format!("d.place + (p.places.{} - written_place())", self.operand.name());
        format!("{{ let live = d.live; let at = {at}; {} }}", self.put_halves("at"))
    }

    /// Four halves from a word on: those that are live. Of words that are not live as a whole the rest stays as it is.
    fn put_halves(&self, at: &str) -> String {
        let put = |(half, k, pair): (&str, u32, &str)| {
            let word = self.word(&format!("{at} + {k}u"));
            format!(
                "let {half} = halves(live.{pair}); \
                 if {half} == 0xffffffffu {{ {word} = w.{half}; }} \
                 else if {half} != 0u {{ {word} = insert_halves({word}, w.{half}, {half}); }}"
            )
        };
        let words = [("x", 0, "xy"), ("y", 2, "zw")].map(put).join(" ");
        format!("let w = {}_words(v); {words}", self.element)
    }
}

/// A load of a vector as it is stored, and its numbers, of such a `v`.
fn packed(t: &str, ty: &str, load: &str, numbers: &str) -> (String, String) {
    let unpacked = format!("fn unpacked4_{t}(v: Packed_{t}) -> vec4<f32> {{ return {numbers}; }}");
    let body = format!("(row: Row, j: u32) -> Packed_{t} {load}\nalias Packed_{t} = {ty};\n{unpacked}");
    (format!("packed4_{t}"), body)
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
            packed(&t, "vec4<f32>", &format!("{{ return vec4({none}); }}"), "v"),
            function(format!("load_{t}"), "row: Row, c: u32", &one),
            function(format!("store4_{t}"), "row: Row, j: u32, v: vec4<f32>", " { }"),
            function(format!("store_some4_{t}"), "row: Row, j: u32, live: vec4<bool>, v: vec4<f32>", " { }"),
            function(format!("words4_{t}"), "d: Dealt, v: vec4<f32>", " { }"),
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
