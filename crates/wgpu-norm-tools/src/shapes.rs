//! What a norm asks of its parameters and statistics, before any path computes: checked here and nowhere else, so that
//! the GPU and the CPU refuse alike.

use wgpu_norm::{AffineAxes, MemoryFormat, NormDescriptor, NormKind};
#[cfg(feature = "native")]
use wgpu_norm::{DeviceFacts, Planner, SpectralDescriptor};

#[cfg(feature = "native")]
use crate::exact::Descriptor;
#[cfg(feature = "native")]
use crate::failure::Failure;
#[cfg(feature = "native")]
use crate::outline::Which;

/// Shape of scale and bias of a valid norm: the input's, 1 along the axes along which they do not vary.
pub fn affine(descriptor: &NormDescriptor<'_>) -> Vec<u64> {
    if let AffineAxes::Axes(axes) = descriptor.affine_axes {
        return along(descriptor.shape, axes);
    }
    match &descriptor.kind {
        NormKind::Group { groups } if descriptor.affine_axes == AffineAxes::Groups => {
            let mut shape = channels(descriptor);
            shape[channel_axis(descriptor)] = *groups;
            shape
        }
        NormKind::Layer { axes } | NormKind::Rms { axes } | NormKind::LpNormalize { axes, .. } => {
            varying(descriptor, |axis| axes.contains(&axis))
        }
        NormKind::MeanVariance { axes } => varying(descriptor, |axis| axes.contains(&axis)),
        NormKind::Weight { dim } => varying(descriptor, |axis| *dim == Some(axis)),
        _ => channels(descriptor),
    }
}

/// Shape of a value a channel, as running statistics are, of a valid norm.
pub fn channels(descriptor: &NormDescriptor<'_>) -> Vec<u64> {
    varying(descriptor, |axis| axis == channel_axis(descriptor))
}

fn varying(descriptor: &NormDescriptor<'_>, varies: impl Fn(usize) -> bool) -> Vec<u64> {
    descriptor.shape.iter().enumerate().map(|(axis, &size)| if varies(axis) { size } else { 1 }).collect()
}

fn channel_axis(descriptor: &NormDescriptor<'_>) -> usize {
    match descriptor.format {
        MemoryFormat::ChannelsFirst => 1,
        MemoryFormat::ChannelsLast => descriptor.shape.len() - 1,
    }
}

/// The sizes of a shape along these axes, 1 along the others.
pub fn along(shape: &[u64], axes: &[usize]) -> Vec<u64> {
    shape.iter().enumerate().map(|(axis, &size)| if axes.contains(&axis) { size } else { 1 }).collect()
}

/// The axes of `shape` that have the sizes of `actual`, in its order: where it has a size of 1 it has none, or any.
pub fn axes_like(actual: &[u64], shape: &[u64]) -> Option<Vec<usize>> {
    let is_broadcast = actual.len() == shape.len() && actual.iter().zip(shape).all(|(a, b)| a == b || *a == 1);
    if is_broadcast {
        return Some((0..shape.len()).filter(|&axis| actual[axis] != 1).collect());
    }
    let mut rest = 0..shape.len();
    let sizes = actual.iter().filter(|&&size| size != 1);
    sizes.map(|size| rest.find(|&axis| shape[axis] == *size)).collect()
}

/// Whether a tensor has the shape `expected`, of which it may leave sizes of 1 out.
pub fn fits(actual: &[u64], expected: &[u64]) -> bool {
    let mut rest = actual;
    let fits = expected.iter().all(|&size| match rest.split_first() {
        Some((&first, others)) if first == size => {
            rest = others;
            true
        }
        _ => size == 1,
    });
    fits && rest.is_empty()
}

#[cfg(feature = "native")]
/// Refuses a tensor that does not fit; `way_out` says what would help.
pub fn check(operand: &str, actual: &[u64], expected: &[u64], way_out: impl FnOnce() -> String) -> Result<(), Failure> {
    if fits(actual, expected) {
        return Ok(());
    }
    let (actual, expected) = (actual.to_vec(), expected.to_vec());
    Err(Failure::Shape { operand: operand.to_owned(), actual, expected, way_out: way_out() })
}

