//! What a replay found, as text and as JSON.

use std::fmt;

use serde::Serialize;

use crate::golden::Request;
use crate::terminal;

use super::judge::{Count, Verdict};
use super::setup::Support;

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
    /// Gradients recorded with the cases that ran; none is computed yet.
    gradients_not_yet: usize,
    /// Outputs and refusals.
    outputs: Count,
    /// Running statistics and the saved ones that are asked for.
    statistics: Count,
    /// Largest error of an output that is good, in units of its scale.
    worst_error: f64,
    /// Largest error of the recorded float32 results of the same outputs.
    recorded_worst_error: f64,
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

    /// Takes in the verdict on a case that ran.
    pub fn add(&mut self, request: &Request, verdict: Verdict) {
        let is_gradient = |name: &&String| ["dx", "dweight", "dbias", "dstyle"].iter().any(|d| name.starts_with(d));
        self.cases += 1;
        self.run += 1;
        self.gradients_not_yet += request.wanted.keys().filter(is_gradient).count();
        self.outputs += verdict.outputs;
        self.statistics += verdict.statistics;
        self.worst_error = self.worst_error.max(verdict.worst);
        self.recorded_worst_error = self.recorded_worst_error.max(verdict.recorded_worst);
        if verdict.faults.is_empty() {
            self.passed += 1;
        } else {
            self.failed += 1;
            self.failures.push(CaseFailure { case: request.name.clone(), faults: verdict.faults });
        }
    }

    fn cells(&self) -> [String; 11] {
        let error = |error: f64| if self.outputs.total > 0 { format!("{error:.1e}") } else { "-".to_owned() };
        [
            self.family.clone(),
            self.cases.to_string(),
            self.run.to_string(),
            self.passed.to_string(),
            self.failed.to_string(),
            self.not_yet.to_string(),
            self.not_supported.to_string(),
            self.gradients_not_yet.to_string(),
            format!("{}/{}", self.statistics.good, self.statistics.total),
            error(self.worst_error),
            error(self.recorded_worst_error),
        ]
    }
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.good += other.good;
        self.total += other.total;
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
        total.gradients_not_yet += row.gradients_not_yet;
        total.outputs += row.outputs;
        total.statistics += row.statistics;
        total.worst_error = total.worst_error.max(row.worst_error);
        total.recorded_worst_error = total.recorded_worst_error.max(row.recorded_worst_error);
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
            "gradients not yet",
            "statistics",
            "worst error",
            "recorded f32",
        ]);
        for row in self.families.iter().chain([&self.total]) {
            table.add_row(row.cells());
        }
        writeln!(f, "{table}")?;
        let Count { good, total } = self.total.outputs;
        let verdict =
            terminal::verdict(&format!("{good} of {total} outputs and refusals are good"), !self.has_failures());
        write!(f, "{}: {verdict}", self.adapter)
    }
}
