//! Gradients of a case under every schedule that computes them.
//!
//! Errors are in units of the magnitude of the terms: a sum that cancels is as exact as what is added up, and so is the
//! gradient to the input, which is a difference.

use std::cmp::Ordering;

use wgpu_norm::{AdaptiveDescriptor, Affine, MemoryFormat, NormDescriptor, NormKind};
use wgpu_norm_tools::check::{Comparison, largest};
use wgpu_norm_tools::compute::{Runner, Tensors};
use wgpu_norm_tools::device::{Gpu, Tensor};
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::norm::{Descriptor, Inputs, Planned};

use crate::cases::Case;

use super::{GUARDS, Results, Station, Tier, Verdict};

/// The gradients in the order in which they stand everywhere here.
const NAMES: [&str; 4] = ["grad_input", "grad_scale", "grad_bias", "grad_style"];

/// One case under the schedules that the tier takes; from given statistics there is but one.
pub fn verify(
    station: &Station,
    case: &Case,
    norm: &Planned,
    tier: &mut Tier,
    results: &mut Results,
) -> Result<(), Failure> {
    let gpu = &station.gpu;
    let mut norms = Vec::new();
    for (index, norm) in norm.backward_variants().into_iter().enumerate() {
        let name = norm.content().backward_schedule().to_string();
        if tier.takes(case, index, &name) {
            norms.push((name, norm));
        }
    }
    let given = case.takes_running_statistics() && tier.takes(case, 0, "backward given");
    let grad_output = case.grad_output();
    for &fill in station.pass.backward_fills(case) {
        let mut run = |norms: &[(String, Planned)], channels: Option<u64>| {
            let tensors = case.tensors(fill, norm.affine_len(), channels);
            let expected = expected(&case.descriptor(), &tensors, &grad_output)?;
            norms.iter().enumerate().try_for_each(|(index, (schedule, norm))| {
                // given statistics are computed at the odd offset
                let guard = GUARDS[usize::from(channels.is_some()).max(index % 2)];
                let run = Run { gpu, norm, tensors: &tensors, grad_output: &grad_output, guard };
                results.add(case, fill, schedule.clone(), run.verify(&expected))
            })
        };
        if !norms.is_empty() {
            run(&norms, None)?;
        }
        if given {
            run(&[("backward given".to_owned(), norm.clone())], Some(norm.content().given_segment_count()))?;
        }
    }
    Ok(())
}

/// What one gradient should be.
struct Expected {
    /// Empty where the norm has no such input.
    values: Vec<f64>,
    /// Magnitude of the terms.
    unit: f64,
}

fn expected(descriptor: &Descriptor<'_>, tensors: &Tensors, grad_output: &[f32]) -> Result<[Expected; 4], Failure> {
    let inputs = tensors.as_inputs();
    let exact = descriptor.backward(&inputs, grad_output)?;
    let normalized = bare(descriptor).forward(&Inputs { scale: None, bias: None, ..inputs })?;
    let terms = |grad_output: &[f32]| descriptor.backward(&inputs, grad_output);
    let of_mean = terms(&grad_output.iter().map(|grad| grad.abs()).collect::<Vec<_>>())?;
    let aligned = grad_output.iter().zip(&normalized.output).map(|(grad, x)| grad.abs() * x.signum() as f32);
    let of_deviation = terms(&aligned.collect::<Vec<_>>())?;
    let unit = match tensors.given {
        Some(_) => largest(&exact.input),
        None => largest_frozen(descriptor, &inputs, (&normalized.mean, &normalized.variance), grad_output)?,
    };
    let style_unit = largest(&of_mean.style).max(largest(&of_deviation.style));
    Ok([
        Expected { values: exact.input, unit },
        Expected { values: exact.scale, unit: largest(&of_deviation.scale) },
        Expected { values: exact.bias, unit: largest(&of_mean.bias) },
        Expected { values: exact.style, unit: style_unit },
    ])
}

/// The norm without scale and bias. An adaptive norm is an instance norm by the numbers of its style.
fn bare<'a>(descriptor: &Descriptor<'a>) -> Descriptor<'a> {
    Descriptor::Norm(match descriptor {
        Descriptor::Norm(descriptor) => NormDescriptor { affine: Affine::None, ..descriptor.clone() },
        Descriptor::Adaptive(descriptor) => instance(descriptor, descriptor.shape),
    })
}

