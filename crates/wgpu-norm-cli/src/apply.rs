//! `wgpu-norm apply`: one norm over a file.
//!
//! Outputs are checked first, then every header, then the plan; only then is a device opened and elements read. So a
//! bad request costs nothing and leaves nothing.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use wgpu_norm::{Affine, Element, QuantFormat, RunningStatistics, State, StateSpec, Types};
use wgpu_norm_tools::check::{Comparison, Misplaced, unravel};
use wgpu_norm_tools::compute::{Outcome, Running, Tensors, on_cpu, on_gpu};
use wgpu_norm_tools::device::Gpu;
use wgpu_norm_tools::exact::{Descriptor, Exact};
use wgpu_norm_tools::failure::{EXIT_CHECK, Failure};
use wgpu_norm_tools::file_error::FileError;
use wgpu_norm_tools::files::{Prefix, TensorFile, TensorSpec};
use wgpu_norm_tools::fused::{Fused, Numbers};
use wgpu_norm_tools::output::{self, Part, Target};
use wgpu_norm_tools::quantized::{self, Quantize};
use wgpu_norm_tools::{shapes, terminal};

use crate::Global;

pub use args::ApplyArgs;
use args::{Files, Kind, Operation};
use fusion::FusionArgs;
use quantize::QuantizeArgs;
use settings::{Settings, Update};
use walk::Walk;

mod args;
mod checks;
mod fusion;
mod quantize;
mod settings;
mod spectral;
mod walk;
mod ways_out;

/// What `--check` allows, in units of the largest value of a segment.
const TOLERANCE: f64 = 1e-5;

/// Applies what is asked for.
pub fn run(args: &ApplyArgs, global: &Global) -> Result<ExitCode, Failure> {
    match &args.operation {
        Operation::Norm(kind) => norm(kind, global),
        Operation::Spectral(args) => spectral::run(args, global),
    }
}

fn norm(kind: &Kind, global: &Global) -> Result<ExitCode, Failure> {
    let files = kind.files();
    let prefix = Prefix::new(files.prefix.as_deref());
    let input_spec = files.input()?;
    // Before the headers: an output that exists is reported even where the input is broken too.
    Target::new(&files.output, files.output_format, files.force, &[&input_spec.path])?;
    let input = TensorFile::open(&input_spec, &prefix, "--tensor NAME")?;
    let shape = input.shape().to_vec();
    let settings = kind.settings(&shape)?;
    let targets = Targets::new(files, &settings, &input_spec)?;
    aside(targets.all(), global)?;
    let operands = Operands::open(input, &settings, &prefix)?;
    let types = operands.types(files.dtype);
    let quantization = settings.quantize().and_then(QuantizeArgs::quantization);
    let output_type = OutputType::new(types.output, quantization.map(|how| how.format));
    output_type.check(&targets.output)?;
    let name = files.output_tensor.clone().or(operands.input.name.clone()).unwrap_or_else(|| "output".to_owned());
    let style_shape = operands.style.as_ref().map(|style| style.shape().to_vec()).unwrap_or_default();
    let axes = settings.fusion.map(|fusion| fusion.axes(operands.fused.as_ref(), &shape)).transpose()?;
    let refused = |failure| settings.way_out(failure, &shape);
    let walked = settings.walked((&shape, &style_shape), types, &axes.unwrap_or_default()).map_err(refused)?;
    let walk = &walked.walk;
    let descriptor = settings.descriptor(&walked, &style_shape, types);
    let parameters = operands.check(&settings, &descriptor, walk)?;
    let is_given = operands.running.is_some() && settings.update.is_none();
    shapes::check_statistics(&descriptor, is_given).map_err(refused)?;

    let gpu = if files.cpu { None } else { Gpu::open(&global.device)? };
    if gpu.is_none() && !files.cpu {
        terminal::note("no GPU adapter found, computing on the CPU reference");
    }
    let norm = gpu.as_ref().map(|gpu| descriptor.create(&gpu.engine)).transpose()?;
    if let (Some(gpu), Some(norm)) = (&gpu, &norm) {
        operands.check_sizes(gpu, types)?;
        gpu.check_size("workspace", norm.workspace_size())?;
    }
    let sum = targets.sum.as_ref().map(|&(_, element)| element);
    let mut tensors = Tensors { sum, ..operands.read(&settings, walk, &parameters)? };
    let outcome = match (&gpu, &norm) {
        (Some(gpu), Some(norm)) => on_gpu(gpu, norm, &mut tensors, files.check, settings.mode)?,
        _ => on_cpu(&descriptor, &tensors, settings.mode)?,
    };
    let tolerance = settings.fusion.map_or(0.0, |fusion| fusion.step(types.output)).max(TOLERANCE);
    let check = if files.check { Some(check(&descriptor, &tensors, &outcome, tolerance)?) } else { None };
    let check = check.map(|check| Check { at: walk.index_of_input(&check.at), ..check });
    drop(tensors);
    let scales_shape = quantization.map(|how| Quantize::scales_shape(&how, &shape)).unwrap_or_default();
    let statistics_shape = settings.statistics_shape(&shape);
    let shapes = [&shape, &statistics_shape, &scales_shape].map(Vec::as_slice);
    let mut outcome = walk.outcome(outcome, shapes);
    if let (Some(how), Some(quantized)) = (quantization, &mut outcome.quantized) {
        quantized.complete(&how, &scales_shape);
    }
    let parts = targets.parts((&name, output_type), shapes, &outcome)?;

    let state_output = settings.update.map(|update| update.out);
    let report = Report::new(descriptor.name(), &shape, types, gpu.as_ref(), &outcome, files);
    Report { output_type: output_type.name(), ..report }.finish(check, state_output, parts, global)
}

