//! `wgpu-norm verify`: every case under every schedule that accepts it, forward and backward, against the f64 reference.
//!
//! Each run writes between guard bands, at aligned and at odd offsets, and is done twice: both results must be equal
//! to the last bit.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::Serialize;
use wgpu_norm::{BoundNorm, BufferView, Destination, ForwardArgs, ImportArgs, Norm, StatisticsSource, TensorView};

use crate::cases::{CASES, Case, Fill};
use crate::check::{Comparison, unravel};
use crate::compute::Tensors;
use crate::device::{Gpu, Operand};
use crate::failure::{EXIT_CHECK, Failure};
use crate::{Global, terminal};

mod gradients;

/// Largest error in units of the largest value or term: some 30 roundings of f32, whatever the length of a segment.
const TOLERANCE: f64 = 2e-6;
/// What stands around an output and in it before it is written.
const POISON: f32 = -1.25e30;
/// Elements before and after a tensor: a multiple of every binding alignment, and an odd number.
const GUARDS: [u64; 2] = [64, 61];
/// Failures printed in words.
const SHOWN: usize = 20;

/// Arguments of `wgpu-norm verify`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  wgpu-norm verify
  wgpu-norm verify --filter group --schedules
  wgpu-norm verify --adapter llvmpipe --json")]
pub struct VerifyArgs {
    /// Only kinds of norm whose name contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// A line for every schedule instead of one for each family of schedules.
    #[arg(long)]
    schedules: bool,
}

/// Runs all cases.
pub fn run(args: VerifyArgs, global: &Global) -> Result<ExitCode, Failure> {
    let selected = |case: &&Case| args.filter.as_deref().is_none_or(|text| case.kind.name().contains(text));
    let cases: Vec<&Case> = CASES.iter().filter(selected).collect();
    if cases.is_empty() {
        let names: std::collections::BTreeSet<_> = CASES.iter().map(|case| case.kind.name()).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Failure::Usage(format!("no kind of norm matches the filter; there are {names}")));
    }
    let gpu = Gpu::require(&global.device, "verify has nothing to verify without one")?;
    let bar = terminal::progress("verify", cases.iter().map(|case| case.fills().len() as u64).sum(), false);
    let mut table = Results { by_schedule: args.schedules || global.json.on_stdout(), ..Results::default() };
    for case in cases {
        bar.set_message(format!("{} {:?}", case.kind.name(), case.shape));
        for &fill in case.fills() {
            verify(&gpu, case, fill, &mut table)?;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    table.print(&gpu, global)
}

/// One case with one fill, under every schedule; given statistics once, they are not reduced.
fn verify(gpu: &Gpu, case: &Case, fill: Fill, results: &mut Results) -> Result<(), Failure> {
    let descriptor = case.descriptor();
    let first = gpu.engine.create_norm(&descriptor)?;
    let tensors = case.tensors(fill, first.affine_len(), None);
    let reference = tensors.reference(&descriptor)?.output;
    for (index, schedule) in gpu.engine.schedules(&descriptor)?.into_iter().enumerate() {
        let Some(norm) = gpu.engine.create_norm_with(&descriptor, schedule)? else { continue };
        let run = Run { gpu, norm: &norm, tensors: &tensors, guard: GUARDS[index % 2] };
        results.add(case, fill, schedule.to_string(), run.verify(&reference)?);
    }
    if case.takes_running_statistics() {
        let tensors = case.tensors(fill, first.affine_len(), Some(first.given_segment_count()));
        let reference = tensors.reference(&descriptor)?.output;
        for guard in GUARDS {
            let run = Run { gpu, norm: &first, tensors: &tensors, guard };
            results.add(case, fill, "given".to_owned(), run.verify(&reference)?);
        }
    }
    if case.backward_fills().contains(&fill) { gradients::verify(gpu, case, fill, &first, results) } else { Ok(()) }
}

/// One norm on the device.
struct Run<'a> {
    gpu: &'a Gpu,
    norm: &'a Norm,
    tensors: &'a Tensors,
    /// Elements around input and output.
    guard: u64,
}

/// What came out of two runs.
struct Verdict {
    /// Which tensor.
    what: &'static str,
    comparison: Comparison,
    /// Something else than the numbers that is wrong.
    fault: Option<&'static str>,
}

