//! The kinds of norm: one table, a row a kind. Nothing else asks for the kind; a new norm is a row.

use std::ops::Range;

use crate::descriptor::{Affine, AffineAxes, Epsilon, MemoryFormat, NormDescriptor, NormKind, SingleElement};
use crate::element::Types;
use crate::error::PlanError;
use crate::fusion::Fusion;
use crate::moments::{Accumulator, Infinities};

/// Axes of a tensor, by what they mean to a kind.
#[derive(Clone, Debug)]
pub(super) enum Axes<'a> {
    /// The channels.
    Channels,
    /// Samples and channels.
    SamplesAndChannels,
    /// Samples and groups of channels.
    SamplesAndGroups(u64),
    /// These.
    These(Vec<usize>),
    /// All but these.
    AllBut(Range<usize>),
    /// All but a set of the caller's, which must not be empty.
    AllButSet(&'a [usize]),
    /// Those over which statistics are taken.
    Reduced,
}

/// When statistics of one element are refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum SingleRule {
    /// Never.
    Fine,
    /// Where a segment has one element.
    OneASegment,
    /// Where the whole batch leaves one element a segment.
    OneInTheBatch,
}

/// What is particular to a kind.
#[derive(Clone, Debug)]
pub(super) struct Row<'a> {
    pub name: &'static str,
    /// Axes whose indices have statistics of their own.
    pub statistics: Axes<'a>,
    /// Axes whose indices have parameters of their own, unless the caller says which.
    pub affine: Axes<'a>,
    pub accumulator: Accumulator,
    /// The divisor is a norm: a sum over the segment, not a mean.
    pub sums: bool,
    /// Order of the norm.
    pub p: f32,
    /// What 1 / 0 becomes.
    pub inverse_of_zero: f32,
    pub infinities: Infinities,
    /// Statistics can be given, one a channel, and kept running.
    pub running: bool,
    /// Statistics cross samples, so that shards of a batch can share them.
    pub crosses_samples: bool,
    pub single: SingleRule,
    /// Training needs an eps above 0.
    pub trains_with_eps: bool,
    /// A segment without elements is refused.
    pub refuses_empty: bool,
    /// eps has a place inside the root.
    pub roots: bool,
    /// A tensor of rank 0 is taken for one of rank 1.
    pub lifts_scalars: bool,
    pub default_eps: Epsilon,
    pub default_affine: Affine,
}

/// What most kinds have in common.
const COMMON: Row<'static> = Row {
    name: "",
    statistics: Axes::Channels,
    affine: Axes::Channels,
    accumulator: Accumulator::Centred,
    sums: false,
    p: 2.0,
    inverse_of_zero: f32::INFINITY,
    infinities: Infinities::Plain,
    running: false,
    crosses_samples: false,
    single: SingleRule::Fine,
    trains_with_eps: false,
    refuses_empty: false,
    roots: true,
    lifts_scalars: false,
    default_eps: Epsilon::InsideRoot(1e-5),
    default_affine: Affine::ScaleAndBias,
};

