//! What stands around a norm, on the device.

use std::collections::BTreeMap;

use wgpu_norm::{FusedArgs, FusedGradients, wgpu};
use wgpu_norm_tools::around::{self, Part};
use wgpu_norm_tools::device::{Gpu, Tensor};
use wgpu_norm_tools::failure::Failure;

/// What a pass takes of them, and gradients to them.
pub type Args<'a> = (FusedArgs<&'a wgpu::Buffer>, FusedGradients<&'a wgpu::Buffer>);

/// The operands of a pass beside those of the norm.
pub struct Beside {
    parts: around::Beside<Part>,
    storages: BTreeMap<&'static str, Tensor>,
}

impl Beside {
    /// Memory for them.
    pub fn new(gpu: &Gpu, parts: around::Beside<Part>) -> Result<Self, Failure> {
        let mut storages = BTreeMap::new();
        for of in parts.present() {
            if !storages.contains_key(of.storage) {
                storages.insert(of.storage, gpu.tensor_of(of.storage, of.element, of.total)?);
            }
        }
        Ok(Self { parts, storages })
    }

    /// What is written, by the names of what gradients lead to.
    pub fn written(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        self.parts.written().filter_map(|(name, of)| Some((name, self.storages.get(of.storage)?)))
    }

    /// Copies a block of samples to all of several, again and again.
    pub fn fill<'a>(
        gpu: &Gpu,
        all: impl Iterator<Item = &'a Self> + Clone,
        block: &[(Part, &[f32])],
    ) -> Result<(), Failure> {
        let mut storages: BTreeMap<&str, Vec<f32>> = BTreeMap::new();
        for (of, values) in block {
            of.put(values, storages.entry(of.storage).or_insert_with(|| vec![0.0; of.total as usize]));
        }
        for (name, data) in storages {
            gpu.tile(all.clone().filter_map(|beside| beside.storages.get(name)), &data)?;
        }
        // nobody has written them yet: the device would clear them while it is timed
        all.flat_map(Self::written).for_each(|(_, tensor)| gpu.clear(tensor));
        Ok(())
    }

    /// As a pass takes them.
    pub fn args(&self) -> Args<'_> {
        self.parts.map(|of| of.view(&self.storages[of.storage].view())).args()
    }
}
