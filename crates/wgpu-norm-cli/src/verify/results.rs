//! The verdicts of `wgpu-norm verify`: a line for each norm and schedule, one for each pass, and every failure in
//! words.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::Serialize;
use wgpu_norm_tools::check::{Comparison, Misplaced, unravel};
use wgpu_norm_tools::device::LimitsOf;
use wgpu_norm_tools::failure::{EXIT_CHECK, Failure};
use wgpu_norm_tools::terminal;

use crate::Global;
use wgpu_norm_tools::fill::Fill;

use crate::cases::Case;

use super::{TOLERANCE, Verdict};

/// Failures printed in words.
const SHOWN: usize = 20;

/// What verdicts add up to.
#[derive(Clone, Debug, Default, Serialize)]
struct Line {
    cases: usize,
    failed: usize,
    /// Runs that need more storage buffers than there are.
    refused: usize,
    worst_relative_error: f64,
}

/// What came of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Passed,
    Failed,
    Refused,
}

impl Line {
    fn add(&mut self, mark: Mark, error: f64) {
        self.cases += 1;
        self.failed += usize::from(mark == Mark::Failed);
        self.refused += usize::from(mark == Mark::Refused);
        self.worst_relative_error = self.worst_relative_error.max(error);
    }

    /// `3 runs, 2 passed, 1 failed`, and what was refused, if anything was.
    fn counts(&self) -> String {
        let Self { cases, failed, refused, .. } = self;
        let mut text = format!("{cases} runs, {} passed, {failed} failed", cases - failed - refused);
        if *refused > 0 {
            text += &format!(", {refused} need more storage buffers");
        }
        text
    }
}

/// All verdicts so far.
pub struct Results {
    adapter: String,
    by_schedule: bool,
    /// By norm with its types, and schedule, over all passes.
    lines: BTreeMap<(String, String), Line>,
    /// By device, in the order of the passes.
    passes: Vec<(String, Line)>,
    failures: Vec<String>,
    /// Whether runs on the device that was begun last may need more storage buffers than there are.
    has_few_buffers: bool,
}

#[derive(Serialize)]
struct Json<'a> {
    adapter: &'a str,
    tolerance: f64,
    passed: bool,
    passes: Vec<JsonPass<'a>>,
    lines: Vec<JsonLine<'a>>,
    failures: &'a [String],
}

#[derive(Serialize)]
struct JsonPass<'a> {
    device: &'a str,
    #[serde(flatten)]
    line: &'a Line,
}

#[derive(Serialize)]
struct JsonLine<'a> {
    norm: &'a str,
    schedule: &'a str,
    #[serde(flatten)]
    line: &'a Line,
}

impl Results {
    /// None yet; a line for every schedule or for every family of them.
    pub fn new(adapter: String, by_schedule: bool) -> Self {
        let (lines, passes, failures) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { adapter, by_schedule, lines, passes, failures, has_few_buffers: false }
    }

    /// What follows is of this device, and may need more storage buffers than it has.
    pub fn begin(&mut self, device: &str, has_few_buffers: bool) {
        self.has_few_buffers = has_few_buffers;
        self.passes.push((device.to_owned(), Line::default()));
    }

    /// Adds one run on the device that was begun last. A norm that cannot be computed there has failed; a device that
    /// cannot go on ends everything.
    pub fn add(
        &mut self,
        case: &Case,
        fill: Fill,
        schedule: String,
        outcome: Result<Verdict, Failure>,
    ) -> Result<(), Failure> {
        let (mark, error) = match &outcome {
            Ok(verdict) if verdict.passed() => (Mark::Passed, verdict.comparison.relative),
            Ok(verdict) => (Mark::Failed, verdict.comparison.relative),
            Err(Failure::Bind(error)) if self.has_few_buffers && LimitsOf::is_of_buffers(error) => (Mark::Refused, 0.0),
            Err(Failure::Bind(_) | Failure::BufferSize { .. }) => (Mark::Failed, 0.0),
            Err(_) => return outcome.map(drop),
        };
        let name = case.title();
        let label = if self.by_schedule { schedule.clone() } else { family(&schedule) };
        self.lines.entry((name.clone(), label)).or_default().add(mark, error);
        let device = self.passes.last_mut().map_or("", |(device, line)| {
            line.add(mark, error);
            device
        });
        if mark == Mark::Failed {
            let Case { shape, format, .. } = case;
            let why = outcome.map_or_else(|failure| failure.to_string(), |verdict| in_words(shape, verdict));
            self.failures.push(format!("{device}: {name} {shape:?} {format:?} {fill:?}, {schedule}: {why}"));
        }
        Ok(())
    }

