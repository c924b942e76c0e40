//! What a case of family `fused` means in our words: the norm with what stands around it, and where operands lie.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use wgpu_norm::{
    Affine, AffineAxes, BackwardArgs, Buffer, Element, Epilogue, Fusion, MemoryFormat, Modulation, Multiplier,
    NormDescriptor, NormKind, NormalizedRounding, PlanError, Prologue, SumRounding, TensorView, Types,
};
use wgpu_norm_tools::elements;

use crate::fused::place::Place;
use crate::fused::{args, attributes};
use crate::golden::Request;
use crate::setup::{self, Support};

/// How far the program is with a case of this family.
pub fn support(request: &Request) -> Support {
    let fused = &request.attrs.fused;
    // the engine adds a gradient that arrives to that of the sum: behind a multiplier that is another one
    let beyond = fused.prologue.is_some() && request.inputs.contains_key("dx_addend");
    if beyond { Support::NotYet } else { Support::Runs }
}

/// A norm as a case describes it, with the axes in the order in which the input lies in memory.
pub struct Setup<'a> {
    request: &'a Request,
    kind: NormKind<'static>,
    format: MemoryFormat,
    /// Sizes of the axes in memory, groups of columns split off.
    shape: Vec<u64>,
    /// The recorded axis of each axis in memory.
    order: Vec<usize>,
    /// The axes in memory of each operand.
    axes: BTreeMap<&'a str, Vec<usize>>,
    /// Those of weight and bias where they are not the kind's.
    affine_axes: Option<Vec<usize>>,
    /// Element types.
    pub types: Types,
}

impl<'a> Setup<'a> {
    /// The norm of a case that [`support`] lets run.
    pub fn of(request: &'a Request) -> Result<Self, PlanError> {
        let fused = &request.attrs.fused;
        let none = || Place { of: String::new(), offset: 0, shape: Vec::new(), strides: Vec::new() };
        let input = Place::recorded(request, "input").unwrap_or_else(none);
        let rank = input.shape.len();
        let reduced = reduced_axes(request, &input.shape)?;
        let mut order: Vec<usize> = (0..rank).collect();
        // Only axes outside of all statistics: those inside are the kind's.
        let outside = reduced.as_ref().map_or(0, |axes| axes.start);
        order[..outside].sort_by_key(|&axis| Reverse(input.strides[axis]));
        let last = fused.channel_axis == Some(-1) && rank > 2;
        let mut setup = Self {
            request,
            kind: kind(request, reduced.clone()),
            format: if last { MemoryFormat::ChannelsLast } else { MemoryFormat::ChannelsFirst },
            shape: Vec::new(),
            order,
            axes: BTreeMap::new(),
            affine_axes: None,
            types: types(request),
        };
        setup.shape = setup.place("input").unwrap_or_else(none).shape;
        setup.axes = fused.operand_axes.iter().map(|(name, axes)| (name.as_str(), setup.in_memory(axes))).collect();
        let own = reduced.unwrap_or(if last { rank - 1..rank } else { 1..2 });
        let affine = setup.axes.get("weight").or(setup.axes.get("bias"));
        setup.affine_axes = affine.filter(|axes| !axes.iter().copied().eq(own)).cloned();
        Ok(setup)
    }

