//! The roof: a copy kernel, against which norms are measured.

use wgpu_norm::wgpu;

use crate::device::{Gpu, Operand};

/// Bytes of what one invocation copies.
pub const QUAD: u64 = 16;

/// The copy kernel, compiled.
pub struct Copy {
    pipeline: wgpu::ComputePipeline,
    workgroup_size: u64,
    max_workgroups: u64,
}

/// A copy between two buffers.
pub struct BoundCopy<'a> {
    pipeline: &'a wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    grid: [u32; 2],
}

impl Copy {
    /// Compiles it, with workgroups of the size that the norms' own maps have.
    pub fn new(gpu: &Gpu) -> Self {
        let workgroup_size = gpu.engine.profile().map_workgroup_size;
        let module = gpu.device.create_shader_module(wgpu::include_wgsl!("copy.wgsl"));
        let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("copy"),
            layout: None,
            module: &module,
            entry_point: Some("copy"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &[("workgroup_size", f64::from(workgroup_size))],
                ..Default::default()
            },
            cache: None,
        });
        let max_workgroups = u64::from(gpu.device.limits().max_compute_workgroups_per_dimension);
        Self { pipeline, workgroup_size: u64::from(workgroup_size), max_workgroups }
    }

    /// Binds the copy of a whole buffer to another of its size.
    pub fn bind(&self, gpu: &Gpu, from: &Operand, to: &Operand) -> BoundCopy<'_> {
        let bind_group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("copy"),
            layout: &self.pipeline.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: from.buffer.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: to.buffer.as_entire_binding() },
            ],
        });
        let workgroups = (from.buffer.size() / QUAD).div_ceil(self.workgroup_size);
        BoundCopy { pipeline: &self.pipeline, bind_group, grid: grid(workgroups, self.max_workgroups) }
    }
}

impl BoundCopy<'_> {
    /// Records it into a pass.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }
}

fn grid(workgroups: u64, max: u64) -> [u32; 2] {
    let rows = workgroups.div_ceil(max).max(1);
    [workgroups.div_ceil(rows) as u32, rows as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_covers_all_workgroups_within_the_limit() {
        for (workgroups, max, expected) in [(1, 65535, [1, 1]), (65535, 65535, [65535, 1]), (65537, 65535, [32769, 2])]
        {
            assert_eq!(grid(workgroups, max), expected);
        }
    }
}
