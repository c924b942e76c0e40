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
    /// Normalize whole segments in one dispatch.
    Fused,
    /// The same in two walks, the second from a cache.
    FusedCached,
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
    pub(crate) const ALL: [Self; 12] = [
        Self::Fused,
        Self::FusedCached,
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
            Self::FusedCached => "fused_cached",
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
            Self::Fused | Self::FusedCached => {
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
pub(crate) const MAX_OPERANDS: usize = 9;

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
    /// Bit k: binding k is read and written by 16 bytes.
    pub(crate) quads: u8,
    pub(crate) slots: u8,
}

/// How invocations share the work of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Team {
    /// Invocations of a workgroup, a power of two.
    pub workgroup_size: u32,
    /// Invocations that share a segment (maps: a tile), a power of two.
    pub lanes: u32,
    /// Invocations that share a run of memory of it, a power of two.
    pub run_lanes: u32,
    /// Quads of four elements that an invocation takes in at once.
    pub quads: u32,
    /// Tiles of columns that an invocation reduces in turn, where it reduces columns; times `quads` that it holds, where it holds
    /// segments whole; segments whose walks it takes together, where it finds them again in a cache.
    pub turns: u32,
    /// Invocations that exchange through a subgroup, a power of two; 1: all exchange through workgroup memory.
    pub cluster: u32,
}

impl Team {
    /// Invocations that each have work of their own.
    pub(crate) const fn alone(workgroup_size: u32) -> Self {
        Self { workgroup_size, lanes: 1, run_lanes: 1, quads: 1, turns: 1, cluster: 1 }
    }

    /// Segments (maps: tiles) of a workgroup.
    pub(crate) fn groups(&self) -> u64 {
        u64::from(self.workgroup_size / self.lanes)
    }

    /// Whether lanes hold so many quads.
    pub(crate) fn has_room(&self, quads: u64) -> bool {
        quads <= u64::from(self.lanes) * self.held()
    }

    /// Whether a segment of so many elements is just what lanes hold.
    pub(crate) fn fills(&self, len: u64) -> bool {
        len == 4 * u64::from(self.lanes) * self.held()
    }

    /// Quads that an invocation holds.
    pub(crate) fn held(&self) -> u64 {
        u64::from(self.quads) * u64::from(self.turns)
    }

    /// Turns of loops that a segment takes which it holds, unusual numbers included.
    pub(crate) fn held_turns(&self) -> u64 {
        4 * self.held() + self.exchange_turns()
    }

    /// Turns of loops in which lanes exchange what they have of a segment (a word for each of six sums), and of those around them.
    pub(crate) fn exchange_turns(&self) -> u64 {
        let each = if self.cluster > 1 { self.lanes / self.cluster } else { self.lanes.ilog2() };
        u64::from(6 * each + 8)
    }

    pub(crate) fn is_valid(&self) -> bool {
        let powers =
            [self.workgroup_size, self.lanes, self.run_lanes, self.cluster].iter().all(|n| n.is_power_of_two());
        let nested = self.cluster.max(self.run_lanes) <= self.lanes && self.lanes <= self.workgroup_size;
        powers && nested && (1..=MAX_QUADS).contains(&self.quads) && (1..=MAX_TURNS).contains(&self.turns)
    }
}

impl fmt::Display for Team {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.lanes, self.workgroup_size / self.lanes, self.quads)?;
        if self.turns > 1 {
            write!(f, "x{}", self.turns)?;
        }
        if self.cluster > 1 { f.write_str(" subgroups") } else { Ok(()) }
    }
}

/// Most tiles of columns that an invocation reduces in turn.
pub(crate) const MAX_TURNS: u32 = 16;

/// Most quads that an invocation holds.
pub(crate) const MAX_QUADS: u32 = 64;

/// How the records or the parameters of elements are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Found {
    /// By column: the same in every row of a tile, and held there.
    #[default]
    Held,
    /// One for a row.
    ByRow,
    /// Looked up for every element.
    ByElement,
}

/// How a kernel finds records and parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Lookup {
    pub statistics: Found,
    /// Records of a row are neighbours, as its elements are.
    pub statistics_along: bool,
    pub affine: Found,
    pub affine_along: bool,
    /// All elements of a segment share their record: it is looked up once.
    pub hoisted: bool,
}

impl Lookup {
    /// Parameters are held, and walked as the tensors are.
    pub(crate) fn holds_along(&self) -> bool {
        self.affine == Found::Held && self.affine_along
    }
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
    /// A quad that two segments share is written once.
    pub(crate) joins: bool,
    /// Neighbouring elements belong to neighbouring segments.
    pub(crate) across: bool,
}

impl KernelKey {
    /// Pipeline-overridable constants: those that the kernel's fragments declare.
    pub(crate) fn constants(&self) -> Vec<(&'static str, f64)> {
        let Team { workgroup_size, lanes, run_lanes, cluster, .. } = self.team;
        let Lookup { statistics, statistics_along, affine, affine_along, hoisted } = self.lookup;
        let all = [
            ("WORKGROUP_SIZE", workgroup_size),
            ("LANES", lanes),
            ("RUN_LANES", run_lanes),
            ("CLUSTER", cluster),
            ("STATISTICS", statistics as u32),
            ("STATISTICS_ALONG", statistics_along.into()),
            ("AFFINE", affine as u32),
            ("AFFINE_ALONG", affine_along.into()),
            ("HOISTED", hoisted.into()),
            ("LEADS", self.leads.into()),
            ("FILLED", self.filled.into()),
            ("RESUMES", self.resumes.into()),
            ("STRIDED", self.strided.into()),
            ("JOINS", self.joins.into()),
            ("SUMS_COLUMNS", self.sums_columns.into()),
            ("ONE_WALKER", self.one_walker().into()),
            ("SPREAD", self.spread.unwrap_or(Spread::Variance) as u32),
        ];
        let declared = |name: &str| crate::wgsl::declares(self, name);
        all.into_iter().filter(|(name, _)| declared(name)).map(|(name, value)| (name, f64::from(value))).collect()
    }

    /// Sums of columns are the gradients themselves: there are no records of walkers.
    fn one_walker(&self) -> bool {
        self.sums_columns && !self.operands().any(|(operand, slot)| operand == Operand::Partials && slot.is_some())
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
            (self.layout.quads != 0, ".quads"),
            (self.leads, ".leads"),
            (self.filled, ".filled"),
            (self.resumes, ".resumes"),
            (self.strided, ".strided"),
            (self.joins, ".joins"),
            (self.across, ".across"),
            (self.sums_columns, ".columns"),
        ] {
            f.write_str(if set { word } else { "" })?;
        }
        let Team { workgroup_size, lanes, run_lanes, quads, turns, cluster } = self.team;
        write!(f, ".{lanes}x{}x{quads}x{turns}.{run_lanes}.{cluster}", workgroup_size / lanes)
    }
}