    /// The norm.
    pub fn descriptor(&self) -> NormDescriptor<'_> {
        let has = |name: &str| self.axes.get(name).map(drop);
        NormDescriptor {
            format: self.format,
            eps: setup::epsilon(self.request),
            affine: Affine::with(has("weight"), has("bias")),
            affine_axes: self.affine_axes.as_deref().map_or(AffineAxes::OfKind, AffineAxes::Axes),
            types: self.types,
            fusion: self.fusion(),
            ..NormDescriptor::new(self.kind.clone(), &self.shape)
        }
    }

    /// Whether statistics are those of the record, not the input's own.
    pub fn is_given(&self) -> bool {
        self.request.attrs.training == Some(false)
    }

    /// Whether running statistics take in the input's.
    pub fn is_training(&self) -> bool {
        self.request.attrs.training == Some(true)
    }

    /// Whether saved statistics have a mean.
    pub fn is_centred(&self) -> bool {
        !matches!(self.kind, NormKind::Rms { .. })
    }

    /// Type in which the sum is kept for backward; `None` where the input itself is normalized. It is rounded to the
    /// type that is asked for only where statistics see it so.
    pub fn sum_element(&self) -> Option<Element> {
        self.request.attrs.fused.prologue.as_ref().map(|prologue| match self.sum_rounding(prologue.rounding) {
            SumRounding::AsStored(element) => element,
            _ => Element::F32,
        })
    }

    /// Element type of an operand.
    pub fn element(&self, name: &str) -> Element {
        element(self.request, name)
    }

    /// Where the operand `name` lies, with its axes in memory order; `None` where the case has none.
    pub fn place(&self, name: &str) -> Option<Place> {
        let place = Place::recorded(self.request, name)?;
        let axes = self.recorded_axes(name, place.shape.len());
        // one of another rank is refused for its length
        let order = Some(self.own_order(&axes)).filter(|order| order.len() == place.shape.len());
        let place = if let Some(order) = order { place.permuted(&order) } else { place };
        let is_split = axes.last().is_some_and(|axis| axis + 1 == self.order.len());
        Some(match self.request.attrs.fused.group_size.filter(|_| is_split) {
            Some(size) => place.split(size),
            None => place,
        })
    }

    /// The elements of a result with the axes in the order of the record.
    pub fn restore(&self, result: &str, shape: &[u64], values: Vec<f32>) -> Vec<f32> {
        // statistics have the first axes, results without a parameter's name all
        let axes = self.recorded_axes(result.strip_prefix('d').unwrap_or(result), shape.len());
        let order = self.own_order(&axes);
        if order.is_sorted() || order.len() != shape.len() {
            return values;
        }
        let mut back = vec![0; order.len()];
        for (place, &axis) in order.iter().enumerate() {
            back[axis] = place;
        }
        let memory: Vec<u64> = order.iter().map(|&axis| shape[axis]).collect();
        setup::permute(&values, &memory, &back)
    }

    /// The recorded axes of an operand; those that the record does not name have all, or the first `rank`.
    fn recorded_axes(&self, name: &str, rank: usize) -> Vec<usize> {
        self.request.attrs.fused.operand_axes.get(name).cloned().unwrap_or_else(|| (0..rank).collect())
    }

    /// For each axis in memory that is among `axes`: which of them it is.
    fn own_order(&self, axes: &[usize]) -> Vec<usize> {
        self.order.iter().filter_map(|axis| axes.iter().position(|own| own == axis)).collect()
    }

    /// These recorded axes in memory.
    fn in_memory(&self, axes: &[usize]) -> Vec<usize> {
        let rank = self.order.len();
        let mut all: Vec<usize> = (0..rank).filter(|&place| axes.contains(&self.order[place])).collect();
        // the last one is two where it is split
        all.extend((rank..self.shape.len()).filter(|_| axes.contains(&(rank - 1))));
        all
    }

    /// A backward pass with all operands and gradients that there are, by their names.
    pub fn backward<B: Buffer>(
        &self,
        mut backward: BackwardArgs<B>,
        get: impl Fn(&str) -> Option<TensorView<B>>,
    ) -> BackwardArgs<B> {
        (backward.scale, backward.bias) = (get("weight"), get("bias"));
        (backward.grad_scale, backward.grad_bias) = (get("dweight"), get("dbias"));
        backward.grad_input = get("dx").map(Into::into);
        // only the gradient to what the input is multiplied with needs the input itself
        let multiplies = self.fusion().prologue.multiplier != Multiplier::None;
        let needs_input = multiplies && (get("dgate").is_some() || get("dz").is_some());
        backward.fused = args::backward(&get).multiplied(get("input").filter(|_| needs_input));
        backward.fused_gradients = args::gradients(&get).arriving(get("dsum").or(get("dx_addend")));
        backward
    }

    fn axes_of(&self, name: &str) -> Option<&[usize]> {
        self.axes.get(name).map(Vec::as_slice)
    }

    fn fusion(&self) -> Fusion<'_> {
        let fused = &self.request.attrs.fused;
        let mut fusion = Fusion::default();
        if let Some(prologue) = &fused.prologue {
            fusion = fusion.prologue(self.prologue(prologue));
        }
        if fused.weight_offset == 1 && self.axes_of("weight").is_some() {
            fusion = fusion.one_plus_scale();
        }
        if let attributes::NormalizedRounding::AsOutput = fused.normalized_rounding {
            fusion = fusion.normalized_rounding(NormalizedRounding::AsOutput);
        }
        if let Some(attributes::Modulation { scale, shift, scale_offset }) = fused.modulation {
            let axes = self.axes_of("mod_scale").or(self.axes_of("mod_shift")).unwrap_or_default();
            fusion = fusion.modulation(Modulation { axes, scale, shift, one_plus: scale_offset == 1 });
        }
        if let Some(epilogue) = &fused.epilogue {
            fusion = fusion.epilogue(self.epilogue(epilogue));
        }
        if let Some(quantise) = &fused.quantise {
            fusion = fusion.quantization(quantise.quantization());
        }
        fusion
    }

    fn prologue(&self, recorded: &attributes::Prologue) -> Prologue<'_> {
        let mut prologue = Prologue::default().rounding(self.sum_rounding(recorded.rounding));
        prologue.residual = self.axes_of("residual").filter(|_| recorded.residual);
        prologue.bias = self.axes_of("prologue_bias").filter(|_| recorded.bias);
        prologue.multiplier(match recorded.multiplier {
            attributes::Multiplier::Gate => Multiplier::Gate(self.axes_of("gate").unwrap_or_default()),
            attributes::Multiplier::Activation(_) => {
                recorded.activation().map_or(Multiplier::None, Multiplier::Activation)
            }
        })
    }

    fn sum_rounding(&self, recorded: attributes::SumRounding) -> SumRounding {
        let element = self.request.attrs.fused.sum_dtype.and_then(elements::of_dtype);
        match recorded {
            attributes::SumRounding::Exact => SumRounding::Exact,
            attributes::SumRounding::AsStored => SumRounding::AsStored(element.unwrap_or(self.request.element())),
        }
    }

    fn epilogue(&self, recorded: &attributes::Epilogue) -> Epilogue<'_> {
        let [activation, gate] = recorded.activations();
        let mut epilogue = Epilogue::activation(activation.unwrap_or_default()).factor(recorded.factor);
        epilogue.gate = gate;
        epilogue.addend = recorded.addend;
        epilogue.out_gate = self.axes_of("out_gate").filter(|_| recorded.out_gate);
        epilogue.out_residual = recorded.out_residual;
        epilogue
    }
}

