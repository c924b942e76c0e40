//! Activations and their slopes, in forms that keep their digits and stay finite far out.
//!
//! NaN stays NaN. What the formulas make of infinity stands as well: `-inf * sigmoid(-inf)` is NaN, as in PyTorch.

use std::f64::consts::{FRAC_1_PI, FRAC_1_SQRT_2, FRAC_2_PI, FRAC_2_SQRT_PI};

use crate::fusion::Activation;

/// The factor of `t^3` in [`Activation::GeluTanh`].
const CUBIC: f64 = 0.044715;

/// The activation of `t`.
pub(super) fn value(activation: Activation, t: f64) -> f64 {
    match activation {
        Activation::Identity => t,
        // Not `f64::max`, which drops NaN.
        Activation::Relu if t <= 0.0 => 0.0,
        Activation::Relu => t,
        Activation::LeakyRelu { slope } if t <= 0.0 => f64::from(slope) * t,
        Activation::LeakyRelu { .. } => t,
        Activation::Silu => t * sigmoid(t),
        Activation::Gelu => t * normal_cdf(t),
        Activation::GeluTanh => t * sigmoid(gelu_tanh_argument(t)),
        Activation::Sigmoid => sigmoid(t),
    }
}

/// The derivative of the activation at `t`.
pub(super) fn slope(activation: Activation, t: f64) -> f64 {
    match activation {
        Activation::Identity => 1.0,
        _ if t.is_nan() => t,
        Activation::Relu => f64::from(u8::from(t > 0.0)),
        Activation::LeakyRelu { slope } => {
            if t > 0.0 {
                1.0
            } else {
                f64::from(slope)
            }
        }
        Activation::Silu => sigmoid(t) + outweighed(t, bell(t)),
        Activation::Gelu => normal_cdf(t) + outweighed(t, normal_density(t)),
        Activation::GeluTanh => {
            let argument = gelu_tanh_argument(t);
            let argument_slope = 2.0 * FRAC_2_PI.sqrt() * (1.0 + 3.0 * CUBIC * t * t);
            sigmoid(argument) + outweighed(t * argument_slope, bell(argument))
        }
        Activation::Sigmoid => bell(t),
    }
}

/// `factor * vanishing`, where what vanishes does so faster than the factor grows.
fn outweighed(factor: f64, vanishing: f64) -> f64 {
    if vanishing == 0.0 { 0.0 } else { factor * vanishing }
}

/// Neither branch overflows, nor loses the digits of a small result.
fn sigmoid(t: f64) -> f64 {
    if t < 0.0 {
        let small = t.exp();
        small / (1.0 + small)
    } else {
        1.0 / (1.0 + (-t).exp())
    }
}

/// The slope of the sigmoid, `sigmoid(t) * (1 - sigmoid(t))`.
fn bell(t: f64) -> f64 {
    sigmoid(t) * sigmoid(-t)
}

/// `(1 + tanh(y)) / 2` is `sigmoid(2 y)`: this is twice the argument of the hyperbolic tangent.
fn gelu_tanh_argument(t: f64) -> f64 {
    2.0 * FRAC_2_PI.sqrt() * (t + CUBIC * t * t * t)
}

/// `(1 + erf(t / sqrt(2))) / 2`.
fn normal_cdf(t: f64) -> f64 {
    0.5 * erfc(-t * FRAC_1_SQRT_2)
}

/// The slope of [`normal_cdf`].
fn normal_density(t: f64) -> f64 {
    0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * (-0.5 * t * t).exp()
}

/// `1 - erf(x)`, to 1e-13 of itself.
fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        2.0 - erfc(-x)
    } else if x < 2.0 {
        1.0 - erf_series(x)
    } else {
        erfc_fraction(x)
    }
}

