//! From the arguments of `wgpu-norm apply` to a norm and the files of its operands.

use std::ops::Range;
use std::path::Path;

use wgpu_norm::{
    AdaptiveDescriptor, Affine, AffineAxes, BindError, Epsilon, MemoryFormat, Momentum, NormDescriptor, NormKind,
    RunningUpdate, SingleElement, StyleEpsilon, Types, Variance,
};
use wgpu_norm_tools::compute::Mode;
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::files::TensorSpec;
use wgpu_norm_tools::fused::Fused;
use wgpu_norm_tools::norm::Descriptor;

use crate::axes::AxesSpec;

use super::args::{
    AdainArgs, AffineArgs, AxesArgs, BatchArgs, EpsMode, Files, Format, FormatArgs, Kind, LayerArgs, RunningArgs,
};
use super::fusion::FusionArgs;
use super::quantize::QuantizeArgs;

/// A norm over a shape that is not known yet, and the files of its operands.
pub struct Settings<'a> {
    which: Which,
    format: MemoryFormat,
    eps: Epsilon,
    scale_per_group: bool,
    single_element: SingleElement,
    /// How it is computed.
    pub mode: Mode,
    /// Factor of the result.
    pub scale: Option<&'a TensorSpec>,
    /// Summand of the result.
    pub bias: Option<&'a TensorSpec>,
    /// The style of an adaptive norm.
    pub style: Option<&'a TensorSpec>,
    /// Running mean and variance.
    pub running: Option<(&'a TensorSpec, &'a TensorSpec)>,
    /// How they take in the batch; else they normalize it.
    pub update: Option<Update<'a>>,
    /// Where mean and rstd go.
    pub statistics_out: [Option<&'a Path>; 2],
    /// What stands around it; `None`: nothing can.
    pub fusion: Option<&'a FusionArgs>,
}

/// An update of running statistics.
#[derive(Clone, Copy)]
pub struct Update<'a> {
    /// How the batch is weighed.
    pub update: RunningUpdate,
    /// Batches taken in before.
    pub batches: u32,
    /// Where the updated ones go.
    pub out: &'a Path,
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
    Weight { dim: Option<usize> },
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
            scale: None,
            bias: None,
            style: None,
            running: None,
            update: None,
            statistics_out: [None, None],
            fusion: None,
        }
    }

    fn affine(self, affine: &'a AffineArgs) -> Self {
        Self { scale: affine.scale.as_ref(), bias: affine.bias.as_ref(), ..self }
    }

    fn format(self, args: &FormatArgs) -> Self {
        let format = match args.format {
            Format::ChannelsFirst => MemoryFormat::ChannelsFirst,
            Format::ChannelsLast => MemoryFormat::ChannelsLast,
        };
        let single_element = if args.allow_single_element { SingleElement::Allow } else { SingleElement::Refuse };
        Self { format, single_element, ..self }
    }

    /// The descriptor over `shape`, with the style's shape where there is one, and with a fusion that varies along
    /// these axes.
    pub fn descriptor<'b>(
        &'b self,
        (shape, style_shape): (&'b [u64], &'b [u64]),
        types: Types,
        axes: &'b Fused<Vec<usize>>,
    ) -> Descriptor<'b> {
        let kind = match &self.which {
            Which::Batch => NormKind::Batch,
            Which::Instance => NormKind::Instance,
            Which::Group { groups } => NormKind::Group { groups: *groups },
            Which::Layer { axes } => NormKind::Layer { axes: axes.clone() },
            Which::Rms { axes } => NormKind::Rms { axes: axes.clone() },
            Which::Adain { variance, style_eps } => {
                return Descriptor::Adaptive(AdaptiveDescriptor {
                    format: self.format,
                    eps: self.eps,
                    style_eps: *style_eps,
                    variance: *variance,
                    single_element: self.single_element,
                    types,
                    ..AdaptiveDescriptor::new(shape, style_shape)
                });
            }
            Which::Lp { p, axes } => NormKind::LpNormalize { p: *p, axes: axes.clone() },
            Which::Mvn { axes } => NormKind::MeanVariance { axes },
            Which::Weight { dim } => NormKind::Weight { dim: *dim },
        };
        Descriptor::Norm(NormDescriptor {
            format: self.format,
            eps: self.eps,
            affine: Affine::with(self.scale.map(|_| ()), self.bias.map(|_| ())),
            affine_axes: if self.scale_per_group { AffineAxes::Groups } else { AffineAxes::OfKind },
            single_element: self.single_element,
            types,
            fusion: self.fusion.map(|fusion| fusion.fusion(axes)).unwrap_or_default(),
            ..NormDescriptor::new(kind, shape)
        })
    }

    /// The files of what stands around the norm.
    pub fn fused(&self) -> Fused<&'a TensorSpec> {
        self.fusion.map(FusionArgs::files).unwrap_or_default()
    }

    /// How the result becomes bytes.
    pub fn quantize(&self) -> Option<&'a QuantizeArgs> {
        self.fusion.map(|fusion| &fusion.quantize)
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
            Self::Weight(args) => &args.files,
        }
    }

    fn fusion(&self) -> Option<&FusionArgs> {
        match self {
            Self::Batch(args) => Some(&args.fusion),
            Self::Layer(args) => Some(&args.fusion),
            Self::Instance(args) => Some(&args.fusion),
            Self::Group(args) => Some(&args.fusion),
            Self::Rms(args) => Some(&args.fusion),
            Self::Mvn(args) => Some(&args.fusion),
            Self::Adain(_) | Self::Lp(_) | Self::Weight(_) => None,
        }
    }

    /// The norm for an input of `shape`.
    pub fn settings(&self, shape: &[u64]) -> Result<Settings<'_>, Failure> {
        Ok(Settings { fusion: self.fusion(), ..self.norm(shape)? })
    }

    fn norm(&self, shape: &[u64]) -> Result<Settings<'_>, Failure> {
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
            Self::Weight(args) => {
                let settings = Settings::new(Which::Weight { dim: args.dim.0 }, inside(0.0));
                Settings { scale: Some(&args.g), ..settings }
            }
        })
    }
}

impl BatchArgs {
    fn settings(&self) -> Result<Settings<'_>, Failure> {
        let usage = |message: &str| Failure::Usage(message.to_owned());
        let running = self.running.both();
        let mode = match (self.training, running, &self.running_out) {
            (true, Some(_), None) => {
                return Err(usage("running statistics take in a batch of --training only into --running-out FILE"));
            }
            (false, None, _) => {
                return Err(usage("batch norm needs --running-mean and --running-var, or --training"));
            }
            (true, ..) => Mode::Training,
            (false, ..) => Mode::Forward,
        };
        let update = self.running_out.as_deref().map(|out| self.update(out)).transpose()?;
        let settings = Settings::new(Which::Batch, Epsilon::InsideRoot(self.eps));
        Ok(Settings { mode, running, update, ..settings.affine(&self.affine).format(&self.format) })
    }

    fn update<'a>(&self, out: &'a Path) -> Result<Update<'a>, Failure> {
        let momentum = self.momentum.unwrap_or(RunningUpdate::default().momentum);
        match momentum {
            Momentum::Weight(momentum) if !(0.0..=1.0).contains(&momentum) => {
                Err(BindError::Momentum { momentum }.into())
            }
            _ => {
                let update = RunningUpdate { momentum, ..RunningUpdate::default() };
                Ok(Update { update, batches: self.batches.unwrap_or(0), out })
            }
        }
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
