//! Views of the caller's buffers.

use std::fmt;

use crate::element::Element;

/// A buffer of the caller: a `&wgpu::Buffer`, or a [`BufferId`] where a recipe is made for another host.
pub trait Buffer: Copy + PartialEq + fmt::Debug {
    /// Length in bytes.
    fn size(&self) -> u64;

    /// Whether kernels may bind it as storage.
    fn is_storage(&self) -> bool {
        true
    }
}

/// A buffer that a host of one's own knows by a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufferId {
    /// What tells buffers apart.
    pub id: u32,
    /// Length in bytes.
    pub size: u64,
}

impl Buffer for BufferId {
    fn size(&self) -> u64 {
        self.size
    }
}

#[cfg(feature = "wgpu")]
impl Buffer for &wgpu::Buffer {
    fn size(&self) -> u64 {
        wgpu::Buffer::size(self)
    }

    fn is_storage(&self) -> bool {
        self.usage().contains(wgpu::BufferUsages::STORAGE)
    }
}

/// A tensor in a caller's buffer: elements from a byte offset on.
///
/// The offset is any multiple of the element size, whatever the device's binding alignment. Rows of the
/// innermost axis may be padded: see [`TensorView::with_row_stride`].
///
/// Kernels read whole words of four bytes: a 16-bit tensor that ends in the middle of one needs two bytes of the buffer
/// behind it, which are left as they are.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct TensorView<B> {
    /// The buffer; needs `BufferUsages::STORAGE`.
    pub buffer: B,
    /// Where the tensor starts, in bytes.
    pub offset: u64,
    /// Number of elements, padding not counted; `None`: as many as the norm needs.
    pub len: Option<u64>,
    /// Distance between the starts of two rows in elements; `None`: no padding.
    pub row_stride: Option<u64>,
    /// The axis of which that is the stride: rows hold all axes behind it. `None`: rows are those of the innermost
    /// axis.
    pub strided_axis: Option<usize>,
    /// What the caller takes the elements for: an error where the norm has another type. `None`: as the norm has it.
    pub element: Option<Element>,
}

impl<B: Buffer> TensorView<B> {
    /// `len` elements that start `offset` bytes into `buffer`: an error where the norm needs another number.
    pub const fn new(buffer: B, offset: u64, len: u64) -> Self {
        Self { buffer, offset, len: Some(len), row_stride: None, strided_axis: None, element: None }
    }

    /// As many elements as the norm needs, from `offset` bytes into `buffer` on; the buffer may go on behind them.
    pub const fn at(buffer: B, offset: u64) -> Self {
        Self { buffer, offset, len: None, row_stride: None, strided_axis: None, element: None }
    }

    /// All of a buffer of f32.
    pub fn whole(buffer: B) -> Self {
        Self::whole_of(buffer, Element::F32)
    }

    /// All of a buffer of elements of a type.
    pub fn whole_of(buffer: B, element: Element) -> Self {
        Self::new(buffer, 0, buffer.size() / element.bytes()).of(element)
    }

    /// The same elements, taken for elements of this type: an error where the norm has another.
    pub const fn of(self, element: Element) -> Self {
        Self { element: Some(element), ..self }
    }

    /// The same elements with rows of the innermost axis `elements` apart.
    pub const fn with_row_stride(self, elements: u64) -> Self {
        Self { row_stride: Some(elements), strided_axis: None, ..self }
    }

    /// The same elements with neighbours along `axis` of the norm's shape `elements` apart. What lies behind that axis
    /// is dense, and the axes before it go on as multiples of it: so q of a fused `[B, S, 3, H, D]` is a view of shape
    /// `[B, S, H, D]` with a stride of `3 * H * D` on axis 1. Tensors of one call that are strided have to be so on one
    /// axis.
    pub const fn with_stride(self, axis: usize, elements: u64) -> Self {
        Self { row_stride: Some(elements), strided_axis: Some(axis), ..self }
    }
}

/// A range of bytes in a caller's buffer: a workspace, statistics, a counter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BufferView<B> {
    /// The buffer; needs `BufferUsages::STORAGE`.
    pub buffer: B,
    /// Where the range starts, in bytes; a multiple of 16 for statistics and workspaces, of 4 for a counter.
    pub offset: u64,
    /// Length in bytes.
    pub size: u64,
}

impl<B: Buffer> BufferView<B> {
    /// `size` bytes from byte `offset` on.
    pub const fn new(buffer: B, offset: u64, size: u64) -> Self {
        Self { buffer, offset, size }
    }

    /// All of a buffer.
    pub fn whole(buffer: B) -> Self {
        Self { buffer, offset: 0, size: buffer.size() }
    }
}

/// Where a norm writes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Destination<B> {
    /// Another view; must not overlap what the norm reads.
    View(TensorView<B>),
    /// Over the input (backward: over the gradient to the output).
    InPlace,
}

impl<B> From<TensorView<B>> for Destination<B> {
    fn from(view: TensorView<B>) -> Self {
        Self::View(view)
    }
}
