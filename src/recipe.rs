//! A recipe: what a host has to do to run one operation of a norm, and nothing else.
//!
//! Everything up to here is pure. wgpu's recorder (`device/record.rs`) is one host; any other can run a recipe with its
//! own API: make a pipeline of each kernel's [`source`](Kernel::source) with its [`constants`](Kernel::constants), a
//! bind group of each dispatch's parameters (binding 0, uniform) and bindings (1 and on, storage), and dispatch in
//! order, with a barrier between.

use crate::kernel::Kernel;
#[cfg(feature = "json")]
use crate::view::Buffer;
#[cfg(feature = "json")]
use serde_json::Value;

/// What a host has to do. `B` is what the host calls a buffer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Recipe<B> {
    /// What it computes, for labels.
    pub operation: &'static str,
    /// The caller's buffers, each once.
    pub buffers: Vec<B>,
    /// Kernels, each once.
    pub kernels: Vec<Kernel>,
    /// Dispatches, in order; each waits for those before it.
    pub dispatches: Vec<Dispatch>,
}

/// One dispatch.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Dispatch {
    /// Which of the recipe's kernels.
    pub kernel: usize,
    /// Workgroups along x and y; z is 1.
    pub workgroups: [u32; 2],
    /// Bytes of the uniform block at binding 0.
    pub parameters: Vec<u8>,
    /// Storage bindings, from binding 1 on.
    pub bindings: Vec<Binding>,
}

/// One storage binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding {
    /// Which of the recipe's buffers.
    pub buffer: usize,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// Whether the kernel writes; reading is always allowed.
    pub writes: bool,
}

#[cfg(feature = "json")]
impl<B: Buffer> Recipe<B> {
    /// Version of what [`Recipe::to_json`] writes; it changes whenever a field comes to mean something else.
    pub const JSON_VERSION: u32 = 1;

    /// All that a host in another language needs, sources and parameters included; `docs/recipe.md` describes it.
    /// `name` says what the host calls a buffer.
    pub fn to_json(&self, name: impl Fn(&B) -> String) -> Value {
        self.to_json_with(name, Kernel::to_json)
    }

    /// As [`Recipe::to_json`] with what `kernel` makes of each kernel: for a host that has compiled some, and knows
    /// them by their names ([`Kernel`]'s `to_string`), which are made in a fraction of the time.
    pub fn to_json_with(&self, name: impl Fn(&B) -> String, kernel: impl Fn(&Kernel) -> Value) -> Value {
        let buffer = |(id, buffer): (usize, &B)| {
            object(vec![("id", id.into()), ("name", name(buffer).into()), ("size", buffer.size().into())])
        };
        object(vec![
            ("version", Self::JSON_VERSION.into()),
            ("operation", self.operation.into()),
            ("buffers", self.buffers.iter().enumerate().map(buffer).collect()),
            ("kernels", self.kernels.iter().map(kernel).collect()),
            ("dispatches", self.dispatches.iter().map(Dispatch::to_json).collect()),
        ])
    }
}

#[cfg(feature = "json")]
impl Dispatch {
    fn to_json(&self) -> Value {
        let binding = |(b, binding): (&Binding, u32)| {
            object(vec![
                ("binding", binding.into()),
                ("buffer", b.buffer.into()),
                ("offset", b.offset.into()),
                ("size", b.size.into()),
                ("access", access(b.writes)),
            ])
        };
        object(vec![
            ("kernel", self.kernel.into()),
            ("workgroups", self.workgroups.iter().copied().collect()),
            ("parameters", self.parameters.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()),
            ("bindings", self.bindings.iter().zip(1..).map(binding).collect()),
        ])
    }
}

#[cfg(feature = "json")]
impl Kernel {
    /// What `docs/recipe.md` has of a kernel.
    pub fn to_json(&self) -> Value {
        let binding = |((operands, writes), binding): ((String, bool), u32)| {
            let operands = operands.split('+').collect();
            object(vec![("binding", binding.into()), ("access", access(writes)), ("operands", operands)])
        };
        let source = self.source();
        let constants = self.constants_of(&source).into_iter().map(|(name, value)| (name, value.into())).collect();
        object(vec![
            ("name", self.to_string().into()),
            ("source", source.into()),
            ("entry_point", self.entry_point().into()),
            ("constants", object(constants)),
            ("subgroups", self.uses_subgroups().into()),
            ("bindings", self.binding_names().zip(self.bindings()).zip(1..).map(binding).collect()),
        ])
    }
}

#[cfg(feature = "json")]
fn access(writes: bool) -> Value {
    if writes { "read_write" } else { "read" }.into()
}

/// An object of these fields.
#[cfg(feature = "json")]
fn object(fields: Vec<(&'static str, Value)>) -> Value {
    // one by one, as requests are read: a collection of them is sorted by code of its own
    let mut object = serde_json::Map::new();
    for (name, value) in fields {
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}
