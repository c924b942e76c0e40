//! The gradients of a case: one backward pass from the statistics that its forward pass left.

use wgpu_norm::{BackwardArgs, BackwardStatistics, BoundNorm, BufferView, Destination, TensorView};

use crate::failure::Failure;
use crate::golden::Request;
use crate::gpu::{Gpu, Tensor};

use super::compute::Stop;
use super::runner::Runner;
use super::setup::{Setup, Source};

/// The gradients that a case asks for, under their recorded names.
#[derive(Clone, Copy)]
pub struct Wanted {
    input: Option<&'static str>,
    scale: Option<&'static str>,
    bias: Option<&'static str>,
    style: Option<&'static str>,
}

impl Wanted {
    /// What `request` asks for, whole or by samples and sums.
    pub fn of(request: &Request, setup: &Setup) -> Self {
        let names = setup.names();
        let asked = |name: &str| {
            let is_part = |wanted: &String| {
                wanted.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
            };
            request.wanted.keys().any(is_part)
        };
        let wanted = |name: &'static str| asked(name).then_some(name);
        Self {
            input: wanted(names.grad_input),
            scale: wanted(names.grad_scale),
            bias: wanted("dbias"),
            style: wanted("dstyle"),
        }
    }

    /// Whether any is.
    pub fn any(self) -> bool {
        self.input.or(self.scale).or(self.bias).or(self.style).is_some()
    }
}

/// Gradients on the device.
pub struct Gradients {
    input: Target,
    scale: Target,
    bias: Target,
    style: Target,
}

/// A gradient and its recorded name; `None`: it is not wanted.
type Target = Option<(&'static str, Tensor)>;

fn view(target: &Target) -> Option<TensorView<'_>> {
    target.as_ref().map(|(_, tensor)| tensor.view())
}

impl Gradients {
    /// Binds the backward pass to the forward pass of `runner` that comes before it.
    pub fn bind(
        runner: &Runner,
        source: Source,
        input: &Tensor,
        grad_output: &[f32],
        wanted: Wanted,
    ) -> Result<(BoundNorm, Self), Stop> {
        let Runner { gpu, norm, .. } = runner;
        let grad_output = gpu.upload(grad_output)?;
        let target = |name: Option<&'static str>, len: u64| match name {
            Some(name) => gpu.poisoned(len).map(|tensor| Some((name, tensor))),
            None => Ok(None),
        };
        let gradients = Self {
            input: target(wanted.input, norm.len())?,
            scale: target(wanted.scale, norm.affine_len())?,
            bias: target(wanted.bias, norm.affine_len())?,
            style: target(wanted.style, norm.style_len().unwrap_or(0))?,
        };
        let workspace = match norm.backward_workspace_size() {
            0 => None,
            size => Some(gpu.scratch(size)?),
        };
        let bound = norm.bind_backward(&BackwardArgs {
            input: input.view(),
            grad_output: grad_output.view(),
            scale: runner.scale.as_ref().map(Tensor::view),
            style: runner.style.as_ref().map(Tensor::view),
            statistics: match source {
                Source::Running => BackwardStatistics::Given(BufferView::whole(&runner.given)),
                Source::Input | Source::Training => BackwardStatistics::Saved(BufferView::whole(&runner.saved)),
            },
            grad_input: view(&gradients.input).map(Destination::View),
            grad_scale: view(&gradients.scale),
            grad_bias: view(&gradients.bias),
            grad_style: view(&gradients.style),
            workspace: workspace.as_ref().map(BufferView::whole),
        })?;
        Ok((bound, gradients))
    }

    /// Their elements, in logical order, under their recorded names.
    pub fn download(&self, gpu: &Gpu, setup: &Setup) -> Result<Vec<(&'static str, Vec<f32>)>, Failure> {
        let mut all = Vec::new();
        if let Some((name, tensor)) = &self.input {
            all.push((*name, setup.layout.restore(gpu.download(tensor)?, &setup.shape)));
        }
        for (name, tensor) in [&self.scale, &self.bias].into_iter().flatten() {
            all.push((*name, setup.layout.restore_parameter(gpu.download(tensor)?, &setup.parameter_shape)));
        }
        if let Some((name, tensor)) = &self.style {
            all.push((*name, gpu.download(tensor)?));
        }
        Ok(all)
    }
}
