//! A planned norm: operations on views of buffers to recipes. Pure: no device is touched.

mod adaptive;
mod args;
mod backward;
mod bound;
mod fused;
mod fused_backward;
pub(crate) mod operands;
mod planner;
mod spectral;
mod stages;

use crate::descriptor::{Momentum, RunningUpdate, Variance};
use crate::element::{Element, Types};
use crate::error::BindError;
use crate::fusion::NormalizedRounding;
use crate::kernel::Source;
use crate::kernel::blocks::Running;
use crate::lower::bindings::Unbindable;
use crate::lower::{Around, Before, Lowering, MapOperands, MergeOperands, Moments, RunningTensors, Summed, Tensor};
use crate::moments::RECORD;
use crate::operand::Operand;
use crate::partition::Partition;
use crate::plan::{Plan, Reduction, Refusal};
use crate::recipe::Recipe;
use crate::schedule::{Backward, Schedule};
use crate::view::{Buffer, BufferView, Destination, TensorView};
use bound::ListRegions;
use fused::FusedTensors;
use operands::{Operands, Role, Shape};

pub use adaptive::{AdaptiveArgs, AdaptiveBackwardArgs, AdaptivePlan};
pub use args::*;
pub use planner::Planner;
pub use spectral::{
    MAX_POWER_ITERATIONS, PowerIterations, PowerOrder, SpectralArgs, SpectralBackwardArgs, SpectralDescriptor,
    SpectralPlan,
};

/// Regions of a workspace start at multiples of this: the largest alignment that WebGPU lets a device ask of bindings.
pub(crate) const REGION_ALIGN: u64 = 256;

/// A norm planned for one shape and one device: every operation is a function from views of buffers to a [`Recipe`].
#[derive(Clone, Debug)]
pub struct NormPlan {
    planner: Planner,
    plan: Plan,
    schedule: Schedule,
    backward: Backward,
    /// Sums over statistics and over affine segments by themselves.
    apart: (crate::schedule::Reduce, crate::schedule::Reduce),
    /// How sums are made where they are wanted themselves, or the chosen schedule does not take a layout.
    sums: Backward,
}

/// Regions of a workspace.
#[derive(Clone, Copy, Debug, Default)]
struct Workspace {
    statistics: u64,
    partials: u64,
    lists: ListRegions,
    /// The result before it is quantized.
    result: u64,
    size: u64,
}

/// Cuts a workspace into regions.
#[derive(Default)]
pub(crate) struct Cutter {
    pub size: u64,
}

impl Cutter {
    /// The start of a region of so many bytes.
    pub(crate) fn region(&mut self, bytes: u64) -> u64 {
        let start = self.size;
        self.size += bytes.div_ceil(REGION_ALIGN) * REGION_ALIGN;
        start
    }
}

/// Operands of a map, before they are checked.
struct MapArgs<'a, B> {
    input: &'a TensorView<B>,
    output: &'a Destination<B>,
    scale: &'a Option<TensorView<B>>,
    bias: &'a Option<TensorView<B>>,
    fused: &'a FusedArgs<B>,
    workspace: &'a Option<BufferView<B>>,
}

impl NormPlan {
    pub(crate) fn new(planner: Planner, plan: Plan, schedule: Schedule) -> Self {
        let apart = Backward::apart(&plan, &planner.profile);
        let by_themselves = Backward::Apart { statistics: apart.0, affine: apart.1 };
        let candidates = Backward::candidates(&plan, &planner.profile);
        // what the gradient to the scale is made of is no part of other sums, where it is rounded
        let rounds = plan.fused.normalized != NormalizedRounding::None && plan.types.output != Element::F32;
        let suits = |schedule: &Backward| !rounds || !matches!(schedule, Backward::Folded(_) | Backward::Runs(_));
        let backward = candidates.into_iter().find(suits).unwrap_or(by_themselves);
        let by_sums = |schedule: &Backward| matches!(schedule, Backward::Folded(_) | Backward::Apart { .. });
        let sums = Backward::split(&plan, &planner.profile).into_iter().find(|s| by_sums(s) && suits(s));
        let sums = sums.unwrap_or(if rounds { by_themselves } else { backward });
        Self { planner, plan, schedule, backward, apart, sums }
    }

