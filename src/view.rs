//! Views of the caller's buffers.

/// A tensor in a caller's buffer: `len` elements from a byte offset on.
///
/// The offset is any multiple of the element size, whatever the device's binding alignment. Rows of the
/// innermost axis may be padded: see [`TensorView::with_row_stride`].
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// The buffer; needs `BufferUsages::STORAGE`.
    pub buffer: &'a wgpu::Buffer,
    /// Where the tensor starts, in bytes.
    pub offset: u64,
    /// Number of elements, padding not counted.
    pub len: u64,
    /// Distance between the starts of two rows of the innermost axis in elements; `None`: no padding.
    pub row_stride: Option<u64>,
}

impl<'a> TensorView<'a> {
    /// `len` elements that start `offset` bytes into `buffer`.
    pub const fn new(buffer: &'a wgpu::Buffer, offset: u64, len: u64) -> Self {
        Self { buffer, offset, len, row_stride: None }
    }

    /// All of a buffer of f32.
    pub fn whole(buffer: &'a wgpu::Buffer) -> Self {
        Self::new(buffer, 0, buffer.size() / 4)
    }

    /// The same elements with rows of the innermost axis `elements` apart.
    pub const fn with_row_stride(self, elements: u64) -> Self {
        Self { row_stride: Some(elements), ..self }
    }
}

/// A range of bytes in a caller's buffer: a workspace, statistics, a counter.
#[derive(Clone, Copy, Debug)]
pub struct BufferView<'a> {
    /// The buffer; needs `BufferUsages::STORAGE`.
    pub buffer: &'a wgpu::Buffer,
    /// Where the range starts, in bytes; a multiple of 16 for statistics and workspaces, of 4 for a counter.
    pub offset: u64,
    /// Length in bytes.
    pub size: u64,
}

impl<'a> BufferView<'a> {
    /// All of a buffer.
    pub fn whole(buffer: &'a wgpu::Buffer) -> Self {
        Self { buffer, offset: 0, size: buffer.size() }
    }
}

/// Where a norm writes.
#[derive(Clone, Copy, Debug)]
pub enum Destination<'a> {
    /// Another view; must not overlap what the norm reads.
    View(TensorView<'a>),
    /// Over the input.
    InPlace,
}
