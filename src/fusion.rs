//! What stands around a norm: residuals, biases, gates, modulation, activations, quantised outputs.
//!
//! One algebra, of which everything absent changes nothing:
//!
//! ```text
//! prologue   s = x * m + c + r                         m: 1, a gate over a partition, or act(z) of a tensor z
//! norm       h = N(s)
//! affine     u = h * (scale + o) + bias;   v = u * (g + o') + t
//! epilogue   y = factor * act1(v + e) * act2(z) * q + r'
//! ```

use crate::element::Element;

/// A function of one number. For use with [`Multiplier::Activation`] and [`Epilogue`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Activation {
    /// `t`.
    #[default]
    Identity,
    /// `max(t, 0)`; its slope at 0 is 0.
    Relu,
    /// `t` where positive, else `slope * t`; its slope at 0 is `slope`.
    LeakyRelu {
        /// The slope below 0, any finite number.
        slope: f32,
    },
    /// `t * sigmoid(t)`, also called swish.
    Silu,
    /// `t * (1 + erf(t / sqrt(2))) / 2`.
    Gelu,
    /// `t * (1 + tanh(sqrt(2 / pi) * (t + 0.044715 t^3))) / 2`.
    GeluTanh,
    /// `1 / (1 + exp(-t))`.
    Sigmoid,
}

/// What the input is multiplied with before it is normalized. For use with [`Prologue::multiplier`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Multiplier<'a> {
    /// Nothing: 1.
    #[default]
    None,
    /// A parameter that varies along these axes of the shape, ascending: [`FusedArgs::gate`].
    ///
    /// [`FusedArgs::gate`]: crate::FusedArgs::gate
    Gate(&'a [usize]),
    /// An activation of a tensor of the input's shape: [`FusedArgs::z`].
    ///
    /// [`FusedArgs::z`]: crate::FusedArgs::z
    Activation(Activation),
}

/// Whether statistics see a sum as it is or as it is stored. For use with [`Prologue::rounding`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SumRounding {
    /// As it is, in f32 (flash-attention, QuACK, FlashInfer).
    #[default]
    Exact,
    /// Rounded to this type (Hugging Face, vLLM, Liger).
    AsStored(Element),
}

/// What is normalized: `s = x * m + c + r`. For use with [`Fusion::prologue`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Prologue<'a> {
    /// m, of the input.
    pub multiplier: Multiplier<'a>,
    /// c, a parameter that varies along these axes, ascending.
    pub bias: Option<&'a [usize]>,
    /// r, a tensor that has these axes, ascending, and is the same along all others; usually all of them.
    pub residual: Option<&'a [usize]>,
    /// What statistics see of the sum.
    pub rounding: SumRounding,
}

impl<'a> Prologue<'a> {
    /// Adds a residual of the shape's axes `axes` (all of them: [`ALL_AXES`] up to the rank).
    pub const fn residual(axes: &'a [usize]) -> Self {
        let (multiplier, rounding) = (Multiplier::None, SumRounding::Exact);
        Self { multiplier, bias: None, residual: Some(axes), rounding }
    }

    /// With a multiplier of the input.
    pub const fn multiplier(self, multiplier: Multiplier<'a>) -> Self {
        Self { multiplier, ..self }
    }

    /// With a bias that varies along these axes.
    pub const fn bias(self, axes: &'a [usize]) -> Self {
        Self { bias: Some(axes), ..self }
    }

    /// With another rounding of the sum.
    pub const fn rounding(self, rounding: SumRounding) -> Self {
        Self { rounding, ..self }
    }
}

/// The axes of a tensor of the largest rank: `&ALL_AXES[..rank]` are all of one.
pub const ALL_AXES: [usize; crate::MAX_RANK] = [0, 1, 2, 3, 4, 5, 6, 7];

