//! Sums, and the statistics and divisors made of them.

use super::ReferenceError;
use super::axes::{Axes, Lookup, addressable, channel_axis, check_length, check_operand, walk, wide};
use crate::descriptor::{Epsilon, NormDescriptor, NormKind, StyleEpsilon, Variance};

/// Neumaier's sum: the digits that an addition loses are collected apart.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    total: f64,
    lost: f64,
}

impl Sum {
    pub(super) fn add(&mut self, x: f64) {
        let total = self.total + x;
        let (large, small) = if self.total.abs() >= x.abs() { (self.total, x) } else { (x, self.total) };
        *self = Self { total, lost: self.lost + ((large - total) + small) };
    }

    /// The lost digits of an infinite sum are NaN and do not count.
    pub(super) fn value(self) -> f64 {
        if self.total.is_finite() { self.total + self.lost } else { self.total }
    }
}

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

fn moments<T: Copy + Into<f64>>(input: &[T], sizes: &[usize], segments: &Lookup) -> Statistics {
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

/// `sum(|x|^p)^(1/p)`, taken relative to the largest magnitude: a large power would leave the range of f64.
fn norms<T: Copy + Into<f64>>(input: &[T], sizes: &[usize], segments: &Lookup, p: f64) -> Vec<f64> {
    let mut largest = vec![0.0_f64; segments.len];
    walk(wide(input), sizes, [segments], |x, [segment]| {
        // Not `f64::max`, which drops NaN.
        if x.abs() > largest[segment] || x.is_nan() {
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

/// The style of an adaptive instance norm: its mean and deviation are the bias and the scale, in the order of
/// [`Axes::affine`].
pub(super) struct Style {
    pub(super) sizes: Vec<usize>,
    pub(super) segments: Lookup,
    pub(super) moments: Statistics,
    pub(super) divisor: Divisor,
}

impl Style {
    /// `None` for the other kinds of norm.
    pub(super) fn of<T: Copy + Into<f64>>(
        d: &NormDescriptor,
        style: Option<&[T]>,
    ) -> Result<Option<Self>, ReferenceError> {
        let NormKind::AdaptiveInstance { style_shape, variance, style_eps } = d.kind else {
            return check_operand("style", style, None).map(|()| None);
        };
        let channel = channel_axis(d);
        let same = |axis: usize| style_shape.get(axis) == d.shape.get(axis);
        let batch_fits = same(0) || style_shape.first() == Some(&1);
        if style_shape.len() != d.shape.len() || !batch_fits || !same(channel) {
            return Err(ReferenceError::StyleShape { style: style_shape.to_vec(), content: d.shape.to_vec() });
        }
        let sizes = addressable(style_shape)?;
        check_operand("style", style, Some(sizes.iter().product()))?;
        let segments = Lookup::new(&sizes, &[0, channel]);
        let moments = moments(style.unwrap_or_default(), &sizes, &segments);
        let divisor = Divisor {
            eps: if style_eps == StyleEpsilon::None { Epsilon::InsideRoot(0.0) } else { d.eps },
            is_norm: false,
            factor: variance_correction(variance, segments.count),
            count: segments.count,
            // A constant style has the deviation 0, of which nothing is divided.
            is_zero_harmless: true,
        };
        Ok(Some(Self { sizes, segments, moments, divisor }))
    }

    pub(super) fn deviations(&self) -> Vec<f64> {
        self.moments.spread.iter().map(|&spread| self.divisor.value(spread)).collect()
    }
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
        use NormKind::{AdaptiveInstance, Batch, Instance, LpNormalize, Weight};
        let factor = match d.kind {
            AdaptiveInstance { variance, .. } => variance_correction(variance, count),
            _ => 1.0,
        };
        let is_zero_harmless = matches!(d.kind, Batch | Instance | LpNormalize { .. } | Weight { .. });
        Self { eps: d.eps, is_norm: norm_order(&d.kind).is_some(), factor, count, is_zero_harmless }
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
