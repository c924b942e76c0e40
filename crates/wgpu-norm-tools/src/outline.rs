//! Recipes over buffers that have a name and a size and nothing else: what plans come to without a device.

use std::collections::BTreeMap;
use std::ops::Deref;

use wgpu_norm::{
    AdaptivePlan, Affine, BindError, BufferId, BufferView, DeviceFacts, DeviceKind, Element, ImportArgs, Kernel,
    NormPlan, Planner, Recipe, TensorView,
};

use crate::around::{Beside, Part};
use crate::exact::Descriptor;
use crate::failure::Failure;
use crate::norm::{Operands, Pass, Planned};

/// A pass of a norm, without its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The output, by the input's own statistics.
    Forward,
    /// The output, by a mean and a variance a channel.
    Given,
    /// The output, and statistics for backward.
    Training,
    /// All gradients, by saved statistics.
    Backward,
}

impl Which {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Forward, Self::Given, Self::Training, Self::Backward];
}

/// What a pass comes to.
#[derive(Clone, Debug)]
pub struct Outline {
    /// The buffers, by their ids.
    pub buffers: Vec<Named>,
    /// What to run, in order: given statistics are imported first.
    pub recipes: Vec<Recipe<BufferId>>,
}

/// Devices that differ in what is planned for them: a GPU, one without subgroup operations, a software driver.
pub fn devices() -> [DeviceFacts; 3] {
    let mut gpu = DeviceFacts::DEFAULT;
    gpu.min_subgroup = 32;
    gpu.max_workgroup_size = 1024;
    gpu.max_workgroup_memory = 32 << 10;
    gpu.max_binding = 2 << 30;
    let mut software = gpu;
    software.kind = DeviceKind::Software;
    software.min_subgroup = 8;
    [gpu, DeviceFacts::DEFAULT, software]
}

/// A buffer of an outline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// What it is called.
    pub name: &'static str,
    /// The tensor in it; none where the bytes are the library's own: moments, a workspace.
    pub tensor: Option<(Element, Extent)>,
}

/// What shape a tensor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The input's.
    Input,
    /// The style's.
    Style,
    /// That of scale and bias.
    Parameters,
    /// So many elements in a list.
    List(u64),
}

/// Buffers, each with a name.
#[derive(Default)]
pub struct Buffers {
    all: Vec<Named>,
}

impl Buffers {
    /// One of so many bytes.
    pub fn bytes(&mut self, name: &'static str, size: u64) -> BufferView<BufferId> {
        self.add(Named { name, tensor: None }, size)
    }

    fn add(&mut self, named: Named, size: u64) -> BufferView<BufferId> {
        let id = self.all.len() as u32;
        self.all.push(named);
        BufferView::new(BufferId { id, size: size.max(16) }, 0, size)
    }

    /// One for so many elements of f32.
    pub fn tensor(&mut self, name: &'static str, len: u64) -> TensorView<BufferId> {
        self.tensor_of(name, Element::F32, len)
    }

    /// One for so many elements of a type.
    pub fn tensor_of(&mut self, name: &'static str, element: Element, len: u64) -> TensorView<BufferId> {
        self.shaped(name, element, Extent::List(len), len)
    }

    fn shaped(&mut self, name: &'static str, element: Element, extent: Extent, len: u64) -> TensorView<BufferId> {
        let named = Named { name, tensor: Some((element, extent)) };
        let view = self.add(named, (len * element.bytes()).next_multiple_of(4));
        TensorView::new(view.buffer, 0, len).of(element)
    }

    /// One for every storage of operands, and their views.
    pub fn beside(&mut self, parts: Beside<Part>) -> Beside<TensorView<BufferId>> {
        let mut storages = BTreeMap::new();
        parts.map(|part| {
            let extent = if part.is_tensor { Extent::Input } else { Extent::List(part.total) };
            let new = || self.shaped(part.storage, part.element, extent, part.total);
            part.view(storages.entry(part.storage).or_insert_with(new))
        })
    }
}

