//! `wgpu-norm plan`: what a host has to do for a norm, as a table for people and as JSON for hosts in other languages.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};
use wgpu_norm::{BufferId, DeviceFacts, Dispatch, Element, Kernel, Planner, Recipe};
use wgpu_norm_tools::device::Gpu;
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::outline::{Extent, Named, Outline};
use wgpu_norm_tools::output::{Target, write_bytes};
use wgpu_norm_tools::shaders::file_name;
use wgpu_norm_tools::terminal;
use wgpu_norm_tools::types::TypeArgs;

use crate::bench::case::{BenchCase, Pass};
use crate::bench::spec::CaseArgs;
use crate::bench::suite::Suite;
use crate::{Global, Json};
use parameters::Block;

mod parameters;

/// Arguments of `wgpu-norm plan`.
#[derive(clap::Args)]
#[command(after_help = "\
No device is opened but with --limits adapter. The JSON holds all that another host needs, kernels' sources and the bytes
of their parameters included; docs/recipe.md describes it.

Examples:
  wgpu-norm plan layer 4096x1024
  wgpu-norm plan batch 8x64x56x56 --format channels-last --pass backward --limits adapter
  wgpu-norm plan group 8x64x120x120 --groups 32 --json group.json --shaders kernels/
  wgpu-norm plan layer 4096x1024 --dtype f16 --parameters same
  wgpu-norm plan --suite reference --pass backward")]
pub struct PlanArgs {
    // boxed: this struct is a variant of an enum, whose others are small
    #[command(flatten)]
    case: Box<CaseArgs>,
    /// All cases of a suite of `bench` instead.
    #[arg(long, value_enum, conflicts_with = "variant", required_unless_present = "variant")]
    suite: Option<Suite>,
    #[command(flatten)]
    types: TypeArgs,
    /// Which pass; of a suite only the cases of that pass.
    #[arg(long, value_enum, conflicts_with_all = ["training", "backward"])]
    pass: Option<Pass>,
    /// For which device.
    #[arg(long, value_enum, default_value = "default")]
    limits: Limits,
    /// Write the recipes as JSON to FILE, or to standard output instead of the tables.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-", value_parser = Json::parser())]
    json: Option<Json>,
    /// Write the kernels as WGSL to this folder, made where it is missing; files of the same names are replaced.
    #[arg(long, value_name = "DIR")]
    shaders: Option<PathBuf>,
}

/// A device to plan for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Limits {
    /// The adapter, and the --profile that was measured on it.
    Adapter,
    /// Any with WebGPU's default limits, no feature.
    Default,
    /// Any with wgpu's downlevel limits: four storage buffers, which serve inference.
    Downlevel,
}

/// What a case comes to.
struct Planned {
    case: BenchCase,
    schedule: String,
    outline: Outline,
}

/// Plans, prints and writes.
pub fn run(args: &PlanArgs, global: &Global) -> Result<ExitCode, Failure> {
    if args.limits != Limits::Adapter && (global.device.adapter.is_some() || global.device.profile.is_some()) {
        let message = "--adapter and --profile are of a device, and the plan is of none: add --limits adapter";
        return Err(Failure::Usage(message.to_owned()));
    }
    let planner = match args.limits {
        Limits::Adapter => *Gpu::require(&global.device, "--limits default plans without one")?.engine.planner(),
        Limits::Default => Planner::new(DeviceFacts::DEFAULT),
        Limits::Downlevel => Planner::new(DeviceFacts::DOWNLEVEL),
    };
    let cases = cases(args)?;
    let target = match &args.json {
        Some(Json::File(path)) => Some(Target::replacing(path)?),
        _ => None,
    };
    let (mut plans, mut refused) = (Vec::new(), Vec::new());
    for case in &cases {
        match Planned::new(case, &planner) {
            Ok(plan) => plans.push(plan),
            Err(failure @ Failure::Bind(_)) if cases.len() > 1 => refused.push(format!("{}: {failure}", case.name())),
            Err(failure) => return Err(failure),
        }
    }
    refused.iter().for_each(|reason| terminal::note(&format!("left out: {reason}")));
    let kernels: BTreeMap<String, &Kernel> = plans.iter().flat_map(Planned::kernels).collect();
    if let Some(folder) = &args.shaders {
        std::fs::create_dir_all(folder).map_err(|error| Failure::file(folder, error))?;
        for (name, kernel) in &kernels {
            write_bytes(&folder.join(format!("{}.wgsl", file_name(name))), kernel.source().as_bytes(), true)?;
        }
    }
    if args.json == Some(Json::Stdout) {
        terminal::print_json(&json(&plans))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(target) = target {
        let text = serde_json::to_vec(&json(&plans));
        target.write_bytes(&text.map_err(|error| Failure::file(target.path(), std::io::Error::from(error)))?)?;
    }
    terminal::print(&text(&plans, &kernels)?)?;
    Ok(ExitCode::SUCCESS)
}

fn cases(args: &PlanArgs) -> Result<Vec<BenchCase>, Failure> {
    let case = args.pass.map_or_else(|| (*args.case).clone(), |pass| args.case.in_pass(pass));
    let named = case.cases()?;
    let of_pass = |case: &BenchCase| args.pass.is_none_or(|pass| case.pass == pass);
    let of_suite = || args.suite.iter().flat_map(|suite| suite.cases()).filter(of_pass).collect();
    let types = args.types.types();
    Ok(named.unwrap_or_else(of_suite).iter().map(|case| case.of(types)).collect())
}

impl Planned {
    fn new(case: &BenchCase, planner: &Planner) -> Result<Self, Failure> {
        let described = case.case();
        let descriptor = described.descriptor();
        let plan = descriptor.plan(planner)?;
        let none = || Failure::Usage(format!("{} has no such pass", case.name()));
        let beside = descriptor.is_fused().then(|| case.beside(case.which()));
        let outline = plan.outline(descriptor.affine(), case.which(), beside)?.ok_or_else(none)?;
        Ok(Self { case: case.clone(), schedule: case.schedule(plan.content()), outline })
    }

    fn kernels(&self) -> impl Iterator<Item = (String, &Kernel)> {
        let kernels = self.outline.recipes.iter().flat_map(|recipe| &recipe.kernels);
        kernels.map(|kernel| (kernel.to_string(), kernel))
    }

    fn name(&self, buffer: &BufferId) -> &'static str {
        self.outline.buffers[buffer.id as usize].name
    }

    /// The buffers with a tensor in them, as hosts read and write it.
    fn tensors(&self) -> Vec<Value> {
        let tensor = |buffer: &Named| {
            let (element, extent) = buffer.tensor?;
            let shape = match extent {
                // a style has the shape of its content here
                Extent::Input | Extent::Style => self.case.memory(),
                Extent::Parameters => self.case.parameter_shape(),
                Extent::List(len) => &[len],
            };
            Some(json!({"name": buffer.name, "element": element.name(), "shape": shape}))
        };
        self.outline.buffers.iter().filter_map(tensor).collect()
    }

    fn json(&self) -> Value {
        let recipes: Vec<Value> =
            self.outline.recipes.iter().map(|recipe| recipe.to_json(|buffer| self.name(buffer).to_owned())).collect();
        let [dtype, parameters] = [self.case.types.input, self.case.types.scale].map(Element::name);
        json!({
            "case": self.case.name(),
            "dtype": dtype,
            "parameters": parameters,
            "schedule": self.schedule,
            "tensors": self.tensors(),
            "recipes": recipes,
        })
    }
}

