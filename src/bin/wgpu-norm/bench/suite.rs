//! What is measured.

use clap::ValueEnum;
use wgpu_norm::MemoryFormat::{ChannelsFirst, ChannelsLast};
use wgpu_norm::NormKind::{Batch, Group, Instance, Layer, Rms};
use wgpu_norm::{MemoryFormat, NormKind};

use crate::cases::Case;

/// A choice of cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// Each kind of norm once or twice, in less than a minute even without a GPU.
    Quick,
}

/// Where statistics come from and go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistics {
    /// Computed, and of no further use.
    Computed,
    /// Computed, and saved for backward.
    Saved,
    /// Given.
    Given,
}

/// A norm to measure, with scale and bias.
pub struct BenchCase {
    /// Which norm.
    pub case: Case,
    /// Which statistics.
    pub statistics: Statistics,
}

const fn new(
    kind: NormKind<'static>,
    shape: &'static [u64],
    format: MemoryFormat,
    statistics: Statistics,
) -> BenchCase {
    BenchCase { case: Case { kind, shape, format }, statistics }
}

const fn rows(kind: NormKind<'static>, shape: &'static [u64]) -> BenchCase {
    new(kind, shape, ChannelsFirst, Statistics::Computed)
}

const fn images(kind: NormKind<'static>, format: MemoryFormat, statistics: Statistics) -> BenchCase {
    let shape: &[u64] = match format {
        ChannelsFirst => &[8, 64, 60, 60],
        ChannelsLast => &[8, 60, 60, 64],
    };
    new(kind, shape, format, statistics)
}

const LAYER: NormKind<'static> = Layer { axes: 1..2 };
const RMS: NormKind<'static> = Rms { axes: 1..2 };

/// Rows of every length, one that is no multiple of 4, and one that the whole device has to share.
const QUICK: &[BenchCase] = &[
    rows(LAYER, &[4096, 1024]),
    rows(LAYER, &[4096, 1023]),
    rows(LAYER, &[16384, 64]),
    rows(LAYER, &[1, 1 << 22]),
    rows(RMS, &[4096, 1024]),
    rows(RMS, &[1024, 4096]),
    images(Batch, ChannelsFirst, Statistics::Given),
    images(Batch, ChannelsFirst, Statistics::Saved),
    images(Instance, ChannelsFirst, Statistics::Computed),
    images(Group { groups: 32 }, ChannelsFirst, Statistics::Computed),
    images(Group { groups: 32 }, ChannelsLast, Statistics::Computed),
];

impl Suite {
    /// Its cases.
    pub fn cases(self) -> &'static [BenchCase] {
        match self {
            Self::Quick => QUICK,
        }
    }
}

impl BenchCase {
    /// The norm in words: `group 32`, `batch inference`.
    pub fn variant(&self) -> String {
        let name = self.case.kind.name();
        match (&self.case.kind, self.statistics) {
            (Group { groups }, _) => format!("{name} {groups}"),
            (_, Statistics::Given) => format!("{name} inference"),
            (_, Statistics::Saved) => format!("{name} training"),
            (_, Statistics::Computed) => name.to_owned(),
        }
    }

    /// The shape in words: `4096x1024`.
    pub fn shape(&self) -> String {
        self.case.shape.iter().map(u64::to_string).collect::<Vec<_>>().join("x")
    }

    /// Where the channels are, in a word.
    pub fn format(&self) -> &'static str {
        match (&self.case.kind, self.case.format) {
            (Layer { .. } | Rms { .. }, _) => "rows",
            (_, ChannelsFirst) => "first",
            (_, ChannelsLast) => "last",
        }
    }

    /// Which pass of a network this is.
    pub fn pass(&self) -> &'static str {
        if self.statistics == Statistics::Saved { "training" } else { "forward" }
    }

    /// Bytes that no kernel can do without: each element read and written once, scale, bias and given statistics read.
    pub fn minimal_bytes(&self, affine_len: u64, channels: u64) -> u64 {
        let given = if self.statistics == Statistics::Given { 2 * channels } else { 0 };
        4 * (2 * self.case.len() + 2 * affine_len + given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minimal_bytes_are_two_transfers_and_the_parameters() {
        let layer = rows(LAYER, &[3, 5]);
        assert_eq!(layer.minimal_bytes(5, 0), 4 * (15 + 15 + 5 + 5));
        let training = new(Batch, &[2, 3, 4], ChannelsFirst, Statistics::Saved);
        assert_eq!(training.minimal_bytes(3, 3), 4 * (24 + 24 + 3 + 3));
        let inference = new(Batch, &[2, 3, 4], ChannelsFirst, Statistics::Given);
        assert_eq!(inference.minimal_bytes(3, 3), 4 * (24 + 24 + 3 + 3 + 3 + 3));
    }

    #[test]
    fn cases_can_be_planned_and_have_names_of_their_own() {
        for suite in Suite::value_variants() {
            let mut names = std::collections::BTreeSet::new();
            for case in suite.cases() {
                case.case.descriptor().validate().unwrap();
                assert!(names.insert((case.variant(), case.shape(), case.format())));
            }
        }
    }
}
