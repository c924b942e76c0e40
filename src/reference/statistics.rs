//! Statistics and the divisors made of them.

use super::ReferenceError;
use super::axes::{Axes, Lookup, check_length, walk, wide};
use super::sum::Sum;
use crate::descriptor::{Epsilon, NormDescriptor, NormKind, Variance};

/// Mean and spread a segment; no mean where the norm does not centre. The spread is what
/// [`ReferenceOutput::variance`](super::ReferenceOutput::variance) says.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    pub(super) mean: Vec<f64>,
    pub(super) spread: Vec<f64>,
}

pub(super) fn is_centred(kind: &NormKind) -> bool {
    !matches!(kind, NormKind::Rms { .. } | NormKind::LpNormalize { .. } | NormKind::Weight { .. })
}

/// The order of the norm that a kind divides by; `None` where that is a deviation or a root mean square.
pub(super) fn norm_order(kind: &NormKind) -> Option<f64> {
    match *kind {
        NormKind::LpNormalize { p, .. } => Some(f64::from(p)),
        NormKind::Weight { .. } => Some(2.0),
        _ => None,
    }
}

pub(super) fn compute_statistics<T: Copy + Into<f64>>(kind: &NormKind, input: &[T], axes: &Axes) -> Statistics {
    let (sizes, segments) = (&axes.sizes, &axes.computed);
    if let Some(p) = norm_order(kind) {
        return Statistics { mean: Vec::new(), spread: norms(input, sizes, segments, p) };
    }
    if is_centred(kind) {
        return moments(input, sizes, segments);
    }
    Statistics { mean: Vec::new(), spread: averages(input, sizes, segments, |x, _| x * x) }
}

pub(super) fn moments<T: Copy + Into<f64>>(input: &[T], sizes: &[usize], segments: &Lookup) -> Statistics {
    let mean = averages(input, sizes, segments, |x, _| x);
    let spread = averages(input, sizes, segments, |x, segment| (x - mean[segment]).powi(2));
    Statistics { mean, spread }
}

fn averages<T: Copy + Into<f64>>(
    input: &[T],
    sizes: &[usize],
    segments: &Lookup,
    term: impl Fn(f64, usize) -> f64,
) -> Vec<f64> {
    sums(wide(input), sizes, segments, term).into_iter().map(|sum| sum / segments.count).collect()
}

/// Sums over segments of a term of each element and its segment.
pub(super) fn sums<E>(
    elements: impl Iterator<Item = E>,
    sizes: &[usize],
    segments: &Lookup,
    term: impl Fn(E, usize) -> f64,
) -> Vec<f64> {
    let mut sums = vec![Sum::default(); segments.len];
    walk(elements, sizes, [segments], |element, [segment]| sums[segment].add(term(element, segment)));
    values(sums)
}

/// The values of the sums.
pub(super) fn values(sums: Vec<Sum>) -> Vec<f64> {
    sums.into_iter().map(Sum::value).collect()
}

/// `sum(|x|^p)^(1/p)`, taken relative to the largest magnitude, or of a negative p to the smallest: a large power would
/// leave the range of f64. Of p = 0 the number of elements that are not 0.
fn norms<T: Copy + Into<f64>>(input: &[T], sizes: &[usize], segments: &Lookup, p: f64) -> Vec<f64> {
    if p == 0.0 {
        return sums(wide(input), sizes, segments, |x, _| f64::from(u8::from(x != 0.0)));
    }
    let is_empty = segments.count == 0.0;
    let mut largest = vec![if p < 0.0 && !is_empty { f64::INFINITY } else { 0.0 }; segments.len];
    walk(wide(input), sizes, [segments], |x, [segment]| {
        let replaces = if p < 0.0 { x.abs() < largest[segment] } else { x.abs() > largest[segment] };
        // Not `f64::max`, which drops NaN.
        if replaces || x.is_nan() {
            largest[segment] = x.abs();
        }
    });
    if p.is_infinite() {
        return largest;
    }
    let sums = sums(wide(input), sizes, segments, |x, segment| power(x.abs() / largest[segment], p));
    let root = |(largest, sum): (f64, f64)| match largest {
        0.0 | f64::INFINITY => largest,
        _ => largest * sum.powf(1.0 / p),
    };
    largest.into_iter().zip(sums).map(root).collect()
}

