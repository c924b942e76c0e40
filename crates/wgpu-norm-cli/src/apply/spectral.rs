//! `wgpu-norm apply spectral`: power iterations and the division of a weight.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use wgpu_norm::reference::{self, SpectralOrder, SpectralOutput, SpectralReference};
use wgpu_norm::{BufferView, PlanError, PowerIterations, PowerOrder, SpectralDescriptor, State, StateSpec, Types};
use wgpu_norm_tools::compute::Outcome;
use wgpu_norm_tools::device::Gpu;
use wgpu_norm_tools::elements;
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::file_error::FileError;
use wgpu_norm_tools::files::{Prefix, TensorFile, TensorSpec};
use wgpu_norm_tools::output::Target;
use wgpu_norm_tools::{shapes, terminal};

use crate::Global;
use wgpu_norm_tools::fill::Random;

use super::args::{Order, SpectralArgs};
use super::{Check, Report, aside};

/// Iterations that PyTorch starts with, and those of each step after.
const ITERATIONS: [u32; 2] = [15, 1];
/// Start of the random vectors.
const SEED: u64 = 0x5EED;

/// A weight and its singular vectors (empty for a weight of rank 1).
struct Operands {
    weight: Vec<f32>,
    u: Vec<f32>,
    v: Vec<f32>,
}

/// What came out besides the output.
struct Divided {
    outcome: Outcome,
    u: Vec<f32>,
    v: Vec<f32>,
    sigma: f32,
}

/// Applies it.
pub fn run(args: &SpectralArgs, global: &Global) -> Result<ExitCode, Failure> {
    let files = &args.files;
    let input = files.input()?;
    let vectors = args.u.as_ref().zip(args.v.as_ref());
    let read: Vec<&TensorSpec> = [&input].into_iter().chain(vectors.iter().flat_map(|(u, v)| [*u, *v])).collect();
    let read: Vec<&Path> = read.iter().map(|spec| spec.path.as_path()).collect();
    let output = Target::new(&files.output, files.output_format, files.force, &read)?;
    let state = args.state_out.as_deref().map(|path| Target::for_state(path, files.force, &read)).transpose()?;
    if let Some(state) = state.as_ref().filter(|state| state.same_as(&output)) {
        return Err(Failure::file(state.path(), FileError::SameOutputs));
    }
    aside([&output].into_iter().chain(&state), global)?;
    let prefix = Prefix::new(files.prefix.as_deref());
    let weight = TensorFile::open(&input, &prefix, "--tensor NAME")?;
    let shape = weight.shape().to_vec();
    let name = files.output_tensor.clone().or(weight.name.clone()).unwrap_or_else(|| "output".to_owned());
    let dim = match shape.len() {
        0 => return Err(PlanError::RankTooLow { kind: "spectral", rank: 0, min: 1 }.into()),
        rank => args.dim.of(rank, "--dim")?,
    };
    let spec = StateSpec::spectral(&shape, dim)?;
    let types = Types::default().input(weight.element()).output(files.dtype.unwrap_or(weight.element()));
    output.check_element(types.output)?;
    let request = Request { args, shape: &shape, dim, types };
    shapes::check_spectral(&request.descriptor())?;

    let gpu = if files.cpu { None } else { Gpu::open(&global.device)? };
    if gpu.is_none() && !files.cpu {
        terminal::note("no GPU adapter found, computing on the CPU reference");
    }
    if let Some(gpu) = &gpu {
        gpu.check_size("weight", weight.elements().saturating_mul(types.input.bytes()))?;
        gpu.check_size("output", weight.elements().saturating_mul(types.output.bytes()))?;
    }
    let operands = Operands::read(weight, vectors, &prefix, &shape, dim)?;
    let divided = match &gpu {
        Some(gpu) => request.on_gpu(gpu, &operands)?,
        None => request.on_cpu(&operands)?,
    };
    let check = match files.check {
        true => Some(Check::new(&shape, &divided.outcome.output, &request.reference(&operands)?.output, types.output)),
        false => None,
    };
    let mut parts = vec![output.part_of_tensor(&name, &shape, types.output, &divided.outcome.output)?];
    if let Some(target) = &state {
        parts.push(target.part_of_bytes(&checkpoint(&spec, &operands.weight, &divided)?)?);
    }
    let report = Report::new("spectral", &shape, types, gpu.as_ref(), &divided.outcome, files);
    Report { sigma: Some(divided.sigma), ..report }.finish(check, args.state_out.as_deref(), parts, global)
}

fn checkpoint(spec: &StateSpec, weight: &[f32], divided: &Divided) -> Result<Vec<u8>, Failure> {
    let mut state = State::default();
    state.insert("parametrizations.weight.original", weight.to_vec());
    if !divided.u.is_empty() {
        state.insert("parametrizations.weight.0._u", divided.u.clone());
        state.insert("parametrizations.weight.0._v", divided.v.clone());
    }
    Ok(state.save(spec)?)
}

