//! Batch norm of inference as part of the convolution before it: a host computes the weights once, and no kernel runs.
//!
//! ```text
//! factor  = scale / sqrt(variance + eps)                   of each output channel
//! weight' = weight * factor
//! bias'   = (bias - mean) * factor + norm's bias
//! ```

/// f32 or f64: what [`fold_batch_norm`] takes. It computes in f64 and rounds once.
pub trait Real: Copy + Into<f64> + sealed::Round {}

impl Real for f32 {}
impl Real for f64 {}

mod sealed {
    pub trait Round {
        fn round(value: f64) -> Self;
    }

    impl Round for f32 {
        fn round(value: f64) -> Self {
            value as Self
        }
    }

    impl Round for f64 {
        fn round(value: f64) -> Self {
            value
        }
    }
}

/// A convolution's weight and bias. For use with [`fold_batch_norm`]. A linear layer is one: its shape is `[out, in]`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Convolution<'a, T> {
    /// The weight, row-major.
    pub weight: &'a [T],
    /// Its shape: `[out, in / groups, ...]`, of a transposed convolution `[in, out / groups, ...]`.
    pub shape: &'a [u64],
    /// Of a transposed convolution the number of its groups.
    pub transposed: Option<u64>,
    /// An element an output channel.
    pub bias: Option<&'a [T]>,
}

impl<'a, T> Convolution<'a, T> {
    /// A weight of shape `[out, in / groups, ...]`, as PyTorch's `nn.Conv2d` has it, without a bias.
    pub const fn new(weight: &'a [T], shape: &'a [u64]) -> Self {
        Self { weight, shape, transposed: None, bias: None }
    }

    /// Of shape `[in, out / groups, ...]` instead, as PyTorch's `nn.ConvTranspose2d` has it.
    pub const fn transposed(self, groups: u64) -> Self {
        Self { transposed: Some(groups), ..self }
    }

    /// With a bias.
    pub const fn bias(self, bias: &'a [T]) -> Self {
        Self { bias: Some(bias), ..self }
    }
}

/// A batch norm by running statistics, an element a channel each. For use with [`fold_batch_norm`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RunningNorm<'a, T> {
    /// Running mean.
    pub mean: &'a [T],
    /// Running variance.
    pub variance: &'a [T],
    /// Added to the variance, zero or greater.
    pub eps: f64,
    /// Factor of the result.
    pub scale: Option<&'a [T]>,
    /// Summand of the result.
    pub bias: Option<&'a [T]>,
}

impl<'a, T> RunningNorm<'a, T> {
    /// With eps 1e-5, without parameters.
    pub const fn new(mean: &'a [T], variance: &'a [T]) -> Self {
        Self { mean, variance, eps: 1e-5, scale: None, bias: None }
    }

    /// With another eps.
    pub const fn eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }

    /// With a scale.
    pub const fn scale(self, scale: &'a [T]) -> Self {
        Self { scale: Some(scale), ..self }
    }

    /// With a bias.
    pub const fn bias(self, bias: &'a [T]) -> Self {
        Self { bias: Some(bias), ..self }
    }
}

/// What [`fold_batch_norm`] gives: a convolution that has a bias whether it had one before or not.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldedConvolution<T> {
    /// The weight, of the shape it had.
    pub weight: Vec<T>,
    /// An element an output channel.
    pub bias: Vec<T>,
}

/// Why a batch norm cannot be folded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// The shape has no axis of output channels, or more elements than can be addressed.
    #[error("{shape:?} is no shape of a weight: write [out, in / groups, ...], or [in, out / groups, ...] transposed")]
    Shape {
        /// The shape given.
        shape: Vec<u64>,
    },
    /// Groups do not divide the input channels of a transposed convolution, or are zero.
    #[error("{groups} groups do not divide the {channels} input channels of a transposed convolution")]
    Groups {
        /// Groups given.
        groups: u64,
        /// Axis 0 of the weight.
        channels: u64,
    },
    /// An operand has another number of elements than the shape says.
    #[error("{operand} has {actual} elements, a weight of shape {shape:?} needs {expected}")]
    Length {
        /// Which operand.
        operand: &'static str,
        /// Its number of elements.
        actual: usize,
        /// The number it should have.
        expected: u64,
        /// Shape of the weight.
        shape: Vec<u64>,
    },
    /// A variance that no deviation belongs to.
    #[error("variance {variance} of channel {channel} plus eps {eps} is not above 0: no weight divides by its root")]
    Divisor {
        /// Which channel.
        channel: usize,
        /// Its running variance.
        variance: f64,
        /// eps given.
        eps: f64,
    },
}

