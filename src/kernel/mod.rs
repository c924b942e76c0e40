//! Kernels: what changes their code, their parameters, their source.

mod key;
pub(crate) mod parameters;
mod source;

pub use key::Kernel;
pub(crate) use key::{Content, Entry, Layout, MAX_OPERANDS, MAX_SLOTS, SlotLayout, Source};
