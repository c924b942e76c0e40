//! The caller's views, checked and given a place in a table of buffers.

use std::ops::Range;

use crate::element::{Element, WORD};
use crate::error::BindError;
use crate::kernel::is_tensor;
use crate::lower::Tensor;
use crate::moments::RECORD;
use crate::operand::Operand;
use crate::view::{Buffer, BufferView, TensorView};

/// The shape that a tensor has to a norm.
#[derive(Clone, Copy)]
pub(crate) struct Shape<'a> {
    pub len: u64,
    /// Elements of a row of the innermost axis.
    pub row_len: u64,
    /// Sizes of the axes, of which one may be strided.
    pub sizes: &'a [u64],
}

impl Shape<'_> {
    /// A list, maybe one of several rows.
    pub(crate) const fn list(len: u64, row_len: u64) -> Self {
        Self { len, row_len, sizes: &[] }
    }
}

/// Views of one binding. Every check that needs no device happens here, before anything is recorded.
pub(crate) struct Operands<B> {
    pub buffers: Vec<B>,
    spans: Vec<Span>,
    /// The first tensor that is walked with the input and has padded rows, and their length.
    padded: Option<(Operand, u64)>,
}

impl<B> Default for Operands<B> {
    fn default() -> Self {
        Self { buffers: Vec::new(), spans: Vec::new(), padded: None }
    }
}

/// Bytes that an operand touches.
struct Span {
    operand: Operand,
    buffer: usize,
    bytes: Range<u64>,
    /// Bytes of a row and distance between rows, where rows are padded.
    rows: Option<(u64, u64)>,
    written: bool,
}

/// Whether a kernel writes an operand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Read,
    Written,
}

impl<B: Buffer> Operands<B> {
    /// A tensor of a shape: its length, and that of its rows.
    pub(crate) fn tensor(
        &mut self,
        operand: Operand,
        view: &TensorView<B>,
        shape: Shape<'_>,
        element: Element,
        role: Role,
    ) -> Result<Tensor, BindError> {
        let Shape { len, row_len, sizes } = shape;
        if let Some(actual) = view.element.filter(|&actual| actual != element) {
            return Err(BindError::Element { operand, expected: element, actual });
        }
        if let Some(actual) = view.len.filter(|&actual| actual != len) {
            return Err(BindError::Length { operand, expected: len, actual });
        }
        let word = element.bytes();
        let row_len = match view.strided_axis {
            Some(axis) if axis >= sizes.len() => {
                return Err(BindError::StrideAxis { operand, axis, rank: sizes.len() });
            }
            Some(axis) => sizes[axis + 1..].iter().product(),
            None => row_len,
        };
        let rows = match view.row_stride {
            Some(stride) if stride < row_len => {
                return Err(BindError::RowStride { operand, stride, row: row_len });
            }
            Some(stride) if stride > row_len && len > row_len => Some((row_len, stride)),
            _ => None,
        };
        let elements = match rows {
            Some((row, stride)) => (len / row - 1).checked_mul(stride).and_then(|n| n.checked_add(row)),
            None => Some(len),
        };
        let size = elements.and_then(|n| n.checked_mul(word)).unwrap_or(u64::MAX);
        let bytes = check_range(operand, view.buffer, view.offset, size, word)?;
        let buffer = self.place(view.buffer);
        if let Some((row, _)) = rows.filter(|_| is_tensor(operand)) {
            match self.padded {
                Some((first, other)) if other != row => {
                    return Err(BindError::Strides { first, second: operand, rows: [other, row] });
                }
                _ => self.padded = Some((operand, row)),
            }
        }
        let row_bytes = rows.map(|(row, stride)| (row * word, stride * word));
        self.add(Span { operand, buffer, bytes, rows: row_bytes, written: role == Role::Written })?;
        Ok(Tensor { buffer, offset: view.offset, rows, element })
    }

