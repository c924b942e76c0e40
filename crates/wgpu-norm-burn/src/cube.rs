//! Norms on CubeCL's wgpu runtime: the engine's dispatches on Burn's own buffers and queue.

use burn::backend::{DType, Shape, TensorMetadata};
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::server::{Handle, ServerError};
use burn_cubecl::cubecl::wgpu::{AutoCompiler, WgpuResource, WgpuServer};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeDevice};
use wgpu_norm::*;

use crate::op::{Gradients, NormBackend, Op, Operands, Optional, Outputs, Saved, Statistics, Wanted};
use crate::plan::{Planned, element};
use crate::setup::{self, Engine};

impl NormBackend for CubeBackend {
    fn norm_forward(operands: Operands<Self>, op: Op) -> Outputs<Self> {
        let mut call = Call::new(&operands.input.device);
        let shape = operands.input.shape();
        let input = call.read(operands.input);
        let scale = call.read_optional(operands.scale);
        let bias = call.read_optional(operands.bias);
        let residual = call.read_optional(operands.residual);
        let given = call.read_optional(operands.mean).zip(call.read_optional(operands.variance));
        let planned = Planned {
            scale: scale.map(|view| view.element),
            bias: bias.map(|view| view.element),
            residual: residual.is_some(),
            ..Planned::new(&op, &shape, input.element)
        };
        let norm = call.norm(&planned);
        let (output, output_view) = call.write(shape.clone(), input.dtype());
        let (sum, sum_view) = residual.map(|_| call.write(shape.clone(), input.dtype())).unzip();
        let keeps = op.has_moments() || op.statistics != Statistics::Input;
        let (moments, moments_view) = keeps.then(|| call.write(op.moments_shape(&shape), DType::F32)).unzip();
        let exports = op.statistics == Statistics::Exported;
        let channels = || Shape::new([moments.as_ref().map_or(0, |moments: &CubeTensor| moments.shape()[0])]);
        let (mean, mean_view) = exports.then(|| call.write(channels(), DType::F32)).unzip();
        let (variance, variance_view) = exports.then(|| call.write(channels(), DType::F32)).unzip();
        let workspace = call.scratch(norm.workspace_size());

        call.record(|at| {
            let fused = FusedArgs::default().residual(residual.map(|v| at.view(v))).sum(sum_view.map(|v| at.view(v)));
            let (scale, bias) = (scale.map(|v| at.view(v)), bias.map(|v| at.view(v)));
            let workspace = workspace.map(|v| at.range(v));
            let (input, output) = (at.view(input), at.view(output_view));
            let saved = moments_view.map(|v| at.range(v));
            let mut bound = Vec::new();
            match (saved, given) {
                (Some(records), Some((mean, variance))) => {
                    bound.push(norm.bind_import(&ImportArgs::new(at.view(mean), at.view(variance), records))?);
                    let args = ForwardArgs::new(input, output).statistics(StatisticsSource::Given(records));
                    bound.push(norm.bind_forward(&args.scale(scale).bias(bias).fused(fused).workspace(workspace))?);
                }
                (Some(records), None) => {
                    let args = TrainingArgs::new(input, output, records).scale(scale).bias(bias);
                    bound.push(norm.bind_training(&args.fused(fused).workspace(workspace))?);
                }
                (None, _) => {
                    let args = ForwardArgs::new(input, output).scale(scale).bias(bias);
                    bound.push(norm.bind_forward(&args.fused(fused).workspace(workspace))?);
                }
            }
            if let (Some(records), Some(mean), Some(variance)) = (saved, mean_view, variance_view) {
                let spread = Spread::Variance;
                let args = ExportArgs::new(records).mean(at.view(mean)).spread(spread, at.view(variance));
                bound.push(norm.bind_export(&args)?);
            }
            Ok(bound)
        });
        let moments = moments.filter(|_| op.has_moments());
        Outputs { output, sum: sum.into(), moments: moments.into(), mean: mean.into(), variance: variance.into() }
    }

    fn norm_backward(saved: Saved<Self>, op: Op, wanted: Wanted) -> Gradients<Self> {
        let mut call = Call::new(&saved.input.device);
        let shape = saved.input.shape();
        let input = call.read(saved.input);
        let grad_output = call.read(saved.grad_output);
        let moments = call.read(saved.moments);
        let scale = call.read_optional(saved.scale);
        let bias = call.read_optional(saved.bias);
        let planned = Planned {
            scale: scale.map(|view| view.element),
            bias: bias.map(|view| view.element),
            ..Planned::new(&op, &shape, input.element)
        };
        let norm = call.norm(&planned);
        let (grad_input, input_view) = wanted.input.then(|| call.write(shape.clone(), input.dtype())).unzip();
        let mut parameter = |wanted, like: Option<View>| {
            let like = like.filter(|_| wanted);
            like.map(|like| call.write(Shape::new([like.len as usize]), like.dtype())).unzip()
        };
        let (grad_scale, scale_view) = parameter(wanted.scale, scale);
        let (grad_bias, bias_view) = parameter(wanted.bias, bias);
        let workspace = call.scratch(norm.backward_workspace_size());

        call.record(|at| {
            let records = at.range(moments);
            let statistics = match op.statistics {
                Statistics::Given => BackwardStatistics::Given(records),
                Statistics::Input | Statistics::Exported => BackwardStatistics::Saved(records),
            };
            let args = BackwardArgs::new(at.view(input), at.view(grad_output), statistics)
                .scale(scale.map(|v| at.view(v)))
                .bias(bias.map(|v| at.view(v)))
                .grad_scale(scale_view.map(|v| at.view(v)))
                .grad_bias(bias_view.map(|v| at.view(v)))
                .workspace(workspace.map(|v| at.range(v)));
            let args = match input_view {
                Some(view) => args.grad_input(at.view(view)),
                None => args,
            };
            Ok(vec![norm.bind_backward(&args)?])
        });
        Gradients { input: grad_input.into(), scale: grad_scale.into(), bias: grad_bias.into() }
    }
}

