//! `wgpu-norm adapters`: what is here, and whether the kernels run on it.

use std::process::ExitCode;

use serde::Serialize;
use wgpu_norm::wgpu::{self, Features};
use wgpu_norm_tools::device::{Gpu, adapters, find, type_name};
use wgpu_norm_tools::failure::{EXIT_CHECK, Failure};
use wgpu_norm_tools::terminal;

use crate::Global;

/// Options of `adapters`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  wgpu-norm adapters
  wgpu-norm adapters --json
  wgpu-norm adapters --quiet && wgpu-norm verify")]
pub struct AdaptersArgs {
    /// Print nothing; exit code 0 where the kernels run on an adapter, else 1.
    #[arg(short, long, conflicts_with_all = ["json", "adapter"])]
    quiet: bool,
}

#[derive(Serialize)]
struct Row {
    number: usize,
    name: String,
    backend: String,
    device_type: &'static str,
    driver: String,
    subgroup_sizes: Option<(u32, u32)>,
    f16: bool,
    timestamps: bool,
    limits: Limits,
    /// `null` where the kernels run, else why not.
    problem: Option<String>,
}

/// The limits that decide what a norm may bind.
#[derive(Serialize)]
struct Limits {
    max_buffer_size: u64,
    max_storage_buffer_binding_size: u64,
    max_storage_buffers_per_shader_stage: u32,
    min_storage_buffer_offset_alignment: u32,
    max_compute_workgroup_storage_size: u32,
    max_compute_invocations_per_workgroup: u32,
    max_compute_workgroups_per_dimension: u32,
}

/// Lists the adapters.
pub fn run(args: &AdaptersArgs, global: &Global) -> Result<ExitCode, Failure> {
    let all = adapters();
    if args.quiet {
        let run = all.iter().any(|adapter| Gpu::from_adapter(adapter).is_ok());
        return Ok(if run { ExitCode::SUCCESS } else { ExitCode::from(EXIT_CHECK) });
    }
    let wanted = global.device.adapter.as_deref().map(|wanted| find(&all, wanted)).transpose()?;
    let listed = all.iter().enumerate().filter(|(number, _)| wanted.is_none_or(|wanted| *number == wanted));
    let rows: Vec<Row> = listed.map(|(number, adapter)| row(number, adapter)).collect();
    if global.json.on_stdout() {
        terminal::print_json(&rows)?;
    } else if rows.is_empty() {
        terminal::print(
            "no adapter found; `apply` computes on the CPU reference (a software driver: Mesa's lavapipe)",
        )?;
    } else {
        terminal::print(&table(&rows))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(number: usize, adapter: &wgpu::Adapter) -> Row {
    let (info, features, limits) = (adapter.get_info(), adapter.features(), adapter.limits());
    Row {
        number,
        name: info.name,
        backend: info.backend.to_string(),
        device_type: type_name(info.device_type),
        driver: [info.driver, info.driver_info].join(" ").trim().to_owned(),
        subgroup_sizes: features
            .contains(Features::SUBGROUP)
            .then_some((info.subgroup_min_size, info.subgroup_max_size)),
        f16: features.contains(Features::SHADER_F16),
        timestamps: features.contains(Features::TIMESTAMP_QUERY),
        limits: Limits {
            max_buffer_size: limits.max_buffer_size,
            max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
            max_storage_buffers_per_shader_stage: limits.max_storage_buffers_per_shader_stage,
            min_storage_buffer_offset_alignment: limits.min_storage_buffer_offset_alignment,
            max_compute_workgroup_storage_size: limits.max_compute_workgroup_storage_size,
            max_compute_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup,
            max_compute_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
        },
        problem: Gpu::from_adapter(adapter).err().map(|error| error.to_string()),
    }
}

fn table(rows: &[Row]) -> String {
    let header = [
        "#",
        "adapter",
        "backend",
        "type",
        "driver",
        "subgroup",
        "f16",
        "timestamps",
        "buffer",
        "binding",
        "buffers",
        "align",
        "shared",
        "invocations",
        "kernels",
    ];
    let mut table = terminal::table(&header);
    for row in rows {
        let limits = &row.limits;
        let yes = |value: bool| if value { "yes" } else { "no" }.to_owned();
        let kernels = match &row.problem {
            None => terminal::verdict("run", true),
            Some(problem) => terminal::verdict(problem, false),
        };
        table.add_row(vec![
            row.number.to_string(),
            row.name.clone(),
            row.backend.clone(),
            row.device_type.to_owned(),
            row.driver.clone(),
            match row.subgroup_sizes {
                None => "no".to_owned(),
                Some((min, max)) if min == max => min.to_string(),
                Some((min, max)) => format!("{min}-{max}"),
            },
            yes(row.f16),
            yes(row.timestamps),
            mebibytes(limits.max_buffer_size),
            mebibytes(limits.max_storage_buffer_binding_size),
            limits.max_storage_buffers_per_shader_stage.to_string(),
            limits.min_storage_buffer_offset_alignment.to_string(),
            format!("{} KiB", limits.max_compute_workgroup_storage_size >> 10),
            limits.max_compute_invocations_per_workgroup.to_string(),
            kernels,
        ]);
    }
    table.trim_fmt()
}

fn mebibytes(bytes: u64) -> String {
    // Drivers without a bound of their own report the largest number.
    if bytes >= 1 << 50 { "any".to_owned() } else { format!("{} MiB", bytes >> 20) }
}
