#![doc = include_str!("../README.md")]
#![warn(missing_docs, unreachable_pub)]
#![deny(unsafe_code)]

#[cfg(test)]
mod catalogue;
mod descriptor;
#[cfg(feature = "wgpu")]
mod device;
mod element;
#[cfg(feature = "wgpu")]
mod engine;
mod error;
mod facts;
mod fold;
mod fusion;
#[cfg(test)]
mod invariants;
mod kernel;
mod lower;
mod moments;
mod norm;
mod operand;
mod partition;
mod plan;
mod recipe;
pub mod reference;
mod schedule;
#[cfg(test)]
mod shaders_test;
#[cfg(feature = "state")]
mod state;
mod view;
mod walk;

pub use descriptor::{
    AdaptiveDescriptor, Affine, AffineAxes, Epsilon, MemoryFormat, Momentum, NormDescriptor, NormKind, RunningUpdate,
    SingleElement, StyleEpsilon, Variance,
};
#[cfg(all(feature = "wgpu", feature = "profile"))]
pub use device::TunedProfile;
#[cfg(feature = "wgpu")]
pub use device::{BoundNorm, read_buffer};
#[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
pub use device::{converts_f16_exactly, read_buffer_blocking};
pub use element::{Element, Types};
#[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
pub use engine::sync;
#[cfg(feature = "wgpu")]
pub use engine::{AdaptiveNorm, Norm, NormEngine, NormEngineDescriptor, SpectralNorm};
pub use error::{BindError, EngineError, PlanError, ReadError};
pub use facts::{DeviceFacts, DeviceKind};
pub use fold::{Convolution, FoldError, FoldedConvolution, Real, RunningNorm, fold_batch_norm};
pub use fusion::{
    ALL_AXES, Activation, Epilogue, Fusion, Modulation, Multiplier, NormalizedRounding, Prologue, QuantFormat,
    QuantScale, Quantization, SumRounding,
};
pub use kernel::Kernel;
pub use moments::{Records, Spread};
#[cfg(feature = "mpi")]
pub use mpi;
pub use norm::*;
pub use operand::Operand;
pub use partition::Partition;
pub use plan::{MAX_RANK, normalized_axes};
pub use recipe::{Binding, Dispatch, Recipe};
pub use schedule::{Backward, DeviceProfile, Held, HeldRows, HeldTiles, ProfileMismatch, Reduce, Schedule, Walk};
#[cfg(feature = "state")]
pub use state::{
    AbsentCounters, ExtraTensors, RunningStatistics, State, StateEntry, StateError, StateMistake, StateOptions,
    StatePrefix, StateSpec, StateType, StateValues, foreign_format,
};
pub use view::{Buffer, BufferId, BufferView, Destination, TensorView};
#[cfg(feature = "wgpu")]
pub use wgpu;

/// The code of the page on fusions, which is tested as the README's is.
#[cfg(doctest)]
#[doc = include_str!("../docs/fusions.md")]
struct FusionsPage;
