//! A recipe: what a host has to do to run one operation of a norm, and nothing else.
//!
//! Everything up to here is pure. wgpu's recorder (`device/record.rs`) is one host; any other can run a recipe with its
//! own API: make a pipeline of each kernel's [`source`](Kernel::source) with its [`constants`](Kernel::constants), a
//! bind group of each dispatch's parameters (binding 0, uniform) and bindings (1 and on, storage), and dispatch in
//! order, with a barrier between.

use crate::kernel::Kernel;
#[cfg(feature = "json")]
use crate::view::Buffer;

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
    pub fn to_json(&self, name: impl Fn(&B) -> String) -> serde_json::Value {
        use serde_json::json;
        let access = |writes: bool| if writes { "read_write" } else { "read" };
        let kernel = |kernel: &Kernel| {
            let binding = |((operands, writes), binding): ((String, bool), u32)| {
                let operands: Vec<&str> = operands.split('+').collect();
                json!({ "binding": binding, "access": access(writes), "operands": operands })
            };
            let bindings: Vec<_> = kernel.binding_names().zip(kernel.bindings()).zip(1..).map(binding).collect();
            let constants: serde_json::Map<_, _> =
                kernel.constants().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            json!({
                "name": kernel.to_string(),
                "source": kernel.source(),
                "entry_point": kernel.entry_point(),
                "constants": constants,
                "subgroups": kernel.uses_subgroups(),
                "bindings": bindings,
            })
        };
        let dispatch = |dispatch: &Dispatch| {
            let binding = |(b, binding): (&Binding, u32)| {
                json!({
                    "binding": binding,
                    "buffer": b.buffer,
                    "offset": b.offset,
                    "size": b.size,
                    "access": access(b.writes),
                })
            };
            json!({
                "kernel": dispatch.kernel,
                "workgroups": dispatch.workgroups,
                "parameters": dispatch.parameters.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
                "bindings": dispatch.bindings.iter().zip(1..).map(binding).collect::<Vec<_>>(),
            })
        };
        let buffer = |(id, buffer): (usize, &B)| json!({ "id": id, "name": name(buffer), "size": buffer.size() });
        json!({
            "version": Self::JSON_VERSION,
            "operation": self.operation,
            "buffers": self.buffers.iter().enumerate().map(buffer).collect::<Vec<_>>(),
            "kernels": self.kernels.iter().map(kernel).collect::<Vec<_>>(),
            "dispatches": self.dispatches.iter().map(dispatch).collect::<Vec<_>>(),
        })
    }
}
