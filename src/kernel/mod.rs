//! Kernels: what changes their code, their parameters, their source.

mod access;
mod around;
pub(crate) mod blocks;
mod fragment;
mod held;
mod key;
pub(crate) mod parameters;
mod prune;
mod reduced;
mod source;
mod surround;
mod terse;

pub(crate) use access::is_tensor;
pub(crate) use fragment::{F16_BUILTINS, IN_PAIRS, LANES_GIVEN, SHARED, SPREAD};
pub(crate) use held::{EPS_ALONE, FOLDS, SAME_COLUMNS};
pub use key::Kernel;
pub(crate) use key::{Content, Entry, Exchange, Layout, MAX_OPERANDS, MAX_SLOTS, Settings, SlotLayout, Source};
pub(crate) use surround::{After, Around, BROADCAST};
