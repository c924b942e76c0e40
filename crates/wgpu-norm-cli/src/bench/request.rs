//! A case in the words of the protocol that other implementations speak.

use serde::Serialize;
use wgpu_norm_tools::around::Around;

use super::case::{BenchCase, Format, Pass, Traffic, Variant};

/// What is asked of a peer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Request {
    variant: &'static str,
    /// In the order N, C, spatial axes; rows and width.
    shape: Vec<u64>,
    format: &'static str,
    pass: &'static str,
    groups: Option<u64>,
    /// By the batch's own statistics.
    training: bool,
    eps: f64,
    /// What stands around the norm, of which peers know nothing.
    #[serde(skip_serializing_if = "Around::is_none")]
    around: Around,
}

impl Request {
    /// None where the protocol has no word for the case.
    pub fn new(case: &BenchCase) -> Option<Self> {
        let (variant, groups) = match case.variant {
            Variant::Layer(1) => ("layer", None),
            Variant::Rms(1) => ("rms", None),
            Variant::BatchInference | Variant::BatchTraining => ("batch", None),
            Variant::Instance => ("instance", None),
            Variant::Group(groups) => ("group", Some(groups)),
            Variant::Layer(_) | Variant::Rms(_) | Variant::Lp(..) | Variant::AdaptiveInstance => return None,
        };
        let shape = match case.format {
            // a width, and how many of them
            Format::Rows if case.around.is_none() => {
                let width = *case.shape.last()?;
                vec![case.elements() / width.max(1), width]
            }
            _ => case.shape.clone(),
        };
        Some(Self {
            variant,
            shape,
            format: case.format.name(),
            pass: case.pass.name(),
            groups,
            training: case.variant == Variant::BatchTraining || case.pass != Pass::Forward,
            eps: 1e-5,
            around: case.around,
        })
    }

    /// The same for a peer.
    pub fn of_peer(case: &BenchCase) -> Option<Self> {
        Self::new(case).filter(|request| request.around.is_none())
    }
}

/// A line that asks for a case.
#[derive(Debug, Serialize)]
pub struct Line {
    /// Which.
    pub case: Request,
}

/// A case as `--list` has it: with what a report says of it, for others who measure and report.
#[derive(Debug, Serialize)]
pub struct Listed {
    case: Request,
    /// As [`Row::variant`](wgpu_norm_tools::report::Row::variant).
    variant: String,
    #[serde(flatten)]
    traffic: Traffic,
}

impl Listed {
    /// None where the protocol has no word for the case.
    pub fn new(case: &BenchCase) -> Option<Self> {
        Some(Self { case: Request::new(case)?, variant: case.norm_name(), traffic: case.traffic() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_asked_for_in_the_words_of_the_protocol() {
        let line = |variant, shape: &[u64], format, pass| {
            let case = Request::new(&BenchCase::new(variant, shape, format, pass))?;
            Some(serde_json::to_string(&Line { case }).unwrap())
        };
        assert_eq!(
            line(Variant::Group(32), &[8, 64, 7, 5], Format::Last, Pass::Forward).unwrap(),
            concat!(
                r#"{"case":{"variant":"group","shape":[8,64,7,5],"format":"channels-last","pass":"forward","#,
                r#""groups":32,"training":false,"eps":0.00001}}"#
            )
        );
        for (variant, format, pass, part) in [
            (Variant::Layer(1), Format::Rows, Pass::Forward, r#""shape":[6,5],"format":"rows""#),
            (Variant::BatchInference, Format::First, Pass::Forward, r#""training":false"#),
            (Variant::BatchTraining, Format::First, Pass::Backward, r#""training":true"#),
        ] {
            let line = line(variant, &[2, 3, 5], format, pass).unwrap();
            assert!(line.contains(part), "{part} in {line}");
        }
        let listed = Listed::new(&BenchCase::new(Variant::Rms(1), &[6, 5], Format::Rows, Pass::Forward)).unwrap();
        let listed = serde_json::to_string(&listed).unwrap();
        let traffic = r#""variant":"rms","min_bytes":280,"bytes":280,"roof_elements":2,"roof":"copy""#;
        assert!(listed.starts_with(r#"{"case":{"variant":"rms","#) && listed.contains(traffic), "{listed}");
        assert_eq!(line(Variant::Lp(2.0, 1), &[2, 3], Format::Rows, Pass::Forward), None);
        assert_eq!(line(Variant::Layer(2), &[2, 3, 5], Format::Rows, Pass::Forward), None);
    }
}
