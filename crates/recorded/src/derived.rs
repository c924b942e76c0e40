//! Inputs that are made instead of stored, and results that are summaries of large tensors.

use crate::golden::Sequence;

/// Elements `0..len` of a portable pseudo-random sequence: the sum of the four 16-bit parts of a mixed
/// 64-bit counter, about normally distributed, the same on every machine.
pub fn generate(sequence: Sequence, len: u64) -> Vec<f32> {
    let Sequence { seed, offset, scale } = sequence;
    let element = |index: u64| {
        let mut z = seed.wrapping_add((index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let sum: u64 = (0..4).map(|part| z >> (16 * part) & 0xffff).sum();
        (offset + scale * (sum as f64 - 131_070.0) / 32_768.0) as f32
    };
    (0..len).map(element).collect()
}

/// The elements at these flat positions.
pub fn sample(values: &[f32], positions: &[i64]) -> Vec<f32> {
    let len = values.len().max(1);
    positions.iter().filter_map(|&position| values.get(position as usize % len)).copied().collect()
}

/// Sum, sum of magnitudes, sum of squares.
pub fn sums(values: &[f32]) -> Vec<f32> {
    let mut sums = [0.0; 3];
    for &value in values {
        let value = f64::from(value);
        sums[0] += value;
        sums[1] += value.abs();
        sums[2] += value * value;
    }
    sums.map(|sum| sum as f32).to_vec()
}

/// Mean and sample deviation of groups of elements.
pub struct Moments {
    /// A mean a group.
    pub mean: Vec<f32>,
    /// A deviation a group, with n - 1.
    pub deviation: Vec<f32>,
}

impl Moments {
    /// Of several tensors of `shape` (N, C, spatial...), one behind the other: a group for each n and c, or
    /// for each c.
    pub fn of(values: &[f32], shape: &[u64], by_sample: bool) -> Self {
        let (samples, channels) = (shape[0] as usize, shape[1] as usize);
        let spatial: u64 = shape[2..].iter().product();
        let groups = if by_sample { samples * channels } else { channels };
        let runs =
            || values.chunks_exact((spatial as usize).max(1)).enumerate().map(|(run, part)| (run % groups, part));
        let mut counts = vec![0.0; groups];
        let mut means = vec![0.0; groups];
        for (group, part) in runs() {
            counts[group] += part.len() as f64;
            means[group] += part.iter().map(|&value| f64::from(value)).sum::<f64>();
        }
        for (mean, count) in means.iter_mut().zip(&counts) {
            *mean /= count;
        }
        let mut squares = vec![0.0; groups];
        for (group, part) in runs() {
            squares[group] += part.iter().map(|&value| (f64::from(value) - means[group]).powi(2)).sum::<f64>();
        }
        let deviation = squares.iter().zip(&counts).map(|(square, count)| (square / (count - 1.0)).sqrt() as f32);
        Self { deviation: deviation.collect(), mean: means.iter().map(|&mean| mean as f32).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_is_the_recorded_one() {
        // First values that other frameworks' records give for this seed.
        let first = generate(Sequence { seed: 849_751_784, offset: 0.0, scale: 1.0 }, 4);
        assert_eq!(first, [-1.078_491_2, -0.094_207_76, 1.167_205_8, 0.377_014_16]);
    }

    #[test]
    fn summaries() {
        let values = [1.0, 3.0, -5.0, -7.0, 2.0, 4.0, 0.0, 8.0];
        assert_eq!(sums(&values), [6.0, 30.0, 168.0]);
        assert_eq!(sample(&values, &[1, 9]), [3.0, 3.0]);
        let moments = Moments::of(&values, &[2, 2, 2], true);
        assert_eq!(moments.mean, [2.0, -6.0, 3.0, 4.0]);
        assert_eq!(moments.deviation[0], 2f32.sqrt());
        assert_eq!(Moments::of(&values, &[2, 2, 2], false).mean, [2.5, -1.0]);
        assert_eq!(Moments::of(&values, &[1, 2, 2], true).mean, [2.5, -1.0]);
    }
}
