//! The axes of a tensor, and what varies along which of them.

use std::ops::Range;

use super::ReferenceError;
use super::sum::Sum;
use crate::descriptor::{AffineAxes, MemoryFormat, NormDescriptor, NormKind};

/// The axes of a tensor and what varies along which of them.
#[derive(Debug)]
pub(super) struct Axes {
    /// Sizes of the axes in memory order, the channels of a group norm split into groups and channels a group.
    pub(super) sizes: Vec<usize>,
    /// Statistics of the input.
    pub(super) computed: Lookup,
    /// Statistics that are given.
    pub(super) given: Lookup,
    /// Scale and bias.
    pub(super) affine: Lookup,
    /// Which axis of the shape is split.
    split: Option<usize>,
}

impl Axes {
    pub(super) fn of(d: &NormDescriptor) -> Result<Self, ReferenceError> {
        let rank = d.shape.len();
        let channel = channel_axis(d.format, rank);
        check_kind(&d.kind, rank)?;
        let rest = |axes: &[usize]| (0..rank).filter(|axis| !axes.contains(axis)).collect::<Vec<_>>();

        let (computed, given, of_kind) = match &d.kind {
            NormKind::Batch => (vec![channel], vec![channel], vec![channel]),
            NormKind::Instance => (vec![0, channel], vec![channel], vec![channel]),
            NormKind::Group { .. } => (vec![0, channel], vec![0, channel], vec![channel, channel + 1]),
            NormKind::Layer { axes } | NormKind::Rms { axes } | NormKind::LpNormalize { axes, .. } => {
                let axes = checked_range(axes, rank)?;
                (rest(&axes), rest(&axes), axes)
            }
            NormKind::MeanVariance { axes } => {
                let axes = checked_set(axes, rank)?;
                (rest(&axes), rest(&axes), axes)
            }
            NormKind::Weight { dim } => {
                let kept: Vec<usize> = dim.iter().copied().collect();
                (kept.clone(), kept.clone(), kept)
            }
        };
        let split = matches!(d.kind, NormKind::Group { .. }).then_some(channel);
        let affine = match d.affine_axes {
            AffineAxes::OfKind => of_kind,
            AffineAxes::Groups if split.is_some() => vec![channel],
            AffineAxes::Groups => return Err(ReferenceError::GroupScale { kind: d.kind.name() }),
            AffineAxes::Axes(axes) => split_axes(axes, rank, split)?,
        };
        let sizes = match d.kind {
            NormKind::Group { groups } => addressable(&split_channels(d.shape, channel, groups)?)?,
            _ => addressable(d.shape)?,
        };
        let lookup = |kept: &[usize]| Lookup::new(&sizes, kept);
        Ok(Self { computed: lookup(&computed), given: lookup(&given), affine: lookup(&affine), sizes, split })
    }

    /// What varies along these axes of the shape.
    pub(super) fn along(&self, axes: &[usize]) -> Result<Lookup, ReferenceError> {
        let rank = self.sizes.len() - usize::from(self.split.is_some());
        Ok(Lookup::new(&self.sizes, &split_axes(axes, rank, self.split)?))
    }
}

/// The places of a shape's axes among those that are walked, one of them split in two.
fn split_axes(axes: &[usize], rank: usize, split: Option<usize>) -> Result<Vec<usize>, ReferenceError> {
    if !is_ascending_below(axes, rank) {
        return Err(ReferenceError::AxesOutOfRange { axes: axes.to_vec(), rank });
    }
    let places = |&axis: &usize| match split {
        Some(split) => axis + usize::from(axis > split)..=axis + usize::from(axis >= split),
        None => axis..=axis,
    };
    Ok(axes.iter().flat_map(places).collect())
}

/// Where the value of an element lies in an array that varies along some of a tensor's axes, row-major in those.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    /// Distance in the array of neighbours along each axis of the tensor; 0 where the array does not vary.
    pub(super) strides: Vec<usize>,
    /// Values in the array.
    pub(super) len: usize,
    /// Elements that share a value.
    pub(super) count: f64,
}

impl Lookup {
    pub(super) fn new(sizes: &[usize], kept: &[usize]) -> Self {
        let mut lookup = Self { strides: vec![0; sizes.len()], len: 1, count: 1.0 };
        for (axis, &size) in sizes.iter().enumerate().rev() {
            if kept.contains(&axis) {
                lookup.strides[axis] = lookup.len;
                lookup.len *= size;
            } else {
                lookup.count *= size as f64;
            }
        }
        lookup
    }
}

/// The values in f64.
pub(super) fn wide<T: Copy + Into<f64>>(values: &[T]) -> impl Iterator<Item = f64> {
    values.iter().map(|&x| x.into())
}

