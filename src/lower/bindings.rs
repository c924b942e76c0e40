//! Operands to bindings: which range of which buffer each dispatch binds, and which operands share a binding.

use std::ops::Range;

use crate::element::{Element, WORD};
use crate::kernel::{BROADCAST, Content, Entry, Layout, MAX_OPERANDS, MAX_SLOTS, SlotLayout, is_tensor};
use crate::operand::Operand;
pub(crate) use crate::walk::window::{Needed, Unbindable};

/// A range of bytes that a dispatch touches, in one of the caller's buffers (named by its place in a table).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Access {
    pub operand: Operand,
    pub element: Element,
    pub buffer: usize,
    pub bytes: Range<u64>,
    /// Elements of a row and distance between rows, where rows are padded.
    pub rows: Option<(u64, u64)>,
}

/// What of a device's limits bounds a binding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BindingLimits {
    pub max_bytes: u64,
    pub max_slots: u32,
    pub align: u64,
}

/// One storage binding.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slot {
    pub buffer: usize,
    pub bytes: Range<u64>,
}

/// Bindings of a dispatch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bindings {
    pub layout: Layout,
    pub slots: Vec<Slot>,
    /// Where each operand of the entry starts in its binding, in elements (of records: in words).
    pub offsets: [u32; MAX_OPERANDS],
    pub elements: [Element; MAX_OPERANDS],
    /// Place of the first element in a vector of its binding, where runs may start inside a vector.
    pub phase: u32,
    pub leads: bool,
}

/// How a dispatch walks its operands: what decides which bindings can be read by 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct VectorWalk {
    /// Every run starts at a multiple of this, in elements.
    pub unit: u64,
    pub heads: Heads,
    /// Scale and bias are walked like the tensors.
    pub along: bool,
    /// So are their gradients: a lane writes whole vectors of them. A component of a vector must have its writer alone.
    pub gradients: bool,
}

impl VectorWalk {
    /// Of kernels that write no gradients of parameters by vectors.
    pub(crate) const fn new(unit: u64, heads: Heads, along: bool) -> Self {
        Self { unit, heads, along, gradients: false }
    }
}

/// Whether runs may start inside a vector: its elements before the run are loaded, but not taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Heads {
    Never,
    /// Where that lets what is read be read by vectors.
    Read,
    /// Always: vectors are those of what is written, whose words runs share.
    Written,
}

/// Binds the operands of one dispatch.
///
/// wgpu counts usage by buffer: where one operand of a buffer is written, all are bound for writing, and two bindings
/// of it must not overlap once their starts are aligned. So operands of one buffer share a binding wherever it is long
/// enough for them.
pub(crate) fn bind(
    entry: Entry,
    accesses: &[Access],
    limits: &BindingLimits,
    walk: Option<VectorWalk>,
    sizes: &[u64],
) -> Result<Bindings, Unbindable> {
    let mut slots: Vec<Slot> = Vec::new();
    let mut slot_of = [None; MAX_OPERANDS];
    for (position, &(operand, _)) in entry.operands().iter().enumerate() {
        let Some(access) = accesses.iter().find(|a| a.operand == operand) else { continue };
        slot_of[position] = Some(place(&mut slots, access, limits)?);
    }
    let written = |buffer: usize| {
        let writes = |&&(operand, written): &&(Operand, bool)| {
            written && accesses.iter().any(|a| a.operand == operand && a.buffer == buffer)
        };
        entry.operands().iter().find(writes).is_some()
    };
    if slots.len() > MAX_SLOTS.min(limits.max_slots as usize) {
        return Err(Needed::Bindings(slots.len() as u32).into());
    }
    let mut layout = Layout { slot_of, slots: [SlotLayout::default(); MAX_SLOTS], count: slots.len() as u8 };
    for (k, slot) in slots.iter().enumerate() {
        if written(slot.buffer) {
            layout.slots[k].writes = true;
            let clash = slots[..k].iter().find(|s| s.buffer == slot.buffer && overlaps(&s.bytes, &slot.bytes));
            if let Some(other) = clash {
                let end = slot.bytes.end.max(other.bytes.end);
                return Err(Needed::Bytes(end - slot.bytes.start.min(other.bytes.start)).into());
            }
        }
    }
    let mut offsets = [0; MAX_OPERANDS];
    let mut elements = [Element::F32; MAX_OPERANDS];
    for (position, &(operand, _)) in entry.operands().iter().enumerate() {
        let Some(access) = accesses.iter().find(|a| a.operand == operand) else { continue };
        let Some(slot) = slot_of[position].map(usize::from) else { continue };
        offsets[position] = ((access.bytes.start - slots[slot].bytes.start) / access.element.bytes()) as u32;
        elements[position] = access.element;
        if matches!(operand, Operand::Batches | Operand::Quantized) || access.element != Element::F32 {
            layout.slots[slot].content = Content::Words;
        }
    }
    let mut bindings = Bindings { layout, slots, offsets, elements, phase: 0, leads: false };
    widen(entry, &mut bindings, walk, limits, sizes);
    Ok(bindings)
}

