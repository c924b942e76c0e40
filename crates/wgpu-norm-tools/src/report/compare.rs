//! A run against an earlier one: what got slower or faster beyond the noise.
//!
//! Times of two runs say nothing where the machine had other work in one of them. So a row's time is multiplied by the
//! speed of the roof that was measured in turn with it: what the roof moves meanwhile. Where the algorithm is the same,
//! this compares the ratios to the roof; where it moves fewer bytes than before, it counts that as the gain that it is.

#[cfg(feature = "native")]
use comfy_table::{Cell, Color};

use super::beside::geometric_mean;
use super::{Report, Row};
#[cfg(feature = "native")]
use crate::{terminal, types};

/// A smaller change does not count: how many times as fast, or as slow.
const THRESHOLD: f64 = 1.05;
/// Cases that are named where one run lacks them.
const NAMED: usize = 6;
/// Columns of the changes.
#[cfg(feature = "native")]
const HEADER: [&str; 8] = ["", "norm", "shape", "channels", "pass", "speed", "of roof before", "now"];

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Slower beyond the noise.
    Slower,
    /// Faster beyond the noise.
    Faster,
    /// As fast as before, as far as can be told.
    Same,
}

/// A case in both runs.
pub struct Change<'a> {
    /// Then.
    pub before: &'a Row,
    /// In the newer run.
    pub now: &'a Row,
    /// How many times as fast it is now, next to the roof.
    pub faster: f64,
    /// Whether that is more than noise.
    pub verdict: Verdict,
}

/// Our rows of two runs.
pub struct Comparison<'a> {
    /// The earlier run.
    pub before: &'a Report,
    /// What else changed between them, in words.
    pub differences: Vec<String>,
    /// Cases in both, the largest loss first.
    pub changes: Vec<Change<'a>>,
    /// Cases only in the newer run.
    pub added: Vec<&'a Row>,
    /// Cases only in the earlier run.
    pub missing: Vec<&'a Row>,
    /// Cases in both that were measured against different roofs, or whose times are none.
    pub unfit: Vec<&'a Row>,
}

impl Verdict {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Slower => "slower",
            Self::Faster => "faster",
            Self::Same => "same",
        }
    }
}

impl<'a> Comparison<'a> {
    /// Compares `now` with what was `before`.
    pub fn new(before: &'a Report, now: &'a Report) -> Self {
        let mut comparison = Self {
            before,
            differences: differences(before, now),
            changes: Vec::new(),
            added: Vec::new(),
            missing: Vec::new(),
            unfit: Vec::new(),
        };
        for row in ours(now) {
            match ours(before).find(|old| old.is_same_case(row)) {
                None => comparison.added.push(row),
                Some(old) => match change(old, row) {
                    Some(change) => comparison.changes.push(change),
                    None => comparison.unfit.push(row),
                },
            }
        }
        comparison.missing = ours(before).filter(|old| !ours(now).any(|row| old.is_same_case(row))).collect();
        comparison.changes.sort_by(|a, b| a.faster.total_cmp(&b.faster));
        comparison
    }

