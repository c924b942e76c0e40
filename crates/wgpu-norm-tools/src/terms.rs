//! Units of errors of gradients: what arithmetic in f32 can promise each element of them.
//!
//! A gradient to a parameter is a sum, as exact as the magnitudes of its own terms add up; one to a tensor is a
//! difference, as exact as the largest term in its segment.
//!
//! A parameter that has a value of its own for every element has the terms of its gradient as its gradient. So all of
//! them are spread over the whole tensor, and what the reference gives for those is folded again. Statistics are
//! constants there, so that the gradient to what is normalized is the first of the terms of the difference.

use std::collections::BTreeMap;
use std::convert::Infallible;

use crate::exact::{Descriptor, Inputs};
use crate::fused::Fused;
use crate::shapes;
use wgpu_norm::reference::ReferenceError;
use wgpu_norm::{
    AdaptiveDescriptor, Affine, AffineAxes, Fusion, MemoryFormat, Modulation, Multiplier, NormDescriptor, NormKind,
};

/// A unit for each element, by the names of what gradients lead to.
pub type Units = BTreeMap<&'static str, Vec<f64>>;

/// Of a norm.
pub fn of(descriptor: &Descriptor<'_>, inputs: &Inputs<'_>, grad_output: &[f32]) -> Result<Units, ReferenceError> {
    match descriptor {
        Descriptor::Norm(descriptor) => of_norm(descriptor, inputs, grad_output),
        Descriptor::Adaptive(descriptor) => of_adaptive(descriptor, inputs, grad_output),
    }
}

fn of_norm(descriptor: &NormDescriptor<'_>, inputs: &Inputs<'_>, grad_output: &[f32]) -> Result<Units, ReferenceError> {
    let shape = descriptor.shape;
    let all: Vec<usize> = (0..shape.len()).collect();
    let affine = shapes::affine(descriptor);
    let affine: Vec<usize> = all.iter().copied().filter(|&axis| affine[axis] == shape[axis]).collect();
    let axes = Fused::axes(&descriptor.fusion, &all);
    let along = |name: &str| match name {
        "scale" | "bias" => affine.as_slice(),
        _ => axes.named().find(|(other, _)| *other == name).map_or(all.as_slice(), |(_, axes)| axes),
    };

    let norm = Descriptor::Norm(descriptor.clone());
    let statistics = norm.forward(inputs)?;
    let is_given = inputs.given.is_some();
    let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<_>>();
    let computed = (narrow(&statistics.mean), narrow(&statistics.variance));
    let kind = match descriptor.kind {
        // It takes given statistics a channel; group norm takes them a segment.
        NormKind::Instance if inputs.given.is_none() => NormKind::Group { groups: channels(descriptor) },
        ref kind => kind.clone(),
    };
    let spread = |name: &str, values: &[f32]| -> Vec<f32> {
        places(shape, along(name)).into_iter().map(|place| values[place]).collect()
    };
    let [scale, bias] =
        [("scale", inputs.scale), ("bias", inputs.bias)].map(|(name, values)| values.map(|of| spread(name, of)));
    let Ok(fused) = inputs.fused.try_map(|name, values| Ok::<_, Infallible>(spread(name, values)));
    let inputs = Inputs {
        scale: scale.as_deref(),
        bias: bias.as_deref(),
        given: inputs.given.or(Some((&computed.0, &computed.1))),
        fused: fused.as_ref().map(Vec::as_slice),
        ..*inputs
    };
    let (affine_axes, fusion) = (AffineAxes::Axes(&all), everywhere(descriptor.fusion, &all));
    let descriptor = NormDescriptor { kind, affine_axes, fusion, ..descriptor.clone() };
    let mut terms: BTreeMap<_, _> = Descriptor::Norm(descriptor).backward(&inputs, grad_output)?.named().collect();
    if let (Some(scale), Some(bias)) = (terms.get("scale"), terms.get("bias")) {
        // normalized values are as exact as the largest of their segment
        let normalized: Vec<f64> = scale.iter().zip(bias).map(|(term, grad)| term / grad).collect();
        let units = norm.segment_units(is_given, &normalized)?;
        let terms_of_scale = bias.iter().zip(units).map(|(grad, unit)| grad * unit).collect();
        terms.insert("scale", terms_of_scale);
    }
    let units = |(name, terms): (_, Vec<f64>)| {
        let axes = along(name);
        let is_tensor = axes.len() == shape.len();
        let units =
            if is_tensor { norm.segment_units(is_given, &terms)? } else { folded(&terms, &places(shape, axes)) };
        Ok((name, units))
    };
    terms.into_iter().map(units).collect()
}

