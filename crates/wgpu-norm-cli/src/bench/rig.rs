//! The buffers of a case, and the norm bound to them.
//!
//! Each dispatch takes the next of several sets of tensors that together are larger than any cache, so that what it
//! reads is cold.

use wgpu_norm::wgpu;
use wgpu_norm::{BindError, BoundNorm, BufferView, Element, ImportArgs, Operand};
use wgpu_norm_tools::check::Comparison;
use wgpu_norm_tools::device::{Gpu, Tensor};
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::norm::{self, Operands, Planned};
use wgpu_norm_tools::outline::Which;

use super::around::{Args, Beside};
use super::case::{BenchCase, Pass, Variant};
use super::oracle::{Expected, Oracle};
use super::roof::QUAD;

/// Bytes of all sets: four times the cache of a large GPU, and of a processor.
const COLD: u64 = 256 << 20;
const COLD_SOFTWARE: u64 = 128 << 20;
/// Numbers of sets: while one is used, another is forgotten.
const SETS: std::ops::RangeInclusive<u64> = 2..=64;
/// What outputs hold before the pass that is checked.
const POISON: f32 = f32::NAN;

/// The buffers of a case.
pub struct Rig<'a> {
    gpu: &'a Gpu,
    norm: Planned,
    pass: Pass,
    /// Of errors, where numbers within are rounded.
    slack: f64,
    /// Tensors of the dispatches in turn.
    pub sets: Vec<Set>,
    scale: Option<Tensor>,
    bias: Option<Tensor>,
    grad_scale: Option<Tensor>,
    grad_bias: Option<Tensor>,
    /// Mean, variance, and the records of them.
    given: Option<(Tensor, Tensor, wgpu::Buffer)>,
    workspace: Option<wgpu::Buffer>,
}

/// What one dispatch has for itself.
pub struct Set {
    /// What is normalized.
    pub input: Tensor,
    /// The gradient to the output, or a style.
    pub second: Option<Tensor>,
    /// The output, or the gradient to the input.
    pub output: Tensor,
    /// What stands around the norm.
    beside: Beside,
    /// Statistics for backward.
    saved: Option<wgpu::Buffer>,
}

/// What a case needs of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Sets of tensors.
    sets: u64,
    /// Bytes of all buffers.
    pub bytes: u64,
    /// Bytes of the largest.
    largest: u64,
}

impl Needs {
    /// Of a case on a kind of device.
    pub fn of(case: &BenchCase, norm: &Planned, device_type: wgpu::DeviceType) -> Self {
        let types = case.types;
        let tensor = tensor_bytes(case.elements(), types.input);
        let style = u64::from(case.variant == Variant::AdaptiveInstance);
        let tensors = u64::from(case.around.tensors(case.which())) + style;
        let sets = set_count(tensors * tensor, device_type);
        let parameter = types.scale.bytes() * norm.affine_len();
        let workspace = workspace_size(norm, case.pass);
        let saved = if case.pass == Pass::Forward { 0 } else { sets * norm.content().statistics_size() };
        let bytes = sets * tensors * tensor + 4 * parameter + saved + workspace;
        Self { sets, bytes, largest: tensor.max(parameter) }
    }

    /// Why a device cannot have it.
    pub fn refusal(&self, limits: &wgpu::Limits) -> Option<String> {
        let (binding, buffer) = (limits.max_storage_buffer_binding_size, limits.max_buffer_size);
        let most = binding.min(buffer);
        (self.largest > most)
            .then(|| format!("a tensor has {} bytes, a binding of this device at most {most}", self.largest))
    }
}

fn has_second(case: &BenchCase) -> bool {
    case.pass == Pass::Backward || case.variant == Variant::AdaptiveInstance
}

fn workspace_size(norm: &Planned, pass: Pass) -> u64 {
    let backward = if pass == Pass::Backward { norm.backward_workspace_size() } else { 0 };
    norm.workspace_size().max(backward)
}