/// `x^p`, quick for the powers that are asked for most.
pub(super) fn power(x: f64, p: f64) -> f64 {
    match p {
        1.0 => x,
        2.0 => x * x,
        _ => x.powf(p),
    }
}

/// Given statistics, as many as are looked up.
pub(super) fn given_statistics<T: Copy + Into<f64>>(
    segments: &Lookup,
    (mean, variance): (&[T], &[T]),
    centred: bool,
) -> Result<Statistics, ReferenceError> {
    check_length("mean", mean.len(), if centred { segments.len } else { 0 })?;
    check_length("variance", variance.len(), segments.len)?;
    Ok(Statistics { mean: wide(mean).collect(), spread: wide(variance).collect() })
}

/// The way from the spread of a segment to its divisor.
pub(super) struct Divisor {
    eps: Epsilon,
    /// Whether the spread is a norm, not a variance.
    is_norm: bool,
    /// Of a variance, to the one that is asked for.
    factor: f64,
    /// Elements of the segment.
    count: f64,
    /// Whether the reciprocal of 0 is 0.
    is_zero_harmless: bool,
}

impl Divisor {
    pub(super) fn of(d: &NormDescriptor, count: f64) -> Self {
        use NormKind::{Batch, Instance, LpNormalize, Weight};
        let is_zero_harmless = matches!(d.kind, Batch | Instance | LpNormalize { .. } | Weight { .. });
        Self { eps: d.eps, is_norm: norm_order(&d.kind).is_some(), factor: 1.0, count, is_zero_harmless }
    }

    /// Of a deviation, whose reciprocal at 0 IEEE decides.
    pub(super) fn of_deviation(eps: Epsilon, variance: Variance, count: f64) -> Self {
        let factor = variance_correction(variance, count);
        Self { eps, is_norm: false, factor, count, is_zero_harmless: false }
    }

    /// The same where a constant does no harm: nothing is divided by it.
    pub(super) fn with_harmless_zero(self) -> Self {
        Self { is_zero_harmless: true, ..self }
    }

    fn root(&self, spread: f64) -> f64 {
        let square = if self.is_norm { spread * spread } else { spread * self.factor };
        match self.eps {
            Epsilon::InsideRoot(eps) | Epsilon::AsGiven(eps) => (square + f64::from(eps)).sqrt(),
            Epsilon::Machine => (square + f64::from(f32::EPSILON)).sqrt(),
            Epsilon::AddedToDeviation(_) | Epsilon::Minimum(_) => square.sqrt(),
        }
    }

    /// What the centred input is divided by.
    pub(super) fn value(&self, spread: f64) -> f64 {
        let root = self.root(spread);
        match self.eps {
            Epsilon::AddedToDeviation(eps) => root + f64::from(eps),
            // Not `f64::max`, which drops NaN.
            Epsilon::Minimum(eps) if root < f64::from(eps) => f64::from(eps),
            _ => root,
        }
    }

    /// What the centred input is multiplied with.
    pub(super) fn reciprocal(&self, spread: f64) -> f64 {
        let divisor = self.value(spread);
        if divisor == 0.0 && self.is_zero_harmless { 0.0 } else { 1.0 / divisor }
    }

    /// The derivative of the divisor by an element of the segment is this times `x - mean`, or times the
    /// derivative of the norm where the spread is a norm.
    ///
    /// `None` where the divisor counts as constant: at its minimum, and at the root of 0, which has no
    /// derivative, unless the reciprocal is infinite.
    pub(super) fn slope(&self, spread: f64) -> Option<f64> {
        let root = self.root(spread);
        let is_least = matches!(self.eps, Epsilon::Minimum(eps) if root < f64::from(eps));
        if is_least || (root == 0.0 && self.reciprocal(spread).is_finite()) {
            return None;
        }
        Some(if self.is_norm { spread / root } else { self.factor / (self.count * root) })
    }
}

/// Factor from the variance divided by `n` to the one asked for. Infinite at `n = 1`, where it makes NaN of the
/// variance 0.
pub(super) fn variance_correction(variance: Variance, n: f64) -> f64 {
    match variance {
        Variance::Biased => 1.0,
        Variance::Unbiased => n / (n - 1.0),
    }
}
