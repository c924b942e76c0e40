//! Spectral normalization: a weight divided by its largest singular value, as PyTorch's `spectral_norm` has it.
//!
//! The power iteration is matrix-vector products by the segmented reduction that sums up gradients: rows of the weight
//! weighed by v, columns weighed by u. All iterations, the division and the gradient are dispatches of kernels that
//! norms use too.

use super::operands::check_in_place;
use super::{Cutter, Operands, Planner, Role};
use crate::element::{Element, Types};
use crate::error::{BindError, PlanError};
use crate::lower::bindings::Unbindable;
use crate::lower::{
    AffineGradients, Around, BackwardMap, GradientOperands, Lowering, MapOperands, MergeSums, SegmentData, SumParts,
    Summed, Tensor,
};
use crate::moments::{Accumulator, Divisor, Infinities, RECORD, Spread};
use crate::operand::Operand;
use crate::partition::Partition;
use crate::plan::{self, Reduction};
use crate::recipe::Recipe;
use crate::schedule::{MapWalk, Reduce};
use crate::view::{Buffer, BufferView, Destination, TensorView};

/// Describes a spectral norm. For use with [`Planner::plan_spectral`].
#[derive(Clone, Copy, Debug)]
pub struct SpectralDescriptor<'a> {
    /// Prefix of the labels of everything made for this norm.
    pub label: Option<&'a str>,
    /// Shape of the weight, rank 1 or more. A weight of rank 1 is divided by its length, and has neither u nor v.
    pub shape: &'a [u64],
    /// The axis whose indices are the rows of the matrix; the others, flattened, are its columns. 0, or 1 for
    /// transposed convolutions.
    pub dim: usize,
    /// Smallest length that a vector is divided by.
    pub eps: f32,
    /// Which vector an iteration computes first.
    pub order: PowerOrder,
    /// Element types of weight, output and gradients; f32 by default. Vectors and sigma are f32.
    pub types: Types,
}

impl<'a> SpectralDescriptor<'a> {
    /// PyTorch's defaults: rows along axis 0, eps 1e-12, u first.
    pub const fn new(shape: &'a [u64]) -> Self {
        Self { label: None, shape, dim: 0, eps: 1e-12, order: PowerOrder::UThenV, types: Types::tensors(Element::F32) }
    }
}

/// Which vector a power iteration computes first. For use with [`SpectralDescriptor::order`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PowerOrder {
    /// `u = W v / |W v|`, then `v = W^T u / |W^T u|` (`torch.nn.utils.parametrizations.spectral_norm`).
    #[default]
    UThenV,
    /// The other way round (`torch.nn.utils.spectral_norm`).
    VThenU,
}

/// Most power iterations of a recipe, each of which has dispatches of its own; more are as many recipes.
pub const MAX_POWER_ITERATIONS: u32 = 10_000;

/// How far u and v are moved before the division. For use with [`SpectralArgs::iterations`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PowerIterations {
    /// Training: this many, from 1 to [`MAX_POWER_ITERATIONS`]. PyTorch takes 15 once at the start, and one each
    /// forward pass.
    Count(u32),
    /// Evaluation: u and v stay.
    Frozen,
}

/// Operands of the division. For use with `SpectralNorm::bind_forward`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SpectralArgs<B> {
    /// The weight.
    pub weight: TensorView<B>,
    /// Receives `weight / sigma`. A zero weight has sigma 0 and gives NaN, as in PyTorch; of rank 1 it gives 0.
    pub output: Destination<B>,
    /// Receives the singular value (the length, of a weight of rank 1): one element.
    pub sigma: TensorView<B>,
    /// [`SpectralPlan::workspace_size`] bytes.
    pub workspace: BufferView<B>,
    /// Left and right singular vector, [`SpectralPlan::rows`] and [`SpectralPlan::columns`] elements, moved by the
    /// iterations.
    pub vectors: Option<(TensorView<B>, TensorView<B>)>,
    /// How far the vectors are moved.
    pub iterations: PowerIterations,
}