/// Refuses JSON on standard output where a tensor goes there.
fn aside<'a>(targets: impl IntoIterator<Item = &'a Target>, global: &Global) -> Result<(), Failure> {
    if global.json.on_stdout() && targets.into_iter().any(Target::is_stdout) {
        let words = "standard output has a tensor and takes no --json beside it: give a file in place of -";
        return Err(Failure::Usage(words.to_owned()));
    }
    Ok(())
}

/// What OUTPUT has.
#[derive(Clone, Copy)]
enum OutputType {
    Elements(Element),
    Bytes(QuantFormat),
}

impl OutputType {
    fn new(element: Element, format: Option<QuantFormat>) -> Self {
        format.map_or(Self::Elements(element), Self::Bytes)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Elements(element) => element.name(),
            Self::Bytes(format) => quantized::name(format),
        }
    }

    /// Refuses what the file cannot hold. All hold bytes.
    fn check(self, target: &Target) -> Result<(), Failure> {
        match self {
            Self::Elements(element) => target.check_element(element),
            Self::Bytes(_) => Ok(()),
        }
    }

    fn part<'a>(self, target: &'a Target, name: &str, shape: &[u64], outcome: &Outcome) -> Result<Part<'a>, Failure> {
        match (self, &outcome.quantized) {
            (Self::Bytes(format), Some(quantized)) => target.part_of_codes(name, shape, format, &quantized.codes),
            (Self::Bytes(_), None) => Err(Failure::Usage("no bytes were computed".to_owned())),
            (Self::Elements(element), _) => target.part_of_tensor(name, shape, element, &outcome.output),
        }
    }
}

/// The files to write.
struct Targets {
    output: Target,
    statistics: [Option<Target>; 2],
    running: Option<Target>,
    /// The sum before the norm, and its type.
    sum: Option<(Target, Element)>,
    /// The scales of bytes.
    scales: Option<Target>,
}

