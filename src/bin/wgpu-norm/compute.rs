//! One norm over tensors in memory: on the GPU, or on the CPU reference.

use std::time::{Duration, Instant};

use wgpu_norm::reference::{self, ReferenceInputs, ReferenceOutput};
use wgpu_norm::wgpu;
use wgpu_norm::{
    BindError, BoundNorm, BufferView, Destination, Epsilon, ExportArgs, ForwardArgs, ImportArgs, Norm, NormDescriptor,
    NormKind, RunningArgs, RunningUpdate, SingleElement, Spread, StatisticsSource, TrainingArgs,
};

use crate::device::{Gpu, Operand};
use crate::failure::Failure;

/// The operands of a norm.
#[derive(Default)]
pub struct Tensors {
    /// What is normalized.
    pub input: Vec<f32>,
    /// Factor of the result.
    pub scale: Option<Vec<f32>>,
    /// Summand of the result.
    pub bias: Option<Vec<f32>>,
    /// Of an adaptive norm.
    pub style: Option<Vec<f32>>,
    /// Mean and variance of each channel, in place of the input's own.
    pub given: Option<(Vec<f32>, Vec<f32>)>,
    /// Running statistics that take in the input.
    pub running: Option<Running>,
}

/// Running statistics.
#[derive(Clone)]
pub struct Running {
    /// A mean a channel.
    pub mean: Vec<f32>,
    /// A variance a channel.
    pub variance: Vec<f32>,
    /// Batches taken in.
    pub batches: u32,
    /// How the next is weighed.
    pub update: RunningUpdate,
}

impl Running {
    /// Exact, after a batch with such `statistics` of `count` elements a segment.
    pub fn reference(&self, statistics: &ReferenceOutput, count: u64) -> (Vec<f64>, Vec<f64>) {
        let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
        let before = (wide(&self.mean), wide(&self.variance));
        reference::update_running(statistics, count, (&before.0, &before.1), self.update, self.batches.into())
    }
}

impl Tensors {
    /// As the reference takes them.
    pub fn as_inputs(&self) -> ReferenceInputs<'_> {
        ReferenceInputs {
            input: &self.input,
            scale: self.scale.as_deref(),
            bias: self.bias.as_deref(),
            style: self.style.as_deref(),
            given: self.given.as_ref().map(|(mean, variance)| (mean.as_slice(), variance.as_slice())),
        }
    }

    /// Elements of each of so many segments.
    pub fn segment_len(&self, segments: usize) -> u64 {
        self.input.len().checked_div(segments).unwrap_or(0) as u64
    }

    /// The f64 reference.
    pub fn reference(&self, descriptor: &NormDescriptor<'_>) -> Result<ReferenceOutput, Failure> {
        Ok(reference::forward(descriptor, &self.as_inputs())?)
    }
}

/// Whether the statistics are wanted too, and training's checks with them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The output alone.
    Forward,
    /// As a training step computes it.
    Training,
    /// The output, and mean and 1 / deviation of each segment.
    WithStatistics,
}

