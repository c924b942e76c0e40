//! What `bench` measured, as JSON, as a page and as a table: of the program, or of the page that measures a browser.

use std::collections::BTreeMap;
#[cfg(feature = "native")]
use std::path::Path;

use serde::{Deserialize, Serialize};

#[cfg(feature = "native")]
use crate::device::{Gpu, type_name};
#[cfg(feature = "native")]
use crate::failure::Failure;
use crate::types;

pub mod beside;
pub mod compare;
pub mod html;
#[cfg(feature = "native")]
pub mod table;

/// Version of the JSON.
pub const SCHEMA: u32 = 2;
/// What is said of a processor that plays GPU.
const SOFTWARE: &str = "software adapter: only the ratios mean something, GB/s say nothing of a GPU";
/// Type of such an adapter.
const PROCESSOR: &str = "software";
/// Largest error in units of the largest value of a segment, or of the magnitudes of the terms of a sum.
pub const TOLERANCE: f64 = 1e-5;

/// A run of `bench`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the adapter.
    pub adapter: String,
    /// Its driver, with the version.
    pub driver: String,
    /// Vulkan, Metal, ...
    pub backend: String,
    /// `discrete`, `integrated`, `virtual`, `software`, `other`.
    pub device_type: String,
    /// When, in UTC, as ISO 8601 has it.
    pub date: String,
    /// What was typed.
    pub command: String,
    /// `timestamps` or `wall clock`.
    pub clock: String,
    /// Of the program.
    pub version: String,
    /// From opening the adapter to the first result of a small norm, in the host's memory.
    pub cold_start_ms: f64,
    /// GB/s of the kernels that only move memory, medians over the run.
    pub roofs: BTreeMap<Roof, f64>,
    /// What else has to be known of the rows.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What was measured.
    pub rows: Vec<Row>,
    /// What was not.
    #[serde(default)]
    pub skipped: Vec<Skipped>,
}

/// A kernel that only moves memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Roof {
    /// One read, one write.
    Copy,
    /// Two reads, one write.
    Triad,
    /// Reads alone.
    ReadOnly,
}

/// One implementation's time of one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Another implementation; none: this one.
    pub peer: Option<String>,
    /// The norm in words: `layer`, `batch training`, `group 32`.
    pub variant: String,
    /// Sizes in the order N, C, spatial axes, whatever lies innermost: `8x64x120x120`.
    pub shape: String,
    /// `rows`, `channels-first`, `channels-last`.
    pub format: String,
    /// Of input, output and their gradients: `f32`, `f16`, `bf16`.
    pub dtype: String,
    /// Of scale, bias and their gradients.
    #[serde(default = "f32")]
    pub parameters: String,
    /// `forward`, `training`, `backward`.
    pub pass: String,
    /// How it was computed.
    pub schedule: String,
    /// Half of the samples took less.
    pub median_ms: f64,
    /// A fifth of them took less.
    pub p20_ms: f64,
    /// A fifth of them took more.
    pub p80_ms: f64,
    /// Bytes that no implementation can do without.
    pub min_bytes: u64,
    /// `min_bytes` over the median.
    pub gbps: f64,
    /// The kernel to compare with.
    pub roof: Roof,
    /// Its GB/s, measured in turn with this row.
    pub roof_gbps: f64,
    /// How many times the algorithm moves each element.
    pub roof_elements: u32,
    /// The time in which the roof moves the algorithm's bytes, over the median: 1 at the limit.
    pub ratio: f64,
    /// Largest error in such units, [`f64::MAX`] where a NaN is misplaced; none for peers.
    pub error: Option<f64>,
}

/// A case that was not measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    /// Who failed it, where others have measured it.
    #[serde(default)]
    pub peer: Option<String>,
    /// As [`Row::variant`].
    pub variant: String,
    /// As [`Row::shape`].
    pub shape: String,
    /// As [`Row::format`].
    pub format: String,
    /// As [`Row::dtype`].
    #[serde(default = "f32")]
    pub dtype: String,
    /// As [`Row::parameters`].
    #[serde(default = "f32")]
    pub parameters: String,
    /// As [`Row::pass`].
    pub pass: String,
    /// Bytes of all its buffers.
    pub needs_bytes: u64,
    /// Why not.
    pub why: String,
}

/// Where an earlier report says nothing of it.
fn f32() -> String {
    "f32".to_owned()
}

impl Roof {
    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Triad => "triad",
            Self::ReadOnly => "read_only",
        }
    }

    /// Tensors that it moves.
    pub fn tensors(self) -> u64 {
        match self {
            Self::ReadOnly => 1,
            Self::Copy => 2,
            Self::Triad => 3,
        }
    }
}

impl Report {
    /// A report without rows.
    #[cfg(feature = "native")]
    pub fn new(gpu: &Gpu, clock: &str, cold_start_ms: f64) -> Self {
        let info = &gpu.info;
        let arguments = std::env::args().skip(1);
        Self {
            schema: SCHEMA,
            adapter: info.name.clone(),
            driver: [info.driver.as_str(), &info.driver_info].join(" ").trim().to_owned(),
            backend: info.backend.to_string(),
            device_type: type_name(info.device_type).to_owned(),
            date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            command: ["wgpu-norm".to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" "),
            clock: clock.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cold_start_ms,
            roofs: BTreeMap::new(),
            notes: Vec::new(),
            rows: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// Reads what an earlier run wrote, or another program in the same schema.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let Version { schema } = serde_json::from_str(text).map_err(|error| format!("no report of bench: {error}"))?;
        if schema != SCHEMA {
            return Err(format!("a report of schema {schema}, this program reads schema {SCHEMA}"));
        }
        serde_json::from_str(text).map_err(|error| format!("no report of bench: {error}"))
    }

    /// Reads a file as [`Report::parse`].
    #[cfg(feature = "native")]
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, error))?;
        Self::parse(&text).map_err(|why| Failure::Usage(format!("{}: {why}", path.display())))
    }

    /// Whether the processor itself was measured.
    pub fn is_software(&self) -> bool {
        self.device_type == PROCESSOR
    }

    /// Rows whose error is too large.
    pub fn wrong(&self) -> usize {
        self.rows.iter().filter(|row| !row.is_right()).count()
    }
}

