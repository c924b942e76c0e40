//! A planned norm, and its binding to buffers.

mod backward;
mod stages;

use std::sync::Arc;

use crate::binding::Unbindable;
use crate::bound::BoundNorm;
use crate::descriptor::{Momentum, RunningUpdate, Variance};
use crate::dispatch::{Lowering, MapOperands, MergeOperands, RunningTensors, Summed, Tensor};
use crate::engine::{NormEngine, Shared};
use crate::error::BindError;
use crate::kernel::{Entry, Source, Spread};
use crate::operands::{Operands, Role};
use crate::params::Params;
use crate::partition::Partition;
use crate::plan::{Plan, Reduction, Refusal};
use crate::schedule::{Backward, RECORD, Reduce, Schedule};

use crate::view::{BufferView, Destination, TensorView};
pub use backward::{BackwardArgs, BackwardStatistics, GradientSumsArgs, InputGradientArgs};
pub use stages::{MergeArgs, MomentsArgs, Records};

/// Regions of a workspace start at multiples of this: the largest alignment that WebGPU lets a device ask of bindings.
const REGION_ALIGN: u64 = 256;

/// Operands of a forward pass. For use with [`Norm::bind_forward`].
#[derive(Clone, Copy, Debug)]
pub struct ForwardArgs<'a> {
    /// The tensor to normalize.
    pub input: TensorView<'a>,
    /// Where the result goes.
    pub output: Destination<'a>,
    /// [`Norm::affine_len`] elements, where the norm has a scale.
    pub scale: Option<TensorView<'a>>,
    /// [`Norm::affine_len`] elements, where the norm has a bias.
    pub bias: Option<TensorView<'a>>,
    /// The style, of an adaptive instance norm.
    pub style: Option<TensorView<'a>>,
    /// Which statistics normalize.
    pub statistics: StatisticsSource<'a>,
    /// [`Norm::workspace_size`] bytes, if that is not 0. What it holds before and after is of no meaning.
    pub workspace: Option<BufferView<'a>>,
}

/// Which statistics a forward pass uses.
#[derive(Clone, Copy, Debug, Default)]
pub enum StatisticsSource<'a> {
    /// Computed from the input.
    #[default]
    Input,
    /// Given as [`Norm::given_statistics_size`] bytes of records, as [`Norm::bind_import`] makes them of running
    /// means and variances. Batch and Instance only.
    Given(BufferView<'a>),
    /// Records of this norm's own segments: saved by [`Norm::bind_training`], or merged by [`Norm::bind_merge`].
    Saved(BufferView<'a>),
}

/// Operands of a forward pass that saves its statistics for backward and for running statistics. For use with [`Norm::bind_training`].
#[derive(Clone, Copy, Debug)]
pub struct TrainingArgs<'a> {
    /// The tensor to normalize.
    pub input: TensorView<'a>,
    /// Where the result goes.
    pub output: Destination<'a>,
    /// As in [`ForwardArgs::scale`].
    pub scale: Option<TensorView<'a>>,
    /// As in [`ForwardArgs::bias`].
    pub bias: Option<TensorView<'a>>,
    /// As in [`ForwardArgs::style`].
    pub style: Option<TensorView<'a>>,
    /// Receives [`Norm::statistics_size`] bytes of records.
    pub saved: BufferView<'a>,
    /// As in [`ForwardArgs::workspace`].
    pub workspace: Option<BufferView<'a>>,
}

/// Operands that turn records into plain numbers. For use with [`Norm::bind_export`].
#[derive(Clone, Copy, Debug)]
pub struct ExportArgs<'a> {
    /// Records of a training pass.
    pub statistics: BufferView<'a>,
    /// Receives [`Norm::segment_count`] means.
    pub mean: Option<TensorView<'a>>,
    /// Receives [`Norm::segment_count`] of what [`Spread`] says.
    pub spread: Option<(Spread, TensorView<'a>)>,
}

/// Operands that turn running means and variances into records. For use with [`Norm::bind_import`].
#[derive(Clone, Copy, Debug)]
pub struct ImportArgs<'a> {
    /// [`Norm::given_segment_count`] means.
    pub mean: TensorView<'a>,
    /// [`Norm::given_segment_count`] variances.
    pub variance: TensorView<'a>,
    /// Receives [`Norm::given_statistics_size`] bytes of records.
    pub statistics: BufferView<'a>,
}

