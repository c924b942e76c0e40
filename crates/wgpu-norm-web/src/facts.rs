//! Facts of a `GPUDevice`.

use wgpu_norm::{DeviceFacts, DeviceKind};

use crate::error::Result;
use crate::field::Field;

/// Facts, under the names that [`DeviceFacts`] has for them.
pub(crate) fn read(field: &Field<'_>) -> Result<DeviceFacts> {
    let mut facts = DeviceFacts::DEFAULT;
    facts.kind = field.word("kind", &[("gpu", DeviceKind::Gpu), ("software", DeviceKind::Software)])?;
    let numbers = [
        ("minSubgroup", &mut facts.min_subgroup),
        ("maxWorkgroupSize", &mut facts.max_workgroup_size),
        ("maxWorkgroupMemory", &mut facts.max_workgroup_memory),
        ("maxWorkgroupCount", &mut facts.max_workgroup_count),
        ("maxStorageBuffers", &mut facts.max_storage_buffers),
        ("storageAlign", &mut facts.storage_align),
        ("uniformAlign", &mut facts.uniform_align),
    ];
    for (name, number) in numbers {
        *number = field.required(name)?.small()?;
    }
    facts.max_binding = field.required("maxBinding")?.whole()?;
    facts.check()?;
    Ok(facts)
}
