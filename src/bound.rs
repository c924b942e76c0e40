//! A norm bound to buffers: pipelines and bind groups, ready to be recorded.

use crate::binding::{Slot, Unbindable};
use crate::dispatch::{Dispatch, Lowering};
use crate::engine::Shared;
use crate::error::BindError;
use crate::kernel::KernelKey;
use crate::operands::Operands;
use crate::params::Params;
use crate::pipeline_cache::Compiled;
use crate::scope;

/// A norm bound to buffers. Recording it allocates nothing, submits nothing and waits for nothing.
#[derive(Clone, Debug)]
pub struct BoundNorm {
    label: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
struct Step {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    grid: [u32; 2],
    kernel: KernelKey,
    params: Params,
    /// Buffer, bytes and whether they are written, binding by binding.
    bindings: Vec<(wgpu::Buffer, u64, bool)>,
}

/// What a dispatch hands to the device: for `crates/gauge`, as long as nothing plans without a device.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Handed {
    pub kernel: KernelKey,
    pub source: String,
    pub constants: Vec<(&'static str, f64)>,
    pub workgroups: [u32; 2],
    pub parameters: Vec<u8>,
    /// Buffer, bytes and whether they are written, binding by binding.
    pub bindings: Vec<(wgpu::Buffer, u64, bool)>,
}

impl BoundNorm {
    /// Lowers stages to dispatches and binds them.
    pub(crate) fn lower(
        shared: &Shared,
        label: &str,
        operation: &'static str,
        operands: &Operands,
        stages: impl FnOnce(&mut Lowering) -> Result<(), Unbindable>,
    ) -> Result<Self, BindError> {
        let limits = shared.limits;
        let sizes = operands.buffers.iter().map(wgpu::Buffer::size).collect();
        let mut lowering = Lowering { limits, profile: shared.profile, sizes, dispatches: Vec::new() };
        stages(&mut lowering).map_err(|reason| match reason {
            Unbindable::TooLong { needed } => BindError::Limit {
                operation,
                limit: "max_storage_buffer_binding_size",
                needed,
                available: limits.max_bytes,
            },
            Unbindable::TooMany { needed } => BindError::Limit {
                operation,
                limit: "max_storage_buffers_per_shader_stage",
                needed: needed.into(),
                available: limits.max_slots.into(),
            },
        })?;
        Self::new(shared, label, operation, &operands.buffers, &lowering.dispatches)
    }

    fn new(
        shared: &Shared,
        label: &str,
        operation: &'static str,
        buffers: &[wgpu::Buffer],
        dispatches: &[Dispatch],
    ) -> Result<Self, BindError> {
        let label = format!("{label} {operation}");
        let grids = dispatches
            .iter()
            .map(|d| grid(operation, d.workgroups, shared.max_workgroups))
            .collect::<Result<Vec<_>, _>>()?;
        let compiled = dispatches
            .iter()
            .map(|d| shared.pipelines.get(&shared.device, shared.driver_cache.as_ref(), &shared.label, &d.key))
            .collect::<Result<Vec<_>, _>>()?;
        let bind = || Self::steps(shared, &label, buffers, dispatches, &compiled, &grids);
        let steps =
            scope::catch(&shared.device, bind).map_err(|error| BindError::Device { message: error.to_string() })?;
        Ok(Self { label, steps })
    }

    fn steps(
        shared: &Shared,
        label: &str,
        buffers: &[wgpu::Buffer],
        dispatches: &[Dispatch],
        compiled: &[Compiled],
        grids: &[[u32; 2]],
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        if !dispatches.is_empty() {
            let slot_size = (size_of::<Params>() as u64).next_multiple_of(shared.uniform_align);
            let uniforms = uniforms(&shared.device, label, dispatches, slot_size);
            for (k, ((dispatch, compiled), grid)) in dispatches.iter().zip(compiled).zip(grids).enumerate() {
                let bind_group = bind_group(
                    &shared.device,
                    label,
                    &compiled.layout,
                    &uniforms,
                    k as u64 * slot_size,
                    buffers,
                    &dispatch.slots,
                );
                let bindings = (0..).zip(&dispatch.slots).map(|(k, slot)| {
                    let written = dispatch.key.layout.writable >> k & 1 == 1;
                    (buffers[slot.buffer].clone(), slot.bytes.end - slot.bytes.start, written)
                });
                steps.push(Step {
                    pipeline: compiled.pipeline.clone(),
                    bind_group,
                    grid: *grid,
                    kernel: dispatch.key,
                    params: dispatch.params,
                    bindings: bindings.collect(),
                });
            }
        }
        steps
    }