/// Operands of a running update. For use with [`Norm::bind_running_update`].
#[derive(Clone, Copy, Debug)]
pub struct RunningArgs<'a> {
    /// Records of a training pass.
    pub statistics: BufferView<'a>,
    /// [`Norm::given_segment_count`] running means, updated.
    pub mean: TensorView<'a>,
    /// [`Norm::given_segment_count`] running variances, updated.
    pub variance: TensorView<'a>,
    /// A u32, the number of batches so far, incremented. Needed for [`Momentum::Cumulative`].
    pub batches: Option<BufferView<'a>>,
    /// How the batch is weighed.
    pub update: RunningUpdate,
}

/// A norm planned for one shape. Cheap to clone; `Send + Sync`.
#[derive(Clone, Debug)]
pub struct Norm {
    shared: Arc<Shared>,
    plan: Arc<Plan>,
    label: Arc<str>,
    schedule: Schedule,
    style: Option<Reduce>,
    backward: Backward,
    /// Sums over statistics and over affine segments by themselves.
    apart: (Reduce, Reduce),
}

/// Regions of a workspace.
#[derive(Clone, Copy, Debug, Default)]
struct Workspace {
    statistics: u64,
    partials: u64,
    style_statistics: u64,
    style_mean: u64,
    style_deviation: u64,
    size: u64,
}

/// Operands of a map, before they are checked.
struct MapArgs<'a> {
    input: TensorView<'a>,
    output: Destination<'a>,
    scale: Option<TensorView<'a>>,
    bias: Option<TensorView<'a>>,
    style: Option<TensorView<'a>>,
    workspace: Option<BufferView<'a>>,
}

impl Norm {
    pub(crate) fn new(engine: &NormEngine, plan: Plan, schedule: Schedule, label: Option<&str>) -> Self {
        let shared = engine.shared.clone();
        let style = plan.style.map(|style| Reduce::choose(&style.partition, &shared.profile));
        let backward = Backward::candidates(&plan, &shared.profile)[0];
        let apart = Backward::apart(&plan, &shared.profile);
        let label =
            label.map_or_else(|| format!("{} {}", shared.label, plan.kind), |l| format!("{} {l}", shared.label));
        Self { shared, plan: Arc::new(plan), label: label.into(), schedule, style, backward, apart }
    }

    /// How statistics are computed.
    pub fn schedule(&self) -> Schedule {
        self.schedule
    }

    /// Elements of input and output.
    pub fn len(&self) -> u64 {
        self.plan.elements
    }

    /// Whether the tensor has no element.
    pub fn is_empty(&self) -> bool {
        self.plan.elements == 0
    }

    /// Elements of scale and of bias; 0 where neither is applied.
    pub fn affine_len(&self) -> u64 {
        if self.plan.style.is_some() { 0 } else { self.plan.affine_len() }
    }

    /// Elements of the style, of an adaptive norm.
    pub fn style_len(&self) -> Option<u64> {
        self.plan.style.map(|style| style.partition.elements())
    }

    /// Number of segments whose statistics are computed.
    pub fn segment_count(&self) -> u64 {
        self.plan.computed.partition.segments()
    }

    /// Elements of one segment.
    pub fn segment_len(&self) -> u64 {
        self.plan.computed.partition.segment_len()
    }

    /// Number of running means, and of running variances: the channels. 0 for kinds without running statistics.
    pub fn given_segment_count(&self) -> u64 {
        self.plan.given.map_or(0, |given| given.segments())
    }

    /// Bytes of the records that a training pass saves: 16 a segment.
    pub fn statistics_size(&self) -> u64 {
        self.segment_count() * RECORD
    }

    /// Bytes of the records of given statistics: 16 a channel.
    pub fn given_statistics_size(&self) -> u64 {
        self.given_segment_count() * RECORD
    }

    /// Bytes of workspace that a forward or training pass needs; 0: none.
    pub fn workspace_size(&self) -> u64 {
        self.workspace().size
    }

    /// A buffer of [`Norm::workspace_size`] bytes, if any are needed. One serves any number of norms in turn.
    pub fn create_workspace(&self) -> Option<wgpu::Buffer> {
        self.create_buffer("workspace", self.workspace_size())
    }

