//! What is gauged: cases of norms, dispatch by dispatch.
//!
//! [`Planner::plan`] is the only function that knows the engine. Everything else takes [`Case`]s.

use serde::Deserialize;
use wgpu_norm::{BufferId, DeviceFacts, DeviceProfile, MemoryFormat, NormDescriptor, NormKind, Recipe, Types};
use wgpu_norm_tools::around::Around;
use wgpu_norm_tools::norm::Plan;
use wgpu_norm_tools::outline::{Named, Outline, Which};
use wgpu_norm_tools::types;

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
    /// Bytes of a tensor.
    pub bytes: u64,
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
    /// Whether its bytes are loaded: those of a workspace are where it holds a gradient, and small sums that are
    /// written.
    pub loaded: bool,
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
    /// What stands around the norm.
    #[serde(default)]
    around: Around,
}

/// The cases of a list.
pub fn read(list: &str) -> Result<Vec<Listed>, String> {
    let parse = |line: &str| serde_json::from_str::<Line>(line).map_err(|error| format!("{line}: {error}"));
    let lines = list.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| Ok(parse(line)?.case)).collect()
}

/// Plans cases for the compiler's device in some element types, by the default profile, maybe with WGSL's own
/// conversions of f16.
pub struct Planner {
    planner: wgpu_norm::Planner,
    types: Types,
}

impl Planner {
    pub fn new(on: &Compiler, types: Types, f16_builtins: bool) -> Result<Self, String> {
        let facts = DeviceFacts::of(&on.device);
        let profile = DeviceProfile { f16_builtins, ..DeviceProfile::new(&facts) };
        let planner = wgpu_norm::Planner::with_profile(facts, profile).map_err(|error| error.to_string())?;
        Ok(Self { planner, types })
    }

    /// A case in words, as `bench` has them.
    pub fn name(&self, case: &Listed) -> String {
        case.name() + &types::suffix(self.types.input.name(), self.types.scale.name())
    }

    pub fn plan(&self, case: &Listed) -> Result<Case, String> {
        let memory = case.memory();
        let mut descriptor = NormDescriptor { types: self.types, ..NormDescriptor::new(case.kind()?, &memory) };
        if case.format == "channels-last" {
            descriptor.format = MemoryFormat::ChannelsLast;
        }
        let descriptor = case.around.put(descriptor);
        let plan = self.planner.plan(&descriptor).map_err(|error| error.to_string())?;
        let planned = Plan::Norm(Box::new(plan));
        let beside = case.around.operands(case.which()?, &memory, &descriptor.types);
        let beside = Some(beside).filter(|_| !case.around.is_none());
        let outline = planned.outline(descriptor.affine, case.which()?, beside);
        let outline = outline.map_err(|error| format!("{}: {error}", self.name(case)))?;
        let Outline { buffers, recipes } =
            outline.ok_or_else(|| format!("{}: it has no such pass", self.name(case)))?;
        // given statistics are imported by a recipe of their own, once for all passes
        let recipe = recipes.last().ok_or("nothing to do")?;
        Ok(Case {
            name: self.name(case),
            elements: case.shape.iter().product(),
            roof: case.roof(self.types)?,
            dispatches: dispatches(recipe, &buffers),
        })
    }
}

fn dispatches(recipe: &Recipe<BufferId>, buffers: &[Named]) -> Vec<Dispatch> {
    let binding = |(b, operands): (&wgpu_norm::Binding, String)| {
        let buffer = recipe.buffers[b.buffer].id as usize;
        let buffer = (buffers[buffer].name != "workspace").then_some(buffer);
        let loaded = !b.writes || buffer.is_none() && operands.split('+').any(|operand| operand == "grad_output");
        Binding { buffer, bytes: b.size, written: b.writes, loaded }
    };
    let dispatch = |dispatch: &wgpu_norm::Dispatch| {
        let kernel = &recipe.kernels[dispatch.kernel];
        Dispatch {
            kernel: kernel.to_string(),
            source: kernel.source(),
            entry: kernel.entry_point().to_owned(),
            constants: kernel.constants().into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            workgroups: dispatch.workgroups.iter().copied().map(u64::from).product::<u64>()
                - u64::from(merging(kernel, &dispatch.parameters)),
            bindings: dispatch.bindings.iter().zip(kernel.binding_names()).map(binding).collect(),
        }
    };
    recipe.dispatches.iter().map(dispatch).collect()
}