impl<B> SpectralArgs<B> {
    /// The division in evaluation, of a weight of rank 1.
    pub fn new(
        weight: TensorView<B>,
        output: impl Into<Destination<B>>,
        sigma: TensorView<B>,
        workspace: BufferView<B>,
    ) -> Self {
        let (vectors, iterations) = (None, PowerIterations::Frozen);
        Self { weight, output: output.into(), sigma, workspace, vectors, iterations }
    }

    /// With singular vectors, moved so far.
    pub fn vectors(self, u: TensorView<B>, v: TensorView<B>, iterations: PowerIterations) -> Self {
        Self { vectors: Some((u, v)), iterations, ..self }
    }
}

/// Operands of the gradient. For use with `SpectralNorm::bind_backward`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SpectralBackwardArgs<B> {
    /// The weight, as it was before the division.
    pub weight: TensorView<B>,
    /// Gradient to the output.
    pub grad_output: TensorView<B>,
    /// Receives the gradient to the weight.
    pub grad_weight: TensorView<B>,
    /// The singular value of the forward pass.
    pub sigma: TensorView<B>,
    /// [`SpectralPlan::workspace_size`] bytes.
    pub workspace: BufferView<B>,
    /// The vectors after the forward pass: constants of the gradient.
    pub vectors: Option<(TensorView<B>, TensorView<B>)>,
}

impl<B> SpectralBackwardArgs<B> {
    /// The gradient to a weight of rank 1.
    pub fn new(
        weight: TensorView<B>,
        grad_output: TensorView<B>,
        grad_weight: TensorView<B>,
        sigma: TensorView<B>,
        workspace: BufferView<B>,
    ) -> Self {
        Self { weight, grad_output, grad_weight, sigma, workspace, vectors: None }
    }

    /// With singular vectors.
    pub fn vectors(self, u: TensorView<B>, v: TensorView<B>) -> Self {
        Self { vectors: Some((u, v)), ..self }
    }
}

/// A spectral norm planned for one shape and one device.
#[derive(Clone, Debug)]
pub struct SpectralPlan {
    planner: Planner,
    rows: Partition,
    columns: Partition,
    elements: u64,
    eps: f32,
    order: PowerOrder,
    vector: bool,
    types: Types,
}

/// Regions of a workspace.
struct Regions {
    sigma: Tensor,
    scalar: Tensor,
    lengths: Tensor,
    unit_u: Tensor,
    unit_v: Tensor,
    product: Tensor,
    records: Tensor,
    coefficients: Tensor,
    partials: Tensor,
    /// The gradient as f32, where it is wanted in another type: it is written twice.
    grad_weight: Tensor,
}

impl Planner {
    /// Plans a spectral norm.
    ///
    /// # Errors
    /// [`PlanError`] says what is wrong with the descriptor: a weight of rank 0, an axis outside it, a negative eps.
    pub fn plan_spectral(&self, descriptor: &SpectralDescriptor<'_>) -> Result<SpectralPlan, PlanError> {
        let shape = descriptor.shape;
        let elements = plan::elements_of(shape)?;
        if shape.is_empty() {
            return Err(PlanError::RankTooLow { kind: "spectral", rank: 0, min: 1 });
        }
        if descriptor.dim >= shape.len() {
            return Err(PlanError::AxesOutOfRange { axes: vec![descriptor.dim], rank: shape.len() });
        }
        let eps = plan::checked_eps(descriptor.eps)?;
        let kept: Vec<bool> = (0..shape.len()).map(|axis| axis == descriptor.dim).collect();
        let others: Vec<bool> = kept.iter().map(|kept| !kept).collect();
        let partition = |kept: &[bool]| {
            let interleave = || PlanError::AxesInterleave { kept: vec![descriptor.dim], shape: shape.to_vec() };
            Partition::from_axes(shape, kept).ok_or_else(interleave)
        };
        let (rows, columns) = (partition(&kept)?, partition(&others)?);
        plan::check_slots(rows, shape)?;
        let (vector, order) = (shape.len() == 1, descriptor.order);
        let types = descriptor.types;
        Ok(SpectralPlan { planner: self.of(types.input), rows, columns, elements, eps, order, vector, types })
    }
}

impl SpectralPlan {
    /// Elements of the weight.
    pub fn len(&self) -> u64 {
        self.elements
    }

    /// Whether the weight has no element.
    pub fn is_empty(&self) -> bool {
        self.elements == 0
    }

