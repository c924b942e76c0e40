//! What is gauged: cases of norms, dispatch by dispatch.
//!
//! [`Planner::plan`] is the only function that knows the engine. Everything else takes [`Case`]s.

use serde::Deserialize;
use wgpu_norm::{
    Affine, BackwardArgs, BackwardStatistics, BindError, BoundNorm, BufferView, Destination, ForwardArgs, MemoryFormat,
    Norm, NormDescriptor, NormEngine, NormEngineDescriptor, NormKind, StatisticsSource, TensorView, TrainingArgs,
};

use crate::compiler::Compiler;

/// One norm in one pass.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    /// Elements of the tensor.
    pub elements: u64,
    /// How the program's own memory kernels would move the same, for the estimate.
    pub roof: Roof,
    pub dispatches: Vec<Dispatch>,
}

/// What a case is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roof {
    /// Tensors that the memory kernel moves: 2 a copy, 3 a sum of two.
    pub kernel: u32,
    /// Tensors that the norm has to move, each time counted.
    pub tensors: u32,
    /// Bytes of scale and bias, and of their gradients.
    pub parameters: u64,
}

/// One dispatch, as any host would record it.
#[derive(Clone, Debug)]
pub struct Dispatch {
    pub kernel: String,
    pub source: String,
    pub entry: String,
    pub constants: Vec<(String, f64)>,
    pub workgroups: u64,
    pub bindings: Vec<Binding>,
}

/// A storage buffer of a dispatch.
#[derive(Clone, Debug)]
pub struct Binding {
    /// Equal numbers are the same buffer of the caller's; none is the workspace.
    pub buffer: Option<usize>,
    pub bytes: u64,
    pub written: bool,
}

/// A line of `wgpu-norm bench --list`.
#[derive(Clone, Debug, Deserialize)]
struct Line {
    case: Listed,
}

/// A case that is not planned yet.
#[derive(Clone, Debug, Deserialize)]
pub struct Listed {
    variant: String,
    shape: Vec<u64>,
    format: String,
    pass: String,
    groups: Option<u64>,
    training: bool,
}

/// The cases of a list.
pub fn read(list: &str) -> Result<Vec<Listed>, String> {
    let parse = |line: &str| serde_json::from_str::<Line>(line).map_err(|error| format!("{line}: {error}"));
    let lines = list.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| Ok(parse(line)?.case)).collect()
}

/// Plans cases for the compiler's device, by the default profile.
pub struct Planner {
    engine: NormEngine,
}

impl Planner {
    pub fn new(on: &Compiler) -> Result<Self, String> {
        let engine = NormEngine::new(&on.device, &NormEngineDescriptor::default());
        Ok(Self { engine: engine.map_err(|error| error.to_string())? })
    }

    pub fn plan(&self, case: &Listed, on: &Compiler) -> Result<Case, String> {
        let memory = case.memory();
        let mut descriptor = NormDescriptor::new(case.kind()?, &memory);
        if case.format == "channels-last" {
            descriptor.format = MemoryFormat::ChannelsLast;
        }
        let norm = self.engine.create_norm(&descriptor).map_err(|error| error.to_string())?;
        let (bound, buffers) = case.bind(&norm, descriptor.affine, on).map_err(|error| error.to_string())?;
        let workspace = buffers.len() - 1;
        let dispatches = bound.handed().map(|handed| Dispatch {
            kernel: handed.kernel.to_string(),
            source: handed.source,
            entry: "main".to_owned(),
            constants: handed.constants.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            workgroups: handed.workgroups.iter().copied().map(u64::from).product(),
            bindings: handed
                .bindings
                .iter()
                .map(|(buffer, bytes, written)| {
                    let buffer = buffers.iter().position(|known| known == buffer).filter(|at| *at != workspace);
                    Binding { buffer, bytes: *bytes, written: *written }
                })
                .collect(),
        });
        Ok(Case {
            name: case.name(),
            elements: case.shape.iter().product(),
            roof: case.roof(),
            dispatches: dispatches.collect(),
        })
    }
}

impl Listed {
    fn is_inference(&self) -> bool {
        self.variant == "batch" && self.pass == "forward" && !self.training
    }

