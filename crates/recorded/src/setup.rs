//! What a recorded case means in our words: the norm, its memory layout, where statistics come from.

use std::ops::Range;

use serde_json::Value;
use wgpu_norm::{
    AdaptiveDescriptor, Affine, Epsilon, MemoryFormat, Momentum, NormDescriptor, NormKind, PlanError, RunningUpdate,
    SingleElement, StyleEpsilon, Types, Variance,
};
use wgpu_norm_tools::exact::Descriptor;

use crate::fused;
use crate::golden::Request;

/// What ONNX MeanVarianceNormalization adds to the deviation.
const MEAN_VARIANCE_EPS: f32 = 1e-9;

/// How far the program is with a case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// Can be run.
    Runs,
    /// Planned.
    NotYet,
    /// Not planned, or its inputs cannot be made.
    Never,
}

/// How far the program is with the case `request`.
pub fn support(request: &Request) -> Support {
    // Its inputs come out of another framework's own generator.
    let foreign = request.generate.as_ref().is_some_and(|generate| generate.kind != "portable");
    match request.op.as_str() {
        _ if foreign => Support::Never,
        "batch_norm"
        | "instance_norm"
        | "group_norm"
        | "layer_norm"
        | "rms_norm"
        | "adain"
        | "weight_norm"
        | "spectral_norm"
        | "sync_batch_norm"
        | "lp_normalize"
        | "lp_normalization"
        | "mean_variance_normalization" => Support::Runs,
        op if op.starts_with("fused_") => fused::setup::support(request),
        _ => Support::Never,
    }
}

/// Where the statistics of a case come from.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Source {
    /// From the input.
    Input,
    /// From the input, in training; running statistics, where the case has some, take them in.
    Training,
    /// From the running statistics.
    Running,
}

/// A norm as a case describes it.
pub struct Setup {
    kind: Kind,
    /// Sizes of the axes in logical order, batch axis included.
    pub shape: Vec<u64>,
    /// How the tensor lies in memory.
    pub layout: Layout,
    /// Where statistics come from.
    pub source: Source,
    /// How running statistics take in a batch.
    pub update: RunningUpdate,
    /// Shape of scale and bias.
    pub parameter_shape: Vec<u64>,
    /// Element types.
    pub types: Types,
    eps: Epsilon,
    single_element: SingleElement,
}

/// [`NormKind`], owned.
#[derive(Clone, PartialEq, Debug)]
enum Kind {
    Batch,
    Instance,
    Group(u64),
    Layer(Range<usize>),
    Rms(Range<usize>),
    Adaptive { style: Vec<u64>, variance: Variance, style_eps: StyleEpsilon },
    Lp { p: f32, axes: Range<usize> },
    MeanVariance(Vec<usize>),
    Weight(Option<usize>),
}

/// What a record calls input and scale, and their gradients.
#[derive(Clone, Copy)]
pub struct Names {
    /// What is normalized.
    pub input: &'static str,
    /// Factor of the result.
    pub scale: &'static str,
    /// Gradient to the input.
    pub grad_input: &'static str,
    /// Gradient to the scale.
    pub grad_scale: &'static str,
}

impl Setup {
    /// The norm of a case that [`support`] lets run.
    pub fn of(request: &Request) -> Result<Self, PlanError> {
        let shape = logical_shape(request);
        let kind = kind(request, &shape)?;
        let parameter_shape = match &kind {
            Kind::Layer(axes) | Kind::Rms(axes) => shape[axes.clone()].to_vec(),
            Kind::Weight(dim) => dim.map(|axis| shape[axis]).into_iter().collect(),
            _ => shape.get(1).copied().into_iter().collect(),
        };
        let layout = Layout::of(request.attrs.memory_format.as_deref(), &kind, shape.len());
        let update = running_update(request);
        // PyTorch computes the unbiased deviation of one element: NaN
        let unchecked = request.attrs.raw || request.op == "adain";
        let single_element = if unchecked { SingleElement::Allow } else { SingleElement::Refuse };
        let (source, eps) = (source(request), epsilon(request));
        let types = types(request, kind.names());
        Ok(Self { kind, shape, layout, source, update, parameter_shape, types, eps, single_element })
    }

