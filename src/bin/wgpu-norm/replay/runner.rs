//! A norm on the device with its parameters: forward, training step, inference, export.

use wgpu_norm::wgpu;
use wgpu_norm::{
    BindError, BoundNorm, BufferView, Destination, ExportArgs, ForwardArgs, ImportArgs, Norm, RunningArgs,
    RunningUpdate, Spread, StatisticsSource, TensorView, TrainingArgs,
};

use crate::failure::Failure;
use crate::gpu::{Gpu, Tensor};

use super::compute::Stop;
use super::inputs::Inputs;
use super::setup::Setup;

/// A norm with its parameters and buffers.
pub struct Runner<'a> {
    /// Where it runs.
    pub gpu: &'a Gpu,
    /// The norm.
    pub norm: Norm,
    /// Factor of the result.
    pub scale: Option<Tensor>,
    bias: Option<Tensor>,
    /// Of an adaptive norm.
    pub style: Option<Tensor>,
    /// Running statistics.
    pub running: Option<Running>,
    /// Records of [`Runner::train`].
    pub saved: wgpu::Buffer,
    /// Records of [`Runner::infer`].
    pub given: wgpu::Buffer,
    workspace: Option<wgpu::Buffer>,
}

/// Running statistics.
pub struct Running {
    /// A mean a channel.
    pub mean: Tensor,
    /// A variance a channel.
    pub variance: Tensor,
    batches: Option<wgpu::Buffer>,
    update: RunningUpdate,
}

impl<'a> Runner<'a> {
    /// Plans the norm and uploads the parameters.
    pub fn new(gpu: &'a Gpu, setup: &Setup, inputs: &Inputs) -> Result<Self, Stop> {
        let (scale, bias) = (inputs.scale.is_some(), inputs.bias.is_some());
        let norm = setup.describe(scale, bias, |descriptor| gpu.engine().create_norm(descriptor))?;
        let upload = |values: &Option<Vec<f32>>| values.as_ref().map(|values| gpu.upload(values)).transpose();
        let running = match &inputs.running {
            None => None,
            Some((mean, variance)) => Some(Running {
                mean: gpu.upload(mean)?,
                variance: gpu.upload(variance)?,
                batches: match inputs.batches_so_far {
                    Some(count) if setup.counts_batches() => Some(gpu.counter(count as u32)?),
                    _ => None,
                },
                update: setup.update,
            }),
        };
        let workspace = norm.workspace_size();
        Ok(Self {
            gpu,
            scale: upload(&inputs.scale)?,
            bias: upload(&inputs.bias)?,
            style: upload(&inputs.style)?,
            running,
            saved: gpu.scratch(norm.statistics_size())?,
            given: gpu.scratch(norm.given_statistics_size())?,
            workspace: if workspace > 0 { Some(gpu.scratch(workspace)?) } else { None },
            norm,
        })
    }

    /// Number of segments whose statistics are computed.
    pub fn segments(&self) -> u64 {
        self.norm.segment_count()
    }

    /// With statistics of the input.
    pub fn forward(&self, input: TensorView<'_>, output: TensorView<'_>) -> Result<BoundNorm, BindError> {
        self.bind_forward(input, output, StatisticsSource::Input)
    }

    /// With running statistics, imported first.
    pub fn infer(&self, input: TensorView<'_>, output: TensorView<'_>) -> Result<Vec<BoundNorm>, BindError> {
        let Some(running) = &self.running else {
            return Err(BindError::Missing { operand: "running statistics" });
        };
        let statistics = BufferView::whole(&self.given);
        let import = ImportArgs { mean: running.mean.view(), variance: running.variance.view(), statistics };
        let import = self.norm.bind_import(&import)?;
        Ok(vec![import, self.bind_forward(input, output, StatisticsSource::Given(statistics))?])
    }

    fn bind_forward(
        &self,
        input: TensorView<'_>,
        output: TensorView<'_>,
        statistics: StatisticsSource<'_>,
    ) -> Result<BoundNorm, BindError> {
        self.norm.bind_forward(&ForwardArgs {
            input,
            output: Destination::View(output),
            scale: self.scale.as_ref().map(Tensor::view),
            bias: self.bias.as_ref().map(Tensor::view),
            style: self.style.as_ref().map(Tensor::view),
            statistics,
            workspace: self.workspace.as_ref().map(BufferView::whole),
        })
    }

    /// With statistics of the input, saved, and taken in by the running statistics.
    pub fn train(&self, input: TensorView<'_>, output: TensorView<'_>) -> Result<Vec<BoundNorm>, BindError> {
        let saved = BufferView::whole(&self.saved);
        let mut work = vec![self.norm.bind_training(&TrainingArgs {
            input,
            output: Destination::View(output),
            scale: self.scale.as_ref().map(Tensor::view),
            bias: self.bias.as_ref().map(Tensor::view),
            style: self.style.as_ref().map(Tensor::view),
            saved,
            workspace: self.workspace.as_ref().map(BufferView::whole),
        })?];
        if let Some(running) = &self.running {
            work.push(self.norm.bind_running_update(&RunningArgs {
                statistics: saved,
                mean: running.mean.view(),
                variance: running.variance.view(),
                batches: running.batches.as_ref().map(BufferView::whole),
                update: running.update,
            })?);
        }
        Ok(work)
    }

    /// Saved statistics as plain numbers.
    pub fn export(&self, mean: Option<TensorView<'_>>, rstd: TensorView<'_>) -> Result<BoundNorm, BindError> {
        let statistics = BufferView::whole(&self.saved);
        self.norm.bind_export(&ExportArgs { statistics, mean, spread: Some((Spread::Rstd, rstd)) })
    }

    /// Number of batches counted so far; what it was where they are not counted.
    pub fn batches(&self, inputs: &Inputs) -> Result<Option<i64>, Failure> {
        match self.running.as_ref().and_then(|running| running.batches.as_ref()) {
            Some(counter) => Ok(Some(self.gpu.download_counter(counter)?.into())),
            None => Ok(inputs.batches_so_far),
        }
    }
}
