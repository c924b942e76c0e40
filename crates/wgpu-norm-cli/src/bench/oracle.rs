//! Operands of a case, and what the f64 reference makes of them: kept for all passes.
//!
//! Those of a large tensor are a block of its samples, which it repeats ([`BenchCase::block`]): the check is of what
//! was timed, not of the kernels. Which sample they read where is for `verify` and the tests to find.

use std::collections::BTreeMap;

use wgpu_norm_tools::around::{Beside, Part};
use wgpu_norm_tools::compute::Tensors;
use wgpu_norm_tools::exact::Inputs;
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::fill::Fill;
use wgpu_norm_tools::norm::Planned;
use wgpu_norm_tools::outline::Which;
use wgpu_norm_tools::terms;

use super::case::{BenchCase, Variant};

/// What a tensor should hold, and a unit for the error of each element ([`terms`]).
#[derive(Debug)]
pub struct Expected {
    pub values: Vec<f64>,
    pub units: Vec<f64>,
}

/// Operands and results.
pub struct Oracle {
    /// What it serves.
    case: BenchCase,
    /// What it computes.
    block: BenchCase,
    repeats: u64,
    /// What the norm computes from.
    pub tensors: Tensors,
    /// The gradient to the output.
    pub grad_output: Vec<f32>,
    /// The gradient that arrives at the sum, where there is one.
    arriving: Option<Vec<f32>>,
    output: Option<Expected>,
    gradients: Option<BTreeMap<&'static str, Expected>>,
}

impl Oracle {
    /// Makes the operands of a case.
    pub fn new(case: &BenchCase, norm: &Planned) -> Self {
        let (block, repeats) = case.block();
        let given = (case.variant == Variant::BatchInference).then(|| norm.content().given_segment_count());
        Self {
            case: case.clone(),
            tensors: block.case().tensors(Fill::Normal, norm.affine_len(), given),
            grad_output: block.case().grad_output(),
            arriving: block.arriving(),
            block,
            repeats,
            output: None,
            gradients: None,
        }
    }

    /// Each that a pass over the block reads beside the operands of the norm, and its values.
    pub fn beside(&self, which: Which) -> Vec<(Part, &[f32])> {
        let values: Beside<&Vec<f32>> = Beside {
            fused: self.tensors.fused.as_ref().map(|numbers| &numbers.values),
            multiplied: Some(&self.tensors.input),
            arriving: self.arriving.as_ref(),
            ..Beside::default()
        };
        let values: BTreeMap<_, _> = values.read().collect();
        let parts = self.block.beside(which).read();
        parts.map(|(name, part)| (part, values.get(name).map_or(&[][..], |values| values.as_slice()))).collect()
    }

    /// Whether it is that of another pass, too.
    pub fn serves(&self, case: &BenchCase) -> bool {
        self.case.shares_operands(case)
    }

    /// The exact output of the block.
    pub fn output(&mut self) -> Result<&Expected, Failure> {
        let output = match self.output.take() {
            Some(output) => output,
            None => {
                let case = self.block.case();
                let values = self.tensors.reference(&case.descriptor())?.output;
                let units = self.tensors.units(&case.descriptor(), &values)?;
                Expected { values, units }
            }
        };
        Ok(self.output.insert(output))
    }

    /// The exact gradients, by what they lead to: those to tensors of the block, those to scale and bias of all blocks.
    pub fn gradients(&mut self) -> Result<&BTreeMap<&'static str, Expected>, Failure> {
        let gradients = match self.gradients.take() {
            Some(gradients) => gradients,
            None => {
                let case = self.block.case();
                let inputs = Inputs { arriving: self.arriving.as_deref(), ..self.tensors.as_inputs() };
                let exact = case.descriptor().backward(&inputs, &self.grad_output)?;
                let mut units = terms::of(&case.descriptor(), &inputs, &self.grad_output)?;
                let repeats = self.repeats as f64;
                let expected = exact.named().map(|(to, values)| {
                    let all = Expected { values, units: units.remove(to).unwrap_or_default() };
                    (to, if matches!(to, "scale" | "bias") { all.times(repeats) } else { all })
                });
                expected.collect()
            }
        };
        Ok(self.gradients.insert(gradients))
    }
}

impl Expected {
    fn times(mut self, factor: f64) -> Self {
        self.values.iter_mut().chain(&mut self.units).for_each(|value| *value *= factor);
        self
    }
}
