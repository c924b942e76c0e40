//! Batch normalization over a batch that is spread over several devices or machines.
//!
//! Each rank holds a shard of the batch: any number of samples, none included. Its moments (16 bytes a channel) are
//! gathered by a [`Transport`] and merged on every rank, so that the result is that of the whole batch in one tensor:
//!
//! ```text
//! forward:   moments of the shard --gather--> merge in rank order -> normalize
//! backward:  gradient sums of the shard --gather--> merge in rank order -> gradient to the input
//! ```
//!
//! An all-reduce of moments is a gather and a merge in the order of ranks: moments do not add up as plain sums do
//! without losing digits, and as every rank merges the same records in the same order, all get the same bits.
//!
//! Everything else in this crate only records; a [`SyncBatchNorm`] submits work and waits for it, because moments must
//! leave the device in the middle of a pass. An application that wants to overlap that with other work writes the same
//! with [`Norm::bind_moments`], [`Norm::bind_merge`], [`Norm::bind_gradient_sums`] and [`Norm::bind_input_gradient`].

mod local;
#[cfg(feature = "mpi")]
mod mpi;

use super::{Norm, NormEngine};
use crate::descriptor::{Epsilon, NormDescriptor, SingleElement};
use crate::device::{BoundNorm, read_buffer_blocking, scope};
use crate::error::{BindError, PlanError, ReadError};
use crate::moments::{RECORD, Records};
use crate::norm::{ForwardArgs, GradientSumsArgs, InputGradientArgs, MergeArgs, MomentsArgs, StatisticsSource};
use crate::view::{BufferView, Destination, TensorView};

pub use local::LocalTransport;
#[cfg(feature = "mpi")]
pub use mpi::MpiTransport;

/// Words of a record.
const RECORD_WORDS: usize = RECORD as usize / size_of::<f32>();

/// What a message starts with: the format of records, the [`Stage`], and whether the rank has failed.
const HEADER: usize = 3;

/// Changes with the meaning of a record, so that ranks of different versions do not mix.
const FORMAT: f32 = 1.0;

/// Connects the ranks of a group.
///
/// Calls of [`Transport::all_gather`] are collective: every rank makes the same ones in the same order.
pub trait Transport {
    /// Number of this rank, from 0 on.
    fn rank(&self) -> usize;

    /// Number of ranks.
    fn size(&self) -> usize;

    /// What each rank gave, in the order of ranks, all bits as they were. The ranks give the same number of values.
    ///
    /// # Errors
    /// [`TransportError`] on every rank, where they disagree on the length or one of them is gone: no rank is left
    /// waiting.
    fn all_gather(&mut self, local: &[f32]) -> Result<Vec<Vec<f32>>, TransportError>;
}

impl<T: Transport + ?Sized> Transport for &mut T {
    fn rank(&self) -> usize {
        (**self).rank()
    }

    fn size(&self) -> usize {
        (**self).size()
    }

    fn all_gather(&mut self, local: &[f32]) -> Result<Vec<Vec<f32>>, TransportError> {
        (**self).all_gather(local)
    }
}

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn rank(&self) -> usize {
        (**self).rank()
    }

    fn size(&self) -> usize {
        (**self).size()
    }

    fn all_gather(&mut self, local: &[f32]) -> Result<Vec<Vec<f32>>, TransportError> {
        (**self).all_gather(local)
    }
}

/// Why ranks could not exchange.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// Ranks gave different numbers of values. The group stays usable.
    #[error("the ranks gave different numbers of values: {lengths:?}")]
    Lengths {
        /// Values of each rank.
        lengths: Vec<usize>,
    },
    /// A rank has left the group.
    #[error("rank {rank} has left the group")]
    Gone {
        /// The rank.
        rank: usize,
    },
    /// A rank did not come in time.
    #[error("ranks {missing:?} did not come within {seconds} s")]
    TimedOut {
        /// The ranks that were waited for.
        missing: Vec<usize>,
        /// How long.
        seconds: u64,
    },
    /// Anything else.
    #[error("the exchange failed: {message}")]
    Failed {
        /// What happened.
        message: String,
    },
}

