//! `wgpu-norm verify`: norms against the f64 reference, forward and backward: each kernel and each family of schedules
//! once, or every case under every schedule that accepts it.
//!
//! Each run writes between guard bands, at aligned and at odd offsets, and is done twice: both results must be equal
//! to the last bit. All of that is done on one device after the other ([`Pass`]).

use std::cmp::Ordering;
use std::process::ExitCode;

use wgpu_norm::{Element, Types};
use wgpu_norm_tools::check::Comparison;
use wgpu_norm_tools::compute::{Runner, Tensors};
use wgpu_norm_tools::device::{self, Gpu, POISON};
use wgpu_norm_tools::exact::{Descriptor, Exact};
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::norm::Planned;
use wgpu_norm_tools::terminal;

use crate::Global;
use crate::bench;
use crate::bench::case::BenchCase;
use crate::bench::suite::{Suite, unique};
use crate::cases::{self, CASES, Case};

mod gradients;
mod passes;
mod results;
mod tier;

use passes::{Pass, Station};
use results::Results;
use tier::Tier;

/// Largest error in units of the largest value of a segment, or of the magnitudes of the terms of a sum: some 30
/// roundings of f32, whatever the length of a segment.
const TOLERANCE: f64 = 2e-6;
/// Elements before and after a tensor: a multiple of every binding alignment, and an odd number.
const GUARDS: [u64; 2] = [64, 61];

/// Most bytes of a large tensor that is measured, where it has more than one sample.
const LARGE: u64 = 4 << 20;

/// Norms verified on one device before a fresh one takes its place: drivers keep the code of every pipeline.
const NORMS: usize = 60;

/// Arguments of `wgpu-norm verify`.
#[derive(clap::Args)]
#[command(after_help = "\
Each kernel and each family of schedules is run once, with normal numbers, with a large mean, with
a tiny variance, with constants, with zeros and with a NaN, at odd widths; the kernels of f16 and
bf16 with normal numbers and with a NaN, and some norms with what networks put around them.
With --all every schedule is forced on every case that it accepts, in passes with a device each; in
one of them (as-gpu on a software adapter) many are run in f16 or bf16 too, as they are scheduled:
  adapter   its limits and its subgroup operations; each case with all of its contents
  defaults  WebGPU's default limits and no feature, so no subgroups; each case with normal
            numbers, small ones with a NaN too
  downlevel wgpu's downlevel defaults: four storage buffers a stage. Norms that need more are refused,
            and counted as such; left out unless --pass names it
  as-gpu    as adapter, with schedules as for a small GPU; each case with normal numbers;
            schedules of more than a million invocations only where they are chosen.
  as-large-gpu  as adapter, with a large GPU's schedules at full size: each that it chooses for one of
            these cases or of those of `bench --suite reference` (in f32, f16 and bf16) and `gpu`, once.
Both are left out where the adapter is a GPU, unless --pass names them.
A --profile is followed in pass adapter only.

Examples:
  wgpu-norm verify
  wgpu-norm verify --all
  wgpu-norm verify --filter group --schedules
  wgpu-norm verify --pass defaults --filter layer
  wgpu-norm verify --adapter llvmpipe --json")]
pub struct VerifyArgs {
    /// Every case under every schedule in every pass, and in 16 bits: takes some ten minutes on a processor.
    #[arg(long)]
    all: bool,
    /// Only norms whose name contains this: the kind, what stands around it, the type (`layer bf16`, `rms fused add`;
    /// `fused` is all that have something around them).
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Only this pass [default: adapter; with --all each that makes a difference on the adapter].
    #[arg(long)]
    pass: Option<Pass>,
    /// Print the cases as lines of JSON instead, as far as the npm package has words for them.
    #[arg(long)]
    list: bool,
    /// A line for every schedule instead of one for each family of schedules.
    #[arg(long)]
    schedules: bool,
}