/// Reads and writes by 16 bytes wherever every operand of a binding allows it.
fn widen(entry: Entry, bindings: &mut Bindings, walk: Option<VectorWalk>, limits: &BindingLimits, sizes: &[u64]) {
    let slot_of = bindings.layout.slot_of;
    let heads = walk.map_or(Heads::Never, |walk| walk.heads);
    let order = match heads {
        Heads::Written => [Operand::Output, Operand::GradInput, Operand::Input, Operand::GradOutput],
        _ => [Operand::Input, Operand::GradOutput, Operand::Output, Operand::GradInput],
    };
    let reference = order.into_iter().find_map(|operand| {
        let position = entry.operands().iter().position(|&(o, _)| o == operand)?;
        Some((bindings.offsets[position] % 4, slot_of[position]?))
    });
    let phase = reference.map_or(0, |(phase, _)| phase);
    let aligned = phase == 0 && walk.is_some_and(|walk| walk.unit.is_multiple_of(4));
    // parameters beside tensors that are no vectors may still be asked for by four
    let one_by_one = walk.map_or(reference.is_none(), |walk| !walk.along);
    let elements = bindings.elements;
    let here = |k: usize| (0..entry.operands().len()).filter(move |&at| slot_of[at] == Some(k as u8));
    let element_of = |k: usize| here(k).map(|at| elements[at]).next().unwrap_or_default();
    let by_vectors = |k: usize, leads: bool| {
        let slot = &bindings.slots[k];
        let end = slot.bytes.end.next_multiple_of(4 * element_of(k).bytes());
        let alike = here(k).all(|at| elements[at] == element_of(k));
        let size = sizes.get(slot.buffer).copied().unwrap_or(0);
        let mut operands = entry.operands().iter().enumerate().filter(|&(at, _)| slot_of[at] == Some(k as u8));
        // parameters that are read one by one, alone in a binding
        let list = |operand: Operand| matches!(operand, Operand::Scale | Operand::Bias);
        let lists = !walk.is_some_and(|walk| walk.along) && operands.clone().all(|(_, &(operand, _))| list(operand));
        !lists
            && alike
            && end <= size
            && end - slot.bytes.start <= limits.max_bytes
            && operands.all(|(at, &(operand, written))| {
                let offset = bindings.offsets[at] % 4;
                match operand {
                    _ if is_tensor(operand) && !written => offset == phase && (aligned || leads),
                    _ if is_tensor(operand) => offset == 0 && aligned,
                    // over partitions of their own: one by one
                    _ if BROADCAST.contains(&operand) => false,
                    // of columns, as vectors of them
                    Operand::GradScale | Operand::GradBias => {
                        elements[at] == Element::F32
                            && offset == 0
                            && aligned
                            && walk.is_some_and(|walk| walk.gradients)
                    }
                    Operand::ColumnSums => {
                        offset == 0 && (!written || walk.is_some_and(|walk| walk.unit.is_multiple_of(4)))
                    }
                    // read one by one from any place, or as the tensors are
                    Operand::Scale | Operand::Bias => one_by_one || offset == 0 && aligned,
                    _ => {
                        let plain =
                            elements[at] == Element::F32 && !matches!(operand, Operand::Batches | Operand::Quantized);
                        plain && (!written || operand.is_record()) && offset == 0
                    }
                }
            })
    };
    // halves of words are not written: vectors of an output of 16 bits begin at words
    let halves = |at: usize, written: bool| written && elements[at].grain() > 1 && slot_of[at].is_some();
    let mut written = entry.operands().iter().enumerate().filter(|&(at, &(_, written))| halves(at, written));
    let whole = written.all(|(at, _)| (bindings.offsets[at] + phase).is_multiple_of(2));
    // runs of whole vectors have no room for another
    let wanted = whole && walk.is_some_and(|walk| walk.heads == Heads::Read && !walk.unit.is_multiple_of(4));
    let by_heads = wanted && reference.is_some_and(|(_, slot)| by_vectors(slot.into(), true));
    let leads = by_heads || heads == Heads::Written;
    let vectors: Vec<bool> = (0..bindings.slots.len()).map(|k| by_vectors(k, leads)).collect();
    bindings.leads = leads;
    bindings.phase = if leads { phase } else { 0 };
    for (k, slot) in bindings.slots.iter_mut().enumerate().filter(|&(k, _)| vectors[k]) {
        let element = element_of(k);
        bindings.layout.slots[k].content = if element == Element::F32 { Content::Vectors } else { Content::WordPairs };
        slot.bytes.end = slot.bytes.end.next_multiple_of(4 * element.bytes());
    }
}

