//! One norm over tensors in memory: on the GPU, or on the CPU reference. The program, the recorded cases, the tests and
//! the examples bind norms here.

use std::time::{Duration, Instant};

use wgpu_norm::reference::{self, ReferenceOutput};
use wgpu_norm::wgpu;
use wgpu_norm::{
    BindError, BoundNorm, BufferView, Element, Epsilon, ExportArgs, FusedArgs, ImportArgs, Momentum, RunningArgs,
    RunningUpdate, Spread,
};

use crate::device::{Gpu, Tensor, View};
use crate::elements;
use crate::exact::{Descriptor, Exact, Inputs};
use crate::failure::Failure;
use crate::fused::{Fused, Numbers};
use crate::norm::{Operands, Pass, Planned};
use crate::quantized::{Quantize, Quantized};

/// The operands of a norm.
#[derive(Clone, Default)]
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
    /// What the norm's fusion names.
    pub fused: Fused<Numbers>,
    /// The type in which the sum of the fusion's prologue is wanted.
    pub sum: Option<Element>,
    /// How the result becomes bytes, where the norm's fusion says so.
    pub quantize: Option<Quantize>,
}

/// Running statistics.
#[derive(Clone)]
pub struct Running {
    /// A mean a channel.
    pub mean: Vec<f32>,
    /// A variance a channel.
    pub variance: Vec<f32>,
    /// Batches taken in, where they are counted.
    pub batches: Option<u32>,
    /// How the next is weighed.
    pub update: RunningUpdate,
}

impl Running {
    /// Exact, after a batch with such `statistics` of `count` elements a segment.
    pub fn reference(&self, statistics: &ReferenceOutput, count: u64) -> (Vec<f64>, Vec<f64>) {
        let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
        let before = (wide(&self.mean), wide(&self.variance));
        reference::update_running(
            statistics,
            count,
            (&before.0, &before.1),
            self.update,
            self.batches.unwrap_or(0).into(),
        )
    }
}