/// Runs the cases of the tier in its passes.
pub fn run(args: VerifyArgs, global: &Global) -> Result<ExitCode, Failure> {
    let selected = |case: &&Case| args.filter.as_deref().is_none_or(|text| case.title().contains(text));
    let cases = if args.all { cases::all() } else { cases::quick() };
    let cases: Vec<&Case> = cases.iter().filter(selected).collect();
    if cases.is_empty() {
        let names: std::collections::BTreeSet<_> = CASES.iter().map(|case| case.name()).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Failure::Usage(format!(
            "no kind of norm matches the filter; there are {names}, some with `fused` behind it"
        )));
    }
    if args.list {
        terminal::print_lines(cases.into_iter().filter_map(Case::listed))?;
        return Ok(ExitCode::SUCCESS);
    }
    let adapter = passes::adapter(&global.device)?;
    let info = adapter.get_info();
    let passes = match (&args.pass, args.all) {
        (Some(pass), _) => std::slice::from_ref(pass),
        (None, true) => Pass::all(info.device_type),
        (None, false) => &[Pass::Adapter],
    };
    let measured = if passes.iter().any(|pass| pass.takes_choices_only()) { suites() } else { Vec::new() };
    let measured: Vec<Case> = measured.iter().map(BenchCase::case).collect();
    let chosen_from: Vec<&Case> = cases.iter().copied().chain(measured.iter().filter(selected)).collect();
    let of = |pass: &Pass| if pass.takes_choices_only() { &chosen_from } else { &cases };
    let total: usize = passes.iter().map(|pass| of(pass).len()).sum();
    let bar = terminal::progress("verify", total as u64, false);
    let mut results = Results::new(device::describe(&info), args.schedules || global.json.on_stdout());
    let seen_as_gpu = Pass::all(info.device_type).contains(&Pass::AsGpu);
    let of_halves = if seen_as_gpu { Pass::AsGpu } else { Pass::Adapter };
    for pass in passes {
        // goes with its kernels before the next one is opened
        let mut station = pass.open(&adapter, &global.device)?;
        results.begin(&station.device, pass.has_few_buffers());
        let mut tier = match (pass.takes_choices_only(), args.all) {
            (true, _) => Tier::choices(of(pass)),
            (false, true) => Tier::all(of(pass)),
            (false, false) => Tier::quick(of(pass)),
        };
        for case in tier.cases() {
            // what passes change is not what types change: one has them, by a GPU's schedules where it can
            let has_types = *pass == of_halves || pass.takes_choices_only();
            if args.all && !has_types && case.is_half() && args.filter.is_none() {
                bar.inc(1);
                continue;
            }
            let (name, shape, device) = (case.title(), case.shape, &station.device);
            bar.set_message(format!("{device}: {name} {shape:?}"));
            verify(&station, case, &mut tier, &mut results).inspect_err(|_| {
                terminal::note(&format!("stopped at {device}: {name} {shape:?} {:?}", case.format));
            })?;
            bar.inc(1);
            if tier.norms() >= NORMS {
                tier.rest();
                drop(station);
                station = pass.open(&adapter, &global.device)?;
            }
        }
    }
    bar.finish_and_clear();
    results.print(global)
}

/// What is measured, each norm once: the reference suite with tensors of every type, the largest cases with so few
/// samples that a processor can follow.
fn suites() -> Vec<BenchCase> {
    let types = [Element::F32, Element::F16, Element::Bf16].map(Types::tensors);
    let reference = Suite::Reference.cases().into_iter().flat_map(|case| types.map(|types| case.of(types)));
    let large = Suite::Gpu.cases().into_iter().map(|case| case.within(LARGE));
    unique(reference.chain(large).map(|case| case.with(bench::case::Pass::Forward)).collect())
}

