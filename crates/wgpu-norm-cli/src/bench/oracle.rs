//! Operands of a case, and what the f64 reference makes of them: kept for all passes.

use wgpu_norm_tools::compute::Tensors;
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::norm::{ExactGradients, Planned};

use crate::cases::Fill;

use super::case::{BenchCase, Variant};

/// Operands and results.
pub struct Oracle {
    case: BenchCase,
    /// What the norm computes from.
    pub tensors: Tensors,
    /// The gradient to the output.
    pub grad_output: Vec<f32>,
    output: Option<Vec<f64>>,
    gradients: Option<ExactGradients>,
}

impl Oracle {
    /// Makes the operands of a case.
    pub fn new(case: &BenchCase, norm: &Planned) -> Self {
        let given = (case.variant == Variant::BatchInference).then(|| norm.content().given_segment_count());
        Self {
            case: case.clone(),
            tensors: case.case().tensors(Fill::Normal, norm.affine_len(), given),
            grad_output: case.case().grad_output(),
            output: None,
            gradients: None,
        }
    }

    /// Whether it is that of another pass, too.
    pub fn serves(&self, case: &BenchCase) -> bool {
        self.case.shares_operands(case)
    }

    /// The exact output.
    pub fn output(&mut self) -> Result<&[f64], Failure> {
        let output = match self.output.take() {
            Some(output) => output,
            None => self.tensors.reference(&self.case.case().descriptor())?.output,
        };
        Ok(self.output.insert(output))
    }

    /// The exact gradients.
    pub fn gradients(&mut self) -> Result<&ExactGradients, Failure> {
        let gradients = match self.gradients.take() {
            Some(gradients) => gradients,
            None => {
                let case = self.case.case();
                case.descriptor().backward(&self.tensors.as_inputs(), &self.grad_output)?
            }
        };
        Ok(self.gradients.insert(gradients))
    }
}
