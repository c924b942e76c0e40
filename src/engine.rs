//! The engine: a device, what it can do, and the kernels compiled for it.

mod norms;
#[cfg(not(target_arch = "wasm32"))]
pub mod sync;

use std::collections::HashSet;
use std::sync::Arc;

use crate::descriptor::{AdaptiveDescriptor, NormDescriptor};
use crate::device::Device;
use crate::device::compiler::Compiler;
use crate::device::pipelines::{self, PipelineCache};
use crate::error::{BindError, EngineError, PlanError};
use crate::facts::DeviceFacts;
use crate::kernel::Kernel;
use crate::norm::{Planner, SpectralDescriptor};
use crate::schedule::{DeviceProfile, ProfileMismatch, Schedule};

pub use norms::{AdaptiveNorm, Norm, SpectralNorm};

/// Describes an engine. For use with [`NormEngine::new`].
#[derive(Clone, Debug, Default)]
pub struct NormEngineDescriptor<'a> {
    /// Prefix of the labels of everything the engine makes.
    pub label: Option<&'a str>,
    /// The application's pipeline cache, where the device has the feature.
    pub pipeline_cache: Option<&'a wgpu::PipelineCache>,
    /// How schedules see the device; `None`: from its kind and limits. One that the device cannot follow
    /// ([`DeviceProfile::check`]) is ignored with a warning in the log; `max_binding` is the device's own in any case.
    pub profile: Option<DeviceProfile>,
}

/// Plans norms for one device and compiles their kernels. Cheap to clone; clones share the kernels.
#[derive(Clone, Debug)]
pub struct NormEngine {
    planner: Planner,
    device: Arc<Device>,
}

impl NormEngine {
    /// An engine on the caller's device. Any device will do: WebGPU's default limits and no feature are enough
    /// for everything, four storage buffers a stage for inference.
    ///
    /// # Errors
    /// [`EngineError::Limit`] where the device has no compute shaders or too few storage buffers (WebGL).
    pub fn new(device: &wgpu::Device, descriptor: &NormEngineDescriptor<'_>) -> Result<Self, EngineError> {
        let facts = DeviceFacts::of(device);
        facts.check()?;
        check_limits(&device.limits())?;
        let compiler = Compiler {
            device: device.clone(),
            label: descriptor.label.unwrap_or("wgpu-norm").to_string(),
            driver_cache: descriptor.pipeline_cache.cloned(),
        };
        let device = Device { compiler, pipelines: PipelineCache::default() };
        Ok(Self { planner: planner(facts, descriptor.profile), device: Arc::new(device) })
    }

    /// This engine with another profile, for comparisons: both share the compiled kernels. `max_binding` stays the
    /// device's own.
    ///
    /// # Errors
    /// [`ProfileMismatch`] where the device cannot follow the profile.
    pub fn with_profile(&self, profile: DeviceProfile) -> Result<Self, ProfileMismatch> {
        let planner = Planner::with_profile(self.planner.facts, profile)?;
        Ok(Self { planner, device: self.device.clone() })
    }

    /// Optional features of this adapter that make norms faster. For use with `wgpu::DeviceDescriptor`.
    pub fn required_features(adapter: &wgpu::Adapter) -> wgpu::Features {
        adapter.features() & (wgpu::Features::PIPELINE_CACHE | wgpu::Features::SUBGROUP)
    }