    /// How many rows have a verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.changes.iter().filter(|change| change.verdict == verdict).count()
    }

    /// Which run this one is compared with.
    pub fn title(&self) -> String {
        format!("wgpu-norm {} of {}", self.before.version, self.before.date)
    }

    /// How many rows changed, and by how much all of them did.
    pub fn summary(&self) -> Vec<String> {
        let counts =
            [Verdict::Slower, Verdict::Faster].map(|verdict| format!("{} {}", self.count(verdict), verdict.name()));
        let same = self.count(Verdict::Same);
        let counts = format!("{}, {same} within the noise: p20..p80 overlap, or less than 5 %", counts.join(", "));
        let means = [("forward", false), ("backward", true)].into_iter().filter_map(|(way, backward)| {
            let changes = self.changes.iter().filter(|change| (change.now.pass == "backward") == backward);
            let faster: Vec<f64> = changes.map(|change| change.faster).collect();
            let mean = geometric_mean(faster.iter().copied());
            (!faster.is_empty()).then(|| format!("{way:8}  {mean:.3} times as fast as before in the geometric mean"))
        });
        [counts].into_iter().chain(means).collect()
    }

    /// What one run lacks, and what cannot be compared.
    pub fn remarks(&self) -> Vec<String> {
        let sets = [
            ("new", &self.added),
            ("missing", &self.missing),
            ("not comparable, of another roof or without a time", &self.unfit),
        ];
        let filled = sets.into_iter().filter(|(_, rows)| !rows.is_empty());
        filled.map(|(what, rows)| format!("{what}: {}", names(rows))).collect()
    }

    /// For the terminal.
    #[cfg(feature = "native")]
    pub fn text(&self) -> String {
        let mut text = format!("compared with {}\n", self.title());
        let changed = self.changes.iter().filter(|change| change.verdict != Verdict::Same);
        let mut table = terminal::table(&HEADER);
        for change in changed {
            table.add_row(cells(change));
        }
        if !table.is_empty() {
            text += &format!("\n{}\n\n", table.trim_fmt());
        }
        text + &[self.summary(), self.remarks()].concat().join("\n")
    }
}

/// Rows of this program, those of peers left out.
fn ours(report: &Report) -> impl Iterator<Item = &Row> {
    report.rows.iter().filter(|row| row.peer.is_none())
}

/// None where the two cannot be compared.
fn change<'a>(before: &'a Row, now: &'a Row) -> Option<Change<'a>> {
    // what the roof moves in each of the times
    let moved = |row: &Row| [row.p20_ms, row.median_ms, row.p80_ms].map(|ms| ms * row.roof_gbps);
    let ([old_20, old, old_80], [new_20, new, new_80]) = (moved(before), moved(now));
    let faster = old / new;
    let is_time = |value: f64| value.is_finite() && value > 0.0;
    if before.roof != now.roof || ![old, new, faster].into_iter().all(is_time) {
        return None;
    }
    let verdict = if new_20 > old_80 && faster < 1.0 / THRESHOLD {
        Verdict::Slower
    } else if new_80 < old_20 && faster > THRESHOLD {
        Verdict::Faster
    } else {
        Verdict::Same
    };
    Some(Change { before, now, faster, verdict })
}

/// What makes a comparison doubtful.
fn differences(before: &Report, now: &Report) -> Vec<String> {
    let facts = |report: &Report| {
        [
            ("adapter", &report.adapter),
            ("driver", &report.driver),
            ("backend", &report.backend),
            ("clock", &report.clock),
        ]
        .map(|(what, value)| (what, value.clone()))
    };
    let pairs = facts(before).into_iter().zip(facts(now));
    let changed = pairs.filter(|((_, before), (_, now))| before != now);
    changed.map(|((what, before), (_, now))| format!("another {what} than before: '{now}', then '{before}'")).collect()
}

fn names(rows: &[&Row]) -> String {
    let named: Vec<String> = rows.iter().take(NAMED).map(|row| row.name()).collect();
    let rest = rows.len() - named.len();
    named.join(", ") + &if rest > 0 { format!(", and {rest} more") } else { String::new() }
}