impl Tensors {
    /// Borrowed.
    pub fn as_inputs(&self) -> Inputs<'_> {
        Inputs {
            input: &self.input,
            scale: self.scale.as_deref(),
            bias: self.bias.as_deref(),
            style: self.style.as_deref(),
            given: self.given.as_ref().map(|(mean, variance)| (mean.as_slice(), variance.as_slice())),
            fused: self.fused.as_ref().map(|numbers| numbers.values.as_slice()),
            arriving: None,
        }
    }

    /// Elements of each of so many segments.
    pub fn segment_len(&self, segments: usize) -> u64 {
        self.input.len().checked_div(segments).unwrap_or(0) as u64
    }

    /// The f64 reference.
    pub fn reference(&self, descriptor: &Descriptor<'_>) -> Result<ReferenceOutput, Failure> {
        Ok(self.exact(descriptor)?.norm)
    }

    /// Units of errors of the exact output, an element each.
    pub fn units(&self, descriptor: &Descriptor<'_>, output: &[f64]) -> Result<Vec<f64>, Failure> {
        Ok(descriptor.output_units(&self.as_inputs(), output)?)
    }

    /// The f64 reference, and the sum that it normalized.
    pub fn exact(&self, descriptor: &Descriptor<'_>) -> Result<Exact, Failure> {
        Ok(descriptor.exact(&self.as_inputs())?)
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
    /// The normalized tensor; empty where the device gave its bytes.
    pub output: Vec<f32>,
    /// Its bytes, where they are wanted.
    pub quantized: Option<Quantized>,
    /// What was normalized, where it was wanted.
    pub sum: Option<Vec<f32>>,
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
pub fn on_cpu(descriptor: &Descriptor<'_>, tensors: &Tensors, mode: Mode) -> Result<Outcome, Failure> {
    let start = Instant::now();
    let Exact { norm: result, sum } = tensors.exact(descriptor)?;
    let round = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
    let eps = match descriptor {
        Descriptor::Norm(descriptor) => descriptor.eps,
        Descriptor::Adaptive(descriptor) => descriptor.eps,
    };
    let statistics = (mode == Mode::WithStatistics).then(|| {
        let rstd = result.variance.iter().map(|&variance| rstd(variance, eps) as f32).collect();
        (round(&result.mean), rstd)
    });
    let running = tensors.running.as_ref().map(|running| {
        let count = tensors.segment_len(result.mean.len());
        let (mean, variance) = running.reference(&result, count);
        let counts = count > 0 || running.update.momentum != Momentum::Cumulative;
        Running {
            mean: round(&mean),
            variance: round(&variance),
            batches: running.batches.map(|batches| batches.wrapping_add(u32::from(counts))),
            ..running.clone()
        }
    });
    let rounded = |values: &[f64], element: Element| -> Vec<f32> {
        values.iter().map(|&value| elements::round(value, element) as f32).collect()
    };
    let types = descriptor.types();
    let output = rounded(&result.output, types.output);
    let quantized = tensors.quantize.map(|quantize| quantize.of(&result.output, types.output));
    let sum = tensors.sum.map(|element| rounded(&sum, element));
    let times = vec![("compute", start.elapsed())];
    Ok(Outcome { output, quantized, sum, statistics, running, kernels: Vec::new(), workspace: 0, times })
}

fn rstd(variance: f64, eps: Epsilon) -> f64 {
    match eps {
        Epsilon::InsideRoot(eps) | Epsilon::AsGiven(eps) => (variance + f64::from(eps)).sqrt().recip(),
        Epsilon::AddedToDeviation(eps) => (variance.sqrt() + f64::from(eps)).recip(),
        Epsilon::Minimum(eps) => variance.sqrt().max(f64::from(eps)).recip(),
        Epsilon::Machine => (variance + f64::from(f32::EPSILON)).sqrt().recip(),
    }
}

/// A norm on the device with its parameters, statistics and workspace.
pub struct Runner<'a> {
    /// Where it runs.
    pub gpu: &'a Gpu,
    /// The norm.
    pub norm: Planned,
    scale: Option<Tensor>,
    bias: Option<Tensor>,
    style: Option<Tensor>,
    /// What the norm's fusion names.
    fused: Fused<Tensor>,
    /// Receives the sum of the fusion's prologue, where it is wanted.
    pub sum: Option<Tensor>,
    /// Scales of a quantization, and whether the one scale is given.
    scales: Option<(Tensor, bool)>,
    /// Receives the gradients to what the norm's fusion names, where they are wanted.
    pub fused_gradients: Fused<Tensor>,
    /// Whether those need the input beside the sum.
    multiplies: bool,
    /// Running statistics that take in each training step.
    pub running: Option<RunningTensors>,
    /// Statistics in place of the input's own, not imported yet.
    given: Option<(Tensor, Tensor)>,
    /// Records of the given or the computed statistics, as many bytes as they need.
    records: (wgpu::Buffer, u64),
    workspace: wgpu::Buffer,
}

/// Running statistics on the device.
pub struct RunningTensors {
    /// A mean a channel.
    pub mean: Tensor,
    /// A variance a channel.
    pub variance: Tensor,
    batches: Option<wgpu::Buffer>,
    update: RunningUpdate,
}

/// Gradients on the device: to the input, the scale, the bias, the style.
pub type Gradients = [Option<Tensor>; 4];

