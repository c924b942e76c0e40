//! What `wgpu-norm apply` takes: a subcommand a kind of norm, each with just the options it has.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::ValueParser;
use clap::{Args, Subcommand, ValueEnum};
use wgpu_norm::{Element, MAX_POWER_ITERATIONS, Momentum};
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::files::{self, Prefix, TensorSpec};
use wgpu_norm_tools::types;

use crate::axes::{AxesSpec, Axis, SomeAxes};
use crate::numbers::{count, number, whole};

use super::fusion::FusionArgs;

/// Arguments of `wgpu-norm apply`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct ApplyArgs {
    #[command(subcommand)]
    pub operation: Operation,
}

/// What is applied.
#[derive(Subcommand)]
pub enum Operation {
    #[command(flatten)]
    Norm(Box<Kind>),
    /// Spectral normalization: a weight divided by its largest singular value.
    Spectral(Box<SpectralArgs>),
}

const EXAMPLES: &str = "\
Tensors are f32, f16 or bf16 in .safetensors files, f32 or f16 in .npy and .npz files, and are computed with in f32.
Those of f64 are read as f32. A tensor of a file with several is named FILE.safetensors:NAME or FILE.npz:NAME. The file
- is standard input, and standard output.

Examples:
  wgpu-norm apply layer x.npy y.npy --scale w.npy --bias b.npy --check
  wgpu-norm apply layer x.npy y.npy --normalized-shape 64,120,120
  wgpu-norm apply group x.npy y.npy --groups 32 --format channels-last
  wgpu-norm apply batch x.npy y.npy --running-mean m.npy --running-var v.npy
  wgpu-norm apply adain content.npy y.npy --style style.npy
  wgpu-norm apply weight v.npy w.npy --g g.npy
  wgpu-norm apply spectral weight.npy w.npy
  wgpu-norm apply layer x.npy y.safetensors --dtype bf16
  wgpu-norm apply rms x.npy y.npy --scale w.npy --residual r.npy --sum-out s.npy
  wgpu-norm apply group x.npy y.npy --groups 32 --activation silu
  wgpu-norm apply layer x.npy y.npy --modulation-scale g.npy --modulation-shift t.npy
  wgpu-norm apply rms model.safetensors y.npy --tensor h.0 --scale model.safetensors:ln.weight
  wgpu-norm apply layer x.npz:features y.npz
  cat x.npy | wgpu-norm apply layer - - --scale w.npy > y.npy";

/// The kinds of norm.
#[derive(Subcommand)]
pub enum Kind {
    /// Statistics per channel over batch and space; running ones in inference.
    Batch(BatchArgs),
    /// Statistics over trailing axes, or any set of axes.
    Layer(LayerArgs),
    /// Statistics per sample and channel.
    Instance(InstanceArgs),
    /// Statistics per sample and group of channels.
    Group(GroupArgs),
    /// As layer, not centred: x / sqrt(mean(x^2) + eps).
    Rms(RmsArgs),
    /// Adaptive instance norm: the content takes mean and deviation of the style.
    Adain(AdainArgs),
    /// x / norm_p(x) over any set of axes.
    Lp(LpArgs),
    /// (x - mean) / deviation over any set of axes.
    Mvn(MvnArgs),
    /// Weight normalization: g * v / norm2(v), the input is v.
    Weight(WeightArgs),
}

/// Files and checks of every kind.
#[derive(Args)]
pub struct Files {
    /// Tensor to normalize: .npy, .npz or .safetensors, or - for standard input.
    #[arg(value_parser = spec(), value_name = "INPUT")]
    pub input: TensorSpec,
    /// Where the result goes: .npy, .npz or .safetensors, or - for standard output, which then has nothing else.
    pub output: PathBuf,
    /// Kind of file of OUTPUT [default: as its name says, npy for -].
    #[arg(long, value_enum, value_name = "KIND")]
    pub output_format: Option<files::Format>,
    /// Tensor of INPUT, where it holds several.
    #[arg(long, value_name = "NAME")]
    pub tensor: Option<String>,
    /// What stands before every NAME of a tensor in its file, such as module. or model. [default: nothing, or whatever
    /// the only tensor has before it whose name ends so].
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// Name of the tensor in a .npz or .safetensors OUTPUT [default: INPUT's, or "output"].
    #[arg(long, value_name = "NAME")]
    pub output_tensor: Option<String>,
    /// Element type of OUTPUT [default: INPUT's]; statistics and checkpoints are f32.
    #[arg(long, value_name = "TYPE", value_parser = types::parser())]
    pub dtype: Option<Element>,
    /// Replace an existing OUTPUT.
    #[arg(long)]
    pub force: bool,
    /// Compare with the f64 reference; exit code 1 where the error exceeds 1e-5 of the segment's largest value (a step
    /// of it where --round-sum or --round-normalized round to 16 bits), and half a step of a 16-bit OUTPUT.
    #[arg(long)]
    pub check: bool,
    /// Compute on the CPU reference.
    #[arg(long, conflicts_with_all = ["adapter", "profile"])]
    pub cpu: bool,
}