impl<N: Deref<Target = NormPlan>, A: Deref<Target = AdaptivePlan>> Planned<N, A> {
    /// A pass over buffers of its own, every one as long as it must be, and over what lies `beside` the norm's own
    /// operands; `None` where the norm has no such pass.
    pub fn outline(
        &self,
        affine: Affine,
        which: Which,
        beside: Option<Beside<Part>>,
    ) -> Result<Option<Outline>, BindError> {
        let content = self.content();
        let (len, parameters, channels) = (content.len(), self.affine_len(), content.given_segment_count());
        let types = content.types();
        let mut all = Buffers::default();
        let input = all.shaped("input", types.input, Extent::Input, len);
        let scale = affine.has_scale().then(|| all.shaped("scale", types.scale, Extent::Parameters, parameters));
        let has_bias = affine.has_bias() && (which != Which::Backward || beside.is_some());
        let bias = has_bias.then(|| all.shaped("bias", types.bias, Extent::Parameters, parameters));
        let (fused, fused_gradients) = all.beside(beside.unwrap_or_default()).args();
        let style = (self.style_len() > 0).then(|| all.shaped("style", types.input, Extent::Style, self.style_len()));
        let mut recipes = Vec::new();
        let pass = match which {
            Which::Forward => {
                Pass::Forward { output: all.shaped("output", types.output, Extent::Input, len), given: None }
            }
            Which::Given => {
                let Self::Norm(norm) = self else { return Ok(None) };
                if channels == 0 {
                    return Ok(None);
                }
                let (mean, variance) = (all.tensor("running mean", channels), all.tensor("running variance", channels));
                let records = all.bytes("moments", content.given_statistics_size());
                recipes.push(norm.import(&ImportArgs::new(mean, variance, records))?);
                Pass::Forward { output: all.shaped("output", types.output, Extent::Input, len), given: Some(records) }
            }
            Which::Training => {
                let saved = all.bytes("moments", content.statistics_size());
                Pass::Training { output: all.shaped("output", types.output, Extent::Input, len), saved }
            }
            Which::Backward => Pass::Backward {
                grad_output: all.shaped("grad_output", types.grad_output, Extent::Input, len),
                records: all.bytes("moments", content.statistics_size()),
                given: false,
                gradients: [
                    Some(all.shaped("grad_input", types.grad_input, Extent::Input, len)),
                    affine
                        .has_scale()
                        .then(|| all.shaped("grad_scale", types.grad_scale, Extent::Parameters, parameters)),
                    affine.has_bias().then(|| all.shaped("grad_bias", types.grad_bias, Extent::Parameters, parameters)),
                    style.map(|_| all.shaped("grad_style", types.grad_input, Extent::Style, self.style_len())),
                ],
            },
        };
        let size = if which == Which::Backward { self.backward_workspace_size() } else { self.workspace_size() };
        let workspace = (size > 0).then(|| all.bytes("workspace", size));
        recipes.push(self.recipe(&Operands { input, scale, bias, style, fused, fused_gradients, workspace }, &pass)?);
        Ok(Some(Outline { buffers: all.all, recipes }))
    }
}

impl Descriptor<'_> {
    /// The kernels of all passes on these devices, by name.
    pub fn kernels(&self, devices: &[DeviceFacts]) -> Result<BTreeMap<String, Kernel>, Failure> {
        let mut kernels = BTreeMap::new();
        for facts in devices {
            let plan = self.plan(&Planner::new(*facts))?;
            for which in Which::ALL {
                let outline = plan.outline(self.affine(), which, Beside::of(self, which))?;
                let recipes = outline.into_iter().flat_map(|outline| outline.recipes);
                kernels.extend(recipes.flat_map(|recipe| recipe.kernels).map(|kernel| (kernel.to_string(), kernel)));
            }
        }
        Ok(kernels)
    }
}