impl<'a> Rig<'a> {
    /// Makes and fills all buffers; `None` where the device has no memory for them.
    pub fn new(
        gpu: &'a Gpu,
        norm: &Planned,
        case: &BenchCase,
        needs: &Needs,
        oracle: &Oracle,
    ) -> Result<Option<Self>, Failure> {
        let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let rig = Self::allocate(gpu, norm, case, needs)?;
        if pollster::block_on(scope.pop()).is_some() {
            return Ok(None);
        }
        rig.fill(case, oracle)?;
        Ok(Some(rig))
    }

    fn allocate(gpu: &'a Gpu, norm: &Planned, case: &BenchCase, needs: &Needs) -> Result<Self, Failure> {
        let backward = case.pass == Pass::Backward;
        let (len, types) = (norm.content().len(), case.types);
        let whole = tensor_bytes(len, types.input) / types.input.bytes();
        let tensor = |what| Ok::<_, Failure>(Tensor { len, ..gpu.tensor_of(what, types.input, whole)? });
        let set = |_| {
            let saved =
                (case.pass != Pass::Forward).then(|| gpu.buffer("statistics", norm.content().statistics_size()));
            Ok::<_, Failure>(Set {
                input: tensor("input")?,
                second: has_second(case).then(|| tensor("second")).transpose()?,
                output: tensor("output")?,
                beside: Beside::new(gpu, case.beside(case.which()))?,
                saved: saved.transpose()?,
            })
        };
        let descriptor = case.case();
        let affine = descriptor.descriptor().affine();
        let parameter =
            |what, wanted: bool| wanted.then(|| gpu.tensor_of(what, types.scale, norm.affine_len())).transpose();
        let channels = norm.content().given_segment_count();
        let given = match case.variant {
            Variant::BatchInference => Some((
                gpu.tensor("mean", channels)?,
                gpu.tensor("variance", channels)?,
                gpu.buffer("records", norm.content().given_statistics_size())?,
            )),
            _ => None,
        };
        let workspace = Some(workspace_size(norm, case.pass)).filter(|&bytes| bytes > 0);
        Ok(Self {
            gpu,
            norm: norm.clone(),
            pass: case.pass,
            slack: case.around.slack(case.types.input),
            sets: (0..needs.sets).map(set).collect::<Result<_, _>>()?,
            scale: parameter("scale", affine.has_scale())?,
            bias: parameter("bias", affine.has_bias())?,
            grad_scale: parameter("grad_scale", backward && affine.has_scale())?,
            grad_bias: parameter("grad_bias", backward && affine.has_bias())?,
            given,
            workspace: workspace.map(|bytes| gpu.buffer("workspace", bytes)).transpose()?,
        })
    }

    /// Copies the same tensors to every set, and computes the statistics that the pass needs.
    fn fill(&self, case: &BenchCase, oracle: &Oracle) -> Result<(), Failure> {
        let tensors = &oracle.tensors;
        let beside = self.sets.iter().map(|set| &set.beside);
        Beside::fill(self.gpu, beside, &oracle.beside(case.which()))?;
        let second = if case.pass == Pass::Backward { Some(&oracle.grad_output) } else { tensors.style.as_ref() };
        self.gpu.tile(self.sets.iter().map(|set| &set.input), &tensors.input)?;
        if let Some(data) = second {
            self.gpu.tile(self.sets.iter().filter_map(|set| set.second.as_ref()), data)?;
        }
        // nobody has written it yet: the device would clear it while it is timed
        self.sets.iter().for_each(|set| self.gpu.clear(&set.output));
        for (operand, data) in [(&self.scale, &tensors.scale), (&self.bias, &tensors.bias)] {
            if let (Some(operand), Some(data)) = (operand, data) {
                self.gpu.fill(operand, data)?;
            }
        }
        if let (Some((mean, variance, records)), Some(data)) = (&self.given, &tensors.given) {
            self.gpu.fill(mean, &data.0)?;
            self.gpu.fill(variance, &data.1)?;
            let statistics = BufferView::whole(records);
            let args = ImportArgs::new(mean.view(), variance.view(), statistics);
            let import = self.norm.as_norm("running statistics")?.bind_import(&args)?;
            self.gpu.run(|pass| import.record(pass))?;
        }
        if case.pass == Pass::Backward {
            self.train(case, oracle)?;
        }
        Ok(())
    }