impl Verdict {
    /// Compares what two runs wrote between their guards.
    fn of(what: &'static str, runs: [&[f32]; 2], guard: u64, compare: impl FnOnce(&[f32]) -> Comparison) -> Self {
        let guard = guard as usize;
        let inside = |run| <[f32]>::split_at(run, guard).1.split_at(run.len() - 2 * guard).0;
        let touched = |run: &&[f32]| {
            let (before, after) = (&run[..guard], &run[run.len() - guard..]);
            before.iter().chain(after).any(|value| *value != POISON)
        };
        let differs = |(first, second): (&f32, &f32)| first.to_bits() != second.to_bits();
        let fault = if runs.iter().any(touched) {
            Some("wrote outside the tensor")
        } else if runs[0].iter().zip(runs[1]).any(differs) {
            Some("two runs differ")
        } else {
            None
        };
        Self { what, comparison: compare(inside(runs[0])), fault }
    }

    fn passed(&self) -> bool {
        self.fault.is_none() && self.comparison.holds(TOLERANCE)
    }
}

/// A tensor on the device between guard bands.
struct Guarded {
    operand: Operand,
    guard: u64,
}

impl Guarded {
    fn around(gpu: &Gpu, what: &str, data: &[f32], guard: u64) -> Result<Self, Failure> {
        let band = vec![POISON; guard as usize];
        Ok(Self { operand: gpu.upload(what, &[band.as_slice(), data, &band].concat())?, guard })
    }

    fn view(&self) -> TensorView<'_> {
        TensorView::new(&self.operand.buffer, self.guard * 4, self.operand.len - 2 * self.guard)
    }

    /// With its guards.
    fn download(&self, gpu: &Gpu) -> Result<Vec<f32>, Failure> {
        gpu.download(&self.operand)
    }
}

impl Run<'_> {
    fn verify(&self, reference: &[f64]) -> Result<Verdict, Failure> {
        let input = Guarded::around(self.gpu, "input", &self.tensors.input, self.guard)?;
        let poison = vec![POISON; self.tensors.input.len()];
        let mut runs = Vec::new();
        for _ in 0..2 {
            let output = Guarded::around(self.gpu, "output", &poison, self.guard)?;
            self.once(&input, &output)?;
            runs.push(output.download(self.gpu)?);
        }
        Ok(Verdict::of("output", [&runs[0], &runs[1]], self.guard, |inside| Comparison::new(inside, reference)))
    }

    fn once(&self, input: &Guarded, output: &Guarded) -> Result<(), Failure> {
        let upload = |what, data: &Option<Vec<f32>>| data.as_ref().map(|data| self.gpu.upload(what, data)).transpose();
        let (scale, bias) = (upload("scale", &self.tensors.scale)?, upload("bias", &self.tensors.bias)?);
        let style = upload("style", &self.tensors.style)?;
        let workspace = Some(self.norm.workspace_size()).filter(|&bytes| bytes > 0);
        let workspace = workspace.map(|bytes| self.gpu.buffer("workspace", bytes)).transpose()?;
        let records = self.gpu.buffer("statistics", self.norm.given_statistics_size())?;
        let (statistics, import) = match &self.tensors.given {
            None => (StatisticsSource::Input, None),
            Some((mean, variance)) => {
                let (mean, variance) = (self.gpu.upload("mean", mean)?, self.gpu.upload("variance", variance)?);
                let records = BufferView::whole(&records);
                let import = ImportArgs { mean: mean.view(), variance: variance.view(), statistics: records };
                (StatisticsSource::Given(records), Some(self.norm.bind_import(&import)?))
            }
        };
        let forward = self.norm.bind_forward(&ForwardArgs {
            input: input.view(),
            output: Destination::View(output.view()),
            scale: scale.as_ref().map(Operand::view),
            bias: bias.as_ref().map(Operand::view),
            style: style.as_ref().map(Operand::view),
            statistics,
            workspace: workspace.as_ref().map(BufferView::whole),
        })?;
        self.gpu.healthy()?;
        let bound: Vec<BoundNorm> = import.into_iter().chain([forward]).collect();
        self.gpu.run(|pass| bound.iter().for_each(|bound| bound.record(pass)))?;
        Ok(())
    }
}

/// One line of the table.
#[derive(Clone, Debug, Default, Serialize)]
struct Line {
    cases: usize,
    failed: usize,
    worst_relative_error: f64,
}

