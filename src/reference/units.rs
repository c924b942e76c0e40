//! What errors are measured in: the magnitude of what a result is made of, element by element.

use super::axes::{Axes, Lookup, check_length, walk, wide};
use super::{Prepared, ReferenceError, ReferenceInputs};
use crate::descriptor::NormDescriptor;

/// Units of the errors of what [`forward`](super::forward) gives, an element each: the largest normalized magnitude of
/// the element's segment, times its scale, plus its bias. So a segment is judged by itself, whatever others have, and
/// where segments differ in their parameters each of these too.
pub fn output_units<T: Copy + Into<f64>>(
    d: &NormDescriptor,
    inputs: &ReferenceInputs<T>,
) -> Result<Vec<f64>, ReferenceError> {
    let p = Prepared::new(d, inputs)?;
    let mut largest = vec![0.0_f64; p.segments().len];
    walk(wide(inputs.input), &p.axes.sizes, [p.segments()], |x, [segment]| {
        take_largest(&mut largest[segment], p.x_hat(x, segment));
    });
    let magnitude = |values: &Option<Vec<f64>>, index: usize, when_absent: f64| {
        values.as_ref().map_or(when_absent, |values| finite(values[index].abs()))
    };
    let mut units = Vec::with_capacity(inputs.input.len());
    walk(wide(inputs.input), &p.axes.sizes, [p.segments(), &p.axes.affine], |_, [segment, parameter]| {
        units.push(largest[segment] * magnitude(&p.scale, parameter, 1.0) + magnitude(&p.bias, parameter, 0.0));
    });
    Ok(units)
}

/// The same of any tensor in the shape of the norm: the largest magnitude of each element's segment.
pub fn segment_units(
    d: &NormDescriptor,
    statistics_are_given: bool,
    values: &[f64],
) -> Result<Vec<f64>, ReferenceError> {
    let axes = Axes::of(d)?;
    check_length("values", values.len(), axes.sizes.iter().product())?;
    let segments: &Lookup = if statistics_are_given { &axes.given } else { &axes.computed };
    let mut largest = vec![0.0_f64; segments.len];
    walk(values.iter(), &axes.sizes, [segments], |&x, [segment]| take_largest(&mut largest[segment], x));
    let mut units = Vec::with_capacity(values.len());
    walk(values.iter(), &axes.sizes, [segments], |_, [segment]| units.push(largest[segment]));
    Ok(units)
}

fn take_largest(largest: &mut f64, x: f64) {
    *largest = largest.max(finite(x.abs()));
}

/// 0 in place of what is not finite in f32: nothing is measured in it.
fn finite(x: f64) -> f64 {
    if (x as f32).is_finite() { x } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::{Affine, Epsilon, NormKind};

    #[test]
    fn segments_and_their_parameters_have_units_of_their_own() {
        let kind = NormKind::LpNormalize { p: 1.0, axes: 1..2 };
        let d =
            NormDescriptor { eps: Epsilon::Minimum(0.0), affine: Affine::Scale, ..NormDescriptor::new(kind, &[2, 4]) };
        let input = [1.0, 0.0, 0.0, 0.0, 1e33, 1e33, 1e33, 1e33];
        let inputs = ReferenceInputs { input: &input, scale: Some(&[1.0_f64, -10.0, 1.0, 0.0]), ..Default::default() };
        assert_eq!(output_units(&d, &inputs).unwrap(), [1.0, 10.0, 1.0, 0.0, 0.25, 2.5, 0.25, 0.0]);
        let units = segment_units(&d, false, &[1.0, -2.0, f64::NAN, 0.0, 1e-3, 0.0, 0.0, f64::INFINITY]).unwrap();
        assert_eq!(units, [2.0, 2.0, 2.0, 2.0, 1e-3, 1e-3, 1e-3, 1e-3]);
    }
}
