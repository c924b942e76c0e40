//! Recipes over buffers that have a name and a size and nothing else: what plans come to without a device.

use std::collections::BTreeMap;
use std::ops::Deref;

use wgpu_norm::{
    AdaptivePlan, Affine, BindError, BufferId, BufferView, DeviceFacts, DeviceKind, Element, ImportArgs, Kernel,
    NormPlan, Planner, Recipe, TensorView,
};

use crate::around::{Beside, Part};
use crate::failure::Failure;
use crate::norm::{Descriptor, Operands, Pass, Planned};

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
    /// Names of the buffers, by their ids.
    pub names: Vec<&'static str>,
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

/// Buffers, each with a name.
#[derive(Default)]
pub struct Buffers {
    names: Vec<&'static str>,
}

impl Buffers {
    /// One of so many bytes.
    pub fn bytes(&mut self, name: &'static str, size: u64) -> BufferView<BufferId> {
        let id = self.names.len() as u32;
        self.names.push(name);
        BufferView::new(BufferId { id, size: size.max(16) }, 0, size)
    }

    /// One for so many elements of f32.
    pub fn tensor(&mut self, name: &'static str, len: u64) -> TensorView<BufferId> {
        self.tensor_of(name, Element::F32, len)
    }

    /// One for so many elements of a type.
    pub fn tensor_of(&mut self, name: &'static str, element: Element, len: u64) -> TensorView<BufferId> {
        let view = self.bytes(name, (len * element.bytes()).next_multiple_of(4));
        TensorView::new(view.buffer, 0, len).of(element)
    }

    /// One for every storage of operands, and their views.
    pub fn beside(&mut self, parts: Beside<Part>) -> Beside<TensorView<BufferId>> {
        let mut storages = BTreeMap::new();
        parts.map(|part| {
            let new = || self.tensor_of(part.storage, part.element, part.total);
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
        let input = all.tensor_of("input", types.input, len);
        let scale = affine.has_scale().then(|| all.tensor_of("scale", types.scale, parameters));
        let has_bias = affine.has_bias() && (which != Which::Backward || beside.is_some());
        let bias = has_bias.then(|| all.tensor_of("bias", types.bias, parameters));
        let (fused, fused_gradients) = all.beside(beside.unwrap_or_default()).args();
        let style = (self.style_len() > 0).then(|| all.tensor_of("style", types.input, self.style_len()));
        let mut recipes = Vec::new();
        let pass = match which {
            Which::Forward => Pass::Forward { output: all.tensor_of("output", types.output, len), given: None },
            Which::Given => {
                let Self::Norm(norm) = self else { return Ok(None) };
                if channels == 0 {
                    return Ok(None);
                }
                let (mean, variance) = (all.tensor("running mean", channels), all.tensor("running variance", channels));
                let records = all.bytes("moments", content.given_statistics_size());
                recipes.push(norm.import(&ImportArgs::new(mean, variance, records))?);
                Pass::Forward { output: all.tensor_of("output", types.output, len), given: Some(records) }
            }
            Which::Training => {
                let saved = all.bytes("moments", content.statistics_size());
                Pass::Training { output: all.tensor_of("output", types.output, len), saved }
            }
            Which::Backward => Pass::Backward {
                grad_output: all.tensor_of("grad_output", types.grad_output, len),
                records: all.bytes("moments", content.statistics_size()),
                given: false,
                gradients: [
                    Some(all.tensor_of("grad_input", types.grad_input, len)),
                    affine.has_scale().then(|| all.tensor_of("grad_scale", types.grad_scale, parameters)),
                    affine.has_bias().then(|| all.tensor_of("grad_bias", types.grad_bias, parameters)),
                    style.map(|_| all.tensor_of("grad_style", types.grad_input, self.style_len())),
                ],
            },
        };
        let size = if which == Which::Backward { self.backward_workspace_size() } else { self.workspace_size() };
        let workspace = (size > 0).then(|| all.bytes("workspace", size));
        recipes.push(self.recipe(&Operands { input, scale, bias, style, fused, fused_gradients, workspace }, &pass)?);
        Ok(Some(Outline { names: all.names, recipes }))
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