/// `2 / sqrt(pi) * exp(-x^2) * sum(2^n * x^(2n + 1) / (1 * 3 * ... * (2n + 1)))`: DLMF 7.6.2. No term takes digits of
/// another, as all have one sign.
fn erf_series(x: f64) -> f64 {
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term > sum * 1e-17 {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        sum += term;
    }
    FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// `exp(-x^2) / sqrt(pi) / (x + (1/2) / (x + (2/2) / (x + (3/2) / (x + ...))))`: DLMF 7.9.3 on the imaginary axis, from
/// the inside out. It needs the fewer levels the larger `x` is, 40 at 2.
fn erfc_fraction(x: f64) -> f64 {
    let fraction = (1..=60).rev().fold(x, |inner, level| x + 0.5 * f64::from(level) / inner);
    FRAC_1_PI.sqrt() * (-x * x).exp() / fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Activation; 7] = [
        Activation::Identity,
        Activation::Relu,
        Activation::LeakyRelu { slope: 0.125 },
        Activation::Silu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Sigmoid,
    ];

    #[track_caller]
    fn assert_near(name: &str, actual: f64, expected: f64, tolerance: f64) {
        let is_near = actual == expected || (actual - expected).abs() <= tolerance * expected.abs();
        assert!(is_near, "{name} is {actual:e}, expected {expected:e}");
    }

    #[test]
    fn erfc_has_the_values_of_the_c_library() {
        // Of glibc, by Python's math.erfc.
        let cases = [
            (-30.0, 2.0),
            (-3.0, 1.9999779095030015),
            (-1.0, 1.842700792949715),
            (-0.5, 1.5204998778130465),
            (-1e-10, 1.000000000112838),
            (0.0, 1.0),
            (1e-300, 1.0),
            (0.25, 0.7236736098317631),
            (0.84, 0.23485728854500548),
            (1.0, 0.15729920705028513),
            (1.5, 0.033894853524689274),
            (1.99, 0.004888586800383003),
            (2.0, 0.004677734981047265),
            (2.01, 0.004475150644751763),
            (2.5, 0.0004069520174449589),
            (3.0, 2.2090496998585438e-05),
            (6.0, 2.1519736712498916e-17),
            (10.0, 2.088487583762545e-45),
            (26.0, 5.663192408856143e-296),
        ];
        for (x, expected) in cases {
            assert_near(&format!("erfc({x})"), erfc(x), expected, 1e-13);
        }
    }

    #[test]
    fn values_at_one() {
        let e = 1_f64.exp();
        let tanh = (FRAC_2_PI.sqrt() * (1.0 + 0.044715)).tanh();
        let cases = [
            (Activation::Identity, 1.0, -1.0),
            (Activation::Relu, 1.0, 0.0),
            (Activation::LeakyRelu { slope: 0.125 }, 1.0, -0.125),
            (Activation::Silu, e / (1.0 + e), -1.0 / (1.0 + e)),
            (Activation::Gelu, 0.8413447460685429, -0.15865525393145707),
            (Activation::GeluTanh, (1.0 + tanh) / 2.0, (tanh - 1.0) / 2.0),
            (Activation::Sigmoid, e / (1.0 + e), 1.0 / (1.0 + e)),
        ];
        for (activation, at_one, at_minus_one) in cases {
            assert_near(&format!("{activation:?}(1)"), value(activation, 1.0), at_one, 1e-14);
            assert_near(&format!("{activation:?}(-1)"), value(activation, -1.0), at_minus_one, 1e-14);
        }
    }

    #[test]
    fn slopes_are_derivatives() {
        for activation in ALL {
            for step in -160..160 {
                // Never 0, where some have a kink.
                let t = 0.05 * f64::from(step) + 0.025;
                let central = |by: f64| (value(activation, t + by) - value(activation, t - by)) / (2.0 * by);
                let expected = (4.0 * central(1e-3) - central(2e-3)) / 3.0;
                let actual = slope(activation, t);
                assert!((actual - expected).abs() < 1e-10, "{activation:?} at {t}: {actual}, expected {expected}");
            }
        }
        assert_eq!(slope(Activation::Relu, 0.0), 0.0);
        assert_eq!(slope(Activation::LeakyRelu { slope: 0.125 }, -0.0), 0.125);
    }

    #[test]
    fn far_out_they_are_their_limits() {
        for activation in ALL {
            let (below, slope_below) = match activation {
                Activation::Identity => (1.0, 1.0),
                Activation::LeakyRelu { .. } => (0.125, 0.125),
                _ => (0.0, 0.0),
            };
            let is_bounded = activation == Activation::Sigmoid;
            for far in [1e3, 1e10, f64::from(f32::MAX), 1e200, 1e308] {
                let (above, slope_above) = if is_bounded { (1.0, 0.0) } else { (far, 1.0) };
                assert_eq!(value(activation, far), above, "{activation:?}({far:e})");
                assert_eq!(value(activation, -far), -far * below, "{activation:?}(-{far:e})");
                assert_eq!(slope(activation, far), slope_above, "slope of {activation:?} at {far:e}");
                assert_eq!(slope(activation, -far), slope_below, "slope of {activation:?} at -{far:e}");
            }
        }
        assert!(value(Activation::Silu, -1000.0).is_sign_negative());
        // Small results keep their digits where an exponential of the other sign would have overflown.
        assert_near("sigmoid", value(Activation::Sigmoid, -709.0), (-709_f64).exp(), 1e-15);
        assert_near("silu", value(Activation::Silu, -700.0), -700.0 * (-700_f64).exp(), 1e-15);
        assert_near("gelu", value(Activation::Gelu, -10.0), -7.619853024160525e-23, 1e-13);
    }

    #[test]
    fn nan_stays_nan() {
        for activation in ALL {
            assert!(value(activation, f64::NAN).is_nan(), "{activation:?}");
            let is_constant = activation == Activation::Identity;
            assert_eq!(slope(activation, f64::NAN).is_nan(), !is_constant, "{activation:?}");
        }
    }
}