    /// The kind of norm, as the program spells it.
    pub fn kind(&self) -> &'static str {
        self.plan.kind
    }

    /// Whether shards of a batch can share statistics.
    pub fn crosses_samples(&self) -> bool {
        self.plan.crosses_samples
    }

    /// How statistics are computed.
    pub fn schedule(&self) -> Schedule {
        self.schedule
    }

    /// Of the input, and of all that is walked with it.
    fn shape(&self) -> Shape<'_> {
        Shape { len: self.plan.elements, row_len: self.plan.computed.row_len, sizes: &self.plan.shape }
    }

    /// Element types of its tensors.
    pub fn types(&self) -> Types {
        self.plan.types
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
        self.plan.parameters
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

    /// Bytes of the moments that a training pass saves: 16 a segment.
    pub fn statistics_size(&self) -> u64 {
        self.segment_count() * RECORD
    }

    /// Bytes of the moments of given statistics: 16 a channel.
    pub fn given_statistics_size(&self) -> u64 {
        self.given_segment_count() * RECORD
    }

    /// Bytes of workspace that a forward or training pass needs; 0: none.
    pub fn workspace_size(&self) -> u64 {
        self.workspace().size
    }

    fn workspace(&self) -> Workspace {
        let mut cutter = Cutter::default();
        let (statistics, partials) = match &self.schedule {
            // whatever the schedule, a view may have to be dealt by words: of the output, or of a sum in 16 bits
            _ if self.plan.elements > 0 && (self.plan.types.output.grain() > 1 || self.plan.fused.has_prologue()) => {
                (self.statistics_size(), self.moments_workspace_size())
            }
            Schedule::Split(reduce) if self.plan.elements > 0 => {
                let statistics = if reduce.slices > 1 { 0 } else { self.statistics_size() };
                (statistics, reduce.partials_size(&self.plan.computed.partition))
            }
            Schedule::Rows(_) | Schedule::Tiles(_) | Schedule::Split(_) => (0, 0),
        };
        let (statistics, partials) = (cutter.region(statistics), cutter.region(partials));
        let lists = self.list_regions(&mut cutter, self.may_pack());
        let result = match self.plan.fused.quantization {
            Some(_) => cutter.region(self.plan.elements * self.plan.types.output.bytes()),
            None => 0,
        };
        Workspace { statistics, partials, lists, result, size: cutter.size }
    }

    /// A forward pass.
    ///
    /// # Errors
    /// [`BindError`] says which operand is wrong.
    pub fn forward<B: Buffer>(&self, args: &ForwardArgs<B>) -> Result<Recipe<B>, BindError> {
        let ForwardArgs { input, output, scale, bias, statistics, fused, workspace } = args;
        let map = MapArgs { input, output, scale, bias, fused, workspace };
        match statistics {
            StatisticsSource::Input => self.computed(&map, None),
            StatisticsSource::Given(records) => {
                let given = self.given("inference from given statistics")?;
                self.mapped(&map, given, records, self.given_statistics_size())
            }
            StatisticsSource::Saved(records) => {
                self.mapped(&map, self.plan.computed.partition, records, self.statistics_size())
            }
        }
    }

    /// A forward pass that saves the statistics of its input as moments.
    ///
    /// # Errors
    /// As [`NormPlan::forward`].
    pub fn training<B: Buffer>(&self, args: &TrainingArgs<B>) -> Result<Recipe<B>, BindError> {
        let TrainingArgs { input, output, scale, bias, saved, fused, workspace } = args;
        self.computed(&MapArgs { input, output, scale, bias, fused, workspace }, Some(saved))
    }

    fn computed<B: Buffer>(
        &self,
        args: &MapArgs<'_, B>,
        saved: Option<&BufferView<B>>,
    ) -> Result<Recipe<B>, BindError> {
        self.check_computed()?;
        let mut operands = Operands::default();
        let saved = self.saved(&mut operands, saved)?;
        let (map, tensors) = self.map(&mut operands, args)?;
        let scratch = operands.workspace(args.workspace.as_ref(), self.needed(&map, &tensors))?;
        self.lower("forward", operands, &|lowering| {
            self.with_lists(lowering, &map, &tensors, scratch, &|lowering, map| {
                self.lower_computed(lowering, map, saved, scratch)
            })
        })
    }

    /// With the lists that stages take: each in its own binding, or in the workspace where those are too many.
    fn with_lists(
        &self,
        lowering: &mut Lowering,
        map: &MapOperands,
        tensors: &FusedTensors,
        scratch: Tensor,
        lower: &dyn Fn(&mut Lowering, &MapOperands) -> Result<(), Unbindable>,
    ) -> Result<(), Unbindable> {
        let (layout, before) = (self.workspace(), lowering.dispatches.len());
        let result = Tensor { element: map.output.element, ..scratch.at(layout.result) };
        let output = if tensors.quantized.is_some() { result } else { map.output };
        let (mut map, regions) = (*map, layout.lists);
        map.output = output;
        let mut result = Ok(());
        for packs in [false, true] {
            lowering.dispatches.truncate(before);
            let map = self.lower_lists(lowering, &map, tensors, (scratch, &regions, packs))?;
            result = lower(lowering, &map).and_then(|()| self.lower_quantized(lowering, tensors, map.output));
            if !result.as_ref().is_err_and(Unbindable::is_too_many) {
                break;
            }
        }
        result
    }

    /// Bytes of workspace that a pass over these operands needs.
    fn needed(&self, map: &MapOperands, tensors: &FusedTensors) -> u64 {
        if self.holds(map, tensors.sum) && !self.composes() { 0 } else { self.workspace_size() }
    }

    /// Whether segments are held in registers, and written from there: rows, or pairs of them, have to be whole words
    /// of all that is written then.
    fn holds(&self, map: &MapOperands, sum: Option<Tensor>) -> bool {
        let whole = |width| map.has_whole_words(width) && sum.is_none_or(|sum| sum.has_whole_words(width));
        let (partition, len) = (&self.plan.computed.partition, self.segment_len());
        let [_, _, c, d] = partition.dims();
        match &self.schedule {
            Schedule::Rows(rows) => {
                let alone = self.plan.fused.is_none() && map.has_pairs(partition);
                whole(len) || alone && rows.of_pairs(len, &self.planner.profile).is_some()
            }
            Schedule::Tiles(_) => whole(c * d),
            Schedule::Split(_) => false,
        }
    }

    /// Whether statistics may be computed from the input.
    fn check_computed(&self) -> Result<(), BindError> {
        match self.plan.refusal {
            Some(Refusal::SingleElement) => {
                Err(BindError::SingleElement { kind: self.plan.kind, shape: self.plan.shape.clone() })
            }
            Some(Refusal::TrainingEpsilon(eps)) => Err(BindError::TrainingEpsilon { eps }),
            None => Ok(()),
        }
    }

    /// Where moments are saved.
    fn saved<B: Buffer>(
        &self,
        operands: &mut Operands<B>,
        view: Option<&BufferView<B>>,
    ) -> Result<Option<Tensor>, BindError> {
        let size = self.statistics_size();
        view.map(|view| operands.records(Operand::Moments, view, size, Role::Written)).transpose()
    }

    /// Normalizes by the input's own statistics.
    fn lower_computed(
        &self,
        lowering: &mut Lowering,
        map: &MapOperands,
        saved: Option<Tensor>,
        scratch: Tensor,
    ) -> Result<(), Unbindable> {
        let reduction = &self.plan.computed;
        let layout = self.workspace();
        if self.plan.elements == 0 {
            // there is nothing to normalize, but saved statistics say so
            let nothing = MergeOperands::nothing(self.segment_count(), saved);
            return saved.map_or(Ok(()), |_| lowering.merge(Source::Values, reduction, &nothing));
        }
        let holds = self.holds(map, None);
        match self.schedule {
            Schedule::Rows(rows) if holds => return lowering.row_forward(reduction, &rows, map, saved),
            Schedule::Tiles(tiles) if holds => return lowering.tile_forward(reduction, &tiles, map, saved),
            Schedule::Rows(_) | Schedule::Tiles(_) | Schedule::Split(_) => {}
        }
        let reduce = self.moments_schedule();
        let (statistics, partials) = (scratch.at(layout.statistics), scratch.at(layout.partials));
        let before = map.around.before.map(|before| Before { sum: None, ..before });
        let around = Around { before, ..Around::default() };
        let summed = Summed::Values(map.input.unwrap_or(map.output), around);
        let whole = saved.unwrap_or(statistics);
        // a map by words takes one record a segment
        if reduce.slices > 1 && !Lowering::merges(&reduction.partition, map) {
            lowering.reduce(reduction, &reduce, &summed, whole, partials)?;
            return lowering.apply(reduction, &reduction.partition, map, Some(whole));
        }
        let (records, saved) = if reduce.slices > 1 { (partials, saved) } else { (whole, None) };
        lowering.reduce_slices(reduction, &reduce, &summed, records)?;
        let moments = Moments { records: Some(records), slices: reduce.slices.into(), merges: true, saved };
        lowering.map(reduction, &reduction.partition, map, &moments)
    }

    /// Normalizes by moments that are there.
    fn mapped<B: Buffer>(
        &self,
        args: &MapArgs<'_, B>,
        partition: Partition,
        records: &BufferView<B>,
        size: u64,
    ) -> Result<Recipe<B>, BindError> {
        let mut operands = Operands::default();
        let statistics = operands.records(Operand::Moments, records, size, Role::Read)?;
        let (map, tensors) = self.map(&mut operands, args)?;
        let needed = if self.composes() { self.workspace_size() } else { 0 };
        let scratch = operands.workspace(args.workspace.as_ref(), needed)?;
        self.lower("inference", operands, &|lowering| {
            self.with_lists(lowering, &map, &tensors, scratch, &|lowering, map| {
                lowering.apply(&self.plan.computed, &partition, map, Some(statistics))
            })
        })
    }

    /// The conversion of saved moments to plain numbers.
    ///
    /// # Errors
    /// As [`NormPlan::forward`]; [`BindError::NothingWanted`].
    pub fn export<B: Buffer>(&self, args: &ExportArgs<B>) -> Result<Recipe<B>, BindError> {
        let mut operands = Operands::default();
        let segments = self.segment_count();
        let statistics = operands.records(Operand::Moments, &args.statistics, self.statistics_size(), Role::Read)?;
        let mut list = |operand, view| operands.list_as_viewed(operand, view, segments, Role::Written);
        let mean = args.mean.as_ref().map(|view| list(Operand::Mean, view)).transpose()?;
        let spread = args.spread.as_ref().map(|(kind, view)| Ok((*kind, list(Operand::Spread, view)?))).transpose()?;
        if mean.is_none() && spread.is_none() {
            return Err(BindError::NothingWanted { operation: "export" });
        }
        self.lower("export", operands, &|lowering| lowering.export(&self.plan.computed, statistics, mean, spread))
    }

    /// The conversion of running means and variances to moments.
    ///
    /// # Errors
    /// As [`NormPlan::forward`].
    pub fn import<B: Buffer>(&self, args: &ImportArgs<B>) -> Result<Recipe<B>, BindError> {
        let partition = self.given("running statistics")?;
        let channels = partition.segments();
        let mut operands = Operands::default();
        let mut list = |operand, view| operands.list_as_viewed(operand, view, channels, Role::Read);
        let mean = list(Operand::RunningMean, &args.mean)?;
        let variance = list(Operand::RunningVariance, &args.variance)?;
        let size = self.given_statistics_size();
        let statistics = operands.records(Operand::Moments, &args.statistics, size, Role::Written)?;
        let reduction = Reduction { partition, ..self.plan.computed };
        self.lower("import", operands, &|lowering| lowering.import(&reduction, mean, Some(variance), statistics))
    }

    /// The update of running statistics by the moments of a training pass. Running statistics change here and nowhere
    /// else.
    ///
    /// # Errors
    /// As [`NormPlan::forward`]; [`BindError::Momentum`].
    pub fn running_update<B: Buffer>(&self, args: &RunningArgs<B>) -> Result<Recipe<B>, BindError> {
        let channels = self.given("running statistics")?.segments();
        let params = running_block(&args.update)?;
        let mut operands = Operands::default();
        let statistics = operands.records(Operand::Moments, &args.statistics, self.statistics_size(), Role::Read)?;
        let mean = operands.list(Operand::RunningMean, &args.mean, channels, Element::F32, Role::Written)?;
        let variance =
            operands.list(Operand::RunningVariance, &args.variance, channels, Element::F32, Role::Written)?;
        let counter =
            args.batches.map(|view| operands.range(Operand::Batches, &view, 4, 4, Role::Written)).transpose()?;
        if args.update.momentum == Momentum::Cumulative && counter.is_none() {
            return Err(BindError::Missing { operand: Operand::Batches });
        }
        let tensors = RunningTensors { statistics, mean, variance, counter };
        // the kernel reads the counter, a dispatch of its own counts
        let read =
            RunningTensors { counter: counter.filter(|_| args.update.momentum == Momentum::Cumulative), ..tensors };
        let samples = self.segment_count().checked_div(channels).unwrap_or(0);
        self.lower("running update", operands, &|lowering| {
            if samples > 0 {
                lowering.running((channels, samples), params, &read)?;
            }
            // an average has as many parts as there are batches in it; PyTorch counts every batch otherwise
            let averages = args.update.momentum == Momentum::Cumulative;
            match counter {
                Some(counter) if samples > 0 || !averages => lowering.count(averages.then_some(statistics), counter),
                _ => Ok(()),
            }
        })
    }

    fn given(&self, operation: &'static str) -> Result<Partition, BindError> {
        self.plan.given.ok_or(BindError::NoSuchOperation { kind: self.plan.kind, operation })
    }

    fn map<B: Buffer>(
        &self,
        operands: &mut Operands<B>,
        args: &MapArgs<'_, B>,
    ) -> Result<(MapOperands, FusedTensors), BindError> {
        let plan = &self.plan;
        let mut map = self.map_operands(operands, args)?;
        let mut parameter = |operand, view: &Option<TensorView<B>>, used, element| match (view, used) {
            (Some(view), true) => operands.list(operand, view, plan.parameters, element, Role::Read).map(Some),
            (None, false) => Ok(None),
            (Some(_), false) => Err(BindError::Unexpected { operand }),
            (None, true) => Err(BindError::Missing { operand }),
        };
        map.scale = parameter(Operand::Scale, args.scale, plan.given_scale, plan.types.scale)?;
        map.bias = parameter(Operand::Bias, args.bias, plan.given_bias, plan.types.bias)?;
        let mut tensors = self.fused_tensors(operands, args.fused)?;
        if let Some([quantized, _]) = &mut tensors.quantized {
            *quantized = Tensor { element: Element::F32, ..map.output };
        }
        Ok((map, tensors))
    }

    /// Input and output.
    fn map_operands<B: Buffer>(
        &self,
        operands: &mut Operands<B>,
        args: &MapArgs<'_, B>,
    ) -> Result<MapOperands, BindError> {
        let plan = &self.plan;
        let (row_len, types) = (plan.computed.row_len, plan.types);
        let shape = self.shape();
        let (input, output) = match args.output {
            Destination::View(output) if plan.fused.quantization.is_some() => {
                let input = operands.tensor(Operand::Input, args.input, shape, types.input, Role::Read)?;
                let bytes = operands.bytes(Operand::Output, output, plan.elements)?;
                (input, Tensor { element: types.output, ..bytes })
            }
            Destination::InPlace if plan.fused.quantization.is_some() => {
                let operation = "quantization in place";
                return Err(BindError::NoSuchOperation { kind: plan.kind, operation });
            }
            Destination::View(output) => {
                let input = operands.tensor(Operand::Input, args.input, shape, types.input, Role::Read)?;
                (input, operands.tensor(Operand::Output, output, shape, types.output, Role::Written)?)
            }
            Destination::InPlace => {
                operands::check_in_place(Operand::Output, types.output, types.input)?;
                let both = operands.tensor(Operand::Input, args.input, shape, types.input, Role::Written)?;
                (both, both)
            }
        };
        let around = Around::default();
        Ok(MapOperands { input: Some(input), output, row_len, affine: plan.affine, scale: None, bias: None, around })
    }

    fn lower<B: Buffer>(
        &self,
        operation: &'static str,
        operands: Operands<B>,
        stages: &dyn Fn(&mut Lowering) -> Result<(), Unbindable>,
    ) -> Result<Recipe<B>, BindError> {
        self.planner.lower(operation, operands.buffers, stages)
    }
}

fn running_block(update: &RunningUpdate) -> Result<Running, BindError> {
    let (momentum, cumulative) = match update.momentum {
        Momentum::Weight(weight) if (0.0..=1.0).contains(&weight) => (weight, 0),
        Momentum::AsGiven(weight) if weight.is_finite() => (weight, 0),
        Momentum::Weight(momentum) | Momentum::AsGiven(momentum) => return Err(BindError::Momentum { momentum }),
        Momentum::Cumulative => (0.0, 1),
    };
    let unbiased = u32::from(update.variance == Variance::Unbiased);
    Ok(Running { momentum, cumulative, unbiased, ..Running::default() })
}
