//! Stages of a norm to dispatches: windows, parameters, bindings. Pure: buffers are places in a table.

mod affine;
mod around;
mod backward;
pub(crate) mod bindings;
mod compose;
mod convert;
mod forward;
mod map;
mod merge;
mod merge_sums;
mod operands;
mod parts;
mod quantize;
mod reduce;
mod tensor;
mod words;

pub(crate) use around::{After, Around, Before, Broadcast, Delta, Multiply, Terms};
pub(crate) use backward::{BackwardMap, SegmentData};
pub(crate) use compose::{AffineLists, List, Maps};
pub(crate) use map::Moments;
pub(crate) use operands::{MapOperands, MergeOperands, RunningTensors};
pub(crate) use parts::{AffineGradients, MergeSums, SumParts};
pub(crate) use quantize::QuantizeOperands;
pub(crate) use reduce::{GradientOperands, Summed};
pub(crate) use tensor::{Tensor, access};

use std::ops::Range;

use crate::element::Element;
use crate::error::BindError;
use crate::facts::DeviceFacts;
use crate::kernel::parameters::Parameters;
use crate::kernel::{self, Entry, Exchange, F16_BUILTINS, Kernel, MAX_SLOTS, SPREAD, Settings, Source, is_tensor};
use crate::moments::Accumulator;
use crate::operand::Operand;
use crate::recipe::{self, Recipe};
use crate::schedule::DeviceProfile;
use crate::walk::window;
use bindings::{Access, BindingLimits, Slot, Unbindable, VectorWalk};

/// One dispatch, ready to be given a pipeline and a bind group.
#[derive(Clone, Debug)]
pub(crate) struct Dispatch {
    pub key: Kernel,
    pub slots: Vec<Slot>,
    pub parameters: Parameters,
    pub workgroups: u64,
}

/// What all stages of one binding share.
pub(crate) struct Lowering {
    facts: DeviceFacts,
    limits: BindingLimits,
    pub profile: DeviceProfile,
    /// Bytes of the buffers of the table.
    sizes: Vec<u64>,
    /// 1 is added to every scale that a norm's kernels read.
    pub one_plus: bool,
    pub dispatches: Vec<Dispatch>,
}

/// A kernel before its bindings are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft {
    pub entry: Entry,
    pub accumulator: Option<Accumulator>,
    pub source: Source,
    pub exchange: Exchange,
    pub across: bool,
    pub consts: Settings,
    pub around: kernel::Around,
    /// HEADS is decided by the bindings, where it is not set.
    pub overrides: Settings,
    /// How rows are walked: what can be read by vectors. `None`: by words.
    pub walk: Option<VectorWalk>,
    /// Column of the window's first element in its row of the innermost axis, where rows are padded.
    pub column: u64,
}

impl Lowering {
    pub(crate) fn new(facts: DeviceFacts, profile: DeviceProfile, sizes: Vec<u64>) -> Self {
        let limits = BindingLimits {
            // a range is bound in words
            max_bytes: facts.max_binding / 4 * 4,
            max_slots: facts.max_storage_buffers,
            align: facts.align(),
        };
        Self { facts, limits, profile, sizes, one_plus: false, dispatches: Vec::new() }
    }

    /// Whether a dispatch may have the most bindings that a kernel takes.
    pub(crate) fn has_all_slots(&self) -> bool {
        self.facts.max_storage_buffers as usize >= MAX_SLOTS
    }

    /// The recipe of what has been lowered, over these buffers.
    pub(crate) fn recipe<B>(self, operation: &'static str, buffers: Vec<B>) -> Result<Recipe<B>, BindError> {
        let mut kernels = Vec::new();
        let max = u64::from(self.facts.max_workgroup_count);
        let dispatches = self.dispatches.iter().map(|dispatch| {
            let kernel = kernels.iter().position(|key| *key == dispatch.key).unwrap_or_else(|| {
                kernels.push(dispatch.key);
                kernels.len() - 1
            });
            let binding = |(slot, writes): (&Slot, bool)| recipe::Binding {
                buffer: slot.buffer,
                offset: slot.bytes.start,
                size: slot.bytes.end - slot.bytes.start,
                writes,
            };
            Ok(recipe::Dispatch {
                kernel,
                workgroups: grid(operation, dispatch.workgroups, max)?,
                parameters: dispatch.parameters.bytes(&dispatch.key.fields()),
                bindings: dispatch.slots.iter().zip(dispatch.key.layout.writes()).map(binding).collect(),
            })
        });
        let dispatches = dispatches.collect::<Result<_, _>>()?;
        Ok(Recipe { operation, buffers, kernels, dispatches })
    }

