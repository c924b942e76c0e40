//! Operands of stages: which ranges of which tensors a run of elements touches.

use std::ops::Range;

use super::bindings::{Access, VectorWalk};
use super::{Tensor, access};
use crate::operand::Operand;
use crate::partition::Partition;

/// Operands of a map over elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MapOperands {
    /// Absent: zeros.
    pub input: Option<Tensor>,
    pub output: Tensor,
    pub row_len: u64,
    pub affine: Option<Partition>,
    pub scale: Option<Tensor>,
    pub bias: Option<Tensor>,
}

impl MapOperands {
    /// Whether rows of `width` elements reach over several padded rows of a tensor.
    pub(crate) fn straddles(&self, width: u64) -> bool {
        self.padded() && width > self.row_len
    }

    /// Column of an element in its row of the innermost axis, where rows are padded.
    pub(crate) fn column(&self, element: u64) -> u64 {
        if self.padded() { element % self.row_len.max(1) } else { 0 }
    }

    /// What rows of `width` elements are multiples of in memory; `None` where they are no rows of vectors there.
    pub(crate) fn vectors(&self, width: u64, range: &Range<u64>) -> Option<u64> {
        let padded = [Some(self.output), self.input].into_iter().flatten().filter_map(|tensor| tensor.rows);
        let whole = padded.into_iter().all(|(len, stride)| len.is_multiple_of(4) && stride.is_multiple_of(4));
        let fits = !self.straddles(width) && whole && self.column(range.start).is_multiple_of(4);
        (fits && width.is_multiple_of(4)).then_some(width)
    }

    /// What elements `range` of the map touch, statistics aside.
    pub(crate) fn accesses(&self, range: &Range<u64>) -> Vec<Access> {
        let mut all = vec![access(Operand::Output, self.output, range)];
        all.extend(self.input.map(|input| access(Operand::Input, input, range)));
        let parameters = self.affine.map_or(0..0, |p| segments_of(&p, range));
        let of = |operand, tensor: Option<Tensor>| tensor.map(|t| access(operand, t, &parameters));
        all.extend(of(Operand::Scale, self.scale));
        all.extend(of(Operand::Bias, self.bias));
        all
    }

    /// As all tensors can be walked.
    pub(crate) fn walk(&self, range: &Range<u64>, walk: VectorWalk) -> Option<VectorWalk> {
        let tensors = [Some(self.output), self.input];
        tensors.iter().flatten().try_fold(walk, |walk, tensor| tensor.walk(self.row_len, range, walk))
    }

    pub(crate) fn padded(&self) -> bool {
        self.input.is_some_and(|input| input.rows.is_some()) || self.output.rows.is_some()
    }
}

/// Operands of a merge of records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MergeOperands {
    /// The partial records, as elements of this partition.
    pub partition: Partition,
    pub partials: Option<Tensor>,
    pub records: Option<Tensor>,
}

impl MergeOperands {
    pub(crate) fn new(partition: Partition, partials: Option<Tensor>, records: Option<Tensor>) -> Self {
        Self { partition, partials, records }
    }

    /// A merge of nothing: every segment gets the identity.
    pub(crate) fn nothing(segments: u64, records: Option<Tensor>) -> Self {
        Self::new(Partition::new(1, 0, segments, 1), None, records)
    }
}

/// Operands of a running update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunningTensors {
    pub statistics: Tensor,
    pub mean: Tensor,
    pub variance: Tensor,
    pub counter: Option<Tensor>,
}

pub(super) fn segments_of(partition: &Partition, range: &Range<u64>) -> Range<u64> {
    let (low, high) = partition.segments_of(range.start, range.end);
    low..high
}