impl Files {
    /// INPUT, and which of its tensors.
    pub fn input(&self) -> Result<TensorSpec, Failure> {
        let mut input = self.input.clone();
        if let (Some(first), Some(second)) = (&input.name, &self.tensor) {
            let message = format!("INPUT names tensor {first:?} and --tensor {second:?}: leave one of them out");
            return Err(Failure::Usage(message));
        }
        input.name = input.name.or_else(|| self.tensor.clone());
        Ok(input)
    }
}

/// Scale and bias, each by itself.
#[derive(Args, Default)]
pub struct AffineArgs {
    /// Factor (weight, gamma).
    #[arg(long, value_parser = spec(), value_name = "FILE")]
    pub scale: Option<TensorSpec>,
    /// Summand (beta).
    #[arg(long, value_parser = spec(), value_name = "FILE")]
    pub bias: Option<TensorSpec>,
    /// Axes along which scale and bias vary: 0,2 or -1 or 1.. or `none` [default: the channels, or the axes that share
    /// statistics].
    #[arg(long, value_name = "AXES|none", allow_hyphen_values = true)]
    pub scale_axes: Option<SomeAxes>,
}

impl AffineArgs {
    /// Refuses an option that says something of scale and bias where there is neither.
    pub fn wanted_by(&self, option: &str) -> Result<(), Failure> {
        if self.scale.is_none() && self.bias.is_none() {
            return Err(Failure::Usage(format!("{option}: there is no --scale and no --bias")));
        }
        Ok(())
    }
}

/// Running statistics, both or none.
#[derive(Args)]
pub struct RunningArgs {
    /// Running mean of each channel.
    #[arg(long, value_parser = spec(), value_name = "FILE", requires = "running_var")]
    pub running_mean: Option<TensorSpec>,
    /// Running variance of each channel.
    #[arg(long, value_parser = spec(), value_name = "FILE", requires = "running_mean")]
    pub running_var: Option<TensorSpec>,
}

