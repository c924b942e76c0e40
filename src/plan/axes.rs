//! The axes of a tensor, and which of them a row of the table of kinds keeps.

use super::kinds::{Axes, Row};
use super::{Refinement, check_product, check_slots};
use crate::descriptor::{AffineAxes, MemoryFormat, NormDescriptor};
use crate::error::PlanError;
use crate::partition::Partition;

/// The axes of a tensor (groups split off their channels) and which of them are kept.
pub(super) struct TensorAxes {
    shape: Vec<u64>,
    /// The axis of the tensor that is two here: groups, and the channels of a group.
    split: Option<usize>,
    pub statistics: Vec<bool>,
    pub affine: Vec<bool>,
}

impl TensorAxes {
    pub(super) fn new(descriptor: &NormDescriptor<'_>, row: &Row<'_>) -> Result<Self, PlanError> {
        let mut shape = descriptor.shape.to_vec();
        if shape.is_empty() && row.lifts_scalars {
            shape.push(1);
        }
        let rank = shape.len();
        let statistics = match &row.statistics {
            Axes::SamplesAndGroups(groups) => return Self::grouped(descriptor, *groups),
            axes => kept(axes, descriptor, rank, row.name)?,
        };
        let affine = match descriptor.affine_axes {
            AffineAxes::OfKind => match &row.affine {
                Axes::Reduced => statistics.iter().map(|kept| !kept).collect(),
                axes => kept(axes, descriptor, rank, row.name)?,
            },
            AffineAxes::Groups => return Err(PlanError::GroupScale { kind: row.name }),
            AffineAxes::Axes(axes) => {
                check_ascending(axes, rank)?;
                keep(rank, axes)
            }
        };
        Ok(Self { shape, split: None, statistics, affine })
    }

    /// Channels split into (groups, channels of a group).
    fn grouped(descriptor: &NormDescriptor<'_>, groups: u64) -> Result<Self, PlanError> {
        let channel = channel_axis(descriptor.shape, descriptor.format, "group")?;
        let channels = descriptor.shape[channel];
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(PlanError::GroupsDoNotDivideChannels { groups, channels });
        }
        let mut shape = descriptor.shape.to_vec();
        shape[channel] = channels / groups;
        shape.insert(channel, groups);
        // of no channels there are any number of groups
        check_product(&shape)?;
        let rank = shape.len();
        let affine = match descriptor.affine_axes {
            AffineAxes::OfKind => keep(rank, &[channel, channel + 1]),
            AffineAxes::Groups => keep(rank, &[channel]),
            AffineAxes::Axes(axes) => named(axes, rank, Some(channel))?,
        };
        Ok(Self { shape, split: Some(channel), statistics: keep(rank, &[0, channel]), affine })
    }

    /// Sizes of the axes.
    pub(super) fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Where the groups are that were split off their channels.
    pub(super) fn split(&self) -> Option<usize> {
        self.split
    }

    /// The axes that the user calls so.
    pub(super) fn named(&self, axes: &[usize]) -> Result<Vec<bool>, PlanError> {
        named(axes, self.shape.len(), self.split)
    }

    /// What the user calls the axes that are kept.
    pub(super) fn names(&self, kept: &[bool]) -> Vec<usize> {
        let name = |axis: usize| if self.split.is_some_and(|split| axis > split) { axis - 1 } else { axis };
        let mut names: Vec<usize> = (0..kept.len()).filter(|&axis| kept[axis]).map(name).collect();
        names.dedup();
        names
    }

    /// One segment a channel.
    pub(super) fn channels(&self, descriptor: &NormDescriptor<'_>) -> Result<Partition, PlanError> {
        let channel = channel_axis(descriptor.shape, descriptor.format, descriptor.kind.name())?;
        self.partition(&keep(self.shape.len(), &[channel]))
    }

    pub(super) fn partition(&self, kept: &[bool]) -> Result<Partition, PlanError> {
        partition(&self.shape, kept)
    }

    /// `None` where one of its partitions does not fit four slots.
    pub(super) fn refinement(&self, has_affine: bool) -> Option<Refinement> {
        let affine: Vec<bool> = self.affine.iter().map(|&kept| kept && has_affine).collect();
        let both: Vec<bool> = self.statistics.iter().zip(&affine).map(|(&s, &a)| s || a).collect();
        let of_both =
            |flags: &[bool]| flags.iter().zip(&both).filter(|(_, both)| **both).map(|(&f, _)| f).collect::<Vec<_>>();
        let shape: Vec<u64> = self.shape.iter().zip(&both).filter(|(_, both)| **both).map(|(&size, _)| size).collect();
        Some(Refinement {
            partition: partition(&self.shape, &both).ok()?,
            statistics: partition(&shape, &of_both(&self.statistics)).ok()?,
            affine: partition(&shape, &of_both(&affine)).ok()?,
        })
    }

    /// Elements of one segment of the statistics.
    pub(super) fn segment_len(&self) -> u64 {
        self.shape.iter().zip(&self.statistics).filter(|&(_, &kept)| !kept).map(|(size, _)| size).product()
    }
}

