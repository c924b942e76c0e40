//! `wgpu-norm bench`: the speed of norms against what this adapter copies.

mod measure;
mod roof;
mod suite;
mod times;

use std::process::ExitCode;

use serde::Serialize;
use wgpu_norm::wgpu;

use crate::device::{Gpu, type_name};
use crate::failure::{EXIT_CHECK, Failure};
use crate::{Global, terminal};
use measure::Measured;
use suite::{BenchCase, Suite};

/// Version of the JSON.
const SCHEMA: u32 = 1;
/// Largest error in units of the largest value.
const TOLERANCE: f64 = 1e-5;
const CLOCK: &str = "wall clock around submit and wait";
const SOFTWARE: &str = "software adapter: only the ratios mean something, GB/s say nothing of a GPU";

/// Arguments of `wgpu-norm bench`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  wgpu-norm bench
  wgpu-norm bench --adapter llvmpipe --json > bench.json

GB/s count the bytes that no kernel can do without: each element once in and once out, and the parameters. \
The copy is measured in the same run, in turn with each norm, over the same buffers. \
Buffers rotate, so that none is in a cache.

Exit code 1: an error against the f64 reference is above 1e-5 of the largest value.")]
pub struct BenchArgs {
    /// Which cases.
    #[arg(long, value_enum, default_value_t = Suite::Quick)]
    suite: Suite,
}

/// Measures all cases of a suite.
pub fn run(args: BenchArgs, global: &Global) -> Result<ExitCode, Failure> {
    let gpu = Gpu::require(global.adapter.as_deref(), "bench has nothing to measure without one")?;
    let copy = roof::Copy::new(&gpu);
    gpu.healthy()?;
    let cases = args.suite.cases();
    let mut report = Report::new(&gpu);
    let bar = terminal::progress("bench", cases.len() as u64, false);
    for case in cases {
        bar.set_message(format!("{} {}", case.variant(), case.shape()));
        match measure::measure(&gpu, &copy, case)? {
            Some(measured) => report.add(case, &measured),
            None => report.skipped.push(name(case)),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if global.json {
        terminal::print_json(&report)?;
    } else {
        terminal::print(&report.text())?;
    }
    Ok(if report.rows.iter().all(Row::is_right) { ExitCode::SUCCESS } else { ExitCode::from(EXIT_CHECK) })
}

fn name(case: &BenchCase) -> String {
    format!("{} {} {}", case.variant(), case.shape(), case.format())
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    adapter: String,
    backend: String,
    device_type: &'static str,
    driver: String,
    clock: &'static str,
    command: String,
    /// The copy beside each row.
    roofs: Vec<Roof>,
    rows: Vec<Row>,
    /// Cases for which the device has no memory.
    skipped: Vec<String>,
}

#[derive(Serialize)]
struct Roof {
    kernel: &'static str,
    bytes: u64,
    median_ms: f64,
    p20_ms: f64,
    p80_ms: f64,
    gbps: f64,
}

#[derive(Serialize)]
struct Row {
    variant: String,
    shape: String,
    format: &'static str,
    dtype: &'static str,
    pass: &'static str,
    schedule: String,
    median_ms: f64,
    p20_ms: f64,
    p80_ms: f64,
    min_bytes: u64,
    gbps: f64,
    /// GB/s of the copy.
    roof: f64,
    /// `gbps / roof`.
    ratio: f64,
    /// In units of the largest value; `null` where a NaN is misplaced.
    error: f64,
    /// Another implementation beside it.
    peer: Option<()>,
}

impl Report {
    fn new(gpu: &Gpu) -> Self {
        let info = &gpu.info;
        let arguments = std::env::args().skip(1);
        Self {
            schema: SCHEMA,
            adapter: info.name.clone(),
            backend: info.backend.to_string(),
            device_type: type_name(info.device_type),
            driver: [info.driver.as_str(), &info.driver_info].join(" ").trim().to_owned(),
            clock: CLOCK,
            command: ["wgpu-norm".to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" "),
            roofs: Vec::new(),
            rows: Vec::new(),
            skipped: Vec::new(),
        }
    }

    fn add(&mut self, case: &BenchCase, measured: &Measured) {
        let Measured { norm, copy, .. } = measured;
        let gbps = measured.min_bytes as f64 / norm.median / 1e9;
        let roof = measured.copy_bytes as f64 / copy.median / 1e9;
        self.roofs.push(Roof {
            kernel: "copy",
            bytes: measured.copy_bytes,
            median_ms: copy.median * 1e3,
            p20_ms: copy.p20 * 1e3,
            p80_ms: copy.p80 * 1e3,
            gbps: roof,
        });
        self.rows.push(Row {
            variant: case.variant(),
            shape: case.shape(),
            format: case.format(),
            dtype: "f32",
            pass: case.pass(),
            schedule: measured.schedule.clone(),
            median_ms: norm.median * 1e3,
            p20_ms: norm.p20 * 1e3,
            p80_ms: norm.p80 * 1e3,
            min_bytes: measured.min_bytes,
            gbps,
            roof,
            ratio: gbps / roof,
            error: measured.error,
            peer: None,
        });
    }

    fn text(&self) -> String {
        let mut text = format!(
            "adapter {}\nbackend {}, {}\ndriver  {}\nclock   {}\n",
            self.adapter, self.backend, self.device_type, self.driver, self.clock
        );
        if self.device_type == type_name(wgpu::DeviceType::Cpu) {
            text += &format!("note    {SOFTWARE}\n");
        }
        let header = ["norm", "shape", "format", "schedule", "ms", "p20..p80", "GB/s", "copy GB/s", "of copy", "error"];
        let mut table = terminal::table(&header);
        for row in &self.rows {
            table.add_row(row.cells());
        }
        text += &format!("\nf32, scale and bias\n\n{}", table.trim_fmt());
        for name in &self.skipped {
            text += &format!("\nskipped, the device has no memory for it: {name}");
        }
        let wrong = self.rows.iter().filter(|row| !row.is_right()).count();
        if wrong > 0 {
            let verdict = terminal::verdict(&format!("FAIL ({wrong})"), false);
            text += &format!("\n\n{verdict}: errors above {TOLERANCE:.0e} of the largest value");
        }
        text
    }
}

impl Row {
    fn is_right(&self) -> bool {
        self.error <= TOLERANCE
    }

    fn cells(&self) -> [String; 10] {
        [
            self.variant.clone(),
            self.shape.clone(),
            self.format.to_owned(),
            self.schedule.clone(),
            format!("{:.4}", self.median_ms),
            format!("{:.4}..{:.4}", self.p20_ms, self.p80_ms),
            format!("{:.1}", self.gbps),
            format!("{:.1}", self.roof),
            format!("{:.1} %", self.ratio * 100.0),
            format!("{:.1e}", self.error),
        ]
    }
}