    /// Calls `with` with the descriptor of the norm; `scale` and `bias` say which parameters are there.
    pub fn describe<T>(&self, scale: bool, bias: bool, with: impl FnOnce(&Descriptor) -> T) -> T {
        let shape = self.layout.memory_shape(&self.shape);
        let kind = match &self.kind {
            Kind::Batch => NormKind::Batch,
            Kind::Instance => NormKind::Instance,
            Kind::Group(groups) => NormKind::Group { groups: *groups },
            Kind::Layer(axes) => NormKind::Layer { axes: axes.clone() },
            Kind::Rms(axes) => NormKind::Rms { axes: axes.clone() },
            Kind::Adaptive { style, variance, style_eps } => {
                let descriptor = AdaptiveDescriptor {
                    eps: self.eps,
                    format: self.layout.format,
                    variance: *variance,
                    style_eps: *style_eps,
                    single_element: self.single_element,
                    types: self.types,
                    ..AdaptiveDescriptor::new(&shape, style)
                };
                return with(&descriptor.into());
            }
            Kind::Lp { p, axes } => NormKind::LpNormalize { p: *p, axes: axes.clone() },
            Kind::MeanVariance(axes) => NormKind::MeanVariance { axes },
            Kind::Weight(dim) => NormKind::Weight { dim: *dim },
        };
        let descriptor = NormDescriptor {
            eps: self.eps,
            format: self.layout.format,
            affine: Affine::with(scale.then_some(()), bias.then_some(())),
            single_element: self.single_element,
            types: self.types,
            ..NormDescriptor::new(kind, &shape)
        };
        with(&descriptor.into())
    }

    /// Whether training counts the batches: PyTorch's instance norm has a counter and never counts.
    pub fn counts_batches(&self) -> bool {
        self.kind == Kind::Batch
    }

    /// Whether saved statistics have a mean.
    pub fn is_centred(&self) -> bool {
        !matches!(self.kind, Kind::Rms(_))
    }

    /// What the record calls its tensors.
    pub fn names(&self) -> Names {
        self.kind.names()
    }
}

impl Kind {
    fn names(&self) -> Names {
        match self {
            Self::Weight(_) => Names { input: "v", scale: "g", grad_input: "dv", grad_scale: "dg" },
            _ => Names { input: "input", scale: "weight", grad_input: "dx", grad_scale: "dweight" },
        }
    }
}

fn types(request: &Request, names: Names) -> Types {
    let (input, wanted) = (|name| request.input_element(name), |name| request.wanted_element(name));
    Types::default()
        .input(input(names.input))
        .output(wanted("output"))
        .grad_output(input("dy"))
        .grad_input(wanted(names.grad_input))
        .scale(input(names.scale))
        .bias(input("bias"))
        .grad_scale(wanted(names.grad_scale))
        .grad_bias(wanted("dbias"))
}

fn logical_shape(request: &Request) -> Vec<u64> {
    let input = request.inputs.get("input").or(request.inputs.get("v"));
    let mut shape = match (input, request.inputs.get("batches"), &request.generate) {
        (Some(input), _, _) => input.shape.clone(),
        (_, Some(batches), _) => batches.shape[1..].to_vec(),
        (_, _, Some(generate)) => generate.shape.clone(),
        // A module that was only constructed: groups, channels.
        _ => vec![1, request.module.args.get(1).and_then(Value::as_u64).unwrap_or(1)],
    };
    if request.attrs.unbatched || request.op == "batch_norm" && shape.len() < 2 {
        shape.insert(0, 1);
    }
    shape
}

fn kind(request: &Request, shape: &[u64]) -> Result<Kind, PlanError> {
    let attrs = &request.attrs;
    Ok(match request.op.as_str() {
        "batch_norm" => Kind::Batch,
        "instance_norm" => Kind::Instance,
        "group_norm" => {
            let constructed = request.module.args.first().and_then(Value::as_u64);
            Kind::Group(attrs.num_groups.or(constructed).unwrap_or(1))
        }
        "layer_norm" => Kind::Layer(normalized_axes(request, shape)?),
        "rms_norm" => Kind::Rms(normalized_axes(request, shape)?),
        "adain" => Kind::Adaptive {
            style: request.inputs.get("style").map_or_else(Vec::new, |style| style.shape.clone()),
            variance: if attrs.unbiased { Variance::Unbiased } else { Variance::Biased },
            style_eps: match attrs.eps_mode.as_deref() {
                Some("added_to_std") => StyleEpsilon::None,
                _ => StyleEpsilon::AsContent,
            },
        },
        "mean_variance_normalization" => Kind::MeanVariance(attrs.axes.clone().unwrap_or_default()),
        // PyTorch's -1 is not the last axis but none.
        "weight_norm" => Kind::Weight(attrs.dim.and_then(|dim| usize::try_from(dim).ok())),
        _ => {
            let axis = attrs.axis.or(attrs.dim).unwrap_or(-1);
            let first = from_end(axis, shape.len());
            Kind::Lp { p: attrs.p.unwrap_or(2.0) as f32, axes: first..first + 1 }
        }
    })
}