/// Why a synchronized norm failed. A rank that fails still takes part in the exchange, so that the others fail with it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// Only batch norm is synchronized: the statistics of other kinds do not cross samples.
    #[error("{kind} norm has no statistics across samples to synchronize")]
    Kind {
        /// Kind of norm.
        kind: &'static str,
    },
    /// eps is not above 0.
    #[error("synchronized batch norm needs eps above 0, got {eps}")]
    Epsilon {
        /// eps given.
        eps: f32,
    },
    /// The whole batch has one element a channel.
    #[error("the batch of all {ranks} ranks has one element a channel")]
    SingleElement {
        /// Number of ranks.
        ranks: usize,
    },
    /// Ranks disagree.
    #[error("the ranks disagree on {what}: {values:?}")]
    Disagree {
        /// On what.
        what: &'static str,
        /// The value of each rank.
        values: Vec<u64>,
    },
    /// Another rank failed before the exchange; its own error says why.
    #[error("rank {rank} has failed")]
    Peer {
        /// The first rank that failed.
        rank: usize,
    },
    /// Backward, or merged statistics, without a forward pass that succeeded.
    #[error("there are no merged statistics: no forward pass has succeeded")]
    NoStatistics,
    /// The exchange failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The descriptor cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Buffers cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Records could not be read back.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The device refused buffers or a submission.
    #[error("the device refused: {message}")]
    Device {
        /// wgpu's words.
        message: String,
    },
}

/// Operands of a synchronized forward pass. For use with [`SyncBatchNorm::forward`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SyncForwardArgs<'a> {
    /// The shard.
    pub input: TensorView<&'a wgpu::Buffer>,
    /// Where the result goes.
    pub output: Destination<&'a wgpu::Buffer>,
    /// As in [`ForwardArgs::scale`].
    pub scale: Option<TensorView<&'a wgpu::Buffer>>,
    /// As in [`ForwardArgs::bias`].
    pub bias: Option<TensorView<&'a wgpu::Buffer>>,
}

impl<'a> SyncForwardArgs<'a> {
    /// Normalizes a shard, without parameters.
    pub fn new(input: TensorView<&'a wgpu::Buffer>, output: impl Into<Destination<&'a wgpu::Buffer>>) -> Self {
        Self { input, output: output.into(), scale: None, bias: None }
    }

    /// With a scale.
    pub fn scale(self, scale: impl Into<Option<TensorView<&'a wgpu::Buffer>>>) -> Self {
        Self { scale: scale.into(), ..self }
    }

    /// With a bias.
    pub fn bias(self, bias: impl Into<Option<TensorView<&'a wgpu::Buffer>>>) -> Self {
        Self { bias: bias.into(), ..self }
    }
}

/// Operands of a synchronized backward pass. For use with [`SyncBatchNorm::backward`]. A gradient is computed where it
/// has a view.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SyncBackwardArgs<'a> {
    /// The input of the forward pass.
    pub input: TensorView<&'a wgpu::Buffer>,
    /// Gradient to the output.
    pub grad_output: TensorView<&'a wgpu::Buffer>,
    /// The scale of the forward pass, where the norm has one.
    pub scale: Option<TensorView<&'a wgpu::Buffer>>,
    /// Receives the gradient to the input. In place: over `grad_output`.
    pub grad_input: Option<Destination<&'a wgpu::Buffer>>,
    /// Receives the gradient to the scale: this rank's own part of the sum.
    pub grad_scale: Option<TensorView<&'a wgpu::Buffer>>,
    /// Receives the gradient to the bias: this rank's own part of the sum.
    pub grad_bias: Option<TensorView<&'a wgpu::Buffer>>,
}

impl<'a> SyncBackwardArgs<'a> {
    /// A backward pass; no gradient is wanted yet.
    pub fn new(input: TensorView<&'a wgpu::Buffer>, grad_output: TensorView<&'a wgpu::Buffer>) -> Self {
        let (scale, grad_input, grad_scale, grad_bias) = (None, None, None, None);
        Self { input, grad_output, scale, grad_input, grad_scale, grad_bias }
    }

    /// With a scale.
    pub fn scale(self, scale: impl Into<Option<TensorView<&'a wgpu::Buffer>>>) -> Self {
        Self { scale: scale.into(), ..self }
    }