    /// Cuts `range` at multiples of `units` (descending) until what each part touches can be bound.
    fn windows(
        &self,
        entry: Entry,
        range: Range<u64>,
        units: &[u64],
        accesses: &dyn Fn(&Range<u64>) -> Vec<Access>,
    ) -> Result<Vec<Range<u64>>, Unbindable> {
        let mut out = Vec::new();
        if !range.is_empty() {
            window::cut(
                range,
                units,
                &|r| bindings::bind(entry, &accesses(r), &self.limits, None, &self.sizes).map(|_| ()),
                &mut out,
            )?;
        }
        Ok(out)
    }

    /// Whether input and output of a dispatch are bound as vectors.
    fn takes_vectors(&self, entry: Entry, accesses: &[Access], walk: Option<VectorWalk>) -> Result<bool, Unbindable> {
        let layout = bindings::bind(entry, accesses, &self.limits, walk, &self.sizes)?.layout;
        let tensors = entry.operands().iter().zip(layout.slot_of).filter(|((operand, _), _)| is_tensor(*operand));
        let mut slots = tensors.filter_map(|(_, slot)| slot);
        Ok(walk.is_some() && slots.all(|slot| layout.slots[usize::from(slot)].content.is_vectors()))
    }

    /// Binds what a dispatch touches and adds it. Settings that have to do with bindings, and the block `places`, come
    /// from here.
    pub(crate) fn dispatch(
        &mut self,
        draft: Draft,
        parameters: Parameters,
        accesses: &[Access],
        workgroups: u64,
    ) -> Result<(), Unbindable> {
        let bound = bindings::bind(draft.entry, accesses, &self.limits, draft.walk, &self.sizes)?;
        let overrides = match accesses.iter().any(|access| is_tensor(access.operand) && access.element.grain() > 1) {
            true if draft.consts.get(SPREAD).is_some() => draft.overrides.with("GRAIN", 2u32),
            _ => draft.overrides,
        };
        let leads = bound.leads && overrides.get("HEADS").is_none();
        let overrides = if leads { overrides.with("HEADS", true) } else { overrides };
        let Draft { entry, accumulator, source, exchange, across, consts, column, around, .. } = draft;
        let rows = accesses.iter().filter(|access| is_tensor(access.operand)).find_map(|access| access.rows);
        let layout = bound.layout;
        let elements = bound.elements;
        let padded = rows.is_some();
        let lists = matches!(entry, Entry::Compose | Entry::Decompose);
        let reads = accesses.iter().any(|access| access.operand == Operand::Scale);
        let around = kernel::Around { one_plus: self.one_plus && reads && !lists, ..around };
        let mut key = Kernel {
            entry,
            accumulator,
            source,
            exchange,
            layout,
            elements,
            around,
            padded,
            across,
            consts,
            overrides,
        };
        if self.profile.f16_builtins && key.converts(Element::F16) {
            key.consts = key.consts.with(F16_BUILTINS, true);
        }
        let row_len = rows.map_or(1, |(len, _)| len);
        let mut places = vec![bound.phase, row_len as u32, column as u32, workgroups as u32];
        for (operand, offset) in key.operands().zip(bound.offsets).filter_map(|((o, slot), at)| slot.map(|_| (o, at))) {
            places.push(offset);
            if is_tensor(operand) {
                let own = accesses.iter().find(|access| access.operand == operand).and_then(|access| access.rows);
                places.push(own.map_or(row_len, |(_, stride)| stride) as u32);
            }
        }
        let parameters = parameters.with_bytes("places", bytemuck::cast_slice(&places));
        self.dispatches.push(Dispatch { key, slots: bound.slots, parameters, workgroups });
        Ok(())
    }
}

/// Workgroups as a grid of two dimensions, whose last few may be too many: kernels see to it that those write nothing.
fn grid(operation: &'static str, workgroups: u64, max: u64) -> Result<[u32; 2], BindError> {
    let rows = workgroups.div_ceil(max).max(1);
    if rows > max {
        let (limit, available) = ("max_compute_workgroups_per_dimension", max);
        return Err(BindError::Limit { operation, limit, needed: rows, available });
    }
    Ok([workgroups.div_ceil(rows) as u32, rows as u32])
}
