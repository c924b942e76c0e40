//! Operands in the table of buffers, and the bytes of them that a dispatch touches.

use std::ops::Range;

use super::bindings::Access;
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
