//! Profiles that were measured on one adapter, as JSON.

use serde::{Deserialize, Serialize};

use crate::facts::DeviceFacts;
use crate::schedule::{DeviceProfile, ProfileMismatch};

/// A profile that was measured, and where. `wgpu-norm bench --tune` writes it.
///
/// ```no_run
/// # use wgpu_norm::{wgpu, *};
/// # fn open(device: &wgpu::Device) -> Result<NormEngine, Box<dyn std::error::Error>> {
/// let tuned = TunedProfile::from_json(&std::fs::read_to_string("wgpu-norm-profile.json")?)?;
/// // one of another adapter or driver: the defaults
/// let profile = tuned.fits(&device.adapter_info(), &DeviceFacts::of(device)).ok();
/// Ok(NormEngine::new(device, &NormEngineDescriptor { profile, ..Default::default() })?)
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunedProfile {
    /// [`TunedProfile::VERSION`] of the library that wrote it.
    pub version: u32,
    /// Name of the adapter.
    pub adapter: String,
    /// Its driver, with the driver's version.
    pub driver: String,
    /// The backend: `vulkan`, `metal`, `dx12`.
    pub backend: String,
    /// What was found; `max_binding` is not kept, it is each device's own.
    pub profile: DeviceProfile,
}

/// The field of every version.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl TunedProfile {
    /// Changes whenever a profile's values come to mean something else.
    pub const VERSION: u32 = 5;

    /// A profile that was measured on an adapter.
    pub fn new(info: &wgpu::AdapterInfo, profile: DeviceProfile) -> Self {
        let [adapter, driver, backend] = identity(info).map(|(_, value)| value);
        Self { version: Self::VERSION, adapter, driver, backend, profile }
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        // strings and numbers: nothing that JSON refuses
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Reads what [`TunedProfile::to_json`] wrote.
    ///
    /// # Errors
    /// [`ProfileMismatch::Unreadable`] or [`ProfileMismatch::Version`].
    pub fn from_json(text: &str) -> Result<Self, ProfileMismatch> {
        let unreadable = |error: serde_json::Error| ProfileMismatch::Unreadable { message: error.to_string() };
        // other versions have other fields
        let Versioned { version } = serde_json::from_str(text).map_err(unreadable)?;
        check_version(version)?;
        serde_json::from_str(text).map_err(unreadable)
    }

    /// The profile for a device on the adapter and driver where it was measured.
    ///
    /// # Errors
    /// [`ProfileMismatch`] with the two values that differ.
    pub fn fits(&self, info: &wgpu::AdapterInfo, facts: &DeviceFacts) -> Result<DeviceProfile, ProfileMismatch> {
        check_version(self.version)?;
        for ((field, device), profile) in identity(info).into_iter().zip([&self.adapter, &self.driver, &self.backend]) {
            if device != *profile {
                return Err(ProfileMismatch::Device { field, profile: profile.clone(), device });
            }
        }
        self.profile.check(facts)?;
        Ok(DeviceProfile { max_binding: facts.max_range(), ..self.profile })
    }
}

fn check_version(version: u32) -> Result<(), ProfileMismatch> {
    let supported = TunedProfile::VERSION;
    if version == supported { Ok(()) } else { Err(ProfileMismatch::Version { version, supported }) }
}

/// What tells adapters apart.
fn identity(info: &wgpu::AdapterInfo) -> [(&'static str, String); 3] {
    let driver = format!("{} {}", info.driver, info.driver_info).trim().to_owned();
    [("adapter", info.name.clone()), ("driver", driver), ("backend", info.backend.to_str().to_owned())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter() -> wgpu::AdapterInfo {
        let mut info = wgpu::AdapterInfo::new(wgpu::DeviceType::DiscreteGpu, wgpu::Backend::Vulkan);
        (info.name, info.driver, info.driver_info) = ("A".to_owned(), "d".to_owned(), "1.2".to_owned());
        info
    }

    #[test]
    fn a_profile_survives_json_and_fits_where_it_was_measured() {
        let (info, facts) = (adapter(), DeviceFacts::DEFAULT);
        let default = DeviceProfile::new(&facts);
        let tuned = TunedProfile::new(&info, DeviceProfile { vectors: 3, ..default });
        let read = TunedProfile::from_json(&tuned.to_json()).unwrap();
        assert_eq!(read.fits(&info, &facts), Ok(tuned.profile));
        let small = DeviceFacts { max_workgroup_size: 64, ..facts };
        let differs = |field, profile: &str, device: &str| ProfileMismatch::Device {
            field,
            profile: profile.to_owned(),
            device: device.to_owned(),
        };
        let of = |change: fn(&mut wgpu::AdapterInfo)| {
            let mut info = adapter();
            change(&mut info);
            read.fits(&info, &facts).unwrap_err()
        };
        assert_eq!(of(|info| info.name = "B".to_owned()), differs("adapter", "A", "B"));
        assert_eq!(of(|info| info.driver_info = "1.3".to_owned()), differs("driver", "d 1.2", "d 1.3"));
        assert_eq!(of(|info| info.backend = wgpu::Backend::Dx12), differs("backend", "vulkan", "dx12"));
        let beyond = read.fits(&info, &small).unwrap_err();
        assert_eq!(beyond.to_string(), "its workgroup_size is 256, this device takes 8 to 64");
    }

    #[test]
    fn what_is_no_profile_of_this_version_is_refused() {
        let profile = DeviceProfile::new(&DeviceFacts::DEFAULT);
        let text = TunedProfile::new(&adapter(), profile).to_json();
        for (text, expected) in [
            (String::new(), "it is no tuned profile: EOF"),
            ("[]".to_owned(), "it is no tuned profile"),
            (r#"{"schema":1}"#.to_owned(), "missing field `version`"),
            (r#"{"version":1,"lanes":[]}"#.to_owned(), "it has version 1, this library reads version 5"),
            (text.replace("\"vectors\"", "\"cubes\""), "unknown field `cubes`"),
            (text.replace("\"vectors\": 2", "\"vectors\": -2"), "-2"),
        ] {
            let error = TunedProfile::from_json(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
