//! What `wgpu-norm apply` takes: a subcommand a kind of norm, each with just the options it has.

use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::builder::ValueParser;
use clap::{Args, Subcommand, ValueEnum};
use wgpu_norm::{
    Affine, AffineAxes, Epsilon, MemoryFormat, NormDescriptor, NormKind, SingleElement, StyleEpsilon, Variance,
};

use crate::axes::AxesSpec;
use crate::compute::Mode;
use crate::failure::Failure;
use crate::files::TensorSpec;

/// Arguments of `wgpu-norm apply`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct ApplyArgs {
    #[command(subcommand)]
    pub kind: Kind,
}

const EXAMPLES: &str = "\
Tensors are f32 in .npy or .safetensors files; a tensor of a file with several is named FILE.safetensors:NAME.

Examples:
  wgpu-norm apply layer x.npy y.npy --scale w.npy --bias b.npy --check
  wgpu-norm apply layer x.npy y.npy --normalized-shape 64,120,120
  wgpu-norm apply group x.npy y.npy --groups 32 --format channels-last
  wgpu-norm apply batch x.npy y.npy --running-mean m.npy --running-var v.npy
  wgpu-norm apply adain content.npy y.npy --style style.npy
  wgpu-norm apply rms model.safetensors y.npy --tensor h.0 --scale model.safetensors:ln.weight";

/// The kinds of norm.
#[derive(Subcommand)]
pub enum Kind {
    /// Statistics per channel over batch and space; running ones in inference.
    Batch(BatchArgs),
    /// Statistics over trailing axes, or any range of axes.
    Layer(LayerArgs),
    /// Statistics per sample and channel.
    Instance(InstanceArgs),
    /// Statistics per sample and group of channels.
    Group(GroupArgs),
    /// As layer, not centred: x / sqrt(mean(x^2) + eps).
    Rms(RmsArgs),
    /// Adaptive instance norm: the content takes mean and deviation of the style.
    Adain(AdainArgs),
    /// x / norm_p(x) over one range of axes.
    Lp(LpArgs),
    /// (x - mean) / deviation over any set of axes.
    Mvn(MvnArgs),
}

/// Files and checks of every kind.
#[derive(Args)]
pub struct Files {
    /// Tensor to normalize: .npy or .safetensors.
    #[arg(value_parser = spec(), value_name = "INPUT")]
    pub input: TensorSpec,
    /// Where the result goes: .npy or .safetensors.
    pub output: PathBuf,
    /// Tensor of INPUT, where it holds several.
    #[arg(long, value_name = "NAME")]
    pub tensor: Option<String>,
    /// Name of the tensor in a .safetensors OUTPUT [default: INPUT's, or "output"].
    #[arg(long, value_name = "NAME")]
    pub output_tensor: Option<String>,
    /// Replace an existing OUTPUT.
    #[arg(long)]
    pub force: bool,
    /// Compare with the f64 reference; exit code 1 where the error exceeds 1e-5 of the largest value.
    #[arg(long)]
    pub check: bool,
    /// Compute on the CPU reference.
    #[arg(long, conflicts_with = "adapter")]
    pub cpu: bool,
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
}

/// Running statistics, both or none.
#[derive(Args)]
pub struct RunningArgs {
    /// Running mean of each channel.
    #[arg(long, value_parser = spec(), value_name = "FILE", requires = "running_var")]
    running_mean: Option<TensorSpec>,
    /// Running variance of each channel.
    #[arg(long, value_parser = spec(), value_name = "FILE", requires = "running_mean")]
    running_var: Option<TensorSpec>,
}

/// Where the channels are.
#[derive(Args)]
pub struct FormatArgs {
    /// N,C,spatial... or N,spatial...,C: the order of the axes in the file.
    #[arg(long, value_enum, default_value = "channels-first")]
    format: Format,
    /// Compute statistics of a single element too, where training refuses them.
    #[arg(long)]
    allow_single_element: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    ChannelsFirst,
    ChannelsLast,
}

#[derive(Clone, Copy, ValueEnum)]
enum EpsMode {
    /// sqrt(variance + eps)
    Inside,
    /// sqrt(variance) + eps
    Added,
}

