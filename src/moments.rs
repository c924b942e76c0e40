//! Moments: what a reduction leaves of a segment, 16 bytes.

/// Bytes of a record: of moments, of partial moments, of gradient sums.
pub(crate) const RECORD: u64 = 16;

/// What a reduction accumulates. Each is one set of fragments in `shaders/lib/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Accumulator {
    /// Mean and variance.
    Centred,
    /// Mean square.
    Uncentred,
    /// Mean magnitude (p = 1).
    Magnitude,
    /// Largest magnitude (p = infinity).
    Largest,
    /// Mean of |x|^p.
    Power,
}

impl Accumulator {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Centred => "centred",
            Self::Uncentred => "uncentred",
            Self::Magnitude => "magnitude",
            Self::Largest => "largest",
            Self::Power => "power",
        }
    }
}

/// What an export writes beside the mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spread {
    /// Variance divided by n (mean square, norm: what the accumulator has).
    Variance,
    /// 1 / divisor: `1 / sqrt(variance + eps)`.
    Rstd,
    /// The divisor itself: `sqrt(variance + eps)`.
    Deviation,
}

/// What records hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Records {
    /// Moments, of `moments` or `training`.
    Statistics,
    /// Gradient sums, of `gradient_sums`.
    GradientSums,
}

/// From an accumulated record to the divisor: `max(root(variance * factor + inside), minimum) + added`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Divisor {
    pub inside: f32,
    pub added: f32,
    pub minimum: f32,
    /// On the variance: n / (n - 1) where it is unbiased, n where a norm is a sum.
    pub factor: f32,
    /// Order of the norm, for the accumulator that needs it.
    pub p: f32,
    /// What 1 / 0 becomes.
    pub inverse_of_zero: f32,
    /// In which order numbers that are not finite mix, which decides where NaN stands.
    pub infinities: Infinities,
}

/// Least eps beside which a variance of 0 is as good as any that f32 loses, see `shaders/lib/held/eps.wgsl`.
const MIN_EPS: f32 = 1e-15;

impl Divisor {
    /// Whether it is the root of variance + eps, and nothing else.
    pub(crate) fn is_bare_root(&self, accumulator: Accumulator) -> bool {
        let root = matches!(accumulator, Accumulator::Centred | Accumulator::Uncentred);
        root && self.factor == 1.0 && self.added == 0.0 && self.minimum == 0.0
    }

    /// Whether it is that, with an eps that makes every variance that f32 loses one of 0.
    pub(crate) fn is_safe_root(&self, accumulator: Accumulator) -> bool {
        self.is_bare_root(accumulator) && self.inside >= MIN_EPS
    }
}

/// PyTorch's orders of evaluation, taken where an operand is not finite; elsewhere they would cost digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Infinities {
    /// As the formula stands.
    Plain,
    /// Forward: an infinite scale is folded with the mean, `x * alpha + (bias - mean * alpha)` with `alpha = scale /
    /// divisor`.
    FoldedScale,
    /// Backward: sums that are not finite enter as `a * g + b * x + c` with `b = (sum(g) * mean - sum(g * x)) * a^3 /
    /// n`.
    Products,
    /// Both.
    FoldedScaleAndProducts,
}

impl Infinities {
    pub(crate) fn folds_scale(self) -> bool {
        matches!(self, Self::FoldedScale | Self::FoldedScaleAndProducts)
    }

    pub(crate) fn takes_products(self) -> bool {
        matches!(self, Self::Products | Self::FoldedScaleAndProducts)
    }
}