/// Of an adaptive norm: an instance norm by the numbers of its style.
fn of_adaptive(
    descriptor: &AdaptiveDescriptor<'_>,
    inputs: &Inputs<'_>,
    grad_output: &[f32],
) -> Result<Units, ReferenceError> {
    let content = instance(descriptor, descriptor.shape);
    let bare = Inputs { input: inputs.input, ..Inputs::default() };
    let normalized = Descriptor::Norm(content.clone()).forward(&bare)?.output;
    let of_style = |grad_output: &[f32]| {
        Ok::<_, ReferenceError>(Descriptor::Adaptive(*descriptor).backward(inputs, grad_output)?.style)
    };
    let of_mean = of_style(&grad_output.iter().map(|grad| grad.abs()).collect::<Vec<_>>())?;
    let aligned = grad_output.iter().zip(&normalized).map(|(grad, x)| grad.abs() * x.signum() as f32);
    let of_deviation = of_style(&aligned.collect::<Vec<_>>())?;
    let larger: Vec<f64> = of_mean.iter().zip(&of_deviation).map(|(a, b)| a.abs().max(b.abs())).collect();
    let style = Descriptor::Norm(instance(descriptor, descriptor.style_shape));
    let variance = style.forward(&Inputs { input: inputs.style.unwrap_or_default(), ..Inputs::default() })?.variance;
    let segments = places(descriptor.shape, &[0, channel_axis(descriptor.format, descriptor.shape)]);
    let of_content = of_norm(&content, &bare, grad_output)?.remove("input").unwrap_or_default();
    let of_input = of_content
        .iter()
        .zip(segments)
        .map(|(unit, segment)| unit * variance[segment % variance.len()].sqrt())
        .collect();
    Ok(Units::from([("input", of_input), ("style", style.segment_units(false, &larger)?)]))
}

fn instance<'a>(descriptor: &AdaptiveDescriptor<'a>, shape: &'a [u64]) -> NormDescriptor<'a> {
    let (format, eps) = (descriptor.format, descriptor.eps);
    NormDescriptor { format, eps, affine: Affine::None, ..NormDescriptor::new(NormKind::Instance, shape) }
}

fn channels(descriptor: &NormDescriptor<'_>) -> u64 {
    descriptor.shape[channel_axis(descriptor.format, descriptor.shape)]
}

fn channel_axis(format: MemoryFormat, shape: &[u64]) -> usize {
    match format {
        MemoryFormat::ChannelsFirst => 1,
        MemoryFormat::ChannelsLast => shape.len() - 1,
    }
}

/// The same, each parameter with a value of its own for every element.
fn everywhere<'a>(mut fusion: Fusion<'a>, all: &'a [usize]) -> Fusion<'a> {
    let prologue = &mut fusion.prologue;
    prologue.residual = prologue.residual.map(|_| all);
    prologue.bias = prologue.bias.map(|_| all);
    if let Multiplier::Gate(axes) = &mut prologue.multiplier {
        *axes = all;
    }
    fusion.modulation = fusion.modulation.map(|modulation| Modulation { axes: all, ..modulation });
    fusion.epilogue.out_gate = fusion.epilogue.out_gate.map(|_| all);
    fusion
}