/// One case under the schedules that the tier takes; given statistics once, they are not reduced.
fn verify(station: &Station, case: &Case, tier: &mut Tier, results: &mut Results) -> Result<(), Failure> {
    let gpu = &station.gpu;
    let descriptor = case.descriptor();
    let first = descriptor.create(&gpu.engine)?;
    let mut norms = Vec::new();
    for (index, norm) in descriptor.create_all(&gpu.engine)?.into_iter().enumerate() {
        let name = norm.content().schedule().to_string();
        // the first is the one that is chosen
        if (index == 0 || station.pass.forces(&norm, &descriptor)?) && tier.takes(case, index, &name) {
            norms.push((name, norm));
        }
    }
    let given = case.takes_running_statistics() && tier.takes(case, 0, "given");
    for &fill in station.pass.fills(case) {
        if !norms.is_empty() {
            let tensors = case.tensors(fill, first.affine_len(), None);
            let runs = norms.iter().zip(GUARDS.into_iter().cycle());
            let runs = runs.map(|((_, norm), guard)| Run { gpu, norm, tensors: &tensors, guard });
            let verdicts = verdicts(|| Expected::of(&tensors, &descriptor), runs)?;
            for ((schedule, _), verdict) in norms.iter().zip(verdicts) {
                results.add(case, fill, schedule.clone(), verdict)?;
            }
        }
        if given {
            let tensors = case.tensors(fill, first.affine_len(), Some(first.content().given_segment_count()));
            let runs = GUARDS.map(|guard| Run { gpu, norm: &first, tensors: &tensors, guard });
            for verdict in verdicts(|| Expected::of(&tensors, &descriptor), runs.into_iter())? {
                results.add(case, fill, "given".to_owned(), verdict)?;
            }
        }
    }
    gradients::verify(station, case, &first, tier, results)?;
    gpu.healthy()
}

/// What a norm should give, and units of its errors: each segment is judged by itself.
struct Expected {
    exact: Exact,
    output_units: Vec<f64>,
    sum_units: Vec<f64>,
}

impl Expected {
    fn of(tensors: &Tensors, descriptor: &Descriptor<'_>) -> Result<Self, Failure> {
        let exact = tensors.exact(descriptor)?;
        let output_units = tensors.units(descriptor, &exact.norm.output)?;
        let sum_units = if exact.sum.is_empty() {
            Vec::new()
        } else {
            descriptor.segment_units(tensors.given.is_some(), &exact.sum)?
        };
        Ok(Self { exact, output_units, sum_units })
    }
}

/// What a norm gives on the device, and whether that is what it should be.
trait Measured {
    type Written;
    type Expected;
    fn written(&self) -> Result<Self::Written, Failure>;
    fn judge(&self, written: Self::Written, expected: &Self::Expected) -> Result<Verdict, Failure>;
}

/// All runs on the device, beside the reference on a thread of its own.
fn verdicts<R: Measured<Expected: Send>>(
    expected: impl FnOnce() -> Result<R::Expected, Failure> + Send,
    runs: impl Iterator<Item = R>,
) -> Result<Vec<Result<Verdict, Failure>>, Failure> {
    std::thread::scope(|scope| {
        let reference = scope.spawn(expected);
        let written: Vec<_> = runs.map(|run| (run.written(), run)).collect();
        let expected = reference.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(written.into_iter().map(|(written, run)| run.judge(written?, &expected)).collect())
    })
}

/// One norm on the device.
struct Run<'a> {
    gpu: &'a Gpu,
    norm: &'a Planned,
    tensors: &'a Tensors,
    /// Elements around input and output.
    guard: u64,
}

/// The outputs of two runs, and the sums where they have such.
struct Outputs {
    outputs: Vec<Vec<f32>>,
    sums: Vec<Vec<f32>>,
}

/// What came out of two runs.
struct Verdict {
    /// Which tensor.
    what: String,
    comparison: Comparison,
    /// Something else than the numbers that is wrong.
    fault: Option<&'static str>,
}

impl Verdict {
    /// Compares what two runs wrote between their guards.
    fn of(what: String, runs: [&[f32]; 2], guard: u64, compare: impl FnOnce(&[f32]) -> Comparison) -> Self {
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

    /// The one that failed, or has the largest error.
    fn worst(verdicts: impl IntoIterator<Item = Self>) -> Option<Self> {
        let badness = |verdict: &Self| (!verdict.passed(), verdict.comparison.relative);
        let order = |a: &Self, b: &Self| badness(a).partial_cmp(&badness(b)).unwrap_or(Ordering::Equal);
        verdicts.into_iter().max_by(order)
    }

    fn passed(&self) -> bool {
        self.fault.is_none() && self.comparison.holds(TOLERANCE)
    }
}

impl Measured for Run<'_> {
    type Written = Outputs;
    type Expected = Expected;