/// The first so many workgroups of a map merge the gradients of scale and bias instead, which is nothing beside it: its
/// counts are not theirs.
fn merging(kernel: &wgpu_norm::Kernel, parameters: &[u8]) -> u32 {
    let merges = kernel.constants().into_iter().any(|(name, value)| name == "MERGES_AFFINE" && value != 0.0);
    let Some(module) = merges.then(|| naga::front::wgsl::parse_str(&kernel.source()).ok()).flatten() else { return 0 };
    let member = |ty: naga::Handle<naga::Type>, name: &str| match &module.types[ty].inner {
        naga::TypeInner::Struct { members, .. } => members.iter().find(|member| member.name.as_deref() == Some(name)),
        _ => None,
    };
    let mut blocks = module.global_variables.iter().filter(|(_, global)| global.space == naga::AddressSpace::Uniform);
    let found = blocks.find_map(|(_, block)| {
        let parts = member(block.ty, "parts")?;
        let at = (parts.offset + member(parts.ty, "affine_groups")?.offset) as usize;
        parameters.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
    });
    found.unwrap_or(0)
}

impl Listed {
    fn is_inference(&self) -> bool {
        self.variant == "batch" && self.pass == "forward" && !self.training
    }

    /// In words, but for the types.
    fn name(&self) -> String {
        let variant = match (self.variant.as_str(), self.groups) {
            ("batch", _) if self.is_inference() => "batch inference".to_owned(),
            ("batch", _) => "batch training".to_owned(),
            (variant, Some(groups)) => format!("{variant} {groups}"),
            (variant, None) => variant.to_owned(),
        };
        let variant =
            [&variant].into_iter().map(String::as_str).chain(self.around.name()).collect::<Vec<_>>().join(" ");
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
            "layer" => NormKind::Layer { axes: self.shape.len() - 1..self.shape.len() },
            "rms" => NormKind::Rms { axes: self.shape.len() - 1..self.shape.len() },
            "batch" => NormKind::Batch,
            "instance" => NormKind::Instance,
            "group" => NormKind::Group { groups: self.groups.unwrap_or(1) },
            other => return Err(format!("no case of '{other}' is gauged")),
        })
    }

    fn which(&self) -> Result<Which, String> {
        Ok(match self.pass.as_str() {
            "backward" => Which::Backward,
            "training" => Which::Training,
            "forward" if self.is_inference() => Which::Given,
            "forward" => Which::Forward,
            other => return Err(format!("there is no pass '{other}'")),
        })
    }

    /// As `bench` counts it: tensors move once more where a segment cannot stay on the chip.
    fn roof(&self, types: Types) -> Result<Roof, String> {
        let backward = self.pass == "backward";
        let elements: u64 = self.shape.iter().product();
        let sample: u64 = self.shape.iter().skip(1).product();
        let segment = match self.variant.as_str() {
            "instance" => sample / self.shape[1].max(1),
            "group" => sample / self.groups.unwrap_or(1).max(1),
            "layer" | "rms" => self.shape.last().copied().unwrap_or(1),
            _ => sample,
        };
        let stays = match (self.variant.as_str(), self.format.as_str()) {
            ("batch", _) => self.is_inference(),
            (_, "channels-last") => !backward && elements / self.shape[0].max(1) <= 1 << 16,
            ("layer" | "rms", _) if backward => segment <= 1 << 14,
            _ => segment <= 1 << 16,
        };
        let (kernel, again) = if backward { (3, 2) } else { (2, 1) };
        let tensors = self.around.tensors(self.which()?) + if stays { 0 } else { again };
        let affine = if matches!(self.variant.as_str(), "layer" | "rms") { segment } else { self.shape[1] };
        let parameters = types.scale.bytes() * affine * u64::from(kernel);
        let bytes = types.input.bytes() * elements;
        Ok(Roof { kernel, tensors, bytes, parameters })
    }
}
