//! Compiled kernels, made when first needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::BindError;
use crate::kernel::{KernelKey, Layout};
use crate::{scope, trusted, wgsl};

/// A pipeline and the layout of its bind group.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

#[derive(Debug, Default)]
pub(crate) struct PipelineCache {
    compiled: Mutex<HashMap<KernelKey, Compiled>>,
}

impl PipelineCache {
    /// The pipeline of `key`, compiled if it is not there yet.
    pub(crate) fn get(
        &self,
        device: &wgpu::Device,
        driver_cache: Option<&wgpu::PipelineCache>,
        label: &str,
        key: &KernelKey,
    ) -> Result<Compiled, BindError> {
        // a panic elsewhere cannot leave the map half-written
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = compiled.get(key) {
            return Ok(found.clone());
        }
        let made = compile(device, driver_cache, label, key)?;
        compiled.insert(*key, made.clone());
        Ok(made)
    }

    /// Number of compiled kernels.
    pub(crate) fn len(&self) -> usize {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

fn compile(
    device: &wgpu::Device,
    driver_cache: Option<&wgpu::PipelineCache>,
    label: &str,
    key: &KernelKey,
) -> Result<Compiled, BindError> {
    let name = format!("{label} {key}");
    scope::catch(device, || {
        let source = wgpu::ShaderSource::Wgsl(wgsl::assemble(key).into());
        let module = trusted::create_shader_module(device, wgpu::ShaderModuleDescriptor { label: Some(&name), source });
        let layout = bind_group_layout(device, &name, &key.layout);
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&name),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &key.constants(),
                // kernels write all workgroup memory that they read
                zero_initialize_workgroup_memory: false,
            },
            cache: driver_cache,
        });
        Compiled { pipeline, layout }
    })
    .map_err(|error| BindError::Pipeline { kernel: key.to_string(), message: error.to_string() })
}

fn bind_group_layout(device: &wgpu::Device, label: &str, layout: &Layout) -> wgpu::BindGroupLayout {
    let entry = |binding: u32, ty: wgpu::BufferBindingType| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform)];
    for slot in 0..layout.slots {
        let read_only = layout.writable >> slot & 1 == 0;
        entries.push(entry(u32::from(slot) + 1, wgpu::BufferBindingType::Storage { read_only }));
    }
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(label), entries: &entries })
}

/// Marks a shared handle: the engine and its norms use one cache.
pub(crate) type SharedCache = Arc<PipelineCache>;
