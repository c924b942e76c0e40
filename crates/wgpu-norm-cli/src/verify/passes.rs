//! The devices of `wgpu-norm verify`, one after the other: with all that the adapter has, with what every adapter has,
//! and seen as another kind of device.

use wgpu_norm::wgpu;
use wgpu_norm::{DeviceFacts, DeviceKind, DeviceProfile};
use wgpu_norm_tools::device::{self, DeviceArgs, Gpu, LimitsOf};
use wgpu_norm_tools::exact::Descriptor;
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::norm::Planned;
use wgpu_norm_tools::outline::Which;

use wgpu_norm_tools::fill::Fill;

use crate::cases::Case;

/// What is said where there is no adapter.
const ADVICE: &str = "verify has nothing to verify without one";

/// Largest case that passes with smaller limits fill with a NaN too.
const SMALL: u64 = 20_000;

/// Workgroups of [`Pass::AsGpu`]: larger ones only take longer to compile on a processor.
const WORKGROUP: u32 = 64;
/// Most invocations that share a segment in [`Pass::AsGpu`]: more than a workgroup, as on a GPU.
const MAX_LANES: u32 = 256;
/// Most workgroups of a schedule that is not chosen but forced in [`Pass::AsGpu`]: beyond that hundreds of lanes share
/// segments of few elements, and a processor runs each of them in turn.
const MAX_WORKGROUPS: u64 = 1 << 14;

/// How a device is opened and seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pass {
    /// The adapter's limits and its subgroup operations.
    Adapter,
    /// WebGPU's default limits and no feature.
    Defaults,
    /// wgpu's downlevel defaults, with four storage buffers a stage, and no feature.
    Downlevel,
    /// As adapter, with schedules as for a small GPU.
    AsGpu,
    /// As adapter, with the schedules that a large GPU chooses, at their full size.
    AsLargeGpu,
}

impl Pass {
    /// The passes that make a difference on such a device.
    pub fn all(device_type: wgpu::DeviceType) -> &'static [Self] {
        match device_type {
            wgpu::DeviceType::Cpu => &[Self::Adapter, Self::Defaults, Self::AsGpu, Self::AsLargeGpu],
            _ => &[Self::Adapter, Self::Defaults],
        }
    }

    /// Opens a device of its own.
    pub fn open(self, adapter: &wgpu::Adapter, wanted: &DeviceArgs) -> Result<Station, Failure> {
        let (limits, gpu) = match self {
            Self::Adapter => ("adapter limits", Gpu::require(wanted, ADVICE)?),
            Self::Defaults => ("default limits", Gpu::limited(adapter, LimitsOf::Defaults)?),
            Self::Downlevel => ("downlevel limits", Gpu::limited(adapter, LimitsOf::Downlevel)?),
            Self::AsGpu => ("as a GPU", seen_as(Gpu::from_adapter(adapter)?, as_gpu)?),
            Self::AsLargeGpu => ("as a large GPU", seen_as(Gpu::from_adapter(adapter)?, as_large_gpu)?),
        };
        let subgroups = gpu.device.features().contains(wgpu::Features::SUBGROUP);
        let device = format!("{limits}, {}", if subgroups { "subgroups" } else { "no subgroups" });
        Ok(Station { pass: self, device, gpu })
    }

    /// Whether norms may need more storage buffers than there are.
    pub fn has_few_buffers(self) -> bool {
        self == Self::Downlevel
    }

    /// Whether only schedules that are chosen are run, each once.
    pub fn takes_choices_only(self) -> bool {
        self == Self::AsLargeGpu
    }

    /// Whether a schedule is forced on a norm that accepts it; the chosen one is always run.
    pub fn forces(self, norm: &Planned, descriptor: &Descriptor<'_>) -> Result<bool, Failure> {
        // those with something around them are all small
        if self != Self::AsGpu || descriptor.is_fused() {
            return Ok(true);
        }
        let recipes =
            norm.outline(descriptor.affine(), Which::Forward, None)?.into_iter().flat_map(|outline| outline.recipes);
        let dispatches = recipes.flat_map(|recipe| recipe.dispatches);
        let workgroups = dispatches.map(|dispatch| dispatch.workgroups.into_iter().map(u64::from).product::<u64>());
        Ok(workgroups.max().unwrap_or(0) <= MAX_WORKGROUPS)
    }

    /// The contents that a case is verified with. Kernels are the same for all of them: where kernels are what a pass
    /// is about, and take long to compile, numbers are enough.
    pub fn fills(self, case: &Case) -> &'static [Fill] {
        match self {
            Self::Adapter => case.fills(),
            Self::Defaults | Self::Downlevel if case.len() <= SMALL => &[Fill::Normal, Fill::NotANumber],
            Self::Defaults | Self::Downlevel | Self::AsGpu | Self::AsLargeGpu => &[Fill::Normal],
        }
    }

    /// Those of them that gradients are computed from.
    pub fn backward_fills(self, case: &Case) -> &'static [Fill] {
        match self {
            Self::Adapter => case.backward_fills(),
            _ => self.fills(case),
        }
    }
}

