//! Which kernel a dispatch needs: everything that changes the compiled code, and nothing else.

use std::fmt;

use super::surround::{After, Around};
use crate::element::Element;
use crate::moments::Accumulator;
use crate::operand::Operand;

/// The entry of a kernel: one WGSL file each, in `shaders/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    /// Normalize segments that are rows, held in registers.
    RowForward,
    /// Normalize segments that are columns, held in registers.
    TileForward,
    /// Reduce slices of segments that are long runs of memory.
    ReduceContiguous,
    /// Reduce slices of interleaved segments.
    ReduceStrided,
    /// Merge records of moments.
    MergeMoments,
    /// Normalize rows of one segment each.
    MapRows,
    /// Normalize rows of many segments.
    MapColumns,
    /// Normalize by words of the output.
    MapWords,
    /// Gradients of contiguous segments whose parameters belong to columns.
    RowBackward,
    /// Gradients of contiguous segments whose parameters belong to runs of elements.
    RunBackward,
    /// Gradient to the input by coefficients.
    MapBackward,
    /// Gradient to the input by coefficients, by words of it.
    MapWordsBackward,
    /// Merge partial sums of columns.
    MergeColumns,
    /// Merge partial gradient sums.
    MergeSums,
    /// Records to plain numbers.
    Export,
    /// Numbers to a list of another type.
    Narrow,
    /// Plain numbers to records.
    Import,
    /// Running statistics.
    Running,
    /// Count a batch.
    Count,
    /// Two affine maps to one.
    Compose,
    /// Gradients of a composed map to those of one of the two.
    Decompose,
    /// Scales of what is quantized.
    Scales,
    /// Numbers to bytes.
    Quantize,
}

impl Entry {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 23] = [
        Self::Scales,
        Self::Quantize,
        Self::Compose,
        Self::Decompose,
        Self::RowForward,
        Self::TileForward,
        Self::RowBackward,
        Self::RunBackward,
        Self::MapBackward,
        Self::MapWords,
        Self::MapWordsBackward,
        Self::Narrow,
        Self::MergeColumns,
        Self::MergeSums,
        Self::ReduceContiguous,
        Self::ReduceStrided,
        Self::MergeMoments,
        Self::MapRows,
        Self::MapColumns,
        Self::Export,
        Self::Import,
        Self::Running,
        Self::Count,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::RowForward => "row_forward",
            Self::TileForward => "tile_forward",
            Self::ReduceContiguous => "reduce_contiguous",
            Self::ReduceStrided => "reduce_strided",
            Self::MergeMoments => "merge_moments",
            Self::MapRows => "map_rows",
            Self::MapColumns => "map_columns",
            Self::MapWords => "map_words",
            Self::MapWordsBackward => "map_words_backward",
            Self::Narrow => "narrow",
            Self::RowBackward => "row_backward",
            Self::RunBackward => "run_backward",
            Self::MapBackward => "map_backward",
            Self::MergeColumns => "merge_columns",
            Self::MergeSums => "merge_sums",
            Self::Export => "export",
            Self::Import => "import",
            Self::Running => "running",
            Self::Count => "count",
            Self::Compose => "compose",
            Self::Decompose => "decompose",
            Self::Scales => "scales",
            Self::Quantize => "quantize",
        }
    }

    /// Its file in `shaders/`: segments that lanes hold have one for rows and tiles.
    #[cfg(test)]
    pub(crate) const fn file(self) -> &'static str {
        match self {
            Self::TileForward => "row_forward",
            Self::MergeMoments => "merge",
            other => other.name(),
        }
    }

    /// Whether the kernel's code depends on the accumulator.
    pub(crate) const fn accumulates(self) -> bool {
        !matches!(
            self,
            Self::Import
                | Self::Narrow
                | Self::Running
                | Self::Count
                | Self::MergeColumns
                | Self::Compose
                | Self::Decompose
                | Self::Scales
                | Self::Quantize
        )
    }

    /// Operands in the order of their bindings; `true`: written.
    pub(crate) const fn operands(self) -> &'static [(Operand, bool)] {
        use Operand::*;
        match self {
            Self::RowForward | Self::TileForward => &[
                (Input, false),
                (Scale, false),
                (Bias, false),
                (Output, true),
                (Moments, true),
                (Residual, false),
                (Z, false),
                (Gate, false),
                (PrologueBias, false),
                (Addend, false),
                (OutGate, false),
                (OutResidual, false),
                (Sum, true),
            ],
            Self::ReduceContiguous | Self::ReduceStrided => &[
                (Input, false),
                (GradOutput, false),
                (Moments, false),
                (Coefficients, false),
                (Scale, false),
                (Bias, false),
                (Partials, true),
                (Residual, false),
                (Z, false),
                (Gate, false),
                (PrologueBias, false),
            ],
            Self::MergeMoments => &[(Partials, false), (Records, true)],
            Self::MapRows | Self::MapColumns | Self::MapWords => &[
                (Input, false),
                (Partials, false),
                (Scale, false),
                (Bias, false),
                (Output, true),
                (Moments, true),
                (Residual, false),
                (Z, false),
                (Gate, false),
                (PrologueBias, false),
                (Addend, false),
                (OutGate, false),
                (OutResidual, false),
                (GradOutput, false),
                (Sum, true),
                (GradZ, true),
                (GradAddend, true),
                (Core, true),
            ],
            Self::MapWordsBackward => &[
                (Input, false),
                (GradOutput, false),
                (Coefficients, false),
                (Moments, false),
                (Scale, false),
                (Bias, false),
                (GradInput, true),
                (Arriving, false),
                (Z, false),
                (Gate, false),
                (Multiplied, false),
                (GradResidual, true),
                (GradZ, true),
            ],
            Self::Narrow => &[(Numbers, false), (Rounded, true)],
            Self::RowBackward => &[
                (Input, false),
                (GradOutput, false),
                (Moments, false),
                (Scale, false),
                (Bias, false),
                (GradInput, true),
                (ColumnSums, true),
                (GradScale, true),
                (GradBias, true),
                (Arriving, false),
                (Z, false),
                (Gate, false),
                (Multiplied, false),
                (GradResidual, true),
                (GradZ, true),
            ],
            Self::RunBackward => &[
                (Input, false),
                (GradOutput, false),
                (Moments, false),
                (Scale, false),
                (Bias, false),
                (GradInput, true),
                (Partials, true),
                (Arriving, false),
                (Z, false),
                (Gate, false),
                (Multiplied, false),
                (GradResidual, true),
                (GradZ, true),
            ],
            Self::MapBackward => &[
                (Input, false),
                (GradOutput, false),
                (Coefficients, false),
                (Moments, false),
                (Partials, false),
                (Scale, false),
                (Bias, false),
                (GradInput, true),
                (ColumnSums, true),
                (GradScale, true),
                (GradBias, true),
                (Arriving, false),
                (Z, false),
                (Gate, false),
                (Multiplied, false),
                (GradResidual, true),
                (GradZ, true),
            ],
            Self::MergeColumns => &[(ColumnSums, false), (GradScale, true), (GradBias, true)],
            Self::MergeSums => &[
                (Partials, false),
                (Moments, false),
                (Scale, false),
                (Coefficients, true),
                (Sums, true),
                (GradScale, true),
                (GradBias, true),
            ],
            Self::Export => &[(Moments, false), (Mean, true), (Spread, true)],
            Self::Import => &[(Mean, false), (Variance, false), (Records, true)],
            Self::Running => &[(Moments, false), (Batches, false), (Mean, true), (Variance, true)],
            Self::Count => &[(Moments, false), (Batches, true)],
            Self::Compose => &[
                (Scale, false),
                (Bias, false),
                (ModulationScale, false),
                (ModulationShift, false),
                (ComposedScale, true),
                (ComposedBias, true),
            ],
            Self::Scales => &[(Unquantized, false), (Operand::Scales, true)],
            Self::Quantize => &[(Unquantized, false), (Operand::Scales, false), (Quantized, true)],
            Self::Decompose => &[
                (ComposedScale, false),
                (ComposedBias, false),
                (Scale, false),
                (Bias, false),
                (ModulationScale, false),
                (Rounded, true),
            ],
        }
    }
}

