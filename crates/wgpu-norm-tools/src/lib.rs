//! What the program `wgpu-norm`, the recorded cases and the tests of the engine share: a device, norms on it, the f64
//! reference beside them, tensor files, and words for a terminal.

#![warn(missing_docs, unreachable_pub)]
#![deny(unsafe_code)]

pub mod around;
pub mod check;
pub mod compute;
pub mod device;
pub mod elements;
pub mod failure;
pub mod file_error;
pub mod files;
pub mod fused;
mod names;
pub mod norm;
mod npy;
mod npz;
pub mod outline;
pub mod output;
pub mod quantized;
pub mod safetensors_file;
pub mod shaders;
pub mod shapes;
pub mod terminal;
pub mod types;
mod unfinished;