impl Targets {
    fn new(files: &Files, settings: &Settings<'_>, input: &TensorSpec) -> Result<Self, Failure> {
        let affine = settings.scale.into_iter().chain(settings.bias);
        let running = settings.running.into_iter().flat_map(|(mean, variance)| [mean, variance]);
        let inputs: Vec<&Path> = [input]
            .into_iter()
            .chain(affine)
            .chain(settings.style)
            .chain(running)
            .chain(settings.fused().present())
            .chain(settings.quantize().and_then(QuantizeArgs::static_scale))
            .chain(settings.update.and_then(|update| update.counter))
            .map(|spec| spec.path.as_path())
            .collect();
        let target = |path: &Path| Target::new(path, None, files.force, &inputs);
        let output = Target::new(&files.output, files.output_format, files.force, &inputs)?;
        let [mean, rstd] = settings.statistics_out.map(|path| path.map(target).transpose());
        let statistics = [mean?, rstd?];
        let state = |path: &Path| Target::for_state(path, files.force, &inputs);
        let running = settings.update.map(|update| state(update.out)).transpose()?;
        let sum = settings.fusion.map_or(Ok(None), FusionArgs::sum_out)?;
        let sum = sum.map(|(path, element)| Ok::<_, Failure>((target(path)?, element))).transpose()?;
        if let Some((target, element)) = &sum {
            target.check_element(*element)?;
        }
        let scales = settings.quantize().map_or(Ok(None), QuantizeArgs::scales_out)?.map(target).transpose()?;
        let targets = Self { output, statistics, running, sum, scales };
        let mut seen: Vec<&Target> = Vec::new();
        for target in targets.all() {
            if seen.iter().any(|earlier| earlier.same_as(target)) {
                return Err(Failure::file(target.path(), FileError::SameOutputs));
            }
            seen.push(target);
        }
        Ok(targets)
    }

    fn all(&self) -> impl Iterator<Item = &Target> {
        let sum = self.sum.iter().map(|(target, _)| target);
        [&self.output]
            .into_iter()
            .chain(self.statistics.iter().chain([&self.running]).flatten())
            .chain(sum)
            .chain(&self.scales)
    }

    /// The output, by its name, shape and type, and what else there is: whole before the first has its name.
    fn parts(
        &self,
        (name, output_type): (&str, OutputType),
        [shape, statistics_shape, scales_shape]: [&[u64]; 3],
        outcome: &Outcome,
    ) -> Result<Vec<Part<'_>>, Failure> {
        let mut parts = vec![output_type.part(&self.output, name, shape, outcome)?];
        if let Some((mean, rstd)) = &outcome.statistics {
            for (target, name, data) in [(&self.statistics[0], "mean", mean), (&self.statistics[1], "rstd", rstd)] {
                if let Some(target) = target {
                    parts.push(target.part_of_tensor(name, statistics_shape, Element::F32, data)?);
                }
            }
        }
        if let (Some((target, element)), Some(sum)) = (&self.sum, &outcome.sum) {
            parts.push(target.part_of_tensor("sum", shape, *element, sum)?);
        }
        if let (Some(target), Some(quantized)) = (&self.scales, &outcome.quantized) {
            parts.push(target.part_of_tensor("scales", scales_shape, Element::F32, &quantized.scales)?);
        }
        if let (Some(target), Some(running)) = (&self.running, &outcome.running) {
            parts.push(target.part_of_bytes(&checkpoint(running)?)?);
        }
        Ok(parts)
    }
}

/// Running statistics as PyTorch's modules keep them.
fn checkpoint(running: &Running) -> Result<Vec<u8>, Failure> {
    let spec = StateSpec::batch(running.mean.len() as u64, Affine::None, RunningStatistics::Tracked);
    let mut state = State::default();
    state.insert("running_mean", running.mean.clone());
    state.insert("running_var", running.variance.clone());
    state.insert("num_batches_tracked", running.batches.unwrap_or(0));
    Ok(state.save(&spec)?)
}

/// The files to read, their headers found good.
struct Operands {
    input: TensorFile,
    scale: Option<TensorFile>,
    bias: Option<TensorFile>,
    style: Option<TensorFile>,
    running: Option<(TensorFile, TensorFile)>,
    fused: Fused<TensorFile>,
    static_scale: Option<TensorFile>,
}

impl Operands {
    fn open(input: TensorFile, settings: &Settings<'_>, prefix: &Prefix<'_>) -> Result<Self, Failure> {
        let open = |spec: &TensorSpec| TensorFile::open(spec, prefix, "FILE:NAME");
        let optional = |spec: Option<&TensorSpec>| spec.map(open).transpose();
        let running = match settings.running {
            Some((mean, variance)) => Some((open(mean)?, open(variance)?)),
            None => None,
        };
        Ok(Self {
            input,
            scale: optional(settings.scale)?,
            bias: optional(settings.bias)?,
            style: optional(settings.style)?,
            running,
            fused: settings.fused().try_map(|_, spec| open(spec))?,
            static_scale: optional(settings.quantize().and_then(QuantizeArgs::static_scale))?,
        })
    }

