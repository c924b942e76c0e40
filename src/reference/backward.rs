//! Gradients of the norms, in f64:
//!
//! ```text
//! g      = dy * scale
//! dbias  = sum(dy),  dscale = sum(dy * x_hat)              over the elements that share a scale and bias
//! dx     = (g - mean(g) - sum(g * x_hat) * ddivisor/dx) / divisor
//!                                                          over the elements that share statistics
//! ```
//!
//! without `mean(g)` where the norm does not centre. A deviation has `ddivisor/dx = (x - mean) / (n * divisor)`, but
//! for eps and the factor of an unbiased variance; a norm has `sign(x) * (|x| / norm)^(p - 1)`. Given statistics are
//! constants, and leave `dx = g / divisor`.

use super::axes::{check_length, walk, wide};
use super::statistics::{norm_order, power, sums, values};
use super::sum::Sum;
use super::{Prepared, ReferenceError, ReferenceInputs};
use crate::descriptor::{NormDescriptor, NormKind};

/// What [`backward`] computes: gradients in the forms of the inputs. Empty where the norm has no such input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReferenceGradients {
    /// Gradient of the input.
    pub input: Vec<f64>,
    /// Gradient of the scale.
    pub scale: Vec<f64>,
    /// Gradient of the bias.
    pub bias: Vec<f64>,
}

/// Carries the gradient of the output of [`forward`](super::forward) back to its inputs.
///
/// Where the divisor has no derivative, it counts as a constant: at its minimum, and where it is 0 or the deviation 0
/// has an eps added to it. The derivative of `|x|` at 0 is 0, and that of the largest magnitude is shared equally by
/// all that have it, as in PyTorch.
pub fn backward<T: Copy + Into<f64>>(
    d: &NormDescriptor,
    inputs: &ReferenceInputs<T>,
    grad_output: &[T],
) -> Result<ReferenceGradients, ReferenceError> {
    let p = Prepared::new(d, inputs)?;
    check_length("grad_output", grad_output.len(), inputs.input.len())?;
    Ok(gradients(&p, &d.kind, inputs, grad_output))
}

pub(super) fn gradients<T: Copy + Into<f64>>(
    p: &Prepared,
    kind: &NormKind,
    inputs: &ReferenceInputs<T>,
    grad_output: &[T],
) -> ReferenceGradients {
    let sums = Sums::of(p, inputs.input, grad_output);
    let input =
        if p.is_given { frozen(p, grad_output) } else { through_statistics(p, kind, inputs.input, grad_output, &sums) };
    let if_present = |gradient: Vec<f64>, operand: Option<&[T]>| operand.map_or_else(Vec::new, |_| gradient);
    ReferenceGradients { input, scale: if_present(sums.dy_x_hat, inputs.scale), bias: if_present(sums.dy, inputs.bias) }
}

/// What all gradients are made of.
struct Sums {
    /// Of `g` and `g * x_hat` over the elements that share statistics.
    g: Vec<f64>,
    g_x_hat: Vec<f64>,
    /// Of `dy` and `dy * x_hat` over the elements that share a scale and bias.
    dy: Vec<f64>,
    dy_x_hat: Vec<f64>,
}

impl Sums {
    fn of<T: Copy + Into<f64>>(p: &Prepared, input: &[T], grad_output: &[T]) -> Self {
        let (segments, parameters) = (p.segments(), &p.axes.affine);
        let zeros = |len| vec![Sum::default(); len];
        let (mut g, mut g_x_hat) = (zeros(segments.len), zeros(segments.len));
        let (mut dy, mut dy_x_hat) = (zeros(parameters.len), zeros(parameters.len));
        let elements = wide(input).zip(wide(grad_output));
        walk(elements, &p.axes.sizes, [segments, parameters], |(x, grad), [segment, parameter]| {
            let x_hat = p.x_hat(x, segment);
            let scaled = p.scaled(grad, parameter);
            g[segment].add(scaled);
            g_x_hat[segment].add(scaled * x_hat);
            dy[parameter].add(grad);
            dy_x_hat[parameter].add(grad * x_hat);
        });
        Self { g: values(g), g_x_hat: values(g_x_hat), dy: values(dy), dy_x_hat: values(dy_x_hat) }
    }
}

impl Prepared {
    /// `g` of an element.
    fn scaled(&self, grad: f64, parameter: usize) -> f64 {
        self.scale.as_ref().map_or(grad, |scale| grad * scale[parameter])
    }
}

fn frozen<T: Copy + Into<f64>>(p: &Prepared, grad_output: &[T]) -> Vec<f64> {
    let mut gradient = Vec::with_capacity(grad_output.len());
    walk(wide(grad_output), &p.axes.sizes, [p.segments(), &p.axes.affine], |grad, [segment, parameter]| {
        gradient.push(p.scaled(grad, parameter) * p.reciprocal[segment]);
    });
    gradient
}

fn through_statistics<T: Copy + Into<f64>>(
    p: &Prepared,
    kind: &NormKind,
    input: &[T],
    grad_output: &[T],
    sums: &Sums,
) -> Vec<f64> {
    let (segments, spread) = (p.segments(), &p.statistics.spread);
    let order = norm_order(kind);
    let sharers = order.filter(|order| order.is_infinite()).map(|_| sharers_of_largest(p, input));
    // `sum(g * x_hat) * ddivisor/dx`, but for what differs from element to element.
    let pull = |(segment, &spread): (usize, &f64)| {
        let share = sharers.as_ref().map_or(1.0, |sharers| sharers[segment]);
        p.divisor.slope(spread).map_or(0.0, |slope| sums.g_x_hat[segment] * slope / share)
    };
    let pull: Vec<f64> = spread.iter().enumerate().map(pull).collect();
    let is_centred = !p.statistics.mean.is_empty();

    let mut gradient = Vec::with_capacity(input.len());
    let elements = wide(input).zip(wide(grad_output));
    walk(elements, &p.axes.sizes, [segments, &p.axes.affine], |(x, grad), [segment, parameter]| {
        let mean = if is_centred { sums.g[segment] / segments.count } else { 0.0 };
        let direction = match order {
            Some(order) => norm_derivative(x, spread[segment], order),
            None => p.centred(x, segment),
        };
        let g = p.scaled(grad, parameter);
        gradient.push((g - mean - pull[segment] * direction) * p.reciprocal[segment]);
    });
    gradient
}

/// How many elements of each segment have the largest magnitude.
fn sharers_of_largest<T: Copy + Into<f64>>(p: &Prepared, input: &[T]) -> Vec<f64> {
    let largest = &p.statistics.spread;
    let is_largest = |x: f64, segment: usize| f64::from(u8::from(x.abs() == largest[segment]));
    sums(wide(input), &p.axes.sizes, p.segments(), is_largest)
}

/// Derivative of the norm of order `p` of a segment by one of its elements; the largest magnitude is not shared.
fn norm_derivative(x: f64, norm: f64, p: f64) -> f64 {
    let is_flat = x == 0.0 || p == 0.0;
    if is_flat || (p.is_infinite() && (x.abs() - norm) * p < 0.0) {
        0.0
    } else {
        x.signum() * power(x.abs() / norm, p - 1.0)
    }
}
