//! Gradient sums in parts, and what is wanted of them.

use std::ops::Range;

use super::bindings::Access;
use super::tensor::{Tensor, access};
use crate::kernel::blocks;
use crate::moments::RECORD;
use crate::operand::Operand;
use crate::partition::Partition;
use crate::schedule::DeviceProfile;

/// Where gradients to scale and bias go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AffineGradients<'a> {
    pub affine: &'a Partition,
    pub grad_scale: Option<Tensor>,
    pub grad_bias: Option<Tensor>,
    /// On the sums that become gradients to bias and scale.
    pub factor: [f32; 2],
    /// Partial sums.
    pub partials: Tensor,
}

impl AffineGradients<'_> {
    pub(super) fn accesses(&self, parameters: &Range<u64>) -> Vec<Access> {
        let gradients = [(Operand::GradScale, self.grad_scale), (Operand::GradBias, self.grad_bias)];
        gradients.into_iter().filter_map(|(operand, tensor)| Some(access(operand, tensor?, parameters))).collect()
    }
}

/// Gradient sums in parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SumParts {
    /// Sums of parts, which share both partitions' segments, in slices one after the other.
    pub partials: Tensor,
    pub slices: u64,
    /// The parts, as elements of two partitions.
    pub statistics: Partition,
    pub affine: Partition,
    /// Weights of the parts, by affine segment.
    pub scale: Option<Tensor>,
}

impl SumParts {
    /// Of `slices` slices, no part of which has weights.
    pub(crate) fn new(partials: Tensor, statistics: Partition, slices: u64) -> Self {
        let affine = Partition::new(1, 1, 1, statistics.elements());
        Self { partials, slices, statistics, affine, scale: None }
    }

    /// Records of a statistics segment.
    pub(crate) fn records(&self) -> u64 {
        self.statistics.segment_len() * self.slices
    }

    /// Bytes of all records, which maps that merge bind whole.
    pub(crate) fn bytes(&self) -> u64 {
        self.statistics.elements() * self.slices * RECORD
    }

    /// How `columns` segments side by side are merged by `lines` lanes each, of all parts or of a window of them; and
    /// those of scale and bias, where they are merged beside.
    pub(super) fn block(
        &self,
        statistics: &Partition,
        [columns, lines]: [u32; 2],
        affine: Option<(AffineGradients<'_>, AffineMerge)>,
    ) -> blocks::Parts {
        let dims = |p: &Partition| p.dims().map(|n| n as u32);
        let [factor_bias, factor_scale] = affine.map_or([1.0; 2], |(affine, _)| affine.factor);
        let merge = affine.map_or(AffineMerge { columns: 1, lines: 1, groups: 0 }, |(_, merge)| merge);
        blocks::Parts {
            statistics: dims(statistics),
            affine: dims(&self.affine),
            slices: self.slices as u32,
            stride: self.statistics.elements() as u32,
            columns,
            lines,
            affine_columns: merge.columns,
            affine_lines: merge.lines,
            affine_groups: merge.groups,
            factor_scale,
            factor_bias,
            pad: [0; 3],
        }
    }
}

/// Affine segments that workgroups merge side by side, lanes for each, and workgroups.
#[derive(Clone, Copy, Debug)]
pub(super) struct AffineMerge {
    columns: u32,
    lines: u32,
    pub groups: u32,
}

impl AffineMerge {
    pub(super) fn new(parts: &SumParts, columns: u64, workgroup: u32) -> Self {
        let groups = parts.affine.segments().div_ceil(columns) as u32;
        Self { columns: columns as u32, lines: workgroup / columns as u32, groups }
    }

    /// In the first workgroups of a map.
    pub(super) fn beside(parts: &SumParts, profile: &DeviceProfile) -> Self {
        let records = parts.affine.segment_len() * parts.slices;
        Self::new(parts, profile.merged_side_by_side(parts.affine.segments(), records), profile.workgroup_size)
    }
}

/// Operands of a merge of gradient sums.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MergeSums<'a> {
    pub parts: SumParts,
    /// Moments, and where coefficients go.
    pub coefficients: Option<(Tensor, Tensor)>,
    /// Where sums go instead.
    pub sums: Option<Tensor>,
    pub affine: Option<AffineGradients<'a>>,
}

impl MergeSums<'_> {
    /// To nothing yet.
    pub(crate) fn new(parts: SumParts) -> Self {
        Self { parts, coefficients: None, sums: None, affine: None }
    }
}
