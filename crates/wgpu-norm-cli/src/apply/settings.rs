//! From the arguments of `wgpu-norm apply` to a norm and the files of its operands.

use std::ops::Range;
use std::path::Path;

use wgpu_norm::{
    AdaptiveDescriptor, Affine, AffineAxes, BindError, Epsilon, MemoryFormat, Momentum, NormDescriptor, NormKind,
    PlanError, RunningUpdate, SingleElement, StyleEpsilon, Types, Variance,
};
use wgpu_norm_tools::compute::Mode;
use wgpu_norm_tools::exact::Descriptor;
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::files::{Prefix, TensorSpec};
use wgpu_norm_tools::fused::Fused;

use super::args::{
    AdainArgs, AffineArgs, AxesArgs, BatchArgs, Batches, EpsMode, Files, Format, FormatArgs, Kind, LayerArgs,
    RunningArgs,
};
use super::fusion::FusionArgs;
use super::quantize::QuantizeArgs;
use super::walk::Walk;
use super::ways_out;

/// A norm over an input, and the files of its operands.
pub struct Settings<'a> {
    /// Which norm.
    pub which: Which,
    /// Where it has its channels.
    pub format: MemoryFormat,
    eps: Epsilon,
    parameters: Parameters,
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
    /// The file that counted them.
    pub counter: Option<&'a TensorSpec>,
    /// Where the updated ones go.
    pub out: &'a Path,
}

/// The kind of norm with what it owns. Axes are those of the input, ascending.
pub enum Which {
    Batch,
    Instance,
    Group { groups: u64 },
    Layer { axes: Vec<usize> },
    Rms { axes: Vec<usize> },
    GroupedRms { groups: u64 },
    Adain { variance: Variance, style_eps: StyleEpsilon },
    Lp { p: f32, axes: Vec<usize> },
    Mvn { axes: Vec<usize> },
    Weight { dim: Option<usize> },
}

/// Along what scale and bias vary.
enum Parameters {
    OfKind,
    Groups,
    /// These axes of the input.
    Axes(Vec<usize>),
}

/// The axes of a norm and of what stands around it, as they are walked.
pub struct Walked {
    /// In which order.
    pub walk: Walk,
    shape: Vec<u64>,
    /// Those that share statistics.
    reduced: Vec<usize>,
    /// Those along which scale and bias vary, where that is not the kind's affair.
    parameters: Option<Vec<usize>>,
    fused: Fused<Vec<usize>>,
}