/// The trailing axes of PyTorch's `normalized_shape`, or from ONNX's `axis` on.
fn normalized_axes(request: &Request, shape: &[u64]) -> Result<Range<usize>, PlanError> {
    match &request.attrs.normalized_shape {
        None => Ok(from_end(request.attrs.axis.unwrap_or(-1), shape.len())..shape.len()),
        Some(normalized) => wgpu_norm::normalized_axes(shape, normalized),
    }
}

/// An axis, counted from the end where it is negative.
fn from_end(axis: i64, rank: usize) -> usize {
    if axis < 0 { (rank as i64 + axis).max(0) as usize } else { axis as usize }
}

/// eps of a case.
pub fn epsilon(request: &Request) -> Epsilon {
    let attrs = &request.attrs;
    let constructed = request.module.kwargs.get("eps").map(Value::as_f64);
    let given = attrs.eps.or(attrs.epsilon.map(Some)).or(constructed).unwrap_or(Some(1e-5));
    let Some(eps) = given.map(|eps| eps as f32) else {
        return Epsilon::Machine;
    };
    // PyTorch's modules refuse a negative eps, its functions take it as it is.
    let function = !request.source.starts_with("torch.nn.") || request.source.starts_with("torch.nn.functional.");
    match (request.op.as_str(), attrs.eps_mode.as_deref()) {
        ("lp_normalize", _) => Epsilon::Minimum(eps),
        ("lp_normalization", _) | ("adain", Some("none")) => Epsilon::InsideRoot(0.0),
        // A row of zeros is NaN in PyTorch.
        ("weight_norm", _) => Epsilon::AsGiven(0.0),
        ("mean_variance_normalization", _) => Epsilon::AddedToDeviation(MEAN_VARIANCE_EPS),
        ("adain", Some("added_to_std")) => Epsilon::AddedToDeviation(eps),
        _ if eps < 0.0 && function => Epsilon::AsGiven(eps),
        _ => Epsilon::InsideRoot(eps),
    }
}

fn source(request: &Request) -> Source {
    let attrs = &request.attrs;
    let from_input = match request.op.as_str() {
        "batch_norm" => attrs.training.or(attrs.training_mode.map(|mode| mode != 0)),
        "instance_norm" => attrs.use_input_stats,
        _ => return Source::Input,
    };
    if from_input.unwrap_or(true) { Source::Training } else { Source::Running }
}

fn is_onnx(request: &Request) -> bool {
    request.source.starts_with("onnx.")
}

/// How running statistics of a case take in a batch.
pub fn running_update(request: &Request) -> RunningUpdate {
    RunningUpdate { momentum: momentum(request), variance: running_variance(request) }
}

fn momentum(request: &Request) -> Momentum {
    match request.attrs.momentum.unwrap_or(Some(0.1)) {
        None => Momentum::Cumulative,
        // ONNX gives the weight of the old value.
        Some(decay) if is_onnx(request) => Momentum::Weight((1.0 - decay) as f32),
        Some(weight) if (0.0..=1.0).contains(&weight) => Momentum::Weight(weight as f32),
        Some(weight) => Momentum::AsGiven(weight as f32),
    }
}

fn running_variance(request: &Request) -> Variance {
    if is_onnx(request) { Variance::Biased } else { Variance::Unbiased }
}

/// Order of the axes in memory. Recorded tensors are stored in logical order.
#[derive(Debug)]
pub struct Layout {
    /// Logical axis of each axis in memory.
    order: Vec<usize>,
    format: MemoryFormat,
    /// Whether scale and bias are transposed, too: their last two axes are the tensor's.
    transposes_parameters: bool,
}

impl Layout {
    fn of(name: Option<&str>, kind: &Kind, rank: usize) -> Self {
        let mut order: Vec<usize> = (0..rank).collect();
        let mut format = MemoryFormat::ChannelsFirst;
        let mut transposes_parameters = false;
        match name {
            Some("channels_last" | "channels_last_3d") => {
                order[1..].rotate_left(1);
                format = MemoryFormat::ChannelsLast;
            }
            // Of use where both axes share statistics; elsewhere the tensor is laid out as it is stored.
            Some("transposed") => {
                let first = match kind {
                    Kind::Layer(axes) | Kind::Rms(axes) => axes.start,
                    _ => 2,
                };
                if first + 2 <= rank {
                    order.swap(rank - 2, rank - 1);
                    transposes_parameters = matches!(kind, Kind::Layer(_) | Kind::Rms(_));
                }
            }
            _ => {}
        }
        Self { order, format, transposes_parameters }
    }

