//! Which kernel a dispatch needs: everything that changes the compiled code, and nothing else.

use std::fmt;

use crate::descriptor::DataType;

/// What a reduction accumulates. Each is one fragment in `shaders/lib/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Accumulator {
    /// Mean and variance.
    Centred,
    /// Mean square.
    Uncentred,
    /// Mean magnitude (p = 1).
    Magnitude,
    /// Largest magnitude (p = infinity).
    Largest,
    /// Mean of |x|^p.
    Power,
}

impl Accumulator {
    pub(crate) const ALL: [Self; 5] = [Self::Centred, Self::Uncentred, Self::Magnitude, Self::Largest, Self::Power];

    const fn name(self) -> &'static str {
        match self {
            Self::Centred => "centred",
            Self::Uncentred => "uncentred",
            Self::Magnitude => "magnitude",
            Self::Largest => "largest",
            Self::Power => "power",
        }
    }
}

/// The entry of a kernel: one WGSL file each, in `shaders/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    /// Normalize whole contiguous segments in one dispatch.
    FusedRows,
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
        Self::FusedRows,
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
            Self::FusedRows => "fused_rows",
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
            Self::FusedRows => &[(Input, false), (Scale, false), (Bias, false), (Output, true), (Records, true)],
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
            ],
            Self::ApplyBackward => &[
                (Input, false),
                (GradOutput, false),
                (Statistics, false),
                (Sums, false),
                (Scale, false),
                (Output, true),
            ],
            Self::Export => &[(Statistics, false), (Mean, true), (Spread, true)],
            Self::Import => &[(Mean, false), (Variance, false), (Records, true)],
            Self::Running => &[(Statistics, false), (Counter, false), (Mean, true), (Variance, true)],
            Self::Count => &[(Counter, true)],
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

/// What a binding of a kernel means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Operand {
    /// The tensor that is normalized.
    Input,
    /// Where the result goes.
    Output,
    /// Factor of the affine map.
    Scale,
    /// Summand of the affine map.
    Bias,
    /// Gradient to the output.
    GradOutput,
    /// Gradient to the scale.
    GradScale,
    /// Gradient to the bias.
    GradBias,
    /// Records of statistics, read.
    Statistics,
    /// Records of gradient sums, read.
    Sums,
    /// Records of slices or finer segments.
    Partials,
    /// Records, written.
    Records,
    /// Plain means.
    Mean,
    /// Plain variances.
    Variance,
    /// Variance, 1 / divisor or divisor.
    Spread,
    /// Number of batches, a u32.
    Counter,
}

impl Operand {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::Scale => "scale",
            Self::Bias => "bias",
            Self::GradOutput => "grad_output",
            Self::GradScale => "grad_scale",
            Self::GradBias => "grad_bias",
            Self::Statistics => "statistics",
            Self::Sums => "sums",
            Self::Partials => "partials",
            Self::Records => "records",
            Self::Mean => "mean",
            Self::Variance => "variance",
            Self::Spread => "spread",
            Self::Counter => "counter",
        }
    }

    /// How many 4-byte words one item has: records have four.
    pub(crate) const fn words(self) -> u64 {
        match self {
            Self::Statistics | Self::Sums | Self::Partials | Self::Records => 4,
            _ => 1,
        }
    }
}

/// What an export writes beside the mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spread {
    /// Variance divided by n (mean square, norm: what the accumulator has).
    Variance,
    /// 1 / divisor: `1 / sqrt(variance + eps)`.
    Rstd,
    /// The divisor itself: `sqrt(variance + eps)`.
    Deviation,
}

/// Most operands of a kernel.
pub(crate) const MAX_OPERANDS: usize = 6;

/// Which binding an operand lives in. Operands of one buffer share one where they overlap or could not be bound apart.
pub(crate) const ABSENT: u8 = u8::MAX;

/// Bindings of a kernel: where its operands are, and what each binding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Layout {
    /// For each of the entry's operands the binding that holds it, counted from 0, or [`ABSENT`].
    pub(crate) slot_of: [u8; MAX_OPERANDS],
    /// Bit k: binding k is read and written.
    pub(crate) writable: u8,
    /// Bit k: binding k holds words, not floats.
    pub(crate) words: u8,
    pub(crate) slots: u8,
}

/// Everything that the source and the constants of a pipeline depend on.
///
/// Derived from partition shapes, accumulator, operands and types alone: equal work of different norms has equal keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelKey {
    pub(crate) entry: Entry,
    pub(crate) accumulator: Option<Accumulator>,
    pub(crate) layout: Layout,
    pub(crate) source: Source,
    pub(crate) dtype: DataType,
    /// Rows of input or output are padded.
    pub(crate) padded: bool,
    pub(crate) spread: Option<Spread>,
    pub(crate) workgroup_size: u32,
    pub(crate) lanes: u32,
}

impl KernelKey {
    /// Pipeline-overridable constants.
    pub(crate) fn constants(&self) -> Vec<(&'static str, f64)> {
        if self.entry == Entry::Count {
            return Vec::new();
        }
        let mut constants = vec![("WORKGROUP_SIZE", f64::from(self.workgroup_size)), ("LANES", f64::from(self.lanes))];
        if let Some(spread) = self.spread {
            constants.push(("SPREAD", f64::from(spread as u8)));
        }
        constants
    }

    /// The entry's operands that are present, with their binding.
    pub(crate) fn operands(&self) -> impl Iterator<Item = (Operand, Option<u8>)> + '_ {
        let slots = self.layout.slot_of;
        self.entry.operands().iter().zip(slots).map(|(&(operand, _), slot)| (operand, (slot != ABSENT).then_some(slot)))
    }
}

impl fmt::Display for KernelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.entry.name())?;
        if let Some(accumulator) = self.accumulator {
            write!(f, ".{}", accumulator.name())?;
        }
        if self.source == Source::Gradients {
            f.write_str(".gradients")?;
        }
        // the bindings: operands that share one are joined
        for slot in 0..self.layout.slots {
            let names: Vec<_> = self.operands().filter(|(_, s)| *s == Some(slot)).map(|(o, _)| o.name()).collect();
            let access = if self.layout.writable >> slot & 1 == 1 { "!" } else { "" };
            write!(f, "{}{}{access}", if slot == 0 { "." } else { "-" }, names.join("+"))?;
        }
        if self.padded {
            f.write_str(".padded")?;
        }
        if let Some(spread) = self.spread {
            write!(f, ".{}", format!("{spread:?}").to_lowercase())?;
        }
        write!(f, ".{}x{}", self.lanes, self.workgroup_size / self.lanes)
    }
}