/// Visits every element in memory order, with its places in the arrays of `lookups`.
pub(super) fn walk<E, const N: usize>(
    elements: impl Iterator<Item = E>,
    sizes: &[usize],
    lookups: [&Lookup; N],
    mut visit: impl FnMut(E, [usize; N]),
) {
    let mut odometer = vec![0; sizes.len()];
    let mut places = [0; N];
    for element in elements {
        visit(element, places);
        for (axis, &size) in sizes.iter().enumerate().rev() {
            odometer[axis] += 1;
            let carries = odometer[axis] == size;
            for (place, lookup) in places.iter_mut().zip(lookups) {
                *place += lookup.strides[axis];
                *place -= if carries { lookup.strides[axis] * size } else { 0 };
            }
            if !carries {
                break;
            }
            odometer[axis] = 0;
        }
    }
}

pub(super) fn channel_axis(format: MemoryFormat, rank: usize) -> usize {
    match format {
        MemoryFormat::ChannelsFirst => 1,
        MemoryFormat::ChannelsLast => rank.saturating_sub(1),
    }
}

/// The sizes of a shape. No product of some of them overflows: an empty axis does not hide what the others need.
pub(super) fn addressable(shape: &[u64]) -> Result<Vec<usize>, ReferenceError> {
    let largest = (isize::MAX as u64) / size_of::<Sum>() as u64;
    let elements = shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(size.max(1)));
    if elements.is_none_or(|elements| elements > largest) {
        return Err(ReferenceError::ShapeOverflows { shape: shape.to_vec() });
    }
    Ok(shape.iter().map(|&size| size as usize).collect())
}

pub(super) fn check_kind(kind: &NormKind, rank: usize) -> Result<(), ReferenceError> {
    match *kind {
        NormKind::Batch | NormKind::Instance | NormKind::Group { .. } if rank < 2 => {
            Err(ReferenceError::RankTooLow { kind: kind.name(), rank, min: 2 })
        }
        NormKind::Weight { .. } if rank == 0 => Err(ReferenceError::RankTooLow { kind: kind.name(), rank, min: 1 }),
        NormKind::Weight { dim: Some(dim) } if dim >= rank => {
            Err(ReferenceError::AxesOutOfRange { axes: vec![dim], rank })
        }
        NormKind::LpNormalize { p, .. } if p.is_nan() => Err(ReferenceError::NormOrder { p }),
        _ => Ok(()),
    }
}

pub(super) fn split_channels(shape: &[u64], channel: usize, groups: u64) -> Result<Vec<u64>, ReferenceError> {
    let channels = shape[channel];
    if groups == 0 || !channels.is_multiple_of(groups) {
        return Err(ReferenceError::GroupsDoNotDivideChannels { groups, channels });
    }
    let mut shape = shape.to_vec();
    shape.splice(channel..=channel, [groups, channels / groups]);
    Ok(shape)
}

pub(super) fn checked_range(axes: &Range<usize>, rank: usize) -> Result<Vec<usize>, ReferenceError> {
    // So many already reach outside the shape.
    let axes: Vec<usize> = axes.clone().take(rank + 2).collect();
    checked_set(&axes, rank)
}

/// The axes, if they are some of the tensor's. A tensor without axes has one element, and takes its first axis
/// as well as none for that.
pub(super) fn checked_set(axes: &[usize], rank: usize) -> Result<Vec<usize>, ReferenceError> {
    match (rank, axes) {
        (0, [] | [0]) => Ok(Vec::new()),
        (1.., [_, ..]) if is_ascending_below(axes, rank) => Ok(axes.to_vec()),
        _ => Err(ReferenceError::AxesOutOfRange { axes: axes.to_vec(), rank }),
    }
}

pub(super) fn is_ascending_below(axes: &[usize], rank: usize) -> bool {
    axes.is_sorted_by(|a, b| a < b) && axes.last().is_none_or(|&last| last < rank)
}

pub(super) fn check_operand<T>(
    operand: &'static str,
    given: Option<&[T]>,
    expected: Option<usize>,
) -> Result<(), ReferenceError> {
    match (given, expected) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(ReferenceError::Missing { operand }),
        (Some(_), None) => Err(ReferenceError::Unexpected { operand }),
        (Some(given), Some(expected)) => check_length(operand, given.len(), expected),
    }
}

pub(super) fn check_length(operand: &'static str, actual: usize, expected: usize) -> Result<(), ReferenceError> {
    if actual == expected { Ok(()) } else { Err(ReferenceError::Length { operand, expected, actual }) }
}