/// Weight and bias of the one convolution that does what a convolution and the batch norm behind it do in inference.
///
/// All is computed in f64 and rounded once.
///
/// # Errors
/// [`FoldError`]: a shape that is no weight's, an operand of another length, a variance that has no root above 0.
pub fn fold_batch_norm<T: Real>(
    convolution: &Convolution<'_, T>,
    norm: &RunningNorm<'_, T>,
) -> Result<FoldedConvolution<T>, FoldError> {
    let layout = Layout::of(convolution)?;
    let channels = layout.channels;
    for (operand, values, expected) in [
        ("weight", Some(convolution.weight), layout.elements),
        ("bias of the convolution", convolution.bias, channels),
        ("running mean", Some(norm.mean), channels),
        ("running variance", Some(norm.variance), channels),
        ("scale", norm.scale, channels),
        ("bias", norm.bias, channels),
    ] {
        if let Some(actual) = values.map(<[T]>::len).filter(|&actual| actual as u64 != expected) {
            return Err(FoldError::Length { operand, actual, expected, shape: convolution.shape.to_vec() });
        }
    }
    let factors = factors(norm)?;
    let weight = convolution.weight.iter().enumerate();
    let weight = weight.map(|(at, &value)| T::round(value.into() * factors[layout.channel(at)]));
    let or_zero = |values: Option<&[T]>, channel: usize| values.map_or(0.0, |values| values[channel].into());
    let bias = factors.iter().zip(norm.mean).enumerate().map(|(channel, (factor, &mean))| {
        T::round((or_zero(convolution.bias, channel) - mean.into()) * factor + or_zero(norm.bias, channel))
    });
    Ok(FoldedConvolution { weight: weight.collect(), bias: bias.collect() })
}

/// What each output channel is multiplied with.
fn factors<T: Real>(norm: &RunningNorm<'_, T>) -> Result<Vec<f64>, FoldError> {
    let factor = |(channel, &variance): (usize, &T)| {
        let (variance, eps) = (variance.into(), norm.eps);
        // the comparison refuses NaN too
        if !(eps >= 0.0 && variance + eps > 0.0) {
            return Err(FoldError::Divisor { channel, variance, eps });
        }
        Ok(norm.scale.map_or(1.0, |scale| scale[channel].into()) / (variance + eps).sqrt())
    };
    norm.variance.iter().enumerate().map(factor).collect()
}

/// Which output channel an element of a weight belongs to.
struct Layout {
    elements: u64,
    /// Output channels.
    channels: u64,
    /// Elements from one output channel to the next.
    inner: usize,
    /// Output channels of a group, and elements of all input channels of one.
    group: (usize, usize),
}

impl Layout {
    fn of<T>(convolution: &Convolution<'_, T>) -> Result<Self, FoldError> {
        let shape = convolution.shape;
        let no_shape = || FoldError::Shape { shape: shape.to_vec() };
        let product = |sizes: &[u64]| {
            sizes.iter().try_fold(1_u64, |product, &size| product.checked_mul(size)).ok_or_else(no_shape)
        };
        let index = |value: u64| usize::try_from(value).map_err(|_| no_shape());
        let (elements, out_axis) = (product(shape)?, usize::from(convolution.transposed.is_some()));
        let &out = shape.get(out_axis).ok_or_else(no_shape)?;
        let groups = convolution.transposed.unwrap_or(1);
        if out_axis == 1 && (groups == 0 || !shape[0].is_multiple_of(groups)) {
            return Err(FoldError::Groups { groups, channels: shape[0] });
        }
        let channels = product(&[out, groups])?;
        let inner = index(product(&shape[out_axis + 1..])?)?;
        let group = (index(out)?, index(elements / groups)?);
        Ok(Self { elements, channels, inner, group })
    }