/// Which axes share statistics.
#[derive(Args)]
pub struct AxesArgs {
    /// Axes that share statistics: 1 or 1,2 or -1 or 1..3 (without 3) or 1.. [default: the last].
    #[arg(long, allow_hyphen_values = true, conflicts_with = "normalized_shape")]
    axes: Option<AxesSpec>,
    /// The same as sizes of the trailing axes, as PyTorch has it: 64,120,120.
    #[arg(long, value_delimiter = ',', value_name = "SIZES")]
    normalized_shape: Option<Vec<u64>>,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  wgpu-norm apply batch x.npy y.npy --running-mean m.npy --running-var v.npy --scale w.npy
  wgpu-norm apply batch x.npy y.npy --training")]
pub struct BatchArgs {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    affine: AffineArgs,
    #[command(flatten)]
    running: RunningArgs,
    #[command(flatten)]
    format: FormatArgs,
    /// Statistics of the batch itself, as in training; takes and updates no running ones.
    #[arg(long, conflicts_with_all = ["running_mean", "running_var"])]
    training: bool,
    /// Added to the variance.
    #[arg(long, default_value_t = 1e-5, allow_hyphen_values = true)]
    eps: f32,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  wgpu-norm apply layer x.npy y.npy --scale w.npy --bias b.npy --check
  wgpu-norm apply layer x.npy y.npy --axes 1.. --mean-out mean.npy --rstd-out rstd.npy")]
pub struct LayerArgs {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    affine: AffineArgs,
    #[command(flatten)]
    axes: AxesArgs,
    /// Added to the variance.
    #[arg(long, default_value_t = 1e-5, allow_hyphen_values = true)]
    eps: f32,
    /// Write the mean of each segment too.
    #[arg(long, value_name = "FILE")]
    mean_out: Option<PathBuf>,
    /// Write 1 / sqrt(variance + eps) of each segment too.
    #[arg(long, value_name = "FILE")]
    rstd_out: Option<PathBuf>,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  wgpu-norm apply instance x.npy y.npy
  wgpu-norm apply instance x.npy y.npy --format channels-last --scale w.npy --bias b.npy")]
pub struct InstanceArgs {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    affine: AffineArgs,
    #[command(flatten)]
    running: RunningArgs,
    #[command(flatten)]
    format: FormatArgs,
    /// Added to the variance.
    #[arg(long, default_value_t = 1e-5, allow_hyphen_values = true)]
    eps: f32,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  wgpu-norm apply group x.npy y.npy --groups 32 --scale model.safetensors:gn.weight")]
pub struct GroupArgs {
    #[command(flatten)]
    files: Files,
    /// Number of groups; divides the channels.
    #[arg(long)]
    groups: u64,
    #[command(flatten)]
    affine: AffineArgs,
    /// Scale and bias have one element a group, as in ONNX GroupNormalization 18.
    #[arg(long)]
    scale_per_group: bool,
    #[command(flatten)]
    format: FormatArgs,
    /// Added to the variance.
    #[arg(long, default_value_t = 1e-5, allow_hyphen_values = true)]
    eps: f32,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  wgpu-norm apply rms x.npy y.npy --scale w.npy --eps 1e-6
  wgpu-norm apply rms model.safetensors y.npy --tensor h.0 --axes -1")]
pub struct RmsArgs {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    affine: AffineArgs,
    #[command(flatten)]
    axes: AxesArgs,
    /// Added to the mean square [default: the machine epsilon of f32, as PyTorch takes].
    #[arg(long, allow_hyphen_values = true)]
    eps: Option<f32>,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  wgpu-norm apply adain content.npy y.npy --style style.npy
  wgpu-norm apply adain content.npy y.npy --style style.npy --unbiased --eps-mode added")]
pub struct AdainArgs {
    #[command(flatten)]
    files: Files,
    /// Tensor of the style: INPUT's channels, any spatial size, INPUT's batch or 1.
    #[arg(long, value_parser = spec(), value_name = "FILE")]
    style: TensorSpec,
    /// Divide both variances by n - 1.
    #[arg(long)]
    unbiased: bool,
    #[command(flatten)]
    format: FormatArgs,
    /// Added to the variance, or to the deviation: see --eps-mode.
    #[arg(long, default_value_t = 1e-5, allow_hyphen_values = true)]
    eps: f32,
    /// Where eps is added.
    #[arg(long, value_enum, default_value = "inside")]
    eps_mode: EpsMode,
    /// Leave eps out of the style's deviation.
    #[arg(long)]
    style_without_eps: bool,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  wgpu-norm apply lp x.npy y.npy
  wgpu-norm apply lp x.npy y.npy -p 1 --axes 1.. --eps 0")]
pub struct LpArgs {
    #[command(flatten)]
    files: Files,
    /// Any positive number, or inf.
    #[arg(short, long, default_value_t = 2.0, allow_hyphen_values = true)]
    p: f32,
    /// Axes that share a norm: 1 or 1,2 or -1 or 1..3 (without 3) or 1.. [default: the last].
    #[arg(long, allow_hyphen_values = true)]
    axes: Option<AxesSpec>,
    /// Smallest divisor; 0 gives ONNX's LpNormalization.
    #[arg(long, default_value_t = 1e-12, allow_hyphen_values = true)]
    eps: f32,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  wgpu-norm apply mvn x.npy y.npy
  wgpu-norm apply mvn x.npy y.npy --axes 0,2,3 --eps-mode inside --eps 1e-5")]
pub struct MvnArgs {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    affine: AffineArgs,
    /// Axes that share statistics, any set: 0,2,3 [default: all but axis 1].
    #[arg(long, allow_hyphen_values = true)]
    axes: Option<AxesSpec>,
    /// Added to the deviation, or to the variance: see --eps-mode.
    #[arg(long, default_value_t = 1e-9, allow_hyphen_values = true)]
    eps: f32,
    /// Where eps is added.
    #[arg(long, value_enum, default_value = "added")]
    eps_mode: EpsMode,
}

/// Paths may be anything the system allows, not only UTF-8.
fn spec() -> ValueParser {
    use clap::builder::{OsStringValueParser, TypedValueParser};
    ValueParser::new(OsStringValueParser::new().map(TensorSpec::from))
}

/// A norm over a shape that is not known yet, and the files of its operands.
pub struct Settings<'a> {
    which: Which,
    format: MemoryFormat,
    eps: Epsilon,
    scale_per_group: bool,
    single_element: SingleElement,
    /// How it is computed.
    pub mode: Mode,
    /// Scale and bias.
    pub affine: Option<&'a AffineArgs>,
    /// The style of an adaptive norm.
    pub style: Option<&'a TensorSpec>,
    /// Running mean and variance.
    pub running: Option<(&'a TensorSpec, &'a TensorSpec)>,
    /// Where mean and rstd go.
    pub statistics_out: [Option<&'a Path>; 2],
}

/// The kind of norm with what it owns.
enum Which {
    Batch,
    Instance,
    Group { groups: u64 },
    Layer { axes: Range<usize> },
    Rms { axes: Range<usize> },
    Adain { variance: Variance, style_eps: StyleEpsilon },
    Lp { p: f32, axes: Range<usize> },
    Mvn { axes: Vec<usize> },
}

impl<'a> Settings<'a> {
    fn new(which: Which, eps: Epsilon) -> Self {
        Self {
            which,
            format: MemoryFormat::default(),
            eps,
            scale_per_group: false,
            single_element: SingleElement::Refuse,
            mode: Mode::Forward,
            affine: None,
            style: None,
            running: None,
            statistics_out: [None, None],
        }
    }