    /// Element types: each as in its file, of the output as asked for. A style of another type than the content makes
    /// both f32, which is exact.
    fn types(&self, output: Option<Element>) -> Types {
        let of = |file: &Option<TensorFile>| file.as_ref().map_or(Element::F32, TensorFile::element);
        let content = self.input.element();
        let input =
            if self.style.as_ref().is_none_or(|style| style.element() == content) { content } else { Element::F32 };
        Types::default().input(input).output(output.unwrap_or(content)).scale(of(&self.scale)).bias(of(&self.bias))
    }

    /// Refuses tensors that are larger than a buffer of the device, before any element is read.
    fn check_sizes(&self, gpu: &Gpu, types: Types) -> Result<(), Failure> {
        let len = self.input.elements();
        gpu.check_size("input", len.saturating_mul(types.input.bytes()))?;
        gpu.check_size("output", len.saturating_mul(types.output.bytes()))?;
        if let Some(style) = &self.style {
            gpu.check_size("style", style.elements().saturating_mul(types.input.bytes()))?;
        }
        let of_file =
            |what, file: &TensorFile| gpu.check_size(what, file.elements().saturating_mul(file.element().bytes()));
        let affine = [("scale", &self.scale), ("bias", &self.bias)];
        affine
            .iter()
            .filter_map(|(what, file)| Some((what, file.as_ref()?)))
            .try_for_each(|(what, file)| of_file(what, file))?;
        self.fused.as_ref().try_map(of_file).map(drop)
    }

    /// Reads all, in the order in which it is walked; scale and bias have the shape `parameters`.
    fn read(self, settings: &Settings<'_>, walk: &Walk, parameters: &[u64]) -> Result<Tensors, Failure> {
        let arranged = |file: TensorFile, shape: &[u64]| file.read().map(|values| walk.arrange(values, shape));
        let parameter = |file: Option<TensorFile>| file.map(|file| arranged(file, parameters)).transpose();
        let optional = |file: Option<TensorFile>| file.map(TensorFile::read).transpose();
        let statistics = match self.running {
            Some((mean, variance)) => Some((mean.read()?, variance.read()?)),
            None => None,
        };
        let (statistics, running) = match (statistics, settings.update) {
            (Some((mean, variance)), Some(Update { update, batches, .. })) => {
                (None, Some(Running { mean, variance, batches: Some(batches), update }))
            }
            (statistics, _) => (statistics, None),
        };
        let width = self.input.shape().last().copied().unwrap_or(1);
        let given = self.static_scale.map(checks::static_scale).transpose()?;
        let quantization = settings.quantize().and_then(QuantizeArgs::quantization);
        Ok(Tensors {
            quantize: quantization.map(|how| Quantize { how, width, given }),
            scale: parameter(self.scale)?,
            bias: parameter(self.bias)?,
            style: optional(self.style)?,
            given: statistics,
            running,
            fused: self.fused.try_map(|_, file| {
                let (element, shape) = (file.element(), file.shape().to_vec());
                arranged(file, &shape).map(|values| Numbers { element, values })
            })?,
            input: {
                let shape = self.input.shape().to_vec();
                arranged(self.input, &shape)?
            },
            sum: None,
        })
    }
}