    /// Elements of u; 0 for a weight of rank 1.
    pub fn rows(&self) -> u64 {
        if self.vector { 0 } else { self.rows.segments() }
    }

    /// Elements of v; 0 for a weight of rank 1.
    pub fn columns(&self) -> u64 {
        if self.vector { 0 } else { self.columns.segments() }
    }

    /// Bytes of workspace.
    pub fn workspace_size(&self) -> u64 {
        self.regions(Tensor::new(0, 0)).1
    }

    fn regions(&self, scratch: Tensor) -> (Regions, u64) {
        let mut cutter = Cutter::default();
        let mut region = |bytes: u64| scratch.at(cutter.region(bytes));
        let (rows, columns) = (self.rows.segments(), self.columns.segments());
        let all = [self.rows, self.columns, run(rows), run(columns), run(self.elements)];
        let partials = all.iter().map(|p| self.reduce(p).partials_size(p)).max().unwrap_or(0);
        let regions = Regions {
            sigma: region(RECORD),
            scalar: region(RECORD),
            lengths: region(RECORD),
            unit_u: region(4 * rows),
            unit_v: region(4 * columns),
            product: region(4 * rows),
            records: region(RECORD * rows.max(columns)),
            coefficients: region(2 * RECORD),
            partials: region(partials),
            grad_weight: region(if self.types.grad_input == Element::F32 { 0 } else { 4 * self.elements }),
        };
        (regions, cutter.size)
    }

    /// The power iterations and the division, all in as many dispatches of one pass.
    ///
    /// # Errors
    /// [`BindError`] says which operand is wrong.
    pub fn forward<B: Buffer>(&self, args: &SpectralArgs<B>) -> Result<Recipe<B>, BindError> {
        let mut operands = Operands::default();
        let types = self.types;
        let in_place = matches!(args.output, Destination::InPlace);
        if in_place {
            check_in_place(Operand::Output, types.output, types.input)?;
        }
        let role = if in_place { Role::Written } else { Role::Read };
        let weight = operands.list(Operand::Weight, &args.weight, self.elements, types.input, role)?;
        let output = match &args.output {
            Destination::View(view) => {
                operands.list(Operand::Output, view, self.elements, types.output, Role::Written)?
            }
            Destination::InPlace => weight,
        };
        let iterations = match args.iterations {
            PowerIterations::Count(count) if (1..=MAX_POWER_ITERATIONS).contains(&count) => count,
            PowerIterations::Count(count) => {
                return Err(BindError::PowerIterations { count, max: MAX_POWER_ITERATIONS });
            }
            PowerIterations::Frozen => 0,
        };
        let vectors = self.vectors(&mut operands, args.vectors.as_ref(), Role::Written)?;
        let sigma = operands.list(Operand::Sigma, &args.sigma, 1, Element::F32, Role::Written)?;
        let scratch = operands.workspace(Some(&args.workspace), self.workspace_size())?;
        let (at, _) = self.regions(scratch);
        self.planner.lower("spectral forward", operands.buffers, &|lowering| {
            if self.elements == 0 {
                return Ok(());
            }
            let whole = run(self.elements);
            let Some((u, v)) = vectors else {
                let length = self.length(self.elements, self.eps);
                lowering.reduce(
                    &length,
                    &self.reduce(&whole),
                    &Summed::Values(weight, Around::default()),
                    at.sigma,
                    at.partials,
                )?;
                lowering.export(&length, at.sigma, None, Some((Spread::Deviation, sigma)))?;
                return lowering.apply(&length, &whole, &plain_map(weight, output), Some(at.sigma));
            };
            for _ in 0..iterations {
                let (move_u, move_v) = ((self.rows, (v, self.columns), u), (self.columns, (u, self.rows), v));
                let order = if self.order == PowerOrder::UThenV { [move_u, move_v] } else { [move_v, move_u] };
                for (segments, by, to) in order {
                    self.product(lowering, weight, segments, by, to, &at)?;
                    self.normalize(lowering, to, segments.segments(), &at)?;
                }
            }
            self.singular_value(lowering, weight, (u, v), sigma, &at)?;
            let divided = MapOperands { affine: Some(whole), scale: Some(at.scalar), ..plain_map(weight, output) };
            lowering.apply(&by_sigma(whole), &whole, &divided, Some(at.sigma))
        })
    }

