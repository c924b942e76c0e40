//! The norms on the CPU in f64, as plainly as can be: what Burn's results are held against.

/// A norm of tensors of N samples, C channels and S elements a plane, in segments that share a mean and variance.
pub struct Reference {
    /// N, C, S; for rows their number, their width and 1.
    pub shape: [usize; 3],
    /// One for each channel.
    pub scale: Vec<f32>,
    /// As `scale`; none for RMS.
    pub bias: Option<Vec<f32>>,
    /// Added to the variance.
    pub eps: f64,
    /// Where mean and variance come from.
    pub statistics: Statistics,
}

/// Where mean and variance come from.
#[derive(Clone)]
pub enum Statistics {
    /// Of each run of so many elements.
    Runs(usize),
    /// As `Runs`, the mean taken as 0.
    RunsNotCentred(usize),
    /// Of each channel over all samples.
    Channels,
    /// Given for each channel: means and variances.
    Running(Vec<f32>, Vec<f32>),
}

/// Mean and variance, in two passes.
fn moments<'a>(values: impl Iterator<Item = &'a f32> + Clone, centred: bool) -> (f64, f64) {
    let count = values.clone().count() as f64;
    let mean = if centred { values.clone().map(|v| f64::from(*v)).sum::<f64>() / count } else { 0.0 };
    (mean, values.map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count)
}

impl Reference {
    /// The largest difference of `y` to the norm of `x`, relative to the norm's largest element.
    pub fn error(&self, x: &[f32], y: &[f32]) -> f64 {
        if y.len() != x.len() {
            return f64::INFINITY;
        }
        let [_, channels, plane] = self.shape;
        let moments = self.moments(x);
        let (mut largest, mut worst) = (0f64, 0f64);
        for (i, (x, y)) in x.iter().zip(y).enumerate() {
            let channel = i / plane % channels;
            let (mean, variance) = moments[match self.statistics {
                Statistics::Runs(length) | Statistics::RunsNotCentred(length) => i / length,
                Statistics::Channels | Statistics::Running(..) => channel,
            }];
            let bias = self.bias.as_ref().map_or(0.0, |bias| f64::from(bias[channel]));
            let expected =
                (f64::from(*x) - mean) / (variance + self.eps).sqrt() * f64::from(self.scale[channel]) + bias;
            largest = largest.max(expected.abs());
            // a NaN is as wrong as can be; `max` would pass over it
            let difference = (expected - f64::from(*y)).abs();
            worst = if difference.is_nan() { f64::INFINITY } else { worst.max(difference) };
        }
        worst / largest
    }

    fn moments(&self, x: &[f32]) -> Vec<(f64, f64)> {
        let [_, channels, plane] = self.shape;
        match &self.statistics {
            Statistics::Runs(length) => x.chunks(*length).map(|run| moments(run.iter(), true)).collect(),
            Statistics::RunsNotCentred(length) => x.chunks(*length).map(|run| moments(run.iter(), false)).collect(),
            Statistics::Channels => {
                let planes = |channel| x.chunks(plane).skip(channel).step_by(channels).flatten();
                (0..channels).map(|channel| moments(planes(channel), true)).collect()
            }
            Statistics::Running(means, variances) => {
                means.iter().zip(variances).map(|(mean, variance)| (f64::from(*mean), f64::from(*variance))).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two samples, two channels, planes of two, no eps.
    #[test]
    fn by_hand() {
        let x = [1.0, 3.0, 10.0, 30.0, 5.0, 7.0, 50.0, 70.0];
        let over = |root: f32, values: [f32; 8]| values.map(|v| v / root.sqrt());
        let pairs = over(1.0, [-1.0, 1.0, -1.0, 3.0, -1.0, 1.0, -1.0, 3.0]);
        let channels = over(5.0, [-3.0, -1.0, -6.0, -2.0, 1.0, 3.0, 2.0, 6.0]);
        let running = over(1.0, [0.0, 1.0, 1.0, 5.0, 2.0, 3.0, 9.0, 13.0]);
        let [.., a, b, c, d] = over(37.0, [0.0, 0.0, 0.0, 0.0, 5.0, 7.0, 10.0, 14.0]);
        let [e, f, g, h, ..] = over(5.0, [1.0, 3.0, 2.0, 6.0, 0.0, 0.0, 0.0, 0.0]);
        for (statistics, bias, expected) in [
            (Statistics::Runs(2), Some(vec![0.0, 1.0]), pairs),
            (Statistics::Channels, None, channels),
            (Statistics::Running(vec![1.0, 10.0], vec![4.0, 100.0]), Some(vec![0.0, 1.0]), running),
            (Statistics::RunsNotCentred(2), None, [e, f, g, h, a, b, c, d]),
        ] {
            let reference = Reference { shape: [2, 2, 2], scale: vec![1.0, 2.0], bias, eps: 0.0, statistics };
            let error = reference.error(&x, &expected);
            assert!(error < 1e-6, "{expected:?}: {error}");
            let mut wrong = expected;
            wrong[3] = f32::NAN;
            assert_eq!(reference.error(&x, &wrong), f64::INFINITY);
            assert_eq!(reference.error(&x, &expected[1..]), f64::INFINITY);
        }
    }
}
