//! Family `fused`: a norm with what networks put around it, in one pass forward and one backward.

pub mod args;
pub mod attributes;
pub mod place;
pub mod setup;
#[cfg(test)]
mod setup_tests;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use wgpu_norm::wgpu;
use wgpu_norm::{
    BackwardArgs, BackwardStatistics, BindError, BoundNorm, BufferView, ExportArgs, ForwardArgs, ImportArgs, Norm,
    Operand, RunningArgs, Spread, StatisticsSource, TrainingArgs,
};
use wgpu_norm_tools::device::{Gpu, Tensor, View};
use wgpu_norm_tools::failure::Failure;

use crate::golden::{Request, Store};
use crate::{Array, Results, Values};
use place::{Form, Place};
use setup::Setup;

/// All that a case asks for.
pub fn fused_norm(gpu: &Gpu, request: &Request, store: &Store) -> Result<Results, Failure> {
    let case = Case::new(gpu, request, store)?;
    let output = case.output()?;
    let saved = case.saved()?;
    let gradients = case.gradients()?;
    let destination = if request.attrs.fused.quantise.is_some() { View::at(&output.buffer, 0) } else { output.view() };
    let mut work = case.forward(destination, !saved.is_empty() || !gradients.is_empty())?;
    if !saved.is_empty() {
        work.push(case.export(&saved)?);
    }
    if !gradients.is_empty() {
        work.push(case.backward(&gradients)?);
    }
    gpu.run_all(&work)?;

    let mut results = Results::new();
    if let (Some(spec), Some(quantise)) = (request.wanted.get("output_q"), &request.attrs.fused.quantise) {
        let words = gpu.download(&output)?;
        let bytes = bytemuck::cast_slice(&words)[..case.norm.len() as usize].to_vec();
        results.insert("output_q".into(), Array::new(&spec.shape, Values::Bytes(bytes, quantise.dtype())));
    }
    let scales = case.scales.as_ref().map(|scales| ("output_scales", scales));
    let outputs = [("output", &output)].into_iter().chain(scales).chain(case.sum.as_ref().map(|sum| ("sum", sum)));
    for (name, tensor) in outputs.chain(saved.iter().chain(&gradients).map(|(&name, tensor)| (name, tensor))) {
        if let Some(spec) = request.wanted.get(name) {
            let values = case.setup.restore(name, &spec.shape, gpu.download(tensor)?);
            results.insert(name.into(), Array::new(&spec.shape, Values::Floats(values)));
        }
    }
    for (name, tensor) in ["running_mean_out", "running_var_out"].into_iter().zip(case.running.iter().flatten()) {
        results.insert(name.into(), Array::vector(gpu.download(tensor)?));
    }
    // what is added in the end passes the gradient on as it is
    if let (Some(spec), Some(values)) = (request.wanted.get("dout_residual"), request.input("dy", store)?) {
        results.insert("dout_residual".into(), Array::new(&spec.shape, Values::Floats(values)));
    }
    Ok(results)
}

/// A case on the device.
struct Case<'a> {
    gpu: &'a Gpu,
    request: &'a Request,
    setup: Setup<'a>,
    norm: Norm,
    operands: Operands,
    /// Mean and variance of each channel: given, or to take in the input's.
    running: Option<[Tensor; 2]>,
    /// Records of the statistics, computed or given.
    records: wgpu::Buffer,
    workspace: wgpu::Buffer,
    /// What is normalized, where that is not the input.
    sum: Option<Tensor>,
    /// Scales of a quantised output, where they are computed.
    scales: Option<Tensor>,
}

/// Tensors by name.
type Tensors = BTreeMap<&'static str, Tensor>;

impl<'a> Case<'a> {
    fn new(gpu: &'a Gpu, request: &'a Request, store: &Store) -> Result<Self, Failure> {
        let setup = Setup::of(request)?;
        let norm = gpu.engine.create_norm(&setup.descriptor())?;
        let running = match request.input("running_mean", store)?.zip(request.input("running_var", store)?) {
            Some((mean, variance)) => {
                Some([gpu.upload("running mean", &mean)?, gpu.upload("running variance", &variance)?])
            }
            None => None,
        };
        let records = if setup.is_given() { norm.given_statistics_size() } else { norm.statistics_size() };
        let sum = setup.sum_element().map(|element| gpu.tensor_of("sum", element, norm.len())).transpose()?;
        let scales = request.wanted.get("output_scales").map(|spec| gpu.tensor("scales", spec.shape.iter().product()));
        Ok(Self {
            scales: scales.transpose()?,
            gpu,
            request,
            operands: Operands::upload(gpu, request, &setup, store)?,
            running,
            records: gpu.buffer("statistics", records)?,
            workspace: gpu.buffer("workspace", norm.workspace_size())?,
            sum,
            setup,
            norm,
        })
    }

    fn records(&self) -> BufferView<&wgpu::Buffer> {
        BufferView::whole(&self.records)
    }

    /// Memory for the output, or for its bytes.
    fn output(&self) -> Result<Tensor, Failure> {
        match &self.request.attrs.fused.quantise {
            Some(_) => self.gpu.tensor("output", self.norm.len().div_ceil(4)),
            None => self.gpu.tensor_of("output", self.setup.types.output, self.norm.len()),
        }
    }

    fn running(&self) -> Result<&[Tensor; 2], BindError> {
        self.running.as_ref().ok_or(BindError::Missing { operand: Operand::RunningMean })
    }

