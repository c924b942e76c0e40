//! Compiled kernels, made when first needed.

use std::collections::HashMap;
#[cfg(not(target_arch = "wasm32"))]
use std::num::NonZero;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::{scope, trusted};
use crate::error::BindError;
use crate::kernel::Kernel;

/// A pipeline and the layout of its bind group.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// A kernel's place in the cache.
#[derive(Debug, Default)]
struct Entry {
    compiled: OnceLock<Compiled>,
    /// Held while the kernel is compiled, so that nobody else compiles it too.
    making: Mutex<()>,
}

#[derive(Debug, Default)]
pub(crate) struct PipelineCache {
    entries: Mutex<HashMap<Kernel, Arc<Entry>>>,
}

impl PipelineCache {
    /// The pipeline of `key`, compiled if it is not there yet. Threads wait for each other only where they need the
    /// same kernel.
    pub(crate) fn get(
        &self,
        device: &wgpu::Device,
        driver_cache: Option<&wgpu::PipelineCache>,
        label: &str,
        key: &Kernel,
    ) -> Result<Compiled, BindError> {
        let entry = self.entries().entry(*key).or_default().clone();
        if let Some(found) = entry.compiled.get() {
            return Ok(found.clone());
        }
        // a panic elsewhere leaves the entry empty, as it was
        let _making = entry.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = entry.compiled.get() {
            return Ok(found.clone());
        }
        let made = compile(device, driver_cache, label, key)?;
        Ok(entry.compiled.get_or_init(|| made).clone())
    }

    /// Number of compiled kernels.
    pub(crate) fn len(&self) -> usize {
        self.entries().values().filter(|entry| entry.compiled.get().is_some()).count()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Kernel, Arc<Entry>>> {
        // a panic elsewhere cannot leave the map half-written
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `work` on every key, on as many threads as the system runs at once; gives the first error in the order of the
/// keys.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn for_each(
    keys: &[Kernel],
    work: impl Fn(&Kernel) -> Result<(), BindError> + Sync,
) -> Result<(), BindError> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(keys.len());
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let take = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(key) = keys.get(at) else { break };
            if let Err(error) = work(key) {
                failures.lock().unwrap_or_else(PoisonError::into_inner).push((at, error));
            }
        }
    };
    std::thread::scope(|scope| {
        // this thread is one of them
        for _ in 1..threads {
            scope.spawn(take);
        }
        take();
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.into_iter().min_by_key(|(at, _)| *at).map_or(Ok(()), |(_, error)| Err(error))
}

/// Runs `work` on every key, one after the other: a page has one thread.
#[cfg(target_arch = "wasm32")]
pub(crate) fn for_each(keys: &[Kernel], work: impl Fn(&Kernel) -> Result<(), BindError>) -> Result<(), BindError> {
    keys.iter().try_for_each(work)
}

fn compile(
    device: &wgpu::Device,
    driver_cache: Option<&wgpu::PipelineCache>,
    label: &str,
    key: &Kernel,
) -> Result<Compiled, BindError> {
    let name = format!("{label} {key}");
    scope::catch(device, || {
        let source = key.source();
        let constants = key.constants_of(&source);
        let source = wgpu::ShaderSource::Wgsl(source.into());
        let module = trusted::create_shader_module(device, wgpu::ShaderModuleDescriptor { label: Some(&name), source });
        let layout = bind_group_layout(device, &name, key);
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&name),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(key.entry_point()),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                // kernels write all workgroup memory that they read
                zero_initialize_workgroup_memory: false,
            },
            cache: driver_cache,
        });
        Compiled { pipeline, layout }
    })
    .map_err(|error| BindError::Pipeline { kernel: key.to_string(), message: error.to_string() })
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
