//! A recipe: what a host has to do to run one operation of a norm, and nothing else.
//!
//! Everything up to here is pure. wgpu's recorder (`device/record.rs`) is one host; any other can run a recipe with its own API:
//! make a pipeline of each kernel's [`source`](Kernel::source) with its [`constants`](Kernel::constants), a bind group of each
//! dispatch's parameters (binding 0, uniform) and bindings (1 and on, storage), and dispatch in order, with a barrier between.

use crate::kernel::Kernel;

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