fn check(descriptor: &Descriptor<'_>, tensors: &Tensors, outcome: &Outcome, tolerance: f64) -> Result<Check, Failure> {
    let Exact { norm: reference, sum } = tensors.exact(descriptor)?;
    let (output, shape) = (descriptor.types().output, descriptor.shape());
    let mut check = match (&tensors.quantize, &outcome.quantized) {
        (Some(quantize), Some(quantized)) => {
            let judged = quantize.judge(quantized, &reference.output, output);
            let check = Check::of(judged.numbers, shape, tolerance);
            let (passed, scales) = (check.passed && judged.scales.holds(tolerance), judged.scales.relative);
            Check { passed, scales: quantize.given.is_none().then_some(scales), ..check }
        }
        _ => {
            let units = tensors.units(descriptor, &reference.output)?;
            let comparison = Comparison::in_own_units(&outcome.output, &reference.output, output, &units);
            Check::of(comparison, shape, tolerance)
        }
    };
    if let (Some(actual), Some(element)) = (&outcome.sum, tensors.sum) {
        let units = descriptor.segment_units(tensors.given.is_some(), &sum)?;
        let comparison = Comparison::in_own_units(actual, &sum, element, &units);
        check.passed &= comparison.holds(tolerance);
        check.sum = Some(comparison.relative);
    }
    if let (Some(before), Some(after)) = (&tensors.running, &outcome.running) {
        let (mean, variance) = before.reference(&reference, tensors.segment_len(reference.mean.len()));
        // each channel by itself: a mean by what its values are
        let spread = mean.iter().zip(&variance).map(|(mean, variance)| mean.abs() + variance.abs().sqrt());
        let compare = |actual: &[f32], expected: &[f64], units: &[f64]| {
            Comparison::in_own_units(actual, expected, Element::F32, units)
        };
        let comparisons =
            [compare(&after.mean, &mean, &spread.collect::<Vec<_>>()), compare(&after.variance, &variance, &variance)];
        check.passed &= comparisons.iter().all(|comparison| comparison.holds(TOLERANCE));
        check.running = comparisons.iter().map(|comparison| comparison.relative).reduce(f64::max);
    }
    Ok(check)
}

impl Check {
    fn new(shape: &[u64], actual: &[f32], expected: &[f64], element: Element) -> Self {
        Self::of(Comparison::new(actual, expected, element), shape, TOLERANCE)
    }

    fn of(comparison: Comparison, shape: &[u64], tolerance: f64) -> Self {
        let (passed, at) = (comparison.holds(tolerance), unravel(comparison.index, shape));
        Self { passed, tolerance, at, shape: shape.to_vec(), running: None, sum: None, scales: None, comparison }
    }
}

#[derive(Serialize)]
struct Check {
    passed: bool,
    tolerance: f64,
    /// Index of the largest error along each axis.
    at: Vec<u64>,
    #[serde(skip)]
    shape: Vec<u64>,
    /// Largest error of the running statistics, in units of the largest of them.
    running: Option<f64>,
    /// Largest error of the sum before the norm, in units of the largest of it.
    sum: Option<f64>,
    /// Largest error of the scales of bytes, in units of the largest of them.
    scales: Option<f64>,
    #[serde(flatten)]
    comparison: Comparison,
}

#[derive(Serialize)]
struct Report {
    norm: &'static str,
    shape: Vec<u64>,
    /// Element types of input and output.
    input_type: &'static str,
    output_type: &'static str,
    /// `null`: the CPU reference.
    adapter: Option<String>,
    kernels: Vec<String>,
    workspace_bytes: u64,
    /// Seconds of each step.
    seconds: Vec<(&'static str, f64)>,
    /// What a spectral norm divides by.
    sigma: Option<f32>,
    check: Option<Check>,
    output: String,
    /// Running statistics, or weight, u and v.
    state_output: Option<String>,
}

impl Report {
    fn new(
        norm: &'static str,
        shape: &[u64],
        types: Types,
        gpu: Option<&Gpu>,
        outcome: &Outcome,
        files: &Files,
    ) -> Self {
        Self {
            norm,
            shape: shape.to_vec(),
            input_type: types.input.name(),
            output_type: types.output.name(),
            adapter: gpu.map(Gpu::describe),
            kernels: outcome.kernels.clone(),
            workspace_bytes: outcome.workspace,
            seconds: outcome.times.iter().map(|(name, time)| (*name, time.as_secs_f64())).collect(),
            sigma: None,
            check: None,
            output: files.output.display().to_string(),
            state_output: None,
        }
    }

    /// Prints it all, then gives the files their names: where standard output takes no report, there are none. A check
    /// that failed is the exit code.
    fn finish(
        mut self,
        check: Option<Check>,
        state: Option<&Path>,
        parts: Vec<Part<'_>>,
        global: &Global,
    ) -> Result<ExitCode, Failure> {
        let failed = check.as_ref().is_some_and(|check| !check.passed);
        (self.check, self.state_output) = (check, state.map(|path| path.display().to_string()));
        if parts.iter().any(Part::is_stdout) {
            terminal::print_aside(&self.text());
        } else if global.json.on_stdout() {
            terminal::print_json(&self)?;
        } else {
            terminal::print(&self.text())?;
        }
        output::finish(parts)?;
        Ok(if failed { ExitCode::from(EXIT_CHECK) } else { ExitCode::SUCCESS })
    }