/// The slot of an access: one of its buffer that stays short enough with it, or a new one.
fn place(slots: &mut Vec<Slot>, access: &Access, limits: &BindingLimits) -> Result<u8, Unbindable> {
    let start = access.bytes.start / limits.align * limits.align;
    let bytes = start..access.bytes.end.next_multiple_of(WORD);
    if bytes.end - bytes.start > limits.max_bytes {
        return Err(Needed::Bytes(bytes.end - bytes.start).into());
    }
    for (k, slot) in slots.iter_mut().enumerate().filter(|(_, slot)| slot.buffer == access.buffer) {
        let union = slot.bytes.start.min(bytes.start)..slot.bytes.end.max(bytes.end);
        if union.end - union.start <= limits.max_bytes {
            slot.bytes = union;
            return Ok(k as u8);
        }
    }
    slots.push(Slot { buffer: access.buffer, bytes });
    Ok(slots.len() as u8 - 1)
}

fn overlaps(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BindingLimits = BindingLimits { max_bytes: 4096, max_slots: 8, align: 256 };

    fn access(operand: Operand, buffer: usize, bytes: Range<u64>) -> Access {
        Access { operand, element: Element::F32, buffer, bytes, rows: None }
    }

    /// The bindings that are written.
    fn writes(bound: &Bindings) -> Vec<bool> {
        bound.layout.writes().collect()
    }

    /// The bindings that are seen as vectors.
    fn vectors(bound: &Bindings) -> Vec<bool> {
        bound.layout.slots().iter().map(|slot| slot.content.is_vectors()).collect()
    }

    #[test]
    fn separate_buffers_have_a_binding_each() {
        let accesses = [access(Operand::Input, 0, 260..300), access(Operand::Output, 1, 0..40)];
        let bound = bind(Entry::RowForward, &accesses, &LIMITS, None, &[]).unwrap();
        assert_eq!(bound.slots.iter().map(|s| s.bytes.clone()).collect::<Vec<_>>(), [256..300, 0..40]);
        assert_eq!(bound.layout.slot_of[..5], [Some(0), None, None, Some(1), None]);
        assert_eq!((writes(&bound), bound.offsets[0], bound.offsets[3]), (vec![false, true], 1, 0));
    }

    #[test]
    fn an_arena_is_one_binding_bound_for_writing() {
        let accesses = [
            access(Operand::Input, 0, 4..44),
            access(Operand::Scale, 0, 1000..1040),
            access(Operand::Output, 0, 44..84),
        ];
        let bound = bind(Entry::RowForward, &accesses, &LIMITS, None, &[]).unwrap();
        assert_eq!(bound.slots, [Slot { buffer: 0, bytes: 0..1040 }]);
        assert_eq!((writes(&bound), &bound.offsets[..4]), (vec![true], [1, 250, 0, 11].as_slice()));
    }

    #[test]
    fn far_ranges_of_an_arena_are_bound_apart_and_near_ones_refused() {
        let far = [access(Operand::Input, 0, 0..4000), access(Operand::Output, 0, 8192..12192)];
        assert_eq!(writes(&bind(Entry::RowForward, &far, &LIMITS, None, &[]).unwrap()), [true, true]);
        // the output starts in the 256 bytes where the input ends, and both together are too long for a binding
        let near = [access(Operand::Input, 0, 0..3900), access(Operand::Output, 0, 3900..7900)];
        assert_eq!(bind(Entry::RowForward, &near, &LIMITS, None, &[]), Err(Needed::Bytes(7900).into()));
        let long = [access(Operand::Input, 0, 0..5000)];
        assert_eq!(bind(Entry::RowForward, &long, &LIMITS, None, &[]), Err(Needed::Bytes(5000).into()));
    }

    #[test]
    fn too_many_bindings_are_refused() {
        let limits = BindingLimits { max_slots: 1, ..LIMITS };
        let accesses = [access(Operand::Input, 0, 0..40), access(Operand::Output, 1, 0..40)];
        assert_eq!(bind(Entry::RowForward, &accesses, &limits, None, &[]), Err(Needed::Bindings(2).into()));
    }

    /// (offset of input, of output, unit of the runs, sizes of the buffers) to (bindings by 16 bytes, phase, leads).
    #[test]
    fn bindings_are_read_by_vectors_where_all_of_their_operands_allow_it() {
        let cases = [
            ("aligned", 0, 0, 8, [64, 64], ([true, true], 0, false)),
            ("odd rows: written one by one", 0, 0, 7, [64, 64], ([true, false], 0, true)),
            ("an odd start of odd rows", 4, 0, 7, [64, 64], ([true, false], 1, true)),
            ("an odd start: whole vectors would need one more", 4, 0, 8, [64, 64], ([false, false], 0, false)),
            ("an odd start of the output", 0, 4, 8, [64, 64], ([true, false], 0, false)),
            ("the last vector is not there", 4, 0, 7, [44, 64], ([false, false], 0, false)),
        ];
        for (name, input, output, unit, sizes, expected) in cases {
            let accesses =
                [access(Operand::Input, 0, input..input + 40), access(Operand::Output, 1, output..output + 40)];
            let walk = VectorWalk::new(unit, Heads::Read, false);
            let bound = bind(Entry::RowForward, &accesses, &LIMITS, Some(walk), &sizes).unwrap();
            let (by_vectors, phase, leads) = expected;
            assert_eq!((vectors(&bound), bound.phase, bound.leads), (by_vectors.to_vec(), phase, leads), "{name}");
        }
    }

    /// An operand of halves.
    fn halves(operand: Operand, buffer: usize, bytes: Range<u64>) -> Access {
        Access { element: Element::F16, ..access(operand, buffer, bytes) }
    }

    fn contents(bound: &Bindings) -> Vec<Content> {
        bound.layout.slots().iter().map(|slot| slot.content).collect()
    }

    /// Of 20 halves each: (offset of input, of output, unit of the runs, sizes of the buffers) to (contents, phase,
    /// leads).
    #[test]
    fn halves_are_read_by_pairs_of_words_where_all_of_their_operands_allow_it() {
        use Content::{WordPairs, Words};
        let cases = [
            ("aligned", 0, 0, 8, [64, 64], ([WordPairs, WordPairs], 0, false)),
            ("odd rows: written by words", 0, 0, 7, [64, 64], ([WordPairs, Words], 0, true)),
            ("a start inside a vector of odd rows", 4, 0, 7, [64, 64], ([WordPairs, Words], 2, true)),
            // a vector that begins inside a word of the input would begin inside one of the output
            ("a start inside a word", 2, 0, 7, [64, 64], ([Words, Words], 0, false)),
            ("both start inside a word", 2, 2, 7, [64, 64], ([WordPairs, Words], 1, true)),
            ("a start inside a word of whole vectors", 2, 0, 8, [64, 64], ([Words, Words], 0, false)),
            ("an odd start of the output", 0, 4, 8, [64, 64], ([WordPairs, Words], 0, false)),
            ("the last vector is not there", 4, 0, 7, [44, 64], ([Words, Words], 0, false)),
            ("the last vector ends with the buffer", 0, 0, 8, [40, 40], ([WordPairs, WordPairs], 0, false)),
        ];
        for (name, input, output, unit, sizes, expected) in cases {
            let accesses =
                [halves(Operand::Input, 0, input..input + 40), halves(Operand::Output, 1, output..output + 40)];
            let walk = VectorWalk::new(unit, Heads::Read, false);
            let bound = bind(Entry::RowForward, &accesses, &LIMITS, Some(walk), &sizes).unwrap();
            let (content, phase, leads) = expected;
            assert_eq!((contents(&bound), bound.phase, bound.leads), (content.to_vec(), phase, leads), "{name}");
        }
    }

    /// As above, with phase and contents by the output.
    #[test]
    fn runs_that_share_words_have_the_vectors_of_what_is_written() {
        use Content::{WordPairs, Words};
        for (input, output, expected) in [
            (0, 0, ([WordPairs, Words], 0)),
            (6, 6, ([WordPairs, Words], 3)),
            (0, 2, ([Words, Words], 1)),
            (2, 0, ([Words, Words], 0)),
        ] {
            let accesses =
                [halves(Operand::Input, 0, input..input + 40), halves(Operand::Output, 1, output..output + 40)];
            let walk = VectorWalk::new(5, Heads::Written, false);
            let bound = bind(Entry::MapRows, &accesses, &LIMITS, Some(walk), &[64, 64]).unwrap();
            assert!(bound.leads);
            assert_eq!((contents(&bound), bound.phase), (expected.0.to_vec(), expected.1), "{input} {output}");
        }
    }

    /// Lanes that write single elements would touch their neighbours' in vectors.
    #[test]
    fn gradients_of_parameters_are_vectors_where_lanes_write_such() {
        for (start, unit, gradients, expected) in
            [(0, 8, true, true), (0, 8, false, false), (4, 8, true, false), (0, 7, true, false)]
        {
            let accesses = [
                access(Operand::GradOutput, 0, 0..32),
                access(Operand::GradInput, 1, 0..32),
                access(Operand::GradScale, 2, start..start + 32),
            ];
            let walk = VectorWalk { unit, heads: Heads::Never, along: true, gradients };
            let bound = bind(Entry::MapBackward, &accesses, &LIMITS, Some(walk), &[64, 64, 64]).unwrap();
            assert_eq!(vectors(&bound).last(), Some(&expected), "{start} {unit} {gradients}");
        }
    }

    #[test]
    fn an_arena_of_several_types_is_words() {
        let walk = Some(VectorWalk::new(8, Heads::Never, true));
        let of = |scale: Access| {
            let accesses = [halves(Operand::Input, 0, 0..40), scale, halves(Operand::Output, 0, 128..168)];
            bind(Entry::RowForward, &accesses, &LIMITS, walk, &[4096]).unwrap()
        };
        let (mixed, alike) = (of(access(Operand::Scale, 0, 64..96)), of(halves(Operand::Scale, 0, 64..80)));
        assert_eq!((contents(&mixed), contents(&alike)), (vec![Content::Words], vec![Content::WordPairs]));
        // each operand has its place in elements of its own type
        assert_eq!((&mixed.offsets[..2], &alike.offsets[..2]), ([0, 16].as_slice(), [0, 32].as_slice()));
        assert_eq!(mixed.elements[..2], [Element::F16, Element::F32]);
        // bytes are whole words, also of what ends inside one
        let odd = [halves(Operand::Input, 0, 2..40), halves(Operand::Output, 1, 2..44)];
        let bound = bind(Entry::RowForward, &odd, &LIMITS, None, &[64, 64]).unwrap();
        assert_eq!(bound.slots.iter().map(|s| s.bytes.clone()).collect::<Vec<_>>(), [0..40, 0..44]);
        assert_eq!((bound.offsets[0], contents(&bound)), (1, vec![Content::Words; 2]));
    }
}
