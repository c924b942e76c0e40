//! Maps dealt by words of what is written: tensors of 16 bits whose rows share words, or begin or end inside one.

use std::ops::Range;

use super::affine::affine_block;
use super::backward::{BackwardMap, SegmentData, draft, is_plain, parameters};
use super::bindings::{Access, Unbindable};
use super::operands::segments_of;
use super::{Draft, Lowering, MapOperands, Tensor, access};
use crate::kernel::blocks::{Divisor, Exact, Words};
use crate::kernel::parameters::Parameters;
use crate::kernel::{Entry, Exchange, Settings, Source};
use crate::operand::Operand;
use crate::partition::Partition;
use crate::plan::Reduction;
use crate::walk::lookup::{Found, Rows};

/// Sizes at which windows are cut, in elements.
const UNITS: [u64; 2] = [1 << 12, 8];

/// The tensors of a map by words.
struct Dealt<'a> {
    written: Tensor,
    statistics: &'a Partition,
    affine: Option<&'a Partition>,
    row_len: u64,
    padded: bool,
}

impl Lowering {
    /// Normalizes every element by the moments of its segment of `partition`, one record each.
    pub(super) fn map_words(
        &mut self,
        reduction: &Reduction,
        partition: &Partition,
        map: &MapOperands,
        records: Option<Tensor>,
    ) -> Result<(), Unbindable> {
        let divisor = &reduction.divisor;
        let dealt = Dealt {
            written: map.output,
            statistics: partition,
            affine: map.affine.as_ref(),
            row_len: map.row_len,
            padded: map.padded(),
        };
        let overrides = Settings::default()
            .with("PLAIN", divisor.is_safe_root(reduction.accumulator))
            .with("FOLDED", map.scale.is_some() && divisor.infinities.folds_scale());
        let draft = draft(Entry::MapWords, reduction.accumulator, Exchange::None, Settings::default(), overrides);
        let draft = Draft { source: Source::Values, ..draft };
        let parameters = Parameters::default().with(Exact::NEW).with(Divisor::from(divisor));
        self.deal(draft, &parameters, &dealt, &|range| {
            let mut all = map.accesses(range);
            all.extend(records.map(|tensor| access(Operand::Partials, tensor, &segments_of(partition, range))));
            all
        })
    }

    /// The gradient to the input from coefficients of its segments, or from given statistics.
    pub(super) fn map_words_backward(
        &mut self,
        reduction: &Reduction,
        map: &BackwardMap,
        from: &SegmentData<'_>,
        grad_input: Tensor,
    ) -> Result<(), Unbindable> {
        let (moments, indexed) = &map.statistics;
        let dealt = Dealt {
            written: grad_input,
            statistics: indexed,
            affine: map.scale.as_ref().map(|(_, affine)| affine),
            row_len: map.row_len,
            padded: !map.has_whole_rows(0),
        };
        let overrides = Settings::default()
            .with("PLAIN", is_plain(&reduction.divisor, reduction.accumulator))
            .with("SCALE_LAST", map.scale_last);
        let entry = Entry::MapWordsBackward;
        let draft = draft(entry, reduction.accumulator, Exchange::None, Settings::default(), overrides);
        self.deal(draft, &parameters(&reduction.divisor), &dealt, &|range| {
            let mut all = map.tensors(range);
            all.extend(map.scale(range));
            let segments = segments_of(indexed, range);
            match from {
                SegmentData::Coefficients(tensor) => {
                    all.push(access(Operand::Coefficients, *tensor, &(2 * segments.start..2 * segments.end)));
                }
                _ => {
                    all.retain(|access| access.operand != Operand::Input);
                    all.push(access(Operand::Moments, *moments, &segments));
                }
            }
            all
        })
    }

    /// A lane for every four places that are written.
    fn deal(
        &mut self,
        draft: Draft,
        parameters: &Parameters,
        dealt: &Dealt<'_>,
        accesses: &impl Fn(&Range<u64>) -> Vec<Access>,
    ) -> Result<(), Unbindable> {
        let elements = dealt.statistics.elements();
        let one = Partition::new(1, 1, 1, elements);
        let rows = |partition: &Partition| Rows::new(partition, 1).or_else(|| Rows::new(&one, 1));
        let (Some(statistics), Some(affine)) = (rows(dealt.statistics), rows(dealt.affine.unwrap_or(&one))) else {
            return Ok(());
        };
        let workgroup = self.profile.workgroup_size;
        for range in self.windows(draft.entry, 0..elements, &UNITS, accesses)? {
            let accesses = accesses(&range);
            let (placed, weights) = (statistics.placed(&range, false), affine.placed(&range, false));
            let bytes = dealt.written.bytes(&range, dealt.written.element.bytes());
            let vector = 4 * dealt.written.element.bytes();
            let vectors = bytes.end.div_ceil(vector) - bytes.start / vector;
            let block = Words {
                statistics: placed.lookup,
                elements: (range.end - range.start) as u32,
                vectors: vectors as u32,
                first_row: placed.first_row,
                pad: 0,
            };
            let overrides = draft
                .overrides
                .with("WORKGROUP", workgroup)
                .with("AFFINE", Found::Row as u32)
                .with("AFFINE_BASE", weights.by_row);
            let column = if dealt.padded { range.start % dealt.row_len.max(1) } else { 0 };
            let draft = Draft { overrides, column, ..draft };
            let parameters = parameters.clone().with(block).with(affine_block(Some(&weights)));
            self.dispatch(draft, parameters, &accesses, vectors.div_ceil(workgroup.into()))?;
        }
        Ok(())
    }
}
