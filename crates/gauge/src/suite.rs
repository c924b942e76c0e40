//! `gauge suite`: every kernel of every case.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use comfy_table::Table;
use wgpu_norm_tools::types::TypeArgs;

use crate::budget::Budget;
use crate::cases::{self, Case, Planner};
use crate::compare;
use crate::compiler::{Checks, Compiler, Source};
use crate::count::{self, Counted};
use crate::flow::Flow;
use crate::machine::{Machine, Vendor};
use crate::measured::Measured;
use crate::model::{GPUS, Gpu};
use crate::report::{CaseReport, DispatchReport, Report};
use crate::table;

/// The project's budget.
const BUDGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/budget.json");

/// Every kernel of every case of a list.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The list that `wgpu-norm bench --list` prints.
    #[arg(long, value_name = "FILE")]
    cases: PathBuf,
    #[command(flatten)]
    types: TypeArgs,
    /// Convert f16 by WGSL's own conversions, as by a profile of a device where they are exact.
    #[arg(long)]
    f16_builtins: bool,
    /// Cases with this in their name.
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// What was found, as data.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Beside what another run found.
    #[arg(long, value_name = "JSON")]
    compare: Option<PathBuf>,
    /// Share of the roof that a GPU would reach by the model: h200, h100, rtx4090, rx7900, mi300. May be repeated.
    #[arg(long = "model", value_name = "GPU", value_parser = gpu)]
    models: Vec<Gpu>,
    /// Beside what `wgpu-norm bench --suite reference --json` measured.
    #[arg(long, value_name = "JSON", requires = "models")]
    measured: Option<PathBuf>,
    /// Fail where a case takes more than its budget [without FILE: the project's].
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = BUDGET)]
    budget: Option<PathBuf>,
    /// Write the budget of its cases anew, with what they take now.
    #[arg(long, requires = "budget")]
    update_budget: bool,
    /// Fail where a kernel has registers in memory.
    #[arg(long)]
    fail_on_spills: bool,
}

fn gpu(name: &str) -> Result<Gpu, String> {
    let names = || GPUS.map(|gpu| gpu.name).join(", ");
    GPUS.into_iter().find(|gpu| gpu.name == name).ok_or_else(|| format!("there are {}", names()))
}

