//! What errors of each element are measured in, as `wgpu-norm verify` measures them: gradients to tensors by the largest
//! term of their segment, gradients to parameters by the magnitudes of their own terms.
//!
//! A parameter that has a value of its own for every element has the terms of its gradient as its gradient. So scale and
//! bias are spread over the whole tensor, and what the reference gives for those is folded again. Statistics are constants
//! there: the gradient to what is normalized is a difference, and this is its largest term.

use wgpu_norm::reference::{self, ReferenceError, ReferenceInputs, ReferenceOutput};
use wgpu_norm::{AdaptiveDescriptor, Affine, AffineAxes, MemoryFormat, NormDescriptor, NormKind};
use wgpu_norm_tools::shapes;

/// Of the gradients to input, scale and bias.
pub fn of_gradients(
    d: &NormDescriptor<'_>,
    inputs: &ReferenceInputs<'_>,
    output: &ReferenceOutput,
    grad_output: &[f32],
) -> Result<[Vec<f64>; 3], ReferenceError> {
    let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<_>>();
    let computed = (narrow(&output.mean), narrow(&output.variance));
    let kind = match d.kind {
        // it takes given statistics a channel; group norm takes them a segment
        NormKind::Instance if inputs.given.is_none() => NormKind::Group { groups: channels(d) },
        ref kind => kind.clone(),
    };
    let places = places(d.shape, &shapes::affine(d));
    let spread = |values: &[f32]| places.iter().map(|&place| values[place]).collect::<Vec<_>>();
    let (scale, bias) = (inputs.scale.map(spread), inputs.bias.map(spread));
    let is_given = inputs.given.is_some();
    let spread = ReferenceInputs {
        input: inputs.input,
        scale: scale.as_deref(),
        bias: bias.as_deref(),
        given: inputs.given.or(Some((&computed.0, &computed.1))),
    };
    let all: Vec<usize> = (0..d.shape.len()).collect();
    let everywhere = NormDescriptor { kind, affine_axes: AffineAxes::Axes(&all), ..d.clone() };
    let mut terms = reference::backward(&everywhere, &spread, grad_output)?;
    if !terms.scale.is_empty() && !terms.bias.is_empty() {
        // normalized values are as exact as the largest of their segment
        let normalized: Vec<f64> = terms.scale.iter().zip(&terms.bias).map(|(term, grad)| term / grad).collect();
        let units = reference::segment_units(d, is_given, &normalized)?;
        terms.scale = terms.bias.iter().zip(units).map(|(grad, unit)| grad * unit).collect();
    }
    let of_input = reference::segment_units(d, is_given, &terms.input)?;
    Ok([of_input, folded(&terms.scale, &places), folded(&terms.bias, &places)])
}

/// Of the gradients to content and style of an adaptive norm, which is an instance norm by the numbers of its style.
pub fn of_adaptive_gradients(
    d: &AdaptiveDescriptor<'_>,
    input: &[f32],
    style: &[f32],
    grad_output: &[f32],
) -> Result<[Vec<f64>; 2], ReferenceError> {
    let (content, of_style) = (instance(d, d.shape), instance(d, d.style_shape));
    let bare = |input| ReferenceInputs { input, ..ReferenceInputs::default() };
    let normalized = reference::forward(&content, &bare(input))?;
    let to_style = |grad_output: Vec<f32>| -> Result<Vec<f64>, ReferenceError> {
        Ok(reference::adaptive_backward(d, input, style, &grad_output)?.1)
    };
    let of_mean = to_style(grad_output.iter().map(|grad| grad.abs()).collect())?;
    let aligned = grad_output.iter().zip(&normalized.output).map(|(grad, x)| grad.abs() * x.signum() as f32);
    let of_deviation = to_style(aligned.collect())?;
    let larger: Vec<f64> = of_mean.iter().zip(&of_deviation).map(|(a, b)| a.abs().max(b.abs())).collect();
    let variance = reference::forward(&of_style, &bare(style))?.variance;
    let [of_content, ..] = of_gradients(&content, &bare(input), &normalized, grad_output)?;
    let segments = places(d.shape, &segments(d));
    let of_input = of_content
        .iter()
        .zip(segments)
        .map(|(unit, segment)| unit * variance[segment % variance.len()].sqrt())
        .collect();
    Ok([of_input, reference::segment_units(&of_style, false, &larger)?])
}

/// Of the output of an adaptive norm: the largest magnitude of each segment.
pub fn of_adaptive_output(d: &AdaptiveDescriptor<'_>, output: &[f64]) -> Result<Vec<f64>, ReferenceError> {
    reference::segment_units(&instance(d, d.shape), false, output)
}

/// The shape of what an instance norm has once a segment.
fn segments(d: &AdaptiveDescriptor<'_>) -> Vec<u64> {
    let channel = if d.format == MemoryFormat::ChannelsFirst { 1 } else { d.shape.len() - 1 };
    let varies = |axis| axis == 0 || axis == channel;
    d.shape.iter().enumerate().map(|(axis, &size)| if varies(axis) { size } else { 1 }).collect()
}

fn instance<'a>(d: &AdaptiveDescriptor<'a>, shape: &'a [u64]) -> NormDescriptor<'a> {
    let (format, eps) = (d.format, d.eps);
    NormDescriptor { format, eps, affine: Affine::None, ..NormDescriptor::new(NormKind::Instance, shape) }
}

fn channels(d: &NormDescriptor<'_>) -> u64 {
    match d.format {
        MemoryFormat::ChannelsFirst => d.shape[1],
        MemoryFormat::ChannelsLast => d.shape[d.shape.len() - 1],
    }
}

/// Where each element of a tensor has its parameter, whose shape has a size of 1 where it does not vary.
fn places(shape: &[u64], affine: &[u64]) -> Vec<usize> {
    let (mut places, mut len) = (vec![0], 1);
    for (&size, &varies) in shape.iter().zip(affine).rev() {
        let step = if size == varies { len } else { 0 };
        places = (0..size as usize).flat_map(|index| places.iter().map(move |place| place + index * step)).collect();
        len *= if step == 0 { 1 } else { size as usize };
    }
    places
}

/// Magnitudes, added up where they have one place.
fn folded(terms: &[f64], places: &[usize]) -> Vec<f64> {
    let mut sums = vec![0.0; places.last().map_or(0, |last| last + 1)];
    terms.iter().zip(places).for_each(|(term, &place)| sums[place] += term.abs());
    sums
}