    fn affine(self, affine: &'a AffineArgs) -> Self {
        Self { affine: Some(affine), ..self }
    }

    fn format(self, args: &FormatArgs) -> Self {
        let format = match args.format {
            Format::ChannelsFirst => MemoryFormat::ChannelsFirst,
            Format::ChannelsLast => MemoryFormat::ChannelsLast,
        };
        let single_element = if args.allow_single_element { SingleElement::Allow } else { SingleElement::Refuse };
        Self { format, single_element, ..self }
    }

    /// The descriptor over `shape`, with the style's shape where there is one.
    pub fn descriptor<'b>(&'b self, shape: &'b [u64], style_shape: &'b [u64]) -> NormDescriptor<'b> {
        let kind = match &self.which {
            Which::Batch => NormKind::Batch,
            Which::Instance => NormKind::Instance,
            Which::Group { groups } => NormKind::Group { groups: *groups },
            Which::Layer { axes } => NormKind::Layer { axes: axes.clone() },
            Which::Rms { axes } => NormKind::Rms { axes: axes.clone() },
            Which::Adain { variance, style_eps } => {
                NormKind::AdaptiveInstance { style_shape, variance: *variance, style_eps: *style_eps }
            }
            Which::Lp { p, axes } => NormKind::LpNormalize { p: *p, axes: axes.clone() },
            Which::Mvn { axes } => NormKind::MeanVariance { axes },
        };
        let present = |spec: fn(&AffineArgs) -> &Option<TensorSpec>| {
            self.affine.and_then(|affine| spec(affine).as_ref()).map(|_| ())
        };
        NormDescriptor {
            format: self.format,
            eps: self.eps,
            affine: Affine::with(present(|affine| &affine.scale), present(|affine| &affine.bias)),
            affine_axes: if self.scale_per_group { AffineAxes::Groups } else { AffineAxes::OfKind },
            single_element: self.single_element,
            ..NormDescriptor::new(kind, shape)
        }
    }

