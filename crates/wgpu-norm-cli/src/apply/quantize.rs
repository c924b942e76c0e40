//! What `wgpu-norm apply` takes to write bytes: their format, which elements share a scale, where scales go.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use wgpu_norm::{QuantFormat, QuantScale, Quantization};
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::files::TensorSpec;

use super::args::spec;

/// A result as bytes.
#[derive(Args, Default)]
pub struct QuantizeArgs {
    /// Write OUTPUT as bytes, each with the result's nearest number over a scale: int8, or e4m3 (float8 e4m3fn, which
    /// .npy files have as uint8). --dtype is what the result is rounded to before.
    #[arg(long, value_enum, value_name = "FORMAT")]
    quantize: Option<Format>,
    /// Which elements share a scale: a row (the last axis), N columns of it, or all, with the scale of --static-scale.
    #[arg(long, value_name = "row|block:N|static", default_value = "row", requires = "quantize")]
    quantize_scale: Shared,
    /// The one scale of --quantize-scale static: one element.
    #[arg(long, value_parser = spec(), value_name = "FILE", requires = "quantize")]
    static_scale: Option<TensorSpec>,
    /// Where the scales go, f32: as INPUT without its last axis, or with blocks in its place.
    #[arg(long, value_name = "FILE", requires = "quantize")]
    scales_out: Option<PathBuf>,
}

/// What a number becomes, as the command line spells it.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Format {
    Int8,
    E4m3,
}

/// Which elements share a scale.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shared(QuantScale);

impl Default for Shared {
    fn default() -> Self {
        Self(QuantScale::Row)
    }
}

impl FromStr for Shared {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let columns = text.strip_prefix("block:").map(str::parse);
        match (text, columns) {
            ("row", _) => Ok(Self(QuantScale::Row)),
            ("static", _) => Ok(Self(QuantScale::Static)),
            (_, Some(Ok(columns))) => Ok(Self(QuantScale::Block { columns })),
            _ => Err(format!("'{text}' is none of row, block:N (as block:128) and static")),
        }
    }
}

impl QuantizeArgs {
    /// In the engine's words; `None`: no bytes.
    pub fn quantization(&self) -> Option<Quantization> {
        let format = match self.quantize? {
            Format::Int8 => QuantFormat::Int8,
            Format::E4m3 => QuantFormat::E4m3,
        };
        Some(Quantization::new(format, self.quantize_scale.0))
    }

    /// The file of the one scale.
    pub fn static_scale(&self) -> Option<&TensorSpec> {
        self.static_scale.as_ref()
    }

    /// Where scales go; a scale that is given goes nowhere.
    pub fn scales_out(&self) -> Result<Option<&Path>, Failure> {
        let is_static = self.quantize_scale.0 == QuantScale::Static;
        let message = match (self.quantize, is_static, &self.static_scale, &self.scales_out) {
            (None, ..) | (_, true, Some(_), None) | (_, false, None, Some(_)) => {
                return Ok(self.scales_out.as_deref());
            }
            (_, true, None, _) => "--quantize-scale static needs its one scale: --static-scale FILE",
            (_, true, Some(_), Some(_)) => "--scales-out: the one scale is given, none is computed",
            (_, false, Some(_), _) => "--static-scale is the scale of --quantize-scale static",
            (_, false, None, None) => "bytes are nothing without their scales: --scales-out FILE",
        };
        Err(Failure::Usage(message.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: QuantizeArgs,
    }

    fn parse(text: &str) -> Result<QuantizeArgs, clap::Error> {
        Line::try_parse_from(["apply"].into_iter().chain(text.split_whitespace())).map(|line| line.args)
    }

    #[test]
    fn options_are_a_quantization() {
        let of = |text: &str| parse(text).unwrap().quantization();
        let (int8, e4m3) = (QuantFormat::Int8, QuantFormat::E4m3);
        assert_eq!(of(""), None);
        assert_eq!(of("--quantize int8"), Some(Quantization::new(int8, QuantScale::Row)));
        let block = QuantScale::Block { columns: 128 };
        assert_eq!(of("--quantize e4m3 --quantize-scale block:128"), Some(Quantization::new(e4m3, block)));
        assert_eq!(of("--quantize int8 --quantize-scale static"), Some(Quantization::new(int8, QuantScale::Static)));
        for text in ["--quantize int4", "--quantize int8 --quantize-scale block:x", "--scales-out s.npy"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn scales_go_somewhere_or_are_given() {
        for (text, is_right) in [
            ("", true),
            ("--quantize int8 --scales-out s.npy", true),
            ("--quantize int8 --quantize-scale static --static-scale s.npy", true),
            ("--quantize int8", false),
            ("--quantize int8 --quantize-scale static", false),
            ("--quantize int8 --static-scale s.npy --scales-out s.npy", false),
            ("--quantize int8 --quantize-scale static --static-scale s.npy --scales-out t.npy", false),
        ] {
            assert_eq!(parse(text).unwrap().scales_out().is_ok(), is_right, "{text}");
        }
    }
}