/// A second affine map, over a partition of its own: `v = u * (g + o') + t`. For use with [`Fusion::modulation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Modulation<'a> {
    /// The axes along which both vary, ascending. They have to hold those of scale and bias, or the other way round.
    pub axes: &'a [usize],
    /// Whether there is a g.
    pub scale: bool,
    /// Whether there is a t.
    pub shift: bool,
    /// o': whether 1 is added to g.
    pub one_plus: bool,
}

impl<'a> Modulation<'a> {
    /// `u * (1 + g) + t`, as diffusion transformers have it.
    pub const fn new(axes: &'a [usize]) -> Self {
        Self { axes, scale: true, shift: true, one_plus: true }
    }
}

/// What becomes of the normalized tensor: `y = factor * act1(v + e) * act2(z) * q + r'`. For use with
/// [`Fusion::epilogue`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Epilogue<'a> {
    /// Whether there is an e, a tensor of the input's shape.
    pub addend: bool,
    /// act1.
    pub activation: Activation,
    /// act2, of a tensor z of the input's shape; none: no z.
    pub gate: Option<Activation>,
    /// The axes along which q varies, ascending.
    pub out_gate: Option<&'a [usize]>,
    /// Whether there is an r', a tensor of the input's shape.
    pub out_residual: bool,
    /// A finite number.
    pub factor: f32,
}

impl Default for Epilogue<'_> {
    fn default() -> Self {
        let (activation, gate, out_gate) = (Activation::Identity, None, None);
        Self { addend: false, activation, gate, out_gate, out_residual: false, factor: 1.0 }
    }
}

impl<'a> Epilogue<'a> {
    /// An activation alone.
    pub fn activation(activation: Activation) -> Self {
        Self { activation, ..Self::default() }
    }

    /// The activation of a tensor z as a factor.
    pub const fn gate(self, gate: Activation) -> Self {
        Self { gate: Some(gate), ..self }
    }

    /// With a tensor that is added before the activation.
    pub const fn addend(self) -> Self {
        Self { addend: true, ..self }
    }

    /// With a parameter as a factor, which varies along these axes.
    pub const fn out_gate(self, axes: &'a [usize]) -> Self {
        Self { out_gate: Some(axes), ..self }
    }

    /// With a tensor that is added in the end.
    pub const fn out_residual(self) -> Self {
        Self { out_residual: true, ..self }
    }

    /// With a number as a factor.
    pub const fn factor(self, factor: f32) -> Self {
        Self { factor, ..self }
    }
}

/// Whether the normalized tensor is rounded before it meets its scale. For use with [`Fusion::normalized_rounding`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NormalizedRounding {
    /// It is not: PyTorch's and Gemma's order.
    #[default]
    None,
    /// To the type of the output: the order of Llama's RMSNorm.
    AsOutput,
}

/// What a quantized number is. For use with [`Quantization::format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QuantFormat {
    /// Whole numbers from -128 to 127.
    Int8,
    /// float8 e4m3fn: four bits of exponent, three of mantissa, NaN and no infinity, 448 the largest.
    E4m3,
}

/// Which elements share a scale. For use with [`Quantization::scale`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QuantScale {
    /// Those of a row, the last axis: `scales` has the shape without it.
    Row,
    /// So many columns of a row; the last block of a row may have fewer. `scales` has a row of blocks for each row.
    Block {
        /// Columns of a block, 1 or more.
        columns: u64,
    },
    /// All: the one scale is given.
    Static,
}

/// The result as bytes: `q = y / scale` to the nearest, ties to even, where y is the result rounded to the output's
/// type and `scale = max(max |y| / largest number of the format, least)`. For use with [`Fusion::quantization`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Quantization {
    /// What a number becomes.
    pub format: QuantFormat,
    /// Which elements share a scale.
    pub scale: QuantScale,
    /// The least scale, above 0: what a row of zeros has.
    pub least: f32,
}

