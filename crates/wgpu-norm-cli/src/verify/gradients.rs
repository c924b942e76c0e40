//! Gradients of a case under every schedule that computes them.
//!
//! Errors are in units of the magnitude of the terms ([`terms`]): a sum that cancels is as exact as what is added up,
//! and so is the gradient to the input, which is a difference.

use wgpu_norm::Element;
use wgpu_norm_tools::check::Comparison;
use wgpu_norm_tools::compute::{Runner, Tensors};
use wgpu_norm_tools::device::{Gpu, Tensor};
use wgpu_norm_tools::exact::Descriptor;
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::norm::Planned;
use wgpu_norm_tools::terms;

use crate::cases::Case;

use super::{GUARDS, Measured, Results, Station, Tier, Verdict};

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
            let runs = norms.iter().enumerate().map(|(index, (_, norm))| Run {
                gpu,
                norm,
                tensors: &tensors,
                grad_output: &grad_output,
                multiplies: case.multiplies(),
                // given statistics are computed at the odd offset
                guard: GUARDS[usize::from(channels.is_some()).max(index % 2)],
            });
            let verdicts = super::verdicts(|| expected(&case.descriptor(), &tensors, &grad_output), runs)?;
            let mut all = norms.iter().zip(verdicts);
            all.try_for_each(|((schedule, _), verdict)| results.add(case, fill, schedule.clone(), verdict))
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
    /// To what it leads.
    to: &'static str,
    values: Vec<f64>,
    /// A unit for each.
    units: Vec<f64>,
}

/// All gradients that the norm has.
fn expected(descriptor: &Descriptor<'_>, tensors: &Tensors, grad_output: &[f32]) -> Result<Vec<Expected>, Failure> {
    let exact = descriptor.backward(&tensors.as_inputs(), grad_output)?;
    let mut units = terms::of(descriptor, &tensors.as_inputs(), grad_output)?;
    let mut of = |to| units.remove(to).unwrap_or_default();
    Ok(exact.named().map(|(to, values)| Expected { to, values, units: of(to) }).collect())
}

/// One norm on the device.
struct Run<'a> {
    gpu: &'a Gpu,
    norm: &'a Planned,
    tensors: &'a Tensors,
    grad_output: &'a [f32],
    /// Whether the prologue multiplies.
    multiplies: bool,
    /// Elements around input and gradients.
    guard: u64,
}

/// A gradient, with its guards.
struct Gradient {
    to: &'static str,
    element: Element,
    values: Vec<f32>,
}

impl Measured for Run<'_> {
    type Written = [Vec<Gradient>; 2];
    type Expected = Vec<Expected>;

    fn written(&self) -> Result<[Vec<Gradient>; 2], Failure> {
        Ok([self.once()?, self.once()?])
    }

    /// The worst of the gradients.
    fn judge(&self, [first, second]: [Vec<Gradient>; 2], expected: &Vec<Expected>) -> Result<Verdict, Failure> {
        let runs = || first.iter().zip(&second);
        let verdicts = expected.iter().filter_map(|Expected { to, values, units }| {
            let (first, second) = runs().find(|(first, _)| first.to == *to)?;
            let (what, runs) = (format!("gradient to {to}"), [first.values.as_slice(), &second.values]);
            Some(Verdict::of(what, runs, self.guard, |inside| {
                Comparison::in_own_units(inside, values, first.element, units)
            }))
        });
        // The gradient to the input is always there.
        Verdict::worst(verdicts).ok_or_else(|| Failure::Usage("no gradient to verify".to_owned()))
    }
}

impl Run<'_> {
    /// Forward with saved or imported statistics, then all gradients that the norm has.
    fn once(&self) -> Result<Vec<Gradient>, Failure> {
        let Self { gpu, tensors, guard, .. } = *self;
        let types = self.norm.content().types();
        let input = gpu.upload_guarded("input", types.input, &tensors.input, guard)?;
        let grad_output = gpu.upload_guarded("grad_output", types.grad_output, self.grad_output, guard)?;
        let output = gpu.tensor_of("output", types.output, input.len)?;
        let runner = Runner::new(gpu, self.norm.clone(), tensors.as_inputs(), None, 0)?
            .with_fused(&tensors.fused, tensors.sum, guard)?
            .with_fused_gradients(self.multiplies, guard)?;
        let mut work = match (&tensors.given, &runner.sum) {
            (None, _) => runner.train(input.view(), output.view())?,
            (Some(_), None) => runner.import()?,
            // which makes the sum
            (Some(_), Some(_)) => runner.forward(input.view(), output.view())?,
        };
        let wanted = [true, tensors.scale.is_some(), tensors.bias.is_some(), tensors.style.is_some()];
        let gradients = runner.gradients(wanted, guard)?;
        work.push(runner.backward(input.view(), grad_output.view(), &gradients)?);
        gpu.healthy()?;
        gpu.run_all(&work)?;
        let own = ["input", "scale", "bias", "style"].into_iter().zip(&gradients);
        let own = own.filter_map(|(to, gradient)| Some((to, gradient.as_ref()?)));
        own.chain(runner.fused_gradients.as_ref().named()).map(|(to, tensor)| self.read(to, tensor)).collect()
    }

    fn read(&self, to: &'static str, tensor: &Tensor) -> Result<Gradient, Failure> {
        Ok(Gradient { to, element: tensor.element, values: self.gpu.download_guarded(tensor)? })
    }
}