/// Gauges, prints and checks; false where a check fails.
pub fn run(arguments: &Arguments) -> Result<bool, String> {
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let list = read(&arguments.cases)?;
    let list = cases::read(&list)?;
    let old = arguments.compare.as_deref().map(|path| parse::<Report>(path, &read(path)?)).transpose()?;
    let budget = arguments.budget.as_deref().map(|path| parse::<Budget>(path, &read(path)?)).transpose()?;
    let measured = arguments.measured.as_deref();
    let measured = measured
        .map(|path| Measured::read(&read(path)?).map_err(|error| format!("{}: {error}", path.display())))
        .transpose()?;
    let mut kernels = Kernels { compiler: Compiler::open()?, known: HashMap::new() };
    let mut report = Report { device: kernels.compiler.name.clone(), cases: Vec::new() };
    eprintln!("{}", report.device);
    let planner = Planner::new(&kernels.compiler, arguments.types.types(), arguments.f16_builtins)?;
    for listed in list.iter().filter(|case| planner.name(case).contains(&arguments.filter)) {
        let case = planner.plan(listed)?;
        report.cases.push(kernels.gauge(&case, &arguments.models)?);
    }
    match &old {
        Some(old) => println!("{}", compare::table(old, &report)),
        None => println!("{}", print(&report, &arguments.models, measured.as_ref())),
    }
    summarize(&report, &arguments.models, measured.as_ref());
    if let Some(path) = &arguments.json {
        write(path, &report.to_json()?)?;
    }
    let mut broken = if arguments.fail_on_spills { spilled(&report) } else { Vec::new() };
    if let (Some(mut budget), Some(path)) = (budget, &arguments.budget) {
        if arguments.update_budget {
            budget.update(&report);
            write(path, &budget.to_json()?)?;
        } else {
            broken.extend(budget.check(&report, arguments.filter.is_empty())?);
        }
    }
    broken.iter().for_each(|line| eprintln!("{line}"));
    Ok(broken.is_empty())
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// A compiled kernel, which many dispatches share.
type Kernel = Rc<(Machine, Option<Flow>)>;

struct Kernels {
    compiler: Compiler,
    known: HashMap<(String, String), Kernel>,
}

impl Kernels {
    fn kernel(&mut self, dispatch: &cases::Dispatch) -> Result<Kernel, String> {
        let key = (dispatch.source.clone(), format!("{} {:?}", dispatch.entry, dispatch.constants));
        if let Some(kernel) = self.known.get(&key) {
            return Ok(kernel.clone());
        }
        let source = Source { wgsl: &dispatch.source, entry: &dispatch.entry, constants: &dispatch.constants };
        let compiled = self.compiler.compile(source, Checks::None);
        let kernel = Rc::new(compiled.map_err(|error| format!("{}: {error}", dispatch.kernel))?);
        self.known.insert(key, kernel.clone());
        Ok(kernel)
    }

    fn gauge(&mut self, case: &Case, models: &[Gpu]) -> Result<CaseReport, String> {
        let kernels: Vec<Kernel> =
            case.dispatches.iter().map(|dispatch| self.kernel(dispatch)).collect::<Result<_, _>>()?;
        let counts: Vec<Option<Counted>> =
            case.dispatches.iter().zip(&kernels).map(|(dispatch, kernel)| counted(dispatch, kernel)).collect();
        let report = |((dispatch, kernel), counted): ((&cases::Dispatch, &Kernel), &Option<Counted>)| {
            let invocations = (dispatch.workgroups * u64::from(kernel.0.workgroup_size)) as f64;
            let all = |counted: &Counted| counted.work.instructions * invocations / case.elements as f64;
            DispatchReport {
                kernel: dispatch.kernel.clone(),
                workgroups: dispatch.workgroups,
                machine: kernel.0.clone(),
                instructions_an_element: counted.as_ref().map(all).map(|value| (value * 100.0).round() / 100.0),
                bytes_in_flight: counted.as_ref().zip(kernel.1.as_ref()).map(|(c, flow)| flow.bytes_in_flight(c.hot)),
                bytes: dispatch.bindings.iter().filter(|b| b.buffer.is_some()).map(|b| b.bytes).sum(),
                lines: dispatch.source.lines().count(),
            }
        };
        let measured: Option<Vec<_>> = (case.dispatches.iter().zip(&kernels).zip(&counts))
            .map(|((dispatch, kernel), counted)| Some((dispatch, &kernel.0, &counted.as_ref()?.work)))
            .collect();
        let share = |gpu: &Gpu| {
            let share = gpu.share_of_roof(case, measured.as_ref()?);
            Some((gpu.name.to_owned(), (share * 1000.0).round() / 1000.0))
        };
        Ok(CaseReport {
            name: case.name.clone(),
            elements: case.elements,
            estimates: models.iter().filter_map(share).collect(),
            dispatches: case.dispatches.iter().zip(&kernels).zip(&counts).map(report).collect(),
        })
    }
}

/// What an invocation does; nothing where the listing is not read.
fn counted(dispatch: &cases::Dispatch, (machine, flow): &(Machine, Option<Flow>)) -> Option<Counted> {
    let invocations = (dispatch.workgroups * u64::from(machine.workgroup_size)) as f64;
    let bytes = |loaded: bool| {
        let bindings = dispatch.bindings.iter().filter(|binding| binding.loaded == loaded);
        bindings.map(|binding| binding.bytes).sum::<u64>() as f64 / invocations
    };
    flow.as_ref().map(|flow| count::count(flow, bytes(true), bytes(false)))
}

/// A line for every kernel that spills.
fn spilled(report: &Report) -> Vec<String> {
    let dispatches = report.cases.iter().flat_map(|case| case.dispatches.iter().map(move |d| (case, d)));
    let spilled = dispatches.filter(|(_, dispatch)| dispatch.machine.spilled());
    spilled
        .map(|(case, d)| {
            format!("{}, {}: spills {}, {} bytes", case.name, d.kernel, d.machine.spills, d.machine.scratch)
        })
        .collect()
}

fn print(report: &Report, models: &[Gpu], measured: Option<&Measured>) -> Table {
    let amd = report.cases.iter().flat_map(|case| &case.dispatches).all(|d| d.machine.vendor == Vendor::Amd);
    let registers = if amd { "VGPRs" } else { "registers" };
    let mut header = vec![
        "case",
        "dispatch",
        "workgroups",
        registers,
        "SGPRs",
        "waves",
        "spills",
        "scratch",
        "LDS",
        "instructions",
        "an element",
        "in flight",
    ];
    header.extend(models.iter().map(|gpu| gpu.name));
    header.extend(measured.map(|_| "measured"));
    let mut table = table::new(&header);
    for case in &report.cases {
        for (k, dispatch) in case.dispatches.iter().enumerate() {
            let mut row = vec![if k == 0 { case.name.clone() } else { String::new() }];
            row.extend(cells(dispatch));
            let cell =
                |share: Option<f64>| share.filter(|_| k == 0).map_or(String::new(), |share| format!("{share:.2}"));
            row.extend(models.iter().map(|gpu| cell(case.estimates.get(gpu.name).copied())));
            row.extend(measured.map(|measured| cell(measured.share(&case.name))));
            table.add_row(row);
        }
    }
    table
}

fn cells(dispatch: &DispatchReport) -> Vec<String> {
    let machine = &dispatch.machine;
    let number = |value: Option<u32>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    vec![
        dispatch.short_name().to_owned(),
        format!("{} x {}", dispatch.workgroups, machine.workgroup_size),
        number(machine.registers),
        number(machine.scalar_registers),
        number(machine.waves),
        machine.spills.to_string(),
        machine.scratch.to_string(),
        machine.workgroup_memory.to_string(),
        machine.instructions.to_string(),
        dispatch.instructions_an_element.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}")),
        number(dispatch.bytes_in_flight),
    ]
}

/// Geometric means of the estimates, and where the counts are another vendor's.
fn summarize(report: &Report, models: &[Gpu], measured: Option<&Measured>) {
    let vendor = report.cases.first().and_then(|case| case.dispatches.first()).map(|d| d.machine.vendor);
    for gpu in models {
        for backward in [false, true] {
            let of_pass = report.cases.iter().filter(|case| case.name.contains(" backward") == backward);
            let shares: Vec<f64> = of_pass.filter_map(|case| case.estimates.get(gpu.name).copied()).collect();
            if !shares.is_empty() {
                let mean = (shares.iter().map(|share| share.ln()).sum::<f64>() / shares.len() as f64).exp();
                let lowest = shares.iter().copied().fold(f64::INFINITY, f64::min);
                let pass = if backward { "backward" } else { "forward" };
                println!("{} {pass}: geometric mean {mean:.2}, lowest {lowest:.2} of the roof", gpu.name);
                if let Some(compared) = measured.and_then(|m| m.compared(report, gpu.name, backward)) {
                    println!("{} {pass}: {compared}", gpu.name);
                }
            }
        }
        if vendor.is_some_and(|vendor| vendor != gpu.vendor) {
            println!("{}: estimated from another vendor's machine code", gpu.name);
        }
    }
}