impl Quantization {
    /// With the least scales of vLLM: the machine epsilon for int8, 1 / (448 * 512) for e4m3.
    pub const fn new(format: QuantFormat, scale: QuantScale) -> Self {
        let least = match format {
            QuantFormat::Int8 => f32::EPSILON,
            QuantFormat::E4m3 => 1.0 / (448.0 * 512.0),
        };
        Self { format, scale, least }
    }

    /// With another least scale.
    pub const fn least(self, least: f32) -> Self {
        Self { least, ..self }
    }
}

/// What stands around a norm. For use with [`NormDescriptor::fusion`]; the default is nothing.
///
/// ```
/// use wgpu_norm::*;
///
/// // add and RMS: the norm of x + r
/// let add_rms = Fusion::default().prologue(Prologue::residual(&ALL_AXES[..2]));
/// // group norm and SiLU
/// let silu = Fusion::default().epilogue(Epilogue::activation(Activation::Silu));
/// // AdaLN-Zero over N,T,C: the norm of x * gate + r, modulated, a gate, scale and shift a sample and channel
/// let gated = Prologue::residual(&ALL_AXES[..3]).multiplier(Multiplier::Gate(&[0, 2]));
/// let ada_zero = Fusion::default().prologue(gated).modulation(Modulation::new(&[0, 2]));
/// // RMS, then a gate: N(x) * silu(z)
/// let gated_rms = Fusion::default().epilogue(Epilogue::default().gate(Activation::Silu));
/// for (kind, shape, fusion) in [
///     (NormKind::Rms { axes: 1..2 }, &[4096, 2048][..], add_rms),
///     (NormKind::Group { groups: 32 }, &[2, 320, 64, 64], silu),
///     (NormKind::Layer { axes: 2..3 }, &[2, 256, 1152], ada_zero),
///     (NormKind::Rms { axes: 2..3 }, &[4096, 32, 128], gated_rms),
/// ] {
///     NormDescriptor { fusion, ..NormDescriptor::new(kind, shape) }.validate().unwrap();
/// }
/// ```
///
/// `docs/fusions.md` goes from the names of other libraries to fusions.
///
/// [`NormDescriptor::fusion`]: crate::NormDescriptor::fusion
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Fusion<'a> {
    /// What is normalized.
    pub prologue: Prologue<'a>,
    /// o: whether 1 is added to the scale, as Gemma's RMSNorm does.
    pub one_plus_scale: bool,
    /// Whether the normalized tensor is rounded before it meets its scale.
    pub normalized_rounding: NormalizedRounding,
    /// A second affine map.
    pub modulation: Option<Modulation<'a>>,
    /// What becomes of the normalized tensor.
    pub epilogue: Epilogue<'a>,
    /// Whether the result goes out as bytes. Forward only; [`ForwardArgs::output`](crate::ForwardArgs::output) is then
    /// where they go, an element a byte, from any byte on.
    pub quantization: Option<Quantization>,
}

impl<'a> Fusion<'a> {
    /// With a prologue.
    pub const fn prologue(self, prologue: Prologue<'a>) -> Self {
        Self { prologue, ..self }
    }

    /// With 1 added to the scale.
    pub const fn one_plus_scale(self) -> Self {
        Self { one_plus_scale: true, ..self }
    }

    /// With another rounding of the normalized tensor.
    pub const fn normalized_rounding(self, normalized_rounding: NormalizedRounding) -> Self {
        Self { normalized_rounding, ..self }
    }

    /// With a second affine map.
    pub const fn modulation(self, modulation: Modulation<'a>) -> Self {
        Self { modulation: Some(modulation), ..self }
    }

    /// With an epilogue.
    pub const fn epilogue(self, epilogue: Epilogue<'a>) -> Self {
        Self { epilogue, ..self }
    }
    /// With a result of bytes.
    pub const fn quantization(self, quantization: Quantization) -> Self {
        Self { quantization: Some(quantization), ..self }
    }
}