impl Skipped {
    /// All of it in words.
    pub fn text(&self) -> String {
        let case = [&self.variant, &self.shape, &self.format, &self.pass].map(String::as_str).join(" ");
        let case = case + &types::suffix(&self.dtype, &self.parameters);
        let gib = self.needs_bytes as f64 / f64::from(1 << 30);
        match &self.peer {
            Some(peer) => format!("{case} by {peer}: {}", self.why),
            None => format!("{case}, which needs {gib:.2} GiB: {}", self.why),
        }
    }
}

impl Row {
    /// Whether the error is small enough, where it is known.
    pub fn is_right(&self) -> bool {
        self.error.is_none_or(|error| error <= TOLERANCE)
    }

    /// What was computed, but for its types.
    pub fn case(&self) -> [&str; 4] {
        [&self.variant, &self.shape, &self.format, &self.pass]
    }

    /// Its types in a word.
    pub fn types(&self) -> String {
        types::in_a_word(&self.dtype, &self.parameters)
    }

    /// What was computed, in words.
    pub fn name(&self) -> String {
        self.case().join(" ") + &types::suffix(&self.dtype, &self.parameters)
    }

    /// Whether both computed the same, whoever did.
    pub fn is_same_case(&self, other: &Self) -> bool {
        self.case() == other.case() && (&self.dtype, &self.parameters) == (&other.dtype, &other.parameters)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            peer: None,
            variant: "group 32".to_owned(),
            shape: "8x64x120x120".to_owned(),
            format: "channels-last".to_owned(),
            dtype: f32(),
            parameters: f32(),
            pass: "forward".to_owned(),
            schedule: "split".to_owned(),
            median_ms: 2.0,
            p20_ms: 1.5,
            p80_ms: 2.5,
            min_bytes: 58_982_912,
            gbps: 29.491_456,
            roof: Roof::Copy,
            roof_gbps: 40.0,
            roof_elements: 3,
            ratio: 1.1,
            error: Some(1e-7),
        }
    }

    /// One of each.
    pub(crate) fn report() -> Report {
        Report {
            schema: SCHEMA,
            adapter: "a".to_owned(),
            driver: "d".to_owned(),
            backend: "vulkan".to_owned(),
            device_type: "software".to_owned(),
            date: "2025-01-02T03:04:05Z".to_owned(),
            command: "wgpu-norm bench".to_owned(),
            clock: "wall clock".to_owned(),
            version: "1.0.0".to_owned(),
            cold_start_ms: 12.5,
            roofs: [(Roof::Copy, 40.0), (Roof::Triad, 41.0), (Roof::ReadOnly, 50.0)].into(),
            notes: vec!["2 of 2 cases have fewer samples".to_owned()],
            rows: vec![row(), Row { peer: Some("p".to_owned()), error: None, ..row() }],
            skipped: vec![Skipped {
                peer: None,
                variant: "layer".to_owned(),
                shape: "1x67108864".to_owned(),
                format: "rows".to_owned(),
                dtype: f32(),
                parameters: f32(),
                pass: "forward".to_owned(),
                needs_bytes: 1 << 30,
                why: "too large".to_owned(),
            }],
        }
    }

    #[cfg(feature = "native")]
    #[test]
    fn a_processor_has_one_name() {
        assert_eq!(PROCESSOR, type_name(wgpu_norm::wgpu::DeviceType::Cpu));
    }

    #[test]
    fn a_report_survives_json() {
        let text = serde_json::to_string_pretty(&report()).unwrap();
        assert_eq!(Report::parse(&text).unwrap(), report());
        for part in [r#""read_only": 50.0"#, r#""roof": "copy""#, r#""peer": null"#, r#""schema": 2"#] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn reports_of_others_are_refused() {
        for (text, expected) in [
            (r#"{"schema":1,"rows":[]}"#, "a report of schema 1, this program reads schema 2"),
            (r#"{"schema":2}"#, "missing field `adapter`"),
            ("[]", "no report of bench"),
            ("", "no report of bench"),
        ] {
            let error = Report::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn types_make_another_case() {
        let of =
            |dtype: &str, parameters: &str| Row { dtype: dtype.to_owned(), parameters: parameters.to_owned(), ..row() };
        let rows = [row(), of("bf16", "f32"), of("bf16", "bf16")];
        let case = "group 32 8x64x120x120 channels-last forward";
        let names = [case.to_owned(), format!("{case} bf16"), format!("{case} bf16/bf16")];
        assert_eq!(rows.each_ref().map(Row::name), names);
        for (i, a) in rows.iter().enumerate() {
            assert!(rows.iter().enumerate().all(|(k, b)| a.is_same_case(b) == (i == k)), "{}", a.name());
        }
    }

    #[test]
    fn errors_decide_whether_rows_are_right() {
        for (error, expected) in [(None, true), (Some(1e-6), true), (Some(1e-4), false), (Some(f64::MAX), false)] {
            assert_eq!(Row { error, ..row() }.is_right(), expected, "{error:?}");
        }
    }
}
