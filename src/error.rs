//! Errors, one enum a phase. Each carries the numbers that explain it.

use crate::descriptor::MemoryFormat;
use crate::element::Element;
use crate::operand::Operand;

/// Why a descriptor cannot be planned. Returned by [`NormEngine::create_norm`] before anything exists.
///
/// [`NormEngine::create_norm`]: crate::NormEngine::create_norm
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// More axes than supported.
    #[error("rank {rank} is more than {max}")]
    RankTooHigh {
        /// Number of axes given.
        rank: usize,
        /// Largest rank.
        max: usize,
    },
    /// Too few axes for this kind of norm.
    #[error("{kind} norm needs a tensor of rank {min} or more, got rank {rank}")]
    RankTooLow {
        /// Kind of norm.
        kind: &'static str,
        /// Number of axes given.
        rank: usize,
        /// Smallest rank of the kind.
        min: usize,
    },
    /// The number of elements or bytes exceeds what can be addressed.
    #[error("shape {shape:?} has more elements than can be addressed")]
    ShapeOverflows {
        /// The shape given.
        shape: Vec<u64>,
    },
    /// Groups do not divide the channels, or are zero.
    #[error("{groups} groups do not divide {channels} channels")]
    GroupsDoNotDivideChannels {
        /// Groups given.
        groups: u64,
        /// Channels of the shape.
        channels: u64,
    },
    /// An axis range or set that is empty, out of order, or outside the shape.
    #[error(
        "axes {axes:?} of a tensor of rank {rank}: name one or more, each once, in ascending order{}",
        last_axis(*rank)
    )]
    AxesOutOfRange {
        /// Axes given.
        axes: Vec<usize>,
        /// Rank of the shape.
        rank: usize,
    },
    /// The axes interleave too often to be walked as four nested loops.
    #[error(
        "keeping axes {kept:?} of shape {shape:?} interleaves kept and reduced axes too often: at most kept, reduced, \
         kept, reduced from the outermost on; put the axes in the order {:?}, which works for any set",
        kept_first(kept, shape.len())
    )]
    AxesInterleave {
        /// Axes that are kept, of the shape in `shape`.
        kept: Vec<usize>,
        /// Shape (groups split off their channels).
        shape: Vec<u64>,
    },
    /// `normalized_shape` is not the end of the shape.
    #[error("normalized shape {normalized:?} is not the end of shape {shape:?}")]
    NormalizedShape {
        /// Normalized shape given.
        normalized: Vec<u64>,
        /// Shape of the tensor.
        shape: Vec<u64>,
    },
    /// eps is negative, NaN or infinite.
    #[error("eps must be a finite number not below 0, got {eps}")]
    Epsilon {
        /// eps given.
        eps: f32,
    },
    /// eps inside the root of an Lp norm.
    #[error("an Lp norm takes eps as a minimum of the norm or added to it, not inside its root (eps {eps})")]
    EpsilonInsideNorm {
        /// eps given.
        eps: f32,
    },
    /// The order of an Lp norm is not a number.
    #[error("p must be a number or infinite, got {p}")]
    NormOrder {
        /// p given.
        p: f32,
    },
    /// The style of an adaptive norm does not fit the content.
    #[error(
        "style shape {style:?} does not fit content shape {content:?} ({format:?}): rank and channels must agree, the batch agree or be 1"
    )]
    StyleShape {
        /// Shape of the style.
        style: Vec<u64>,
        /// Shape of the content.
        content: Vec<u64>,
        /// Memory format of both.
        format: MemoryFormat,
    },
    /// One scale a group was asked of a norm without groups.
    #[error("one scale per group needs a group norm, not {kind}")]
    GroupScale {
        /// Kind of norm.
        kind: &'static str,
    },
    /// A tensor z in the prologue and another in the epilogue.
    #[error("an activation of z is a factor in the prologue or in the epilogue, not in both")]
    TwoGates,
    /// 1 is added to a scale that the norm does not have.
    #[error("1 is added to the scale, and the norm has none: NormDescriptor::affine with a scale")]
    NoScale,
    /// A factor or a slope that is no number.
    #[error("factors and slopes must be finite, got {number}")]
    NotFinite {
        /// The number given.
        number: f32,
    },
    /// The least scale of a quantization is not above 0.
    #[error("the least scale of a quantization must be a finite number above 0, got {least}")]
    LeastScale {
        /// The number given.
        least: f32,
    },
    /// Blocks of no column that share a scale.
    #[error("blocks of columns that share a scale need a column or more, got 0")]
    EmptyBlocks,
    /// Two maps whose parameters vary along axes of which neither hold the other's.
    #[error(
        "parameters that vary along axes {first:?} and others along axes {second:?} are applied one after the other: \
         the axes of one must hold those of the other"
    )]
    Unrelated {
        /// Axes of the first.
        first: Vec<usize>,
        /// Axes of the second.
        second: Vec<usize>,
    },
    /// Statistics over no element, where the norm needs some.
    #[error("{kind} norm over shape {shape:?} has no element in a segment")]
    EmptySegments {
        /// Kind of norm.
        kind: &'static str,
        /// Shape of the tensor.
        shape: Vec<u64>,
    },
}

