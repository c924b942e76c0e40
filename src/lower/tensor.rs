//! Operands in the table of buffers, and the bytes of them that a dispatch touches.

use std::ops::Range;

use super::bindings::{Access, Heads, VectorWalk};
use crate::element::{Element, WORD};
use crate::moments::RECORD;
use crate::operand::{Operand, Unit};

/// A tensor, or records, in a buffer of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub buffer: usize,
    pub offset: u64,
    /// Elements of a row and distance between rows, where rows are padded.
    pub rows: Option<(u64, u64)>,
    /// f32 of records.
    pub element: Element,
}

impl Tensor {
    /// No place: of what is not needed.
    pub(crate) const NOWHERE: Self = Self::new(usize::MAX, 0);

    /// Of f32, or of records, without padding.
    pub(crate) const fn new(buffer: usize, offset: u64) -> Self {
        Self { buffer, offset, rows: None, element: Element::F32 }
    }

    /// The place `offset` bytes further on.
    pub(crate) fn at(self, offset: u64) -> Self {
        Self { offset: self.offset + offset, ..self }
    }

    /// Place of an item, from the tensor's start.
    fn place(&self, item: u64) -> u64 {
        self.rows.map_or(item, |(length, stride)| item / length * stride + item % length)
    }

    /// Column of an element in its row of `row_len` elements, where rows are padded.
    pub(crate) fn column(&self, row_len: u64, element: u64) -> u64 {
        if self.rows.is_some() { element % row_len.max(1) } else { 0 }
    }

    /// Whether rows of `width` elements begin and end at words: then each word is written by who has its elements.
    pub(crate) fn has_whole_words(&self, width: u64) -> bool {
        let grain = self.element.grain();
        let (length, stride) = self.rows.unwrap_or((grain, grain));
        self.offset.is_multiple_of(WORD) && [width, length, stride].iter().all(|n| n.is_multiple_of(grain))
    }

    /// How runs of it are walked: by words where padding keeps them from being vectors.
    pub(crate) fn walk(&self, row_len: u64, range: &Range<u64>, walk: VectorWalk) -> Option<VectorWalk> {
        let Some((len, stride)) = self.rows else { return Some(walk) };
        let straddles = walk.unit > row_len;
        let whole = len.is_multiple_of(4) && stride.is_multiple_of(4) && walk.unit.is_multiple_of(4);
        let fits = whole && !straddles && self.column(row_len, range.start).is_multiple_of(4);
        fits.then_some(VectorWalk { heads: Heads::Never, ..walk })
    }

    /// Bytes of items `range` (not empty), each of `size` bytes.
    pub(crate) fn bytes(&self, range: &Range<u64>, size: u64) -> Range<u64> {
        self.offset + size * self.place(range.start)..self.offset + size * (self.place(range.end - 1) + 1)
    }
}

/// What a dispatch touches of an operand: some of its units.
pub(crate) fn access(operand: Operand, tensor: Tensor, units: &Range<u64>) -> Access {
    let Tensor { buffer, rows, element, .. } = tensor;
    let size = match operand.spec().unit {
        Unit::Record => RECORD,
        Unit::Bytes => 1,
        Unit::Element | Unit::Counter => element.bytes(),
    };
    Access { operand, element, buffer, bytes: tensor.bytes(units, size), rows }
}