    /// Shape of mean and rstd: the input's, 1 along the axes that share statistics.
    pub fn statistics_shape(&self, shape: &[u64]) -> Vec<u64> {
        let shared = |axis: usize| matches!(&self.which, Which::Layer { axes } if axes.contains(&axis));
        shape.iter().enumerate().map(|(axis, &size)| if shared(axis) { 1 } else { size }).collect()
    }
}

impl Kind {
    /// Files and checks.
    pub fn files(&self) -> &Files {
        match self {
            Self::Batch(args) => &args.files,
            Self::Layer(args) => &args.files,
            Self::Instance(args) => &args.files,
            Self::Group(args) => &args.files,
            Self::Rms(args) => &args.files,
            Self::Adain(args) => &args.files,
            Self::Lp(args) => &args.files,
            Self::Mvn(args) => &args.files,
        }
    }

    /// The norm for an input of `shape`.
    pub fn settings(&self, shape: &[u64]) -> Result<Settings<'_>, Failure> {
        let inside = Epsilon::InsideRoot;
        Ok(match self {
            Self::Batch(args) => args.settings()?,
            Self::Layer(args) => args.settings(shape)?,
            Self::Instance(args) => Settings {
                running: args.running.both(),
                ..Settings::new(Which::Instance, inside(args.eps)).affine(&args.affine).format(&args.format)
            },
            Self::Group(args) => Settings {
                scale_per_group: args.scale_per_group,
                ..Settings::new(Which::Group { groups: args.groups }, inside(args.eps))
                    .affine(&args.affine)
                    .format(&args.format)
            },
            Self::Rms(args) => {
                let eps = args.eps.map_or(Epsilon::Machine, inside);
                Settings::new(Which::Rms { axes: args.axes.range(shape)? }, eps).affine(&args.affine)
            }
            Self::Adain(args) => args.settings(),
            Self::Lp(args) => {
                // A tensor of rank 0 has one element, and one axis for it.
                let rank = shape.len().max(1);
                let axes = args.axes.as_ref().map_or(Ok(rank - 1..rank), |axes| axes.range(rank))?;
                Settings::new(Which::Lp { p: args.p, axes }, Epsilon::Minimum(args.eps))
            }
            Self::Mvn(args) => {
                let all_but_channels = || Ok((0..shape.len()).filter(|&axis| axis != 1).collect());
                let axes = args.axes.as_ref().map_or_else(all_but_channels, |axes| axes.resolve(shape.len()))?;
                Settings::new(Which::Mvn { axes }, args.eps_mode.of(args.eps)).affine(&args.affine)
            }
        })
    }
}

impl BatchArgs {
    fn settings(&self) -> Result<Settings<'_>, Failure> {
        let (mode, running) = match (self.training, self.running.both()) {
            (true, _) => (Mode::Training, None),
            (false, Some(running)) => (Mode::Forward, Some(running)),
            (false, None) => {
                let message = "batch norm needs --running-mean and --running-var, or --training";
                return Err(Failure::Usage(message.to_owned()));
            }
        };
        let settings = Settings::new(Which::Batch, Epsilon::InsideRoot(self.eps));
        Ok(Settings { mode, running, ..settings.affine(&self.affine).format(&self.format) })
    }
}

impl LayerArgs {
    fn settings(&self, shape: &[u64]) -> Result<Settings<'_>, Failure> {
        let statistics_out = [self.mean_out.as_deref(), self.rstd_out.as_deref()];
        let mode = if statistics_out == [None, None] { Mode::Forward } else { Mode::WithStatistics };
        let which = Which::Layer { axes: self.axes.range(shape)? };
        let settings = Settings::new(which, Epsilon::InsideRoot(self.eps)).affine(&self.affine);
        Ok(Settings { mode, statistics_out, ..settings })
    }
}

impl AdainArgs {
    fn settings(&self) -> Settings<'_> {
        let variance = if self.unbiased { Variance::Unbiased } else { Variance::Biased };
        let style_eps = if self.style_without_eps { StyleEpsilon::None } else { StyleEpsilon::AsContent };
        let settings = Settings::new(Which::Adain { variance, style_eps }, self.eps_mode.of(self.eps));
        Settings { style: Some(&self.style), ..settings.format(&self.format) }
    }
}

impl RunningArgs {
    fn both(&self) -> Option<(&TensorSpec, &TensorSpec)> {
        self.running_mean.as_ref().zip(self.running_var.as_ref())
    }
}

impl AxesArgs {
    fn range(&self, shape: &[u64]) -> Result<Range<usize>, Failure> {
        match (&self.axes, &self.normalized_shape) {
            (Some(axes), _) => axes.range(shape.len()),
            (None, Some(sizes)) => Ok(wgpu_norm::normalized_axes(shape, sizes)?),
            (None, None) => AxesSpec::List(vec![-1]).range(shape.len()),
        }
    }
}

impl EpsMode {
    fn of(self, eps: f32) -> Epsilon {
        match self {
            Self::Inside => Epsilon::InsideRoot(eps),
            Self::Added => Epsilon::AddedToDeviation(eps),
        }
    }
}