    /// The table or the JSON, and whether all passed.
    pub fn print(&self, global: &Global) -> Result<ExitCode, Failure> {
        let passed = self.failures.is_empty();
        if global.json.on_stdout() {
            let lines = self.lines.iter().map(|((norm, schedule), line)| JsonLine { norm, schedule, line }).collect();
            let passes = self.passes.iter().map(|(device, line)| JsonPass { device, line }).collect();
            let (adapter, failures) = (self.adapter.as_str(), self.failures.as_slice());
            terminal::print_json(&Json { adapter, tolerance: TOLERANCE, passed, passes, lines, failures })?;
        } else {
            terminal::print(&self.text())?;
        }
        Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(EXIT_CHECK) })
    }

    fn text(&self) -> String {
        let mut table = terminal::table(&["norm", "schedule", "cases", "worst error", "verdict"]);
        for ((norm, schedule), line) in &self.lines {
            let verdict = match line.failed {
                0 if line.refused == line.cases => "refused".to_owned(),
                0 => terminal::verdict("ok", true),
                failed => terminal::verdict(&format!("FAIL ({failed})"), false),
            };
            let error = format!("{:.2e}", line.worst_relative_error);
            table.add_row(vec![norm.clone(), schedule.clone(), line.cases.to_string(), error, verdict]);
        }
        let mut text = format!("adapter {}\n\n{}\n", self.adapter, table.trim_fmt());
        for failure in self.failures.iter().take(SHOWN) {
            text += &format!("\n{failure}");
        }
        if self.failures.len() > SHOWN {
            text += &format!("\nand {} more", self.failures.len() - SHOWN);
        }
        for (device, line) in &self.passes {
            text += &format!("\n{device}: {}, worst error {:.2e}", line.counts(), line.worst_relative_error);
        }
        let sum = |count: fn(&Line) -> usize| self.passes.iter().map(|(_, line)| count(line)).sum();
        let (cases, refused) = (sum(|line| line.cases), sum(|line| line.refused));
        let all = Line { cases, failed: self.failures.len(), refused, ..Line::default() }.counts();
        text + &format!("\n{all}; allowed {TOLERANCE:.0e} of a segment's largest value, or of a sum's own terms")
    }
}

/// Where and how far a result is from what it should be.
fn in_words(shape: &[u64], verdict: Verdict) -> String {
    let Comparison { index, actual, expected, relative, misplaced, first_misplaced, .. } = verdict.comparison;
    let what = verdict.what;
    // Parameters are vectors, and so is all that has not the shape of the case.
    let whole = ["output", "sum", "gradient to input", "gradient to z", "gradient to addend"];
    let at = |index| if whole.contains(&what.as_str()) { unravel(index, shape) } else { vec![index as u64] };
    let mut text = format!("{what}: error {relative:.2e} at {:?} (got {actual:?}, reference {expected:?})", at(index));
    if let Some(first) = first_misplaced {
        let Misplaced { index, actual, expected } = first;
        text += &format!(
            ", {misplaced} NaN or infinities differ, the first at {:?} (got {actual:?}, reference {expected:?})",
            at(index)
        );
    }
    if let Some(fault) = verdict.fault {
        text += &format!(", {fault}");
    }
    text
}

/// The words of a schedule without its numbers: `rows 8x1 in 3 slices` is `rows in slices`.
pub fn family(schedule: &str) -> String {
    let words = schedule.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use wgpu_norm::{BindError, Element};

    use super::*;
    use crate::cases::CASES;

    #[test]
    fn families_have_no_numbers() {
        for (schedule, expected) in
            [("fused 8x1", "fused"), ("rows 4x2 in 3 slices", "rows in slices"), ("given", "given")]
        {
            assert_eq!(family(schedule), expected);
        }
    }

    #[test]
    fn passes_are_counted_apart_and_named_in_failures() {
        let verdict = |value| Verdict {
            what: "output".to_owned(),
            comparison: Comparison::new(&[value], &[1.0], Element::F32),
            fault: None,
        };
        let too_large = || Failure::BufferSize { what: "x".into(), needed: 9, available: 8, adapter: "some".into() };
        let mut results = Results::new("some adapter".to_owned(), false);
        let limit = |limit| {
            let refusal = BindError::Limit { operation: "the norm", limit, needed: 5, available: 4 };
            Err(Failure::Bind(refusal))
        };
        let (buffers, size) = (limit("max_storage_buffers_per_shader_stage"), "max_storage_buffer_binding_size");
        for (device, few, outcomes) in [
            ("adapter limits", false, vec![Ok(verdict(1.0)), Ok(verdict(1.0))]),
            ("default limits", false, vec![Ok(verdict(2.0)), Err(too_large())]),
            ("downlevel limits", true, vec![Ok(verdict(1.0)), buffers, limit(size)]),
        ] {
            results.begin(device, few);
            for outcome in outcomes {
                results.add(&CASES[0], Fill::Normal, "fused 8x1".to_owned(), outcome).unwrap();
            }
        }
        let text = results.text();
        for expected in [
            "adapter limits: 2 runs, 2 passed, 0 failed, worst error 0.00e0",
            "default limits: 2 runs, 0 passed, 2 failed, worst error 1.00e0",
            "default limits: batch [2, 3] ChannelsFirst Normal, fused 8x1: output: error 1.00e0",
            "default limits: batch [2, 3] ChannelsFirst Normal, fused 8x1: x needs a buffer of 9 bytes",
            "downlevel limits: 3 runs, 1 passed, 1 failed, 1 need more storage buffers, worst error 0.00e0",
            "\n7 runs, 3 passed, 3 failed, 1 need more storage buffers; allowed",
        ] {
            assert!(text.contains(expected), "{text}");
        }
        let lost = Failure::Device { adapter: "some".to_owned(), message: "lost".to_owned() };
        assert!(results.add(&CASES[0], Fill::Normal, "fused 8x1".to_owned(), Err(lost)).is_err());
    }
}
