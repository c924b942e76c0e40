//! Kernels to pipelines.

use std::future::Future;

use super::pipelines::Verdict;
use super::{scope, trusted};
use crate::error::BindError;
use crate::kernel::Kernel;

/// A pipeline and the layout of its bind group.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// What compiles kernels.
#[derive(Debug)]
pub(crate) struct Compiler {
    pub device: wgpu::Device,
    /// Prefix of the labels of what it makes.
    pub label: String,
    pub driver_cache: Option<wgpu::PipelineCache>,
}

impl Compiler {
    /// Compiles a kernel. What is wrong with it is known at once natively; in a browser the device's own handler hears
    /// of it, and whoever asks for the kernel after that.
    pub(crate) fn compile(&self, kernel: &Kernel) -> Result<(Compiled, Option<Verdict>), BindError> {
        let (compiled, module) =
            scope::catch(&self.device, || self.pipeline(kernel)).map_err(|error| refusal(kernel, error.to_string()))?;
        if cfg!(not(target_arch = "wasm32")) {
            return Ok((compiled, None));
        }
        let info = module.get_compilation_info();
        let verdict = async move {
            let errors =
                |message: &wgpu::CompilationMessage| message.message_type == wgpu::CompilationMessageType::Error;
            info.await.messages.into_iter().find(errors).map(|message| message.message)
        };
        Ok((compiled, Some(Box::pin(verdict))))
    }

    /// Compiles a kernel; what comes of it is known when the device knows it, in a browser too.
    pub(crate) fn compile_later(&self, kernel: &Kernel) -> impl Future<Output = Result<Compiled, BindError>> {
        let (made, kernel) = (scope::catch_later(&self.device, || self.pipeline(kernel)), *kernel);
        async move { made.await.map(|(compiled, _)| compiled).map_err(|error| refusal(&kernel, error.to_string())) }
    }

    /// The pipeline of a kernel, sound or not.
    fn pipeline(&self, kernel: &Kernel) -> (Compiled, wgpu::ShaderModule) {
        let name = format!("{} {kernel}", self.label);
        let source = kernel.source();
        let constants = kernel.constants_of(&source);
        let source = wgpu::ShaderSource::Wgsl(source.into());
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(&name), source };
        let module = trusted::create_shader_module(&self.device, descriptor);
        let layout = bind_group_layout(&self.device, &name, kernel);
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&name),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(kernel.entry_point()),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                // kernels write all workgroup memory that they read
                zero_initialize_workgroup_memory: false,
            },
            cache: self.driver_cache.as_ref(),
        });
        (Compiled { pipeline, layout }, module)
    }
}

fn refusal(kernel: &Kernel, message: String) -> BindError {
    BindError::Pipeline { kernel: kernel.to_string(), message }
}

fn bind_group_layout(device: &wgpu::Device, label: &str, kernel: &Kernel) -> wgpu::BindGroupLayout {
    let entry = |binding: u32, ty: wgpu::BufferBindingType| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform)];
    for (writes, binding) in kernel.bindings().zip(1..) {
        entries.push(entry(binding, wgpu::BufferBindingType::Storage { read_only: !writes }));
    }
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(label), entries: &entries })
}