    /// Statistics for backward, and what was normalized, where that is not the input.
    fn train(&self, case: &BenchCase, oracle: &Oracle) -> Result<(), Failure> {
        let spare = Beside::new(self.gpu, case.beside(Which::Training))?;
        Beside::fill(self.gpu, [&spare].into_iter(), &oracle.beside(Which::Training))?;
        let (types, len) = (case.types, self.norm.content().len());
        let input = self.gpu.tensor_of("input", types.input, if case.around.has_sum() { len } else { 0 })?;
        self.gpu.tile([&input], &oracle.tensors.input)?;
        for set in &self.sets {
            let mut operands = self.operands(set, None, spare.args());
            if case.around.has_sum() {
                operands.fused = operands.fused.sum(set.input.view());
                operands.input = input.view();
            }
            let saved = BufferView::whole(set.saved.as_ref().ok_or(missing(Operand::Moments))?);
            let training = self.norm.bind(&operands, &norm::Pass::Training { output: set.output.view(), saved })?;
            self.gpu.run(|pass| training.record(pass))?;
        }
        Ok(())
    }

    /// The same norm from now on by another plan.
    pub fn serve(&mut self, norm: &Planned) -> Result<(), Failure> {
        self.reserve(norm)?;
        self.norm = norm.clone();
        Ok(())
    }

    /// Makes room for another plan.
    pub fn reserve(&mut self, norm: &Planned) -> Result<(), Failure> {
        let needed = workspace_size(norm, self.pass);
        if self.workspace.as_ref().map_or(0, wgpu::Buffer::size) < needed {
            self.workspace = Some(self.gpu.buffer("workspace", needed)?);
        }
        Ok(())
    }

    /// The norm over one set, in the pass of the case.
    pub fn bind(&self, set: &Set) -> Result<BoundNorm, BindError> {
        self.bind_by(&self.norm, set, set.beside.args())
    }

    /// The same without what stands around it, by a plan of its own.
    pub fn bind_alone(&self, alone: &Planned, set: &Set) -> Result<BoundNorm, BindError> {
        self.bind_by(alone, set, Args::default())
    }