    /// `sigma = u . W v`, by u and v of length 1: tau = sigma / (|u| |v|) has the range of the weight, whatever eps
    /// left of the vectors. Leaves tau in the record of sigma, and 1 / (|u| |v|) in the scalar.
    fn singular_value(
        &self,
        lowering: &mut Lowering,
        weight: Tensor,
        (u, v): (Tensor, Tensor),
        sigma: Tensor,
        at: &Regions,
    ) -> Result<(), Unbindable> {
        let (rows, columns) = (self.rows.segments(), self.columns.segments());
        let word = |k: u64| Tensor { offset: at.lengths.offset + 4 * k, ..at.lengths };
        for (k, vector, n, to) in [(0, u, rows, at.unit_u), (2, v, columns, at.unit_v)] {
            let length = self.length(n, 0.0);
            let strict = Reduction { divisor: Divisor { inverse_of_zero: f32::INFINITY, ..length.divisor }, ..length };
            lowering.reduce(
                &length,
                &self.reduce(&run(n)),
                &Summed::Values(vector, Around::default()),
                at.sigma,
                at.partials,
            )?;
            lowering.export(&strict, at.sigma, None, Some((Spread::Deviation, word(k))))?;
            lowering.export(&strict, at.sigma, None, Some((Spread::Rstd, word(k + 1))))?;
            lowering.apply(&length, &run(n), &plain_map(vector, to), Some(at.sigma))?;
        }
        self.product(lowering, weight, self.rows, (at.unit_v, self.columns), at.product, at)?;
        self.product(lowering, at.product, run(rows), (at.unit_u, Partition::new(1, 1, rows, 1)), at.product, at)?;
        self.norm_record(lowering, at.product, at)?;
        for (input, by, output) in
            [(at.product, word(0), at.scalar), (at.scalar, word(2), sigma), (word(1), word(3), at.scalar)]
        {
            let times = MapOperands { affine: Some(run(1)), scale: Some(by), ..plain_map(input, output) };
            lowering.apply(&by_one(run(1)), &run(1), &times, None)?;
        }
        Ok(())
    }

    /// The gradient to the weight, u and v being constants:
    /// `(grad_output - sum(grad_output * weight / sigma) * u v^T) / sigma`.
    ///
    /// # Errors
    /// As [`SpectralPlan::forward`].
    pub fn backward<B: Buffer>(&self, args: &SpectralBackwardArgs<B>) -> Result<Recipe<B>, BindError> {
        let mut operands = Operands::default();
        let (n, types) = (self.elements, self.types);
        let weight = operands.list(Operand::Weight, &args.weight, n, types.input, Role::Read)?;
        let grad_output = operands.list(Operand::GradOutput, &args.grad_output, n, types.grad_output, Role::Read)?;
        let grad_weight = operands.list(Operand::GradWeight, &args.grad_weight, n, types.grad_input, Role::Written)?;
        let vectors = self.vectors(&mut operands, args.vectors.as_ref(), Role::Read)?;
        let sigma = operands.list(Operand::Sigma, &args.sigma, 1, Element::F32, Role::Read)?;
        let scratch = operands.workspace(Some(&args.workspace), self.workspace_size())?;
        let (at, _) = self.regions(scratch);
        self.planner.lower("spectral backward", operands.buffers, &|lowering| {
            if n == 0 {
                return Ok(());
            }
            let whole = run(n);
            let Some((u, v)) = vectors else {
                return self.vector_backward(lowering, weight, grad_output, grad_weight, &at);
            };
            let wanted = grad_weight;
            let grad_weight = if wanted.element == Element::F32 { wanted } else { at.grad_weight };
            self.norm_record(lowering, sigma, &at)?;
            // the sum of grad_output * weight / sigma
            let sums = sums(grad_output, Some((weight, at.sigma)), whole, None);
            lowering.reduce(&by_sigma(whole), &self.reduce(&whole), &sums, at.records, at.partials)?;
            copy_sums(lowering, &by_sigma(whole), at.records, run(1), (Some(at.scalar), None))?;
            // u times that sum over sigma, as records of means: 0 - mean is then a row's share
            let rows = self.rows.segments();
            let row = run(rows);
            let share = MapOperands { affine: Some(row), scale: Some(at.scalar), ..plain_map(u, at.product) };
            lowering.apply(&by_sigma(row), &row, &share, Some(at.sigma))?;
            let means = Reduction { partition: Partition::new(1, 1, rows, 1), ..unit(row, Accumulator::Centred, 1.0) };
            lowering.import(&means, at.product, None, at.records)?;
            // the outer product with v, negative, into the gradient; then grad_output / sigma on top of it
            let outer = MapOperands {
                input: None,
                affine: Some(self.columns),
                scale: Some(v),
                ..plain_map(weight, grad_weight)
            };
            lowering.apply(&unit(self.rows, Accumulator::Centred, 1.0), &self.rows, &outer, Some(at.records))?;
            let each = Some(Partition::new(1, 1, n, 1));
            let sum = MapOperands { affine: each, bias: Some(grad_weight), ..plain_map(grad_output, grad_weight) };
            lowering.apply(&by_sigma(whole), &whole, &sum, Some(at.sigma))?;
            if wanted == grad_weight { Ok(()) } else { lowering.narrow(grad_weight, wanted, n) }
        })
    }

