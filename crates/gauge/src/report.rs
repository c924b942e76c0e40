//! What a run found: data that is kept, compared and checked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The device that was compiled for, and the driver.
    pub device: String,
    pub cases: Vec<CaseReport>,
}

/// A case of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaseReport {
    pub name: String,
    pub elements: u64,
    /// Share of the roof that the model expects, by GPU.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub estimates: BTreeMap<String, f64>,
    pub dispatches: Vec<DispatchReport>,
}

/// A dispatch of a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DispatchReport {
    pub kernel: String,
    pub workgroups: u64,
    #[serde(flatten)]
    pub machine: Machine,
    /// What all invocations execute, for each element of the tensor. Not where the listing is not read.
    pub instructions_an_element: Option<f64>,
    /// Most bytes of loads that an invocation has under way in the loop that loads most.
    pub bytes_in_flight: Option<u32>,
    /// Bytes of the caller's buffers that it reads or writes.
    pub bytes: u64,
    /// Lines of the assembled source.
    pub lines: usize,
}

impl Report {
    /// As data, a line a case.
    pub fn to_json(&self) -> Result<String, String> {
        let cases: Result<Vec<_>, _> = self.cases.iter().map(serde_json::to_string).collect();
        let (device, cases) = (serde_json::to_string(&self.device), cases.map_err(|error| error.to_string())?);
        let device = device.map_err(|error| error.to_string())?;
        Ok(format!("{{\"device\":{device},\"cases\":[\n{}\n]}}\n", cases.join(",\n")))
    }
}

impl DispatchReport {
    /// The kernel's name up to its first detail.
    pub fn short_name(&self) -> &str {
        self.kernel.split(['.', ' ']).next().unwrap_or_default()
    }
}

impl CaseReport {
    /// Instructions of all dispatches for an element; not where one is unknown.
    pub fn instructions_an_element(&self) -> Option<f64> {
        self.dispatches.iter().map(|dispatch| dispatch.instructions_an_element).sum()
    }

    /// Most registers of its dispatches.
    pub fn registers(&self) -> Option<u32> {
        self.dispatches.iter().filter_map(|dispatch| dispatch.machine.registers).max()
    }

    /// Spills, and bytes of scratch where the compiler only says those.
    pub fn spills(&self) -> u32 {
        self.dispatches.iter().map(|dispatch| dispatch.machine.spills.max(dispatch.machine.scratch)).max().unwrap_or(0)
    }

    /// Fewest workgroups of the dispatches that walk the tensor.
    pub fn workgroups(&self) -> u64 {
        let walks = |dispatch: &&DispatchReport| dispatch.bytes >= 4 * self.elements;
        self.dispatches.iter().filter(walks).map(|dispatch| dispatch.workgroups).min().unwrap_or(0)
    }
}