    /// Records of `size` bytes, no more and no fewer: those of another norm are told by their number.
    pub(crate) fn records(
        &mut self,
        operand: Operand,
        view: &BufferView<B>,
        size: u64,
        role: Role,
    ) -> Result<Tensor, BindError> {
        if view.size != size && size > 0 {
            return Err(BindError::Size { operand, expected: size, actual: view.size });
        }
        self.range(operand, view, size, RECORD, role)
    }

    /// `size` bytes or more, aligned to `align`.
    pub(crate) fn range(
        &mut self,
        operand: Operand,
        view: &BufferView<B>,
        size: u64,
        align: u64,
        role: Role,
    ) -> Result<Tensor, BindError> {
        if view.size < size {
            return Err(BindError::Size { operand, expected: size, actual: view.size });
        }
        let bytes = check_range(operand, view.buffer, view.offset, size, align)?;
        let buffer = self.place(view.buffer);
        self.add(Span { operand, buffer, bytes, rows: None, written: role == Role::Written })?;
        Ok(Tensor::new(buffer, view.offset))
    }

    /// A byte for each of `len` elements, written side by side.
    pub(crate) fn bytes(&mut self, operand: Operand, view: &TensorView<B>, len: u64) -> Result<Tensor, BindError> {
        if let Some(actual) = view.len.filter(|&actual| actual != len) {
            return Err(BindError::Length { operand, expected: len, actual });
        }
        let bytes = check_range(operand, view.buffer, view.offset, len, 1)?;
        let buffer = self.place(view.buffer);
        self.add(Span { operand, buffer, bytes, rows: None, written: true })?;
        Ok(Tensor::new(buffer, view.offset))
    }

    /// A list of `len` elements: parameters, means.
    pub(crate) fn list(
        &mut self,
        operand: Operand,
        view: &TensorView<B>,
        len: u64,
        element: Element,
        role: Role,
    ) -> Result<Tensor, BindError> {
        self.tensor(operand, view, Shape::list(len, len), element, role)
    }

    /// A list of the type that its view has, f32 where that does not say.
    pub(crate) fn list_as_viewed(
        &mut self,
        operand: Operand,
        view: &TensorView<B>,
        len: u64,
        role: Role,
    ) -> Result<Tensor, BindError> {
        self.list(operand, view, len, view.element.unwrap_or_default(), role)
    }

    /// The workspace, or a place that nothing refers to where none is needed.
    pub(crate) fn workspace(&mut self, view: Option<&BufferView<B>>, size: u64) -> Result<Tensor, BindError> {
        match view {
            _ if size == 0 => Ok(Tensor::NOWHERE),
            Some(view) => self.range(Operand::Workspace, view, size, RECORD, Role::Written),
            None => Err(BindError::Missing { operand: Operand::Workspace }),
        }
    }

    /// The same buffers, of which nothing is bound.
    pub(crate) fn apart(&self) -> Self {
        Self { buffers: self.buffers.clone(), ..Self::default() }
    }

    fn place(&mut self, buffer: B) -> usize {
        self.buffers.iter().position(|known| *known == buffer).unwrap_or_else(|| {
            self.buffers.push(buffer);
            self.buffers.len() - 1
        })
    }

    fn add(&mut self, span: Span) -> Result<(), BindError> {
        for other in self.spans.iter().filter(|other| other.buffer == span.buffer && (other.written || span.written)) {
            let shared = other.bytes.start.max(span.bytes.start)..other.bytes.end.min(span.bytes.end);
            let apart = columns_apart(other, &span);
            if other.written && span.written && (shared.is_empty() || apart) {
                check_words(other, &span, apart)?;
            }
            if !shared.is_empty() && !apart {
                return Err(BindError::Overlap {
                    first: other.operand,
                    second: span.operand,
                    start: shared.start,
                    end: shared.end,
                });
            }
        }
        self.spans.push(span);
        Ok(())
    }
}

