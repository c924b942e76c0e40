//! Compensated sums.

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