    fn input(&self) -> Result<View<'_>, BindError> {
        self.operands.view("input").ok_or(BindError::Missing { operand: Operand::Input })
    }

    /// The output and the sum; statistics that are saved where that is asked, and taken in by the running ones.
    fn forward(&self, output: View<'_>, saves: bool) -> Result<Vec<BoundNorm>, Failure> {
        let (norm, input, get) = (&self.norm, self.input()?, |name: &str| self.operands.view(name));
        let fused =
            args::forward(get).sum(self.sum.as_ref().map(Tensor::view)).scales(self.scales.as_ref().map(Tensor::view));
        let workspace = BufferView::whole(&self.workspace);
        let (scale, bias) = (get("weight"), get("bias"));
        if !self.setup.is_given() && (saves || self.setup.is_training()) {
            let args = TrainingArgs::new(input, output, self.records()).fused(fused).workspace(workspace);
            let mut work = vec![norm.bind_training(&args.scale(scale).bias(bias))?];
            if let Some([mean, variance]) = self.running.as_ref().filter(|_| self.setup.is_training()) {
                let args = RunningArgs::new(self.records(), mean.view(), variance.view());
                work.push(norm.bind_running_update(&args.update(crate::setup::running_update(self.request)))?);
            }
            return Ok(work);
        }
        let args = ForwardArgs::new(input, output).fused(fused).workspace(workspace).scale(scale).bias(bias);
        if !self.setup.is_given() {
            return Ok(vec![norm.bind_forward(&args)?]);
        }
        let [mean, variance] = self.running()?;
        let import = norm.bind_import(&ImportArgs::new(mean.view(), variance.view(), self.records()))?;
        Ok(vec![import, norm.bind_forward(&args.statistics(StatisticsSource::Given(self.records())))?])
    }

    /// Memory for the statistics that are asked for.
    fn saved(&self) -> Result<Tensors, Failure> {
        let names = ["save_mean", "save_rstd"].into_iter().filter(|name| self.request.wanted.contains_key(*name));
        let names = names.filter(|_| !self.setup.is_given());
        names.map(|name| Ok((name, self.gpu.tensor(name, self.norm.segment_count())?))).collect()
    }

    fn export(&self, saved: &Tensors) -> Result<BoundNorm, BindError> {
        let get = |name| saved.get(name).map(Tensor::view);
        let mut args = ExportArgs::new(self.records()).mean(get("save_mean").filter(|_| self.setup.is_centred()));
        args.spread = get("save_rstd").map(|view| (Spread::Rstd, view));
        self.norm.bind_export(&args)
    }

    /// Memory for the gradients that are asked for, where there is one to start from.
    fn gradients(&self) -> Result<Tensors, Failure> {
        let mut gradients = Tensors::new();
        for name in args::GRADIENTS.into_iter().filter(|_| self.operands.view("dy").is_some()) {
            if let Some(spec) = self.request.wanted.get(name) {
                let len = spec.shape.iter().product();
                gradients.insert(name, self.gpu.tensor_of(name, self.request.wanted_element(name), len)?);
            }
        }
        Ok(gradients)
    }

    fn backward(&self, gradients: &Tensors) -> Result<BoundNorm, Failure> {
        let get = |name: &str| self.operands.view(name).or_else(|| gradients.get(name).map(Tensor::view));
        let grad_output = get("dy").ok_or(BindError::Missing { operand: Operand::GradOutput })?;
        let by = if self.setup.is_given() { BackwardStatistics::Given } else { BackwardStatistics::Saved };
        let normalized = self.sum.as_ref().map_or(self.input()?, Tensor::view);
        let workspace = self.gpu.buffer("workspace", self.norm.backward_workspace_size())?;
        let args = self.setup.backward(BackwardArgs::new(normalized, grad_output, by(self.records())), get);
        Ok(self.norm.bind_backward(&args.workspace(BufferView::whole(&workspace)))?)
    }
}

/// Operands on the device: views of the tensors as they are stored, wherever the engine takes such a view.
struct Operands {
    tensors: BTreeMap<String, Tensor>,
    views: BTreeMap<&'static str, Part>,
}

/// Part of a tensor, in elements.
struct Part {
    of: String,
    first: u64,
    len: u64,
    form: Form,
    rank: usize,
}

impl Operands {
    fn upload(gpu: &Gpu, request: &Request, setup: &Setup<'_>, store: &Store) -> Result<Self, Failure> {
        let mut all = Self { tensors: BTreeMap::new(), views: BTreeMap::new() };
        for name in args::OPERANDS {
            let Some(place) = setup.place(name) else { continue };
            let Place { ref of, offset, .. } = place;
            let (form, len) = (place.form(), place.len());
            // what has other gaps than between rows gets a tensor of its own without any
            let (of, first) = if form == Form::Scattered { (name, 0) } else { (of.as_str(), offset) };
            if let Entry::Vacant(entry) = all.tensors.entry(of.to_owned()) {
                let stored = request.input(&place.of, store)?.unwrap_or_default();
                let values = if form == Form::Scattered { place.gather(&stored) } else { stored };
                entry.insert(gpu.upload_of(of, setup.element(name), &values)?);
            }
            let rank = place.shape.len();
            all.views.insert(name, Part { of: of.to_owned(), first, len, form, rank });
        }
        Ok(all)
    }

    fn view(&self, name: &str) -> Option<View<'_>> {
        let Part { of, first, len, form, rank } = self.views.get(name)?;
        let view = self.tensors.get(of)?.part(*first, *len);
        Some(match *form {
            // of lists too
            Form::Rows { axis, stride } if axis + 2 == *rank => view.with_row_stride(stride),
            Form::Rows { axis, stride } => view.with_stride(axis, stride),
            _ => view,
        })
    }
}
