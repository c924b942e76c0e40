//! `wgpu-norm bench`: the speed of norms against what this adapter moves.

mod around;
pub mod case;
mod clock;
mod cold;
mod measure;
mod oracle;
mod peer;
mod request;
mod rig;
mod roof;
mod sample;
pub mod spec;
pub mod suite;
mod times;
mod tune;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use wgpu_norm::Types;
use wgpu_norm_tools::failure::{EXIT_CHECK, EXIT_INTERRUPTED, Failure};
use wgpu_norm_tools::output::{self, Target};
use wgpu_norm_tools::report::compare::Comparison;
use wgpu_norm_tools::report::{Report, Roof, html, table};
use wgpu_norm_tools::terminal;
use wgpu_norm_tools::types::TypeArgs;

use crate::{Global, Json};

use case::{BenchCase, Pass, Variant};
use clock::Clock;
use measure::{Bench, Outcome};
use peer::Peer;
use request::Listed;
use roof::Roofs;
use sample::Budget;
use spec::CaseArgs;
use suite::Suite;
use times::Times;

/// Arguments of `wgpu-norm bench`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  wgpu-norm bench
  wgpu-norm bench --suite reference --json reference.json
  wgpu-norm bench group 8x64x120x120 --groups 32 --format channels-last --backward
  wgpu-norm bench --suite reference --filter 'channels-last backward' --adapter llvmpipe
  wgpu-norm bench --suite gpu --filter backward
  wgpu-norm bench --suite fused --dtype bf16
  wgpu-norm bench layer 4096x1024 --dtype bf16 --training --backward
  wgpu-norm bench --suite reference --peer benches/peers/burn/target/release/burn-peer
  wgpu-norm bench --suite reference --peers pytorch.json
  wgpu-norm bench --suite reference --compare reference.json --html reference.html
  wgpu-norm bench --from new.json --compare old.json
  wgpu-norm bench --from reference.json --plot reference.svg
  wgpu-norm bench --tune && wgpu-norm bench --profile wgpu-norm-profile.json

GB/s count the bytes that no implementation can do without: each operand once. The roof is a kernel that only \
moves memory, with the same mix of reads and writes (copy, triad), measured in the same run, in turn with each norm, over \
the same buffers. `2E`, `3E`, `5E` say how many times the algorithm moves each element: segments that do not stay on a \
chip are read again. 100 % is the time in which the roof moves these bytes. Buffers rotate, so that none is in a cache.

Rows of `--suite fused` have the same unfused below them: the norm alone as it was measured in turn, and one kernel \
for what stands before it and one for what stands behind, whose bytes are counted at the speed of the roof.

Ctrl-C ends with what was measured so far. Exit code 1: an error against the f64 reference is above 1e-5 of the largest \
value.")]
pub struct BenchArgs {
    // boxed: this struct is a variant of an enum, whose others are small
    #[command(flatten)]
    case: Box<CaseArgs>,
    /// Which cases.
    #[arg(long, value_enum, default_value_t = Suite::Quick, conflicts_with = "variant")]
    suite: Suite,
    #[command(flatten)]
    types: TypeArgs,
    /// Only cases whose `variant shape format pass type` contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// More samples or rows, until a tensor has so many MiB.
    #[arg(long, value_name = "MIB")]
    at_least: Option<u64>,
    /// Another implementation to measure in turn: a program that speaks the protocol of benches/peers. Repeatable.
    #[arg(long, value_name = "COMMAND")]
    peer: Vec<String>,
    /// Seconds that a peer may take to start, and over each case. One that takes longer is killed, the case is reported
    /// as timed out, and the next one begins with it anew.
    #[arg(long, value_name = "SECONDS", default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..))]
    peer_timeout: u64,
    /// Show the rows of an earlier report, of whatever implementation, beside ours. Repeatable.
    #[arg(long, value_name = "FILE")]
    peers: Vec<PathBuf>,
    /// Find the profile with which norms are fastest on this adapter instead (two minutes or less), and write it to
    /// FILE for `--profile` [default: wgpu-norm-profile.json].
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "wgpu-norm-profile.json",
        conflicts_with_all = ["variant", "suite", "dtype", "parameters", "filter", "at_least", "peer", "peers"])]
    #[arg(conflicts_with_all = ["list", "json", "html", "plot", "compare", "from"])]
    tune: Option<PathBuf>,
    /// Print the cases as lines of JSON instead.
    #[arg(long, conflicts_with_all = ["json", "html", "plot", "compare", "peer", "peers"])]
    list: bool,
    /// Write the report as JSON to FILE, or to standard output instead of the table.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-", value_parser = Json::parser())]
    json: Option<Json>,
    /// Write the report as one self-contained page with plots to FILE.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Draw the share of the roof of every case as one image to FILE, which ends in `.svg`.
    #[arg(long, value_name = "FILE", value_parser = svg_path)]
    plot: Option<PathBuf>,
    /// Print what got slower or faster than in an earlier report, beyond the noise and next to the roof.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Show an earlier report instead of measuring.
    #[arg(long, value_name = "FILE")]
    #[arg(conflicts_with_all = ["variant", "suite", "dtype", "parameters", "filter", "at_least", "peer", "list"])]
    from: Option<PathBuf>,
}

