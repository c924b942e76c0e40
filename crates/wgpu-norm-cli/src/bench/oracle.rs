//! Operands of a case, and what the f64 reference makes of them: kept for all passes.
//!
//! Those of a large tensor are a block of its samples, which it repeats ([`BenchCase::block`]): the check is of what was
//! timed, not of the kernels. Which sample they read where is for `verify` and the tests to find.

use std::collections::BTreeMap;

use wgpu_norm_tools::around::{Beside, Part};
use wgpu_norm_tools::compute::Tensors;
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::norm::{ExactGradients, Inputs, Planned};
use wgpu_norm_tools::outline::Which;

use crate::cases::Fill;

use super::case::{BenchCase, Variant};

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
    output: Option<Vec<f64>>,
    gradients: Option<ExactGradients>,
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
    pub fn output(&mut self) -> Result<&[f64], Failure> {
        let output = match self.output.take() {
            Some(output) => output,
            None => self.tensors.reference(&self.block.case().descriptor())?.output,
        };
        Ok(self.output.insert(output))
    }

    /// The exact gradients: to the input of the block, and to scale and bias.
    pub fn gradients(&mut self) -> Result<&ExactGradients, Failure> {
        let gradients = match self.gradients.take() {
            Some(gradients) => gradients,
            None => {
                let case = self.block.case();
                let inputs = Inputs { arriving: self.arriving.as_deref(), ..self.tensors.as_inputs() };
                let mut gradients = case.descriptor().backward(&inputs, &self.grad_output)?;
                let sums = gradients.scale.iter_mut().chain(&mut gradients.bias);
                sums.for_each(|sum| *sum *= self.repeats as f64);
                gradients
            }
        };
        Ok(self.gradients.insert(gradients))
    }
}