/// What a norm gave.
pub struct Outcome {
    /// The normalized tensor.
    pub output: Vec<f32>,
    /// Mean and 1 / deviation of each segment.
    pub statistics: Option<(Vec<f32>, Vec<f32>)>,
    /// The running statistics that have taken in the input.
    pub running: Option<Running>,
    /// The kernels that ran, in order; none on the CPU.
    pub kernels: Vec<String>,
    /// Bytes of workspace.
    pub workspace: u64,
    /// Name and duration of each step.
    pub times: Vec<(&'static str, Duration)>,
}

/// Computes on the CPU, in f64, rounded once.
pub fn on_cpu(descriptor: &NormDescriptor<'_>, tensors: &Tensors, mode: Mode) -> Result<Outcome, Failure> {
    let start = Instant::now();
    let result = tensors.reference(descriptor)?;
    refuse(descriptor, mode, tensors.input.len(), result.mean.len())?;
    let round = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
    let statistics = (mode == Mode::WithStatistics).then(|| {
        let rstd = result.variance.iter().map(|&variance| rstd(variance, descriptor.eps) as f32).collect();
        (round(&result.mean), rstd)
    });
    let running = tensors.running.as_ref().map(|running| {
        let count = tensors.segment_len(result.mean.len());
        let (mean, variance) = running.reference(&result, count);
        Running { mean: round(&mean), variance: round(&variance), batches: running.batches + 1, ..running.clone() }
    });
    let output = round(&result.output);
    let times = vec![("compute", start.elapsed())];
    Ok(Outcome { output, statistics, running, kernels: Vec::new(), workspace: 0, times })
}

/// What the engine refuses to bind and the reference computes as the formula stands: the program answers alike on both.
/// Given statistics have no computed segment.
fn refuse(descriptor: &NormDescriptor<'_>, mode: Mode, elements: usize, segments: usize) -> Result<(), Failure> {
    if mode == Mode::Training && descriptor.eps == Epsilon::InsideRoot(0.0) {
        return Err(BindError::TrainingEpsilon { eps: 0.0 }.into());
    }
    let single = match descriptor.kind {
        NormKind::Batch | NormKind::Instance => elements == segments,
        // Group norm counts the whole batch.
        NormKind::Group { groups } => elements as u64 == groups,
        _ => false,
    };
    if single && elements > 0 && descriptor.single_element == SingleElement::Refuse {
        let (kind, shape) = (descriptor.kind.name(), descriptor.shape.to_vec());
        return Err(BindError::SingleElement { kind, shape }.into());
    }
    Ok(())
}

fn rstd(variance: f64, eps: Epsilon) -> f64 {
    match eps {
        Epsilon::InsideRoot(eps) | Epsilon::AsGiven(eps) => (variance + f64::from(eps)).sqrt().recip(),
        Epsilon::AddedToDeviation(eps) => (variance.sqrt() + f64::from(eps)).recip(),
        Epsilon::Minimum(eps) => variance.sqrt().max(f64::from(eps)).recip(),
        Epsilon::Machine => (variance + f64::from(f32::EPSILON)).sqrt().recip(),
    }
}

/// The tensors of a norm on the device.
struct Uploaded {
    input: Operand,
    output: Operand,
    scale: Option<Operand>,
    bias: Option<Operand>,
    style: Option<Operand>,
    given: Option<(Operand, Operand)>,
    running: Option<UploadedRunning>,
    /// Records of the given or the computed statistics.
    records: Option<wgpu::Buffer>,
    workspace: Option<wgpu::Buffer>,
}

/// Running statistics on the device.
struct UploadedRunning {
    mean: Operand,
    variance: Operand,
    batches: wgpu::Buffer,
    update: RunningUpdate,
}

impl UploadedRunning {
    fn new(gpu: &Gpu, running: &Running) -> Result<Self, Failure> {
        let batches = gpu.buffer("batches", 4)?;
        gpu.queue.write_buffer(&batches, 0, bytemuck::bytes_of(&running.batches));
        let (mean, variance) = (gpu.upload("mean", &running.mean)?, gpu.upload("variance", &running.variance)?);
        Ok(Self { mean, variance, batches, update: running.update })
    }

    fn bind(&self, norm: &Norm, statistics: BufferView<'_>) -> Result<BoundNorm, BindError> {
        norm.bind_running_update(&RunningArgs {
            statistics,
            mean: self.mean.view(),
            variance: self.variance.view(),
            batches: Some(BufferView { buffer: &self.batches, offset: 0, size: 4 }),
            update: self.update,
        })
    }

    fn download(&self, gpu: &Gpu) -> Result<Running, Failure> {
        let bytes = wgpu_norm::read_buffer_blocking(&gpu.device, &gpu.queue, &self.batches, 0..4)?;
        Ok(Running {
            mean: gpu.download(&self.mean)?,
            variance: gpu.download(&self.variance)?,
            batches: bytemuck::pod_read_unaligned(&bytes),
            update: self.update,
        })
    }
}

impl Uploaded {
    fn new(gpu: &Gpu, norm: &Norm, tensors: &Tensors, mode: Mode) -> Result<Self, Failure> {
        let optional = |what, data: &Option<Vec<f32>>| data.as_ref().map(|data| gpu.upload(what, data)).transpose();
        let given = match &tensors.given {
            Some((mean, variance)) => {
                Some((gpu.upload("running mean", mean)?, gpu.upload("running variance", variance)?))
            }
            None => None,
        };
        let records = match (&given, mode) {
            (Some(_), _) => Some(norm.given_statistics_size()),
            (None, Mode::Forward) => None,
            (None, Mode::Training | Mode::WithStatistics) => Some(norm.statistics_size()),
        };
        let workspace = Some(norm.workspace_size()).filter(|&bytes| bytes > 0);
        Ok(Self {
            input: gpu.upload("input", &tensors.input)?,
            output: gpu.operand("output", tensors.input.len() as u64)?,
            scale: optional("scale", &tensors.scale)?,
            bias: optional("bias", &tensors.bias)?,
            style: optional("style", &tensors.style)?,
            given,
            running: tensors.running.as_ref().map(|running| UploadedRunning::new(gpu, running)).transpose()?,
            records: records.map(|bytes| gpu.buffer("statistics", bytes)).transpose()?,
            workspace: workspace.map(|bytes| gpu.buffer("workspace", bytes)).transpose()?,
        })
    }