/// Measures all cases that were asked for, or reads an earlier report, and shows it in every form that was asked for.
pub fn run(args: BenchArgs, global: &Global) -> Result<ExitCode, Failure> {
    if let Some(path) = &args.tune {
        return tune::run(&Target::replacing(path)?, &global.device);
    }
    let cases = if args.from.is_none() { selected(&args)? } else { Vec::new() };
    if args.list {
        return list(&cases);
    }
    let targets = Targets::new(&args)?;
    let earlier = args.peers.iter().map(|path| Report::read(path)).collect::<Result<Vec<_>, _>>()?;
    let before = args.compare.as_deref().map(Report::read).transpose()?;
    output::defer_interrupt();
    let (report, trouble) = match &args.from {
        Some(path) => (Report::read(path)?, None),
        None => measure(&cases, &args, global)?,
    };
    let comparison = before.as_ref().map(|before| Comparison::new(before, &report));
    // an interrupt before the first case leaves an earlier report as it is
    let targets = if report.rows.is_empty() && args.from.is_none() { Targets::default() } else { targets };
    if let Some(target) = &targets.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| Failure::Stdout(error.into()))?;
        target.write_bytes(text.as_bytes())?;
    }
    if let Some(target) = &targets.html {
        target.write_bytes(html::page(&report, &earlier, comparison.as_ref()).as_bytes())?;
    }
    if let Some(target) = &targets.plot {
        target.write_bytes(html::picture(&report, &earlier).as_bytes())?;
    }
    let on_stdout = args.json == Some(Json::Stdout);
    if on_stdout {
        terminal::print_json(&report)?;
    } else {
        terminal::print(&table::text(&report, &earlier, terminal::width()))?;
    }
    if let Some(comparison) = &comparison {
        comparison.differences.iter().for_each(|difference| terminal::note(difference));
        match comparison.text() {
            // standard output is JSON and nothing else
            text if on_stdout => terminal::note(&text),
            text => terminal::print(&format!("\n{text}"))?,
        }
    }
    match (trouble, report.rows.is_empty(), report.skipped.first()) {
        (Some(failure), ..) => Err(failure),
        _ if output::is_interrupted() => Ok(ExitCode::from(EXIT_INTERRUPTED as u8)),
        (None, true, Some(skipped)) => Err(Failure::Usage(format!("nothing was measured: {}", skipped.why))),
        _ => Ok(ExitCode::from(if report.wrong() > 0 { EXIT_CHECK } else { 0 })),
    }
}

/// Files to write.
#[derive(Default)]
struct Targets {
    json: Option<Target>,
    html: Option<Target>,
    plot: Option<Target>,
}

impl Targets {
    /// Checks, before anything is measured, that they can be written, and that none takes the place of a report or of
    /// another.
    fn new(args: &BenchArgs) -> Result<Self, Failure> {
        let json = match &args.json {
            Some(Json::File(path)) => Some(Target::replacing(path)?),
            _ => None,
        };
        let html = args.html.as_deref().map(Target::replacing).transpose()?;
        let plot = args.plot.as_deref().map(Target::replacing).transpose()?;
        let read = args.peers.iter().chain(&args.compare).chain(&args.from);
        let mut taken =
            read.filter(|path| path.is_file()).map(|path| Target::replacing(path)).collect::<Result<Vec<_>, _>>()?;
        taken.extend(json.clone());
        let drawn = [("--html", &html), ("--plot", &plot)];
        for (option, target) in drawn.iter().filter_map(|(option, target)| Some((option, target.as_ref()?))) {
            if let Some(other) = taken.iter().find(|other| other.same_as(target)) {
                let path = other.path().display();
                return Err(Failure::Usage(format!("{option} would write over {path}: give it another name")));
            }
            taken.push(target.clone());
        }
        Ok(Self { json, html, plot })
    }
}

