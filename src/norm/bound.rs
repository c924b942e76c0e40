//! A backward pass, bound: its operands in the table, and the regions of its workspace.

use crate::element::Element;
use crate::lower::{AffineGradients, Around, BackwardMap, GradientOperands, MergeSums, Tensor};
use crate::partition::Partition;
use crate::plan::Plan;

/// Regions of a workspace for lists that are made of others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ListRegions {
    /// Scale and bias of two maps in one; without a modulation those of the norm, put beside the others.
    pub affine: [u64; 2],
    pub prologue: u64,
    pub gate: u64,
    pub out_gate: u64,
    /// Whether there is room for lists that are given.
    pub packs: bool,
}

/// Regions of a backward workspace for what stands around a norm.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FusedRegions {
    pub lists: ListRegions,
    /// Tensors of f32: dv, core, ds.
    pub delta: u64,
    pub core: u64,
    pub sum: u64,
    /// Gradients to lists as f32: two at a time.
    pub gradients: [u64; 2],
    pub records: u64,
    pub partials: u64,
}

/// Regions of a backward workspace.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Regions {
    /// What maps take of segments: two records each.
    pub coefficients: u64,
    /// Sums of statistics segments.
    pub sums: u64,
    /// Sums of finer segments, of affine ones, or of slices of rows.
    pub records: u64,
    /// Partial sums, those of columns too.
    pub partials: u64,
    /// Gradients to scale and bias as f32, where they are wanted in another type, or are those of two maps in one.
    pub parameters: [u64; 2],
    pub fused: FusedRegions,
    pub size: u64,
}

/// Operands of a backward pass in the table.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    pub input: Tensor,
    pub grad_output: Tensor,
    pub statistics: Tensor,
    pub indexed: Partition,
    pub given: bool,
    pub scale: Option<Tensor>,
    pub bias: Option<Tensor>,
    pub grad_input: Option<Tensor>,
    pub grad_scale: Option<Tensor>,
    pub grad_bias: Option<Tensor>,
    /// On the gradients to scale and bias: those of a style are means over it.
    pub factor: [f32; 2],
    pub scratch: Tensor,
    pub regions: Regions,
    /// The caller's own sums.
    pub sums: Option<Tensor>,
    /// The scale is a factor of the gradient to the input, not a weight in its sums.
    pub scale_last: bool,
    pub around: Around,
    /// Whether the map may merge the sums that it takes on its way, where those are few.
    pub merges: bool,
}

impl Bound {
    pub(super) fn at(&self, offset: u64) -> Tensor {
        self.scratch.at(offset)
    }

    /// Tensors and parameters of the gradient to the input.
    pub(super) fn map(&self, plan: &Plan) -> BackwardMap {
        BackwardMap {
            input: self.input,
            grad_output: self.grad_output,
            grad_input: self.grad_input,
            row_len: plan.computed.row_len,
            statistics: (self.statistics, self.indexed),
            scale: self.scale.zip(plan.affine),
            scale_last: self.scale_last,
            around: self.around,
        }
    }

    /// Whether gradients of elements are wanted.
    pub(super) fn maps(&self) -> bool {
        let terms = self.around.terms.as_ref();
        self.grad_input.is_some() || terms.is_some_and(|t| t.grad_residual.is_some() || t.grad_z.is_some())
    }

    pub(super) fn wants_affine(&self) -> bool {
        self.grad_scale.is_some() || self.grad_bias.is_some()
    }

    /// Gradient operands of sums over segments that do or do not share their statistics.
    pub(super) fn sums(&self, hoisted: bool, scale: Option<(Tensor, Partition)>) -> GradientOperands {
        let needs_input = self.maps() || self.grad_scale.is_some() || self.sums.is_some();
        let input = needs_input.then_some((self.input, Some(self.statistics)));
        let (grad_output, indexed, normalized) = (self.grad_output, self.indexed, Element::F32);
        GradientOperands { input, grad_output, indexed, hoisted, scale, normalized }
    }

    /// To the caller's own sums, where there are such.
    pub(super) fn with_own_sums<'a>(&self, mut merge: MergeSums<'a>) -> MergeSums<'a> {
        if self.sums.is_some() {
            (merge.coefficients, merge.sums) = (None, self.sums);
        }
        merge
    }

    /// The gradients to scale and bias, where they are wanted.
    pub(super) fn affine<'a>(&self, plan: &'a Plan) -> Option<AffineGradients<'a>> {
        let (grad_scale, grad_bias, factor) = (self.grad_scale, self.grad_bias, self.factor);
        let partials = self.at(self.regions.partials);
        let affine = plan.affine.as_ref().filter(|_| self.wants_affine())?;
        Some(AffineGradients { affine, grad_scale, grad_bias, factor, partials })
    }
}