    fn bind_by<'b>(&'b self, by: &Planned, set: &'b Set, beside: Args<'b>) -> Result<BoundNorm, BindError> {
        let output = set.output.view();
        let style = set.second.as_ref().filter(|_| by.style_len() > 0);
        let pass = match (&set.saved, &self.given) {
            _ if self.pass == Pass::Backward => self.backward(set)?,
            (Some(saved), _) => norm::Pass::Training { output, saved: BufferView::whole(saved) },
            (None, Some((_, _, records))) => norm::Pass::Forward { output, given: Some(BufferView::whole(records)) },
            (None, None) => norm::Pass::Forward { output, given: None },
        };
        by.bind(&self.operands(set, style, beside), &pass)
    }

    fn backward<'b>(&'b self, set: &'b Set) -> Result<norm::Pass<&'b wgpu::Buffer>, BindError> {
        let [grad_scale, grad_bias] = [&self.grad_scale, &self.grad_bias].map(|grad| grad.as_ref().map(Tensor::view));
        Ok(norm::Pass::Backward {
            grad_output: set.second.as_ref().ok_or(missing(Operand::GradOutput))?.view(),
            records: BufferView::whole(set.saved.as_ref().ok_or(missing(Operand::Moments))?),
            given: false,
            gradients: [Some(set.output.view()), grad_scale, grad_bias, None],
        })
    }

    fn operands<'b>(
        &'b self,
        set: &'b Set,
        style: Option<&'b Tensor>,
        (fused, fused_gradients): Args<'b>,
    ) -> Operands<&'b wgpu::Buffer> {
        Operands {
            input: set.input.view(),
            scale: self.scale.as_ref().map(Tensor::view),
            bias: self.bias.as_ref().map(Tensor::view),
            style: style.map(Tensor::view),
            fused,
            fused_gradients,
            workspace: self.workspace.as_ref().map(BufferView::whole),
        }
    }

    /// Poisons every output.
    pub fn poison(&self) -> Result<(), Failure> {
        let outputs = self.sets.iter().map(|set| &set.output).chain(&self.grad_scale).chain(&self.grad_bias);
        let beside = self.sets.iter().flat_map(|set| set.beside.written()).map(|(_, tensor)| tensor);
        self.gpu.tile(outputs.chain(beside), &[POISON; 1 << 16])
    }

    /// The largest error over all outputs beyond the slack, each element in its own unit; [`f64::MAX`] where a NaN is
    /// misplaced.
    pub fn worst_error(&self, oracle: &mut Oracle) -> Result<f64, Failure> {
        if self.pass != Pass::Backward {
            let output = oracle.output()?;
            return self.sets.iter().try_fold(0.0, |worst, set| Ok(self.error(&set.output, output)?.max(worst)));
        }
        let expected = oracle.gradients()?;
        let inputs = self.sets.iter().map(|set| ("input", &set.output));
        let scale = self.grad_scale.iter().map(|grad| ("scale", grad));
        let bias = self.grad_bias.iter().map(|grad| ("bias", grad));
        let beside = self.sets.iter().flat_map(|set| set.beside.written());
        let all = inputs.chain(scale).chain(bias).chain(beside);
        let mut all = all.filter_map(|(to, tensor)| Some((tensor, expected.get(to)?)));
        all.try_fold(0.0, |worst, (operand, expected)| Ok(self.error(operand, expected)?.max(worst)))
    }

    /// Of a tensor that repeats what is expected.
    fn error(&self, operand: &Tensor, expected: &Expected) -> Result<f64, Failure> {
        let actual = self.gpu.download(operand)?;
        let Expected { values, units } = expected;
        let blocks = actual.chunks(values.len().max(1));
        let blocks = blocks.map(|block| Comparison::in_own_units(block, values, operand.element, units));
        let error = |block: Comparison| if block.misplaced == 0 { block.relative - self.slack } else { f64::MAX };
        Ok(blocks.fold(0.0, |worst, block| worst.max(error(block))))
    }
}

fn missing(operand: Operand) -> BindError {
    BindError::Missing { operand }
}

/// Bytes of a tensor's buffer, which the roof moves to its end.
fn tensor_bytes(len: u64, element: Element) -> u64 {
    (len * element.bytes()).next_multiple_of(QUAD)
}

/// Sets of `bytes` each that no cache holds.
fn set_count(bytes: u64, device_type: wgpu::DeviceType) -> u64 {
    let cold = if device_type == wgpu::DeviceType::Cpu { COLD_SOFTWARE } else { COLD };
    cold.div_ceil(bytes.max(1)).clamp(*SETS.start(), *SETS.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_outgrow_caches_within_limits() {
        let (gpu, software) = (wgpu::DeviceType::DiscreteGpu, wgpu::DeviceType::Cpu);
        let cases = [(8 << 20, gpu, 32), (8 << 20, software, 16), (1 << 30, gpu, 2), (1, gpu, 64), (0, software, 64)];
        for (bytes, device_type, expected) in cases {
            assert_eq!(set_count(bytes, device_type), expected, "{bytes} bytes");
        }
        assert_eq!([0, 1, 4, 5].map(|len| tensor_bytes(len, Element::F32)), [0, 16, 16, 32]);
        assert_eq!([1, 8, 9].map(|len| tensor_bytes(len, Element::F16)), [16, 16, 32]);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_size() {
        let limits = wgpu::Limits::default();
        let most = limits.max_storage_buffer_binding_size;
        let needs = |largest| Needs { sets: 2, bytes: 4 * largest, largest };
        assert_eq!(needs(most).refusal(&limits), None);
        assert!(needs(most + 4).refusal(&limits).unwrap().contains("134217732"));
    }
}
