//! Whether a device can follow a profile.

use super::{DeviceProfile, MIN_SUBGROUP, subgroup_of};
use crate::facts::{DeviceFacts, MIN_WORKGROUP};

/// Most vectors that a lane holds: compilers unroll loops of no more turns, and beyond there are no registers.
pub(crate) const MAX_VECTORS: u32 = 16;

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

impl DeviceProfile {
    /// Whether a device with these limits and enabled features can run what this profile leads to.
    ///
    /// # Errors
    /// [`ProfileMismatch`] names the first value that is beyond the device.
    pub fn check(&self, facts: &DeviceFacts) -> Result<(), ProfileMismatch> {
        let largest = facts.largest_workgroup();
        let subgroup = subgroup_of(facts);
        let powers = [
            ("workgroup_size", self.workgroup_size, MIN_WORKGROUP, largest),
            ("max_lanes", self.max_lanes, 1, largest),
            ("subgroup", self.subgroup, 1, subgroup),
        ];
        let counts = [
            ("units", self.units, 1, u32::MAX >> 12),
            ("unit_lanes", self.unit_lanes, 1, 1 << 12),
            ("unit_registers", self.unit_registers, 1, u32::MAX),
            ("vectors", self.vectors, 1, MAX_VECTORS),
            ("max_vectors", self.max_vectors, 1, MAX_VECTORS),
            ("vectors_backward", self.vectors_backward, 1, MAX_VECTORS),
        ];
        for (field, value, least, most) in powers.into_iter().chain(counts) {
            if !(least..=most).contains(&value) {
                return Err(ProfileMismatch::OutOfRange { field, value, least, most });
            }
        }
        if self.subgroup == 2 {
            return Err(ProfileMismatch::OutOfRange {
                field: "subgroup",
                value: 2,
                least: MIN_SUBGROUP,
                most: subgroup,
            });
        }
        match powers.into_iter().find(|(_, value, ..)| !value.is_power_of_two()) {
            Some((field, value, ..)) => Err(ProfileMismatch::NotPowerOfTwo { field, value }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_beyond_the_device_are_refused_with_their_numbers() {
        let facts = DeviceFacts { min_subgroup: 32, ..DeviceFacts::DEFAULT };
        let good = DeviceProfile::new(&facts);
        assert_eq!(good.check(&facts), Ok(()));
        let range = |field, value, most| ProfileMismatch::OutOfRange { field, value, least: 1, most };
        let workgroup = |value| ProfileMismatch::OutOfRange { field: "workgroup_size", value, least: 8, most: 256 };
        for (profile, expected) in [
            (DeviceProfile { workgroup_size: 512, ..good }, workgroup(512)),
            (DeviceProfile { workgroup_size: 4, ..good }, workgroup(4)),
            (DeviceProfile { max_lanes: 1024, ..good }, range("max_lanes", 1024, 256)),
            (DeviceProfile { subgroup: 64, ..good }, range("subgroup", 64, 32)),
            (DeviceProfile { vectors: 0, ..good }, range("vectors", 0, MAX_VECTORS)),
            (DeviceProfile { vectors_backward: 65, ..good }, range("vectors_backward", 65, MAX_VECTORS)),
            (DeviceProfile { units: 0, ..good }, range("units", 0, u32::MAX >> 12)),
            (DeviceProfile { max_lanes: 24, ..good }, ProfileMismatch::NotPowerOfTwo { field: "max_lanes", value: 24 }),
        ] {
            assert_eq!(profile.check(&facts), Err(expected));
        }
        let without = good.check(&DeviceFacts::DEFAULT).unwrap_err().to_string();
        assert_eq!(without, "its subgroup is 32, this device takes 1 to 1");
    }
}
