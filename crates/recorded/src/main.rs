//! `recorded`: recorded cases of other frameworks, computed here and judged.
//!
//! A case goes one way: its request is computed, the outcome opens the sealed expectation, the outcome is judged
//! by it. Refusals come from the library's typed errors, never from the index.

mod compute;
mod derived;
mod fused;
mod golden;
mod gradients;
mod inputs;
mod judge;
mod kernels;
mod report;
mod setup;
mod spectral;
mod sync;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::Parser;
use wgpu_norm::{BindError, Element, PlanError};
use wgpu_norm_tools::device::{self, DeviceArgs, Gpu, LimitsOf};
use wgpu_norm_tools::failure::{EXIT_CHECK, Failure};
use wgpu_norm_tools::file_error::FileError;
use wgpu_norm_tools::shaders::{self, Target};
use wgpu_norm_tools::{elements, output, terminal, tier};

use golden::{Case, Family};
use report::{Report, Row};
use setup::Support;

const EXAMPLES: &str = "\
Examples:
  recorded tests/golden --output results
  recorded tests/golden --output results --family torch_hard --filter large_mean --force
  recorded GOLDEN --output results --family fused --filter adaln
  recorded GOLDEN --output results --limits downlevel
  recorded GOLDEN --output kernels --shaders spirv

A case passes where every output, gradient and running statistic has NaN and infinity where the f64 oracle or the \
recorded result has them, and elsewhere an error of at most max(2 x that result's own, 1e-6 of the scale; 1e-3 in f16, \
8e-3 in bf16); or where the recorded framework refuses it and the engine refuses it for the same reason. Exit code 1 \
if a case fails. Tensors within 1e-6 of the oracle, whatever the recorded result is, are counted besides; in 16 bits \
beyond half a step of the type.";

/// Kernels of one device before a fresh one takes its place: drivers keep the code of every kernel, on a processor some
/// 2 MB each.
const KERNELS: usize = 40;

/// Devices side by side: a software adapter compiles one kernel at a time on each.
const DEVICES: usize = 2;

/// Name of the file that lists the refused cases.
const RAISED: &str = "raised.json";

/// Runs recorded cases of other frameworks and judges the results.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    /// Recorded cases: a folder with one folder a family, or one such folder.
    dir: PathBuf,
    /// Folder for the results: FAMILY.safetensors, and raised.json, the list of refused cases.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Only this family.
    #[arg(long, value_name = "FAMILY")]
    family: Option<String>,
    /// Only cases whose name contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Leave out cases whose class contains one of these, `|` between them.
    #[arg(long, value_name = "TEXT|TEXT")]
    skip_class: Option<String>,
    /// Only one of so many cases of each family, spread over them.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    one_of: u32,
    /// Replace results of an earlier run.
    #[arg(long)]
    force: bool,
    /// Write the kernels of the cases to the output folder in this language, and run nothing; needs no device.
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    shaders: Option<Target>,
    /// Open the device with these limits. Cases that need more storage buffers are counted apart.
    #[arg(long, value_enum, default_value_t, conflicts_with = "profile")]
    limits: LimitsOf,
    /// Which device.
    #[command(flatten)]
    device: DeviceArgs,
    /// Print JSON on standard output.
    #[arg(long)]
    json: bool,
}

/// What came out of a case.
pub enum Outcome {
    /// Tensors by name.
    Computed(Results),
    /// The engine refused it.
    Refused(Refusal),
}

/// Computed tensors by name.
pub type Results = BTreeMap<String, Array>;

/// Why the engine refused.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// When it planned.
    #[error(transparent)]
    Plan(PlanError),
    /// When it bound.
    #[error(transparent)]
    Bind(BindError),
}

impl Refusal {
    /// Whether the case is refused, not the device.
    fn is_of_case(&self) -> bool {
        !matches!(self, Self::Bind(BindError::Limit { .. } | BindError::Pipeline { .. }))
    }

    /// Whether a stage has too few storage buffers.
    fn is_of_buffers(&self) -> bool {
        matches!(self, Self::Bind(error) if LimitsOf::is_of_buffers(error))
    }
}

/// A computed tensor.
pub struct Array {
    shape: Vec<u64>,
    /// The type in which floats are stored.
    element: Element,
    values: Values,
}

/// Its elements.
pub enum Values {
    /// Floats.
    Floats(Vec<f32>),
    /// Integers.
    Integers(Vec<i64>),
    /// Quantised numbers.
    Bytes(Vec<u8>, safetensors::Dtype),
}