#[derive(Default)]
struct Results {
    by_schedule: bool,
    lines: BTreeMap<(&'static str, String), Line>,
    failures: Vec<String>,
}

#[derive(Serialize)]
struct Json<'a> {
    adapter: String,
    tolerance: f64,
    passed: bool,
    lines: Vec<JsonLine<'a>>,
    failures: &'a [String],
}

#[derive(Serialize)]
struct JsonLine<'a> {
    norm: &'a str,
    schedule: &'a str,
    #[serde(flatten)]
    line: &'a Line,
}

impl Results {
    fn add(&mut self, case: &Case, fill: Fill, schedule: String, verdict: Verdict) {
        let name = case.kind.name();
        let label = if self.by_schedule { schedule.clone() } else { family(&schedule) };
        let line = self.lines.entry((name, label)).or_default();
        line.cases += 1;
        line.worst_relative_error = line.worst_relative_error.max(verdict.comparison.relative);
        if verdict.passed() {
            return;
        }
        line.failed += 1;
        let Comparison { index, actual, expected, relative, misplaced, first_misplaced, .. } = verdict.comparison;
        let what = verdict.what;
        // Parameters are vectors, and so is all that has not the shape of the case.
        let at = |index| {
            if ["output", "grad_input"].contains(&what) { unravel(index, case.shape) } else { vec![index as u64] }
        };
        let mut text = format!(
            "{name} {:?} {:?} {fill:?}, {schedule}: {what}: error {relative:.2e} at {:?} (got {actual:?}, reference {expected:?})",
            case.shape,
            case.format,
            at(index)
        );
        if let Some(first) = first_misplaced {
            text += &format!(", {misplaced} NaN or infinities differ, the first at {:?}", at(first));
        }
        if let Some(fault) = verdict.fault {
            text += &format!(", {fault}");
        }
        self.failures.push(text);
    }

    fn print(&self, gpu: &Gpu, global: &Global) -> Result<ExitCode, Failure> {
        let passed = self.failures.is_empty();
        if global.json.on_stdout() {
            let lines = self.lines.iter().map(|((norm, schedule), line)| JsonLine { norm, schedule, line }).collect();
            let (adapter, failures) = (gpu.describe(), self.failures.as_slice());
            terminal::print_json(&Json { adapter, tolerance: TOLERANCE, passed, lines, failures })?;
        } else {
            terminal::print(&self.text(gpu))?;
        }
        Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(EXIT_CHECK) })
    }

    fn text(&self, gpu: &Gpu) -> String {
        let mut table = terminal::table(&["norm", "schedule", "cases", "worst error", "verdict"]);
        for ((norm, schedule), line) in &self.lines {
            let verdict = match line.failed {
                0 => terminal::verdict("ok", true),
                failed => terminal::verdict(&format!("FAIL ({failed})"), false),
            };
            let error = format!("{:.2e}", line.worst_relative_error);
            table.add_row(vec![(*norm).to_owned(), schedule.clone(), line.cases.to_string(), error, verdict]);
        }
        let mut text = format!("adapter {}\n\n{}\n", gpu.describe(), table.trim_fmt());
        for failure in self.failures.iter().take(SHOWN) {
            text += &format!("\n{failure}");
        }
        if self.failures.len() > SHOWN {
            text += &format!("\nand {} more", self.failures.len() - SHOWN);
        }
        let cases: usize = self.lines.values().map(|line| line.cases).sum();
        let (passed, failed) = (cases - self.failures.len(), self.failures.len());
        text + &format!(
            "\n{cases} runs, {passed} passed, {failed} failed; allowed {TOLERANCE:.0e} of the largest value or term"
        )
    }
}

/// The words of a schedule without its numbers: `rows 8x1 in 3 slices` is `rows in slices`.
fn family(schedule: &str) -> String {
    let words = schedule.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_no_numbers() {
        for (schedule, expected) in
            [("fused 8x1", "fused"), ("rows 4x2 in 3 slices", "rows in slices"), ("given", "given")]
        {
            assert_eq!(family(schedule), expected);
        }
    }

    #[test]
    fn every_kind_and_every_remainder_is_there() {
        for kind in ["batch", "instance", "group", "layer", "rms", "adain", "lp", "mvn", "weight"] {
            assert!(CASES.iter().any(|case| case.kind.name() == kind), "{kind}");
        }
        for remainder in 0..4 {
            assert!(CASES.iter().any(|case| case.shape.last().is_some_and(|width| width % 4 == remainder)));
        }
    }
}