/// The adapter that is wanted, or the best.
pub fn adapter(wanted: &DeviceArgs) -> Result<wgpu::Adapter, Failure> {
    device::adapter(wanted.adapter.as_deref())?.ok_or(Failure::NoAdapter(ADVICE))
}

/// A device and how it is seen.
pub struct Station {
    /// Which pass it is for.
    pub pass: Pass,
    /// In words.
    pub device: String,
    /// The device.
    pub gpu: Gpu,
}

/// A device whose schedules are those of another.
fn seen_as(mut gpu: Gpu, profile: fn(&DeviceFacts) -> DeviceProfile) -> Result<Gpu, Failure> {
    let profile = profile(gpu.engine.planner().facts());
    let mismatch = |error| Failure::Usage(format!("{} cannot be seen as a GPU: {error}", gpu.info.name));
    gpu.engine = gpu.engine.with_profile(profile).map_err(mismatch)?;
    Ok(gpu)
}

/// The profile of a large GPU, whose lanes hold as much as their compilers take, with subgroups of this device.
fn as_large_gpu(facts: &DeviceFacts) -> DeviceProfile {
    let subgroup = DeviceProfile::new(facts).subgroup;
    let mut facts = *facts;
    facts.kind = DeviceKind::Gpu;
    facts.min_subgroup = if subgroup > 1 { 32 } else { 1 };
    DeviceProfile { subgroup, ..DeviceProfile::new(&facts) }
}

/// The profile of a small GPU that can do what this device can.
fn as_gpu(facts: &DeviceFacts) -> DeviceProfile {
    let mut facts = *facts;
    facts.kind = DeviceKind::Gpu;
    let gpu = DeviceProfile::new(&facts);
    DeviceProfile { workgroup_size: gpu.workgroup_size.min(WORKGROUP), max_lanes: gpu.max_lanes.min(MAX_LANES), ..gpu }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::CASES;

    #[test]
    fn a_gpu_needs_no_second_look_as_one() {
        use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
        for (device_type, passes) in [(Cpu, 4), (DiscreteGpu, 2), (IntegratedGpu, 2), (VirtualGpu, 2), (Other, 2)] {
            assert_eq!(Pass::all(device_type).len(), passes, "{device_type:?}");
        }
    }

    #[test]
    fn every_pass_has_every_case_and_gradients_of_it() {
        for pass in Pass::all(wgpu::DeviceType::Cpu) {
            for case in CASES {
                let (fills, backward) = (pass.fills(case), pass.backward_fills(case));
                assert!(fills.contains(&Fill::Normal), "{pass:?} {:?}", case.shape);
                assert!(!backward.is_empty() && backward.iter().all(|fill| fills.contains(fill)), "{pass:?}");
            }
        }
    }

    #[test]
    fn a_processor_seen_as_a_gpu_has_teams_that_it_can_follow() {
        let info = wgpu::AdapterInfo::new(wgpu::DeviceType::Cpu, wgpu::Backend::Vulkan);
        let subgroups = wgpu::Features::SUBGROUP;
        for (largest, expected) in [(1024, (64, 256)), (128, (64, 128)), (32, (32, 32))] {
            let limits = wgpu::Limits {
                max_compute_invocations_per_workgroup: largest,
                max_compute_workgroup_size_x: largest,
                ..Default::default()
            };
            let facts = DeviceFacts::new(&info, &limits, subgroups);
            let profile = as_gpu(&facts);
            assert_eq!((profile.workgroup_size, profile.max_lanes), expected);
            assert_eq!(profile.check(&facts), Ok(()));
        }
    }

    #[test]
    fn devices_differ_and_only_a_loss_without_purpose_is_a_fault() {
        let wanted = DeviceArgs::default();
        let adapter = adapter(&wanted).unwrap();
        let open = |pass: Pass| pass.open(&adapter, &wanted).unwrap();
        let limits = open(Pass::Adapter).gpu.device.limits();
        let (defaults, as_gpu) = (open(Pass::Defaults), open(Pass::AsGpu));
        assert!(defaults.gpu.device.features().is_empty());
        assert!(wgpu::Limits::default().check_limits(&defaults.gpu.device.limits()));
        assert_eq!(as_gpu.gpu.device.limits(), limits);
        assert_eq!(as_gpu.gpu.engine.profile().workgroup_size, WORKGROUP);
        // the first device is gone, and the one that the restricted device replaced
        for station in [&defaults, &as_gpu] {
            station.gpu.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
            station.gpu.healthy().unwrap();
            station.gpu.device.destroy();
            // whether that is an error of its own, is not asked here
            drop(station.gpu.device.poll(wgpu::PollType::wait_indefinitely()));
            let error = station.gpu.healthy().unwrap_err().to_string();
            assert!(error.contains("lost"), "{}: {error}", station.device);
        }
    }
}