#[cfg(feature = "native")]
fn cells(change: &Change<'_>) -> Vec<Cell> {
    let Change { before, now, faster, verdict } = change;
    let share = |row: &Row| format!("{:.0} % {}E", row.ratio * 100.0, row.roof_elements);
    let colour = if *verdict == Verdict::Slower { Color::Red } else { Color::Green };
    let format = now.format.trim_start_matches("channels-");
    let speed = format!("{faster:.2}x");
    let pass = now.pass.clone() + &types::suffix(&now.dtype, &now.parameters);
    let words = [verdict.name(), &now.variant, &now.shape, format, &pass, &speed, &share(before), &share(now)];
    words
        .into_iter()
        .enumerate()
        .map(|(i, word)| if i == 0 { Cell::new(word).fg(colour) } else { Cell::new(word) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Roof;
    use super::super::tests::report;
    use super::*;

    /// A row of so many milliseconds, 2 % more or less, beside a roof of so many GB/s.
    fn row(median_ms: f64, roof_gbps: f64) -> Row {
        Row { median_ms, p20_ms: median_ms * 0.98, p80_ms: median_ms * 1.02, roof_gbps, ..report().rows[0].clone() }
    }

    #[test]
    fn only_what_exceeds_the_noise_counts() {
        let wide = |row: Row| Row { p20_ms: row.median_ms * 0.5, p80_ms: row.median_ms * 2.0, ..row };
        for (what, before, now, expected) in [
            ("equal", row(2.0, 40.0), row(2.0, 40.0), Some(Verdict::Same)),
            ("half the time", row(2.0, 40.0), row(1.0, 40.0), Some(Verdict::Faster)),
            ("twice the time", row(1.0, 40.0), row(2.0, 40.0), Some(Verdict::Slower)),
            ("a busy machine", row(1.0, 40.0), row(2.0, 20.0), Some(Verdict::Same)),
            ("a loss that an idle machine hides", row(2.0, 20.0), row(2.0, 40.0), Some(Verdict::Slower)),
            ("4.5 %, intervals apart", row(1.0, 40.0), row(1.045, 40.0), Some(Verdict::Same)),
            ("6 %, intervals apart", row(1.0, 40.0), row(1.06, 40.0), Some(Verdict::Slower)),
            ("intervals that overlap", wide(row(1.0, 40.0)), row(1.5, 40.0), Some(Verdict::Same)),
            (
                "other bytes",
                Row { roof_elements: 2, ratio: 0.5, ..row(1.0, 40.0) },
                row(1.0, 40.0),
                Some(Verdict::Same),
            ),
            ("another roof", Row { roof: Roof::Triad, ..row(1.0, 40.0) }, row(1.0, 40.0), None),
            ("no time", row(0.0, 40.0), row(1.0, 40.0), None),
            ("no number", row(f64::NAN, 40.0), row(1.0, 40.0), None),
        ] {
            assert_eq!(change(&before, &now).map(|change| change.verdict), expected, "{what}");
        }
    }

    #[cfg(feature = "native")]
    #[test]
    fn cases_of_one_run_alone_are_named() {
        let with = |rows: Vec<Row>| Report { rows, ..report() };
        let named = |variant: &str, row: Row| Row { variant: variant.to_owned(), ..row };
        let peer = Row { peer: Some("p".to_owned()), ..named("lp 1", row(1.0, 40.0)) };
        let before = with(vec![row(1.0, 40.0), named("rms", row(1.0, 40.0)), named("adain", row(1.0, 40.0)), peer]);
        let slower = [row(2.0, 40.0), named("rms", row(0.5, 40.0)), named("batch training", row(1.0, 40.0))];
        let now = with(slower.to_vec());
        let comparison = Comparison::new(&before, &now);
        let text = comparison.text();
        for part in [
            "compared with wgpu-norm 1.0.0 of 2025-01-02T03:04:05Z",
            "0.50x",
            "2.00x",
            "1 slower, 1 faster, 0 within the noise",
            "1.000 times as fast as before in the geometric mean",
            "new: batch training 8x64x120x120 channels-last forward",
            "missing: adain 8x64x120x120 channels-last forward",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains("lp 1"), "{text}");
        // the loss comes first
        assert!(text.find("0.50x") < text.find("2.00x"), "{text}");
        let many = with((0..9).map(|i| named(&format!("group {i}"), row(1.0, 40.0))).collect());
        assert!(Comparison::new(&many, &now).text().contains("group 5 8x64x120x120 channels-last forward, and 3 more"));
        assert!(Comparison::new(&with(Vec::new()), &with(Vec::new())).text().contains("0 slower, 0 faster"));
    }

    #[test]
    fn another_machine_is_pointed_out() {
        let before = report();
        let now = Report { adapter: "b".to_owned(), driver: "e".to_owned(), ..report() };
        let expected = ["another adapter than before: 'b', then 'a'", "another driver than before: 'e', then 'd'"];
        assert_eq!(Comparison::new(&before, &now).differences, expected);
        assert!(Comparison::new(&before, &before).differences.is_empty());
    }
}
