//! Spectral norm, as PyTorch has it, in f64: a weight divided by an estimate of its largest singular value.
//!
//! The matrix `W` has a row for each index of one axis of the weight, and the other axes flattened as columns:
//!
//! ```text
//! u = W v / max(|W v|, eps),  v = W^T u / max(|W^T u|, eps)     a power iteration, in this order or the other
//! sigma  = u . W v
//! output = W / sigma
//! dW     = (dy - sum(dy * output) * u v^T) / sigma              u and v are constants
//! ```
//!
//! A weight with one axis is divided by `max(|w|, eps)`. A weight of zeros has sigma 0, and gives NaN.

use super::ReferenceError;
use super::axes::{Lookup, addressable, check_length, walk, wide};
use super::statistics::values;
use super::sum::Sum;

/// Which of the two vectors a power iteration renews first. For use with [`SpectralReference::order`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SpectralOrder {
    /// As PyTorch's `torch.nn.utils.parametrizations.spectral_norm` does.
    #[default]
    UThenV,
    /// As PyTorch's older `torch.nn.utils.spectral_norm` does.
    VThenU,
}

/// What [`spectral`] computes from, in f32 or f64.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpectralReference<'a, T = f32> {
    /// The weight, row-major in its shape.
    pub weight: &'a [T],
    /// Sizes of the axes of the weight.
    pub shape: &'a [u64],
    /// The axis that gives the rows of the matrix.
    pub dim: usize,
    /// A value a row, of the norm 1; empty for a weight with one axis.
    pub u: &'a [T],
    /// A value a column, of the norm 1; empty for a weight with one axis.
    pub v: &'a [T],
    /// Power iterations; none in evaluation.
    pub iterations: u32,
    /// Which of the two vectors is renewed first.
    pub order: SpectralOrder,
    /// Least norm that a vector is divided by.
    pub eps: f32,
}

/// What [`spectral`] computes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpectralOutput {
    /// After the power iterations; empty for a weight with one axis.
    pub u: Vec<f64>,
    /// After the power iterations; empty for a weight with one axis.
    pub v: Vec<f64>,
    /// What the weight is divided by.
    pub sigma: f64,
    /// The normalized weight.
    pub output: Vec<f64>,
}

/// Applies a spectral norm.
pub fn spectral<T: Copy + Into<f64>>(s: &SpectralReference<T>) -> Result<SpectralOutput, ReferenceError> {
    let matrix = Matrix::of(s)?;
    let (u, v, sigma) = match &matrix {
        Matrix { columns: None, .. } => (Vec::new(), Vec::new(), at_least(norm(wide(s.weight)), s.eps)),
        Matrix { sizes, rows, columns: Some(columns) } => {
            let renewed_u = |v: &[f64]| unit(product(s.weight, sizes, (columns, v), rows), s.eps);
            let renewed_v = |u: &[f64]| unit(product(s.weight, sizes, (rows, u), columns), s.eps);
            let (mut u, mut v): (Vec<f64>, Vec<f64>) = (wide(s.u).collect(), wide(s.v).collect());
            for _ in 0..s.iterations {
                match s.order {
                    SpectralOrder::UThenV => {
                        u = renewed_u(&v);
                        v = renewed_v(&u);
                    }
                    SpectralOrder::VThenU => {
                        v = renewed_v(&u);
                        u = renewed_u(&v);
                    }
                }
            }
            let along_v = product(s.weight, sizes, (columns, &v), rows);
            let sigma = sum(u.iter().zip(&along_v).map(|(u, x)| u * x));
            (u, v, sigma)
        }
    };
    let output = wide(s.weight).map(|x| x / sigma).collect();
    Ok(SpectralOutput { u, v, sigma, output })
}

/// Carries the gradient of the output back to the weight; `normed` is what [`spectral`] computed from the same.
pub fn spectral_backward<T: Copy + Into<f64>>(
    s: &SpectralReference<T>,
    normed: &SpectralOutput,
    grad_output: &[T],
) -> Result<Vec<f64>, ReferenceError> {
    let Matrix { sizes, rows, columns } = Matrix::of(s)?;
    check_length("grad_output", grad_output.len(), s.weight.len())?;
    check_length("output", normed.output.len(), s.weight.len())?;
    let SpectralOutput { u, v, sigma, output } = normed;
    let along_output = sum(wide(grad_output).zip(output).map(|(grad, y)| grad * y));
    let Some(columns) = columns else {
        // The least norm is a constant.
        let is_constant = norm(wide(s.weight)) < f64::from(s.eps);
        let pull = if is_constant { 0.0 } else { along_output };
        return Ok(wide(grad_output).zip(output).map(|(grad, y)| (grad - pull * y) / sigma).collect());
    };
    check_length("u", u.len(), rows.len)?;
    check_length("v", v.len(), columns.len)?;
    let mut gradient = Vec::with_capacity(grad_output.len());
    walk(wide(grad_output), &sizes, [&rows, &columns], |grad, [row, column]| {
        gradient.push((grad - along_output * u[row] * v[column]) / sigma);
    });
    Ok(gradient)
}

/// Where the elements of a weight lie in the matrix made of it.
struct Matrix {
    sizes: Vec<usize>,
    rows: Lookup,
    /// `None` for a weight with one axis, which is no matrix.
    columns: Option<Lookup>,
}

impl Matrix {
    fn of<T: Copy + Into<f64>>(s: &SpectralReference<T>) -> Result<Self, ReferenceError> {
        let rank = s.shape.len();
        if rank == 0 {
            return Err(ReferenceError::RankTooLow { kind: "spectral", rank, min: 1 });
        }
        if s.dim >= rank {
            return Err(ReferenceError::AxesOutOfRange { axes: vec![s.dim], rank });
        }
        let sizes = addressable(s.shape)?;
        check_length("weight", s.weight.len(), sizes.iter().product())?;
        let rest: Vec<usize> = (0..rank).filter(|&axis| axis != s.dim).collect();
        let rows = Lookup::new(&sizes, &[s.dim]);
        let columns = (rank > 1).then(|| Lookup::new(&sizes, &rest));
        check_length("u", s.u.len(), if rank > 1 { rows.len } else { 0 })?;
        check_length("v", s.v.len(), columns.as_ref().map_or(0, |columns| columns.len))?;
        Ok(Self { sizes, rows, columns })
    }
}

/// The matrix times `vector`, which varies along `from`: a value for each place of `to`.
fn product<T: Copy + Into<f64>>(
    weight: &[T],
    sizes: &[usize],
    (from, vector): (&Lookup, &[f64]),
    to: &Lookup,
) -> Vec<f64> {
    let mut sums = vec![Sum::default(); to.len];
    walk(wide(weight), sizes, [from, to], |x, [from, to]| sums[to].add(x * vector[from]));
    values(sums)
}

fn unit(mut vector: Vec<f64>, eps: f32) -> Vec<f64> {
    let divisor = at_least(norm(vector.iter().copied()), eps);
    vector.iter_mut().for_each(|x| *x /= divisor);
    vector
}

/// Not `f64::max`, which drops NaN.
fn at_least(x: f64, eps: f32) -> f64 {
    if x < f64::from(eps) { f64::from(eps) } else { x }
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    sum(values.map(|x| x * x)).sqrt()
}

fn sum(terms: impl Iterator<Item = f64>) -> f64 {
    let mut sum = Sum::default();
    terms.for_each(|term| sum.add(term));
    sum.value()
}
