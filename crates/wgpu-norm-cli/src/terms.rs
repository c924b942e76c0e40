//! Magnitudes of the terms that gradients are sums of.
//!
//! A parameter that has a value of its own for every element has the terms of its gradient as its gradient. So all of
//! them are spread over the whole tensor, and what the reference gives for those is folded again. Statistics are
//! constants there: the gradient to what is normalized is a difference, and this is its largest term.

use std::collections::BTreeMap;
use std::convert::Infallible;

use wgpu_norm::{
    AdaptiveDescriptor, Affine, AffineAxes, Fusion, MemoryFormat, Modulation, Multiplier, NormDescriptor, NormKind,
};
use wgpu_norm_tools::check::largest;
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::fused::Fused;
use wgpu_norm_tools::norm::{Descriptor, Inputs};
use wgpu_norm_tools::shapes;

/// By the names of what gradients lead to.
pub type Units = BTreeMap<&'static str, f64>;

/// Of a norm.
pub fn of_norm(descriptor: &NormDescriptor<'_>, inputs: &Inputs<'_>, grad_output: &[f32]) -> Result<Units, Failure> {
    let shape = descriptor.shape;
    let all: Vec<usize> = (0..shape.len()).collect();
    let affine = shapes::affine(descriptor);
    let affine: Vec<usize> = all.iter().copied().filter(|&axis| affine[axis] == shape[axis]).collect();
    let axes = Fused::axes(&descriptor.fusion, &all);
    let along = |name: &str| match name {
        "scale" | "bias" => affine.as_slice(),
        _ => axes.named().find(|(other, _)| *other == name).map_or(all.as_slice(), |(_, axes)| axes),
    };

    let statistics = Descriptor::Norm(descriptor.clone()).forward(inputs)?;
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
    let terms = Descriptor::Norm(descriptor).backward(&inputs, grad_output)?;
    Ok(terms.named().map(|(name, terms)| (name, largest(&folded(&terms, &places(shape, along(name)))))).collect())
}

/// Of an adaptive norm: an instance norm by the numbers of its style.
pub fn of_adaptive(
    descriptor: &AdaptiveDescriptor<'_>,
    inputs: &Inputs<'_>,
    grad_output: &[f32],
) -> Result<Units, Failure> {
    let content = instance(descriptor, descriptor.shape);
    let bare = Inputs { input: inputs.input, ..Inputs::default() };
    let normalized = Descriptor::Norm(content.clone()).forward(&bare)?.output;
    let of_style = |grad_output: &[f32]| {
        Ok::<_, Failure>(largest(&Descriptor::Adaptive(*descriptor).backward(inputs, grad_output)?.style))
    };
    let of_mean = of_style(&grad_output.iter().map(|grad| grad.abs()).collect::<Vec<_>>())?;
    let aligned = grad_output.iter().zip(&normalized).map(|(grad, x)| grad.abs() * x.signum() as f32);
    let of_deviation = of_style(&aligned.collect::<Vec<_>>())?;
    let style = Inputs { input: inputs.style.unwrap_or_default(), ..Inputs::default() };
    let style = Descriptor::Norm(instance(descriptor, descriptor.style_shape)).forward(&style)?;
    let of_input = of_norm(&content, &bare, grad_output)?.get("input").copied().unwrap_or(0.0);
    Ok(Units::from([("input", of_input * largest(&style.variance).sqrt()), ("style", of_mean.max(of_deviation))]))
}

fn instance<'a>(descriptor: &AdaptiveDescriptor<'a>, shape: &'a [u64]) -> NormDescriptor<'a> {
    let (format, eps) = (descriptor.format, descriptor.eps);
    NormDescriptor { format, eps, affine: Affine::None, ..NormDescriptor::new(NormKind::Instance, shape) }
}

fn channels(descriptor: &NormDescriptor<'_>) -> u64 {
    let axis = match descriptor.format {
        MemoryFormat::ChannelsFirst => 1,
        MemoryFormat::ChannelsLast => descriptor.shape.len() - 1,
    };
    descriptor.shape[axis]
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

    #[test]
    fn units_are_sums_of_magnitudes() {
        let descriptor = NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &[2, 2]);
        let inputs =
            Inputs { input: &[1.0, 3.0, 3.0, 1.0], scale: Some(&[2.0; 2]), bias: Some(&[0.0; 2]), ..Inputs::default() };
        let units = of_norm(&descriptor, &inputs, &[1.0, -1.0, -3.0, 2.0]).unwrap();
        // each row is -1, 1 or 1, -1, and its deviation 1, but for eps
        for (name, expected) in [("input", 6.0), ("scale", 4.0), ("bias", 4.0)] {
            assert!((units[name] - expected).abs() < 1e-3, "{name}: {units:?}");
        }
    }
}
