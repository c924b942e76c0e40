//! What the program `wgpu-norm`, the recorded cases and the tests of the engine share: a device, norms on it, the f64
//! reference beside them, tensor files, and words for a terminal. Without the feature `native` it is what a browser can
//! share too: the judge, the numbers that norms are tried with, the report of a benchmark and its plots.

#![warn(missing_docs, unreachable_pub)]
#![deny(unsafe_code)]

#[cfg(feature = "native")]
pub mod around;
pub mod check;
#[cfg(feature = "native")]
pub mod compute;
#[cfg(feature = "native")]
pub mod device;
pub mod elements;
pub mod exact;
#[cfg(feature = "native")]
pub mod failure;
#[cfg(feature = "native")]
pub mod file_error;
#[cfg(feature = "native")]
pub mod files;
pub mod fill;
pub mod fused;
#[cfg(feature = "native")]
mod names;
#[cfg(feature = "native")]
pub mod norm;
#[cfg(feature = "native")]
mod npy;
#[cfg(feature = "native")]
mod npz;
#[cfg(feature = "native")]
pub mod outline;
#[cfg(feature = "native")]
pub mod output;
#[cfg(feature = "native")]
pub mod quantized;
pub mod report;
#[cfg(feature = "native")]
pub mod safetensors_file;
#[cfg(feature = "native")]
pub mod shaders;
pub mod shapes;
#[cfg(feature = "native")]
pub mod terminal;
pub mod terms;
pub mod tier;
pub mod types;
#[cfg(feature = "native")]
mod unfinished;