/// The name of an image.
fn svg_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("svg") => Ok(path),
        _ => Err("an image is written as SVG: give it a name that ends in .svg".to_owned()),
    }
}

/// The cases that were asked for.
fn selected(args: &BenchArgs) -> Result<Vec<BenchCase>, Failure> {
    let types = args.types.types();
    if types != Types::default() && (args.list || !args.peer.is_empty()) {
        let why = "--peer and --list speak a protocol that has no word for types: f32 only";
        return Err(Failure::Usage(why.to_owned()));
    }
    let cases = args.case.cases()?.unwrap_or_else(|| args.suite.cases());
    let mut cases: Vec<BenchCase> = cases.iter().map(|case| case.of(types)).collect();
    if let Some(mib) = args.at_least {
        cases = suite::unique(cases.iter().map(|case| case.grown(mib.saturating_mul(1 << 20))).collect());
    }
    if let Some(case) =
        cases.iter().find(|case| case.variant == Variant::AdaptiveInstance && case.pass != Pass::Forward)
    {
        return Err(Failure::Usage(format!("{}: adain is measured forward only", case.name())));
    }
    if let Some(text) = &args.filter {
        cases.retain(|case| case.name().contains(text.as_str()));
        if cases.is_empty() {
            let example = "group 32 8x64x120x120 channels-last backward";
            return Err(Failure::Usage(format!("no case matches the filter '{text}'; one is called '{example}'")));
        }
    }
    Ok(cases)
}

/// What was measured, and what ended it early.
fn measure(cases: &[BenchCase], args: &BenchArgs, global: &Global) -> Result<(Report, Option<Failure>), Failure> {
    let limit = Duration::from_secs(args.peer_timeout);
    let peers = args.peer.iter().filter_map(|command| Peer::start(command, limit).transpose());
    let peers = peers.collect::<Result<Vec<_>, _>>()?;
    let (gpu, cold_start_ms) = cold::start(&global.device)?;
    let small = args.at_least.map_or(suite::SMALL, |mib| mib.saturating_mul(1 << 20).max(suite::SMALL));
    let fitted = args.suite.fitted(cases, small, gpu.info.device_type, &gpu.device.limits());
    let clock = Clock::new(&gpu);
    let progress = &terminal::progress("bench", fitted.cases.len() as u64, false);
    progress.set_message("roofs");
    let roofs = Roofs::new(&gpu, &clock)?;
    let mut report = Report::new(&gpu, clock.name(), cold_start_ms);
    for peer in peers.iter().filter(|peer| peer.adapter != gpu.info.name) {
        terminal::note(&format!("peer {} runs on {}", peer.name, peer.adapter));
    }
    let budget = Budget::of_row(gpu.info.device_type);
    let mut bench = Bench { gpu: &gpu, clock: &clock, roofs: &roofs, budget, oracle: None, peers, progress };
    let (mut done, mut trouble) = (0, None);
    for case in &fitted.cases {
        progress.set_message(case.name());
        match bench.measure(case) {
            Ok(Outcome::Done { rows, skipped }) => {
                report.rows.extend(rows);
                report.skipped.extend(skipped);
            }
            Ok(Outcome::Interrupted) => break,
            // a device that is lost takes nothing of the report along
            Err(failure) => {
                trouble = Some(failure);
                break;
            }
        }
        progress.inc(1);
        done += 1;
    }
    progress.finish_and_clear();
    if output::is_interrupted() {
        terminal::note(&format!("interrupted after {done} of {} cases", fitted.cases.len()));
    }
    report.notes = fitted.notes;
    let left_out = bench.peers.iter().filter(|peer| peer.is_left_out());
    report.notes.extend(left_out.map(|peer| format!("peer {} was left out, it failed cases in a row", peer.name)));
    report.roofs = medians(&report, &roofs);
    Ok((report, trouble))
}

/// GB/s of each roof over the rows beside which it was measured; what it reached before them where there are none.
fn medians(report: &Report, roofs: &Roofs) -> BTreeMap<Roof, f64> {
    let median = |(roof, first): (Roof, f64)| {
        let rows = report.rows.iter().filter(|row| row.roof == roof && row.peer.is_none());
        let gbps: Vec<f64> = rows.map(|row| row.roof_gbps).collect();
        (roof, if gbps.is_empty() { first } else { Times::new(gbps).median })
    };
    roofs.gbps().map(median).collect()
}

fn list(cases: &[BenchCase]) -> Result<ExitCode, Failure> {
    terminal::print_lines(cases.iter().filter_map(Listed::new))?;
    Ok(ExitCode::SUCCESS)
}
