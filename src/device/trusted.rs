//! The library's one unsafe call: kernels are compiled without the checks that a driver's optimizer cannot see through.
//!
//! wgpu guards every array access and every loop of a shader. The guards keep drivers from unrolling the loops over the
//! vectors that an invocation holds, which then go to memory instead of registers, and NVIDIA's open compiler makes
//! four loads of each vector's.
#![allow(unsafe_code)]

/// A shader module of this library's own source.
pub(crate) fn create_shader_module(
    device: &wgpu::Device,
    descriptor: wgpu::ShaderModuleDescriptor<'_>,
) -> wgpu::ShaderModule {
    // SAFETY: the source is assembled from this crate's kernels alone. Every loop in them is bounded by a parameter or
    // a constant. Every index is made of parameters that were computed from the operands' checked sizes and of counters
    // bounded by them; what lies beyond a run is clamped into it before it is loaded (`lib/row.wgsl`, `lib/held/`,
    // `reduce_strided.wgsl`), and not stored. No index and no bound depends on the contents of a buffer.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}
