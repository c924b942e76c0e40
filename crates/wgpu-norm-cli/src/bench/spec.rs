//! One case on the command line: `group 8x64x120x120 --groups 32 --format channels-last --backward`.

use clap::ValueEnum;
use wgpu_norm::MAX_RANK;
use wgpu_norm_tools::failure::Failure;

use crate::numbers::{count, number, whole};

use super::case::{BenchCase, Format, Pass, Variant};

const GRAMMAR: &str = "write VARIANT SHAPE, as in `layer 4096x1024`, `batch 8x64x56x56 --training` or \
`group 8x64x120x120 --groups 32 --format channels-last --backward`; variants are layer, rms, lp, batch, instance, \
adain and group, shapes are sizes in the order N, C, spatial axes; or --suite quick, reference, standard, full, gpu or \
fused";

/// One case.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CaseArgs {
    /// One norm instead of a suite: layer, rms, lp, batch, instance, adain, group.
    variant: Option<String>,
    /// Its sizes: rows and width, or N, C and spatial axes in this order whatever the format: 8x64x120x120.
    shape: Option<String>,
    /// Groups of a group norm.
    #[arg(long, value_name = "N", requires = "variant", value_parser = count)]
    groups: Option<u64>,
    /// Trailing axes of layer, rms and lp [default: all but the first].
    #[arg(long, value_name = "N", requires = "variant", value_parser = |text: &str| whole(text, 0, MAX_RANK))]
    axes: Option<usize>,
    /// Order of lp [default: 2].
    #[arg(long, value_name = "P", requires = "variant", value_parser = number)]
    p: Option<f32>,
    /// Where channels lie in memory [default: channels-first].
    #[arg(long, value_enum, requires = "variant")]
    format: Option<Channels>,
    /// Forward with statistics saved; batch norm by the batch's own instead of running ones.
    #[arg(long, requires = "variant")]
    training: bool,
    /// The gradients to input, scale and bias.
    #[arg(long, requires = "variant")]
    backward: bool,
}

/// A memory format of planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Channels {
    ChannelsFirst,
    ChannelsLast,
}

impl CaseArgs {
    /// Its cases: one a pass; none where nothing was named.
    pub fn cases(&self) -> Result<Option<Vec<BenchCase>>, Failure> {
        let (Some(variant), Some(shape)) = (&self.variant, &self.shape) else {
            return match &self.variant {
                Some(variant) => Err(usage(format!("'{variant}' is no case"))),
                None => Ok(None),
            };
        };
        let shape = parse_shape(shape).map_err(usage)?;
        let variant = self.variant(variant, &shape).map_err(usage)?;
        let format = self.format(variant).map_err(usage)?;
        let cases: Vec<_> =
            self.passes().into_iter().map(|pass| BenchCase::new(variant, &shape, format, pass)).collect();
        cases.iter().try_for_each(|case| case.case().descriptor().validate())?;
        Ok(Some(cases))
    }

    fn variant(&self, name: &str, shape: &[u64]) -> Result<Variant, String> {
        let refuse = |given: bool, option: &str| match given {
            true => Err(format!("{option} means nothing to {name}")),
            false => Ok(()),
        };
        let of_rows = matches!(name, "layer" | "rms" | "lp");
        refuse(self.axes.is_some() && !of_rows, "--axes")?;
        refuse(self.p.is_some() && name != "lp", "--p")?;
        refuse(self.groups.is_some() && name != "group", "--groups")?;
        let rank = shape.len();
        let axes = self.axes.unwrap_or(rank.saturating_sub(1).max(1));
        if of_rows && !(1..=rank).contains(&axes) {
            return Err(format!("--axes {axes} of a shape of {rank} axes"));
        }
        if !of_rows && rank < 2 {
            return Err(format!("{name} needs N, C and spatial axes, the shape has {rank} axis"));
        }
        match (name, self.groups) {
            ("layer", _) => Ok(Variant::Layer(axes)),
            ("rms", _) => Ok(Variant::Rms(axes)),
            ("lp", _) => Ok(Variant::Lp(self.p.unwrap_or(2.0), axes)),
            ("batch", _) if self.training || self.backward => Ok(Variant::BatchTraining),
            ("batch", _) => Ok(Variant::BatchInference),
            ("instance", _) => Ok(Variant::Instance),
            ("adain", _) => Ok(Variant::AdaptiveInstance),
            ("group", Some(groups)) => Ok(Variant::Group(groups)),
            ("group", None) => Err("group needs --groups".to_owned()),
            _ => Err(format!("unknown variant '{name}'")),
        }
    }

