//! The norms with what stands around them, in f64: the algebra of [`Fusion`], written down from its formulas.
//!
//! ```text
//! prologue   s = x * m + c + r                             m: 1, a gate, or act(z);  rounded, if it is asked for
//! norm       h = N(s)                                      as forward has it;  rounded, if it is asked for
//! affine     u = h * w + bias;   v = u * g + t             w, g: scale and modulation's scale, 1 added if asked for
//! epilogue   y = factor * act1(v + e) * act2(z) * q + r'
//! ```
//!
//! An operand that is absent is left out: 1 in place of a factor (with its added 1), nothing in place of a summand.
//! Gradients pass through roundings unchanged:
//!
//! ```text
//! d   = factor * dy * q,   dq = sum(factor * dy * act1 * act2),   dz = d * act1 * act2'(z),   dr' = dy
//! dv  = d * act1'(v + e) * act2,   de = dv,   dt = sum(dv),   dg = sum(dv * u)
//! du  = dv * g,            dbias = sum(du),   dscale = sum(du * h)             the h that was rounded
//! ds  = what backward makes of du * w at s,  + what arrives there
//! dx  = ds * m,            dc = dr = sum(ds),  dgate = sum(ds * x),  dz = ds * x * act'(z)
//! ```
//!
//! Sums run over the elements that share a value.
//!
//! [`Fusion`]: crate::Fusion

use super::algebra::Algebra;
use super::axes::{check_length, wide};
use super::{ReferenceError, ReferenceInputs};
use crate::descriptor::NormDescriptor;

/// What a norm's [`Fusion`] names, for [`fused`] and [`fused_backward`]: each present exactly where the fusion has it.
///
/// Of the axes that it varies along each has the descriptor's sizes, in order, row-major; tensors have all axes.
///
/// [`Fusion`]: crate::Fusion
#[derive(Clone, Copy, Debug, Default)]
pub struct ReferenceFused<'a, T = f32> {
    /// r of the prologue, along the axes that it names.
    pub residual: Option<&'a [T]>,
    /// m of the prologue where it is a parameter, along the axes that it names.
    pub gate: Option<&'a [T]>,
    /// The tensor whose activation is a factor, in the shape of the input. Where prologue and epilogue both take one,
    /// they take the same.
    pub z: Option<&'a [T]>,
    /// c of the prologue, along the axes that it names.
    pub prologue_bias: Option<&'a [T]>,
    /// g of the modulation, along its axes.
    pub modulation_scale: Option<&'a [T]>,
    /// t of the modulation, along its axes.
    pub modulation_shift: Option<&'a [T]>,
    /// e of the epilogue, in the shape of the input.
    pub addend: Option<&'a [T]>,
    /// q of the epilogue, along the axes that it names.
    pub out_gate: Option<&'a [T]>,
    /// r' of the epilogue, in the shape of the input.
    pub out_residual: Option<&'a [T]>,
}

/// What [`fused`] computes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FusedOutput {
    /// y, in the shape of the input; not rounded to the type of the output.
    pub output: Vec<f64>,
    /// What is normalized, in the shape of the input: s, rounded where statistics see it rounded; the input where there
    /// is no prologue.
    pub sum: Vec<f64>,
    /// Of the sum, as [`ReferenceOutput::mean`](super::ReferenceOutput::mean).
    pub mean: Vec<f64>,
    /// Of the sum, as [`ReferenceOutput::variance`](super::ReferenceOutput::variance).
    pub variance: Vec<f64>,
}

