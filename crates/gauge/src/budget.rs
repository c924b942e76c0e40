//! What named cases may take: `crates/gauge/budget.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::{CaseReport, Report};

/// Limits by device (a word of its name, as `NAVI31`) and case.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Budget(BTreeMap<String, BTreeMap<String, Limits>>);

/// Limits of a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Limits {
    /// Most registers of a dispatch.
    registers: u32,
    /// Most spills of a dispatch.
    spills: u32,
    /// Most instructions an element, all dispatches together.
    instructions: f64,
    /// Fewest workgroups of a dispatch that walks the tensor.
    workgroups: u64,
}

impl Budget {
    /// A line for every limit that is broken. `complete`: each case of the budget has to be there.
    pub fn check(&self, report: &Report, complete: bool) -> Result<Vec<String>, String> {
        let named = |name: &str| report.device.contains(name);
        let (_, cases) =
            self.0.iter().find(|(name, _)| named(name)).ok_or(format!("there is no budget for {}", report.device))?;
        let mut broken = Vec::new();
        for (name, limits) in cases {
            match report.cases.iter().find(|case| case.name == *name) {
                Some(case) => {
                    broken.extend(limits.broken(case).into_iter().map(|what| format!("budget of {name}: {what}")))
                }
                None if complete => broken.push(format!("budget of {name}: no such case was gauged")),
                None => {}
            }
        }
        Ok(broken)
    }

    /// As data, a line a case.
    pub fn to_json(&self) -> Result<String, String> {
        let line = |(name, limits): (&String, &Limits)| {
            Ok(format!("    {}: {}", serde_json::to_string(name)?, serde_json::to_string(limits)?))
        };
        let device = |(name, cases): (&String, &BTreeMap<String, Limits>)| {
            let lines: Vec<String> = cases.iter().map(line).collect::<Result<_, serde_json::Error>>()?;
            Ok(format!("  {}: {{\n{}\n  }}", serde_json::to_string(name)?, lines.join(",\n")))
        };
        let devices: Result<Vec<String>, serde_json::Error> = self.0.iter().map(device).collect();
        Ok(format!("{{\n{}\n}}\n", devices.map_err(|error| error.to_string())?.join(",\n")))
    }

    /// Takes what its cases take now.
    pub fn update(&mut self, report: &Report) {
        let of_device = self.0.iter_mut().filter(|(name, _)| report.device.contains(name.as_str()));
        for (name, limits) in of_device.flat_map(|(_, cases)| cases) {
            if let Some(case) = report.cases.iter().find(|case| case.name == *name) {
                *limits = Limits::of(case);
            }
        }
    }
}

impl Limits {
    fn of(case: &CaseReport) -> Self {
        Self {
            registers: case.registers().unwrap_or(0),
            spills: case.spills(),
            instructions: (case.instructions_an_element().unwrap_or(0.0) * 10.0).ceil() / 10.0,
            workgroups: case.workgroups(),
        }
    }

    fn broken(&self, case: &CaseReport) -> Vec<String> {
        let now = Self::of(case);
        let mut broken = Vec::new();
        let mut check = |good: bool, what: &str, now: &dyn std::fmt::Display, limit: &dyn std::fmt::Display| {
            if !good {
                broken.push(format!("{now} {what}, the budget is {limit}"));
            }
        };
        check(now.registers <= self.registers, "registers", &now.registers, &self.registers);
        check(now.spills <= self.spills, "spills", &now.spills, &self.spills);
        check(now.instructions <= self.instructions, "instructions an element", &now.instructions, &self.instructions);
        check(now.workgroups >= self.workgroups, "workgroups", &now.workgroups, &self.workgroups);
        broken
    }
}
