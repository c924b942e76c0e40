//! Recipes on wgpu: pipelines and bind groups, ready to be recorded.

use super::compiler::{Compiled, Compiler};
use super::pipelines::PipelineCache;
use super::scope;
use crate::error::BindError;
use crate::kernel::Kernel;
use crate::recipe::{Dispatch, Recipe};

/// A device and what is compiled for it.
#[derive(Debug)]
pub(crate) struct Device {
    pub compiler: Compiler,
    pub pipelines: PipelineCache<Compiled>,
}

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
    workgroups: [u32; 2],
    kernel: Kernel,
}

impl Device {
    pub(crate) fn device(&self) -> &wgpu::Device {
        &self.compiler.device
    }

    /// The pipeline of a kernel, compiled if it is not there yet.
    pub(crate) fn compile(&self, kernel: &Kernel) -> Result<Compiled, BindError> {
        self.pipelines.get(kernel, || self.compiler.compile(kernel))
    }

    /// As [`Self::compile`]; starts at once, and its result comes when the device knows it.
    pub(crate) fn compile_later(&self, kernel: &Kernel) -> impl Future<Output = Result<(), BindError>> {
        let made = (!self.pipelines.has(kernel)).then(|| self.compiler.compile_later(kernel));
        async move {
            if let Some(made) = made {
                self.pipelines.put(kernel, made.await?);
            }
            Ok(())
        }
    }

    /// Makes what a recipe needs of the device.
    pub(crate) fn bind(&self, label: &str, recipe: &Recipe<&wgpu::Buffer>) -> Result<BoundNorm, BindError> {
        let label = format!("{label} {}", recipe.operation);
        let compiled = recipe.kernels.iter().map(|kernel| self.compile(kernel)).collect::<Result<Vec<_>, _>>()?;
        let steps = scope::catch(self.device(), || self.steps(&label, recipe, &compiled))
            .map_err(|error| BindError::Device { message: error.to_string() })?;
        Ok(BoundNorm { label, steps })
    }

    fn steps(&self, label: &str, recipe: &Recipe<&wgpu::Buffer>, compiled: &[Compiled]) -> Vec<Step> {
        if recipe.dispatches.is_empty() {
            return Vec::new();
        }
        let align = self.device().limits().min_uniform_buffer_offset_alignment.into();
        let (uniforms, offsets) = uniforms(self.device(), label, &recipe.dispatches, align);
        let step = |(dispatch, offset): (&Dispatch, u64)| {
            let Compiled { pipeline, layout } = &compiled[dispatch.kernel];
            let parameters = binding(&uniforms, offset, dispatch.parameters.len() as u64);
            let storage = dispatch.bindings.iter().map(|b| binding(recipe.buffers[b.buffer], b.offset, b.size));
            let entries: Vec<_> = std::iter::once(parameters)
                .chain(storage)
                .zip(0..)
                .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource })
                .collect();
            let descriptor = wgpu::BindGroupDescriptor { label: Some(label), layout, entries: &entries };
            Step {
                pipeline: pipeline.clone(),
                bind_group: self.device().create_bind_group(&descriptor),
                workgroups: dispatch.workgroups,
                kernel: recipe.kernels[dispatch.kernel],
            }
        };
        recipe.dispatches.iter().zip(offsets).map(step).collect()
    }
}

impl BoundNorm {
    /// Records the norm into a compute pass. Overwrites the pass's pipeline and bind group 0, nothing else.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.push_debug_group(&self.label);
        for step in &self.steps {
            pass.set_pipeline(&step.pipeline);
            pass.set_bind_group(0, &step.bind_group, &[]);
            pass.dispatch_workgroups(step.workgroups[0], step.workgroups[1], 1);
        }
        pass.pop_debug_group();
    }

    /// Number of dispatches.
    pub fn dispatch_count(&self) -> usize {
        self.steps.len()
    }

    /// Workgroups of each dispatch, in order.
    pub fn grids(&self) -> impl ExactSizeIterator<Item = [u32; 2]> {
        self.steps.iter().map(|step| step.workgroups)
    }

    /// The kernel of each dispatch, in order.
    pub fn kernels(&self) -> impl ExactSizeIterator<Item = Kernel> {
        self.steps.iter().map(|step| step.kernel)
    }
}

/// Parameters of all dispatches in one buffer that never changes, and where those of each start.
fn uniforms(device: &wgpu::Device, label: &str, dispatches: &[Dispatch], align: u64) -> (wgpu::Buffer, Vec<u64>) {
    let mut bytes = Vec::new();
    let mut offsets = Vec::new();
    for dispatch in dispatches {
        bytes.resize((bytes.len() as u64).next_multiple_of(align) as usize, 0);
        offsets.push(bytes.len() as u64);
        bytes.extend_from_slice(&dispatch.parameters);
    }
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: bytes.len() as u64,
        usage: wgpu::BufferUsages::UNIFORM,
        mapped_at_creation: true,
    });
    // a lost device maps nothing, and loses nothing by it
    if let Ok(mut view) = buffer.get_mapped_range_mut(..) {
        view.copy_from_slice(&bytes);
    }
    buffer.unmap();
    (buffer, offsets)
}

fn binding(buffer: &wgpu::Buffer, offset: u64, size: u64) -> wgpu::BindingResource<'_> {
    wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(size) })
}
