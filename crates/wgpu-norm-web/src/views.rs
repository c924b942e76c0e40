//! Views of buffers, which the recorder names by number, size and usage.

use wgpu_norm::{BindError, Buffer, BufferView, Destination, Element, Operand, TensorView};

use crate::error::Result;
use crate::field::Field;

/// A `GPUBuffer` as the recorder describes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct WebBuffer {
    /// Its place in the recorder's list.
    pub id: u32,
    /// `GPUBufferUsage`.
    usage: u32,
    size: u64,
}

impl Buffer for WebBuffer {
    fn size(&self) -> u64 {
        self.size
    }

    fn is_storage(&self) -> bool {
        self.usage & STORAGE != 0
    }
}

pub(crate) type Tensor = TensorView<WebBuffer>;
pub(crate) type Bytes = BufferView<WebBuffer>;

/// `GPUBufferUsage.STORAGE`.
const STORAGE: u32 = 0x80;

pub(crate) const ELEMENTS: [(&str, Element); 3] =
    [("f32", Element::F32), ("f16", Element::F16), ("bf16", Element::Bf16)];

/// Views among the fields of an operation's arguments.
impl Field<'_> {
    pub(crate) fn tensor(&self, name: &str) -> Result<Option<Tensor>> {
        self.get(name).map(|field| tensor(&field)).transpose()
    }

    /// Optional tensors, each into its place.
    pub(crate) fn tensors(&self, places: &mut [(&'static str, &mut Option<Tensor>)]) -> Result<()> {
        for (name, place) in places {
            **place = self.tensor(name)?;
        }
        Ok(())
    }

    /// A field that is an object of optional tensors and of nothing else.
    pub(crate) fn object_of_tensors(
        &self,
        name: &str,
        places: &mut [(&'static str, &mut Option<Tensor>)],
    ) -> Result<()> {
        let Some(field) = self.get(name) else { return Ok(()) };
        field.only(&places.iter().map(|(name, _)| *name).collect::<Vec<_>>())?;
        field.tensors(places)
    }

    pub(crate) fn needed_tensor(&self, name: &str, operand: Operand) -> Result<Tensor> {
        self.tensor(name)?.ok_or_else(|| missing(operand))
    }

    /// So many bytes, where the view does not say how many; else all from its offset on.
    pub(crate) fn bytes(&self, name: &str, size: Option<u64>) -> Result<Option<Bytes>> {
        self.get(name).map(|field| bytes(&field, size)).transpose()
    }

    pub(crate) fn needed_bytes(&self, name: &str, size: u64, operand: Operand) -> Result<Bytes> {
        self.bytes(name, Some(size))?.ok_or_else(|| missing(operand))
    }

    pub(crate) fn workspace(&self) -> Result<Option<Bytes>> {
        self.bytes("workspace", None)
    }

    pub(crate) fn destination(&self, name: &str) -> Result<Option<Destination<WebBuffer>>> {
        match self.get(name) {
            Some(field) if field.value.is_string() => Ok(Some(field.one_of(&[("in-place", Destination::InPlace)])?)),
            _ => Ok(self.tensor(name)?.map(Destination::View)),
        }
    }

    pub(crate) fn needed_destination(&self, name: &str, operand: Operand) -> Result<Destination<WebBuffer>> {
        self.destination(name)?.ok_or_else(|| missing(operand))
    }

    /// The field `buffer` of a view, or what stands in the place of one.
    fn buffer(&self) -> Result<WebBuffer> {
        if !self.has("gpuBuffer") {
            return self.wrong("a GPUBuffer");
        }
        let number = |name| self.required(name)?.small();
        let (id, usage) = (number("gpuBuffer")?, number("usage")?);
        Ok(WebBuffer { id, usage, size: self.required("size")?.whole()? })
    }
}

pub(crate) fn missing(operand: Operand) -> Box<crate::error::Error> {
    BindError::Missing { operand }.into()
}

fn tensor(field: &Field<'_>) -> Result<Tensor> {
    let (buffer, offset) = place(field, &["buffer", "offset", "length", "rowStride", "stridedAxis", "element"])?;
    let mut view = TensorView::at(buffer, offset);
    view.len = field.optional_whole("length")?;
    view.row_stride = field.optional_whole("rowStride")?;
    let axis = field.optional_whole("stridedAxis")?;
    view.strided_axis = axis.map(|axis| usize::try_from(axis).unwrap_or(usize::MAX));
    view.element = field.get("element").map(|field| field.one_of(&ELEMENTS)).transpose()?;
    Ok(view)
}

fn bytes(field: &Field<'_>, needed: Option<u64>) -> Result<Bytes> {
    let (buffer, offset) = place(field, &["buffer", "offset", "size"])?;
    // of a buffer itself that is the length, which may be more than is needed
    let given = if field.has("gpuBuffer") { None } else { field.optional_whole("size")? };
    Ok(BufferView::new(buffer, offset, given.or(needed).unwrap_or(buffer.size.saturating_sub(offset))))
}

/// A buffer and the offset in it: a buffer itself, or a view with these fields.
fn place(field: &Field<'_>, known: &[&'static str]) -> Result<(WebBuffer, u64)> {
    if !field.value.is_object() {
        return field.wrong("a GPUBuffer or a view { buffer, offset, ... } of one");
    }
    if field.has("gpuBuffer") {
        return Ok((field.buffer()?, 0));
    }
    field.only(known)?;
    Ok((field.required("buffer")?.buffer()?, field.optional_whole("offset")?.unwrap_or(0)))
}