/// What [`fused_backward`] computes: gradients in the forms of the operands. Empty where there is no such operand. The
/// gradient to [`ReferenceFused::out_residual`] is that to the output.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FusedReferenceGradients {
    /// Gradient of the input: x of the prologue.
    pub input: Vec<f64>,
    /// Gradient of the scale.
    pub scale: Vec<f64>,
    /// Gradient of the bias.
    pub bias: Vec<f64>,
    /// Gradient of [`ReferenceFused::residual`].
    pub residual: Vec<f64>,
    /// Gradient of [`ReferenceFused::gate`].
    pub gate: Vec<f64>,
    /// Gradient of [`ReferenceFused::z`].
    pub z: Vec<f64>,
    /// Gradient of [`ReferenceFused::prologue_bias`].
    pub prologue_bias: Vec<f64>,
    /// Gradient of [`ReferenceFused::modulation_scale`].
    pub modulation_scale: Vec<f64>,
    /// Gradient of [`ReferenceFused::modulation_shift`].
    pub modulation_shift: Vec<f64>,
    /// Gradient of [`ReferenceFused::addend`].
    pub addend: Vec<f64>,
    /// Gradient of [`ReferenceFused::out_gate`].
    pub out_gate: Vec<f64>,
}

/// Applies a norm with its [`Fusion`]: `s = x * m + c + r`, `h = N(s)`, `u = h * (scale + o) + bias`,
/// `v = u * (g + o') + t` and `y = factor * act1(v + e) * act2(z) * q + r'`. Of the default fusion it gives what
/// [`forward`] gives.
///
/// As there, the formula is computed as it stands, also where a device would refuse. Of the roundings only those of the
/// fusion are done: of the sum to the type that it is stored in, of the normalized tensor to the type of the output.
///
/// # Errors
/// [`ReferenceError`] says which shape or operand is wrong.
///
/// [`Fusion`]: crate::Fusion
/// [`forward`]: super::forward
pub fn fused<T: Copy + Into<f64>>(
    d: &NormDescriptor,
    inputs: &ReferenceInputs<T>,
    operands: &ReferenceFused<T>,
) -> Result<FusedOutput, ReferenceError> {
    let algebra = Algebra::new(d, inputs, operands)?;
    let sum = algebra.sum();
    let norm = algebra.norm.forward(&sum)?;
    Ok(FusedOutput { output: algebra.output(&norm.output), sum, mean: norm.mean, variance: norm.variance })
}

/// Carries the gradient of the output of [`fused`] back to its operands. `inputs` and `operands` are as there;
/// `arriving` is a gradient that arrives at the sum by another way, in the shape of the input.
///
/// What [`backward`] says of derivatives that do not exist holds here too; activations have the slopes that
/// [`Activation`](crate::Activation) says.
///
/// # Errors
/// As [`fused`].
///
/// [`backward`]: super::backward
pub fn fused_backward<T: Copy + Into<f64>>(
    d: &NormDescriptor,
    inputs: &ReferenceInputs<T>,
    operands: &ReferenceFused<T>,
    grad_output: &[T],
    arriving: Option<&[T]>,
) -> Result<FusedReferenceGradients, ReferenceError> {
    let algebra = Algebra::new(d, inputs, operands)?;
    check_length("grad_output", grad_output.len(), inputs.input.len())?;
    check_length("arriving", arriving.map_or(inputs.input.len(), <[T]>::len), inputs.input.len())?;
    let sum = algebra.sum();
    let normalized = algebra.norm.forward(&sum)?.output;
    let (to_normalized, after) = algebra.gradients_after(&normalized, wide(grad_output));
    let mut to_sum = algebra.norm.backward(&sum, &to_normalized)?;
    if let Some(arriving) = arriving {
        to_sum.iter_mut().zip(wide(arriving)).for_each(|(gradient, arriving)| *gradient += arriving);
    }
    let (input, before) = algebra.gradients_before(&to_sum);

    let [scale, bias, modulation_scale, modulation_shift, addend, z_after, out_gate] = after;
    let [gate, z_before, prologue_bias, residual] = before;
    let z = z_after.into_iter().zip(z_before).map(|(after, before)| after + before).collect();
    Ok(FusedReferenceGradients {
        input,
        scale,
        bias,
        residual,
        gate,
        z,
        prologue_bias,
        modulation_scale,
        modulation_shift,
        addend,
        out_gate,
    })
}