/// Whether two views of padded rows with one stride hold different columns of it.
fn columns_apart(a: &Span, b: &Span) -> bool {
    let (Some((row_a, stride)), Some((row_b, stride_b))) = (a.rows, b.rows) else { return false };
    let phase = phase(a, b, stride);
    stride == stride_b && phase >= row_a && phase + row_b <= stride
}

/// From the start of a row of `a` to the next of `b`.
fn phase(a: &Span, b: &Span, stride: u64) -> u64 {
    (b.bytes.start + stride - a.bytes.start % stride) % stride
}

/// What is written over another has its type.
pub(crate) fn check_in_place(operand: Operand, expected: Element, actual: Element) -> Result<(), BindError> {
    if expected == actual { Ok(()) } else { Err(BindError::Element { operand, expected, actual }) }
}

/// Two that are written must not have halves of one word: each would write what it has read of the other's.
fn check_words(a: &Span, b: &Span, columns: bool) -> Result<(), BindError> {
    let words = |bytes: &Range<u64>| bytes.start / WORD..bytes.end.div_ceil(WORD);
    let meet = |a: &Range<u64>, b: &Range<u64>| words(a).start.max(words(b).start) < words(a).end.min(words(b).end);
    let shared = match (a.rows, b.rows) {
        // a row lies between two of the other; every second one begins at the same place in a word
        (Some((row_a, stride)), Some((row_b, _))) if columns => (0..2).any(|k| {
            let start = a.bytes.start + k * stride;
            let between = start + phase(a, b, stride)..start + phase(a, b, stride) + row_b;
            meet(&(start..start + row_a), &between) || meet(&between, &(start + stride..start + stride + row_a))
        }),
        _ => meet(&a.bytes, &b.bytes),
    };
    if !shared || a.bytes.is_empty() || b.bytes.is_empty() {
        return Ok(());
    }
    let word = words(&a.bytes).start.max(words(&b.bytes).start) * WORD;
    Err(BindError::SharedWord { first: a.operand, second: b.operand, word })
}