    /// In words, as `bench` has them.
    pub fn name(&self) -> String {
        let variant = match (self.variant.as_str(), self.groups) {
            ("batch", _) if self.is_inference() => "batch inference".to_owned(),
            ("batch", _) => "batch training".to_owned(),
            (variant, Some(groups)) => format!("{variant} {groups}"),
            (variant, None) => variant.to_owned(),
        };
        let shape: Vec<_> = self.shape.iter().map(u64::to_string).collect();
        format!("{variant} {} {} {}", shape.join("x"), self.format, self.pass)
    }

    /// Sizes as they lie in memory.
    fn memory(&self) -> Vec<u64> {
        let mut memory = self.shape.clone();
        if self.format == "channels-last" {
            memory[1..].rotate_left(1);
        }
        memory
    }

    fn kind(&self) -> Result<NormKind<'static>, String> {
        Ok(match self.variant.as_str() {
            "layer" => NormKind::Layer { axes: 1..self.shape.len() },
            "rms" => NormKind::Rms { axes: 1..self.shape.len() },
            "batch" => NormKind::Batch,
            "instance" => NormKind::Instance,
            "group" => NormKind::Group { groups: self.groups.unwrap_or(1) },
            other => return Err(format!("no case of '{other}' is gauged")),
        })
    }

    /// The norm on buffers of its own, of which the workspace is the last.
    fn bind(&self, norm: &Norm, affine: Affine, on: &Compiler) -> Result<(BoundNorm, Vec<wgpu::Buffer>), BindError> {
        let new = |bytes: u64| {
            on.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: bytes.max(16).next_multiple_of(16),
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        };
        let (whole, few) = (4 * norm.len(), 4 * norm.affine_len());
        let saved = norm.statistics_size().max(norm.given_statistics_size());
        let workspace = norm.workspace_size().max(norm.backward_workspace_size());
        let buffers: Vec<_> =
            [whole, whole, whole, few, few, few, few, saved, workspace].into_iter().map(new).collect();
        let tensor = |k: usize| TensorView::new(&buffers[k], 0, norm.len());
        let parameter = |k: usize| Some(TensorView::new(&buffers[k], 0, norm.affine_len()));
        let saved = |size| BufferView { buffer: &buffers[7], offset: 0, size };
        let workspace = (workspace > 0).then(|| BufferView::whole(&buffers[8]));
        let (input, output) = (tensor(0), Destination::View(tensor(1)));
        let (scale, bias, style) = (parameter(3), parameter(4).filter(|_| affine.has_bias()), None);
        let bound = match self.pass.as_str() {
            "backward" => norm.bind_backward(&BackwardArgs {
                input,
                grad_output: tensor(2),
                scale,
                style,
                statistics: BackwardStatistics::Saved(saved(norm.statistics_size())),
                grad_input: Some(output),
                grad_scale: parameter(5),
                grad_bias: parameter(6).filter(|_| affine.has_bias()),
                grad_style: None,
                workspace,
            }),
            "training" => {
                let saved = saved(norm.statistics_size());
                norm.bind_training(&TrainingArgs { input, output, scale, bias, style, saved, workspace })
            }
            _ => {
                let statistics = match self.is_inference() {
                    true => StatisticsSource::Given(saved(norm.given_statistics_size())),
                    false => StatisticsSource::Input,
                };
                norm.bind_forward(&ForwardArgs { input, output, scale, bias, style, statistics, workspace })
            }
        }?;
        Ok((bound, buffers))
    }

    /// As `bench` counts it: tensors move once more where a segment cannot stay on the chip.
    fn roof(&self) -> Roof {
        let backward = self.pass == "backward";
        let elements: u64 = self.shape.iter().product();
        let sample: u64 = self.shape.iter().skip(1).product();
        let segment = match self.variant.as_str() {
            "instance" => sample / self.shape[1].max(1),
            "group" => sample / self.groups.unwrap_or(1).max(1),
            _ => sample,
        };
        let stays = match (self.variant.as_str(), self.format.as_str()) {
            ("batch", _) => self.is_inference(),
            (_, "channels-last") => !backward && elements / self.shape[0].max(1) <= 1 << 16,
            ("layer" | "rms", _) if backward => segment <= 1 << 14,
            _ => segment <= 1 << 16,
        };
        let (kernel, again) = if backward { (3, 2) } else { (2, 1) };
        let affine = if matches!(self.variant.as_str(), "layer" | "rms") { sample } else { self.shape[1] };
        let parameters = 4 * affine * u64::from(kernel);
        Roof { kernel, tensors: kernel + if stays { 0 } else { again }, parameters }
    }
}