impl<'a> Runner<'a> {
    /// Uploads all but the input, each tensor between `guard` elements and in the norm's type of it.
    pub fn new<'i>(
        gpu: &'a Gpu,
        norm: impl Into<Planned>,
        inputs: impl Into<Inputs<'i>>,
        running: Option<&Running>,
        guard: u64,
    ) -> Result<Self, Failure> {
        let (norm, inputs) = (norm.into(), inputs.into());
        let types = norm.content().types();
        let upload = |what, data: &[f32]| gpu.upload_guarded(what, Element::F32, data, guard);
        let optional = |what, element, data: Option<&[f32]>| {
            data.map(|data| gpu.upload_guarded(what, element, data, guard)).transpose()
        };
        let given = match inputs.given {
            Some((mean, variance)) => Some((upload("running mean", mean)?, upload("running variance", variance)?)),
            None => None,
        };
        let running = match running {
            Some(Running { mean, variance, batches, update }) => Some(RunningTensors {
                mean: upload("running mean", mean)?,
                variance: upload("running variance", variance)?,
                batches: batches.map(|batches| gpu.counter(batches)).transpose()?,
                update: *update,
            }),
            None => None,
        };
        let content = norm.content();
        let records = if given.is_some() { content.given_statistics_size() } else { content.statistics_size() };
        Ok(Self {
            gpu,
            scale: optional("scale", types.scale, inputs.scale)?,
            bias: optional("bias", types.bias, inputs.bias)?,
            style: optional("style", types.input, inputs.style)?,
            fused: Fused::default(),
            sum: None,
            scales: None,
            fused_gradients: Fused::default(),
            multiplies: false,
            running,
            given,
            records: (gpu.buffer("statistics", records)?, records),
            workspace: gpu.buffer("workspace", norm.workspace_size())?,
            norm,
        })
    }

    /// The same with what the norm's fusion names, uploaded, and memory for the sum of its prologue between `guard`
    /// elements, if that is wanted in some type.
    pub fn with_fused(mut self, fused: &Fused<Numbers>, sum: Option<Element>, guard: u64) -> Result<Self, Failure> {
        let upload = |what, numbers: &Numbers| self.gpu.upload_of(what, numbers.element, &numbers.values);
        self.fused = fused.as_ref().try_map(upload)?;
        let len = self.norm.content().len();
        self.sum = sum.map(|element| self.gpu.guarded("sum", element, len, guard)).transpose()?;
        Ok(self)
    }

    /// The same with memory for the scales of a quantization, or with the one that is given.
    pub fn with_scales(mut self, quantize: Option<&Quantize>) -> Result<Self, Failure> {
        let Some(quantize) = quantize else { return Ok(self) };
        let scales = match quantize.given {
            Some(given) => self.gpu.upload("static scale", &[given])?,
            None => self.gpu.tensor("scales", quantize.scales(self.norm.content().len()))?,
        };
        self.scales = Some((scales, quantize.given.is_some()));
        Ok(self)
    }

    /// The same with memory for the gradients to all that the norm's fusion names, between `guard` elements: each of
    /// the type of what it leads to. That to what is added in the end is the gradient to the output. Where the prologue
    /// `multiplies`, they need the input.
    pub fn with_fused_gradients(mut self, multiplies: bool, guard: u64) -> Result<Self, Failure> {
        self.multiplies = multiplies;
        let led_to = Fused { out_residual: None, ..self.fused.as_ref() };
        self.fused_gradients =
            led_to.try_map(|what, tensor| self.gpu.guarded(what, tensor.element, tensor.len, guard))?;
        Ok(self)
    }

    fn fused(&self) -> FusedArgs<&wgpu::Buffer> {
        let scales = |given| self.scales.as_ref().filter(|scales| scales.1 == given).map(|scales| scales.0.view());
        FusedArgs::from(self.fused.as_ref().map(Tensor::view))
            .sum(self.sum.as_ref().map(Tensor::view))
            .scales(scales(false))
            .static_scale(scales(true))
    }

    fn records(&self) -> BufferView<&wgpu::Buffer> {
        BufferView::new(&self.records.0, 0, self.records.1)
    }

    fn operands<'b>(&'b self, input: View<'b>, workspace: &'b wgpu::Buffer) -> Operands<&'b wgpu::Buffer> {
        Operands {
            input,
            scale: self.scale.as_ref().map(Tensor::view),
            bias: self.bias.as_ref().map(Tensor::view),
            style: self.style.as_ref().map(Tensor::view),
            fused: self.fused(),
            fused_gradients: self.fused_gradients.as_ref().map(Tensor::view).into(),
            workspace: Some(BufferView::whole(workspace)),
        }
    }

    /// The output alone, by the given statistics where there are some.
    pub fn forward(&self, input: View<'_>, output: View<'_>) -> Result<Vec<BoundNorm>, BindError> {
        let mut work = self.import()?;
        let given = self.given.as_ref().map(|_| self.records());
        work.push(self.norm.bind(&self.operands(input, &self.workspace), &Pass::Forward { output, given })?);
        Ok(work)
    }

    /// Turns given statistics into records.
    pub fn import(&self) -> Result<Vec<BoundNorm>, BindError> {
        let import = |(mean, variance): &(Tensor, Tensor)| {
            let norm = self.norm.as_norm("running statistics")?;
            norm.bind_import(&ImportArgs::new(mean.view(), variance.view(), self.records()))
        };
        self.given.iter().map(import).collect()
    }

    /// The output, with statistics of the input that are saved, and taken in by the running statistics.
    pub fn train(&self, input: View<'_>, output: View<'_>) -> Result<Vec<BoundNorm>, BindError> {
        let pass = Pass::Training { output, saved: self.records() };
        let mut work = vec![self.norm.bind(&self.operands(input, &self.workspace), &pass)?];
        if let Some(RunningTensors { mean, variance, batches, update }) = &self.running {
            let mut args = RunningArgs::new(self.records(), mean.view(), variance.view()).update(*update);
            args.batches = batches.as_ref().map(|buffer| BufferView::new(buffer, 0, 4));
            work.push(self.norm.as_norm("running statistics")?.bind_running_update(&args)?);
        }
        Ok(work)
    }

    /// Saved statistics as plain numbers.
    pub fn export(&self, mean: Option<View<'_>>, spread: Option<(Spread, View<'_>)>) -> Result<BoundNorm, BindError> {
        let mut args = ExportArgs::new(self.records());
        (args.mean, args.spread) = (mean, spread);
        self.norm.as_norm("export")?.bind_export(&args)
    }

    /// Memory for the gradients that are wanted, between `guard` elements.
    pub fn gradients(&self, wanted: [bool; 4], guard: u64) -> Result<Gradients, Failure> {
        let (norm, types) = (&self.norm, self.norm.content().types());
        let gradient = |index: usize, what, element, len: u64| {
            wanted[index].then(|| self.gpu.guarded(what, element, len, guard)).transpose()
        };
        Ok([
            gradient(0, "grad_input", types.grad_input, norm.content().len())?,
            gradient(1, "grad_scale", types.grad_scale, norm.affine_len())?,
            gradient(2, "grad_bias", types.grad_bias, norm.affine_len())?,
            gradient(3, "grad_style", types.grad_input, norm.style_len())?,
        ])
    }

    /// The gradients, by the statistics that [`Runner::train`] saved or [`Runner::import`] made.
    pub fn backward(
        &self,
        input: View<'_>,
        grad_output: View<'_>,
        gradients: &Gradients,
    ) -> Result<BoundNorm, Failure> {
        let gradients = gradients.each_ref().map(|gradient| gradient.as_ref().map(Tensor::view));
        let workspace = self.gpu.buffer("workspace", self.norm.backward_workspace_size())?;
        let pass = Pass::Backward { grad_output, records: self.records(), given: self.given.is_some(), gradients };
        let mut operands = self.operands(input, &workspace);
        operands.fused.multiplied = self.multiplies.then_some(input);
        Ok(self.norm.bind(&operands, &pass)?)
    }

    /// The running statistics as they are now.
    pub fn download_running(&self) -> Result<Option<Running>, Failure> {
        let Some(RunningTensors { mean, variance, batches, update }) = &self.running else { return Ok(None) };
        Ok(Some(Running {
            mean: self.gpu.download(mean)?,
            variance: self.gpu.download(variance)?,
            batches: batches.as_ref().map(|batches| self.gpu.download_counter(batches)).transpose()?,
            update: *update,
        }))
    }
}

