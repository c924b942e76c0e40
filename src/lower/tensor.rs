//! Operands in the table of buffers, and the bytes of them that a dispatch touches.

use std::ops::Range;

use super::bindings::{Access, VectorWalk};
use crate::operand::Operand;

/// A tensor of 4-byte words in a buffer of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub buffer: usize,
    pub offset: u64,
    /// Elements of a row and distance between rows, where rows are padded.
    pub rows: Option<(u64, u64)>,
}

impl Tensor {
    /// No place: of what is not needed.
    pub(crate) const NOWHERE: Self = Self { buffer: usize::MAX, offset: 0, rows: None };

    /// The place `offset` bytes further on.
    pub(crate) fn at(self, offset: u64) -> Self {
        Self { offset: self.offset + offset, ..self }
    }

    /// Place of an item in words, from the tensor's start.
    fn place(&self, item: u64, words: u64) -> u64 {
        match self.rows {
            Some((length, stride)) => item / length * stride + item % length,
            None => item * words,
        }
    }

    /// Column of an element in its row of `row_len` elements, where rows are padded.
    pub(crate) fn column(&self, row_len: u64, element: u64) -> u64 {
        if self.rows.is_some() { element % row_len.max(1) } else { 0 }
    }

    /// How runs of it are walked: by words where padding keeps them from being vectors.
    pub(crate) fn walk(&self, row_len: u64, range: &Range<u64>, walk: VectorWalk) -> Option<VectorWalk> {
        let Some((len, stride)) = self.rows else { return Some(walk) };
        let straddles = walk.unit > row_len;
        let whole = len.is_multiple_of(4) && stride.is_multiple_of(4) && walk.unit.is_multiple_of(4);
        let fits = whole && !straddles && self.column(row_len, range.start).is_multiple_of(4);
        fits.then_some(VectorWalk { leads: false, ..walk })
    }

    /// Bytes of items `range` (not empty), each of `words` words.
    pub(crate) fn bytes(&self, range: &Range<u64>, words: u64) -> Range<u64> {
        let start = self.place(range.start, words);
        let end = self.place(range.end - 1, words) + words;
        self.offset + 4 * start..self.offset + 4 * end
    }
}

/// What a dispatch touches of an operand: some of its units.
pub(crate) fn access(operand: Operand, tensor: Tensor, units: &Range<u64>) -> Access {
    Access { operand, buffer: tensor.buffer, bytes: tensor.bytes(units, operand.words()), rows: tensor.rows }
}