/// What a list of axes may name at most.
pub(crate) fn last_axis(rank: usize) -> String {
    rank.checked_sub(1).map_or_else(|| ", and it has none".to_owned(), |last| format!(", {last} at most"))
}

/// The axes of a tensor, those that are kept before the others.
fn kept_first(kept: &[usize], rank: usize) -> Vec<usize> {
    kept.iter().copied().chain((0..rank).filter(|axis| !kept.contains(axis))).collect()
}

/// Why buffers cannot be bound to a norm. Nothing has been recorded or written when it is returned.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// A view has another number of elements than the shape.
    #[error("{operand} has {actual} elements, the norm needs {expected}")]
    Length {
        /// Which operand.
        operand: Operand,
        /// Elements needed.
        expected: u64,
        /// Elements in the view.
        actual: u64,
    },
    /// A range of bytes is smaller than needed.
    #[error("{operand} has {actual} bytes, the norm needs {expected}")]
    Size {
        /// Which operand.
        operand: Operand,
        /// Bytes needed.
        expected: u64,
        /// Bytes in the view.
        actual: u64,
    },
    /// A view ends behind the end of its buffer.
    #[error("{operand} ends at byte {end} of a buffer of {size} bytes")]
    OutOfBounds {
        /// Which operand.
        operand: Operand,
        /// First byte behind the view.
        end: u64,
        /// Size of the buffer.
        size: u64,
    },
    /// An offset is no multiple of what its type needs.
    #[error("{operand} starts at byte {offset}, no multiple of {align}")]
    Offset {
        /// Which operand.
        operand: Operand,
        /// Offset given.
        offset: u64,
        /// What it must be a multiple of.
        align: u64,
    },
    /// A view is taken for another type than the norm has.
    #[error("{operand} is taken for {actual}, the norm has it as {expected} (NormDescriptor::types)")]
    Element {
        /// Which operand.
        operand: Operand,
        /// Type in the norm.
        expected: Element,
        /// Type of the view.
        actual: Element,
    },
    /// A 16-bit tensor ends in the middle of a word whose other half is not there.
    #[error(
        "{operand} ends at byte {end}, in the middle of a word, and its buffer has {size} bytes: kernels read whole \
         words, give the buffer two bytes more"
    )]
    HalfWord {
        /// Which operand.
        operand: Operand,
        /// First byte behind it.
        end: u64,
        /// Bytes of the buffer.
        size: u64,
    },
    /// Two operands that are written have halves of one word.
    #[error(
        "{first} and {second} are both written and share the word at byte {word} of one buffer: begin one of them four \
         bytes or more behind the other"
    )]
    SharedWord {
        /// One operand.
        first: Operand,
        /// The other.
        second: Operand,
        /// First byte of the word.
        word: u64,
    },
    /// A row stride is shorter than the row.
    #[error("{operand} has a row stride of {stride} elements, rows have {row}")]
    RowStride {
        /// Which operand.
        operand: Operand,
        /// Stride given.
        stride: u64,
        /// Elements of a row.
        row: u64,
    },
    /// A stride on an axis that the operand does not have.
    #[error("{operand} has a stride on axis {axis}, it has {rank} axes that may have one")]
    StrideAxis {
        /// Which operand.
        operand: Operand,
        /// Axis given.
        axis: usize,
        /// Number of axes; 0 for lists.
        rank: usize,
    },
    /// Two tensors that are strided on different axes.
    #[error(
        "{first} has rows of {} elements and {second} of {}: strides of one call are those of one axis, copy one of them",
        rows[0],
        rows[1]
    )]
    Strides {
        /// One operand.
        first: Operand,
        /// The other.
        second: Operand,
        /// Elements of their rows.
        rows: [u64; 2],
    },
    /// Two operands, one of which is written, share bytes.
    #[error(
        "{first} and {second} overlap in one buffer (bytes {start}..{end}); declare in-place work with Destination::InPlace"
    )]
    Overlap {
        /// One operand.
        first: Operand,
        /// The other.
        second: Operand,
        /// First shared byte.
        start: u64,
        /// First byte behind the shared range.
        end: u64,
    },
    /// A buffer cannot be bound as storage.
    #[error("the buffer of {operand} was made without BufferUsages::STORAGE")]
    Usage {
        /// Which operand.
        operand: Operand,
    },
    /// An operation of which no result is wanted.
    #[error("{operation} has nothing to write: no result has a view")]
    NothingWanted {
        /// The operation.
        operation: &'static str,
    },
    /// An operand that the norm needs is absent.
    #[error("{operand} is missing")]
    Missing {
        /// Which operand.
        operand: Operand,
    },
    /// An operand that the norm does not use was given.
    #[error("{operand} was given, but this norm does not use it")]
    Unexpected {
        /// Which operand.
        operand: Operand,
    },
    /// Statistics of one element a segment, asked of a norm that refuses them.
    #[error(
        "{kind} norm computes statistics of one element a segment (shape {shape:?}): SingleElement::Allow takes them"
    )]
    SingleElement {
        /// Kind of norm.
        kind: &'static str,
        /// Shape of the tensor.
        shape: Vec<u64>,
    },
    /// Batch statistics in training need an eps above zero.
    #[error("batch norm in training needs eps above 0, got {eps}")]
    TrainingEpsilon {
        /// eps of the norm.
        eps: f32,
    },
    /// Momentum is outside 0..=1 or NaN.
    #[error("momentum must be within 0..=1, got {momentum}")]
    Momentum {
        /// Momentum given.
        momentum: f32,
    },
    /// Training with no power iteration, or with more than a recipe may have.
    #[error("training takes 1 to {max} power iterations, got {count}")]
    PowerIterations {
        /// How many were asked for.
        count: u32,
        /// Most of them.
        max: u32,
    },
    /// This kind of norm has no such operation.
    #[error("{kind} norm has no {operation}")]
    NoSuchOperation {
        /// Kind of norm.
        kind: &'static str,
        /// What was asked.
        operation: &'static str,
    },
    /// The device's limit is too low for this kernel.
    #[error("{operation} needs {limit} of {needed}, the device has {available}")]
    Limit {
        /// What needs it.
        operation: &'static str,
        /// Name of the limit in `wgpu::Limits`.
        limit: &'static str,
        /// Value needed.
        needed: u64,
        /// Value of the device.
        available: u64,
    },
    /// The device refused the bindings: it is lost, or out of memory.
    #[error("the device refused the bindings: {message}")]
    Device {
        /// wgpu's words.
        message: String,
    },
    /// The device has no room for a workspace.
    #[error("the device refused a workspace of {size} bytes: {message}")]
    NoWorkspace {
        /// Bytes of the workspace.
        size: u64,
        /// wgpu's words.
        message: String,
    },
    /// The device refused a kernel.
    #[error("the device refused kernel {kernel}: {message}")]
    Pipeline {
        /// The kernel.
        kernel: String,
        /// wgpu's words.
        message: String,
    },
}

/// Why an engine cannot work on a device.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The device's limit is too low for any kernel.
    #[error("the engine needs {limit} of {needed}, the device has {available}")]
    Limit {
        /// Name of the limit in `wgpu::Limits`.
        limit: &'static str,
        /// Value needed.
        needed: u64,
        /// Value of the device.
        available: u64,
    },
}

/// Why a buffer could not be read back.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Mapping failed: the buffer's usage, or a lost device.
    #[error("the buffer could not be mapped: {message}")]
    Map {
        /// wgpu's words.
        message: String,
    },
    /// The device did not finish: it is lost or hangs.
    #[error("the device did not finish its work: {message}")]
    Device {
        /// wgpu's words.
        message: String,
    },
}
