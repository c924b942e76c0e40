//! What a run found, as text and as JSON.

use std::fmt;

use serde::Serialize;
use wgpu_norm_tools::terminal;

use crate::golden::Request;
use crate::judge::{Count, Tally, Verdict};
use crate::setup::Support;

/// Failures listed in text for one family; JSON has all.
const LISTED: usize = 20;

/// All families.
#[derive(Serialize)]
pub struct Report {
    /// Where it ran.
    adapter: String,
    /// A row a family.
    families: Vec<Row>,
    /// Their sum; the failures are the families'.
    total: Row,
}

/// One family.
#[derive(Serialize, Default)]
pub struct Row {
    /// Its name.
    family: String,
    /// All its cases.
    cases: usize,
    /// Cases that ran.
    run: usize,
    /// Cases that ran and are good.
    passed: usize,
    /// Cases that ran and are wrong.
    failed: usize,
    /// Cases that the engine will run one day.
    not_yet: usize,
    /// Cases that it will not.
    not_supported: usize,
    /// Cases that need more storage buffers than the limits allow.
    beyond_limits: usize,
    /// How many tensors are good, and how good.
    #[serde(flatten)]
    tally: Tally,
    /// What failed.
    failures: Vec<CaseFailure>,
}

/// A case that failed.
#[derive(Serialize)]
pub struct CaseFailure {
    /// Its name.
    pub case: String,
    /// What is wrong.
    pub faults: Vec<String>,
}

impl Row {
    /// A family without cases.
    pub fn new(family: &str) -> Self {
        Self { family: family.to_owned(), ..Self::default() }
    }

    /// Counts a case that did not run.
    pub fn leave_out(&mut self, support: Support) {
        self.cases += 1;
        match support {
            Support::NotYet => self.not_yet += 1,
            Support::Runs | Support::Never => self.not_supported += 1,
        }
    }

    /// Counts a case that needs more storage buffers than there are.
    pub fn refuse_for_limits(&mut self) {
        self.cases += 1;
        self.beyond_limits += 1;
    }

    /// Takes in the verdict on a case that ran.
    pub fn add(&mut self, request: &Request, verdict: Verdict) {
        self.cases += 1;
        self.run += 1;
        self.tally += verdict.tally;
        if verdict.faults.is_empty() {
            self.passed += 1;
        } else {
            self.failed += 1;
            self.failures.push(CaseFailure { case: request.name.clone(), faults: verdict.faults });
        }
    }

    fn cells(&self) -> [String; 14] {
        let count = |Count { good, total }: Count| format!("{good}/{total}");
        let error = |error: f64| if self.tally.tensors().total > 0 { format!("{error:.1e}") } else { "-".to_owned() };
        [
            self.family.clone(),
            self.cases.to_string(),
            self.run.to_string(),
            self.passed.to_string(),
            self.failed.to_string(),
            self.not_yet.to_string(),
            self.not_supported.to_string(),
            self.beyond_limits.to_string(),
            count(self.tally.outputs),
            count(self.tally.gradients),
            count(self.tally.statistics),
            count(self.tally.exact),
            error(self.tally.worst_error),
            error(self.tally.recorded_worst_error),
        ]
    }
}

impl Report {
    /// Nothing yet.
    pub fn new(adapter: String) -> Self {
        Self { adapter, families: Vec::new(), total: Row::new("total") }
    }

    /// Takes in a family.
    pub fn add(&mut self, row: Row) {
        let total = &mut self.total;
        total.cases += row.cases;
        total.run += row.run;
        total.passed += row.passed;
        total.failed += row.failed;
        total.not_yet += row.not_yet;
        total.not_supported += row.not_supported;
        total.beyond_limits += row.beyond_limits;
        total.tally += row.tally;
        self.families.push(row);
    }

    /// Whether a case failed.
    pub fn has_failures(&self) -> bool {
        self.total.failed > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.families {
            for CaseFailure { case, faults } in row.failures.iter().take(LISTED) {
                writeln!(f, "FAIL {} {case}: {}", row.family, faults.join("; "))?;
            }
            if row.failures.len() > LISTED {
                writeln!(f, "FAIL {} and {} more cases", row.family, row.failures.len() - LISTED)?;
            }
        }
        let mut table = terminal::table(&[
            "family",
            "cases",
            "run",
            "passed",
            "failed",
            "not yet",
            "not supported",
            "beyond limits",
            "outputs",
            "gradients",
            "statistics",
            "within 1e-6",
            "worst error",
            "recorded",
        ]);
        for row in self.families.iter().chain([&self.total]) {
            table.add_row(row.cells());
        }
        writeln!(f, "{table}")?;
        let (Count { good, total }, exact) = (self.total.tally.tensors(), self.total.tally.exact);
        let verdict =
            terminal::verdict(&format!("{good} of {total} tensors and refusals are good"), !self.has_failures());
        let share = 100.0 * exact.good as f64 / exact.total.max(1) as f64;
        writeln!(f, "{}: {verdict}", self.adapter)?;
        write!(f, "{} of {} tensors ({share:.2} %) are within 1e-6 of the f64 oracle", exact.good, exact.total)
    }
}
