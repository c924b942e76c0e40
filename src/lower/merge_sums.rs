//! The merge of partial gradient sums: to what the map to the gradient of the input takes, and to gradients of scale
//! and bias.

use std::ops::Range;

use super::backward::{draft, is_plain, parameters};
use super::bindings::Unbindable;
use super::operands::segments_of;
use super::parts::{AffineMerge, MergeSums};
use super::{Lowering, access};
use crate::kernel::{Entry, Exchange, Settings};
use crate::operand::Operand;
use crate::partition::Partition;
use crate::plan::Reduction;

impl Lowering {
    /// Partial gradient sums (none: zeros) to what the map needs of segments, and to gradients of scale and bias.
    pub(crate) fn merge_sums(&mut self, reduction: &Reduction, merge: &MergeSums<'_>) -> Result<(), Unbindable> {
        let entry = Entry::MergeSums;
        let from = &merge.parts;
        let parts = from.statistics.elements();
        let wants = merge.coefficients.is_some() || merge.sums.is_some();
        let scale = from.scale.filter(|_| wants);
        if !wants && merge.affine.is_none() {
            return Ok(());
        }
        let wanted = [(wants, &from.statistics), (merge.affine.is_some(), &from.affine)];
        let wanted = || wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, partition)| partition);
        let records = wanted().map(|p| p.segment_len() * from.slices).max().unwrap_or(0);
        let columns = self.profile.merged_side_by_side(wanted().map(Partition::segments).sum(), records);
        // segments that are merged of parts side by side need all parts
        // and weights are found by parts from the tensor's start
        let alone = merge.affine.is_none() && scale.is_none() && from.slices == 1;
        let unit = if alone { from.statistics.segment_len() } else { parts };
        let apart = from.statistics.kept_outer * from.statistics.reduced_outer == 1;
        let units = [if apart { unit } else { parts }];
        let accesses = |range: &Range<u64>| {
            let mut all = Vec::new();
            if parts > 0 {
                let all_slices = from.slices * (range.end - range.start);
                all.push(access(Operand::Partials, from.partials, &(range.start..range.start + all_slices)));
            }
            let segments = match parts {
                0 => 0..from.statistics.segments(),
                _ => segments_of(&from.statistics, range),
            };
            if let Some((moments, coefficients)) = merge.coefficients {
                all.push(access(Operand::Moments, moments, &segments));
                all.push(access(Operand::Coefficients, coefficients, &(2 * segments.start..2 * segments.end)));
            }
            all.extend(merge.sums.map(|sums| access(Operand::Sums, sums, &segments)));
            all.extend(scale.map(|scale| access(Operand::Scale, scale, &(0..from.affine.segments()))));
            if let Some(affine) = merge.affine {
                all.extend(affine.accesses(&(0..from.affine.segments())));
            }
            all
        };
        let ranges =
            if parts == 0 { vec![Range::default()] } else { self.windows(entry, 0..parts, &units, &accesses)? };
        for range in ranges {
            let statistics = if range.end - range.start == parts {
                from.statistics
            } else {
                let len = from.statistics.segment_len();
                Partition::new(1, 1, (range.end - range.start) / len, len)
            };
            let tiles = if wants { statistics.segments().div_ceil(columns) } else { 0 };
            let workgroup = self.profile.workgroup_size;
            let affine = merge.affine.map(|affine| (affine, AffineMerge::new(from, columns, workgroup)));
            let tiles = tiles + affine.map_or(0, |(_, merge)| merge.groups.into());
            if tiles == 0 {
                continue;
            }
            let lines = workgroup / columns as u32;
            let parameters =
                parameters(&reduction.divisor).with(from.block(&statistics, [columns as u32, lines], affine));
            let overrides = Settings::default()
                .with("WORKGROUP", workgroup)
                .with("PLAIN", is_plain(&reduction.divisor, reduction.accumulator))
                .with("WEIGHED", scale.is_some())
                .with("KEEPS_SUMS", merge.sums.is_some());
            let draft = draft(entry, reduction.accumulator, Exchange::None, Settings::default(), overrides);
            self.dispatch(draft, parameters, &accesses(&range), tiles)?;
        }
        Ok(())
    }
}