/// What the records of a kernel are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// Values: statistics.
    Values,
    /// Gradients and normalized values: gradient sums.
    Gradients,
}

/// Most operands of a kernel.
pub(crate) const MAX_OPERANDS: usize = 18;

/// Most storage bindings of a kernel: what WebGPU's default limits allow.
pub(crate) const MAX_SLOTS: usize = 8;

/// What the elements of a binding are to a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    /// `array<f32>`.
    #[default]
    Floats,
    /// `array<vec4<f32>>`.
    Vectors,
    /// `array<vec2<u32>>`: vectors of 16-bit elements.
    WordPairs,
    /// `array<u32>`.
    Words,
}

/// One storage binding, to a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct SlotLayout {
    pub writes: bool,
    pub content: Content,
}

impl Content {
    /// Whether it is read and written by vectors.
    pub(crate) const fn is_vectors(self) -> bool {
        matches!(self, Self::Vectors | Self::WordPairs)
    }
}

/// Bindings of a kernel: where its operands are, and what each binding is. Operands of one buffer share a binding where
/// they overlap or could not be bound apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Layout {
    /// For each of the entry's operands the binding that holds it, counted from 0.
    pub slot_of: [Option<u8>; MAX_OPERANDS],
    pub slots: [SlotLayout; MAX_SLOTS],
    pub count: u8,
}

impl Layout {
    /// The bindings, in order.
    pub(crate) fn slots(&self) -> &[SlotLayout] {
        &self.slots[..usize::from(self.count)]
    }

    /// Whether each binding is written.
    pub(crate) fn writes(&self) -> impl Iterator<Item = bool> {
        self.slots.into_iter().take(self.count.into()).map(|slot| slot.writes)
    }
}

