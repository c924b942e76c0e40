//! Adaptive instance norm: an instance norm of the content, whose scale and bias are deviation and mean of the style.

use super::axes::{Lookup, addressable, channel_axis, check_length, walk, wide};
use super::backward::gradients;
use super::statistics::{Divisor, Statistics, moments};
use super::{Prepared, ReferenceError, ReferenceInputs, ReferenceOutput};
use crate::descriptor::{AdaptiveDescriptor, AffineAxes, Epsilon, NormDescriptor, NormKind, StyleEpsilon};

/// Gives the content the statistics of the style: `(x - mean(x)) / std(x) * std(style) + mean(style)`.
///
/// # Errors
/// [`ReferenceError`] says which shape or operand is wrong.
pub fn adaptive<T: Copy + Into<f64>>(
    d: &AdaptiveDescriptor<'_>,
    input: &[T],
    style: &[T],
) -> Result<ReferenceOutput, ReferenceError> {
    let style = Style::of(d, style)?;
    let input: Vec<f64> = wide(input).collect();
    let (prepared, _) = content(d, &input, &style)?;
    Ok(prepared.output(&input))
}

/// Carries the gradient of the output of [`adaptive`] back: the gradients of content and style.
///
/// # Errors
/// As [`adaptive`].
pub fn adaptive_backward<T: Copy + Into<f64>>(
    d: &AdaptiveDescriptor<'_>,
    input: &[T],
    style: &[T],
    grad_output: &[T],
) -> Result<(Vec<f64>, Vec<f64>), ReferenceError> {
    let values: Vec<f64> = wide(style).collect();
    let style = Style::of(d, style)?;
    let input: Vec<f64> = wide(input).collect();
    let grad_output: Vec<f64> = wide(grad_output).collect();
    let (prepared, inputs) = content(d, &input, &style)?;
    check_length("grad_output", grad_output.len(), input.len())?;
    let all = gradients(&prepared, &NormKind::Instance, &inputs, &grad_output);
    Ok((all.input, style.gradient(&values, &all.bias, &all.scale)))
}

/// The style: its mean and deviation are bias and scale of the content.
struct Style {
    sizes: Vec<usize>,
    segments: Lookup,
    moments: Statistics,
    divisor: Divisor,
    deviations: Vec<f64>,
}

impl Style {
    fn of<T: Copy + Into<f64>>(d: &AdaptiveDescriptor<'_>, style: &[T]) -> Result<Self, ReferenceError> {
        let rank = d.shape.len();
        if rank < 2 {
            return Err(ReferenceError::RankTooLow { kind: "adain", rank, min: 2 });
        }
        let channel = channel_axis(d.format, rank);
        let same = |axis: usize| d.style_shape.get(axis) == d.shape.get(axis);
        let batch_fits = same(0) || d.style_shape.first() == Some(&1);
        if d.style_shape.len() != rank || !batch_fits || !same(channel) {
            return Err(ReferenceError::StyleShape { style: d.style_shape.to_vec(), content: d.shape.to_vec() });
        }
        let sizes = addressable(d.style_shape)?;
        check_length("style", style.len(), sizes.iter().product())?;
        let segments = Lookup::new(&sizes, &[0, channel]);
        let moments = moments(style, &sizes, &segments);
        let eps = if d.style_eps == StyleEpsilon::None { Epsilon::InsideRoot(0.0) } else { d.eps };
        let divisor = Divisor::of_deviation(eps, d.variance, segments.count).with_harmless_zero();
        let deviations = moments.spread.iter().map(|&spread| divisor.value(spread)).collect();
        Ok(Self { sizes, segments, moments, divisor, deviations })
    }

    /// From the gradients to mean and deviation to those of the style's elements.
    fn gradient(&self, values: &[f64], to_mean: &[f64], to_deviation: &[f64]) -> Vec<f64> {
        let Self { sizes, segments, moments, divisor, .. } = self;
        let mut gradient = Vec::with_capacity(values.len());
        walk(values.iter().copied(), sizes, [segments], |x, [segment]| {
            let slope = divisor.slope(moments.spread[segment]);
            let through_deviation =
                slope.map_or(0.0, |slope| to_deviation[segment] * slope * (x - moments.mean[segment]));
            gradient.push(to_mean[segment] / segments.count + through_deviation);
        });
        gradient
    }
}

/// The norm of the content, by the style's numbers.
fn content<'a>(
    d: &AdaptiveDescriptor<'_>,
    input: &'a [f64],
    style: &'a Style,
) -> Result<(Prepared, ReferenceInputs<'a, f64>), ReferenceError> {
    let all = [0, channel_axis(d.format, d.shape.len())];
    let axes = if d.style_shape[0] == d.shape[0] { &all[..] } else { &all[1..] };
    let instance = NormDescriptor {
        format: d.format,
        affine_axes: AffineAxes::Axes(axes),
        ..NormDescriptor::new(NormKind::Instance, d.shape)
    };
    let (scale, bias) = (Some(&style.deviations[..]), Some(&style.moments.mean[..]));
    let inputs = ReferenceInputs { input, scale, bias, given: None };
    let prepared = Prepared::new(&instance, &inputs)?;
    let divisor = Divisor::of_deviation(d.eps, d.variance, prepared.axes.computed.count);
    Ok((Prepared { divisor, ..prepared }.divided(), inputs))
}