    fn format(&self, variant: Variant) -> Result<Format, String> {
        let of_rows = matches!(variant, Variant::Layer(_) | Variant::Rms(_) | Variant::Lp(..));
        match self.format {
            Some(_) if of_rows => Err(format!("--format means nothing to {}, it has no channels", variant.name())),
            None if of_rows => Ok(Format::Rows),
            Some(Channels::ChannelsLast) => Ok(Format::Last),
            Some(Channels::ChannelsFirst) | None => Ok(Format::First),
        }
    }

    /// The same in one pass.
    pub fn in_pass(&self, pass: Pass) -> Self {
        Self { training: pass == Pass::Training, backward: pass == Pass::Backward, ..self.clone() }
    }

    fn passes(&self) -> Vec<Pass> {
        match (self.training, self.backward) {
            (false, false) => vec![Pass::Forward],
            (true, false) => vec![Pass::Training],
            (false, true) => vec![Pass::Backward],
            (true, true) => vec![Pass::Training, Pass::Backward],
        }
    }
}

fn usage(what: String) -> Failure {
    Failure::Usage(format!("{what}; {GRAMMAR}"))
}

fn parse_shape(text: &str) -> Result<Vec<u64>, String> {
    let size = |part: &str| part.parse::<u64>().ok().filter(|&size| size > 0);
    let shape: Option<Vec<u64>> = text.split('x').map(size).collect();
    let shape = shape.ok_or_else(|| format!("'{text}' is no shape"))?;
    let bytes = shape.iter().try_fold(4u64, |bytes, &size| bytes.checked_mul(size));
    match bytes {
        // what an algorithm moves is counted in u64
        Some(bytes) if bytes <= u64::MAX >> 8 => Ok(shape),
        _ => Err(format!("a tensor of {text} has more bytes than can be addressed")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        case: CaseArgs,
    }

    fn cases(line: &str) -> Result<Vec<String>, String> {
        let line = Line::try_parse_from(["bench"].into_iter().chain(line.split_whitespace()));
        let cases = line.map_err(|error| error.to_string())?.case.cases().map_err(|error| error.to_string())?;
        Ok(cases.unwrap_or_default().iter().map(BenchCase::name).collect())
    }

    #[test]
    fn cases_are_read() {
        for (line, expected) in [
            ("", vec![]),
            ("layer 4096x1024", vec!["layer 4096x1024 rows forward"]),
            ("layer 1000", vec!["layer 1000 rows forward"]),
            ("rms 2x3x5 --axes 1 --training", vec!["rms 2x3x5 rows training"]),
            ("lp 3x5 --p 1", vec!["lp 1 3x5 rows forward"]),
            ("batch 8x64x7x7", vec!["batch inference 8x64x7x7 channels-first forward"]),
            ("batch 8x64x7x7 --backward", vec!["batch training 8x64x7x7 channels-first backward"]),
            (
                "instance 2x3x5 --training --backward",
                vec!["instance 2x3x5 channels-first training", "instance 2x3x5 channels-first backward"],
            ),
            (
                "group 8x64x120x120 --groups 32 --format channels-last --backward",
                vec!["group 32 8x64x120x120 channels-last backward"],
            ),
            ("adain 2x3x5", vec!["adain 2x3x5 channels-first forward"]),
            ("adain 2x3x5 --backward", vec!["adain 2x3x5 channels-first backward"]),
        ] {
            assert_eq!(cases(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn mistakes_name_themselves_and_the_grammar() {
        for (line, expected) in [
            ("layer", "'layer' is no case"),
            ("quick", "--suite quick"),
            ("spectral 3x5", "unknown variant 'spectral'"),
            ("layer 3y5", "'3y5' is no shape"),
            ("layer 3x", "'3x' is no shape"),
            ("layer 3x0", "'3x0' is no shape"),
            ("layer 3x-5", "'3x-5' is no shape"),
            ("layer 4294967296x4294967296", "more bytes"),
            ("layer 3x5 --axes 3", "--axes 3 of a shape of 2 axes"),
            ("layer 3x5 --axes 0", "--axes 0"),
            ("layer 3x5 --groups 1", "--groups means nothing to layer"),
            ("layer 3x5 --format channels-last", "--format means nothing to layer"),
            ("batch 3x5x7 --axes 1", "--axes means nothing to batch"),
            ("batch 3", "needs N, C"),
            ("group 3x6x7", "group needs --groups"),
            ("group 3x6x7 --groups 4", "4"),
            ("--groups 4", "VARIANT"),
        ] {
            let error = cases(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
