//! `gauge program`: what any program under the layer has compiled and dispatched.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use crate::compiler;
use crate::machine::{self, Line};
use crate::table;

/// Any Vulkan program: what it compiles and dispatches.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The program and its arguments. What it computes is nonsense: nothing runs.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs it and prints a line a pipeline; false where the program fails.
pub fn run(arguments: &Arguments) -> Result<bool, String> {
    let folder: PathBuf =
        std::env::var_os("GAUGE_DIR").ok_or("GAUGE_DIR is not set: start this by scripts/gauge")?.into();
    let [program, rest @ ..] = arguments.command.as_slice() else { return Err("name a program".to_owned()) };
    let status = Command::new(program).args(rest).status().map_err(|error| format!("{program}: {error}"))?;
    let (lines, _) = compiler::lines(&folder, 0)?;
    let mut grids: BTreeMap<&str, BTreeMap<[u64; 3], u32>> = BTreeMap::new();
    for line in &lines {
        if let Line::Dispatch { dispatch, workgroups } = line {
            *grids.entry(dispatch).or_default().entry(*workgroups).or_default() += 1;
        }
    }
    let mut table = table::new(&[
        "pipeline",
        "entry",
        "SPIR-V",
        "workgroup",
        "subgroup",
        "registers",
        "waves",
        "spills",
        "scratch",
        "workgroup memory",
        "instructions",
        "in flight",
        "dispatches",
    ]);
    for line in &lines {
        let Line::Pipeline(pipeline) = line else { continue };
        let (machine, flow) = match machine::read(&folder, pipeline, "NAVI") {
            Ok(read) => read,
            Err(error) => return Err(format!("{}: {error}", pipeline.pipeline)),
        };
        let number = |value: Option<u32>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        let grid = |([x, y, z], times): (&[u64; 3], &u32)| format!("{times} of {x}x{y}x{z}");
        let grids = grids.get(pipeline.pipeline.as_str()).map(|grids| grids.iter().map(grid).collect::<Vec<_>>());
        table.add_row([
            pipeline.pipeline.clone(),
            pipeline.entry.clone(),
            machine.spirv_bytes.to_string(),
            machine.workgroup_size.to_string(),
            machine.subgroup_size.to_string(),
            number(machine.registers),
            number(machine.waves),
            machine.spills.to_string(),
            machine.scratch.to_string(),
            machine.workgroup_memory.to_string(),
            machine.instructions.to_string(),
            flow.map_or_else(|| "-".to_owned(), |flow| flow.bytes_in_flight(None).to_string()),
            grids.unwrap_or_default().join(", "),
        ]);
    }
    println!("{table}");
    Ok(status.success())
}