/// Computes on the device. Unless the tensors are to be kept, their memory is given back once they are uploaded.
pub fn on_gpu(gpu: &Gpu, norm: &Planned, tensors: &mut Tensors, keep: bool, mode: Mode) -> Result<Outcome, Failure> {
    let mut clock = Clock::new();
    let runner = Runner::new(gpu, norm.clone(), tensors.as_inputs(), tensors.running.as_ref(), 0)?
        .with_fused(&tensors.fused, tensors.sum, 0)?
        .with_scales(tensors.quantize.as_ref())?;
    let types = norm.content().types();
    let input = gpu.upload_of("input", types.input, &tensors.input)?;
    let result = Written::new(gpu, types.output, input.len, tensors.quantize.is_some())?;
    if !keep {
        *tensors = Tensors::default();
    }
    clock.lap("upload");
    let mut work = match mode {
        Mode::Training | Mode::WithStatistics if runner.given.is_none() => runner.train(input.view(), result.view())?,
        _ => runner.forward(input.view(), result.view())?,
    };
    let mut exported = None;
    if mode == Mode::WithStatistics {
        let segments = norm.content().segment_count();
        let (mean, rstd) = (gpu.tensor("mean", segments)?, gpu.tensor("rstd", segments)?);
        work.push(runner.export(Some(mean.view()), Some((Spread::Rstd, rstd.view())))?);
        exported = Some((mean, rstd));
    }
    gpu.healthy()?;
    clock.lap("pipelines");
    gpu.run_all(&work)?;
    clock.lap("compute");
    let (output, quantized) = result.download(gpu, runner.scales.as_ref())?;
    let sum = runner.sum.as_ref().map(|sum| gpu.download(sum)).transpose()?;
    let statistics = match &exported {
        Some((mean, rstd)) => Some((gpu.download(mean)?, gpu.download(rstd)?)),
        None => None,
    };
    clock.lap("download");
    let running = runner.download_running()?;
    let kernels = kernels(&work);
    let workspace = norm.workspace_size();
    Ok(Outcome { output, quantized, sum, statistics, running, kernels, workspace, times: clock.laps })
}

