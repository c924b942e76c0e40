//! What a GPU was measured to reach, beside what the model expects of it.

use std::collections::BTreeMap;

use serde::Deserialize;
use wgpu_norm_tools::types;

use crate::report::Report;

/// Shares of the roof by case, of a report of `wgpu-norm bench --json`.
pub struct Measured(BTreeMap<String, f64>);

#[derive(Deserialize)]
struct Bench {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    peer: Option<String>,
    variant: String,
    shape: String,
    format: String,
    pass: String,
    #[serde(default = "f32")]
    dtype: String,
    #[serde(default = "f32")]
    parameters: String,
    ratio: f64,
}

/// Where a report says nothing of types.
fn f32() -> String {
    "f32".to_owned()
}

impl Measured {
    /// Of this library's rows.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        let rows = serde_json::from_str::<Bench>(text)?.rows.into_iter().filter(|row| row.peer.is_none());
        let name = |row: &Row| {
            let types = types::suffix(&row.dtype, &row.parameters);
            format!("{} {} {} {}{types}", row.variant, row.shape, row.format, row.pass)
        };
        Ok(Self(rows.map(|row| (name(&row), row.ratio)).collect()))
    }

    /// Of a case.
    pub fn share(&self, case: &str) -> Option<f64> {
        self.0.get(case).copied()
    }

    /// How far the estimates of a GPU are from it, forward or backward.
    pub fn compared(&self, report: &Report, gpu: &str, backward: bool) -> Option<String> {
        let of_pass = report.cases.iter().filter(|case| case.name.contains(" backward") == backward);
        let error = |case: &crate::report::CaseReport| Some((case.estimates.get(gpu)? / self.share(&case.name)?).ln());
        let errors: Vec<f64> = of_pass.filter_map(error).collect();
        let count = errors.len() as f64;
        let mean = errors.iter().sum::<f64>() / count;
        let spread = (errors.iter().map(|error| (error - mean).powi(2)).sum::<f64>() / count).sqrt();
        (!errors.is_empty()).then(|| {
            let (mean, spread) = (mean.exp(), spread.exp());
            format!("{mean:.2} times what was measured over {count} cases, give or take a factor of {spread:.2}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::CaseReport;

    #[test]
    fn estimates_are_compared_with_what_was_measured() {
        let row = |peer: &str, ratio: f64| {
            format!(
                r#"{{"peer":{peer},"variant":"layer","shape":"4x8","format":"rows","pass":"forward","ratio":{ratio}}}"#
            )
        };
        let text = format!(r#"{{"rows":[{},{}]}}"#, row("null", 0.5), row("\"torch\"", 0.1));
        let measured = Measured::read(&text).unwrap();
        let case = |name: &str, share: f64| CaseReport {
            name: name.to_owned(),
            elements: 32,
            estimates: [("h100".to_owned(), share)].into(),
            dispatches: Vec::new(),
        };
        let cases = vec![case("layer 4x8 rows forward", 0.6), case("layer 4x9 rows forward", 0.6)];
        let report = Report { device: String::new(), cases };
        let said = measured.compared(&report, "h100", false).unwrap();
        assert!(said.starts_with("1.20 times") && said.contains("over 1 cases"), "{said}");
        assert_eq!(measured.compared(&report, "h100", true), None);
        assert!(Measured::read("{}").is_err());
    }
}
