//! Norms of Burn's tensors: by the engine where their device has one, else as the caller falls back.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::op::{NormBackend, Op, Operands, Optional};
use crate::plan::{Planned, element};
use crate::setup;

/// The tensors of a norm.
pub(crate) struct Norms<const D: usize> {
    pub input: Tensor<D>,
    pub scale: Option<Tensor<1>>,
    pub bias: Option<Tensor<1>>,
    pub residual: Option<Tensor<D>>,
    /// Means and variances, where they are given.
    pub given: Option<(Tensor<1>, Tensor<1>)>,
}

/// What a norm makes of them.
pub(crate) struct Made<const D: usize> {
    pub output: Tensor<D>,
    pub sum: Option<Tensor<D>>,
    /// Means and variances, where they are exported.
    pub exported: Option<(Tensor<1>, Tensor<1>)>,
}

impl<const D: usize> Norms<D> {
    pub(crate) fn of(input: Tensor<D>, scale: Option<Tensor<1>>, bias: Option<Tensor<1>>) -> Self {
        Self { input, scale, bias, residual: None, given: None }
    }

    /// Normalizes; gives the tensors back where Burn's own operators have to.
    pub(crate) fn apply(self, op: Op) -> Result<Made<D>, Box<Self>> {
        if let Err(reason) = self.check(&op) {
            warn_once(reason);
            return Err(Box::new(self));
        }
        let (mean, variance) = self.given.unzip();
        let operands = Operands {
            input: self.input.into_dispatch(),
            scale: optional(self.scale),
            bias: optional(self.bias),
            residual: optional(self.residual),
            mean: optional(mean),
            variance: optional(variance),
        };
        let outputs = <Dispatch as NormBackend>::norm_forward(operands, op);
        let exported = outputs.mean.into_option().zip(outputs.variance.into_option());
        Ok(Made {
            output: Tensor::from_dispatch(outputs.output),
            sum: outputs.sum.into_option().map(Tensor::from_dispatch),
            exported: exported.map(|(mean, variance)| (Tensor::from_dispatch(mean), Tensor::from_dispatch(variance))),
        })
    }

    /// Why the engine cannot, if it cannot.
    fn check(&self, op: &Op) -> Result<(), String> {
        let device = self.input.device();
        let cube = setup::cube_device(&device);
        let engine = cube.as_ref().and_then(setup::engine);
        let Some((cube, engine)) = cube.zip(engine) else {
            return Err(format!("{device:?} was not made by wgpu_norm_burn::init, nor registered"));
        };
        if cube.client().is_capturing() {
            return Err("a graph is being captured, which can hold Burn's own kernels only".into());
        }
        let of = |dtype| element(dtype).ok_or_else(|| format!("the norms have no {dtype:?}"));
        let of_parameter = |tensor: Option<&Tensor<1>>| tensor.map(|tensor| of(tensor.dtype())).transpose();
        let input = of(self.input.dtype())?;
        let (mean, variance) = self.given.as_ref().map(|(mean, variance)| (mean, variance)).unzip();
        of_parameter(mean)?;
        of_parameter(variance)?;
        if self.residual.as_ref().is_some_and(|residual| residual.dtype() != self.input.dtype()) {
            return Err("input and residual differ in type".into());
        }
        let planned = Planned {
            scale: of_parameter(self.scale.as_ref())?,
            bias: of_parameter(self.bias.as_ref())?,
            residual: self.residual.is_some(),
            ..Planned::new(op, &self.input.shape(), input)
        };
        engine.norm(&planned).map(drop).map_err(|error| error.to_string())
    }
}

fn optional<const D: usize>(tensor: Option<Tensor<D>>) -> Optional<Dispatch> {
    tensor.map(Tensor::into_dispatch).into()
}

/// Says once why Burn's own operators run.
fn warn_once(reason: String) {
    static SAID: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.get_or_insert_default().insert(reason.clone()) {
        log::warn!("wgpu-norm: Burn's own norms run: {reason}");
    }
}
