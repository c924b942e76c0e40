//! The input tensors of a case, stored or made.

use wgpu_norm_tools::compute::{Runner, Running};
use wgpu_norm_tools::device::Gpu;
use wgpu_norm_tools::exact;
use wgpu_norm_tools::failure::Failure;

use crate::derived;
use crate::golden::{Generate, Request, Store};
use crate::setup::Setup;

/// The input tensors of a case, in memory order.
pub struct Inputs {
    /// What is normalized.
    pub input: Option<Vec<f32>>,
    /// Gradient to the output.
    pub grad_output: Option<Vec<f32>>,
    /// Inputs of the training steps before the last.
    pub earlier: Vec<Vec<f32>>,
    /// Inputs of many steps, one behind the other.
    pub batches: Option<Vec<f32>>,
    /// Of an adaptive norm.
    pub style: Option<Vec<f32>>,
    /// Factor of the result.
    pub scale: Option<Vec<f32>>,
    /// Summand of the result.
    pub bias: Option<Vec<f32>>,
    /// Running mean and variance.
    pub running: Option<(Vec<f32>, Vec<f32>)>,
    /// Batches that the running statistics have taken in.
    pub batches_so_far: Option<i64>,
    /// Positions of which results are wanted.
    pub sample_index: Option<Vec<i64>>,
}

impl Inputs {
    /// Reads or makes them.
    pub fn read(request: &Request, setup: &Setup, store: &Store) -> Result<Self, Failure> {
        let names = setup.names();
        let read = |name: &str| request.input(name, store);
        let to_memory = |values: Vec<f32>| setup.layout.to_memory(values, &setup.shape);
        let parameter = |values: Vec<f32>| setup.layout.parameter_to_memory(values, &setup.parameter_shape);
        let earlier = (0..).map_while(|step| read(&format!("input_before_{step}")).transpose());
        let mut inputs = Self {
            input: read(names.input)?.map(to_memory),
            grad_output: read("dy")?.map(to_memory),
            earlier: earlier.map(|values| values.map(to_memory)).collect::<Result<_, _>>()?,
            batches: read("batches")?,
            style: read("style")?,
            scale: read(names.scale)?.map(parameter),
            bias: read("bias")?.map(parameter),
            running: read("running_mean")?.zip(read("running_var")?),
            batches_so_far: request.integers("num_batches_tracked", store)?.and_then(|values| values.first().copied()),
            sample_index: request.integers("sample_index", store)?,
        };
        if let Some(generate) = &request.generate {
            inputs.make(generate, setup);
        }
        if let Some(init) = request.running_init {
            let channels = setup.shape[1] as usize;
            inputs.running = Some((vec![init.mean; channels], vec![init.var; channels]));
        }
        Ok(inputs)
    }

    /// The norm on the device with all but the input. Given statistics take the place of those that take in a batch.
    pub fn runner<'a>(
        &self,
        gpu: &'a Gpu,
        setup: &Setup,
        given: Option<&(Vec<f32>, Vec<f32>)>,
    ) -> Result<Runner<'a>, Failure> {
        let (scale, bias) = (self.scale.is_some(), self.bias.is_some());
        let norm = setup.describe(scale, bias, |descriptor| descriptor.create(&gpu.engine))?;
        let inputs = exact::Inputs {
            input: &[],
            scale: self.scale.as_deref(),
            bias: self.bias.as_deref(),
            style: self.style.as_deref(),
            given: given.map(|(mean, variance)| (mean.as_slice(), variance.as_slice())),
            ..exact::Inputs::default()
        };
        let running = self.running.clone().filter(|_| given.is_none()).map(|(mean, variance)| Running {
            mean,
            variance,
            batches: self.batches_so_far.filter(|_| setup.counts_batches()).map(|count| count as u32),
            update: setup.update,
        });
        Runner::new(gpu, norm, inputs, running.as_ref(), 0)
    }

    fn make(&mut self, generate: &Generate, setup: &Setup) {
        let make = |sequence, shape: &[u64]| derived::generate(sequence, shape.iter().product());
        self.input = generate.input.map(|sequence| make(sequence, &setup.shape));
        self.grad_output = generate.dy.map(|sequence| make(sequence, &setup.shape));
        self.scale = generate.weight.map(|sequence| make(sequence, &setup.parameter_shape));
        self.bias = generate.bias.map(|sequence| make(sequence, &setup.parameter_shape));
        // RMS norm has no bias in PyTorch, whatever the record generates.
        self.bias = self.bias.take().filter(|_| setup.is_centred());
    }
}
