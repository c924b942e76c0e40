//! Which kernel a dispatch needs: everything that changes the compiled code, and nothing else.

use std::fmt;

use crate::element::Element;
use crate::moments::{Accumulator, Spread};
use crate::operand::Operand;
use crate::walk::team::{Found, Lookup, Team};

/// The entry of a kernel: one WGSL file each, in `shaders/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    /// Normalize whole segments in one dispatch.
    Fused,
    /// Reduce slices along memory.
    ReduceRows,
    /// Reduce interleaved segments.
    ReduceColumns,
    /// Merge partial records.
    Merge,
    /// Normalize by records.
    Apply,
    /// Gradients of whole contiguous segments.
    FusedRowsBackward,
    /// Gradient to the input by sums.
    ApplyBackward,
    /// Records to plain numbers.
    Export,
    /// Plain numbers to records.
    Import,
    /// Running statistics.
    Running,
    /// Count a batch.
    Count,
}

impl Entry {
    pub(crate) const ALL: [Self; 11] = [
        Self::Fused,
        Self::FusedRowsBackward,
        Self::ApplyBackward,
        Self::ReduceRows,
        Self::ReduceColumns,
        Self::Merge,
        Self::Apply,
        Self::Export,
        Self::Import,
        Self::Running,
        Self::Count,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fused => "fused",
            Self::ReduceRows => "reduce_rows",
            Self::ReduceColumns => "reduce_columns",
            Self::Merge => "merge",
            Self::Apply => "apply",
            Self::FusedRowsBackward => "fused_rows_backward",
            Self::ApplyBackward => "apply_backward",
            Self::Export => "export",
            Self::Import => "import",
            Self::Running => "running",
            Self::Count => "count",
        }
    }

    /// Whether the kernel's code depends on the accumulator.
    pub(crate) const fn accumulates(self, source: Source) -> bool {
        match self {
            Self::Import | Self::Running | Self::Count => false,
            Self::Merge => matches!(source, Source::Values),
            _ => true,
        }
    }

    /// Whether invocations exchange what they have summed up.
    pub(crate) const fn exchanges(self) -> bool {
        !matches!(self, Self::Apply | Self::ApplyBackward | Self::Export | Self::Import | Self::Count)
    }

    /// What the kernel's records can be made of.
    pub(crate) const fn sources(self) -> &'static [Source] {
        match self {
            Self::ReduceRows | Self::ReduceColumns | Self::Merge => &[Source::Values, Source::Gradients],
            Self::FusedRowsBackward | Self::ApplyBackward => &[Source::Gradients],
            _ => &[Source::Values],
        }
    }

    /// Operands in the order of their bindings, read-only ones first; `true`: written.
    pub(crate) const fn operands(self) -> &'static [(Operand, bool)] {
        use Operand::*;
        match self {
            Self::Fused => {
                &[(Input, false), (Scale, false), (Bias, false), (Output, true), (Records, true)]
            }
            Self::ReduceRows | Self::ReduceColumns => {
                &[(Input, false), (GradOutput, false), (Statistics, false), (Scale, false), (Records, true)]
            }
            Self::Merge => &[(Partials, false), (Scale, false), (Records, true), (GradScale, true), (GradBias, true)],
            Self::Apply => &[(Input, false), (Statistics, false), (Scale, false), (Bias, false), (Output, true)],
            Self::FusedRowsBackward => &[
                (Input, false),
                (GradOutput, false),
                (Statistics, false),
                (Scale, false),
                (Output, true),
                (Partials, true),
                (GradScale, true),
                (GradBias, true),
            ],
            Self::ApplyBackward => &[
                (Input, false),
                (GradOutput, false),
                (Statistics, false),
                (Sums, false),
                (Scale, false),
                (Output, true),
                (Partials, true),
                (GradScale, true),
                (GradBias, true),
            ],
            Self::Export => &[(Statistics, false), (Mean, true), (Spread, true)],
            Self::Import => &[(Mean, false), (Variance, false), (Records, true)],
            Self::Running => &[(Statistics, false), (Batches, false), (Mean, true), (Variance, true)],
            Self::Count => &[(Batches, true)],
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
pub(crate) const MAX_OPERANDS: usize = 9;

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
    /// `array<u32>`.
    Words,
}

