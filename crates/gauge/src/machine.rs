//! What a driver's compiler made of one kernel, in the same words for every vendor.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::flow::Flow;
use crate::listing::Listing;

/// A line of the layer.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Line {
    Pipeline(Pipeline),
    Dispatch { dispatch: String, workgroups: [u64; 3] },
}

/// A pipeline, as the layer writes it down.
#[derive(Clone, Debug, Deserialize)]
pub struct Pipeline {
    pub pipeline: String,
    pub entry: String,
    #[serde(default)]
    pub spirv_bytes: u64,
    #[serde(default)]
    workgroup_size: u32,
    #[serde(default)]
    subgroup_size: u32,
    #[serde(default)]
    statistics: BTreeMap<String, f64>,
}

/// Whose compiler it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    Amd,
    Nvidia,
    Intel,
}

/// The compiled kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub vendor: Vendor,
    pub workgroup_size: u32,
    /// Lanes of a subgroup: on Intel the width that the compiler chose.
    pub subgroup_size: u32,
    /// Vector registers of 32 bits a lane. Intel's compiler does not say.
    pub registers: Option<u32>,
    pub scalar_registers: Option<u32>,
    /// Subgroups that fit: on a SIMD of AMD (at most 16), on an SM of NVIDIA (of 64 Ki registers, at most 64).
    pub waves: Option<u32>,
    /// Vector registers that went to memory; on Intel stores and loads of them. NVIDIA's compiler says only how many
    /// bytes.
    pub spills: u32,
    /// Bytes of memory of its own that a lane needs.
    pub scratch: u32,
    pub workgroup_memory: u32,
    /// Instructions of the code, without hints.
    pub instructions: u32,
    pub spirv_bytes: u64,
}

impl Machine {
    /// Whether registers went to memory.
    pub fn spilled(&self) -> bool {
        self.spills > 0 || self.scratch > 0
    }
}

/// A pipeline of the layer's, with its listing from the layer's folder; no flow where there is no listing that we read.
pub fn read(folder: &Path, line: &Pipeline, adapter: &str) -> Result<(Machine, Option<Flow>), String> {
    let listing = |name: &str| std::fs::read_to_string(folder.join(format!("{}.{name}.txt", line.pipeline))).ok();
    let (vendor, listing) = match (listing("NAK assembly"), listing("Assembly")) {
        (Some(text), _) => (Vendor::Nvidia, Some(Listing::nvidia(&text))),
        (_, Some(text)) => (Vendor::Amd, Some(Listing::amd(&text))),
        _ => (Vendor::Intel, None),
    };
    if line.statistics.is_empty() {
        return Err("the driver says nothing of its pipelines".to_owned());
    }
    let flow = listing.map(Flow::new);
    let value = |name: &str| line.statistics.get(name).map(|value| *value as u32);
    let sum = |names: &[&str]| names.iter().filter_map(|name| value(name)).sum();
    let registers = value("VGPRs").or(value("Number of GPRs"));
    // RDNA counts subgroups of 32 lanes, CDNA and GCN those of 64, which are all they have
    let waves = value("Subgroups per SIMD").map(|waves| match line.subgroup_size {
        64 if ["NAVI", "GFX1"].iter().any(|name| adapter.to_uppercase().contains(name)) => waves / 2,
        _ => waves,
    });
    let fit = |registers: u32| (65536 / (registers.next_multiple_of(8).max(8) * 32)).min(64);
    Ok((
        Machine {
            vendor,
            workgroup_size: line.workgroup_size,
            subgroup_size: line.subgroup_size,
            registers,
            scalar_registers: value("SGPRs"),
            waves: waves.or(registers.map(fit)),
            spills: sum(&["Spilled VGPRs", "Spill Count", "Fill Count"]),
            scratch: sum(&["Scratch size", "SLM Size", "Scratch Memory Size"]),
            workgroup_memory: sum(&["LDS size", "Workgroup Memory Size"]),
            instructions: match &flow {
                Some(flow) => flow.whole_work().instructions as u32,
                None => sum(&["Instruction Count", "Instructions"]),
            },
            spirv_bytes: line.spirv_bytes,
        },
        flow,
    ))
}