fn instance<'a>(descriptor: &AdaptiveDescriptor<'a>, shape: &'a [u64]) -> NormDescriptor<'a> {
    let (format, eps) = (descriptor.format, descriptor.eps);
    NormDescriptor { format, eps, affine: Affine::None, ..NormDescriptor::new(NormKind::Instance, shape) }
}

/// The largest gradient to the input with the input's own statistics as constants: its largest term.
fn largest_frozen(
    descriptor: &Descriptor<'_>,
    inputs: &Inputs<'_>,
    (mean, variance): (&[f64], &[f64]),
    grad_output: &[f32],
) -> Result<f64, Failure> {
    let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<_>>();
    let (mean, variance) = (narrow(mean), narrow(variance));
    let (norm, scale) = match descriptor {
        Descriptor::Norm(descriptor) => (descriptor.clone(), 1.0),
        Descriptor::Adaptive(descriptor) => {
            let style = Inputs { input: inputs.style.unwrap_or_default(), ..Inputs::default() };
            let style = Descriptor::Norm(instance(descriptor, descriptor.style_shape)).forward(&style)?;
            (instance(descriptor, descriptor.shape), largest(&style.variance).sqrt())
        }
    };
    let kind = match norm.kind {
        // It takes given statistics a channel; group norm takes them a segment.
        NormKind::Instance => NormKind::Group { groups: channels(&norm) },
        ref kind => kind.clone(),
    };
    let inputs = Inputs { given: Some((&mean, &variance)), ..*inputs };
    let frozen = Descriptor::Norm(NormDescriptor { kind, ..norm }).backward(&inputs, grad_output)?;
    Ok(scale * largest(&frozen.input))
}

fn channels(descriptor: &NormDescriptor<'_>) -> u64 {
    let axis = match descriptor.format {
        MemoryFormat::ChannelsFirst => 1,
        MemoryFormat::ChannelsLast => descriptor.shape.len() - 1,
    };
    descriptor.shape[axis]
}

/// One norm on the device.
struct Run<'a> {
    gpu: &'a Gpu,
    norm: &'a Planned,
    tensors: &'a Tensors,
    grad_output: &'a [f32],
    /// Elements around input and gradients.
    guard: u64,
}

impl Run<'_> {
    /// The worst of the gradients.
    fn verify(&self, expected: &[Expected; 4]) -> Result<Verdict, Failure> {
        let runs = [self.once(expected)?, self.once(expected)?];
        let types = self.norm.content().types();
        let types = [types.grad_input, types.grad_scale, types.grad_bias, types.grad_input];
        let verdicts = (0..NAMES.len()).filter_map(|index| {
            let runs = [runs[0][index].as_deref()?, runs[1][index].as_deref()?];
            let Expected { values, unit } = &expected[index];
            Some(Verdict::of(NAMES[index], runs, self.guard, |inside| {
                Comparison::in_units(inside, values, types[index], *unit)
            }))
        });
        let badness = |verdict: &Verdict| (!verdict.passed(), verdict.comparison.relative);
        let order = |a: &Verdict, b: &Verdict| badness(a).partial_cmp(&badness(b)).unwrap_or(Ordering::Equal);
        // The gradient to the input is always there.
        verdicts.max_by(order).ok_or_else(|| Failure::Usage("no gradient to verify".to_owned()))
    }

    /// Forward with saved or imported statistics, then all gradients that the norm has; with their guards.
    fn once(&self, expected: &[Expected; 4]) -> Result<[Option<Vec<f32>>; 4], Failure> {
        let Self { gpu, tensors, guard, .. } = *self;
        let types = self.norm.content().types();
        let input = gpu.upload_guarded("input", types.input, &tensors.input, guard)?;
        let grad_output = gpu.upload_guarded("grad_output", types.grad_output, self.grad_output, guard)?;
        let output = gpu.tensor_of("output", types.output, input.len)?;
        let runner = Runner::new(gpu, self.norm.clone(), tensors.as_inputs(), None, 0)?;
        let mut work = match &tensors.given {
            None => runner.train(input.view(), output.view())?,
            Some(_) => runner.import()?,
        };
        let wanted = expected.each_ref().map(|expected| !expected.values.is_empty());
        let gradients = runner.gradients(wanted, guard)?;
        work.push(runner.backward(input.view(), grad_output.view(), &gradients)?);
        gpu.healthy()?;
        gpu.run_all(&work)?;
        let read = |gradient: &Option<Tensor>| gradient.as_ref().map(|tensor| gpu.download_guarded(tensor)).transpose();
        let [input, scale, bias, style] = gradients.each_ref().map(read);
        Ok([input?, scale?, bias?, style?])
    }
}