fn check_range<B: Buffer>(
    operand: Operand,
    buffer: B,
    offset: u64,
    size: u64,
    align: u64,
) -> Result<Range<u64>, BindError> {
    if !offset.is_multiple_of(align) {
        return Err(BindError::Offset { operand, offset, align });
    }
    let end = offset.saturating_add(size);
    if end > buffer.size() {
        return Err(BindError::OutOfBounds { operand, end, size: buffer.size() });
    }
    if end.next_multiple_of(WORD) > buffer.size() {
        return Err(BindError::HalfWord { operand, end, size: buffer.size() });
    }
    if !buffer.is_storage() {
        return Err(BindError::Usage { operand });
    }
    Ok(offset..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::*;
    use crate::element::Types;
    use crate::facts::DeviceFacts;
    use crate::norm::*;
    use crate::view::BufferId;

    /// A layer norm over 3 x 5.
    fn plan(types: Types) -> NormPlan {
        let descriptor = NormDescriptor { types, ..NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &[3, 5]) };
        Planner::new(DeviceFacts::DEFAULT).plan(&descriptor).unwrap()
    }

    /// A place in one buffer of so many bytes.
    fn at(size: u64, offset: u64) -> TensorView<BufferId> {
        TensorView::at(BufferId { id: 0, size }, offset)
    }

    /// Input, output, scale and bias of halves at multiples of 64 bytes.
    fn forward(change: impl FnOnce(&mut ForwardArgs<BufferId>)) -> Result<(), BindError> {
        let mut args = ForwardArgs::new(at(256, 0), at(256, 64)).scale(at(256, 128)).bias(at(256, 192));
        args.workspace = Some(BufferView::whole(BufferId { id: 1, size: 4096 }));
        change(&mut args);
        plan(Types::all(Element::F16)).forward(&args).map(drop)
    }

    /// Gradients of halves: to the input 15 of them, to scale and bias 5 each.
    fn backward(grad_input: u64, grad_scale: u64, grad_bias: u64) -> Result<(), BindError> {
        let [statistics, workspace] =
            [(1, 48), (2, 1 << 16)].map(|(id, size)| BufferView::whole(BufferId { id, size }));
        let args = BackwardArgs::new(at(512, 256), at(512, 320), BackwardStatistics::Saved(statistics))
            .scale(at(512, 384))
            .grad_input(at(512, grad_input))
            .grad_scale(at(512, grad_scale))
            .grad_bias(at(512, grad_bias))
            .workspace(workspace);
        plan(Types::all(Element::Bf16)).backward(&args).map(drop)
    }

    #[test]
    fn views_of_another_type_are_told_the_norms() {
        assert_eq!(forward(|_| ()), Ok(()));
        let element = |operand, actual| Err(BindError::Element { operand, expected: Element::F16, actual });
        assert_eq!(forward(|a| a.input = a.input.of(Element::F16)), Ok(()));
        assert_eq!(forward(|a| a.input = a.input.of(Element::Bf16)), element(Operand::Input, Element::Bf16));
        let bias = |a: &mut ForwardArgs<_>| a.bias = a.bias.map(|view| view.of(Element::F32));
        assert_eq!(forward(bias), element(Operand::Bias, Element::F32));
        // a buffer of 15 halves is one of 7 f32: what is wrong is the type, not the length
        let whole = TensorView::whole(BufferId { id: 3, size: 32 });
        let refused = forward(|a| a.input = whole);
        assert_eq!(refused, element(Operand::Input, Element::F32));
        assert_eq!(
            refused.unwrap_err().to_string(),
            "input is taken for f32, the norm has it as f16 (NormDescriptor::types)"
        );
    }

    #[test]
    fn in_place_takes_one_type() {
        let [f32, f16] = [Element::F32, Element::F16];
        let wider = Types::all(f16).output(f32).grad_input(f32);
        let forward = ForwardArgs::new(at(256, 0), Destination::InPlace).scale(at(256, 128)).bias(at(256, 192));
        let refused = plan(wider).forward(&forward).map(drop);
        assert_eq!(refused, Err(BindError::Element { operand: Operand::Output, expected: f32, actual: f16 }));
        let statistics = BackwardStatistics::Saved(BufferView::whole(BufferId { id: 1, size: 48 }));
        let backward = BackwardArgs::new(at(256, 0), at(256, 64), statistics).scale(at(256, 128));
        let refused = plan(wider).backward(&backward.grad_input(Destination::InPlace)).map(drop);
        assert_eq!(refused, Err(BindError::Element { operand: Operand::GradInput, expected: f32, actual: f16 }));
    }

    #[test]
    fn halves_begin_at_even_bytes_and_end_in_whole_words() {
        let operand = Operand::Input;
        assert_eq!(forward(|a| a.input = at(256, 2)), Ok(()));
        assert_eq!(forward(|a| a.input = at(256, 3)), Err(BindError::Offset { operand, offset: 3, align: 2 }));
        let alone = |size, offset| TensorView::at(BufferId { id: 3, size }, offset);
        assert_eq!(forward(|a| a.input = alone(32, 0)), Ok(()));
        assert_eq!(forward(|a| a.input = alone(32, 2)), Ok(()));
        assert_eq!(forward(|a| a.input = alone(34, 2)), Ok(()));
        for (size, offset) in [(30, 0), (34, 4)] {
            assert_eq!(
                forward(|a| a.input = alone(size, offset)),
                Err(BindError::HalfWord { operand, end: size, size })
            );
        }
        assert_eq!(forward(|a| a.input = alone(30, 2)), Err(BindError::OutOfBounds { operand, end: 32, size: 30 }));
    }

    #[test]
    fn two_that_are_written_share_no_word() {
        let shared = |first, second, word| Err(BindError::SharedWord { first, second, word });
        assert_eq!(backward(0, 32, 44), Ok(()));
        assert_eq!(backward(0, 30, 44), shared(Operand::GradInput, Operand::GradScale, 28));
        assert_eq!(backward(0, 32, 42), shared(Operand::GradScale, Operand::GradBias, 40));
        assert_eq!(backward(10, 0, 44), shared(Operand::GradInput, Operand::GradScale, 8));
        // what is read may: the input begins where the gradient to it ends, inside a word
        assert_eq!(backward(226, 0, 32), Ok(()));
        assert!(matches!(backward(228, 0, 32), Err(BindError::Overlap { .. })));
    }

    /// Dispatches forward and backward of a layer norm over rows of halves; what is written begins at `offset`.
    fn dispatches(shape: &[u64; 2], offset: u64) -> [usize; 2] {
        let facts = DeviceFacts { min_subgroup: 32, max_workgroup_size: 1024, ..DeviceFacts::DEFAULT };
        let descriptor = NormDescriptor {
            types: Types::all(Element::Bf16),
            ..NormDescriptor::new(NormKind::Layer { axes: 1..2 }, shape)
        };
        let plan = Planner::new(facts).plan(&descriptor).unwrap();
        let own = |id| BufferId { id, size: 1 << 20 };
        let view = |id| TensorView::at(own(id), 0);
        let statistics = BufferView::whole(BufferId { id: 8, size: 16 * shape[0] });
        let workspace = BufferView::whole(own(9));
        let args = ForwardArgs::new(view(0), TensorView::at(own(1), offset)).scale(view(2)).bias(view(3));
        let forward = plan.forward(&args.workspace(Some(workspace))).unwrap();
        let args = BackwardArgs::new(view(0), view(4), BackwardStatistics::Saved(statistics))
            .scale(view(2))
            .grad_input(TensorView::at(own(5), offset))
            .grad_scale(view(6))
            .grad_bias(view(7))
            .workspace(workspace);
        [forward, plan.backward(&args).unwrap()].map(|recipe| recipe.dispatches.len())
    }

    /// Rows that share words are held all the same, two by two, where two begin and end at words.
    #[test]
    fn odd_rows_of_halves_are_held_in_pairs() {
        let [even, apart] = [dispatches(&[48, 1022], 0), dispatches(&[48, 1022], 2)];
        assert!(even[0] < apart[0] && even[1] < apart[1], "{even:?} {apart:?}");
        assert_eq!(dispatches(&[48, 1023], 0), even);
        assert_eq!(dispatches(&[48, 1023], 2), apart);
        assert_eq!(dispatches(&[47, 1023], 0), apart);
    }

    /// (bytes from row to row, of a row of the first, start and bytes of a row of the second): whether they share a
    /// word.
    #[test]
    fn columns_share_words_where_rows_do() {
        let span = |operand, start, row, stride| {
            let bytes = start..start + 3 * stride + row;
            Span { operand, buffer: 0, bytes, rows: Some((row, stride)), written: true }
        };
        let cases = [
            ((32, 10, 12, 8), false),
            ((32, 10, 10, 8), true),
            ((32, 10, 12, 20), false),
            // every second row begins inside a word
            ((30, 10, 12, 8), false),
            ((30, 12, 12, 8), true),
            ((30, 10, 12, 18), true),
        ];
        for ((stride, row, start, other), shared) in cases {
            for offset in [0, 4 * stride] {
                let (a, b) =
                    (span(Operand::GradInput, offset, row, stride), span(Operand::GradStyle, start, other, stride));
                assert!(columns_apart(&a, &b), "{stride} {row} {start} {other}");
                let both = [check_words(&a, &b, true).is_err(), check_words(&b, &a, true).is_err()];
                assert_eq!(both, [shared; 2], "{stride} {row} {start} {other} {offset}");
            }
        }
    }
}
