//! Results as bytes, with their scales.

use super::bindings::Unbindable;
use super::convert::draft;
use super::{Lowering, Tensor, access};
use crate::fusion::{QuantFormat, QuantScale, Quantization};
use crate::kernel::blocks::{Exact, Quantize, Scales};
use crate::kernel::parameters::Parameters;
use crate::kernel::{Entry, Settings};
use crate::operand::Operand;

/// Lanes that look for the largest magnitude of a row or block.
const SCALE_LANES: u32 = 64;

/// Operands of a quantization.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QuantizeOperands {
    pub unquantized: Tensor,
    /// Bytes, from any offset on.
    pub quantized: Tensor,
    /// Written, or with one scale for all read.
    pub scales: Tensor,
    pub elements: u64,
    /// Elements of a row.
    pub width: u64,
}

impl Quantization {
    /// Columns that share a scale, of rows of `width` elements.
    fn block(&self, width: u64) -> u64 {
        match self.scale {
            QuantScale::Block { columns } => columns.min(width.max(1)),
            QuantScale::Row | QuantScale::Static => width.max(1),
        }
    }

    /// Scales of a tensor of so many elements in rows of `width`.
    pub(crate) fn scales(&self, elements: u64, width: u64) -> u64 {
        match self.scale {
            QuantScale::Static => 1,
            _ => elements.checked_div(width).unwrap_or(0) * width.div_ceil(self.block(width)),
        }
    }
}

impl Lowering {
    /// Makes bytes of numbers.
    pub(crate) fn quantize(&mut self, how: &Quantization, of: &QuantizeOperands) -> Result<(), Unbindable> {
        if of.elements == 0 {
            return Ok(());
        }
        let scales = how.scales(of.elements, of.width);
        let unquantized = access(Operand::Unquantized, of.unquantized, &(0..of.elements));
        let scale = access(Operand::Scales, of.scales, &(0..scales));
        let (block, width) = (how.block(of.width) as u32, of.width as u32);
        let blocks = width.div_ceil(block);
        if how.scale != QuantScale::Static {
            let largest = if how.format == QuantFormat::Int8 { 127.0 } else { 448.0 };
            let block = Scales { width, block, blocks, largest, least: how.least, pad: [0; 3] };
            let overrides = Settings::default().with("WORKGROUP", SCALE_LANES);
            let parameters = Parameters::default().with(Exact::NEW).with(block);
            let mut draft = draft(Entry::Scales);
            draft.overrides = overrides;
            self.dispatch(draft, parameters, &[unquantized.clone(), scale.clone()], scales)?;
        }
        let phase = of.quantized.offset % 4;
        let words = (phase + of.elements).div_ceil(4);
        let workgroup = self.profile.workgroup_size;
        let overrides = Settings::default()
            .with("WORKGROUP", workgroup)
            .with("E4M3", how.format == QuantFormat::E4m3)
            .with("STATIC", how.scale == QuantScale::Static)
            .with("ALIGNED", phase == 0);
        let block = Quantize {
            elements: of.elements as u32,
            words: words as u32,
            phase: phase as u32,
            width,
            block,
            blocks,
            pad: [0; 2],
        };
        let parameters = Parameters::default().with(Exact::NEW).with(block);
        let bytes = access(Operand::Quantized, of.quantized, &(0..of.elements));
        let mut draft = draft(Entry::Quantize);
        draft.overrides = overrides;
        self.dispatch(draft, parameters, &[unquantized, scale, bytes], words.div_ceil(workgroup.into()))
    }
}