/// Axes of the tensor as axes of `rank` ones, of which two are one of the tensor's: the groups come before their
/// channels, and axes behind them move by one.
fn named(axes: &[usize], rank: usize, split: Option<usize>) -> Result<Vec<bool>, PlanError> {
    let Some(channel) = split else {
        check_ascending(axes, rank)?;
        return Ok(keep(rank, axes));
    };
    check_ascending(axes, rank - 1)?;
    let moved =
        |&axis: &usize| if axis == channel { vec![axis, axis + 1] } else { vec![axis + usize::from(axis > channel)] };
    Ok(keep(rank, &axes.iter().flat_map(moved).collect::<Vec<_>>()))
}

/// The partition that keeps these axes, if kernels can walk it.
pub(super) fn partition(shape: &[u64], kept: &[bool]) -> Result<Partition, PlanError> {
    let partition = Partition::from_axes(shape, kept).ok_or_else(|| PlanError::AxesInterleave {
        kept: (0..kept.len()).filter(|&axis| kept[axis]).collect(),
        shape: shape.to_vec(),
    })?;
    check_slots(partition, shape)?;
    Ok(partition)
}

fn keep(rank: usize, axes: &[usize]) -> Vec<bool> {
    (0..rank).map(|axis| axes.contains(&axis)).collect()
}

/// Which of `rank` axes a row keeps.
fn kept(
    axes: &Axes<'_>,
    descriptor: &NormDescriptor<'_>,
    rank: usize,
    kind: &'static str,
) -> Result<Vec<bool>, PlanError> {
    let channel = || channel_axis(descriptor.shape, descriptor.format, kind);
    let all_but = |axes: &[usize]| (0..rank).map(|axis| !axes.contains(&axis)).collect();
    Ok(match axes {
        Axes::Channels => keep(rank, &[channel()?]),
        Axes::SamplesAndChannels => keep(rank, &[0, channel()?]),
        Axes::These(_) if rank == 0 => return Err(PlanError::RankTooLow { kind, rank, min: 1 }),
        Axes::These(axes) => {
            check_ascending(axes, rank)?;
            keep(rank, axes)
        }
        // a range: at least one axis, all of them there
        Axes::AllBut(axes) if axes.is_empty() || axes.end > rank => {
            // so many already reach outside the tensor
            return Err(PlanError::AxesOutOfRange { axes: axes.clone().take(rank + 2).collect(), rank });
        }
        Axes::AllBut(axes) => (0..rank).map(|axis| !axes.contains(&axis)).collect(),
        Axes::AllButSet(axes) => {
            check_ascending(axes, rank)?;
            if axes.is_empty() && rank > 0 {
                return Err(PlanError::AxesOutOfRange { axes: Vec::new(), rank });
            }
            all_but(axes)
        }
        // of a group's channels and of what is reduced the callers know themselves
        Axes::SamplesAndGroups(_) | Axes::Reduced => Vec::new(),
    })
}

/// The axis that holds the channels.
pub(crate) fn channel_axis(shape: &[u64], format: MemoryFormat, kind: &'static str) -> Result<usize, PlanError> {
    let rank = shape.len();
    if rank < 2 {
        return Err(PlanError::RankTooLow { kind, rank, min: 2 });
    }
    Ok(match format {
        MemoryFormat::ChannelsFirst => 1,
        MemoryFormat::ChannelsLast => rank - 1,
    })
}

fn check_ascending(axes: &[usize], rank: usize) -> Result<(), PlanError> {
    let ascending = axes.windows(2).all(|pair| pair[0] < pair[1]);
    if !ascending || axes.iter().any(|&axis| axis >= rank) {
        return Err(PlanError::AxesOutOfRange { axes: axes.to_vec(), rank });
    }
    Ok(())
}