/// How lanes that share a row exchange what they have of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Exchange {
    /// They do not.
    None,
    /// Within a subgroup.
    Subgroup,
    /// Within subgroups, then through workgroup memory.
    Workgroup,
    /// Through workgroup memory: no subgroup operations.
    Memory,
}

impl Exchange {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Subgroup => "subgroup",
            Self::Workgroup => "workgroup",
            Self::Memory => "memory",
        }
    }
}

/// Named numbers that a kernel is compiled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Settings {
    values: [(&'static str, u32); MAX_SETTINGS],
    count: u8,
}

const MAX_SETTINGS: usize = 32;

impl Default for Settings {
    fn default() -> Self {
        // copied from one place, where the array's own default would be written out wherever it is called
        const NONE: Settings = Settings { values: [("", 0); MAX_SETTINGS], count: 0 };
        NONE
    }
}

impl Settings {
    /// With one more.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<u32>) -> Self {
        debug_assert!(self.get(name).is_none(), "{name} is set twice");
        self.values[usize::from(self.count)] = (name, value.into());
        self.count += 1;
        self
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.values.into_iter().take(self.count.into())
    }

    pub(crate) fn get(&self, name: &str) -> Option<u32> {
        self.iter().find_map(|(known, value)| (known == name).then_some(value))
    }
}

/// Everything that the source and the constants of a pipeline depend on.
///
/// Derived from partition shapes, accumulator, operands and types alone: equal work of different norms has equal
/// kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    pub(crate) entry: Entry,
    pub(crate) accumulator: Option<Accumulator>,
    pub(crate) source: Source,
    pub(crate) exchange: Exchange,
    pub(crate) layout: Layout,
    /// Of each of the entry's operands.
    pub(crate) elements: [Element; MAX_OPERANDS],
    /// What stands around the norm.
    pub(crate) around: Around,
    /// Rows of a tensor are padded.
    pub(crate) padded: bool,
    /// Neighbouring elements belong to neighbouring segments.
    pub(crate) across: bool,
    /// Sizes of arrays in registers: constants of the source.
    pub(crate) consts: Settings,
    /// Pipeline-overridable constants.
    pub(crate) overrides: Settings,
}

impl Kernel {
    /// The entry's operands, with the binding of those that are present.
    pub(crate) fn operands(&self) -> impl Iterator<Item = (Operand, Option<u8>)> + '_ {
        self.entry.operands().iter().zip(self.layout.slot_of).map(|(&(operand, _), slot)| (operand, slot))
    }

    /// Name and, where it is not f32, element type of an operand.
    fn named(&self, operand: Operand) -> String {
        let elements = self.entry.operands().iter().zip(self.elements);
        let other = elements.filter(|&(&(each, _), element)| each == operand && element != Element::F32);
        other.fold(operand.name().to_owned(), |name, (_, element)| format!("{name}:{element}"))
    }

    /// Whether it converts elements of a type: its operands', or what it rounds on the way.
    pub(crate) fn converts(&self, element: Element) -> bool {
        let rounded = [self.around.sum, self.around.normalized];
        self.elements.contains(&element) || rounded.contains(&element)
    }

    /// Whether an operand is bound.
    pub(crate) fn has(&self, operand: Operand) -> bool {
        self.operands().any(|(each, slot)| each == operand && slot.is_some())
    }

    /// The operands in a binding, counted from 0.
    pub(crate) fn operands_in(&self, slot: usize) -> impl Iterator<Item = Operand> + '_ {
        let here = move |s: Option<u8>| s.is_some_and(|s| usize::from(s) == slot);
        self.operands().filter(move |&(_, s)| here(s)).map(|(operand, _)| operand)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.entry.name())?;
        if let Some(accumulator) = self.accumulator {
            write!(f, ".{}", accumulator.name())?;
        }
        if self.source == Source::Gradients {
            f.write_str(".gradients")?;
        }
        // the bindings: operands that share one are joined
        for (slot, layout) in self.layout.slots().iter().enumerate() {
            let names: Vec<_> = self.operands_in(slot).map(|operand| self.named(operand)).collect();
            let access = if layout.writes { "!" } else { "" };
            let content = if layout.content.is_vectors() { "4" } else { "" };
            write!(f, "{}{}{content}{access}", if slot == 0 { "." } else { "-" }, names.join("+"))?;
        }
        for (element, word) in [(self.around.sum, "sum"), (self.around.normalized, "normalized")] {
            if element != Element::F32 {
                write!(f, ".{word}:{element}")?;
            }
        }
        let (delta, one_plus) = (self.around.after == After::Delta, self.around.one_plus);
        for (set, word) in
            [(delta, ".delta"), (one_plus, ".one_plus"), (self.padded, ".padded"), (self.across, ".across")]
        {
            f.write_str(if set { word } else { "" })?;
        }
        if self.exchange != Exchange::None {
            write!(f, ".{}", self.exchange.name())?;
        }
        for (name, value) in self.consts.iter().chain(self.overrides.iter()).filter(|&(_, value)| value != 0) {
            write!(f, ".{}", name.to_ascii_lowercase())?;
            if value != 1 {
                write!(f, "{value}")?;
            }
        }
        Ok(())
    }
}