    fn create_buffer(&self, what: &str, size: u64) -> Option<wgpu::Buffer> {
        (size > 0).then(|| {
            self.shared.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(&format!("{} {what}", self.label)),
                size,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        })
    }

    fn workspace(&self) -> Workspace {
        let mut size = 0;
        let mut region = |bytes: u64| {
            let start = size;
            size += bytes.div_ceil(REGION_ALIGN) * REGION_ALIGN;
            start
        };
        let computed = &self.plan.computed.partition;
        let (statistics, content) = match &self.schedule {
            Schedule::Fused(_) | Schedule::Cached(_) => (0, 0),
            Schedule::Split(reduce) if self.plan.elements > 0 => {
                (self.statistics_size(), reduce.partials_size(computed))
            }
            Schedule::Split(_) => (0, 0),
        };
        let style = self.plan.style.zip(self.style).filter(|_| self.plan.elements > 0);
        let segments = style.map_or(0, |(reduction, _)| reduction.partition.segments());
        let style_partials = style.map_or(0, |(reduction, reduce)| reduce.partials_size(&reduction.partition));
        let (statistics, partials) = (region(statistics), region(content.max(style_partials)));
        let (style_statistics, style_mean, style_deviation) =
            (region(segments * RECORD), region(segments * 4), region(segments * 4));
        Workspace { statistics, partials, style_statistics, style_mean, style_deviation, size }
    }

    /// Binds a forward pass. The binding can be recorded any number of times.
    ///
    /// # Errors
    /// [`BindError`] says which operand is wrong; nothing has been recorded or written then.
    pub fn bind_forward(&self, args: &ForwardArgs<'_>) -> Result<BoundNorm, BindError> {
        let ForwardArgs { input, output, scale, bias, style, statistics, workspace } = *args;
        let map = MapArgs { input, output, scale, bias, style, workspace };
        match statistics {
            StatisticsSource::Input => self.bind_computed(&map, None),
            StatisticsSource::Given(records) => {
                let given = self.given("inference from given statistics")?;
                self.bind_map(&map, given, &records, self.given_statistics_size())
            }
            StatisticsSource::Saved(records) => {
                self.check_plain("normalization by saved statistics")?;
                self.bind_map(&map, self.plan.computed.partition, &records, self.statistics_size())
            }
        }
    }

    /// Binds a forward pass that saves the statistics of its input as records.
    ///
    /// # Errors
    /// As [`Norm::bind_forward`].
    pub fn bind_training(&self, args: &TrainingArgs<'_>) -> Result<BoundNorm, BindError> {
        let TrainingArgs { input, output, scale, bias, style, saved, workspace } = *args;
        self.bind_computed(&MapArgs { input, output, scale, bias, style, workspace }, Some(&saved))
    }

    fn bind_computed(&self, args: &MapArgs<'_>, saved: Option<&BufferView<'_>>) -> Result<BoundNorm, BindError> {
        match self.plan.refusal {
            Some(Refusal::SingleElement) => {
                return Err(BindError::SingleElement { kind: self.plan.kind, shape: self.plan.shape.clone() });
            }
            Some(Refusal::TrainingEpsilon(eps)) => return Err(BindError::TrainingEpsilon { eps }),
            None => {}
        }
        let mut operands = Operands::default();
        let saved = saved
            .map(|view| operands.records("saved statistics", view, self.statistics_size(), Role::Written))
            .transpose()?;
        let mut map = self.map(&mut operands, args)?;
        let input = map.input.unwrap_or(map.output);
        let style = self.style_operand(&mut operands, args.style.as_ref())?;
        let layout = self.workspace();
        let scratch = self.workspace_operand(&mut operands, args.workspace.as_ref(), layout.size)?;
        let at = |offset: u64| Tensor { offset: scratch.offset + offset, ..scratch };
        self.finish(operands, "forward", |lowering| {
            if let Some((input, reduction, reduce)) = style.filter(|_| self.plan.elements > 0) {
                lowering.reduce(
                    &reduction,
                    &reduce,
                    &Summed::Values(input),
                    at(layout.style_statistics),
                    at(layout.partials),
                )?;
                let deviation = (Spread::Deviation, at(layout.style_deviation));
                lowering.export(
                    &reduction,
                    at(layout.style_statistics),
                    Some(at(layout.style_mean)),
                    Some(deviation),
                )?;
                map.scale = Some(at(layout.style_deviation));
                map.bias = Some(at(layout.style_mean));
            }
            let reduction = &self.plan.computed;
            match self.schedule {
                Schedule::Fused(team) if self.plan.elements > 0 => {
                    lowering.fused(Entry::Fused, reduction, team, &map, saved)
                }
                Schedule::Cached(team) if self.plan.elements > 0 => {
                    lowering.fused(Entry::FusedCached, reduction, team, &map, saved)
                }
                Schedule::Split(reduce) if self.plan.elements > 0 => {
                    let statistics = saved.unwrap_or(at(layout.statistics));
                    lowering.reduce(reduction, &reduce, &Summed::Values(input), statistics, at(layout.partials))?;
                    lowering.apply(reduction, &reduction.partition, &map, Some(statistics))
                }
                // no element: there is nothing to normalize, but saved statistics say so
                Schedule::Fused(_) | Schedule::Cached(_) | Schedule::Split(_) => {
                    let nothing = MergeOperands::nothing(self.segment_count(), saved);
                    saved.map_or(Ok(()), |_| lowering.merge(Source::Values, reduction, &nothing))
                }
            }
        })
    }

