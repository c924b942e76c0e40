//! Maps dealt by words of what is written: tensors of 16 bits whose rows share words, or begin or end inside one.

use std::ops::Range;

use super::affine::affine_block;
use super::around::Around;
use super::backward::{BackwardMap, SegmentData, draft, is_plain, parameters};
use super::bindings::{Access, Unbindable};
use super::operands::segments_of;
use super::{Draft, Lowering, MapOperands, Tensor, access};
use crate::element::WORD;
use crate::kernel::blocks::{Divisor, Exact, Words};
use crate::kernel::parameters::Parameters;
use crate::kernel::{self, Entry, Exchange, Settings, Source};
use crate::operand::Operand;
use crate::partition::Partition;
use crate::plan::Reduction;
use crate::walk::lookup::{Found, Rows};

/// Sizes at which windows are cut, in elements.
const UNITS: [u64; 2] = [1 << 12, 8];

/// The tensors of a map by words.
struct Dealt<'a> {
    /// The one that the map is there for comes last: it may be written over what the others are made of.
    written: Vec<(Operand, Tensor)>,
    statistics: &'a Partition,
    affine: Option<&'a Partition>,
    row_len: u64,
    padded: bool,
    around: &'a Around,
}

/// Those that a dispatch writes, and the one by whose words it is dealt.
struct Share {
    by: (Operand, Tensor),
    all: Vec<Operand>,
}

/// Halves that lie alike share a dispatch; what has no halves goes with the first.
fn shares(written: &[(Operand, Tensor)]) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    for &(operand, tensor) in written.iter().filter(|(_, tensor)| tensor.element.grain() > 1) {
        let alike = |of: &Tensor| of.rows == tensor.rows && of.offset % WORD == tensor.offset % WORD;
        match shares.iter_mut().find(|share| alike(&share.by.1)) {
            Some(share) => share.all.push(operand),
            None => shares.push(Share { by: (operand, tensor), all: vec![operand] }),
        }
    }
    let others = written.iter().filter(|(_, tensor)| tensor.element.grain() == 1);
    // the last share may write over what they are made of
    match shares.first_mut() {
        Some(first) => first.all.extend(others.map(|(operand, _)| *operand)),
        None => shares.extend(written.first().map(|&by| Share { by, all: others.map(|(o, _)| *o).collect() })),
    }
    shares
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
            written: map.written(),
            statistics: partition,
            affine: map.affine.as_ref(),
            row_len: map.row_len(),
            padded: map.padded(),
            around: &map.around,
        };
        let overrides = Settings::default()
            .with("PLAIN", divisor.is_safe_root(reduction.accumulator))
            .with("FOLDED", map.scale.is_some() && divisor.infinities.folds_scale());
        let mut draft = draft(Entry::MapWords, reduction.accumulator, Exchange::None, Settings::default(), overrides);
        draft.source = Source::Values;
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
    ) -> Result<(), Unbindable> {
        let (moments, indexed) = &map.statistics;
        let dealt = Dealt {
            written: map.written(),
            statistics: indexed,
            affine: map.scale.as_ref().map(|(_, affine)| affine),
            row_len: map.row_len(),
            padded: !map.has_whole_rows(0),
            around: &map.around,
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
        accesses: &dyn Fn(&Range<u64>) -> Vec<Access>,
    ) -> Result<(), Unbindable> {
        for share in shares(&dealt.written) {
            let others = |access: &Access| dealt.written.iter().any(|(operand, _)| *operand == access.operand);
            let own = |range: &Range<u64>| {
                let mut all = accesses(range);
                all.retain(|access| !others(access) || share.all.contains(&access.operand));
                all
            };
            self.deal_share(draft, parameters, dealt, share.by, &own)?;
        }
        Ok(())
    }

    /// By the words of one.
    fn deal_share(
        &mut self,
        draft: Draft,
        parameters: &Parameters,
        dealt: &Dealt<'_>,
        (by, written): (Operand, Tensor),
        accesses: &dyn Fn(&Range<u64>) -> Vec<Access>,
    ) -> Result<(), Unbindable> {
        let elements = dealt.statistics.elements();
        let one = Partition::new(1, 1, 1, elements);
        let rows = |partition: &Partition| Rows::new(partition, 1).or_else(|| Rows::new(&one, 1));
        let (Some(statistics), Some(affine)) = (rows(dealt.statistics), rows(dealt.affine.unwrap_or(&one))) else {
            return Ok(());
        };
        let workgroup = self.profile.workgroup_size;
        let around = kernel::Around { dealt: Some(by), ..dealt.around.key() };
        let overrides = dealt.around.settings(draft.overrides, 1);
        for range in self.windows(draft.entry, 0..elements, &UNITS, accesses)? {
            let accesses = accesses(&range);
            let (placed, weights) = (statistics.placed(&range, false), affine.placed(&range, false));
            let bytes = written.bytes(&range, written.element.bytes());
            let vector = 4 * written.element.bytes();
            let vectors = bytes.end.div_ceil(vector) - bytes.start / vector;
            let block = Words {
                statistics: placed.lookup,
                elements: (range.end - range.start) as u32,
                vectors: vectors as u32,
                first_row: placed.first_row,
                pad: 0,
            };
            let overrides = overrides
                .with("WORKGROUP", workgroup)
                .with("PADDED", dealt.padded)
                .with("AFFINE", Found::Row as u32)
                .with("AFFINE_BASE", weights.by_row);
            let column = if dealt.padded { range.start % dealt.row_len.max(1) } else { 0 };
            let mut draft = draft;
            (draft.overrides, draft.column, draft.around) = (overrides, column, around);
            let parameters = parameters.clone().with(block).with(affine_block(Some(&weights)));
            let parameters = dealt.around.parameters(parameters, &range);
            self.dispatch(draft, parameters, &accesses, vectors.div_ceil(workgroup.into()))?;
        }
        Ok(())
    }
}
