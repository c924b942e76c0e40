//! The facts of a wgpu device.

use crate::facts::{DeviceFacts, DeviceKind};

impl DeviceFacts {
    /// Those of a device: its limits, its enabled features, whether it is hardware.
    pub fn of(device: &wgpu::Device) -> Self {
        Self::new(&device.adapter_info(), &device.limits(), device.features())
    }

    /// Those of a device on this adapter that would be opened with these limits and features.
    pub fn new(info: &wgpu::AdapterInfo, limits: &wgpu::Limits, features: wgpu::Features) -> Self {
        let software = info.device_type == wgpu::DeviceType::Cpu;
        let subgroup = 1 << info.subgroup_min_size.clamp(1, 64).ilog2();
        Self {
            kind: if software { DeviceKind::Software } else { DeviceKind::Gpu },
            min_subgroup: if features.contains(wgpu::Features::SUBGROUP) { subgroup } else { 1 },
            max_workgroup_size: limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x),
            max_workgroup_memory: limits.max_compute_workgroup_storage_size,
            max_workgroup_count: limits.max_compute_workgroups_per_dimension,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            max_binding: limits.max_storage_buffer_binding_size,
            storage_align: limits.min_storage_buffer_offset_alignment,
            uniform_align: limits.min_uniform_buffer_offset_alignment,
        }
    }
}