    /// The gradient of `w / max(|w|, eps)`.
    fn vector_backward(
        &self,
        lowering: &mut Lowering,
        weight: Tensor,
        grad_output: Tensor,
        grad_weight: Tensor,
        at: &Regions,
    ) -> Result<(), Unbindable> {
        let whole = run(self.elements);
        let length = self.length(self.elements, self.eps);
        lowering.reduce(
            &length,
            &self.reduce(&whole),
            &Summed::Values(weight, Around::default()),
            at.sigma,
            at.partials,
        )?;
        let sums = sums(grad_output, Some((weight, at.sigma)), whole, None);
        lowering.reduce(&length, &self.reduce(&whole), &sums, at.records, at.partials)?;
        let map = BackwardMap {
            input: weight,
            grad_output,
            grad_input: Some(grad_weight),
            row_len: self.elements,
            statistics: (at.sigma, whole),
            scale: None,
            scale_last: false,
            around: Around::default(),
        };
        let parts = SumParts::new(at.records, run(1), 1);
        let sums = MergeSums { coefficients: Some((at.sigma, at.coefficients)), ..MergeSums::new(parts) };
        lowering.merge_sums(&length, &sums)?;
        let data = SegmentData::Coefficients(at.coefficients);
        match MapWalk::new(&whole, None, (self.elements, false), |_| true, &lowering.profile) {
            Some(walk) => lowering.map_backward(&length, &walk, &map, &data, None),
            None => Ok(()),
        }
    }

    fn vectors<B: Buffer>(
        &self,
        operands: &mut Operands<B>,
        views: Option<&(TensorView<B>, TensorView<B>)>,
        role: Role,
    ) -> Result<Option<(Tensor, Tensor)>, BindError> {
        match views {
            Some(_) if self.vector => Err(BindError::Unexpected { operand: Operand::SingularVectors }),
            None if !self.vector => Err(BindError::Missing { operand: Operand::SingularVectors }),
            None => Ok(None),
            Some((u, v)) => {
                let (rows, columns) = (self.rows(), self.columns());
                let mut vector = |operand, view, len| operands.list(operand, view, len, Element::F32, role);
                Ok(Some((vector(Operand::U, u, rows)?, vector(Operand::V, v, columns)?)))
            }
        }
    }

    fn reduce(&self, partition: &Partition) -> Reduce {
        Reduce::choose(partition, &self.planner.profile)
    }

    /// The reduction that measures a vector, and takes it for no shorter than `minimum`.
    fn length(&self, n: u64, minimum: f32) -> Reduction {
        let length = unit(run(n), Accumulator::Uncentred, 0.0);
        let divisor = Divisor { minimum, factor: n as f32, inverse_of_zero: 0.0, ..length.divisor };
        Reduction { divisor, ..length }
    }