impl Array {
    /// Elements in the wanted shape, or as a vector where their number does not fit it: then the judge sees it.
    fn new(shape: &[u64], values: Values) -> Self {
        let len = match &values {
            Values::Floats(values) => values.len() as u64,
            Values::Integers(values) => values.len() as u64,
            Values::Bytes(values, _) => values.len() as u64,
        };
        let fits = shape.iter().product::<u64>() == len;
        Self { shape: if fits { shape.to_vec() } else { vec![len] }, element: Element::F32, values }
    }

    fn vector(values: Vec<f32>) -> Self {
        Self::new(&[values.len() as u64], Values::Floats(values))
    }

    /// Rounds floats to a type, which they may have already.
    fn round(&mut self, element: Element) {
        self.element = element;
        if let Values::Floats(values) = &mut self.values {
            *values = elements::rounded(values, element);
        }
    }

    /// Type and bytes of the elements: little endian, as safetensors has them.
    fn encode(&self) -> (safetensors::Dtype, Cow<'_, [u8]>) {
        match &self.values {
            Values::Floats(values) => (elements::dtype(self.element), elements::encode(values, self.element)),
            Values::Integers(values) => (safetensors::Dtype::I64, Cow::Borrowed(bytemuck::cast_slice(values))),
            Values::Bytes(values, dtype) => (*dtype, Cow::Borrowed(values)),
        }
    }
}

fn main() -> ExitCode {
    if device::is_selection_idle() {
        // SAFETY: first of all, no other thread runs yet that could read the environment meanwhile.
        unsafe { std::env::set_var(device::NO_SELECTION, "1") };
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return terminal::usage(&error),
    };
    output::remove_on_interrupt();
    run(&args).unwrap_or_else(|failure| failure.report())
}

fn run(args: &Args) -> Result<ExitCode, Failure> {
    let families = select(args)?;
    if let Some(target) = args.shaders {
        return write_shaders(args, target, &families);
    }
    check_output(args, &families)?;
    let gpu = open(args)?;
    std::fs::create_dir_all(&args.output).map_err(|error| Failure::file(&args.output, error))?;
    let report = replay(gpu, args, &families)?;
    if args.json {
        terminal::print_json(&report)?
    } else {
        terminal::print(&report.to_string())?
    }
    Ok(if report.has_failures() { ExitCode::from(EXIT_CHECK) } else { ExitCode::SUCCESS })
}

fn open(args: &Args) -> Result<Gpu, Failure> {
    let advice = "recorded cases run on one; scripts/test installs a software driver";
    let gpu = match args.limits {
        LimitsOf::Adapter => Gpu::require(&args.device, advice)?,
        limits => {
            let adapter = device::adapter(args.device.adapter.as_deref())?.ok_or(Failure::NoAdapter(advice))?;
            Gpu::limited(&adapter, limits)?
        }
    };
    Ok(gpu.poisoning())
}