    fn text(&self) -> String {
        let adapter = self.adapter.as_deref().unwrap_or("none, CPU reference in f64");
        let times: Vec<String> = self.seconds.iter().map(|(name, s)| format!("{name} {:.1} ms", s * 1e3)).collect();
        let Self { norm, shape, input_type, output_type, .. } = self;
        let norm = format!("norm      {norm} over {shape:?}, {input_type} to {output_type}");
        let mut lines = vec![norm, format!("adapter   {adapter}")];
        if self.adapter.is_some() {
            lines.push(format!("kernels   {} (workspace {} bytes)", dispatches(&self.kernels), self.workspace_bytes));
        }
        lines.push(format!("time      {}", times.join(", ")));
        if let Some(sigma) = self.sigma {
            lines.push(format!("sigma     {sigma}"));
        }
        if let Some(check) = &self.check {
            lines.push(format!("check     {}", check.text()));
        }
        lines.push(format!("wrote     {}", self.output));
        lines.extend(self.state_output.iter().map(|state| format!("wrote     {state}")));
        lines.join("\n")
    }
}

/// Names in the order in which they first run, each with how often it runs: once for each window of a large tensor, and
/// in each iteration.
fn dispatches(kernels: &[String]) -> String {
    let first = |&(at, name): &(usize, &String)| !kernels[..at].contains(name);
    let names = kernels.iter().enumerate().filter(first).map(|(_, name)| {
        let count = kernels.iter().filter(|other| *other == name).count();
        if count > 1 { format!("{name} x{count}") } else { name.clone() }
    });
    if kernels.is_empty() { "none".to_owned() } else { names.collect::<Vec<_>>().join(", ") }
}

impl Check {
    fn text(&self) -> String {
        let Comparison { error, actual, expected, scale, relative, misplaced, .. } = &self.comparison;
        let whose = if self.at.is_empty() { "the" } else { "its segment's" };
        let mut text = format!(
            "largest error {error:.3e} at {:?} (got {actual:?}, reference {expected:?}), {relative:.3e} of {whose} \
             scale {scale:.3e}, allowed {:.0e}",
            self.at, self.tolerance
        );
        if let Some(first) = self.comparison.first_misplaced {
            let Misplaced { index, actual, expected } = first;
            text += &format!(
                "; NaN or infinity differ at {misplaced} elements, the first at {:?} (got {actual:?}, reference \
                 {expected:?})",
                unravel(index, &self.shape)
            );
        }
        if let Some(sum) = self.sum {
            text += &format!("; sum {sum:.3e} of its scale");
        }
        if let Some(scales) = self.scales {
            text += &format!("; scales {scales:.3e} of theirs");
        }
        if let Some(running) = self.running {
            text += &format!("; running statistics {running:.3e} of theirs");
        }
        format!("{}: {text}", terminal::verdict(if self.passed { "ok" } else { "FAILED" }, self.passed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_named_once() {
        let of = |names: &[&str]| dispatches(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&[]), "none");
        assert_eq!(of(&["reduce", "apply"]), "reduce, apply");
        assert_eq!(of(&["reduce", "apply", "reduce", "apply", "export"]), "reduce x2, apply x2, export");
    }

    #[test]
    fn updated_statistics_are_a_checkpoint() {
        let update = wgpu_norm::RunningUpdate::default();
        let running = Running { mean: vec![0.5, 2.0], variance: vec![1.0, 3.0], batches: Some(7), update };
        let spec = StateSpec::batch(2, Affine::None, RunningStatistics::Tracked);
        let state = State::load(&checkpoint(&running).unwrap(), &spec).unwrap();
        assert_eq!(state.f32("running_mean").unwrap(), [0.5, 2.0]);
        assert_eq!(state.f32("running_var").unwrap(), [1.0, 3.0]);
        assert_eq!(state.counter("num_batches_tracked").unwrap(), 7);
    }
}