impl Operands {
    fn read(
        weight: TensorFile,
        vectors: Option<(&TensorSpec, &TensorSpec)>,
        prefix: &Prefix<'_>,
        shape: &[u64],
        dim: usize,
    ) -> Result<Self, Failure> {
        let rows = shape[dim];
        let columns = (0..shape.len()).filter(|&axis| axis != dim).map(|axis| shape[axis]).product();
        let (u, v) = match vectors {
            Some((u, v)) => {
                let open = |spec: &TensorSpec| TensorFile::open(spec, prefix, "FILE:NAME");
                let (u, v) = (open(u)?, open(v)?);
                let way_out = |u: &TensorFile, v: &TensorFile| {
                    let is_swapped = u.elements() == columns && v.elements() == rows;
                    if is_swapped { "; --u has an element a row, --v one a column" } else { "" }.to_owned()
                };
                if shape.len() == 1 {
                    let message = "--u and --v: a weight of rank 1 has neither, it is divided by its length";
                    return Err(Failure::Usage(message.to_owned()));
                }
                shapes::check("--u", u.shape(), &[rows], || way_out(&u, &v))?;
                shapes::check("--v", v.shape(), &[columns], || way_out(&u, &v))?;
                (u.read()?, v.read()?)
            }
            None if shape.len() == 1 => (Vec::new(), Vec::new()),
            None => (unit_vector(rows, SEED), unit_vector(columns, SEED + 1)),
        };
        Ok(Self { weight: weight.read()?, u, v })
    }
}

/// A random direction.
fn unit_vector(len: u64, seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    let vector: Vec<f32> = (0..len).map(|_| random.normal()).collect();
    let length = vector.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    vector.iter().map(|&x| (f64::from(x) / length) as f32).collect()
}

/// What is asked of a weight of this shape.
struct Request<'a> {
    args: &'a SpectralArgs,
    shape: &'a [u64],
    dim: usize,
    types: Types,
}

impl Request<'_> {
    fn iterations(&self) -> PowerIterations {
        let [start, step] = ITERATIONS;
        let default = if self.args.u.is_some() { step } else { start };
        match self.args.frozen {
            true => PowerIterations::Frozen,
            false => PowerIterations::Count(self.args.iterations.unwrap_or(default)),
        }
    }

    fn descriptor(&self) -> SpectralDescriptor<'_> {
        let order = match self.args.order {
            Order::UThenV => PowerOrder::UThenV,
            Order::VThenU => PowerOrder::VThenU,
        };
        let (dim, eps, types) = (self.dim, self.args.eps, self.types);
        SpectralDescriptor { dim, eps, order, types, ..SpectralDescriptor::new(self.shape) }
    }

    fn on_gpu(&self, gpu: &Gpu, operands: &Operands) -> Result<Divided, Failure> {
        let norm = gpu.engine.create_spectral_norm(&self.descriptor())?;
        let (types, start) = (self.types, Instant::now());
        let weight = gpu.upload_of("weight", types.input, &operands.weight)?;
        let output = gpu.tensor_of("output", types.output, norm.len())?;
        let (u, v, sigma) = (gpu.upload("u", &operands.u)?, gpu.upload("v", &operands.v)?, gpu.tensor("sigma", 1)?);
        let workspace = gpu.buffer("workspace", norm.workspace_size())?;
        let uploaded = start.elapsed();
        let workspace = BufferView::whole(&workspace);
        let mut args = wgpu_norm::SpectralArgs::new(weight.view(), output.view(), sigma.view(), workspace);
        if self.shape.len() > 1 {
            args = args.vectors(u.view(), v.view(), self.iterations());
        }
        let bound = norm.bind_forward(&args)?;
        gpu.healthy()?;
        let computed = gpu.run(|pass| bound.record(pass))?;
        let outcome = Outcome {
            output: gpu.download(&output)?,
            quantized: None,
            sum: None,
            statistics: None,
            running: None,
            kernels: bound.kernels().map(|kernel| kernel.to_string()).collect(),
            workspace: norm.workspace_size(),
            times: vec![("upload", uploaded), ("compute", computed)],
        };
        let sigma = gpu.download(&sigma)?.first().copied().unwrap_or(0.0);
        Ok(Divided { outcome, u: gpu.download(&u)?, v: gpu.download(&v)?, sigma })
    }

    fn on_cpu(&self, operands: &Operands) -> Result<Divided, Failure> {
        let start = Instant::now();
        let result = self.reference(operands)?;
        let round = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
        let outcome = Outcome {
            output: result.output.iter().map(|&value| elements::round(value, self.types.output) as f32).collect(),
            quantized: None,
            sum: None,
            statistics: None,
            running: None,
            kernels: Vec::new(),
            workspace: 0,
            times: vec![("compute", start.elapsed())],
        };
        Ok(Divided { outcome, u: round(&result.u), v: round(&result.v), sigma: result.sigma as f32 })
    }

    fn reference(&self, operands: &Operands) -> Result<SpectralOutput, Failure> {
        let iterations = match self.iterations() {
            PowerIterations::Count(count) => count,
            PowerIterations::Frozen => 0,
        };
        Ok(reference::spectral(&SpectralReference {
            weight: &operands.weight,
            shape: self.shape,
            dim: self.dim,
            u: &operands.u,
            v: &operands.v,
            iterations,
            order: match self.args.order {
                Order::UThenV => SpectralOrder::UThenV,
                Order::VThenU => SpectralOrder::VThenU,
            },
            eps: self.args.eps,
        })?)
    }
}
