//! All that touches wgpu: facts of a device, kernels compiled for it, recipes recorded, buffers read back.

pub(crate) mod compiler;
mod facts;
#[cfg(not(target_arch = "wasm32"))]
mod halves;
pub(crate) mod pipelines;
mod readback;
mod record;
pub(crate) mod scope;
mod trusted;
#[cfg(feature = "profile")]
mod tuned;

#[cfg(not(target_arch = "wasm32"))]
pub use halves::converts_f16_exactly;
pub use readback::read_buffer;
#[cfg(not(target_arch = "wasm32"))]
pub use readback::read_buffer_blocking;
pub use record::BoundNorm;
pub(crate) use record::Device;
#[cfg(feature = "profile")]
pub use tuned::TunedProfile;
