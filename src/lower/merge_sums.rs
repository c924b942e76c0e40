//! The merge of partial gradient sums: to what the map to the gradient of the input takes, and to gradients of scale
//! and bias.

use std::ops::Range;

use super::backward::{AffineGradients, draft, is_plain, parameters};
use super::bindings::Unbindable;
use super::operands::segments_of;
use super::{Lowering, Tensor, access};
use crate::kernel::{Entry, Exchange, Settings, blocks};
use crate::operand::Operand;
use crate::partition::Partition;
use crate::plan::Reduction;

/// Operands of a merge of gradient sums.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MergeSums<'a> {
    /// Sums of parts, which share both partitions' segments, in slices one after the other.
    pub partials: Tensor,
    pub slices: u64,
    /// The parts, as elements of two partitions.
    pub statistics: Partition,
    pub affine_parts: Partition,
    /// Moments, and where coefficients go.
    pub coefficients: Option<(Tensor, Tensor)>,
    /// Where sums go instead.
    pub sums: Option<Tensor>,
    /// Weights of the parts, by affine segment.
    pub scale: Option<Tensor>,
    pub affine: Option<&'a AffineGradients<'a>>,
}

impl MergeSums<'_> {
    /// Of one slice, to nothing yet.
    pub(crate) fn new(partials: Tensor, statistics: Partition) -> Self {
        let affine_parts = Partition::new(1, 1, 1, statistics.elements());
        Self {
            partials,
            slices: 1,
            statistics,
            affine_parts,
            coefficients: None,
            sums: None,
            scale: None,
            affine: None,
        }
    }
}

impl Lowering {
    /// Partial gradient sums (none: zeros) to what the map needs of segments, and to gradients of scale and bias.
    pub(crate) fn merge_sums(&mut self, reduction: &Reduction, merge: &MergeSums<'_>) -> Result<(), Unbindable> {
        let entry = Entry::MergeSums;
        let parts = merge.statistics.elements();
        let wants = merge.coefficients.is_some() || merge.sums.is_some();
        let wanted = [(wants, &merge.statistics), (merge.affine.is_some(), &merge.affine_parts)];
        let wanted = || wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, partition)| partition);
        let records = wanted().map(|p| p.segment_len() * merge.slices).max().unwrap_or(0);
        let columns = self.profile.merged_side_by_side(wanted().map(Partition::segments).sum(), records);
        // segments that are merged of parts side by side need all parts
        let unit = if merge.affine.is_none() && merge.slices == 1 { merge.statistics.segment_len() } else { parts };
        let apart = merge.statistics.kept_outer * merge.statistics.reduced_outer == 1;
        let units = [if apart { unit } else { parts }];
        let accesses = |range: &Range<u64>| {
            let mut all = Vec::new();
            if parts > 0 {
                let all_slices = merge.slices * (range.end - range.start);
                all.push(access(Operand::Partials, merge.partials, &(range.start..range.start + all_slices)));
            }
            let segments = match parts {
                0 => 0..merge.statistics.segments(),
                _ => segments_of(&merge.statistics, range),
            };
            if let Some((moments, coefficients)) = merge.coefficients {
                all.push(access(Operand::Moments, moments, &segments));
                all.push(access(Operand::Coefficients, coefficients, &(2 * segments.start..2 * segments.end)));
            }
            all.extend(merge.sums.map(|sums| access(Operand::Sums, sums, &segments)));
            all.extend(merge.scale.map(|scale| access(Operand::Scale, scale, &(0..merge.affine_parts.segments()))));
            if let Some(affine) = merge.affine {
                all.extend(affine.accesses(&(0..merge.affine_parts.segments())));
            }
            all
        };
        let ranges =
            if parts == 0 { vec![Range::default()] } else { self.windows(entry, 0..parts, &units, &accesses)? };
        for range in ranges {
            let statistics = if range.end - range.start == parts {
                merge.statistics
            } else {
                let len = merge.statistics.segment_len();
                Partition::new(1, 1, (range.end - range.start) / len, len)
            };
            let tiles = if wants { statistics.segments().div_ceil(columns) } else { 0 };
            let affine_tiles = merge.affine.map_or(0, |_| merge.affine_parts.segments().div_ceil(columns));
            if tiles + affine_tiles == 0 {
                continue;
            }
            let dims = |p: &Partition| p.dims().map(|n| n as u32);
            let factor = merge.affine.map_or([1.0; 2], |affine| affine.factor);
            let parameters = parameters(&reduction.divisor).with(blocks::MergeSums {
                statistics: dims(&statistics),
                affine: dims(&merge.affine_parts),
                partials: merge.slices as u32,
                stride: parts as u32,
                tiles: tiles as u32,
                factor_scale: factor[1],
                factor_bias: factor[0],
                ..Default::default()
            });
            let workgroup = self.profile.workgroup_size;
            let overrides = Settings::default()
                .with("WORKGROUP", workgroup)
                .with("COLUMNS", columns as u32)
                .with("SLICES", workgroup / columns as u32)
                .with("PLAIN", is_plain(&reduction.divisor, reduction.accumulator))
                .with("WEIGHED", merge.scale.is_some())
                .with("KEEPS_SUMS", merge.sums.is_some());
            let draft = draft(entry, reduction.accumulator, Exchange::None, Settings::default(), overrides);
            self.dispatch(draft, parameters, &accesses(&range), tiles + affine_tiles)?;
        }
        Ok(())
    }
}