    /// What is to be recorded, in order.
    fn bind(&self, norm: &Norm) -> Result<Vec<BoundNorm>, Failure> {
        let (scale, bias) = (self.scale.as_ref().map(Operand::view), self.bias.as_ref().map(Operand::view));
        let (input, output) = (self.input.view(), Destination::View(self.output.view()));
        let style = self.style.as_ref().map(Operand::view);
        let workspace = self.workspace.as_ref().map(BufferView::whole);
        let records = self.records.as_ref().map(BufferView::whole);
        Ok(match (records, &self.given) {
            (Some(saved), None) => {
                let training = TrainingArgs { input, output, scale, bias, style, saved, workspace };
                let mut work = vec![norm.bind_training(&training)?];
                if let Some(running) = &self.running {
                    work.push(running.bind(norm, saved)?);
                }
                work
            }
            (Some(records), Some((mean, variance))) => {
                let import = ImportArgs { mean: mean.view(), variance: variance.view(), statistics: records };
                let statistics = StatisticsSource::Given(records);
                let forward = ForwardArgs { input, output, scale, bias, style, statistics, workspace };
                vec![norm.bind_import(&import)?, norm.bind_forward(&forward)?]
            }
            (None, _) => {
                let statistics = StatisticsSource::Input;
                vec![norm.bind_forward(&ForwardArgs { input, output, scale, bias, style, statistics, workspace })?]
            }
        })
    }
}

/// Computes on the device. Unless the tensors are to be kept, their memory is given back once they are uploaded.
pub fn on_gpu(gpu: &Gpu, norm: &Norm, tensors: &mut Tensors, keep: bool, mode: Mode) -> Result<Outcome, Failure> {
    let mut clock = Clock::new();
    let uploaded = Uploaded::new(gpu, norm, tensors, mode)?;
    if !keep {
        *tensors = Tensors::default();
    }
    clock.lap("upload");
    let mut bound = uploaded.bind(norm)?;
    let exported = match (mode, &uploaded.records) {
        (Mode::WithStatistics, Some(records)) => {
            let segments = norm.segment_count();
            let (mean, rstd) = (gpu.operand("mean", segments)?, gpu.operand("rstd", segments)?);
            bound.push(norm.bind_export(&ExportArgs {
                statistics: BufferView::whole(records),
                mean: Some(mean.view()),
                spread: Some((Spread::Rstd, rstd.view())),
            })?);
            Some((mean, rstd))
        }
        _ => None,
    };
    gpu.healthy()?;
    clock.lap("pipelines");
    gpu.run(|pass| bound.iter().for_each(|bound| bound.record(pass)))?;
    clock.lap("compute");
    let output = gpu.download(&uploaded.output)?;
    let statistics = match &exported {
        Some((mean, rstd)) => Some((gpu.download(mean)?, gpu.download(rstd)?)),
        None => None,
    };
    clock.lap("download");
    let running = uploaded.running.as_ref().map(|running| running.download(gpu)).transpose()?;
    let kernels = bound.iter().flat_map(BoundNorm::kernels).map(|kernel| kernel.to_string()).collect();
    Ok(Outcome { output, statistics, running, kernels, workspace: norm.workspace_size(), times: clock.laps })
}

struct Clock {
    last: Instant,
    laps: Vec<(&'static str, Duration)>,
}

impl Clock {
    fn new() -> Self {
        Self { last: Instant::now(), laps: Vec::new() }
    }

    fn lap(&mut self, name: &'static str) {
        let now = Instant::now();
        self.laps.push((name, now - self.last));
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use wgpu_norm::Affine;

    use super::*;

    #[test]
    fn the_cpu_refuses_what_the_engine_refuses() {
        let refusal = |kind: NormKind<'_>, shape: &[u64], eps: f32, mode: Mode| {
            let descriptor = NormDescriptor {
                eps: Epsilon::InsideRoot(eps),
                affine: Affine::None,
                ..NormDescriptor::new(kind, shape)
            };
            let tensors = Tensors { input: vec![1.0; shape.iter().product::<u64>() as usize], ..Tensors::default() };
            on_cpu(&descriptor, &tensors, mode).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let layer = || NormKind::Layer { axes: 0..1 };
        assert!(refusal(NormKind::Batch, &[2, 2], 0.0, Mode::Training).contains("eps above 0"));
        assert!(refusal(NormKind::Batch, &[1, 4], 1e-5, Mode::Training).contains("one element"));
        assert!(refusal(NormKind::Instance, &[2, 3, 1], 1e-5, Mode::Forward).contains("one element"));
        assert!(refusal(NormKind::Group { groups: 2 }, &[1, 2], 1e-5, Mode::Forward).contains("one element"));
        assert_eq!(refusal(NormKind::Group { groups: 2 }, &[2, 2], 1e-5, Mode::Forward), "");
        assert_eq!(refusal(layer(), &[4], 0.0, Mode::WithStatistics), "");
    }
}