fn json(plans: &[Planned]) -> Value {
    plans.iter().map(Planned::json).collect()
}

/// A table of dispatches for each case, then the kernels of all.
fn text(plans: &[Planned], kernels: &BTreeMap<String, &Kernel>) -> Result<String, Failure> {
    let mut blocks = Vec::new();
    for plan in plans {
        let mut table = terminal::table(&["dispatch", "operation", "kernel", "workgroups", "bindings"]);
        let mut parameters = Vec::new();
        for recipe in &plan.outline.recipes {
            // of a suite they would hide the rest
            let shown = if plans.len() == 1 { recipe.kernels.as_slice() } else { &[] };
            let shown = shown.iter().map(Block::of).collect::<Result<Vec<_>, _>>()?;
            for dispatch in &recipe.dispatches {
                let (number, kernel) = (table.row_count(), recipe.kernels[dispatch.kernel].to_string());
                let place = kernels.keys().position(|name| *name == kernel).unwrap_or(0);
                let [x, y] = dispatch.workgroups;
                let (kernel, operation) = (format!("k{place}"), recipe.operation);
                let bindings = bindings(plan, recipe, dispatch);
                table.add_row([number.to_string(), operation.to_owned(), kernel, format!("{x}x{y}"), bindings]);
                if let Some(block) = shown.get(dispatch.kernel) {
                    parameters.push(format!("parameters of {number}"));
                    parameters.extend(block.lines(&dispatch.parameters));
                }
            }
        }
        let title = format!("{}, by {}", plan.case.name(), plan.schedule);
        blocks.push([vec![title, table.trim_fmt()], parameters].concat().join("\n"));
    }
    let mut table = terminal::table(&["kernel", "lines", "constants", "name"]);
    for (place, (name, kernel)) in kernels.iter().enumerate() {
        let constants: Vec<String> = kernel.constants().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let lines = kernel.source().lines().count();
        table.add_row([format!("k{place}"), lines.to_string(), constants.join(" "), name.clone()]);
    }
    blocks.push(table.trim_fmt());
    Ok(blocks.join("\n\n"))
}

/// `input 0+16384, output! 0+16384`: what is bound from which byte on and how many; `!` is written.
fn bindings(plan: &Planned, recipe: &Recipe<BufferId>, dispatch: &Dispatch) -> String {
    let operands = recipe.kernels[dispatch.kernel].binding_names();
    let all = dispatch.bindings.iter().zip(operands).map(|(binding, operands)| {
        let buffer = plan.name(&recipe.buffers[binding.buffer]);
        let place = if operands == buffer { String::new() } else { format!(" in {buffer}") };
        let written = if binding.writes { "!" } else { "" };
        format!("{operands}{written}{place} {}+{}", binding.offset, binding.size)
    });
    all.collect::<Vec<_>>().join(", ")
}