/// Where each element of a tensor has its value in a list that varies along these axes.
fn places(shape: &[u64], axes: &[usize]) -> Vec<usize> {
    let (mut places, mut len) = (vec![0], 1);
    for (axis, &size) in shape.iter().enumerate().rev() {
        let step = if axes.contains(&axis) { len } else { 0 };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_find_their_values_along_any_axes() {
        for (axes, expected) in [
            (&[0, 1, 2][..], [0, 1, 2, 3, 4, 5, 6, 7]),
            (&[0, 2], [0, 1, 0, 1, 2, 3, 2, 3]),
            (&[1], [0, 0, 1, 1, 0, 0, 1, 1]),
            (&[], [0; 8]),
        ] {
            assert_eq!(places(&[2, 2, 2], axes), expected, "{axes:?}");
        }
        assert_eq!(folded(&[1.0, -2.0, 3.0, -4.0], &places(&[2, 2], &[1])), [4.0, 6.0]);
    }

    /// What each case allows: segments and parameters of small numbers are not judged by those beside them.
    #[test]
    fn units_are_of_an_elements_own_segment_and_of_its_own_terms() {
        const TINY: f32 = 1e-6;
        let both = Affine::ScaleAndBias;
        let rows = NormDescriptor { affine: both, ..NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &[2, 2]) };
        let channels = NormDescriptor { affine: both, ..NormDescriptor::new(NormKind::Batch, &[2, 2]) };
        // each row, or channel, is -1, 1 or 1, -1 when it is normalized, and its deviation 1, but for eps
        let (row, channel) = ([1.0, 3.0, 3.0, 1.0], [1.0, 3.0, 3.0, 1.0]);
        for (descriptor, input, grad_output, expected) in [
            (&rows, row, [1.0, -1.0, -3.0, 2.0], [[2.0, 2.0, 6.0, 6.0], [4.0, 3.0, 4.0, 3.0]]),
            (&rows, row, [TINY, TINY, -3.0, 2.0], [[2e-6, 2e-6, 6.0, 6.0], [3.0, 2.0, 3.0, 2.0]]),
            (&channels, channel, [1.0, TINY, -3.0, -TINY], [[6.0, 2e-6, 6.0, 2e-6], [4.0, 2e-6, 4.0, 2e-6]]),
        ] {
            let inputs = Inputs { input: &input, scale: Some(&[2.0; 2]), bias: Some(&[0.0; 2]), ..Inputs::default() };
            let units = of(&Descriptor::Norm(descriptor.clone()), &inputs, &grad_output).unwrap();
            let [of_input, of_parameters] = expected;
            let (scale, bias) = of_parameters.split_at(2);
            for (name, expected) in [("input", &of_input[..]), ("scale", scale), ("bias", bias)] {
                let close =
                    units[name].iter().zip(expected).all(|(unit, expected)| (unit / expected - 1.0).abs() < 1e-3);
                assert!(close && units[name].len() == expected.len(), "{name}: {units:?}, not {expected:?}");
            }
        }
    }

    #[test]
    fn the_style_of_each_instance_is_judged_by_itself() {
        // two instances; the style of the first varies a thousand times as much, the second has small gradients
        let descriptor = AdaptiveDescriptor::new(&[1, 2, 2], &[1, 2, 2]);
        let inputs = Inputs { input: &[1.0, 3.0, 1.0, 3.0], style: Some(&[0.0, 2e3, 0.0, 2.0]), ..Inputs::default() };
        let units = of(&Descriptor::Adaptive(descriptor), &inputs, &[1.0, 1.0, 1e-6, 1e-6]).unwrap();
        for (name, expected) in [("input", [1e3, 1e3, 1e-6, 1e-6]), ("style", [1.0, 1.0, 1e-6, 1e-6])] {
            let close = units[name].iter().zip(expected).all(|(unit, expected)| (unit / expected - 1.0).abs() < 0.1);
            assert!(close && units[name].len() == 4, "{name}: {units:?}");
        }
    }
}
