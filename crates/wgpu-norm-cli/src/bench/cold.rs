//! How long a program waits for its first norm.

use std::time::Instant;

use wgpu_norm::{NormDescriptor, NormKind};
use wgpu_norm_tools::compute;
use wgpu_norm_tools::device::{DeviceArgs, Gpu};
use wgpu_norm_tools::exact::Inputs;
use wgpu_norm_tools::failure::Failure;

const SHAPE: [u64; 2] = [64, 64];

/// Opens the adapter and normalizes a small tensor. Milliseconds until the result is in the host's memory.
pub fn start(wanted: &DeviceArgs) -> Result<(Gpu, f64), Failure> {
    let start = Instant::now();
    let gpu = Gpu::require(wanted, "bench has nothing to measure without one")?;
    let [input, parameter] = [SHAPE[0] * SHAPE[1], SHAPE[1]].map(|len| vec![1.0; len as usize]);
    let inputs = Inputs { input: &input, scale: Some(&parameter), bias: Some(&parameter), ..Inputs::default() };
    let descriptor = NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &SHAPE);
    compute::forward(&gpu, &descriptor.into(), inputs)?;
    Ok((gpu, start.elapsed().as_secs_f64() * 1e3))
}