    /// With the gradient to the input.
    pub fn grad_input(self, grad_input: impl Into<Destination<&'a wgpu::Buffer>>) -> Self {
        Self { grad_input: Some(grad_input.into()), ..self }
    }

    /// With the gradient to the scale.
    pub fn grad_scale(self, grad_scale: impl Into<Option<TensorView<&'a wgpu::Buffer>>>) -> Self {
        Self { grad_scale: grad_scale.into(), ..self }
    }

    /// With the gradient to the bias.
    pub fn grad_bias(self, grad_bias: impl Into<Option<TensorView<&'a wgpu::Buffer>>>) -> Self {
        Self { grad_bias: grad_bias.into(), ..self }
    }
}

/// Which exchange a message belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Forward = 1,
    Backward = 2,
}

/// Work of this rank before and after an exchange, all of it bound before the exchange: a mistake is known in time to
/// tell the others.
struct Stages {
    records: BoundNorm,
    after: Vec<BoundNorm>,
}

/// Batch normalization of one shard of a batch. Its calls are collective: every rank makes the same ones in the same
/// order.
#[derive(Debug)]
pub struct SyncBatchNorm<T> {
    norm: Norm,
    device: wgpu::Device,
    queue: wgpu::Queue,
    transport: T,
    /// Number of ranks.
    ranks: u32,
    single_element: SingleElement,
    /// Records of this rank, of all ranks, and both kinds merged.
    records: wgpu::Buffer,
    parts: wgpu::Buffer,
    merged: wgpu::Buffer,
    sums: wgpu::Buffer,
    workspace: Option<wgpu::Buffer>,
    has_statistics: bool,
}

