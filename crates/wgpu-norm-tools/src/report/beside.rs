//! Rows of other implementations and of earlier runs, beside ours.

use super::{Report, Row};

/// A row as it is shown.
pub struct Shown<'a> {
    /// What was measured.
    pub row: &'a Row,
    /// Who computed it; none: this program, in this run.
    pub by: Option<String>,
    /// How many times as fast ours is; none where a time is none.
    pub faster: Option<f64>,
}

/// Our rows, each followed by those of the same case: of peers in the same run, then of earlier reports.
pub fn shown<'a>(report: &'a Report, earlier: &'a [Report]) -> Vec<Shown<'a>> {
    let others = others(report, earlier);
    let ours = report.rows.iter().filter(|row| row.peer.is_none());
    ours.flat_map(|row| {
        let beside = others.iter().filter(|(_, other)| other.is_same_case(row)).map(|(by, other)| Shown {
            row: other,
            by: Some(by.clone()),
            faster: Some(other.median_ms / row.median_ms).filter(|faster| faster.is_finite() && *faster > 0.0),
        });
        [Shown { row, by: None, faster: None }].into_iter().chain(beside)
    })
    .collect()
}

/// Rows that are not ours or not of this run, and who computed them.
pub fn others<'a>(report: &'a Report, earlier: &'a [Report]) -> Vec<(String, &'a Row)> {
    let peers = report.rows.iter().filter_map(|row| Some((row.peer.clone()?, row)));
    let before = earlier.iter().flat_map(|earlier| earlier.rows.iter().map(|row| (by(row, earlier, report), row)));
    peers.chain(before).collect()
}

/// Who computed a row of an earlier report, and where, if not here.
fn by(row: &Row, earlier: &Report, report: &Report) -> String {
    let day = earlier.date.split('T').next().unwrap_or_default();
    let name = row.peer.clone().unwrap_or_else(|| format!("wgpu-norm {} of {day}", earlier.version));
    if earlier.adapter == report.adapter { name } else { format!("{name} on {}", earlier.adapter) }
}

/// Each of the others by name, with how many times as fast ours is, and where it is least.
pub fn summary(shown: &[Shown<'_>]) -> String {
    let mut names: Vec<&String> = Vec::new();
    for by in shown.iter().filter_map(|shown| shown.by.as_ref()) {
        if !names.contains(&by) {
            names.push(by);
        }
    }
    let ways = [("forward", false), ("backward", true)];
    let lines = names.iter().flat_map(|name| {
        ways.into_iter().filter_map(move |(way, backward)| {
            let rows: Vec<(f64, &Row)> = shown
                .iter()
                .filter(|shown| shown.by.as_ref() == Some(*name) && (shown.row.pass == "backward") == backward)
                .filter_map(|shown| Some((shown.faster?, shown.row)))
                .collect();
            let (least, row) = rows.iter().min_by(|a, b| a.0.total_cmp(&b.0))?;
            let mean = geometric_mean(rows.iter().map(|(faster, _)| *faster));
            let case = row.name();
            Some(format!(
                "\n{way:8}  {mean:.2} times as fast as {name} in the geometric mean, at least {least:.2}: {case}"
            ))
        })
    });
    lines.collect()
}

/// Of positive numbers.
pub fn geometric_mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    (values.map(f64::ln).sum::<f64>() / count).exp()
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn rows_of_a_case_stand_together() {
        let mut run = report();
        run.rows[1].median_ms = 5.0;
        let mut there = report();
        there.adapter = "b".to_owned();
        there.rows[0].median_ms = 1.0;
        there.rows[1].pass = "backward".to_owned();
        let earlier = [there];
        let shown = shown(&run, &earlier);
        let table: Vec<_> = shown.iter().map(|shown| (shown.by.as_deref(), shown.faster)).collect();
        let other = "wgpu-norm 1.0.0 of 2025-01-02 on b";
        assert_eq!(table, [(None, None), (Some("p"), Some(2.5)), (Some(other), Some(0.5))]);
        let summary = summary(&shown);
        for part in ["2.50 times as fast as p in", "0.50 times as fast as wgpu-norm 1.0.0 of 2025-01-02 on b"] {
            assert!(summary.contains(part), "{part} in {summary}");
        }
        assert!(!summary.contains("backward "), "{summary}");
        assert!((geometric_mean([0.5, 2.0].into_iter()) - 1.0).abs() < 1e-12);
    }
}
