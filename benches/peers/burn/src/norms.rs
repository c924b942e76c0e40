//! Burn's own modules, prepared for a case, checked against the CPU, and timed.

use std::time::Instant;

use burn::module::{Param, RunningState};
use burn::nn::{BatchNormConfig, GroupNormConfig, InstanceNormConfig, LayerNormConfig, RmsNormConfig};
use burn::tensor::{Device, Distribution, Tensor, module::batch_norm_train};

use crate::protocol::Case;
use crate::reference::{Reference, Statistics};

/// Inputs of a case take at least so many bytes together, so that none stays in a cache between two runs,
const COLD_BYTES: usize = 128 << 20;
/// and are at least so many,
const COLD_SETS: usize = 4;
/// and at most so many: small ones would be too many for that.
const MOST_SETS: usize = 256;
/// A result further from the CPU's, relative to its largest element, is wrong; rounding alone stays far below.
const TOLERANCE: f64 = 1e-3;

/// A case that is ready to run.
pub trait Prepared {
    /// The seconds that `count` runs take, from the first launch to the end of the last.
    fn run(&mut self, count: usize) -> Result<f64, String>;
}

type Forward<const D: usize> = Box<dyn Fn(Tensor<D>) -> Tensor<D>>;

struct Rotation<const D: usize> {
    device: Device,
    forward: Forward<D>,
    inputs: Vec<Tensor<D>>,
    /// Kept until their turn comes again: else Burn would hand out the same, still cached memory each time.
    outputs: Vec<Option<Tensor<D>>>,
    next: usize,
}

impl<const D: usize> Prepared for Rotation<D> {
    fn run(&mut self, count: usize) -> Result<f64, String> {
        let failed = |error| format!("the device failed: {error:?}");
        self.device.sync().map_err(failed)?;
        let start = Instant::now();
        for _ in 0..count {
            self.outputs[self.next] = None;
            self.outputs[self.next] = Some((self.forward)(self.inputs[self.next].clone()));
            self.next = (self.next + 1) % self.inputs.len();
        }
        self.device.sync().map_err(failed)?;
        Ok(start.elapsed().as_secs_f64())
    }
}

/// Makes inputs and the module, and checks its first result; the reason where Burn has none or computes something else.
pub fn prepare(device: &Device, case: &Case) -> Result<Box<dyn Prepared>, String> {
    refuse_what_burn_has_not(case)?;
    let shape = dimensions(&case.shape)?;
    if matches!(case.variant.as_str(), "layer" | "rms") {
        let shape = [shape[0], shape[1] * shape[2]];
        let (forward, reference) = rows(device, case, shape);
        checked(device, shape, forward, &reference)
    } else {
        let (forward, reference) = planes(device, case, shape)?;
        checked(device, shape, forward, &reference)
    }
}

fn refuse_what_burn_has_not(case: &Case) -> Result<(), String> {
    let training = case.training || case.pass == "training";
    let refuse = |reason: &str| Err(reason.to_owned());
    match (case.variant.as_str(), case.format.as_str(), case.pass.as_str()) {
        ("layer" | "rms", "rows", _) | ("batch" | "instance" | "group", "channels-first", _) => {}
        ("batch" | "instance" | "group", "channels-last", _) => {
            return refuse("Burn's modules take channels first only");
        }
        (variant, format, _) => return Err(format!("Burn has no {variant} of {format}")),
    }
    match (case.variant.as_str(), case.pass.as_str()) {
        (_, "backward") => refuse("measured without Burn's autodiff, which fails on software adapters"),
        ("batch", "forward" | "training") => Ok(()),
        (_, "forward") if !training => Ok(()),
        (variant, _) => Err(format!("Burn saves statistics of {variant} only under autodiff, which is not measured")),
    }
}

/// N, C and the elements of a plane.
fn dimensions(shape: &[usize]) -> Result<[usize; 3], String> {
    match shape {
        [_, _, ..] if shape.contains(&0) => Err(format!("shape {shape:?} has no elements")),
        [n, c, spatial @ ..] => Ok([*n, *c, spatial.iter().product()]),
        _ => Err(format!("shape {shape:?} has fewer than two axes")),
    }
}