#[cfg(feature = "native")]
/// The axes along which a parameter of shape `actual` varies in a tensor of `shape`: those whose size it has, unless
/// that is 1. Along the others it has 1; leading axes may be left out.
pub fn varying_axes(operand: &str, actual: &[u64], shape: &[u64]) -> Result<Vec<usize>, Failure> {
    let refused = || {
        let written = axes_like(actual, shape).filter(|axes| !axes.is_empty()).map(|axes| along(shape, &axes));
        let way_out = written.map_or_else(String::new, |written| format!("; {written:?} is one with its sizes"));
        Failure::Axes { operand: operand.to_owned(), actual: actual.to_vec(), shape: shape.to_vec(), way_out }
    };
    let first = shape.len().checked_sub(actual.len()).ok_or_else(refused)?;
    let sizes = || (first..).zip(actual.iter().zip(&shape[first..]));
    if sizes().any(|(_, (size, whole))| size != whole && *size != 1) {
        return Err(refused());
    }
    Ok(sizes().filter(|(_, (size, whole))| size == whole && **whole != 1).map(|(axis, _)| axis).collect())
}

#[cfg(feature = "native")]
/// Refuses statistics that would say nothing, as the engine does where it computes them: by a plan for a device that
/// can bind anything.
pub fn check_statistics(descriptor: &Descriptor<'_>, given: bool) -> Result<(), Failure> {
    let mut facts = DeviceFacts::DEFAULT;
    facts.max_binding = u64::MAX;
    let which = if given { Which::Given } else { Which::Forward };
    // statistics are the same whatever stands around the norm
    let alone = descriptor.alone();
    let descriptor = alone.as_ref().unwrap_or(descriptor);
    descriptor.plan(&Planner::new(facts))?.outline(descriptor.affine(), which, None)?;
    Ok(())
}

#[cfg(feature = "native")]
/// Refuses what the engine refuses of a spectral norm.
pub fn check_spectral(descriptor: &SpectralDescriptor<'_>) -> Result<(), Failure> {
    Planner::new(DeviceFacts::DEFAULT).plan_spectral(descriptor)?;
    Ok(())
}

#[cfg(all(test, feature = "native"))]
mod tests {
    use wgpu_norm::{AdaptiveDescriptor, Epsilon, Variance};

    use super::*;

    #[test]
    fn only_sizes_of_1_may_be_left_out() {
        let cases: &[(&[u64], &[u64], bool)] = &[
            (&[3], &[1, 3, 1, 1], true),
            (&[1, 3, 1, 1], &[1, 3, 1, 1], true),
            (&[3, 1, 1], &[1, 3, 1, 1], true),
            (&[1, 3], &[1, 3, 1], true),
            (&[], &[1, 1], true),
            (&[0], &[1, 0], true),
            (&[4], &[1, 3, 1, 1], false),
            (&[1, 1, 3], &[1, 3, 1, 1], false),
            (&[3, 1, 1, 1], &[1, 3, 1, 1], false),
            (&[2, 1], &[1, 2], false),
            (&[3, 2], &[1, 2, 3], false),
            (&[6], &[1, 2, 3], false),
            (&[3], &[1, 3, 3], false),
            (&[3, 3], &[1, 3], false),
            (&[], &[2], false),
        ];
        for (actual, expected, fits) in cases {
            assert_eq!(super::fits(actual, expected), *fits, "{actual:?} for {expected:?}");
        }
    }

    /// All shapes of up to four axes against all others: one fits that is left when sizes of 1 are taken away.
    #[test]
    fn what_fits_is_what_is_left_without_sizes_of_1() {
        let shapes: Vec<Vec<u64>> = (0..=4u32)
            .flat_map(|rank| {
                (0..3u64.pow(rank)).map(move |code| (0..rank).map(|at| code / 3u64.pow(at) % 3 + 1).collect())
            })
            .collect();
        for expected in &shapes {
            let mut left: Vec<Vec<u64>> = vec![Vec::new()];
            for &size in expected {
                let with = left.iter().map(|shape| [&shape[..], &[size]].concat()).collect::<Vec<_>>();
                left = if size == 1 { [left, with].concat() } else { with };
            }
            for actual in &shapes {
                assert_eq!(fits(actual, expected), left.contains(actual), "{actual:?} for {expected:?}");
            }
        }
    }

    #[test]
    fn axes_are_found_by_their_sizes() {
        let shape = &[2, 3, 4, 3];
        for (actual, expected) in [
            (&[3][..], Some(&[1][..])),
            (&[3, 4], Some(&[1, 2])),
            (&[3, 3], Some(&[1, 3])),
            (&[1, 1, 1, 3], Some(&[3])),
            (&[2, 1, 4, 1], Some(&[0, 2])),
            (&[4, 1], Some(&[2])),
            (&[1], Some(&[])),
            (&[4, 2], None),
            (&[5], None),
        ] {
            assert_eq!(axes_like(actual, shape).as_deref(), expected, "{actual:?}");
        }
    }