    /// Limits of this adapter that let norms work on the largest tensors at once: those of storage buffers and
    /// workgroups raised to the adapter's, all others at WebGPU's defaults. For use with `wgpu::DeviceDescriptor`.
    pub fn required_limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
        let best = adapter.limits();
        wgpu::Limits {
            max_buffer_size: best.max_buffer_size,
            max_storage_buffer_binding_size: best.max_storage_buffer_binding_size,
            max_storage_buffers_per_shader_stage: best.max_storage_buffers_per_shader_stage,
            max_compute_workgroup_storage_size: best.max_compute_workgroup_storage_size,
            max_compute_invocations_per_workgroup: best.max_compute_invocations_per_workgroup,
            max_compute_workgroup_size_x: best.max_compute_workgroup_size_x,
            max_compute_workgroups_per_dimension: best.max_compute_workgroups_per_dimension,
            min_storage_buffer_offset_alignment: best.min_storage_buffer_offset_alignment,
            min_uniform_buffer_offset_alignment: best.min_uniform_buffer_offset_alignment,
            ..wgpu::Limits::default().or_worse_values_from(&best)
        }
    }

    /// The device.
    pub fn device(&self) -> &wgpu::Device {
        self.device.device()
    }

    /// What plans its norms.
    pub fn planner(&self) -> &Planner {
        &self.planner
    }

    /// How schedules see the device.
    pub fn profile(&self) -> &DeviceProfile {
        &self.planner.profile
    }

    /// Number of kernels compiled so far.
    pub fn compiled_kernels(&self) -> usize {
        self.device.pipelines.len()
    }

    /// Compiles kernels ahead of the norms that need them, on as many threads as the system runs at once, so that
    /// binding compiles none. Keys come from [`BoundNorm::kernels`] of earlier norms, on this or another device of the
    /// same kind and profile; those that are compiled already cost nothing.
    ///
    /// # Errors
    /// [`BindError::Pipeline`] of the first kernel that this device cannot compile; all others are compiled
    /// nevertheless. In a browser, where errors come later, [`NormEngine::warm_up_async`] finds them.
    ///
    /// [`BoundNorm::kernels`]: crate::BoundNorm::kernels
    pub fn warm_up(&self, kernels: &[Kernel]) -> Result<(), BindError> {
        pipelines::for_each(&distinct(kernels), |kernel| self.device.compile(kernel).map(drop))
    }

    /// As [`NormEngine::warm_up`], waiting until the device has found the kernels sound: in a browser that comes later.
    /// Keys come from recipes too ([`Recipe::kernels`](crate::Recipe::kernels)). All are started before the first is
    /// waited for.
    ///
    /// What binds without this in a browser does not wait: what is wrong with a kernel reaches the device's own handler
    /// (`wgpu::Device::on_uncaptured_error`), and whoever binds it after that.
    ///
    /// # Errors
    /// As [`NormEngine::warm_up`].
    pub async fn warm_up_async(&self, kernels: &[Kernel]) -> Result<(), BindError> {
        let kernels = distinct(kernels);
        let started: Vec<_> = kernels.iter().map(|kernel| self.device.compile_later(kernel)).collect();
        let mut first = Ok(());
        for compiled in started {
            first = first.and(compiled.await);
        }
        first
    }

    /// Plans a norm: host work only, cheap enough to repeat when the batch size changes.
    ///
    /// # Errors
    /// [`PlanError`] says what is wrong with the descriptor.
    pub fn create_norm(&self, descriptor: &NormDescriptor<'_>) -> Result<Norm, PlanError> {
        Ok(Norm::new(self, self.planner.plan(descriptor)?, descriptor.label))
    }

    /// As [`NormEngine::create_norm`] with a schedule of the caller's choice, or `Ok(None)` where that schedule cannot
    /// compute this norm.
    ///
    /// # Errors
    /// [`PlanError`] says what is wrong with the descriptor.
    pub fn create_norm_with(
        &self,
        descriptor: &NormDescriptor<'_>,
        schedule: Schedule,
    ) -> Result<Option<Norm>, PlanError> {
        let plan = self.planner.plan_with(descriptor, schedule)?;
        Ok(plan.map(|plan| Norm::new(self, plan, descriptor.label)))
    }

    /// Plans an adaptive instance norm.
    ///
    /// # Errors
    /// As [`Planner::plan_adaptive`].
    pub fn create_adaptive_norm(&self, descriptor: &AdaptiveDescriptor<'_>) -> Result<AdaptiveNorm, PlanError> {
        Ok(AdaptiveNorm::new(self, self.planner.plan_adaptive(descriptor)?, descriptor.label))
    }

    /// Plans a spectral norm.
    ///
    /// # Errors
    /// As [`Planner::plan_spectral`].
    pub fn create_spectral_norm(&self, descriptor: &SpectralDescriptor<'_>) -> Result<SpectralNorm, PlanError> {
        Ok(SpectralNorm::new(self, self.planner.plan_spectral(descriptor)?, descriptor.label))
    }

    /// Schedules that can compute a norm: the one that [`NormEngine::create_norm`] takes, then others worth a
    /// comparison.
    ///
    /// # Errors
    /// [`PlanError`] says what is wrong with the descriptor.
    pub fn schedules(&self, descriptor: &NormDescriptor<'_>) -> Result<Vec<Schedule>, PlanError> {
        self.planner.schedules(descriptor)
    }
}

/// Each once: a thread that finds a kernel in the making would wait.
fn distinct(kernels: &[Kernel]) -> Vec<Kernel> {
    let mut known = HashSet::new();
    kernels.iter().copied().filter(|key| known.insert(*key)).collect()
}

/// With the caller's profile where the device can do what it says, else with the default.
fn planner(facts: DeviceFacts, wanted: Option<DeviceProfile>) -> Planner {
    let Some(profile) = wanted else { return Planner::new(facts) };
    Planner::with_profile(facts, profile).unwrap_or_else(|mismatch| {
        log::warn!("wgpu-norm: profile ignored: {mismatch}");
        Planner::new(facts)
    })
}

fn check_limits(limits: &wgpu::Limits) -> Result<(), EngineError> {
    let (needed, available) = (crate::kernel::parameters::MAX_SIZE, limits.max_uniform_buffer_binding_size);
    if available < needed {
        return Err(EngineError::Limit { limit: "max_uniform_buffer_binding_size", needed, available });
    }
    Ok(())
}