    /// Sizes of the axes as they lie in memory.
    pub fn memory_shape(&self, shape: &[u64]) -> Vec<u64> {
        self.order.iter().map(|&axis| shape[axis]).collect()
    }

    /// Elements in memory order.
    pub fn to_memory(&self, values: Vec<f32>, shape: &[u64]) -> Vec<f32> {
        if self.order.is_sorted() { values } else { permute(&values, shape, &self.order) }
    }

    /// Elements in logical order.
    pub fn restore(&self, values: Vec<f32>, shape: &[u64]) -> Vec<f32> {
        if self.order.is_sorted() {
            return values;
        }
        let mut back = vec![0; self.order.len()];
        for (place, &axis) in self.order.iter().enumerate() {
            back[axis] = place;
        }
        permute(&values, &self.memory_shape(shape), &back)
    }

    /// Scale or bias in the order that fits the tensor's.
    pub fn parameter_to_memory(&self, values: Vec<f32>, shape: &[u64]) -> Vec<f32> {
        self.swap_parameter(values, shape.to_vec())
    }

    /// Scale or bias, or a gradient to one, in logical order.
    pub fn restore_parameter(&self, values: Vec<f32>, shape: &[u64]) -> Vec<f32> {
        let mut swapped = shape.to_vec();
        if let [.., last, innermost] = swapped.as_mut_slice() {
            std::mem::swap(last, innermost);
        }
        self.swap_parameter(values, swapped)
    }

    /// Swaps the last two axes of a parameter of `shape` where the tensor's are.
    fn swap_parameter(&self, values: Vec<f32>, shape: Vec<u64>) -> Vec<f32> {
        let rank = shape.len();
        if !self.transposes_parameters || shape.iter().product::<u64>() != values.len() as u64 {
            return values;
        }
        let mut order: Vec<usize> = (0..rank).collect();
        order.swap(rank - 2, rank - 1);
        permute(&values, &shape, &order)
    }
}