    /// Of the element at `at`; there is one, so no divisor is 0.
    fn channel(&self, at: usize) -> usize {
        let (out, group) = self.group;
        at / group * out + at / self.inner % out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{self, ReferenceInputs};
    use crate::{NormDescriptor, NormKind};

    const CHANNELS: usize = 6;

    /// Numbers without a pattern between -1 and 1.
    fn numbers(len: usize, seed: f64) -> Vec<f64> {
        (0..len).map(|at| (seed + 1.7 * at as f64).sin()).collect()
    }

    struct Norm {
        mean: Vec<f64>,
        variance: Vec<f64>,
        scale: Vec<f64>,
        bias: Vec<f64>,
    }

    impl Norm {
        fn random() -> Self {
            let [mean, variance, scale, bias] = [1.0, 2.0, 3.0, 4.0].map(|seed| numbers(CHANNELS, seed));
            Self { mean, variance: variance.iter().map(|v| v + 1.5).collect(), scale, bias }
        }

        fn running(&self) -> RunningNorm<'_, f64> {
            RunningNorm::new(&self.mean, &self.variance).scale(&self.scale).bias(&self.bias)
        }

        /// Of an image `[1, C, pixels]`, by the reference.
        fn apply(&self, image: &[f64]) -> Vec<f64> {
            let shape = [1, CHANNELS as u64, (image.len() / CHANNELS) as u64];
            let inputs = ReferenceInputs {
                input: image,
                scale: Some(&self.scale),
                bias: Some(&self.bias),
                given: Some((&self.mean, &self.variance)),
            };
            reference::forward(&NormDescriptor::new(NormKind::Batch, &shape), &inputs).unwrap().output
        }
    }

    fn assert_near(actual: &[f64], expected: &[f64]) {
        assert_eq!(actual.len(), expected.len());
        // eps of the reference is 1e-5 in f32
        actual.iter().zip(expected).for_each(|(a, e)| assert!((a - e).abs() < 1e-11 * e.abs().max(1.0), "{a} {e}"));
    }

    /// One row of pixels: a convolution of kernel size 3 without padding, `[out, in / groups, 3]`.
    fn convolve(input: &[f64], weight: &[f64], bias: &[f64], (inputs, groups): (usize, usize)) -> Vec<f64> {
        let (pixels, inner) = (input.len() / inputs, inputs / groups);
        let outputs = (0..CHANNELS).flat_map(|out| (0..pixels - 2).map(move |pixel| (out, pixel)));
        let of = |(out, pixel): (usize, usize)| {
            let first = out / (CHANNELS / groups) * inner;
            let taps = (0..inner).flat_map(|c| (0..3).map(move |tap| (c, tap)));
            let product = |(c, tap): (usize, usize)| {
                input[(first + c) * pixels + pixel + tap] * weight[(out * inner + c) * 3 + tap]
            };
            bias[out] + taps.map(product).sum::<f64>()
        };
        outputs.map(of).collect()
    }

    /// The same transposed and of stride 3, so that no two products meet: `[in, out / groups, 3]`.
    fn convolve_transposed(input: &[f64], weight: &[f64], bias: &[f64], inputs: usize, groups: usize) -> Vec<f64> {
        let (pixels, out) = (input.len() / inputs, CHANNELS / groups);
        let mut output: Vec<f64> = bias.iter().flat_map(|&bias| vec![bias; 3 * pixels]).collect();
        for (c, row) in input.chunks(pixels).enumerate() {
            let first = c / (inputs / groups) * out;
            for (at, &w) in weight[c * out * 3..(c + 1) * out * 3].iter().enumerate() {
                let to = (first + at / 3) * 3 * pixels + at % 3;
                row.iter().enumerate().for_each(|(pixel, x)| output[to + 3 * pixel] += x * w);
            }
        }
        output
    }

    #[test]
    fn a_folded_convolution_is_convolution_and_norm() {
        let norm = Norm::random();
        for groups in [1, 2] {
            let (inputs, shape) = (4, [CHANNELS as u64, 4 / groups as u64, 3]);
            let (input, weight) = (numbers(inputs * 8, 5.0), numbers(CHANNELS * inputs / groups * 3, 6.0));
            for bias in [None, Some(numbers(CHANNELS, 7.0))] {
                let mut convolution = Convolution::new(&weight, &shape);
                convolution.bias = bias.as_deref();
                let folded = fold_batch_norm(&convolution, &norm.running()).unwrap();
                let bias = bias.unwrap_or_else(|| vec![0.0; CHANNELS]);
                let apart = norm.apply(&convolve(&input, &weight, &bias, (inputs, groups)));
                assert_near(&convolve(&input, &folded.weight, &folded.bias, (inputs, groups)), &apart);
            }
        }
    }