/// One storage binding, to a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct SlotLayout {
    pub writes: bool,
    pub content: Content,
}

/// Bindings of a kernel: where its operands are, and what each binding is. Operands of one buffer share a binding where they overlap
/// or could not be bound apart.
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

/// Everything that the source and the constants of a pipeline depend on.
///
/// Derived from partition shapes, accumulator, operands and types alone: equal work of different norms has equal keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    pub(crate) entry: Entry,
    pub(crate) accumulator: Option<Accumulator>,
    pub(crate) layout: Layout,
    pub(crate) source: Source,
    pub(crate) element: Element,
    /// Rows of input or output are padded.
    pub(crate) padded: bool,
    pub(crate) spread: Option<Spread>,
    pub(crate) team: Team,
    pub(crate) lookup: Lookup,
    /// Runs may start inside a quad.
    pub(crate) leads: bool,
    /// Sums of columns are wanted.
    pub(crate) sums_columns: bool,
    /// Nothing is masked: whatever invocations take in at once is there.
    pub(crate) filled: bool,
    /// Records are combined with those that are there: windows before have left them.
    pub(crate) resumes: bool,
    /// What is held whole is runs in rows of memory.
    pub(crate) strided: bool,
    /// Neighbouring elements belong to neighbouring segments.
    pub(crate) across: bool,
}

impl Kernel {
    /// Sums of columns are the gradients themselves: there are no records of walkers.
    pub(crate) fn one_walker(&self) -> bool {
        self.sums_columns && !self.operands().any(|(operand, slot)| operand == Operand::Partials && slot.is_some())
    }

    /// The entry's operands that are present, with their binding.
    pub(crate) fn operands(&self) -> impl Iterator<Item = (Operand, Option<u8>)> + '_ {
        self.entry.operands().iter().zip(self.layout.slot_of).map(|(&(operand, _), slot)| (operand, slot))
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
            let here = |s: Option<u8>| s.is_some_and(|s| usize::from(s) == slot);
            let names: Vec<_> = self.operands().filter(|&(_, s)| here(s)).map(|(o, _)| o.name()).collect();
            let access = if layout.writes { "!" } else { "" };
            write!(f, "{}{}{access}", if slot == 0 { "." } else { "-" }, names.join("+"))?;
        }
        if self.padded {
            f.write_str(".padded")?;
        }
        if let Some(spread) = self.spread {
            write!(f, ".{}", format!("{spread:?}").to_lowercase())?;
        }
        let Lookup { statistics, statistics_along, affine, affine_along, hoisted } = self.lookup;
        for (name, found, along) in [("by", statistics, statistics_along), ("affine", affine, affine_along)] {
            match found {
                Found::Held if along => write!(f, ".{name}_along")?,
                Found::Held => {}
                Found::ByRow => write!(f, ".{name}_row")?,
                Found::ByElement => write!(f, ".{name}_element")?,
            }
        }
        for (set, word) in [
            (hoisted, ".hoisted"),
            (self.layout.slots().iter().any(|slot| slot.content == Content::Vectors), ".quads"),
            (self.leads, ".leads"),
            (self.filled, ".filled"),
            (self.resumes, ".resumes"),
            (self.strided, ".strided"),
            (self.across, ".across"),
            (self.sums_columns, ".columns"),
        ] {
            f.write_str(if set { word } else { "" })?;
        }
        let Team { workgroup_size, lanes, run_lanes, quads, turns, cluster } = self.team;
        write!(f, ".{lanes}x{}x{quads}x{turns}.{run_lanes}.{cluster}", workgroup_size / lanes)
    }
}
