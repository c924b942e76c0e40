//! Kernels: what changes their code, their parameters, their source.

mod access;
pub(crate) mod blocks;
mod key;
pub(crate) mod parameters;
mod reduced;
mod source;

pub(crate) use access::is_tensor;
pub use key::Kernel;
pub(crate) use key::{Content, Entry, Exchange, Layout, MAX_OPERANDS, MAX_SLOTS, Settings, SlotLayout, Source};