/// The recorded axes of statistics, where the kind names them.
fn reduced_axes(request: &Request, shape: &[u64]) -> Result<Option<Range<usize>>, PlanError> {
    let rank = shape.len();
    match (request.op.as_str(), &request.attrs.normalized_shape) {
        ("fused_layer_norm" | "fused_rms_norm", Some(normalized)) => {
            wgpu_norm::normalized_axes(shape, normalized).map(Some)
        }
        ("fused_layer_norm" | "fused_rms_norm", None) => Ok(Some(rank.saturating_sub(1)..rank)),
        _ => Ok(None),
    }
}

fn kind(request: &Request, reduced: Option<Range<usize>>) -> NormKind<'static> {
    let attrs = &request.attrs;
    match (request.op.as_str(), reduced) {
        ("fused_batch_norm", _) => NormKind::Batch,
        ("fused_instance_norm", _) => NormKind::Instance,
        (op, Some(axes)) => {
            // behind the axis of groups
            let split = usize::from(attrs.fused.group_size.is_some());
            let axes = axes.start + split..axes.end + split;
            if op == "fused_rms_norm" { NormKind::Rms { axes } } else { NormKind::Layer { axes } }
        }
        _ => NormKind::Group { groups: attrs.num_groups.unwrap_or(1) },
    }
}

fn types(request: &Request) -> Types {
    let wanted = |name| request.wanted_element(name);
    Types::default()
        .input(element(request, "input"))
        .output(wanted("output"))
        .grad_output(element(request, "dy"))
        .grad_input(wanted("dx"))
        .scale(element(request, "weight"))
        .bias(element(request, "bias"))
        .grad_scale(wanted("dweight"))
        .grad_bias(wanted("dbias"))
}

fn element(request: &Request, name: &str) -> Element {
    request.input_element(request.attrs.fused.views.get(name).map_or(name, |view| &view.of))
}