/// The table. PyTorch takes 1 / std = 0 at 0 for batch and instance norm, ONNX x / norm = 0 for Lp; elsewhere IEEE
/// decides.
pub(super) fn row<'a>(kind: &NormKind<'a>, eps: Option<Epsilon>) -> Row<'a> {
    match *kind {
        NormKind::Batch => Row {
            name: "batch",
            inverse_of_zero: 0.0,
            infinities: Infinities::FoldedScale,
            running: true,
            crosses_samples: true,
            single: SingleRule::OneASegment,
            trains_with_eps: true,
            ..COMMON
        },
        NormKind::Instance => Row {
            name: "instance",
            statistics: Axes::SamplesAndChannels,
            inverse_of_zero: 0.0,
            infinities: Infinities::FoldedScale,
            running: true,
            single: SingleRule::OneASegment,
            ..COMMON
        },
        NormKind::Group { groups } => Row {
            name: "group",
            statistics: Axes::SamplesAndGroups(groups),
            infinities: Infinities::FoldedScaleAndProducts,
            single: SingleRule::OneInTheBatch,
            refuses_empty: true,
            ..COMMON
        },
        NormKind::Layer { ref axes } => Row {
            name: "layer",
            statistics: Axes::AllBut(axes.clone()),
            affine: Axes::Reduced,
            infinities: Infinities::Products,
            ..COMMON
        },
        NormKind::Rms { ref axes } => Row {
            name: "rms",
            statistics: Axes::AllBut(axes.clone()),
            affine: Axes::Reduced,
            accumulator: Accumulator::Uncentred,
            default_eps: Epsilon::Machine,
            default_affine: Affine::Scale,
            ..COMMON
        },
        NormKind::LpNormalize { p, ref axes } => Row {
            name: "lp",
            statistics: Axes::AllBut(axes.clone()),
            affine: Axes::Reduced,
            accumulator: accumulator_of_order(p),
            sums: true,
            p: told_apart(p),
            inverse_of_zero: 0.0,
            // the root of a norm other than the second is no square root: there is no place for eps inside it
            roots: false,
            lifts_scalars: true,
            default_eps: Epsilon::Minimum(1e-12),
            default_affine: Affine::None,
            ..COMMON
        },
        NormKind::Weight { dim } => Row {
            name: "weight",
            statistics: Axes::These(dim.into_iter().collect()),
            affine: Axes::These(dim.into_iter().collect()),
            accumulator: Accumulator::Uncentred,
            sums: true,
            inverse_of_zero: if matches!(eps, Some(Epsilon::AsGiven(_))) { f32::INFINITY } else { 0.0 },
            default_eps: Epsilon::InsideRoot(0.0),
            default_affine: Affine::Scale,
            ..COMMON
        },
        NormKind::MeanVariance { axes } => Row {
            name: "mvn",
            statistics: Axes::AllButSet(axes),
            affine: Axes::Reduced,
            default_eps: Epsilon::AddedToDeviation(1e-9),
            default_affine: Affine::None,
            ..COMMON
        },
    }
}

fn accumulator_of_order(p: f32) -> Accumulator {
    match told_apart(p) {
        1.0 => Accumulator::Magnitude,
        2.0 => Accumulator::Uncentred,
        p if p.is_infinite() => Accumulator::Largest,
        _ => Accumulator::Power,
    }
}

/// The order, where powers of that order tell any two f32 apart; beyond it the infinite one, or the smallest: norms of
/// those have the same bits.
fn told_apart(p: f32) -> f32 {
    const LARGEST: f32 = (1 << 30) as f32;
    const SMALLEST: f32 = 1.0 / (LARGEST * LARGEST * LARGEST);
    match p.abs() {
        0.0 => 0.0,
        // `max` below would take the other
        size if size.is_nan() => size,
        size if size >= LARGEST => f32::INFINITY.copysign(p),
        size => size.max(SMALLEST).copysign(p),
    }
}

impl NormKind<'_> {
    /// Short name, as the program spells it.
    pub fn name(&self) -> &'static str {
        row(self, None).name
    }
}

impl<'a> NormDescriptor<'a> {
    /// A norm of `kind` over `shape`, all else at its default: channels first, f32, scale and bias, and eps as PyTorch
    /// and ONNX default it (1e-5 inside the root; RMS the machine epsilon, Lp a minimum of 1e-12, mean-variance 1e-9
    /// added). RMS has a scale only, Lp and mean-variance neither.
    pub fn new(kind: NormKind<'a>, shape: &'a [u64]) -> Self {
        let row = row(&kind, None);
        let (eps, affine) = (row.default_eps, row.default_affine);
        Self {
            label: None,
            kind,
            shape,
            format: MemoryFormat::default(),
            eps,
            affine,
            affine_axes: AffineAxes::default(),
            single_element: SingleElement::default(),
            types: Types::default(),
            fusion: Fusion::default(),
        }
    }

    /// Checks everything that needs no device: what planning would answer.
    ///
    /// # Errors
    /// [`PlanError`] says what is wrong.
    pub fn validate(&self) -> Result<(), PlanError> {
        super::Plan::new(self).map(drop)
    }
}