    /// Normalizes by records that are there.
    fn bind_map(
        &self,
        args: &MapArgs<'_>,
        partition: Partition,
        records: &BufferView<'_>,
        size: u64,
    ) -> Result<BoundNorm, BindError> {
        let mut operands = Operands::default();
        let statistics = operands.records("given statistics", records, size, Role::Read)?;
        let map = self.map(&mut operands, args)?;
        self.finish(operands, "inference", |lowering| {
            lowering.apply(&self.plan.computed, &partition, &map, Some(statistics))
        })
    }

    /// Binds the conversion of saved records to plain numbers.
    ///
    /// # Errors
    /// As [`Norm::bind_forward`].
    pub fn bind_export(&self, args: &ExportArgs<'_>) -> Result<BoundNorm, BindError> {
        let mut operands = Operands::default();
        let segments = self.segment_count();
        let statistics = operands.records("statistics", &args.statistics, self.statistics_size(), Role::Read)?;
        let mean =
            args.mean.map(|view| operands.tensor("mean", &view, segments, segments, Role::Written)).transpose()?;
        let spread = args
            .spread
            .map(|(kind, view)| Ok((kind, operands.tensor("spread", &view, segments, segments, Role::Written)?)))
            .transpose()?;
        if mean.is_none() && spread.is_none() {
            return Err(BindError::Missing { operand: "mean or spread" });
        }
        self.finish(operands, "export", |lowering| lowering.export(&self.plan.computed, statistics, mean, spread))
    }

    /// Binds the conversion of running means and variances to records.
    ///
    /// # Errors
    /// As [`Norm::bind_forward`].
    pub fn bind_import(&self, args: &ImportArgs<'_>) -> Result<BoundNorm, BindError> {
        let partition = self.given("running statistics")?;
        let channels = partition.segments();
        let mut operands = Operands::default();
        let mean = operands.tensor("running mean", &args.mean, channels, channels, Role::Read)?;
        let variance = operands.tensor("running variance", &args.variance, channels, channels, Role::Read)?;
        let statistics =
            operands.records("given statistics", &args.statistics, self.given_statistics_size(), Role::Written)?;
        let reduction = Reduction { partition, ..self.plan.computed };
        self.finish(operands, "import", |lowering| lowering.import(&reduction, mean, Some(variance), statistics))
    }

    /// Binds the update of running statistics by the records of a training pass. Running statistics change here and nowhere else.
    ///
    /// # Errors
    /// As [`Norm::bind_forward`]; [`BindError::Momentum`].
    pub fn bind_running_update(&self, args: &RunningArgs<'_>) -> Result<BoundNorm, BindError> {
        let channels = self.given("running statistics")?.segments();
        let params = running_params(&args.update)?;
        let mut operands = Operands::default();
        let statistics = operands.records("statistics", &args.statistics, self.statistics_size(), Role::Read)?;
        let mean = operands.tensor("running mean", &args.mean, channels, channels, Role::Written)?;
        let variance = operands.tensor("running variance", &args.variance, channels, channels, Role::Written)?;
        let counter = args.batches.map(|view| operands.range("batches", &view, 4, 4, Role::Written)).transpose()?;
        if args.update.momentum == Momentum::Cumulative && counter.is_none() {
            return Err(BindError::Missing { operand: "batches" });
        }
        let tensors = RunningTensors { statistics, mean, variance, counter };
        // the kernel reads the counter, a dispatch of its own counts
        let read =
            RunningTensors { counter: counter.filter(|_| args.update.momentum == Momentum::Cumulative), ..tensors };
        let samples = self.segment_count().checked_div(channels).unwrap_or(0);
        self.finish(operands, "running update", |lowering| {
            if samples > 0 {
                lowering.running((channels, samples), params, &read)?;
            }
            counter.map_or(Ok(()), |counter| lowering.count(counter))
        })
    }