/// The kernels of the cases, in files.
fn write_shaders(args: &Args, target: Target, families: &[Family]) -> Result<ExitCode, Failure> {
    let written = shaders::write(kernels::of_families(families)?.kernels, target, &args.output)?;
    if args.json {
        terminal::print_json(&written)?;
    } else {
        terminal::print(&format!("{} kernels written to {}", written.len(), args.output.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn select(args: &Args) -> Result<Vec<Family>, Failure> {
    let mut families = Family::open_all(&args.dir)?;
    if let Some(wanted) = &args.family {
        let names: Vec<String> = families.iter().map(|family| family.name.clone()).collect();
        families.retain(|family| family.name == *wanted);
        if families.is_empty() {
            return Err(Failure::Usage(format!("no family '{wanted}'; there are {}", names.join(", "))));
        }
    }
    let skipped: Vec<&str> = args.skip_class.iter().flat_map(|text| text.split('|')).collect();
    for family in &mut families {
        family.cases.retain(|Case { request, .. }| {
            args.filter.as_ref().is_none_or(|text| request.name.contains(text))
                && !skipped.iter().any(|text| request.class.contains(text))
        });
    }
    for family in &mut families {
        family.cases = tier::one_of(args.one_of, std::mem::take(&mut family.cases)).collect();
    }
    families.retain(|family| !family.cases.is_empty());
    if families.is_empty() {
        return Err(Failure::Usage(format!("{}: no case matches", args.dir.display())));
    }
    Ok(families)
}

/// Before any work: nothing is overwritten unasked, and no recorded case ever.
fn check_output(args: &Args, families: &[Family]) -> Result<(), Failure> {
    let canonical = |path: &Path| std::fs::canonicalize(path).ok();
    if let Some(output) = canonical(&args.output)
        && Some(&output) == canonical(&args.dir).as_ref()
    {
        return Err(Failure::file(&args.output, FileError::OutputIsInput(args.dir.clone())));
    }
    let names = families.iter().map(|family| format!("{}.safetensors", family.name));
    for name in names.chain([RAISED.to_owned()]) {
        let path = args.output.join(name);
        if path.exists() && !args.force {
            return Err(Failure::file(&path, FileError::Exists));
        }
    }
    Ok(())
}

/// The families side by side, each on one of a few devices: the largest first.
fn replay(gpu: Gpu, args: &Args, families: &[Family]) -> Result<Report, Failure> {
    let total: usize = families.iter().map(|family| family.cases.len()).sum();
    let bar = Mutex::new(terminal::progress("recorded", total as u64, false));
    let mut report = Report::new(gpu.describe());
    let mut order: Vec<usize> = (0..families.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(families[index].cases.len()));
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = |mut gpu: Option<Gpu>| {
        while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = run_family(&mut gpu, args, &families[index], &bar);
            if result.is_err() {
                next.store(families.len(), Ordering::Relaxed);
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).insert(index, result);
        }
    };
    std::thread::scope(|scope| {
        let gpus = std::iter::once(Some(gpu)).chain(std::iter::repeat_with(|| None));
        gpus.take(DEVICES.min(families.len().max(1))).for_each(|gpu| drop(scope.spawn(|| work(gpu))));
    });
    bar.into_inner().unwrap_or_else(PoisonError::into_inner).finish_and_clear();
    let mut raised = Vec::new();
    for result in done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values() {
        let (row, refused) = result?;
        report.add(row);
        raised.extend(refused);
    }
    let path = args.output.join(RAISED);
    let text = serde_json::to_vec_pretty(&raised).map_err(|error| Failure::file(&path, std::io::Error::from(error)))?;
    output::write_bytes(&path, &text, args.force)?;
    Ok(report)
}

/// What came out of a family, and the names of the cases that were refused.
fn run_family(
    gpu: &mut Option<Gpu>,
    args: &Args,
    family: &Family,
    bar: &Mutex<terminal::Progress>,
) -> Result<(Row, Vec<String>), Failure> {
    let (mut row, mut results, mut raised) = (Row::new(&family.name), BTreeMap::new(), Vec::new());
    for Case { request, expected } in &family.cases {
        bar.lock().unwrap_or_else(PoisonError::into_inner).inc(1);
        let support = setup::support(request);
        if support != Support::Runs {
            row.leave_out(support);
            continue;
        }
        // a full one goes with its kernels before the next one is opened
        drop(gpu.take_if(|gpu| gpu.engine.compiled_kernels() >= KERNELS));
        let fresh = if gpu.is_none() { Some(open(args)?) } else { None };
        let gpu = gpu.get_or_insert_with(|| fresh.unwrap_or_else(|| unreachable!("opened where there is none")));
        let outcome = compute::compute(gpu, request, &family.store)?;
        if args.limits.are_few() && matches!(&outcome, Outcome::Refused(refusal) if refusal.is_of_buffers()) {
            row.refuse_for_limits();
            continue;
        }
        row.add(request, judge::judge(expected.open(&outcome), &outcome, &family.store)?);
        match outcome {
            Outcome::Refused(refusal) if refusal.is_of_case() => raised.push(request.name.clone()),
            Outcome::Refused(_) => {}
            Outcome::Computed(tensors) => {
                let key = |name: String| format!("{}/{name}", request.name);
                results.extend(tensors.into_iter().map(|(name, array)| (key(name), array)));
            }
        }
    }
    if !results.is_empty() {
        write_results(&args.output.join(format!("{}.safetensors", family.name)), &results, args.force)?;
    }
    Ok((row, raised))
}

fn write_results(path: &Path, results: &BTreeMap<String, Array>, force: bool) -> Result<(), Failure> {
    let invalid = |error| Failure::file(path, std::io::Error::other(error));
    let encoded: Vec<_> = results.values().map(Array::encode).collect();
    let mut views = Vec::with_capacity(results.len());
    for ((name, array), (dtype, bytes)) in results.iter().zip(&encoded) {
        let shape = array.shape.iter().map(|&size| size as usize).collect();
        views.push((name, safetensors::tensor::TensorView::new(*dtype, shape, bytes).map_err(invalid)?));
    }
    output::write_bytes(path, &safetensors::serialize(views, None).map_err(invalid)?, force)
}