    #[test]
    fn so_is_a_transposed_one_of_any_groups() {
        let norm = Norm::random();
        for groups in [1, 2] {
            let (inputs, shape) = (4, [4, (CHANNELS / groups) as u64, 3]);
            let (input, weight) = (numbers(inputs * 5, 5.0), numbers(inputs * CHANNELS / groups * 3, 6.0));
            let bias = numbers(CHANNELS, 7.0);
            let convolution = Convolution::new(&weight, &shape).transposed(groups as u64).bias(&bias);
            let folded = fold_batch_norm(&convolution, &norm.running()).unwrap();
            let apart = norm.apply(&convolve_transposed(&input, &weight, &bias, inputs, groups));
            assert_near(&convolve_transposed(&input, &folded.weight, &folded.bias, inputs, groups), &apart);
        }
    }

    #[test]
    fn what_is_f32_is_rounded_once() {
        let norm = Norm::random();
        let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<_>>();
        let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
        let [mean, variance, scale, weight] =
            [&norm.mean, &norm.variance, &norm.scale, &numbers(CHANNELS * 2, 5.0)].map(|values| narrow(values));
        let shape = [CHANNELS as u64, 2];
        let running = RunningNorm::new(&mean, &variance).scale(&scale);
        let folded = fold_batch_norm(&Convolution::new(&weight, &shape), &running).unwrap();
        let [mean, variance, scale, weight] = [&mean, &variance, &scale, &weight].map(|values| wide(values));
        let running = RunningNorm::new(&mean, &variance).scale(&scale);
        let exact = fold_batch_norm(&Convolution::new(&weight, &shape), &running).unwrap();
        assert_eq!((folded.weight, folded.bias), (narrow(&exact.weight), narrow(&exact.bias)));
    }

    #[test]
    fn a_weight_without_elements_leaves_biases() {
        let norm = RunningNorm::new(&[2.0_f32], &[4.0]).eps(0.0);
        let folded = fold_batch_norm(&Convolution::new(&[], &[1, 0, 3]), &norm).unwrap();
        assert_eq!(folded, FoldedConvolution { weight: vec![], bias: vec![-1.0] });
        let norm = RunningNorm::<f32>::new(&[], &[]);
        let folded = fold_batch_norm(&Convolution::new(&[], &[0, 2]), &norm).unwrap();
        assert_eq!(folded, FoldedConvolution { weight: vec![], bias: vec![] });
    }

    #[test]
    fn mistakes_are_told_with_their_numbers() {
        let (weight, pair, triple) = ([1.0_f32; 12], [1.0; 2], [1.0; 3]);
        let two = RunningNorm::new(&pair, &pair);
        let said = |convolution: Convolution<'_, f32>, norm: RunningNorm<'_, f32>| {
            fold_batch_norm(&convolution, &norm).unwrap_err().to_string()
        };
        let of = |shape| Convolution::new(&weight, shape);
        let cases = [
            (said(of(&[2, 5]), two), "weight has 12 elements, a weight of shape [2, 5] needs 10"),
            (said(of(&[3, 4]), two), "running mean has 2 elements, a weight of shape [3, 4] needs 3"),
            (said(of(&[2, 6]).transposed(1), two), "running mean has 2 elements, a weight of shape [2, 6] needs 6"),
            (said(of(&[6, 2]).transposed(4), two), "4 groups do not divide the 6 input channels"),
            (said(of(&[6, 2]).transposed(0), two), "0 groups do not divide"),
            (said(of(&[2, 6]), RunningNorm::new(&pair, &triple)), "running variance has 3 elements"),
            (said(of(&[2, 6]), two.scale(&triple)), "scale has 3 elements"),
            (said(of(&[2, 6]), two.bias(&triple)), "bias has 3 elements"),
            (said(of(&[2, 6]).bias(&triple), two), "bias of the convolution has 3 elements"),
            (said(of(&[]), two), "[] is no shape of a weight"),
            (said(of(&[12]).transposed(1), two), "[12] is no shape of a weight"),
            (said(of(&[u64::MAX, 2]), two), "is no shape of a weight"),
            (said(of(&[2, 6]), RunningNorm::new(&pair, &[1.0, 0.0]).eps(0.0)), "variance 0 of channel 1 plus eps 0"),
            (said(of(&[2, 6]), RunningNorm::new(&pair, &[f32::NAN, 0.0])), "variance NaN of channel 0"),
            (said(of(&[2, 6]), two.eps(-0.5)), "plus eps -0.5 is not above 0"),
        ];
        cases.iter().for_each(|(said, expected)| assert!(said.contains(expected), "{said}: {expected}"));
    }
}