/// Where a result goes: elements, or a byte for each.
struct Written {
    tensor: Tensor,
    bytes: Option<usize>,
}

impl Written {
    fn new(gpu: &Gpu, element: Element, len: u64, is_quantized: bool) -> Result<Self, Failure> {
        Ok(match is_quantized {
            true => Self { tensor: gpu.tensor("output", len.div_ceil(4))?, bytes: Some(len as usize) },
            false => Self { tensor: gpu.tensor_of("output", element, len)?, bytes: None },
        })
    }

    fn view(&self) -> View<'_> {
        if self.bytes.is_some() { View::at(&self.tensor.buffer, 0) } else { self.tensor.view() }
    }

    /// The elements, or the bytes with scales that were computed.
    fn download(&self, gpu: &Gpu, scales: Option<&(Tensor, bool)>) -> Result<(Vec<f32>, Option<Quantized>), Failure> {
        let words = gpu.download(&self.tensor)?;
        let Some(bytes) = self.bytes else { return Ok((words, None)) };
        let codes = bytemuck::cast_slice(&words)[..bytes].to_vec();
        let scales = scales.filter(|(_, is_given)| !is_given).map(|(scales, _)| gpu.download(scales)).transpose()?;
        Ok((Vec::new(), Some(Quantized { codes, scales: scales.unwrap_or_default() })))
    }
}

/// The output of a norm, and the kernels that made it.
pub fn forward<'i>(
    gpu: &Gpu,
    descriptor: &Descriptor<'_>,
    inputs: impl Into<Inputs<'i>>,
) -> Result<(Vec<f32>, Vec<String>), Failure> {
    let (norm, inputs) = (descriptor.create(&gpu.engine)?, inputs.into());
    let types = norm.content().types();
    let input = gpu.upload_of("input", types.input, inputs.input)?;
    let output = gpu.tensor_of("output", types.output, norm.content().len())?;
    let work = Runner::new(gpu, norm, inputs, None, 0)?.forward(input.view(), output.view())?;
    gpu.run_all(&work)?;
    Ok((gpu.download(&output)?, kernels(&work)))
}

/// Names of the kernels in the order in which they run.
pub fn kernels(work: &[BoundNorm]) -> Vec<String> {
    work.iter().flat_map(BoundNorm::kernels).map(|kernel| kernel.to_string()).collect()
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