fn rows(device: &Device, case: &Case, [_, width]: [usize; 2]) -> (Forward<2>, Reference) {
    let scale = about(1.0, width, device);
    if case.variant == "layer" {
        let bias = about(0.0, width, device);
        let mut norm = LayerNormConfig::new(width).with_epsilon(case.eps).init(device);
        let reference = reference(case, [1, width, 1], &scale, Some(&bias), Statistics::Runs(width));
        (norm.gamma, norm.beta) = (Param::from_tensor(scale), Some(Param::from_tensor(bias)));
        return (Box::new(move |x| norm.forward(x)), reference);
    }
    let mut norm = RmsNormConfig::new(width).with_epsilon(case.eps).init(device);
    let reference = reference(case, [1, width, 1], &scale, None, Statistics::RunsNotCentred(width));
    norm.gamma = Param::from_tensor(scale);
    (Box::new(move |x| norm.forward(x)), reference)
}

fn planes(device: &Device, case: &Case, shape: [usize; 3]) -> Result<(Forward<3>, Reference), String> {
    let [_, channels, plane] = shape;
    let (scale, bias) = (about(1.0, channels, device), about(0.0, channels, device));
    let eps = case.eps;
    let reference = |statistics| reference(case, shape, &scale, Some(&bias), statistics);
    let (gamma, beta) = (Param::from_tensor(scale.clone()), Param::from_tensor(bias.clone()));
    Ok(match case.variant.as_str() {
        "instance" => {
            let mut norm = InstanceNormConfig::new(channels).with_epsilon(eps).init(device);
            (norm.gamma, norm.beta) = (Some(gamma), Some(beta));
            (Box::new(move |x| norm.forward(x)), reference(Statistics::Runs(plane)))
        }
        "group" => {
            let groups = case.groups.unwrap_or(0);
            if groups == 0 || channels % groups != 0 {
                return Err(format!("{groups} groups do not divide {channels} channels"));
            }
            let mut norm = GroupNormConfig::new(groups, channels).with_epsilon(eps).init(device);
            (norm.gamma, norm.beta) = (Some(gamma), Some(beta));
            (Box::new(move |x| norm.forward(x)), reference(Statistics::Runs(channels / groups * plane)))
        }
        _ if case.training || case.pass == "training" => {
            // what the module calls on an autodiff device, which alone it trains on
            let expected = reference(Statistics::Channels);
            (Box::new(move |x| batch_norm_train(x, scale.clone(), bias.clone(), eps).output), expected)
        }
        _ => {
            let (mean, variance) = (about(0.0, channels, device), about(1.0, channels, device));
            let expected = reference(Statistics::Running(values(&mean), values(&variance)));
            let mut norm = BatchNormConfig::new(channels).with_epsilon(eps).init(device);
            (norm.gamma, norm.beta) = (gamma, beta);
            (norm.running_mean, norm.running_var) = (RunningState::new(mean), RunningState::new(variance));
            (Box::new(move |x| norm.forward(x)), expected)
        }
    })
}

/// Random parameters around `middle`.
fn about(middle: f64, count: usize, device: &Device) -> Tensor<1> {
    Tensor::random([count], Distribution::Uniform(middle - 0.5, middle + 0.5), device)
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().iter::<f32>().collect()
}

fn reference(
    case: &Case,
    shape: [usize; 3],
    scale: &Tensor<1>,
    bias: Option<&Tensor<1>>,
    statistics: Statistics,
) -> Reference {
    Reference { shape, scale: values(scale), bias: bias.map(values), eps: case.eps, statistics }
}

/// Random inputs for `forward`, and the check of its first result.
fn checked<const D: usize>(
    device: &Device,
    shape: [usize; D],
    forward: Forward<D>,
    reference: &Reference,
) -> Result<Box<dyn Prepared>, String> {
    let bytes = shape.iter().product::<usize>() * size_of::<f32>();
    let sets = COLD_BYTES.div_ceil(bytes).clamp(COLD_SETS, MOST_SETS);
    let inputs: Vec<_> = (0..sets).map(|_| Tensor::random(shape, Distribution::Normal(0.5, 1.0), device)).collect();
    let error = reference.error(&values(&inputs[0]), &values(&forward(inputs[0].clone())));
    if error > TOLERANCE {
        return Err(format!("Burn's result is off by {error:.1e} of its largest element, more than {TOLERANCE:.0e}"));
    }
    let outputs = vec![None; sets];
    let mut rotation = Rotation { device: device.clone(), forward, inputs, outputs, next: 0 };
    // every buffer is allocated and touched before anything is timed
    rotation.run(sets)?;
    Ok(Box::new(rotation))
}
