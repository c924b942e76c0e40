//! What planning has to know of a device, in plain numbers.

use crate::error::EngineError;

/// Fewest storage buffers a stage with which any norm can be computed: input, parameters, statistics, output.
const MIN_STORAGE_BUFFERS: u32 = 4;

/// Fewest invocations of a workgroup that kernels divide into lanes and lines.
pub(crate) const MIN_WORKGROUP: u32 = 8;

/// Bytes of workgroup memory for each invocation: a vector and a word.
const MEMORY_EACH: u32 = 20;

/// Most bytes of a binding that are used: words are numbered in 32 bits.
const MAX_BINDING: u64 = (1 << 32) - 16;

/// Kind of a device: what schedules are for.
#[cfg_attr(feature = "profile", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// Hardware: it is kept busy.
    Gpu,
    /// A driver that runs kernels on a processor: it has to give right results, and to compile them quickly.
    Software,
}

/// What planning has to know of a device: kind, limits, subgroups. From wgpu by `DeviceFacts::of`, or written down by
/// hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceFacts {
    /// Hardware or software.
    pub kind: DeviceKind,
    /// A size in invocations that no subgroup undercuts; 1 where kernels may not use subgroup operations.
    pub min_subgroup: u32,
    /// Most invocations of a workgroup.
    pub max_workgroup_size: u32,
    /// Most bytes of workgroup memory.
    pub max_workgroup_memory: u32,
    /// Most workgroups along one dimension of a grid.
    pub max_workgroup_count: u32,
    /// Storage buffers that a kernel may bind.
    pub max_storage_buffers: u32,
    /// Most bytes of a storage binding.
    pub max_binding: u64,
    /// What offsets of storage bindings are multiples of.
    pub storage_align: u32,
    /// What offsets of uniform bindings are multiples of.
    pub uniform_align: u32,
}

impl DeviceFacts {
    /// WebGPU's default limits, no feature, hardware.
    pub const DEFAULT: Self = Self {
        kind: DeviceKind::Gpu,
        min_subgroup: 1,
        max_workgroup_size: 256,
        max_workgroup_memory: 16 << 10,
        max_workgroup_count: 65_535,
        max_storage_buffers: 8,
        max_binding: 128 << 20,
        storage_align: 256,
        uniform_align: 256,
    };

    /// The limits of `wgpu::Limits::downlevel_defaults`: four storage buffers, which serve inference.
    pub const DOWNLEVEL: Self = Self { max_storage_buffers: 4, ..Self::DEFAULT };

    /// Whether norms can be computed on such a device at all.
    ///
    /// # Errors
    /// [`EngineError::Limit`] where it has no compute shaders, too small workgroups or too few storage buffers.
    pub fn check(&self) -> Result<(), EngineError> {
        let needs = [
            ("max_storage_buffers_per_shader_stage", MIN_STORAGE_BUFFERS, self.max_storage_buffers),
            ("max_compute_invocations_per_workgroup", MIN_WORKGROUP, self.max_workgroup_size),
            ("max_compute_workgroup_storage_size", MIN_WORKGROUP * MEMORY_EACH, self.max_workgroup_memory),
            ("max_compute_workgroups_per_dimension", 1, self.max_workgroup_count),
        ];
        match needs.into_iter().find(|(_, needed, available)| available < needed) {
            Some((limit, needed, available)) => {
                Err(EngineError::Limit { limit, needed: needed.into(), available: available.into() })
            }
            None => Ok(()),
        }
    }

    /// What offsets of bindings are multiples of: a vector, where the device would allow less.
    pub(crate) fn align(&self) -> u64 {
        u64::from(self.storage_align).max(16)
    }

    /// Most bytes of a range that can be bound wherever it starts.
    pub(crate) fn max_range(&self) -> u64 {
        self.max_binding.saturating_sub(self.align()) / 4 * 4
    }

    /// Most invocations of a workgroup, a power of two.
    pub(crate) fn largest_workgroup(&self) -> u32 {
        let largest = self.max_workgroup_size.min(self.max_workgroup_memory / MEMORY_EACH);
        1 << largest.max(MIN_WORKGROUP).ilog2()
    }

    /// The same with what kernels can count with: bindings in 32 bits, subgroups of a power of two.
    pub(crate) fn usable(self) -> Self {
        Self {
            min_subgroup: 1 << self.min_subgroup.max(1).ilog2(),
            max_workgroup_count: self.max_workgroup_count.max(1),
            max_binding: self.max_binding.min(MAX_BINDING),
            ..self
        }
    }
}
