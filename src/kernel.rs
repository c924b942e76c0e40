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
    pub(crate) const ALL: [Self; 9] = [
        Self::FusedRows,
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
            Self::Export => "export",
            Self::Import => "import",
            Self::Running => "running",
            Self::Count => "count",
        }
    }

    /// Whether the kernel's code depends on the accumulator.
    pub(crate) const fn accumulates(self) -> bool {
        !matches!(self, Self::Import | Self::Running | Self::Count)
    }

    /// Operands in the order of their bindings, read-only ones first; `true`: written.
    pub(crate) const fn operands(self) -> &'static [(Operand, bool)] {
        use Operand::*;
        match self {
            Self::FusedRows => &[(Input, false), (Scale, false), (Bias, false), (Output, true), (Statistics, true)],
            Self::ReduceRows | Self::ReduceColumns => &[(Input, false), (Statistics, true)],
            Self::Merge => &[(Partials, false), (Statistics, true)],
            Self::Apply => &[(Input, false), (Statistics, false), (Scale, false), (Bias, false), (Output, true)],
            Self::Export => &[(Statistics, false), (Mean, true), (Spread, true)],
            Self::Import => &[(Mean, false), (Variance, false), (Statistics, true)],
            Self::Running => &[(Statistics, false), (Counter, false), (Mean, true), (Variance, true)],
            Self::Count => &[(Counter, true)],
        }
    }
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
    /// Records of statistics.
    Statistics,
    /// Records of slices.
    Partials,
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
            Self::Statistics => "statistics",
            Self::Partials => "partials",
            Self::Mean => "mean",
            Self::Variance => "variance",
            Self::Spread => "spread",
            Self::Counter => "counter",
        }
    }

    /// How many 4-byte words one item has: records have four.
    pub(crate) const fn words(self) -> u64 {
        match self {
            Self::Statistics | Self::Partials => 4,
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

/// Which binding an operand lives in. Operands of one buffer share one where they overlap or could not be bound apart.
pub(crate) const ABSENT: u8 = u8::MAX;

/// Bindings of a kernel: where its operands are, and what each binding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Layout {
    /// For each of the entry's operands the binding that holds it, counted from 0, or [`ABSENT`].
    pub(crate) slot_of: [u8; 5],
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