/// Where the channels are.
#[derive(Args)]
pub struct FormatArgs {
    /// N,C,spatial... or N,spatial...,C: the order of the axes in the file.
    #[arg(long, value_enum, default_value = "channels-first")]
    pub format: Format,
    /// Compute statistics of a single element too, where training refuses them.
    #[arg(long)]
    pub allow_single_element: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Format {
    ChannelsFirst,
    ChannelsLast,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum EpsMode {
    /// sqrt(variance + eps)
    Inside,
    /// sqrt(variance) + eps
    Added,
}

/// Which axes share statistics.
#[derive(Args)]
pub struct AxesArgs {
    /// Axes that share statistics, any set: 1 or 0,2 or -1 or 1..3 (without 3) or 1.. [default: the last].
    #[arg(long, allow_hyphen_values = true, conflicts_with = "normalized_shape")]
    pub axes: Option<AxesSpec>,
    /// The same as sizes of the trailing axes, as PyTorch has it: 64,120,120.
    #[arg(long, value_delimiter = ',', value_name = "SIZES", allow_hyphen_values = true)]
    #[arg(value_parser = |size: &str| whole(size, 0, u64::MAX))]
    pub normalized_shape: Option<Vec<u64>>,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  wgpu-norm apply batch x.npy y.npy --running-mean m.npy --running-var v.npy --scale w.npy
  wgpu-norm apply batch x.npy y.npy --training
  wgpu-norm apply batch x.npy y.npy --training --running-mean m.npy --running-var v.npy --running-out s.safetensors")]
pub struct BatchArgs {
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub affine: AffineArgs,
    #[command(flatten)]
    pub running: RunningArgs,
    #[command(flatten)]
    pub format: FormatArgs,
    /// Statistics of the batch itself, as in training. Running ones take it in, and go to --running-out.
    #[arg(long)]
    pub training: bool,
    /// Where the running statistics go that have taken in the batch (.safetensors: running_mean, running_var and
    /// num_batches_tracked).
    #[arg(long, value_name = "FILE", requires_all = ["training", "running_mean"])]
    pub running_out: Option<PathBuf>,
    /// Weight of the batch in the running statistics, 0 to 1; `cumulative`: the average of all batches [default: 0.1].
    #[arg(long, value_name = "M|cumulative", requires = "running_out")]
    #[arg(value_parser = parse_momentum, allow_hyphen_values = true)]
    pub momentum: Option<Momentum>,
    /// Number of batches that the running statistics have taken in before, or the tensor that counts them, such as
    /// bn.safetensors:num_batches_tracked [default: 0].
    #[arg(long, value_name = "N|FILE:NAME", requires = "running_out")]
    #[arg(value_parser = Batches::parser())]
    pub batches: Option<Batches>,
    /// Added to the variance.
    #[arg(long, default_value_t = 1e-5, value_parser = number, allow_hyphen_values = true)]
    pub eps: f32,
    #[command(flatten)]
    pub fusion: FusionArgs,
}

/// A number of batches.
#[derive(Clone, Debug)]
pub enum Batches {
    Number(u32),
    Counter(TensorSpec),
}

impl Batches {
    fn parser() -> ValueParser {
        use clap::builder::{OsStringValueParser, TypedValueParser};
        ValueParser::new(OsStringValueParser::new().try_map(Self::parse))
    }

    fn parse(text: OsString) -> Result<Self, String> {
        let is_number = |text: &str| text.starts_with(|c: char| c == '-' || c == '+' || c.is_ascii_digit());
        let looks = text.to_str().filter(|text| is_number(text) && text.parse::<f64>().is_ok());
        let Some(number) = looks else { return Ok(Self::Counter(text.into())) };
        // one more has to be counted yet
        let counts = number.parse().ok().filter(|&number| number < u32::MAX);
        counts.map(Self::Number).ok_or_else(|| format!("{number} is no whole number within 0..={}", u32::MAX - 1))
    }

    /// The number, read where a tensor has it.
    pub fn count(&self, prefix: &Prefix<'_>) -> Result<u32, Failure> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Counter(spec) => files::read_counter(spec, prefix),
        }
    }

    /// The file that has it.
    pub fn file(&self) -> Option<&TensorSpec> {
        match self {
            Self::Number(_) => None,
            Self::Counter(spec) => Some(spec),
        }
    }
}

fn parse_momentum(text: &str) -> Result<Momentum, String> {
    match text {
        "cumulative" => Ok(Momentum::Cumulative),
        _ => number(text).map(Momentum::Weight).map_err(|error| format!("{error}; or write 'cumulative'")),
    }
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  wgpu-norm apply layer x.npy y.npy --scale w.npy --bias b.npy --check
  wgpu-norm apply layer x.npy y.npy --axes 1.. --mean-out mean.npy --rstd-out rstd.npy")]
pub struct LayerArgs {
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub affine: AffineArgs,
    #[command(flatten)]
    pub axes: AxesArgs,
    /// Added to the variance.
    #[arg(long, default_value_t = 1e-5, value_parser = number, allow_hyphen_values = true)]
    pub eps: f32,
    /// Write the mean of each segment too.
    #[arg(long, value_name = "FILE")]
    pub mean_out: Option<PathBuf>,
    /// Write 1 / sqrt(variance + eps) of each segment too.
    #[arg(long, value_name = "FILE")]
    pub rstd_out: Option<PathBuf>,
    #[command(flatten)]
    pub fusion: FusionArgs,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  wgpu-norm apply instance x.npy y.npy
  wgpu-norm apply instance x.npy y.npy --format channels-last --scale w.npy --bias b.npy")]
pub struct InstanceArgs {
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub affine: AffineArgs,
    #[command(flatten)]
    pub running: RunningArgs,
    #[command(flatten)]
    pub format: FormatArgs,
    /// Added to the variance.
    #[arg(long, default_value_t = 1e-5, value_parser = number, allow_hyphen_values = true)]
    pub eps: f32,
    #[command(flatten)]
    pub fusion: FusionArgs,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  wgpu-norm apply group x.npy y.npy --groups 32 --scale model.safetensors:gn.weight")]
pub struct GroupArgs {
    #[command(flatten)]
    pub files: Files,
    /// Number of groups; divides the channels.
    #[arg(long, value_parser = count, allow_hyphen_values = true)]
    pub groups: u64,
    #[command(flatten)]
    pub affine: AffineArgs,
    /// Scale and bias have one element a group, as in ONNX GroupNormalization 18.
    #[arg(long, conflicts_with = "scale_axes")]
    pub scale_per_group: bool,
    #[command(flatten)]
    pub format: FormatArgs,
    /// Added to the variance.
    #[arg(long, default_value_t = 1e-5, value_parser = number, allow_hyphen_values = true)]
    pub eps: f32,
    #[command(flatten)]
    pub fusion: FusionArgs,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  wgpu-norm apply rms x.npy y.npy --scale w.npy --eps 1e-6
  wgpu-norm apply rms x.npy y.npy --scale w.npy --one-plus-scale --out-residual r.npy
  wgpu-norm apply rms x.npy y.npy --scale w.npy --z z.npy
  wgpu-norm apply rms x.npy y.npy --scale w.npy --groups 8 --eps 1e-5
  wgpu-norm apply rms model.safetensors y.npy --tensor h.0 --axes -1")]
pub struct RmsArgs {
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub affine: AffineArgs,
    #[command(flatten)]
    pub axes: AxesArgs,
    /// Grouped RMS: the last axis in so many groups, each with statistics of its own, and a scale for all of it.
    #[arg(long, value_parser = count, allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["axes", "normalized_shape", "quantize"])]
    pub groups: Option<u64>,
    /// Added to the mean square [default: the machine epsilon of f32, as PyTorch takes].
    #[arg(long, value_parser = number, allow_hyphen_values = true)]
    pub eps: Option<f32>,
    #[command(flatten)]
    pub fusion: FusionArgs,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  wgpu-norm apply adain content.npy y.npy --style style.npy
  wgpu-norm apply adain content.npy y.npy --style style.npy --unbiased --eps-mode added")]
pub struct AdainArgs {
    #[command(flatten)]
    pub files: Files,
    /// Tensor of the style: INPUT's channels, any spatial size, INPUT's batch or 1.
    #[arg(long, value_parser = spec(), value_name = "FILE")]
    pub style: TensorSpec,
    /// Divide both variances by n - 1.
    #[arg(long)]
    pub unbiased: bool,
    #[command(flatten)]
    pub format: FormatArgs,
    /// Added to the variance, or to the deviation: see --eps-mode.
    #[arg(long, default_value_t = 1e-5, value_parser = number, allow_hyphen_values = true)]
    pub eps: f32,
    /// Where eps is added.
    #[arg(long, value_enum, default_value = "inside")]
    pub eps_mode: EpsMode,
    /// Leave eps out of the style's deviation.
    #[arg(long)]
    pub style_without_eps: bool,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  wgpu-norm apply lp x.npy y.npy
  wgpu-norm apply lp x.npy y.npy -p 1 --axes 1.. --eps 0")]
pub struct LpArgs {
    #[command(flatten)]
    pub files: Files,
    /// Any number, inf or -inf; of 0 the norm is the number of elements that are not 0.
    #[arg(short, long, default_value_t = 2.0, value_parser = number, allow_hyphen_values = true)]
    pub p: f32,
    /// Axes that share a norm, any set: 1 or 0,2 or -1 or 1..3 (without 3) or 1.. [default: the last].
    #[arg(long, allow_hyphen_values = true)]
    pub axes: Option<AxesSpec>,
    /// Smallest divisor; 0 gives ONNX's LpNormalization.
    #[arg(long, default_value_t = 1e-12, value_parser = number, allow_hyphen_values = true)]
    pub eps: f32,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  wgpu-norm apply mvn x.npy y.npy
  wgpu-norm apply mvn x.npy y.npy --axes 0,2,3 --eps-mode inside --eps 1e-5")]
pub struct MvnArgs {
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub affine: AffineArgs,
    /// Axes that share statistics, any set: 0,2,3 [default: all but axis 1].
    #[arg(long, allow_hyphen_values = true)]
    pub axes: Option<AxesSpec>,
    /// Added to the deviation, or to the variance: see --eps-mode.
    #[arg(long, default_value_t = 1e-9, value_parser = number, allow_hyphen_values = true)]
    pub eps: f32,
    /// Where eps is added.
    #[arg(long, value_enum, default_value = "added")]
    pub eps_mode: EpsMode,
    #[command(flatten)]
    pub fusion: FusionArgs,
}

#[derive(Args)]
#[command(after_help = "\
A row of zeros gives zeros.

Examples:
  wgpu-norm apply weight v.npy w.npy --g g.npy
  wgpu-norm apply weight v.npy w.npy --g g.npy --dim none --check")]
pub struct WeightArgs {
    #[command(flatten)]
    pub files: Files,
    /// The norm that each row of the result has: one element a row, or one for all with --dim none.
    #[arg(long, value_parser = spec(), value_name = "FILE")]
    pub g: TensorSpec,
    /// The axis whose indices are the rows, -1 the last; `none`: the whole tensor is one.
    #[arg(long, default_value = "0", value_name = "AXIS|none", allow_hyphen_values = true)]
    pub dim: Dim,
}

/// An axis or none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dim(pub Option<Axis>);

impl FromStr for Dim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            _ => text.parse().map(|axis| Self(Some(axis))).map_err(|error: String| format!("{error} or none")),
        }
    }
}

#[derive(Args)]
#[command(after_help = "\
Without --u and --v the iteration starts from random vectors, the same each time.

Examples:
  wgpu-norm apply spectral weight.npy w.npy --check
  wgpu-norm apply spectral weight.npy w.npy --u u.npy --v v.npy --iterations 1 --state-out next.safetensors
  wgpu-norm apply spectral weight.npy w.npy --u u.npy --v v.npy --frozen")]
pub struct SpectralArgs {
    #[command(flatten)]
    pub files: Files,
    /// Left singular vector, one element a row.
    #[arg(long, value_parser = spec(), value_name = "FILE", requires = "v")]
    pub u: Option<TensorSpec>,
    /// Right singular vector, one element a column.
    #[arg(long, value_parser = spec(), value_name = "FILE", requires = "u")]
    pub v: Option<TensorSpec>,
    /// Power iterations before the division [default: 1, without --u and --v 15].
    #[arg(long, value_name = "N", value_parser = |text: &str| whole(text, 1, MAX_POWER_ITERATIONS),
        allow_hyphen_values = true)]
    pub iterations: Option<u32>,
    /// No power iteration, as in evaluation.
    #[arg(long, conflicts_with = "iterations", requires = "u")]
    pub frozen: bool,
    /// The axis whose indices are the rows of the matrix: 0, or 1 for transposed convolutions; -1 is the last.
    #[arg(long, default_value = "0", value_name = "AXIS", allow_hyphen_values = true)]
    pub dim: Axis,
    /// Smallest length that a vector is divided by.
    #[arg(long, default_value_t = 1e-12, value_parser = number, allow_hyphen_values = true)]
    pub eps: f32,
    /// Which vector an iteration computes first.
    #[arg(long, value_enum, default_value = "u-then-v")]
    pub order: Order,
    /// Where weight, u and v go after the iterations, under PyTorch's names (.safetensors).
    #[arg(long, value_name = "FILE")]
    pub state_out: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// torch.nn.utils.parametrizations.spectral_norm
    UThenV,
    /// torch.nn.utils.spectral_norm
    VThenU,
}

/// Paths may be anything the system allows, not only UTF-8.
pub fn spec() -> ValueParser {
    use clap::builder::{OsStringValueParser, TypedValueParser};
    ValueParser::new(OsStringValueParser::new().map(TensorSpec::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_and_momenta_are_read() {
        for (text, expected) in [("0", Some(0)), ("12", Some(12)), ("-1", Some(12)), ("none", None)] {
            let axis = text.parse::<Dim>().unwrap().0.map(|axis| axis.of(13, "--dim").unwrap());
            assert_eq!(axis, expected, "{text}");
        }
        for text in ["", "all", "0.5", "--1"] {
            assert!(text.parse::<Dim>().is_err(), "{text}");
        }
        assert_eq!(parse_momentum("cumulative"), Ok(Momentum::Cumulative));
        assert_eq!(parse_momentum("0.25"), Ok(Momentum::Weight(0.25)));
        for text in ["often", "1e-60", "1e60"] {
            assert!(parse_momentum(text).is_err(), "{text}");
        }
    }
}