/// A tensor of a call: which of its handles, and what the engine needs to know.
#[derive(Clone, Copy, Debug)]
struct View {
    handle: usize,
    len: u64,
    element: Element,
}

impl View {
    fn dtype(&self) -> DType {
        match self.element {
            Element::F16 => DType::F16,
            Element::Bf16 => DType::BF16,
            _ => DType::F32,
        }
    }
}

/// One call of the engine: its tensors, gathered first, because buffers and offsets are known on the device's thread
/// only.
struct Call {
    engine: std::sync::Arc<Engine>,
    client: Client,
    device: CubeDevice,
    handles: Vec<Handle>,
}

impl Call {
    fn new(device: &CubeDevice) -> Self {
        let engine = setup::engine(device).expect("wgpu-norm: operations are for registered devices only");
        Self { engine, client: device.client(), device: device.clone(), handles: Vec::new() }
    }

    fn norm(&self, planned: &Planned) -> Norm {
        self.engine.norm(planned).unwrap_or_else(|error| panic!("wgpu-norm: {error}"))
    }

    fn add(&mut self, handle: Handle, len: u64, element: Element) -> View {
        self.handles.push(handle);
        View { handle: self.handles.len() - 1, len, element }
    }

    /// A tensor that is read, in rows.
    fn read(&mut self, tensor: CubeTensor) -> View {
        let tensor = into_contiguous(tensor);
        let element = element(tensor.dtype).expect("wgpu-norm: operations are for f32, f16 and bf16 only");
        let len = tensor.shape().num_elements() as u64;
        self.add(tensor.handle, len, element)
    }

    fn read_optional(&mut self, tensor: Optional<CubeBackend>) -> Option<View> {
        tensor.into_option().map(|tensor| self.read(tensor))
    }

    /// A new tensor.
    fn write(&mut self, shape: Shape, dtype: DType) -> (CubeTensor, View) {
        let tensor = empty_device_contiguous_dtype(self.client.clone(), self.device.clone(), shape, dtype);
        let view = self.read(tensor.clone());
        (tensor, view)
    }

    /// So many bytes that nobody else needs.
    fn scratch(&mut self, size: u64) -> Option<View> {
        (size > 0).then(|| self.add(self.client.empty(size as usize), size / 4, Element::F32))
    }

    /// Submits what waits for these tensors on Burn's streams, and behind it on the same queue what `bind` makes. On
    /// the device's own thread, where nothing else comes between; nobody waits for the GPU.
    fn record(self, bind: impl FnOnce(&Placed<'_>) -> Result<Vec<BoundNorm>, BindError> + Send) {
        let Self { engine, client, handles, .. } = self;
        let recorded = client.exclusive(|| {
            let placed = place(&client, &handles).map_err(|error| error.to_string())?;
            let bound = bind(&Placed(&placed)).map_err(|error| error.to_string())?;
            submit(&engine, &bound);
            Ok(())
        });
        let recorded = recorded.map_err(|error| error.to_string()).and_then(|result: Result<(), String>| result);
        recorded.unwrap_or_else(|error| panic!("wgpu-norm: {error}"));
    }
}

/// Where tensors lie, once all work on them is in the queue. The handles keep them there, and no other allocation moves
/// them, as this is the thread that allocates.
fn place(client: &Client, handles: &[Handle]) -> Result<Vec<WgpuResource>, ServerError> {
    let mut flushed = Vec::new();
    for handle in handles {
        if !flushed.contains(&handle.stream) {
            flushed.push(handle.stream);
            handle.stream.executes(|| client.flush())?;
        }
    }
    let resource = |handle: &Handle| client.get_resource::<WgpuServer<AutoCompiler>>(handle.clone());
    handles.iter().map(|handle| resource(handle).map(|managed| managed.resource().clone())).collect()
}

fn submit(engine: &Engine, bound: &[BoundNorm]) {
    let descriptor = wgpu::CommandEncoderDescriptor { label: Some("wgpu-norm") };
    let mut encoder = engine.engine.device().create_command_encoder(&descriptor);
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    bound.iter().for_each(|norm| norm.record(&mut pass));
    drop(pass);
    engine.queue.submit([encoder.finish()]);
}

/// The tensors of a call as the engine sees them.
struct Placed<'a>(&'a [WgpuResource]);

impl<'a> Placed<'a> {
    fn view(&self, View { handle, len, element }: View) -> TensorView<&'a wgpu::Buffer> {
        let resource = &self.0[handle];
        TensorView::new(&resource.buffer, resource.offset, len).of(element)
    }

    fn range(&self, View { handle, len, element }: View) -> BufferView<&'a wgpu::Buffer> {
        let resource = &self.0[handle];
        BufferView::new(&resource.buffer, resource.offset, len * element.bytes())
    }
}
