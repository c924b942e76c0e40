//! What `wgpu-norm bench --peer` sends and reads: one JSON object a line.

use serde::{Deserialize, Serialize};

/// The first line of a peer.
#[derive(Serialize)]
pub struct Hello {
    /// Name and version, as the report shows them.
    pub peer: String,
    /// What it runs on.
    pub adapter: String,
}

/// A line from `bench`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Prepare this case; the answer is `ready` or `unsupported`.
    Case(Case),
    /// Run it so many times; the answer is `seconds` for all of them.
    Run(usize),
}

/// A line to `bench`.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// The case was prepared.
    Ready(bool),
    /// Why there is nothing to measure.
    Unsupported(String),
    /// The time of all runs together.
    Seconds(f64),
}

/// What to normalize, and how.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// `layer`, `rms`, `batch`, `instance` or `group`.
    pub variant: String,
    /// N, C and spatial axes, whatever the format; rows and widths for `layer` and `rms`.
    pub shape: Vec<usize>,
    /// `rows`, `channels-first` or `channels-last`.
    pub format: String,
    /// `forward`, `training` or `backward`.
    pub pass: String,
    /// For `group`.
    pub groups: Option<usize>,
    /// For `batch`: statistics of the batch, not the running ones.
    #[serde(default)]
    pub training: bool,
    /// Added to the variance.
    pub eps: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_the_lines_of_bench() {
        let case = r#"{"case":{"variant":"layer","shape":[4096,1024],"format":"rows","pass":"forward","groups":null,"eps":1e-5}}"#;
        let Ok(Request::Case(case)) = serde_json::from_str(case) else { panic!("not a case: {case}") };
        assert_eq!(
            (case.shape.as_slice(), case.groups, case.training, case.eps),
            (&[4096, 1024][..], None, false, 1e-5)
        );
        assert!(matches!(serde_json::from_str(r#"{"run":8}"#), Ok(Request::Run(8))));
        for (reply, line) in [
            (Reply::Ready(true), r#"{"ready":true}"#),
            (Reply::Unsupported("no".into()), r#"{"unsupported":"no"}"#),
            (Reply::Seconds(0.5), r#"{"seconds":0.5}"#),
        ] {
            assert_eq!(serde_json::to_string(&reply).unwrap(), line);
        }
    }
}
