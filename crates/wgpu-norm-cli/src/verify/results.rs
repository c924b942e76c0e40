//! The verdicts of `wgpu-norm verify`: a line for each norm and schedule, one for each pass, and every failure in
//! words.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::Serialize;
use wgpu_norm_tools::check::{Comparison, Misplaced, unravel};
use wgpu_norm_tools::failure::{EXIT_CHECK, Failure};
use wgpu_norm_tools::terminal;

use crate::Global;
use crate::cases::{Case, Fill};

use super::{TOLERANCE, Verdict};

/// Failures printed in words.
const SHOWN: usize = 20;

/// What verdicts add up to.
#[derive(Clone, Debug, Default, Serialize)]
struct Line {
    cases: usize,
    failed: usize,
    worst_relative_error: f64,
}

impl Line {
    fn add(&mut self, passed: bool, error: f64) {
        self.cases += 1;
        self.failed += usize::from(!passed);
        self.worst_relative_error = self.worst_relative_error.max(error);
    }

    /// `3 runs, 2 passed, 1 failed`.
    fn counts(&self) -> String {
        let Self { cases, failed, .. } = self;
        format!("{cases} runs, {} passed, {failed} failed", cases - failed)
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
        Self { adapter, by_schedule, lines: BTreeMap::new(), passes: Vec::new(), failures: Vec::new() }
    }

    /// What follows is of this device.
    pub fn begin(&mut self, device: &str) {
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
        let (passed, error) = match &outcome {
            Ok(verdict) => (verdict.passed(), verdict.comparison.relative),
            Err(Failure::Bind(_) | Failure::BufferSize { .. }) => (false, 0.0),
            Err(_) => return outcome.map(drop),
        };
        let name = case.title();
        let label = if self.by_schedule { schedule.clone() } else { family(&schedule) };
        self.lines.entry((name.clone(), label)).or_default().add(passed, error);
        let device = self.passes.last_mut().map_or("", |(device, line)| {
            line.add(passed, error);
            device
        });
        if !passed {
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
        let (cases, failed) = (self.passes.iter().map(|(_, line)| line.cases).sum(), self.failures.len());
        let all = Line { cases, failed, ..Line::default() }.counts();
        text + &format!("\n{all}; allowed {TOLERANCE:.0e} of a segment's largest value, or of the largest term")
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
    use wgpu_norm::Element;

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
        for (device, outcomes) in [
            ("adapter limits", vec![Ok(verdict(1.0)), Ok(verdict(1.0))]),
            ("default limits", vec![Ok(verdict(2.0)), Err(too_large())]),
        ] {
            results.begin(device);
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
            "\n4 runs, 2 passed, 2 failed; allowed",
        ] {
            assert!(text.contains(expected), "{text}");
        }
        let lost = Failure::Device { adapter: "some".to_owned(), message: "lost".to_owned() };
        assert!(results.add(&CASES[0], Fill::Normal, "fused 8x1".to_owned(), Err(lost)).is_err());
    }
}