impl<T: Transport> SyncBatchNorm<T> {
    /// Plans the norm of this rank's shard, whose shape `descriptor` has. The ranks' shapes may differ in all but the
    /// channels; a shard may have no sample.
    ///
    /// # Errors
    /// [`SyncError`] where the descriptor is not that of a batch norm with eps above 0, or the device is out of memory.
    /// The transport is dropped then, which the other ranks notice.
    pub fn new(
        engine: &NormEngine,
        queue: &wgpu::Queue,
        descriptor: &NormDescriptor<'_>,
        transport: T,
    ) -> Result<Self, SyncError> {
        let norm = engine.create_norm(descriptor)?;
        match descriptor.eps {
            Epsilon::InsideRoot(eps)
            | Epsilon::AddedToDeviation(eps)
            | Epsilon::Minimum(eps)
            | Epsilon::AsGiven(eps)
                if eps <= 0.0 =>
            {
                return Err(SyncError::Epsilon { eps });
            }
            _ => {}
        }
        if !norm.crosses_samples() {
            return Err(SyncError::Kind { kind: norm.kind() });
        }
        let ranks = u32::try_from(transport.size())
            .map_err(|_| TransportError::Failed { message: format!("{} ranks are too many", transport.size()) })?;
        let device = engine.device().clone();
        let storage = |what: &str, size: u64, usage: wgpu::BufferUsages| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(&format!("{} synchronized {what}", descriptor.label.unwrap_or("batch"))),
                size: size.max(RECORD),
                usage: usage | wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        };
        let size = norm.statistics_size();
        let workspace = norm.moments_workspace_size().max(norm.backward_workspace_size());
        let (source, target) = (wgpu::BufferUsages::COPY_SRC, wgpu::BufferUsages::COPY_DST);
        let buffers = scope::catch(&device, || {
            let merged = [storage("statistics", size, source), storage("gradient sums", size, source)];
            let parts = storage("parts", size.saturating_mul(ranks.into()), target);
            let workspace = (workspace > 0).then(|| storage("workspace", workspace, wgpu::BufferUsages::empty()));
            (storage("records", size, source), parts, merged, workspace)
        });
        let (records, parts, [merged, sums], workspace) = buffers.map_err(refused)?;
        let (queue, single_element, has_statistics) = (queue.clone(), descriptor.single_element, false);
        Ok(Self {
            norm,
            device,
            queue,
            transport,
            ranks,
            single_element,
            records,
            parts,
            merged,
            sums,
            workspace,
            has_statistics,
        })
    }

    /// The norm of this rank's shard: for inference from running statistics, for [`Norm::bind_export`] of the merged
    /// statistics and for [`Norm::bind_running_update`] with them, which counts the elements of all ranks.
    pub fn norm(&self) -> &Norm {
        &self.norm
    }

    /// The transport.
    pub fn transport(&mut self) -> &mut T {
        &mut self.transport
    }

    /// Gives the transport back, for a norm of the next shape.
    pub fn into_transport(self) -> T {
        self.transport
    }

    /// Records of the statistics of the whole batch, of the last forward pass: the same bits on every rank.
    ///
    /// # Errors
    /// [`SyncError::NoStatistics`] where no forward pass has succeeded.
    pub fn merged_statistics(&self) -> Result<BufferView<&wgpu::Buffer>, SyncError> {
        if self.has_statistics { Ok(self.view(&self.merged, 1)) } else { Err(SyncError::NoStatistics) }
    }

    /// Normalizes this shard by the statistics of all shards. Submits work to the queue and waits for its first half
    /// and for the other ranks; the second half, which writes `output`, runs when this returns.
    ///
    /// # Errors
    /// [`SyncError`] on every rank where one of them fails.
    pub fn forward(&mut self, args: &SyncForwardArgs<'_>) -> Result<(), SyncError> {
        self.has_statistics = false;
        let stages = self.bind_forward(args);
        self.run(Stage::Forward, stages)?;
        self.has_statistics = true;
        Ok(())
    }

    /// The gradients of this shard. Waits as [`SyncBatchNorm::forward`] does. The gradients to scale and bias are this
    /// rank's own: a training loop sums them over ranks as it does those of every other parameter.
    ///
    /// # Errors
    /// As [`SyncBatchNorm::forward`]; [`SyncError::NoStatistics`] where no forward pass has succeeded.
    pub fn backward(&mut self, args: &SyncBackwardArgs<'_>) -> Result<(), SyncError> {
        let stages = self.bind_backward(args);
        self.run(Stage::Backward, stages)
    }

    fn bind_forward(&self, args: &SyncForwardArgs<'_>) -> Result<Stages, SyncError> {
        let workspace = self.workspace.as_ref().map(BufferView::whole);
        let moments = MomentsArgs { workspace, ..MomentsArgs::new(args.input, self.view(&self.records, 1)) };
        let records = self.norm.bind_moments(&moments)?;
        let merge = self.bind_merge(Records::Statistics, &self.merged)?;
        let normalize = self.norm.bind_forward(&ForwardArgs {
            scale: args.scale,
            bias: args.bias,
            statistics: StatisticsSource::Saved(self.view(&self.merged, 1)),
            ..ForwardArgs::new(args.input, args.output)
        })?;
        Ok(Stages { records, after: vec![merge, normalize] })
    }

    fn bind_backward(&self, args: &SyncBackwardArgs<'_>) -> Result<Stages, SyncError> {
        let SyncBackwardArgs { input, grad_output, scale, grad_input, grad_scale, grad_bias } = *args;
        let statistics = self.merged_statistics()?;
        let workspace = self.workspace.as_ref().map(BufferView::whole);
        let records = self.norm.bind_gradient_sums(&GradientSumsArgs {
            scale,
            grad_scale,
            grad_bias,
            workspace,
            ..GradientSumsArgs::new(input, grad_output, statistics, self.view(&self.records, 1))
        })?;
        let mut after = Vec::new();
        if let Some(grad_input) = grad_input {
            let sums = self.view(&self.sums, 1);
            let args = InputGradientArgs::new(input, grad_output, statistics, sums, grad_input);
            after.push(self.bind_merge(Records::GradientSums, &self.sums)?);
            after.push(self.norm.bind_input_gradient(&InputGradientArgs { scale, workspace, ..args })?);
        }
        Ok(Stages { records, after })
    }

    fn bind_merge(&self, records: Records, merged: &wgpu::Buffer) -> Result<BoundNorm, BindError> {
        let (shards, merged) = (self.view(&self.parts, self.ranks.into()), self.view(merged, 1));
        self.norm.bind_merge(&MergeArgs::new(shards, self.ranks, records, merged))
    }

    /// The records of `count` ranks in a buffer.
    fn view<'a>(&self, buffer: &'a wgpu::Buffer, count: u64) -> BufferView<&'a wgpu::Buffer> {
        BufferView { buffer, offset: 0, size: self.norm.statistics_size() * count }
    }

    fn run(&mut self, stage: Stage, stages: Result<Stages, SyncError>) -> Result<(), SyncError> {
        let ready = stages.and_then(|stages| Ok((self.local_records(&stages)?, stages)));
        let gathered = self.exchange(stage, ready.as_ref().ok().map(|(records, _)| records.as_slice()));
        // the rank's own error says more than that it failed
        let (_, stages) = ready?;
        let parts = gathered?;
        scope::catch(&self.device, || self.queue.write_buffer(&self.parts, 0, bytemuck::cast_slice(&parts)))
            .map_err(refused)?;
        self.submit(&stages.after)
    }

    /// Runs the work before the exchange and waits for its records.
    fn local_records(&self, stages: &Stages) -> Result<Vec<f32>, SyncError> {
        self.submit(std::slice::from_ref(&stages.records))?;
        let bytes = read_buffer_blocking(&self.device, &self.queue, &self.records, 0..self.norm.statistics_size())?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    fn submit(&self, work: &[BoundNorm]) -> Result<(), SyncError> {
        scope::catch(&self.device, || {
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            work.iter().for_each(|bound| bound.record(&mut pass));
            drop(pass);
            self.queue.submit([encoder.finish()]);
        })
        .map_err(refused)
    }

    /// The records of all ranks, one after the other. A rank without records takes part, to say that it has failed.
    fn exchange(&mut self, stage: Stage, records: Option<&[f32]>) -> Result<Vec<f32>, SyncError> {
        let words = self.norm.segment_count() as usize * RECORD_WORDS;
        let failed = f32::from(u8::from(records.is_none()));
        let mut message = vec![FORMAT, f32::from(stage as u8), failed];
        message.extend_from_slice(records.unwrap_or(&[]));
        message.resize(HEADER + words, 0.0);
        let gathered = self.transport.all_gather(&message).map_err(|error| match error {
            TransportError::Lengths { lengths } => channels_disagree(&lengths),
            error => error.into(),
        })?;
        check_messages(&gathered, self.ranks as usize, message.len())?;
        let parts: Vec<f32> = gathered.iter().flat_map(|message| &message[HEADER..]).copied().collect();
        if stage == Stage::Forward && self.single_element == SingleElement::Refuse && words > 0 {
            // counts end the records of the first channel
            let elements: f32 = parts.iter().skip(RECORD_WORDS - 1).step_by(words).sum();
            if elements == 1.0 {
                return Err(SyncError::SingleElement { ranks: gathered.len() });
            }
        }
        Ok(parts)
    }
}