    /// Records the norm into a compute pass. Overwrites the pass's pipeline and bind group 0, nothing else.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.push_debug_group(&self.label);
        for step in &self.steps {
            pass.set_pipeline(&step.pipeline);
            pass.set_bind_group(0, &step.bind_group, &[]);
            pass.dispatch_workgroups(step.grid[0], step.grid[1], 1);
        }
        pass.pop_debug_group();
    }

    /// Number of dispatches.
    pub fn dispatch_count(&self) -> usize {
        self.steps.len()
    }

    /// Workgroups of each dispatch, in order.
    pub fn grids(&self) -> impl ExactSizeIterator<Item = [u32; 2]> {
        self.steps.iter().map(|step| step.grid)
    }

    /// The kernel of each dispatch, in order.
    pub fn kernels(&self) -> impl ExactSizeIterator<Item = KernelKey> {
        self.steps.iter().map(|step| step.kernel)
    }

    /// What each dispatch hands to the device, in order.
    #[doc(hidden)]
    pub fn handed(&self) -> impl Iterator<Item = Handed> {
        self.steps.iter().map(|step| Handed {
            kernel: step.kernel,
            source: crate::wgsl::assemble(&step.kernel),
            constants: step.kernel.constants(),
            workgroups: step.grid,
            parameters: bytemuck::bytes_of(&step.params).to_vec(),
            bindings: step.bindings.clone(),
        })
    }
}

/// Parameters of all dispatches, each in an aligned slot of one buffer that never changes.
fn uniforms(device: &wgpu::Device, label: &str, dispatches: &[Dispatch], slot_size: u64) -> wgpu::Buffer {
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: slot_size * dispatches.len() as u64,
        usage: wgpu::BufferUsages::UNIFORM,
        mapped_at_creation: true,
    });
    let mut bytes = vec![0; (slot_size * dispatches.len() as u64) as usize];
    for (slot, dispatch) in bytes.chunks_mut(slot_size as usize).zip(dispatches) {
        slot[..size_of::<Params>()].copy_from_slice(bytemuck::bytes_of(&dispatch.params));
    }
    // a lost device maps nothing, and loses nothing by it
    if let Ok(mut view) = buffer.get_mapped_range_mut(..) {
        view.copy_from_slice(&bytes);
    }
    buffer.unmap();
    buffer
}

fn bind_group(
    device: &wgpu::Device,
    label: &str,
    layout: &wgpu::BindGroupLayout,
    uniforms: &wgpu::Buffer,
    offset: u64,
    buffers: &[wgpu::Buffer],
    slots: &[Slot],
) -> wgpu::BindGroup {
    let binding = |buffer, offset, size| {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(size) })
    };
    let mut entries =
        vec![wgpu::BindGroupEntry { binding: 0, resource: binding(uniforms, offset, size_of::<Params>() as u64) }];
    for (k, slot) in slots.iter().enumerate() {
        let resource = binding(&buffers[slot.buffer], slot.bytes.start, slot.bytes.end - slot.bytes.start);
        entries.push(wgpu::BindGroupEntry { binding: k as u32 + 1, resource });
    }
    device.create_bind_group(&wgpu::BindGroupDescriptor { label: Some(label), layout, entries: &entries })
}

/// Workgroups as a grid of two dimensions, as square as needed and no more.
fn grid(operation: &'static str, workgroups: u64, max: u64) -> Result<[u32; 2], BindError> {
    let rows = workgroups.div_ceil(max).max(1);
    if rows > max {
        let (limit, available) = ("max_compute_workgroups_per_dimension", max);
        return Err(BindError::Limit { operation, limit, needed: rows, available });
    }
    Ok([workgroups.div_ceil(rows) as u32, rows as u32])
}
