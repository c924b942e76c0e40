//! Attributes of family `fused`, named as in the index.

use std::collections::BTreeMap;

use safetensors::Dtype;
use serde::Deserialize;
use wgpu_norm::{Activation, QuantFormat, QuantScale, Quantization};

/// What stands around a norm. Where it is absent, nothing.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Attributes {
    /// Columns that share statistics: the last axis in groups.
    pub group_size: Option<u64>,
    /// The axis of the channels, counted from the end where it is negative.
    pub channel_axis: Option<i64>,
    /// What is normalized.
    pub prologue: Option<Prologue>,
    /// Type of the sum.
    pub sum_dtype: Option<Dtype>,
    /// What is added to the weight: 0 or 1.
    pub weight_offset: u32,
    /// Whether the normalized tensor is rounded before it meets its weight.
    pub normalized_rounding: NormalizedRounding,
    /// A second affine map.
    pub modulation: Option<Modulation>,
    /// What becomes of the normalized tensor.
    pub epilogue: Option<Epilogue>,
    /// The axes of the input that an operand has.
    pub operand_axes: BTreeMap<String, Vec<usize>>,
    /// Operands that are views of stored tensors.
    pub views: BTreeMap<String, View>,
    /// How the output is quantised.
    pub quantise: Option<Quantise>,
}

/// What is normalized.
#[derive(Deserialize)]
pub struct Prologue {
    /// What the input is multiplied with.
    pub multiplier: Multiplier,
    /// Whether a residual is added.
    pub residual: bool,
    /// Whether a bias is added.
    pub bias: bool,
    /// What statistics see of the sum.
    pub rounding: SumRounding,
    #[serde(default = "negative_slope")]
    negative_slope: f32,
}

/// What an input is multiplied with.
#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Multiplier {
    /// A parameter.
    Gate,
    /// Nothing, or the activation of a tensor.
    #[serde(untagged)]
    Activation(Function),
}

/// What statistics see of a sum.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum SumRounding {
    /// The sum.
    Exact,
    /// The sum as it is stored.
    AsStored,
}

/// Whether a normalized tensor is rounded.
#[derive(Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "snake_case")]
pub enum NormalizedRounding {
    /// It is not.
    #[default]
    None,
    /// To the type of the output.
    AsOutput,
}

/// A second affine map.
#[derive(Deserialize)]
pub struct Modulation {
    /// Whether it has a factor.
    pub scale: bool,
    /// Whether it has a summand.
    pub shift: bool,
    /// What is added to the factor: 0 or 1.
    pub scale_offset: u32,
}

/// What becomes of a normalized tensor.
#[derive(Deserialize)]
pub struct Epilogue {
    /// Whether a tensor is added before the activation.
    pub addend: bool,
    /// The activation.
    pub activation: Function,
    /// The activation of a tensor that is a factor.
    pub gate: Function,
    /// Whether a parameter is a factor.
    pub out_gate: bool,
    /// Whether a tensor is added in the end.
    pub out_residual: bool,
    /// A number that is a factor.
    pub factor: f32,
    #[serde(default = "negative_slope")]
    negative_slope: f32,
}

/// How an output is quantised.
#[derive(Deserialize)]
pub struct Quantise {
    format: Format,
    scale: Scale,
    block: Option<u64>,
    min_scale: Option<f32>,
}

/// What a quantised number is.
#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Whole numbers.
    Int8,
    /// float8 e4m3fn.
    E4m3,
}

/// Which elements share a scale.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Scale {
    Row,
    Block,
    Static,
}

impl Quantise {
    /// In the engine's words.
    pub fn quantization(&self) -> Quantization {
        let format = if self.format == Format::Int8 { QuantFormat::Int8 } else { QuantFormat::E4m3 };
        let how = Quantization::new(
            format,
            match self.scale {
                Scale::Row => QuantScale::Row,
                Scale::Block => QuantScale::Block { columns: self.block.unwrap_or(1) },
                Scale::Static => QuantScale::Static,
            },
        );
        how.least(self.min_scale.unwrap_or(how.least))
    }

    /// Type of the stored bytes.
    pub fn dtype(&self) -> Dtype {
        if self.format == Format::Int8 { Dtype::I8 } else { Dtype::U8 }
    }
}

/// Name of an activation.
#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// None.
    None,
    /// `max(t, 0)`.
    Relu,
    /// With a slope below 0.
    LeakyRelu,
    /// `t * sigmoid(t)`.
    Silu,
    /// With the error function.
    Gelu,
    /// With a hyperbolic tangent.
    GeluTanh,
    /// `1 / (1 + exp(-t))`.
    Sigmoid,
}

/// A view of a stored tensor, in elements.
#[derive(Deserialize)]
pub struct View {
    /// The stored tensor.
    pub of: String,
    /// Sizes of the axes.
    pub shape: Vec<u64>,
    /// Distances along the axes.
    pub strides: Vec<u64>,
    /// The first element.
    pub offset: u64,
}

/// PyTorch's.
fn negative_slope() -> f32 {
    0.01
}

impl Prologue {
    /// The multiplier's activation; `None` where it is none.
    pub fn activation(&self) -> Option<Activation> {
        match self.multiplier {
            Multiplier::Gate => None,
            Multiplier::Activation(function) => function.activation(self.negative_slope),
        }
    }
}

impl Epilogue {
    /// Of the normalized tensor and of z; `None` where there is none.
    pub fn activations(&self) -> [Option<Activation>; 2] {
        [self.activation, self.gate].map(|function| function.activation(self.negative_slope))
    }
}

impl Function {
    fn activation(self, slope: f32) -> Option<Activation> {
        Some(match self {
            Self::None => return None,
            Self::Relu => Activation::Relu,
            Self::LeakyRelu => Activation::LeakyRelu { slope },
            Self::Silu => Activation::Silu,
            Self::Gelu => Activation::Gelu,
            Self::GeluTanh => Activation::GeluTanh,
            Self::Sigmoid => Activation::Sigmoid,
        })
    }
}
