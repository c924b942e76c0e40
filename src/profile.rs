//! Whether a device can follow a profile, and profiles that were measured.

#[cfg(feature = "profile")]
mod tuned;

use crate::kernel::MAX_QUADS;
use crate::schedule::{DeviceProfile, RECORD};
#[cfg(feature = "profile")]
pub use tuned::TunedProfile;

/// Why a profile is not for a device. Returned by [`DeviceProfile::check`] and by what reads tuned profiles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileMismatch {
    /// The text is no profile.
    #[error("it is no tuned profile: {message}")]
    Unreadable {
        /// What is wrong with it.
        message: String,
    },
    /// Written by a version whose schedules are others.
    #[error("it has version {version}, this library reads version {supported}")]
    Version {
        /// The profile's.
        version: u32,
        /// This library's.
        supported: u32,
    },
    /// Measured elsewhere.
    #[error("its {field} is '{profile}', the device's '{device}'")]
    Device {
        /// Which of adapter, driver and backend.
        field: &'static str,
        /// The profile's.
        profile: String,
        /// The device's.
        device: String,
    },
    /// A value beyond what the device or the kernels can do.
    #[error("its {field} is {value}, this device takes {least} to {most}")]
    OutOfRange {
        /// Which value.
        field: &'static str,
        /// What the profile says.
        value: u32,
        /// The least possible.
        least: u32,
        /// The most possible.
        most: u32,
    },
    /// A value that has to be a power of two.
    #[error("its {field} is {value}, no power of two")]
    NotPowerOfTwo {
        /// Which value.
        field: &'static str,
        /// What the profile says.
        value: u32,
    },
}

/// Most invocations of a workgroup, a power of two: workgroup memory has a word for each, or a vector.
pub(crate) fn largest_workgroup(limits: &wgpu::Limits) -> u32 {
    let invocations = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
    let largest = invocations.min(limits.max_compute_workgroup_storage_size / RECORD as u32);
    1 << largest.max(1).ilog2()
}

/// A size that no subgroup undercuts; 1 where subgroup operations are not enabled.
pub(crate) fn largest_subgroup(info: &wgpu::AdapterInfo, features: wgpu::Features) -> u32 {
    let least = 1 << info.subgroup_min_size.clamp(1, 64).ilog2();
    if features.contains(wgpu::Features::SUBGROUP) { least } else { 1 }
}

impl DeviceProfile {
    /// Whether a device with these limits and enabled features can run what this profile leads to.
    ///
    /// # Errors
    /// [`ProfileMismatch`] names the first value that is beyond the device.
    pub fn check(
        &self,
        info: &wgpu::AdapterInfo,
        limits: &wgpu::Limits,
        features: wgpu::Features,
    ) -> Result<(), ProfileMismatch> {
        let largest = largest_workgroup(limits);
        let subgroup = largest_subgroup(info, features).min(largest);
        let powers = [
            ("workgroup_size", self.workgroup_size, largest),
            ("max_lanes", self.max_lanes, largest),
            ("min_lanes", self.min_lanes, largest),
            ("subgroup", self.subgroup, subgroup),
        ];
        let counts = [
            ("held_quads", self.held_quads, MAX_QUADS),
            ("held_quads_backward", self.held_quads_backward, MAX_QUADS),
            ("quads", self.quads, MAX_QUADS),
            ("map_quads", self.map_quads, u32::MAX),
            ("workgroups", self.workgroups, u32::MAX),
        ];
        for (field, value, most) in powers.into_iter().chain(counts) {
            if !(1..=most).contains(&value) {
                return Err(ProfileMismatch::OutOfRange { field, value, least: 1, most });
            }
        }
        match powers.into_iter().find(|(_, value, _)| !value.is_power_of_two()) {
            Some((field, value, _)) => Err(ProfileMismatch::NotPowerOfTwo { field, value }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_beyond_the_device_are_refused_with_their_numbers() {
        let mut info = wgpu::AdapterInfo::new(wgpu::DeviceType::DiscreteGpu, wgpu::Backend::Vulkan);
        (info.subgroup_min_size, info.subgroup_max_size) = (32, 32);
        let (limits, subgroups) = (wgpu::Limits::default(), wgpu::Features::SUBGROUP);
        let good = DeviceProfile::new(&info, &limits, subgroups);
        assert_eq!(good.check(&info, &limits, subgroups), Ok(()));
        let range = |field, value, most| ProfileMismatch::OutOfRange { field, value, least: 1, most };
        for (profile, expected) in [
            (DeviceProfile { workgroup_size: 512, ..good }, range("workgroup_size", 512, 256)),
            (DeviceProfile { max_lanes: 1024, ..good }, range("max_lanes", 1024, 256)),
            (DeviceProfile { subgroup: 64, ..good }, range("subgroup", 64, 32)),
            (DeviceProfile { quads: 0, ..good }, range("quads", 0, MAX_QUADS)),
            (DeviceProfile { held_quads: 65, ..good }, range("held_quads", 65, MAX_QUADS)),
            (DeviceProfile { map_quads: 0, ..good }, range("map_quads", 0, u32::MAX)),
            (DeviceProfile { workgroups: 0, ..good }, range("workgroups", 0, u32::MAX)),
            (DeviceProfile { min_lanes: 24, ..good }, ProfileMismatch::NotPowerOfTwo { field: "min_lanes", value: 24 }),
        ] {
            assert_eq!(profile.check(&info, &limits, subgroups), Err(expected));
        }
        let without = good.check(&info, &limits, wgpu::Features::empty()).unwrap_err().to_string();
        assert_eq!(without, "its subgroup is 32, this device takes 1 to 1");
    }
}
