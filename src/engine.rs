//! The engine: a device, what it can do, and the kernels compiled for it.

use std::collections::HashSet;
use std::sync::Arc;

use crate::binding::BindingLimits;
use crate::descriptor::NormDescriptor;
use crate::error::{BindError, EngineError, PlanError};
use crate::kernel::KernelKey;
use crate::norm::Norm;
use crate::pipeline_cache::{self, PipelineCache, SharedCache};
use crate::plan::Plan;
use crate::profile::ProfileMismatch;
use crate::schedule::{DeviceProfile, Schedule};

/// Fewest storage buffers a stage with which any norm can be computed: input, parameters, statistics, output.
const MIN_STORAGE_BUFFERS: u64 = 4;

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
    pub(crate) shared: Arc<Shared>,
}

#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub device: wgpu::Device,
    pub label: String,
    pub driver_cache: Option<wgpu::PipelineCache>,
    pub pipelines: SharedCache,
    pub profile: DeviceProfile,
    pub limits: BindingLimits,
    pub max_workgroups: u64,
    pub uniform_align: u64,
}

impl NormEngine {
    /// An engine on the caller's device. Any device will do: WebGPU's default limits and no feature are enough
    /// for everything, four storage buffers a stage for inference.
    ///
    /// # Errors
    /// [`EngineError::Limit`] where the device has no compute shaders or too few storage buffers (WebGL).
    pub fn new(device: &wgpu::Device, descriptor: &NormEngineDescriptor<'_>) -> Result<Self, EngineError> {
        let limits = device.limits();
        check_limits(&limits)?;
        let info = device.adapter_info();
        let profile = profile(descriptor.profile, &info, &limits, device.features());
        let shared = Shared {
            device: device.clone(),
            label: descriptor.label.unwrap_or("wgpu-norm").to_string(),
            driver_cache: descriptor.pipeline_cache.cloned(),
            pipelines: Arc::new(PipelineCache::default()),
            profile,
            limits: BindingLimits {
                // a range is bound in words
                max_bytes: limits.max_storage_buffer_binding_size / 4 * 4,
                max_slots: limits.max_storage_buffers_per_shader_stage,
                align: u64::from(limits.min_storage_buffer_offset_alignment),
            },
            max_workgroups: u64::from(limits.max_compute_workgroups_per_dimension),
            uniform_align: u64::from(limits.min_uniform_buffer_offset_alignment),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// This engine with another profile, for comparisons: both share the compiled kernels. `max_binding` stays the device's own.
    ///
    /// # Errors
    /// [`ProfileMismatch`] where the device cannot follow the profile.
    pub fn with_profile(&self, profile: DeviceProfile) -> Result<Self, ProfileMismatch> {
        let device = self.device();
        profile.check(&device.adapter_info(), &device.limits(), device.features())?;
        let profile = DeviceProfile { max_binding: self.shared.profile.max_binding, ..profile };
        Ok(Self { shared: Arc::new(Shared { profile, ..Shared::clone(&self.shared) }) })
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
        &self.shared.device
    }

    /// How schedules see the device.
    pub fn profile(&self) -> &DeviceProfile {
        &self.shared.profile
    }

    /// Number of kernels compiled so far.
    pub fn compiled_kernels(&self) -> usize {
        self.shared.pipelines.len()
    }

    /// Compiles kernels ahead of the norms that need them, on as many threads as the system runs at once, so that binding
    /// compiles none. Keys come from [`BoundNorm::kernels`] of earlier norms, on this or another device of the same kind
    /// and profile; those that are compiled already cost nothing.
    ///
    /// # Errors
    /// [`BindError::Pipeline`] of the first kernel that this device cannot compile; natively all others are compiled nevertheless.
    ///
    /// [`BoundNorm::kernels`]: crate::BoundNorm::kernels
    pub fn warm_up(&self, kernels: &[KernelKey]) -> Result<(), BindError> {
        // each once: a thread that finds a kernel in the making would wait
        let mut known = HashSet::new();
        let kernels: Vec<KernelKey> = kernels.iter().copied().filter(|key| known.insert(*key)).collect();
        let shared = &*self.shared;
        pipeline_cache::for_each(&kernels, |key| {
            shared.pipelines.get(&shared.device, shared.driver_cache.as_ref(), &shared.label, key).map(drop)
        })
    }

    /// Plans a norm: host work only, cheap enough to repeat when the batch size changes.
    ///
    /// # Errors
    /// [`PlanError`] says what is wrong with the descriptor.
    pub fn create_norm(&self, descriptor: &NormDescriptor<'_>) -> Result<Norm, PlanError> {
        let plan = Plan::new(descriptor)?;
        let schedule = Schedule::choose(&plan.computed, plan.affine.as_ref(), &self.shared.profile);
        Ok(Norm::new(self, plan, schedule, descriptor.label))
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
        let plan = Plan::new(descriptor)?;
        let accepted = schedule.accepts(&plan.computed, plan.affine.as_ref(), &self.shared.profile);
        Ok(accepted.then(|| Norm::new(self, plan, schedule, descriptor.label)))
    }

    /// Schedules that can compute a norm: the one that [`NormEngine::create_norm`] takes, then others worth a comparison.
    ///
    /// # Errors
    /// [`PlanError`] says what is wrong with the descriptor.
    pub fn schedules(&self, descriptor: &NormDescriptor<'_>) -> Result<Vec<Schedule>, PlanError> {
        let plan = Plan::new(descriptor)?;
        Ok(Schedule::candidates(&plan.computed, plan.affine.as_ref(), &self.shared.profile))
    }
}

/// The caller's profile where the device can do what it says, else the default.
fn profile(
    wanted: Option<DeviceProfile>,
    info: &wgpu::AdapterInfo,
    limits: &wgpu::Limits,
    features: wgpu::Features,
) -> DeviceProfile {
    let default = DeviceProfile::new(info, limits, features);
    let Some(wanted) = wanted else { return default };
    match wanted.check(info, limits, features) {
        // what can be bound is the device's own affair
        Ok(()) => DeviceProfile { max_binding: default.max_binding, ..wanted },
        Err(mismatch) => {
            log::warn!("wgpu-norm: profile ignored on {}: {mismatch}", info.name);
            default
        }
    }
}

fn check_limits(limits: &wgpu::Limits) -> Result<(), EngineError> {
    let needs = [
        (
            "max_storage_buffers_per_shader_stage",
            MIN_STORAGE_BUFFERS,
            u64::from(limits.max_storage_buffers_per_shader_stage),
        ),
        ("max_compute_invocations_per_workgroup", 1, u64::from(limits.max_compute_invocations_per_workgroup)),
        ("max_compute_workgroups_per_dimension", 1, u64::from(limits.max_compute_workgroups_per_dimension)),
        (
            "max_uniform_buffer_binding_size",
            size_of::<crate::params::Params>() as u64,
            limits.max_uniform_buffer_binding_size,
        ),
    ];
    match needs.into_iter().find(|(_, needed, available)| available < needed) {
        Some((limit, needed, available)) => Err(EngineError::Limit { limit, needed, available }),
        None => Ok(()),
    }
}