    #[test]
    fn axes_are_those_whose_size_a_parameter_has() {
        /// A parameter's shape, the input's, the axes.
        type Case<'a> = (&'a [u64], &'a [u64], Option<&'a [usize]>);
        let cases: &[Case<'_>] = &[
            (&[2, 3, 4], &[2, 3, 4], Some(&[0, 1, 2])),
            (&[2, 1, 4], &[2, 3, 4], Some(&[0, 2])),
            (&[4], &[2, 3, 4], Some(&[2])),
            (&[3, 1], &[2, 3, 4], Some(&[1])),
            (&[1], &[2, 3, 4], Some(&[])),
            (&[], &[2, 3, 4], Some(&[])),
            (&[1, 1, 4], &[1, 3, 4], Some(&[2])),
            (&[0, 1], &[0, 4], Some(&[0])),
            (&[2], &[2, 3, 4], None),
            (&[2, 4], &[2, 3, 4], None),
            (&[1, 2, 3, 4], &[2, 3, 4], None),
            (&[0], &[4], None),
        ];
        for (actual, shape, expected) in cases {
            let axes = varying_axes("gate", actual, shape);
            assert_eq!(axes.ok().as_deref(), *expected, "{actual:?} in {shape:?}");
        }
    }

    #[test]
    fn parameters_vary_along_the_axes_of_the_kind() {
        let shape = [2, 6, 4, 5];
        let of = |kind: NormKind<'_>| affine(&NormDescriptor::new(kind, &shape));
        assert_eq!(of(NormKind::Batch), [1, 6, 1, 1]);
        assert_eq!(of(NormKind::Group { groups: 3 }), [1, 6, 1, 1]);
        assert_eq!(of(NormKind::Layer { axes: 2..4 }), [1, 1, 4, 5]);
        assert_eq!(of(NormKind::MeanVariance { axes: &[0, 3] }), [2, 1, 1, 5]);
        assert_eq!(of(NormKind::Weight { dim: Some(2) }), [1, 1, 4, 1]);
        assert_eq!(of(NormKind::Weight { dim: None }), [1, 1, 1, 1]);
        let group = NormDescriptor::new(NormKind::Group { groups: 3 }, &shape);
        assert_eq!(affine(&NormDescriptor { affine_axes: AffineAxes::Groups, ..group.clone() }), [1, 3, 1, 1]);
        assert_eq!(affine(&NormDescriptor { affine_axes: AffineAxes::Axes(&[0, 3]), ..group }), [2, 1, 1, 5]);
        let last =
            NormDescriptor { format: MemoryFormat::ChannelsLast, ..NormDescriptor::new(NormKind::Batch, &shape) };
        assert_eq!(channels(&last), [1, 1, 1, 5]);
    }

    #[test]
    fn statistics_that_say_nothing_are_refused() {
        let refusal = |descriptor: Descriptor<'_>, given: bool| {
            check_statistics(&descriptor, given).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let norm = |kind: NormKind<'static>, shape: &'static [u64], eps: f32| {
            Descriptor::Norm(NormDescriptor { eps: Epsilon::InsideRoot(eps), ..NormDescriptor::new(kind, shape) })
        };
        let group = || NormKind::Group { groups: 2 };
        assert!(refusal(norm(NormKind::Batch, &[2, 2], 0.0), false).contains("eps above 0"));
        assert!(refusal(norm(NormKind::Batch, &[1, 4], 1e-5), false).contains("one element"));
        assert_eq!(refusal(norm(NormKind::Batch, &[1, 4], 0.0), true), "");
        assert!(refusal(norm(NormKind::Instance, &[2, 3, 1], 1e-5), false).contains("one element"));
        assert!(refusal(norm(group(), &[1, 2], 1e-5), false).contains("one element"));
        assert_eq!(refusal(norm(group(), &[2, 2], 1e-5), false), "");
        assert_eq!(refusal(norm(NormKind::Layer { axes: 0..1 }, &[4], 0.0), false), "");
        let style = AdaptiveDescriptor::new(&[1, 2, 5], &[1, 2, 1]);
        assert_eq!(refusal(style.into(), false), "");
        let unbiased = AdaptiveDescriptor { variance: Variance::Unbiased, ..style };
        assert!(refusal(unbiased.into(), false).contains("one element"));
        // more than a device binds at once: whether it can is the device's affair
        assert_eq!(refusal(norm(NormKind::Layer { axes: 1..2 }, &[1, 1 << 30], 1e-5), false), "");
    }
}
