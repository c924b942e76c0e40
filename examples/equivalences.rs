//! Each norm equals its formula, and norms equal one another where their segments do.
//!
//! ```text
//! cargo run --release --example equivalences
//! ```

mod common;

use common::{Gpu, Result, largest_difference, moments, normal, segment};
use wgpu_norm::reference::ReferenceInputs;
use wgpu_norm::{Affine, MemoryFormat, NormDescriptor, NormKind};

const SHAPE: [u64; 4] = [5, 256, 32, 32];
const CHANNELS: u64 = SHAPE[1];
const PIXELS: u64 = SHAPE[2] * SHAPE[3];
const GROUPS: u64 = 32;

/// Two sides that are equal but for rounding.
pub struct Equivalence {
    pub left: &'static str,
    pub right: &'static str,
    pub difference: f64,
}

struct Tensors {
    input: Vec<f32>,
    /// A value a channel.
    scale: Vec<f32>,
    bias: Vec<f32>,
    /// A value for each channel and pixel: what layer norm over C,H,W takes.
    layer_scale: Vec<f32>,
    layer_bias: Vec<f32>,
}

impl Tensors {
    fn random() -> Self {
        let mut rng = fastrand::Rng::with_seed(2);
        let mut random = |len: u64| -> Vec<f32> { (0..len).map(|_| normal(&mut rng)).collect() };
        let mut input = random(SHAPE.iter().product());
        let (scale, bias) = (random(CHANNELS), random(CHANNELS));
        let (layer_scale, layer_bias) = (random(CHANNELS * PIXELS), random(CHANNELS * PIXELS));
        // each channel with a deviation and a mean of its own
        for (k, plane) in input.chunks_mut(PIXELS as usize).enumerate() {
            let c = (k as u64 % CHANNELS) as f32;
            plane.iter_mut().for_each(|x| *x = *x * (0.5 + c / 64.0) + (c / 10.0).sin());
        }
        Self { input, scale, bias, layer_scale, layer_bias }
    }

    fn inputs(&self, kind: &NormKind) -> ReferenceInputs<'_> {
        let (scale, bias) = match kind {
            NormKind::Layer { .. } => (&self.layer_scale, &self.layer_bias),
            _ => (&self.scale, &self.bias),
        };
        ReferenceInputs { input: &self.input, scale: Some(scale), bias: Some(bias), ..Default::default() }
    }

    /// `(x - mean) / sqrt(variance + eps) * scale + bias`, as it stands, in f64.
    fn formula(&self, kind: &NormKind) -> Vec<f64> {
        let moments = moments(&self.input, &SHAPE, kind);
        let inputs = self.inputs(kind);
        let (scale, bias) = (inputs.scale.unwrap_or_default(), inputs.bias.unwrap_or_default());
        let (channels, pixels) = (CHANNELS as usize, PIXELS as usize);
        let normalized = self.input.iter().enumerate().map(|(i, &x)| {
            let (plane, channel) = (i / pixels, i / pixels % channels);
            let (mean, variance) = moments[segment(kind, channels, plane / channels, channel)];
            let parameter = if scale.len() == channels { channel } else { i % (channels * pixels) };
            (f64::from(x) - mean) / (variance + 1e-5).sqrt() * f64::from(scale[parameter]) + f64::from(bias[parameter])
        });
        normalized.collect()
    }
}

/// Moves the channels of each sample from before the pixels to behind them.
fn channels_last(values: &[f32]) -> Vec<f32> {
    let (channels, pixels) = (CHANNELS as usize, PIXELS as usize);
    let transposed = |sample: &[f32]| -> Vec<f32> {
        (0..pixels).flat_map(|p| (0..channels).map(move |c| c * pixels + p)).map(|at| sample[at]).collect()
    };
    values.chunks(channels * pixels).flat_map(transposed).collect()
}

/// Both sides of every equivalence, on the GPU but for the formulas.
pub fn measure() -> Result<Vec<Equivalence>> {
    let gpu = Gpu::open()?;
    let tensors = Tensors::random();
    let (batch, layer, group) = (NormKind::Batch, NormKind::Layer { axes: 1..4 }, NormKind::Group { groups: GROUPS });
    let normalize = |kind: &NormKind, shape: [u64; 4], inputs: &ReferenceInputs, format| {
        let affine = if inputs.scale.is_some() { Affine::ScaleAndBias } else { Affine::None };
        let descriptor = NormDescriptor { format, affine, ..NormDescriptor::new(kind.clone(), &shape) };
        gpu.forward(&descriptor, inputs).map(|(output, _)| output)
    };
    let first = |kind: &NormKind, inputs: &ReferenceInputs| normalize(kind, SHAPE, inputs, MemoryFormat::ChannelsFirst);

    let mut table = Vec::new();
    let mut equal = |left, right, difference| table.push(Equivalence { left, right, difference });
    let formulas = [
        ("batch norm", &batch),
        ("layer norm", &layer),
        ("instance norm", &NormKind::Instance),
        ("group norm", &group),
    ];
    for (name, kind) in formulas {
        let output = first(kind, &tensors.inputs(kind))?;
        equal(name, "its formula in f64", largest_difference(&output, &tensors.formula(kind)));
    }

    let inputs = tensors.inputs(&batch);
    let (instance, groups) =
        (first(&NormKind::Instance, &inputs)?, first(&NormKind::Group { groups: CHANNELS }, &inputs)?);
    equal("instance norm", "group norm with a group for each channel", largest_difference(&instance, &groups));

    let plain = ReferenceInputs { input: &tensors.input, ..Default::default() };
    let (one_group, all) = (first(&NormKind::Group { groups: 1 }, &plain)?, first(&layer, &plain)?);
    equal("group norm with one group", "layer norm over C,H,W, no scale", largest_difference(&one_group, &all));

    let sample = &tensors.input[..(CHANNELS * PIXELS) as usize];
    let alone = ReferenceInputs { input: sample, ..inputs };
    let shape = [1, CHANNELS, SHAPE[2], SHAPE[3]];
    let [of_batch, of_instance] =
        [&batch, &NormKind::Instance].map(|kind| normalize(kind, shape, &alone, MemoryFormat::ChannelsFirst));
    equal("batch norm of one sample", "instance norm of it", largest_difference(&of_batch?, &of_instance?));

    let last_input = channels_last(&tensors.input);
    let last_inputs = ReferenceInputs { input: &last_input, ..inputs };
    let last_shape = [SHAPE[0], SHAPE[2], SHAPE[3], CHANNELS];
    let formats = [("batch norm", &batch), ("instance norm", &NormKind::Instance), ("group norm", &group)];
    for (name, kind) in formats {
        let last = normalize(kind, last_shape, &last_inputs, MemoryFormat::ChannelsLast)?;
        let transposed = channels_last(&first(kind, &inputs)?);
        equal(name, "itself with channels last, transposed", largest_difference(&last, &transposed));
    }
    Ok(table)
}

fn main() -> Result<()> {
    println!("N,C,H,W = {SHAPE:?}, {GROUPS} groups, random scale and bias, eps 1e-5\n");
    println!("{:<26}   {:<42} largest difference", "", "");
    for Equivalence { left, right, difference } in measure()? {
        println!("{left:<26} = {right:<42} {difference:>18.1e}");
    }
    Ok(())
}