/// What all ranks conclude from the messages of all ranks.
fn check_messages(messages: &[Vec<f32>], ranks: usize, len: usize) -> Result<(), SyncError> {
    if messages.len() != ranks {
        let message = format!("the transport gave {} messages for {ranks} ranks", messages.len());
        return Err(TransportError::Failed { message }.into());
    }
    let lengths: Vec<usize> = messages.iter().map(Vec::len).collect();
    if lengths.iter().any(|&l| l != len) {
        return Err(channels_disagree(&lengths));
    }
    let field = |at: usize| messages.iter().map(move |message| message[at]);
    if let Some(rank) = field(2).position(|failed| failed != 0.0) {
        return Err(SyncError::Peer { rank });
    }
    for (at, what) in [(0, "the format of records"), (1, "the pass (1: forward, 2: backward)")] {
        if field(at).any(|value| value != messages[0][at]) {
            return Err(SyncError::Disagree { what, values: field(at).map(|value| value as u64).collect() });
        }
    }
    Ok(())
}

fn channels_disagree(lengths: &[usize]) -> SyncError {
    let channels = |&len: &usize| (len.saturating_sub(HEADER) / RECORD_WORDS) as u64;
    SyncError::Disagree { what: "the number of channels", values: lengths.iter().map(channels).collect() }
}

fn refused(error: wgpu::Error) -> SyncError {
    SyncError::Device { message: error.to_string() }
}