impl<'a> Settings<'a> {
    fn new(which: Which, eps: Epsilon) -> Self {
        Self {
            which,
            format: MemoryFormat::default(),
            eps,
            parameters: Parameters::OfKind,
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

    /// With scale and bias over a tensor of `rank`.
    fn affine(self, affine: &'a AffineArgs, rank: usize) -> Result<Self, Failure> {
        let (scale, bias) = (affine.scale.as_ref(), affine.bias.as_ref());
        let parameters = match &affine.scale_axes {
            Some(axes) => {
                affine.wanted_by("--scale-axes")?;
                Parameters::Axes(axes.of(rank, "--scale-axes")?)
            }
            None => self.parameters,
        };
        Ok(Self { scale, bias, parameters, ..self })
    }

    fn format(self, args: &FormatArgs) -> Self {
        let format = match args.format {
            Format::ChannelsFirst => MemoryFormat::ChannelsFirst,
            Format::ChannelsLast => MemoryFormat::ChannelsLast,
        };
        let single_element = if args.allow_single_element { SingleElement::Allow } else { SingleElement::Refuse };
        Self { format, single_element, ..self }
    }

    /// The norm over an input of `shape` as it can be planned: in the first order of its axes in which the engine takes
    /// them. What stands around the norm varies along the axes of `fused`.
    ///
    /// # Errors
    /// [`PlanError`](wgpu_norm::PlanError) says what is wrong with it in any order.
    pub fn walked(
        &self,
        (shape, style_shape): (&[u64], &[u64]),
        types: Types,
        fused: &Fused<Vec<usize>>,
    ) -> Result<Walked, Failure> {
        let groups = if let Which::GroupedRms { groups } = self.which { Some(groups) } else { None };
        match (groups, shape.last()) {
            (Some(_), None) => return Err(PlanError::RankTooLow { kind: "rms", rank: 0, min: 1 }.into()),
            (Some(groups), Some(&channels)) if !channels.is_multiple_of(groups) => {
                return Err(PlanError::GroupsDoNotDivideChannels { groups, channels }.into());
            }
            _ => {}
        }
        let mut refused = None;
        // a kind of one range refuses axes that are none in an order
        for walk in Walk::new(shape, groups).orders(|axis| self.may_move(axis, shape.len())) {
            let walked = self.in_order(walk, fused);
            match self.descriptor(&walked, style_shape, types).validate() {
                Ok(()) => return Ok(walked),
                Err(PlanError::AxesOutOfRange { axes, .. }) if axes.is_empty() && !walked.reduced.is_empty() => {}
                Err(error @ PlanError::AxesInterleave { .. }) => refused = refused.or(Some(error)),
                // groups and their channels are one axis of INPUT
                Err(PlanError::RankTooHigh { rank, max }) if groups.is_some() => {
                    return Err(PlanError::RankTooHigh { rank: rank - 1, max: max - 1 }.into());
                }
                Err(PlanError::Unrelated { first, second }) => {
                    let [first, second] = [first, second].map(|places| walked.walk.axes_of_input(&places));
                    return Err(PlanError::Unrelated { first, second }.into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        let none = PlanError::AxesOutOfRange { axes: Vec::new(), rank: shape.len() };
        Err(refused.unwrap_or(none).into())
    }

    /// Whether an axis of a tensor of `rank` may be walked at the place of another. Kinds that know batch and channels
    /// by their places keep them there, and scales of rows keep the rows.
    fn may_move(&self, axis: usize, rank: usize) -> bool {
        let has_rows = self.quantize().and_then(QuantizeArgs::quantization).is_some();
        let is_last = axis + 1 == rank;
        match &self.which {
            _ if has_rows && is_last => false,
            Which::Layer { .. }
            | Which::Rms { .. }
            | Which::GroupedRms { .. }
            | Which::Lp { .. }
            | Which::Mvn { .. } => true,
            Which::Batch | Which::Instance | Which::Group { .. } => match self.format {
                MemoryFormat::ChannelsFirst => axis > 1,
                MemoryFormat::ChannelsLast => axis > 0 && !is_last,
            },
            Which::Adain { .. } | Which::Weight { .. } => false,
        }
    }

    fn in_order(&self, walk: Walk, fused: &Fused<Vec<usize>>) -> Walked {
        let shape = walk.shape();
        let (reduced, own) = match &self.which {
            Which::Layer { axes } | Which::Rms { axes } | Which::Lp { axes, .. } | Which::Mvn { axes } => {
                (walk.places(axes), None)
            }
            // the second half of the last axis, and all of it
            Which::GroupedRms { .. } => {
                let last = shape.len().saturating_sub(1);
                (walk.places(&[last]), Some(walk.places_of_input(&[last.saturating_sub(1)])))
            }
            _ => (Vec::new(), None),
        };
        let parameters = match &self.parameters {
            Parameters::Axes(axes) => Some(walk.places_of_input(axes)),
            Parameters::OfKind | Parameters::Groups => own,
        };
        let fused = fused.as_ref().map(|axes| walk.places_of_input(axes));
        Walked { walk, shape, reduced, parameters, fused }
    }

    /// The descriptor in an order of axes, with the style's shape where there is one.
    pub fn descriptor<'b>(&'b self, walked: &'b Walked, style_shape: &'b [u64], types: Types) -> Descriptor<'b> {
        let Walked { shape, reduced, fused, .. } = walked;
        let kind = match &self.which {
            Which::Batch => NormKind::Batch,
            Which::Instance => NormKind::Instance,
            Which::Group { groups } => NormKind::Group { groups: *groups },
            Which::Layer { .. } => NormKind::Layer { axes: range(reduced) },
            Which::Rms { .. } | Which::GroupedRms { .. } => NormKind::Rms { axes: range(reduced) },
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
            Which::Lp { p, .. } => NormKind::LpNormalize { p: *p, axes: range(reduced) },
            Which::Mvn { .. } => NormKind::MeanVariance { axes: reduced },
            Which::Weight { dim } => NormKind::Weight { dim: *dim },
        };
        let affine_axes = match (&self.parameters, &walked.parameters) {
            (Parameters::Groups, _) => AffineAxes::Groups,
            (_, Some(axes)) => AffineAxes::Axes(axes),
            (_, None) => AffineAxes::OfKind,
        };
        Descriptor::Norm(NormDescriptor {
            format: self.format,
            eps: self.eps,
            affine: Affine::with(self.scale.map(|_| ()), self.bias.map(|_| ())),
            affine_axes,
            single_element: self.single_element,
            types,
            fusion: self.fusion.map(|fusion| fusion.fusion(fused)).unwrap_or_default(),
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

/// Axes as one range; an empty one where they are none.
fn range(axes: &[usize]) -> Range<usize> {
    match axes {
        [first, .., last] if axes.iter().copied().eq(*first..=*last) => *first..last + 1,
        [axis] => *axis..axis + 1,
        _ => 0..0,
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
        let fusion = self.fusion();
        fusion.map_or(Ok(()), FusionArgs::check)?;
        Ok(Settings { fusion, ..self.norm(shape)? })
    }

    fn norm(&self, shape: &[u64]) -> Result<Settings<'_>, Failure> {
        let (inside, rank) = (Epsilon::InsideRoot, shape.len());
        Ok(match self {
            Self::Batch(args) => args.settings(rank)?,
            Self::Layer(args) => args.settings(shape)?,
            Self::Instance(args) => Settings {
                running: args.running.both(),
                ..Settings::new(Which::Instance, inside(args.eps)).affine(&args.affine, rank)?.format(&args.format)
            },
            Self::Group(args) => {
                let parameters = if args.scale_per_group {
                    args.affine.wanted_by("--scale-per-group")?;
                    Parameters::Groups
                } else {
                    Parameters::OfKind
                };
                let settings = Settings::new(Which::Group { groups: args.groups }, inside(args.eps));
                Settings { parameters, ..settings }.affine(&args.affine, rank)?.format(&args.format)
            }
            Self::Rms(args) => {
                let eps = args.eps.map_or(Epsilon::Machine, inside);
                let which = match args.groups {
                    Some(groups) => Which::GroupedRms { groups },
                    None => Which::Rms { axes: args.axes.of(shape)? },
                };
                Settings::new(which, eps).affine(&args.affine, rank)?
            }
            Self::Adain(args) => args.settings(),
            Self::Lp(args) => {
                // A tensor of rank 0 has one element, and one axis for it.
                let rank = rank.max(1);
                let axes = args.axes.as_ref().map_or(Ok(vec![rank - 1]), |axes| axes.of(rank, "--axes"))?;
                Settings::new(Which::Lp { p: args.p, axes }, Epsilon::Minimum(args.eps))
            }
            Self::Mvn(args) => {
                let all_but_channels = || Ok((0..rank).filter(|&axis| axis != 1).collect());
                let axes = args.axes.as_ref().map_or_else(all_but_channels, |axes| axes.of(rank, "--axes"))?;
                Settings::new(Which::Mvn { axes }, args.eps_mode.of(args.eps)).affine(&args.affine, rank)?
            }
            Self::Weight(args) => {
                let dim = args.dim.0.map(|axis| axis.of(rank, "--dim")).transpose()?;
                let settings = Settings::new(Which::Weight { dim }, inside(0.0));
                Settings { scale: Some(&args.g), ..settings }
            }
        })
    }
}

impl BatchArgs {
    fn settings(&self, rank: usize) -> Result<Settings<'_>, Failure> {
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
        Ok(Settings { mode, running, update, ..settings.affine(&self.affine, rank)?.format(&self.format) })
    }

    fn update<'a>(&'a self, out: &'a Path) -> Result<Update<'a>, Failure> {
        let momentum = self.momentum.unwrap_or(RunningUpdate::default().momentum);
        match momentum {
            Momentum::Weight(momentum) if !(0.0..=1.0).contains(&momentum) => {
                Err(BindError::Momentum { momentum }.into())
            }
            _ => {
                let update = RunningUpdate { momentum, ..RunningUpdate::default() };
                let prefix = Prefix::new(self.files.prefix.as_deref());
                let batches = self.batches.as_ref().map_or(Ok(0), |batches| batches.count(&prefix))?;
                Ok(Update { update, batches, counter: self.batches.as_ref().and_then(Batches::file), out })
            }
        }
    }
}

impl LayerArgs {
    fn settings(&self, shape: &[u64]) -> Result<Settings<'_>, Failure> {
        let statistics_out = [self.mean_out.as_deref(), self.rstd_out.as_deref()];
        let mode = if statistics_out == [None, None] { Mode::Forward } else { Mode::WithStatistics };
        let which = Which::Layer { axes: self.axes.of(shape)? };
        let settings = Settings::new(which, Epsilon::InsideRoot(self.eps)).affine(&self.affine, shape.len())?;
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
    fn of(&self, shape: &[u64]) -> Result<Vec<usize>, Failure> {
        match (&self.axes, &self.normalized_shape, shape.len()) {
            (Some(axes), ..) => axes.of(shape.len(), "--axes"),
            (None, Some(sizes), _) => match wgpu_norm::normalized_axes(shape, sizes) {
                Ok(axes) => Ok(axes.collect()),
                Err(error) => Err(ways_out::of_normalized_shape(error, sizes, shape)),
            },
            (None, None, rank) => Ok(rank.checked_sub(1).into_iter().collect()),
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
