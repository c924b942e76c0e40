//! What is kept of samples.

/// Quantiles of samples, in their unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Times {
    /// A fifth is below it.
    pub p20: f64,
    /// Half is below it.
    pub median: f64,
    /// A fifth is above it.
    pub p80: f64,
}

impl Times {
    /// Of one sample or more, in any order.
    pub fn new(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self { p20: quantile(&samples, 0.2), median: quantile(&samples, 0.5), p80: quantile(&samples, 0.8) }
    }

    /// Each so much later.
    pub fn later(self, by: f64) -> Self {
        Self { p20: self.p20 + by, median: self.median + by, p80: self.p80 + by }
    }
}

/// Between the two neighbours of the position asked for, as NumPy has it.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_numpy() {
        let cases: &[(&[f64], [f64; 3])] = &[
            (&[7.0], [7.0, 7.0, 7.0]),
            (&[2.0, 1.0], [1.2, 1.5, 1.8]),
            (&[5.0, 1.0, 4.0, 2.0, 3.0, 6.0], [2.0, 3.5, 5.0]),
            (&[1.0, 1.0, 1.0, 100.0, 1.0, 1.0], [1.0, 1.0, 1.0]),
        ];
        for (samples, expected) in cases {
            let Times { p20, median, p80 } = Times::new(samples.to_vec());
            for (found, expected) in [p20, median, p80].into_iter().zip(expected) {
                assert!((found - expected).abs() < 1e-12, "{samples:?}: {found} in place of {expected}");
            }
        }
    }
}