/// The elements of a tensor of `shape` with its axes in another `order`.
pub fn permute(values: &[f32], shape: &[u64], order: &[usize]) -> Vec<f32> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    let sizes: Vec<u64> = order.iter().map(|&axis| shape[axis]).collect();
    let mut index = vec![0; order.len()];
    let mut permuted = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        let from: u64 = order.iter().zip(&index).map(|(&axis, &place)| strides[axis] * place).sum();
        permuted.push(values[from as usize]);
        for place in (0..index.len()).rev() {
            index[place] += 1;
            if index[place] < sizes[place] {
                break;
            }
            index[place] = 0;
        }
    }
    permuted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> Request {
        serde_json::from_str(json).unwrap()
    }

    fn case(op: &str, source: &str, attrs: &str, shape: &str) -> Request {
        request(&format!(
            r#"{{"name": "c", "op": "{op}", "source": "{source}", "dtype": "F32", "attrs": {attrs}, "file": null,
                "inputs": {{"input": {{"dtype": "F32", "shape": {shape}}}}}, "outputs": {{}}}}"#
        ))
    }

    #[test]
    fn cases_map_to_norms() {
        let layer = |axes| Kind::Layer(axes);
        let table = [
            ("batch_norm", r#"{"training": true}"#, "[3, 4]", Kind::Batch, vec![3, 4], Source::Training),
            ("batch_norm", r#"{"training": false}"#, "[3, 4]", Kind::Batch, vec![3, 4], Source::Running),
            ("batch_norm", r#"{"training_mode": 0}"#, "[3, 4]", Kind::Batch, vec![3, 4], Source::Running),
            ("batch_norm", "{}", "[0]", Kind::Batch, vec![1, 0], Source::Training),
            ("instance_norm", r#"{"unbatched": true}"#, "[3, 4]", Kind::Instance, vec![1, 3, 4], Source::Training),
            ("instance_norm", r#"{"use_input_stats": false}"#, "[1, 3]", Kind::Instance, vec![1, 3], Source::Running),
            ("group_norm", r#"{"num_groups": 2}"#, "[3, 4]", Kind::Group(2), vec![3, 4], Source::Input),
            ("layer_norm", r#"{"normalized_shape": [3, 4]}"#, "[2, 3, 4]", layer(1..3), vec![2, 3, 4], Source::Input),
            ("layer_norm", r#"{"axis": -3}"#, "[2, 3, 4]", layer(0..3), vec![2, 3, 4], Source::Input),
            ("rms_norm", r#"{"axis": 2}"#, "[2, 3, 4]", Kind::Rms(2..3), vec![2, 3, 4], Source::Input),
            ("lp_normalize", r#"{"p": 1.0, "dim": 0}"#, "[]", Kind::Lp { p: 1.0, axes: 0..1 }, vec![], Source::Input),
            ("weight_norm", r#"{"dim": 1}"#, "[3, 4]", Kind::Weight(Some(1)), vec![3, 4], Source::Input),
            ("weight_norm", r#"{"dim": -1}"#, "[3, 4]", Kind::Weight(None), vec![3, 4], Source::Input),
            ("weight_norm", r#"{"dim": null}"#, "[3, 4]", Kind::Weight(None), vec![3, 4], Source::Input),
            ("lp_normalization", "{}", "[2, 3]", Kind::Lp { p: 2.0, axes: 1..2 }, vec![2, 3], Source::Input),
        ];
        for (op, attrs, shape, kind, logical, source) in table {
            let setup = Setup::of(&case(op, "torch.x", attrs, shape)).unwrap();
            assert_eq!((setup.kind, setup.shape, setup.source), (kind, logical, source), "{op} {attrs} {shape}");
        }
    }

    #[test]
    fn normalized_shape_is_the_end_of_the_shape() {
        let error = Setup::of(&case("layer_norm", "torch.x", r#"{"normalized_shape": [2, 2]}"#, "[2, 2, 3]")).err();
        assert_eq!(error, Some(PlanError::NormalizedShape { normalized: vec![2, 2], shape: vec![2, 2, 3] }));
    }

    #[test]
    fn eps_and_momentum() {
        let eps = |op: &str, source: &str, attrs: &str| epsilon(&case(op, source, attrs, "[2, 2]"));
        assert_eq!(eps("layer_norm", "torch.nn.functional.layer_norm", r#"{"eps": -0.5}"#), Epsilon::AsGiven(-0.5));
        assert_eq!(eps("layer_norm", "torch.nn.LayerNorm", r#"{"eps": -0.5}"#), Epsilon::InsideRoot(-0.5));
        assert_eq!(eps("rms_norm", "torch.nn.RMSNorm", r#"{"eps": null}"#), Epsilon::Machine);
        assert_eq!(eps("rms_norm", "onnx.x", r#"{"epsilon": 0.5}"#), Epsilon::InsideRoot(0.5));
        assert_eq!(eps("batch_norm", "torch.x", "{}"), Epsilon::InsideRoot(1e-5));
        let momentum = |source: &str, attrs: &str| momentum(&case("batch_norm", source, attrs, "[2, 2]"));
        assert_eq!(momentum("torch.x", r#"{"momentum": null}"#), Momentum::Cumulative);
        assert_eq!(momentum("torch.x", r#"{"momentum": 1.5}"#), Momentum::AsGiven(1.5));
        assert_eq!(momentum("onnx.x", r#"{"momentum": 0.75}"#), Momentum::Weight(0.25));
        assert_eq!(momentum("torch.x", "{}"), Momentum::Weight(0.1));
    }

    #[test]
    fn layouts_go_there_and_back() {
        let values: Vec<f32> = (0..24).map(|value| value as f32).collect();
        let shape = [1, 2, 3, 4];
        let last = Layout::of(Some("channels_last"), &Kind::Batch, 4);
        assert_eq!(last.memory_shape(&shape), [1, 3, 4, 2]);
        assert_eq!(last.to_memory(values.clone(), &shape)[..4], [0.0, 12.0, 1.0, 13.0]);
        let transposed = Layout::of(Some("transposed"), &Kind::Layer(2..4), 4);
        assert_eq!(transposed.to_memory(values.clone(), &shape)[..3], [0.0, 4.0, 8.0]);
        assert_eq!(transposed.parameter_to_memory(values[..12].to_vec(), &[3, 4])[..3], [0.0, 4.0, 8.0]);
        let parameter = transposed.parameter_to_memory(values[..12].to_vec(), &[3, 4]);
        assert_eq!(transposed.restore_parameter(parameter, &[3, 4]), values[..12]);
        for layout in [last, transposed] {
            assert_eq!(layout.restore(layout.to_memory(values.clone(), &shape), &shape), values);
        }
    }
}
