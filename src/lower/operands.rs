//! Operands of stages: which ranges of which tensors a run of elements touches.

use std::ops::Range;

use super::around::Around;
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
    /// Of the innermost axis; rows that are padded may hold several axes.
    pub row_len: u64,
    pub affine: Option<Partition>,
    pub scale: Option<Tensor>,
    pub bias: Option<Tensor>,
    pub around: Around,
}

impl MapOperands {
    /// What is walked element by element.
    fn tensors(&self) -> impl Iterator<Item = Tensor> {
        [Some(self.output), self.input].into_iter().flatten().chain(self.around.tensors())
    }

    /// What is written, the output last.
    pub(super) fn written(&self) -> Vec<(Operand, Tensor)> {
        let mut all = self.around.written();
        all.push((Operand::Output, self.output));
        all
    }

    /// Whether rows of `width` elements begin and end at words of all that is written.
    pub(crate) fn has_whole_words(&self, width: u64) -> bool {
        self.written().iter().all(|(_, tensor)| tensor.has_whole_words(width))
    }

    /// Whether rows of these segments, of an odd number of halves, can be written two by two (`lib/pairs.wgsl`), if
    /// there is nothing around the norm: an even number of them side by side, from the start of a word.
    pub(crate) fn has_pairs(&self, rows: &Partition) -> bool {
        !self.padded() && rows.segments().is_multiple_of(2) && self.output.has_whole_words(2 * rows.segment_len())
    }

    /// Whether rows of `width` elements that share words of the output may be written by its vectors: of no more than
    /// two rows each, with nothing around the norm.
    pub(super) fn takes_shared_rows(&self, width: u64) -> bool {
        width >= 4 && self.around.is_none() && !self.padded()
    }

    /// Elements that one store owns, of what is written in the smallest.
    pub(super) fn grain(&self) -> u64 {
        self.written().iter().map(|(_, tensor)| tensor.element.grain()).max().unwrap_or(1)
    }

    /// Elements of a row, padded ones if there are such: all have one length.
    pub(super) fn row_len(&self) -> u64 {
        self.tensors().find_map(|tensor| tensor.rows).map_or(self.row_len, |(len, _)| len)
    }

    /// Whether rows of `width` elements reach over several padded rows of a tensor.
    pub(crate) fn straddles(&self, width: u64) -> bool {
        self.padded() && width > self.row_len()
    }

    /// Column of an element in its row of the innermost axis, where rows are padded.
    pub(crate) fn column(&self, element: u64) -> u64 {
        if self.padded() { element % self.row_len().max(1) } else { 0 }
    }

    /// What rows of `width` elements are multiples of in memory; `None` where they are no rows of vectors there.
    pub(crate) fn vectors(&self, width: u64, range: &Range<u64>) -> Option<u64> {
        let whole = self
            .tensors()
            .filter_map(|tensor| tensor.rows)
            .all(|(len, stride)| len.is_multiple_of(4) && stride.is_multiple_of(4));
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
        all.extend(self.around.accesses(range));
        all
    }

    /// As all tensors can be walked.
    pub(crate) fn walk(&self, range: &Range<u64>, walk: VectorWalk) -> Option<VectorWalk> {
        self.tensors().try_fold(walk, |walk, tensor| tensor.walk(self.row_len(), range, walk))
    }

    pub(crate) fn padded(&self) -> bool {
        self.tensors().any(|tensor| tensor.rows.is_some())
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
