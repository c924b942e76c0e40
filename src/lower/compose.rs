//! Two affine maps, one after the other, as one; lists side by side; and the way back.

use super::around::Broadcast;
use super::bindings::Unbindable;
use super::convert::draft;
use super::{Draft, Lowering, Tensor, access};
use crate::kernel::blocks::{self, Exact};
use crate::kernel::parameters::Parameters;
use crate::kernel::{Entry, Settings};
use crate::operand::Operand;
use crate::partition::Partition;

/// Elements of a list side by side, with some lanes for each.
const COLUMNS: u32 = 8;

/// The lists of an affine map, and its segments as those of the elements of a list of finer ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AffineLists {
    pub partition: Partition,
    pub scale: Option<Tensor>,
    pub bias: Option<Tensor>,
    /// 1 is added to the scale.
    pub one_plus: bool,
}

impl AffineLists {
    /// A summand alone.
    pub(crate) fn bias(partition: Partition, bias: Option<Tensor>) -> Self {
        Self { partition, scale: None, bias, one_plus: false }
    }
}

/// Two maps, one after the other, and how many segments the finer has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Maps {
    pub len: u64,
    pub first: AffineLists,
    pub second: AffineLists,
}

/// Which list of two maps a gradient is one to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum List {
    SecondBias = 0,
    SecondScale = 1,
    FirstBias = 2,
    FirstScale = 3,
}

impl Maps {
    fn lists(&self) -> [(Operand, Option<Tensor>, Partition); 4] {
        let (first, second) = (&self.first, &self.second);
        [
            (Operand::Scale, first.scale, first.partition),
            (Operand::Bias, first.bias, first.partition),
            (Operand::ModulationScale, second.scale, second.partition),
            (Operand::ModulationShift, second.bias, second.partition),
        ]
    }

    fn parameters(&self) -> Parameters {
        let parameters = Parameters::default().with(Exact::NEW);
        self.lists().into_iter().fold(parameters, |parameters, (operand, tensor, partition)| {
            let of = Broadcast { tensor: tensor.unwrap_or(Tensor::NOWHERE), partition };
            parameters.with_bytes(operand.name(), bytemuck::bytes_of(&of.block(&(0..self.len))))
        })
    }

    fn draft(&self, entry: Entry) -> Draft {
        let overrides = Settings::default()
            .with("FIRST_ONE_PLUS", self.first.one_plus)
            .with("SECOND_ONE_PLUS", self.second.one_plus);
        Draft { overrides, ..draft(entry) }
    }
}

impl Lowering {
    /// Both maps as one: a scale and a bias for each of the finer segments.
    pub(crate) fn compose(
        &mut self,
        maps: &Maps,
        scale: Option<Tensor>,
        bias: Option<Tensor>,
    ) -> Result<(), Unbindable> {
        let Some(written) = scale.or(bias).filter(|_| maps.len > 0) else { return Ok(()) };
        let all = 0..maps.len;
        let mut accesses = Vec::new();
        for (operand, tensor, partition) in maps.lists() {
            accesses.extend(tensor.map(|tensor| access(operand, tensor, &(0..partition.segments()))));
        }
        accesses.extend(scale.map(|tensor| access(Operand::ComposedScale, tensor, &all)));
        accesses.extend(bias.map(|tensor| access(Operand::ComposedBias, tensor, &all)));
        self.each(maps.draft(Entry::Compose), maps.len, &maps.parameters(), written, &|_| accesses.clone())
    }

    /// From the gradients to the composed scale and bias to that of one of the lists.
    pub(crate) fn decompose(
        &mut self,
        maps: &Maps,
        list: List,
        [grad_scale, grad_bias]: [Option<Tensor>; 2],
        gradient: Tensor,
    ) -> Result<(), Unbindable> {
        let partition = match list {
            List::FirstScale | List::FirstBias => maps.first.partition,
            List::SecondScale | List::SecondBias => maps.second.partition,
        };
        let (all, len) = (0..maps.len, partition.segments());
        if len == 0 {
            return Ok(());
        }
        let wanted = |operand: Operand| match list {
            List::SecondBias => false,
            List::SecondScale => matches!(operand, Operand::Scale | Operand::Bias),
            List::FirstBias | List::FirstScale => operand == Operand::ModulationScale,
        };
        let mut accesses = vec![access(Operand::Rounded, gradient, &(0..len))];
        // of no segments there is nothing to read
        let read = |operand: Operand, of: &Partition| wanted(operand) && of.segments() > 0;
        for (operand, tensor, partition) in maps.lists().into_iter().filter(|(operand, _, of)| read(*operand, of)) {
            accesses.extend(tensor.map(|tensor| access(operand, tensor, &(0..partition.segments()))));
        }
        let sums = [(Operand::ComposedScale, grad_scale), (Operand::ComposedBias, grad_bias)];
        for (operand, tensor) in sums {
            accesses.extend(tensor.filter(|_| maps.len > 0).map(|tensor| access(operand, tensor, &all)));
        }
        let dims = partition.dims().map(|size| size as u32);
        let (workgroup, grain) = (self.profile.workgroup_size, gradient.element.grain());
        let phase = gradient.offset / gradient.element.bytes() % grain;
        let units = (phase + len).div_ceil(grain);
        let block = blocks::Decompose { dims, segments: len as u32, grain: grain as u32, phase: phase as u32, pad: 0 };
        let mut draft = maps.draft(Entry::Decompose);
        draft.overrides = draft
            .overrides
            .with("KIND", list as u32)
            .with("WORKGROUP", workgroup)
            .with("COLUMNS", COLUMNS)
            .with("LINES", workgroup / COLUMNS);
        self.dispatch(draft, maps.parameters().with(block), &accesses, units.div_ceil(COLUMNS.into()))
    }
}
