//! How long a program waits for its first norm.

use std::time::Instant;

use wgpu_norm::{Destination, ForwardArgs, NormDescriptor, NormKind, StatisticsSource};

use crate::device::{DeviceArgs, Gpu};
use crate::failure::Failure;

const SHAPE: [u64; 2] = [64, 64];

/// Opens the adapter and normalizes a small tensor. Milliseconds until the result is in the host's memory.
pub fn start(wanted: &DeviceArgs) -> Result<(Gpu, f64), Failure> {
    let start = Instant::now();
    let gpu = Gpu::require(wanted, "bench has nothing to measure without one")?;
    let norm = gpu.engine.create_norm(&NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &SHAPE))?;
    let input = gpu.upload("input", &vec![1.0; norm.len() as usize])?;
    let parameter = gpu.upload("scale and bias", &vec![1.0; norm.affine_len() as usize])?;
    let output = gpu.operand("output", norm.len())?;
    let workspace = norm.create_workspace();
    let bound = norm.bind_forward(&ForwardArgs {
        input: input.view(),
        output: Destination::View(output.view()),
        scale: Some(parameter.view()),
        bias: Some(parameter.view()),
        style: None,
        statistics: StatisticsSource::Input,
        workspace: workspace.as_ref().map(wgpu_norm::BufferView::whole),
    })?;
    gpu.run(|pass| bound.record(pass))?;
    gpu.download(&output)?;
    Ok((gpu, start.elapsed().as_secs_f64() * 1e3))
}