    fn given(&self, operation: &'static str) -> Result<Partition, BindError> {
        self.plan.given.ok_or(BindError::NoSuchOperation { kind: self.plan.kind, operation })
    }

    fn map(&self, operands: &mut Operands, args: &MapArgs<'_>) -> Result<MapOperands, BindError> {
        let plan = &self.plan;
        let row_len = plan.computed.row_len;
        let (input, output) = match &args.output {
            Destination::View(output) => {
                let input = operands.tensor("input", &args.input, plan.elements, row_len, Role::Read)?;
                (input, operands.tensor("output", output, plan.elements, row_len, Role::Written)?)
            }
            Destination::InPlace => {
                let both = operands.tensor("input", &args.input, plan.elements, row_len, Role::Written)?;
                (both, both)
            }
        };
        let mut parameter = |name: &'static str, view: &Option<TensorView<'_>>, used: bool| match (view, used) {
            (Some(view), true) => {
                operands.tensor(name, view, plan.affine_len(), plan.affine_len(), Role::Read).map(Some)
            }
            (None, false) => Ok(None),
            (Some(_), false) => Err(BindError::Unexpected { operand: name }),
            (None, true) => Err(BindError::Missing { operand: name }),
        };
        let own = plan.style.is_none();
        let scale = parameter("scale", &args.scale, plan.scale && own)?;
        let bias = parameter("bias", &args.bias, plan.bias && own)?;
        Ok(MapOperands { input: Some(input), output, row_len, affine: plan.affine, scale, bias })
    }

    fn style_operand(
        &self,
        operands: &mut Operands,
        style: Option<&TensorView<'_>>,
    ) -> Result<Option<(Tensor, Reduction, Reduce)>, BindError> {
        match (style, self.plan.style.zip(self.style)) {
            (Some(view), Some((reduction, reduce))) => {
                let len = reduction.partition.elements();
                let input = operands.tensor("style", view, len, reduction.row_len, Role::Read)?;
                Ok(Some((input, reduction, reduce)))
            }
            (None, None) => Ok(None),
            (Some(_), None) => Err(BindError::Unexpected { operand: "style" }),
            (None, Some(_)) => Err(BindError::Missing { operand: "style" }),
        }
    }

    /// The workspace, or a place that nothing refers to where none is needed.
    fn workspace_operand(
        &self,
        operands: &mut Operands,
        view: Option<&BufferView<'_>>,
        size: u64,
    ) -> Result<Tensor, BindError> {
        match view {
            _ if size == 0 => Ok(Tensor { buffer: usize::MAX, offset: 0, rows: None }),
            Some(view) => operands.range("workspace", view, size, RECORD, Role::Written),
            None => Err(BindError::Missing { operand: "workspace" }),
        }
    }

    fn finish(
        &self,
        operands: Operands,
        operation: &'static str,
        lower: impl FnOnce(&mut Lowering) -> Result<(), Unbindable>,
    ) -> Result<BoundNorm, BindError> {
        BoundNorm::lower(&self.shared, &self.label, operation, &operands, lower)
    }
}

fn running_params(update: &RunningUpdate) -> Result<Params, BindError> {
    let (momentum, cumulative) = match update.momentum {
        Momentum::Weight(weight) if (0.0..=1.0).contains(&weight) => (weight, 0),
        Momentum::AsGiven(weight) if weight.is_finite() => (weight, 0),
        Momentum::Weight(momentum) | Momentum::AsGiven(momentum) => return Err(BindError::Momentum { momentum }),
        Momentum::Cumulative => (0.0, 1),
    };
    let unbiased = u32::from(update.variance == Variance::Unbiased);
    Ok(Params { momentum, cumulative, unbiased, ..Params::default() })
}