    fn written(&self) -> Result<Outputs, Failure> {
        let Self { gpu, tensors, guard, .. } = *self;
        let types = self.norm.content().types();
        let input = gpu.upload_guarded("input", types.input, &tensors.input, guard)?;
        let (mut outputs, mut sums) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let output = gpu.guarded("output", types.output, input.len, guard)?;
            let runner = Runner::new(gpu, self.norm.clone(), tensors.as_inputs(), None, 0)?.with_fused(
                &tensors.fused,
                tensors.sum,
                guard,
            )?;
            let work = runner.forward(input.view(), output.view())?;
            gpu.healthy()?;
            gpu.run_all(&work)?;
            outputs.push(gpu.download_guarded(&output)?);
            sums.extend(runner.sum.as_ref().map(|sum| gpu.download_guarded(sum)).transpose()?);
        }
        Ok(Outputs { outputs, sums })
    }

    /// The output, or the sum that is normalized where that is worse.
    fn judge(&self, Outputs { outputs, sums }: Outputs, expected: &Expected) -> Result<Verdict, Failure> {
        let Self { tensors, guard, .. } = *self;
        let types = self.norm.content().types();
        let Expected { exact, output_units, sum_units } = expected;
        let written = [("output", &outputs, (&exact.norm.output, output_units), types.output)];
        let sum = tensors.sum.map(|element| ("sum", &sums, (&exact.sum, sum_units), element));
        let verdicts = written.into_iter().chain(sum).map(|(what, runs, (expected, units), element)| {
            Verdict::of(what.to_owned(), [&runs[0], &runs[1]], guard, |inside| {
                Comparison::in_own_units(inside, expected, element, units)
            })
        });
        Verdict::worst(verdicts).ok_or_else(|| Failure::Usage("no output to verify".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use wgpu_norm::{Affine, Fusion, NormDescriptor};
    use wgpu_norm_tools::elements;
    use wgpu_norm_tools::exact::Inputs;
    use wgpu_norm_tools::fill::Fill;

    use super::*;

    #[test]
    fn every_operand_around_a_norm_has_its_gradient_verified() {
        let fused = cases::fused();
        let operands = fused.iter().flat_map(|case| case.tensors(Fill::Normal, 0, None).fused.named());
        let names: std::collections::BTreeSet<_> = operands.map(|(name, _)| name).collect();
        assert_eq!(names.len(), 9, "{names:?}");
        for case in &fused {
            assert!(case.title().contains(" fused ") && case.len() <= cases::SMALL, "{}", case.title());
            case.descriptor().validate().unwrap();
        }
    }

    /// Where f32 and f64 may round to different neighbours there is nothing to compare.
    #[test]
    fn what_is_rounded_before_its_scale_is_no_tie() {
        let fused = cases::fused();
        let case = fused.iter().find(|case| case.title().contains("llama")).unwrap();
        let Descriptor::Norm(descriptor) = case.descriptor() else { panic!("an adaptive norm") };
        let tensors = case.tensors(Fill::Normal, 64, None);
        let sum = tensors.exact(&case.descriptor()).unwrap().sum;
        let sum: Vec<f32> = sum.iter().map(|&value| value as f32).collect();
        let bare = NormDescriptor { affine: Affine::None, fusion: Fusion::default(), ..descriptor };
        let normalized = Descriptor::Norm(bare).forward(&Inputs { input: &sum, ..Inputs::default() }).unwrap().output;
        for value in normalized {
            let (element, step) = (Element::Bf16, elements::half_step(value, Element::Bf16));
            let to_tie = step - (value - elements::round(value, element)).abs();
            assert!(to_tie > 1e-6 * value.abs(), "{value} is {to_tie:e} from where it may go either way");
        }
    }

    #[test]
    fn every_kind_and_every_remainder_is_there() {
        for kind in ["batch", "instance", "group", "layer", "rms", "adain", "lp", "mvn", "weight"] {
            assert!(CASES.iter().any(|case| case.name() == kind), "{kind}");
        }
        assert!(cases::HALVES.iter().all(Case::is_half));
        for kind in CASES.iter().map(Case::name) {
            assert!(cases::all().iter().any(|case| case.name() == kind && case.is_half()), "{kind}");
        }
        for remainder in 0..4 {
            assert!(CASES.iter().any(|case| case.shape.last().is_some_and(|width| width % 4 == remainder)));
        }
    }
}
