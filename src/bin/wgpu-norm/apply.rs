//! `wgpu-norm apply`: one norm over a file.
//!
//! Outputs are checked first, then every header, then the plan; only then is a device opened and elements read. So a bad
//! request costs nothing and leaves nothing.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use wgpu_norm::{BindError, Norm, NormDescriptor};

pub use crate::apply_args::ApplyArgs;
use crate::apply_args::{Files, Settings};
use crate::check::{Comparison, unravel};
use crate::compute::{Outcome, Tensors, on_cpu, on_gpu};
use crate::device::Gpu;
use crate::failure::{EXIT_CHECK, Failure};
use crate::files::{FileError, TensorFile, TensorSpec};
use crate::output::Target;
use crate::{Global, terminal};

/// What `--check` allows, in units of the largest value.
const TOLERANCE: f64 = 1e-5;

/// Applies the norm.
pub fn run(args: &ApplyArgs, global: &Global) -> Result<ExitCode, Failure> {
    let files = args.kind.files();
    let mut input_spec = files.input.clone();
    input_spec.name = files.tensor.clone().or(input_spec.name);
    // Before the headers: an output that exists is reported even where the input is broken too.
    Target::new(&files.output, files.force, &[&input_spec.path])?;
    let input = TensorFile::open(&input_spec, "--tensor NAME")?;
    let shape = input.shape().to_vec();
    let settings = args.kind.settings(&shape)?;
    let targets = Targets::new(files, &settings, &input_spec)?;
    let operands = Operands::open(input, &settings)?;
    let name = files.output_tensor.clone().or(operands.input.name.clone()).unwrap_or_else(|| "output".to_owned());
    let style_shape = operands.style.as_ref().map(|style| style.shape().to_vec()).unwrap_or_default();
    let descriptor = settings.descriptor(&shape, &style_shape);
    descriptor.validate()?;

    let gpu = if files.cpu { None } else { Gpu::open(global.adapter.as_deref())? };
    if gpu.is_none() && !files.cpu {
        terminal::note("no GPU adapter found, computing on the CPU reference");
    }
    let norm = gpu.as_ref().map(|gpu| gpu.engine.create_norm(&descriptor)).transpose()?;
    if let Some(norm) = &norm {
        operands.check(norm)?;
    }
    let mut tensors = operands.read()?;
    let outcome = match (&gpu, &norm) {
        (Some(gpu), Some(norm)) => on_gpu(gpu, norm, &mut tensors, files.check, settings.mode)?,
        _ => on_cpu(&descriptor, &tensors, settings.mode)?,
    };
    let check = if files.check { Some(check(&descriptor, &tensors, &outcome)?) } else { None };
    drop(tensors);
    targets.write(&name, &shape, &settings.statistics_shape(&shape), &outcome)?;

    let report = Report::new(&descriptor, gpu.as_ref(), &outcome, check, files);
    if global.json {
        terminal::print_json(&report)?
    } else {
        terminal::print(&report.text())?
    }
    let failed = report.check.as_ref().is_some_and(|check| !check.passed);
    Ok(if failed { ExitCode::from(EXIT_CHECK) } else { ExitCode::SUCCESS })
}

/// The files to write.
struct Targets {
    output: Target,
    statistics: [Option<Target>; 2],
}

impl Targets {
    fn new(files: &Files, settings: &Settings<'_>, input: &TensorSpec) -> Result<Self, Failure> {
        let affine = settings.affine.into_iter().flat_map(|affine| [&affine.scale, &affine.bias]).flatten();
        let running = settings.running.into_iter().flat_map(|(mean, variance)| [mean, variance]);
        let inputs: Vec<&Path> = [input]
            .into_iter()
            .chain(affine)
            .chain(settings.style)
            .chain(running)
            .map(|spec| spec.path.as_path())
            .collect();
        let target = |path: &Path| Target::new(path, files.force, &inputs);
        let output = target(&files.output)?;
        let [mean, rstd] = settings.statistics_out.map(|path| path.map(target).transpose());
        let statistics = [mean?, rstd?];
        let mut seen = vec![&output];
        for target in statistics.iter().flatten() {
            if seen.iter().any(|earlier| earlier.same_as(target)) {
                return Err(Failure::file(target.path(), FileError::SameOutputs));
            }
            seen.push(target);
        }
        Ok(Self { output, statistics })
    }

    fn write(&self, name: &str, shape: &[u64], statistics_shape: &[u64], outcome: &Outcome) -> Result<(), Failure> {
        if let Some((mean, rstd)) = &outcome.statistics {
            for (target, name, data) in [(&self.statistics[0], "mean", mean), (&self.statistics[1], "rstd", rstd)] {
                if let Some(target) = target {
                    target.write_tensor(name, statistics_shape, data)?;
                }
            }
        }
        self.output.write_tensor(name, shape, &outcome.output)
    }
}

/// The files to read, their headers found good.
struct Operands {
    input: TensorFile,
    scale: Option<TensorFile>,
    bias: Option<TensorFile>,
    style: Option<TensorFile>,
    running: Option<(TensorFile, TensorFile)>,
}

