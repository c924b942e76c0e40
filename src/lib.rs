#![doc = include_str!("../README.md")]
#![warn(missing_docs, unreachable_pub)]
#![deny(unsafe_code)]

mod binding;
mod bound;
mod descriptor;
mod dispatch;
mod engine;
mod error;
#[cfg(test)]
mod invariants;
mod kernel;
mod norm;
mod operands;
mod params;
mod partition;
mod pipeline_cache;
mod plan;
mod profile;
mod readback;
pub mod reference;
mod schedule;
mod scope;
pub mod shaders;
mod spectral;
#[cfg(feature = "state")]
mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod sync;
mod trusted;
mod view;
mod wgsl;
mod window;

pub use bound::BoundNorm;
#[doc(hidden)]
pub use bound::Handed;
pub use descriptor::{
    Affine, AffineAxes, DataType, Epsilon, MemoryFormat, Momentum, NormDescriptor, NormKind, RunningUpdate,
    SingleElement, StyleEpsilon, Variance,
};
pub use engine::{NormEngine, NormEngineDescriptor};
pub use error::{BindError, EngineError, PlanError, ReadError};
pub use kernel::Team;
pub use kernel::{KernelKey, Spread};
#[cfg(feature = "mpi")]
pub use mpi;
pub use norm::{
    BackwardArgs, BackwardStatistics, ExportArgs, ForwardArgs, GradientSumsArgs, ImportArgs, InputGradientArgs,
    MergeArgs, MomentsArgs, Norm, Records, RunningArgs, StatisticsSource, TrainingArgs,
};
pub use partition::Partition;
pub use plan::{MAX_RANK, normalized_axes};
pub use profile::ProfileMismatch;
#[cfg(feature = "profile")]
pub use profile::TunedProfile;
pub use readback::read_buffer;
#[cfg(not(target_arch = "wasm32"))]
pub use readback::read_buffer_blocking;
pub use schedule::{Backward, DeviceProfile, Reduce, Schedule, Walk};
pub use spectral::{PowerIterations, PowerOrder, SpectralArgs, SpectralBackwardArgs, SpectralDescriptor, SpectralNorm};
#[cfg(feature = "state")]
pub use state::{RunningStatistics, State, StateEntry, StateError, StateMistake, StateSpec, StateType, StateValues};
pub use view::{BufferView, Destination, TensorView};
pub use wgpu;