    /// The sums over segments of a tensor, weighed by a vector: one product of a matrix or vector with a vector.
    fn product(
        &self,
        lowering: &mut Lowering,
        tensor: Tensor,
        segments: Partition,
        by: (Tensor, Partition),
        to: Tensor,
        at: &Regions,
    ) -> Result<(), Unbindable> {
        let reduction = unit(segments, Accumulator::Uncentred, 0.0);
        let sums = sums(tensor, None, segments, Some(by));
        lowering.reduce(&reduction, &self.reduce(&segments), &sums, at.records, at.partials)?;
        let each = Partition::new(1, 1, segments.segments(), 1);
        copy_sums(lowering, &reduction, at.records, each, (None, Some(to)))
    }

    /// Divides a vector by its length, in place.
    fn normalize(&self, lowering: &mut Lowering, vector: Tensor, n: u64, at: &Regions) -> Result<(), Unbindable> {
        let length = self.length(n, self.eps);
        lowering.reduce(
            &length,
            &self.reduce(&run(n)),
            &Summed::Values(vector, Around::default()),
            at.sigma,
            at.partials,
        )?;
        lowering.apply(&length, &run(n), &plain_map(vector, vector), Some(at.sigma))
    }

    /// Puts a number where a record keeps its norm, the third of its four; division by a record needs no other.
    fn norm_record(&self, lowering: &mut Lowering, number: Tensor, at: &Regions) -> Result<(), Unbindable> {
        let norm = Tensor { offset: at.sigma.offset + 8, ..at.sigma };
        let reduction = unit(run(1), Accumulator::Uncentred, 0.0);
        lowering.reduce(
            &reduction,
            &self.reduce(&run(1)),
            &sums(number, None, run(1), None),
            at.scalar,
            at.partials,
        )?;
        copy_sums(lowering, &reduction, at.scalar, run(1), (None, Some(norm)))
    }
}

/// Sums of g * x_hat, and of g, out of their records.
fn copy_sums(
    lowering: &mut Lowering,
    reduction: &Reduction,
    records: Tensor,
    each: Partition,
    (grad_scale, grad_bias): (Option<Tensor>, Option<Tensor>),
) -> Result<(), Unbindable> {
    let to = AffineGradients { affine: &each, grad_scale, grad_bias, factor: [1.0; 2], partials: Tensor::NOWHERE };
    let parts = SumParts { affine: each, ..SumParts::new(records, each, 1) };
    lowering.merge_sums(reduction, &MergeSums { affine: Some(to), ..MergeSums::new(parts) })
}

/// One segment of n neighbours.
const fn run(n: u64) -> Partition {
    Partition::new(1, 1, 1, n)
}

fn plain_map(input: Tensor, output: Tensor) -> MapOperands {
    MapOperands {
        input: Some(input),
        output,
        row_len: 1,
        affine: None,
        scale: None,
        bias: None,
        around: Around::default(),
    }
}

fn sums(
    tensor: Tensor,
    input: Option<(Tensor, Tensor)>,
    indexed: Partition,
    scale: Option<(Tensor, Partition)>,
) -> Summed {
    let (input, normalized) = (input.map(|(input, at)| (input, Some(at))), Element::F32);
    Summed::Gradients(GradientOperands { input, grad_output: tensor, indexed, hoisted: true, scale, normalized })
}

/// A reduction whose divisor is the root of the variance plus `inside`.
fn unit(partition: Partition, accumulator: Accumulator, inside: f32) -> Reduction {
    let divisor = Divisor {
        inside,
        added: 0.0,
        minimum: 0.0,
        factor: 1.0,
        p: 2.0,
        inverse_of_zero: f32::INFINITY,
        infinities: Infinities::Plain,
    };
    Reduction { partition, accumulator, divisor, row_len: 1 }
}

/// No division: without a record the divisor is 0, and its inverse what the plan says.
fn by_one(partition: Partition) -> Reduction {
    let identity = unit(partition, Accumulator::Largest, 0.0);
    Reduction { divisor: Divisor { inverse_of_zero: 1.0, ..identity.divisor }, ..identity }
}

/// Division by the norm in a record, of either sign.
fn by_sigma(partition: Partition) -> Reduction {
    unit(partition, Accumulator::Largest, 0.0)
}