impl Operands {
    fn open(input: TensorFile, settings: &Settings<'_>) -> Result<Self, Failure> {
        let open = |spec: &TensorSpec| TensorFile::open(spec, "FILE:NAME");
        let optional = |spec: Option<&TensorSpec>| spec.map(open).transpose();
        let running = match settings.running {
            Some((mean, variance)) => Some((open(mean)?, open(variance)?)),
            None => None,
        };
        Ok(Self {
            input,
            scale: optional(settings.affine.and_then(|affine| affine.scale.as_ref()))?,
            bias: optional(settings.affine.and_then(|affine| affine.bias.as_ref()))?,
            style: optional(settings.style)?,
            running,
        })
    }

    /// Compares the lengths with what the norm needs, before any element is read.
    fn check(&self, norm: &Norm) -> Result<(), Failure> {
        let (mean, variance) = self.running.as_ref().map(|(mean, variance)| (mean, variance)).unzip();
        let needed = [
            ("scale", self.scale.as_ref(), norm.affine_len()),
            ("bias", self.bias.as_ref(), norm.affine_len()),
            ("running mean", mean, norm.given_segment_count()),
            ("running variance", variance, norm.given_segment_count()),
        ];
        for (operand, file, expected) in needed {
            if let Some(actual) = file.map(TensorFile::len).filter(|&len| len != expected) {
                return Err(BindError::Length { operand, expected, actual }.into());
            }
        }
        Ok(())
    }

    fn read(self) -> Result<Tensors, Failure> {
        let optional = |file: Option<TensorFile>| file.map(TensorFile::read).transpose();
        let given = match self.running {
            Some((mean, variance)) => Some((mean.read()?, variance.read()?)),
            None => None,
        };
        Ok(Tensors {
            input: self.input.read()?,
            scale: optional(self.scale)?,
            bias: optional(self.bias)?,
            style: optional(self.style)?,
            given,
        })
    }
}

fn check(descriptor: &NormDescriptor<'_>, tensors: &Tensors, outcome: &Outcome) -> Result<Check, Failure> {
    let reference = tensors.reference(descriptor)?;
    let comparison = Comparison::new(&outcome.output, &reference.output);
    Ok(Check {
        passed: comparison.holds(TOLERANCE),
        tolerance: TOLERANCE,
        at: unravel(comparison.index, descriptor.shape),
        comparison,
    })
}

#[derive(Serialize)]
struct Check {
    passed: bool,
    tolerance: f64,
    /// Index of the largest error along each axis.
    at: Vec<u64>,
    #[serde(flatten)]
    comparison: Comparison,
}

#[derive(Serialize)]
struct Report {
    norm: &'static str,
    shape: Vec<u64>,
    /// `null`: the CPU reference.
    adapter: Option<String>,
    kernels: Vec<String>,
    workspace_bytes: u64,
    /// Seconds of each step.
    seconds: Vec<(&'static str, f64)>,
    check: Option<Check>,
    output: String,
}

impl Report {
    fn new(
        descriptor: &NormDescriptor<'_>,
        gpu: Option<&Gpu>,
        outcome: &Outcome,
        check: Option<Check>,
        files: &Files,
    ) -> Self {
        Self {
            norm: descriptor.kind.name(),
            shape: descriptor.shape.to_vec(),
            adapter: gpu.map(Gpu::describe),
            kernels: outcome.kernels.clone(),
            workspace_bytes: outcome.workspace,
            seconds: outcome.times.iter().map(|(name, time)| (*name, time.as_secs_f64())).collect(),
            check,
            output: files.output.display().to_string(),
        }
    }

    fn text(&self) -> String {
        let adapter = self.adapter.as_deref().unwrap_or("none, CPU reference in f64");
        let times: Vec<String> = self.seconds.iter().map(|(name, s)| format!("{name} {:.1} ms", s * 1e3)).collect();
        let mut lines = vec![format!("norm      {} over {:?}", self.norm, self.shape), format!("adapter   {adapter}")];
        if self.adapter.is_some() {
            lines.push(format!("kernels   {} (workspace {} bytes)", dispatches(&self.kernels), self.workspace_bytes));
        }
        lines.push(format!("time      {}", times.join(", ")));
        if let Some(check) = &self.check {
            lines.push(format!("check     {}", check.text()));
        }
        lines.push(format!("wrote     {}", self.output));
        lines.join("\n")
    }
}

/// Names in order; a kernel that runs several times in a row (a window of a large tensor each) stands once.
fn dispatches(kernels: &[String]) -> String {
    let runs = kernels.chunk_by(|a, b| a == b);
    let names = runs.map(|run| if run.len() > 1 { format!("{} x{}", run[0], run.len()) } else { run[0].clone() });
    if kernels.is_empty() { "none".to_owned() } else { names.collect::<Vec<_>>().join(", ") }
}

impl Check {
    fn text(&self) -> String {
        let Comparison { error, actual, expected, scale, relative, misplaced, .. } = &self.comparison;
        let mut text = format!(
            "largest error {error:.3e} at {:?} (got {actual:?}, reference {expected:?}), {relative:.3e} of the scale \
             {scale:.3e}, allowed {:.0e}",
            self.at, self.tolerance
        );
        if let Some(first) = self.comparison.first_misplaced {
            text += &format!("; NaN or infinity differ at {misplaced} elements, the first flat index {first}");
        }
        format!("{}: {text}", terminal::verdict(if self.passed { "ok" } else { "FAILED" }, self.passed))
    }
}
