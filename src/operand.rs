//! The table of operands: what a tensor or record is to a norm. A new operand is a row.

use std::fmt;

/// What an operand consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Elements of a tensor.
    Element,
    /// Records of four f32: moments, gradient sums, coefficients.
    Record,
    /// One u32.
    Counter,
    /// Bytes that a norm divides as it likes.
    Bytes,
}

/// What numbers the units of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexedBy {
    /// Elements of the tensor that is normalized.
    Element,
    /// Segments of the affine partition.
    Affine,
    /// Segments of the statistics partition.
    Statistics,
    /// Units of a stage: slices, finer segments.
    Stage,
    /// There is one.
    Whole,
}

/// What loads of an operand give where it is absent: what changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenAbsent {
    One,
    MinusZero,
    Zero,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    pub name: &'static str,
    pub unit: Unit,
    pub indexed_by: IndexedBy,
    pub when_absent: WhenAbsent,
}

macro_rules! operands {
    ($($(#[$doc:meta])* $variant:ident: $name:literal, $unit:ident, $indexed:ident, $absent:ident;)*) => {
        /// An operand of a norm or of one of its kernels, as errors and recipes name it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Operand { $($(#[$doc])* $variant,)* }

        impl Operand {
            pub(crate) const fn spec(self) -> Spec {
                match self {
                    $(Self::$variant => Spec {
                        name: $name,
                        unit: Unit::$unit,
                        indexed_by: IndexedBy::$indexed,
                        when_absent: WhenAbsent::$absent,
                    },)*
                }
            }
        }
    };
}

operands! {
    /// The tensor that is normalized.
    Input: "input", Element, Element, MinusZero;
    /// Where the result goes.
    Output: "output", Element, Element, Zero;
    /// Gradient to the output.
    GradOutput: "grad_output", Element, Element, Zero;
    /// Gradient to the input.
    GradInput: "grad_input", Element, Element, Zero;
    /// Factor of the affine map.
    Scale: "scale", Element, Affine, One;
    /// Summand of the affine map.
    Bias: "bias", Element, Affine, MinusZero;
    /// Gradient to the scale.
    GradScale: "grad_scale", Element, Affine, Zero;
    /// Gradient to the bias.
    GradBias: "grad_bias", Element, Affine, Zero;
    /// Moments of the segments: computed, saved, merged or given.
    Moments: "moments", Record, Statistics, Zero;
    /// Gradient sums of the segments.
    Sums: "sums", Record, Statistics, Zero;
    /// What a map needs of a segment beside its elements.
    Coefficients: "coefficients", Record, Statistics, Zero;
    /// Sums of columns that workgroups leave, 8 bytes a column.
    ColumnSums: "column_sums", Element, Stage, Zero;
    /// Records of slices or finer segments.
    Partials: "partials", Record, Stage, Zero;
    /// Records that a stage writes.
    Records: "records", Record, Stage, Zero;
    /// Plain means.
    Mean: "mean", Element, Statistics, Zero;
    /// Plain variances.
    Variance: "variance", Element, Statistics, Zero;
    /// Variance, 1 / divisor or divisor.
    Spread: "spread", Element, Statistics, Zero;
    /// Running means.
    RunningMean: "running mean", Element, Statistics, Zero;
    /// Running variances.
    RunningVariance: "running variance", Element, Statistics, Zero;
    /// Number of batches, a u32.
    Batches: "batches", Counter, Whole, Zero;
    /// Records of several shards.
    Shards: "records of the shards", Record, Stage, Zero;
    /// The style of an adaptive norm.
    Style: "style", Element, Element, MinusZero;
    /// Gradient to the style.
    GradStyle: "grad_style", Element, Element, Zero;
    /// The weight of a spectral norm.
    Weight: "weight", Element, Element, MinusZero;
    /// Gradient to that weight.
    GradWeight: "grad_weight", Element, Element, Zero;
    /// Left singular vector.
    U: "u", Element, Stage, Zero;
    /// Right singular vector.
    V: "v", Element, Stage, Zero;
    /// Both singular vectors.
    SingularVectors: "u and v", Element, Stage, Zero;
    /// The singular value.
    Sigma: "sigma", Element, Whole, Zero;
    /// A list of f32.
    Numbers: "numbers", Element, Stage, Zero;
    /// The same in another type.
    Rounded: "rounded", Element, Stage, Zero;
    /// What is added to the input before it is normalized.
    Residual: "residual", Element, Element, MinusZero;
    /// A tensor whose activation is a factor.
    Z: "z", Element, Element, One;
    /// A parameter that the input is multiplied with.
    Gate: "gate", Element, Affine, One;
    /// A parameter that is added to the input.
    PrologueBias: "prologue_bias", Element, Affine, MinusZero;
    /// Factor of the second affine map.
    ModulationScale: "modulation_scale", Element, Affine, One;
    /// Summand of the second affine map.
    ModulationShift: "modulation_shift", Element, Affine, MinusZero;
    /// What is added before the activation.
    Addend: "addend", Element, Element, MinusZero;
    /// A parameter that the result is multiplied with.
    OutGate: "out_gate", Element, Affine, One;
    /// What is added to the result.
    OutResidual: "out_residual", Element, Element, MinusZero;
    /// What was normalized.
    Sum: "sum", Element, Element, Zero;
    /// The input before it was multiplied.
    Multiplied: "multiplied", Element, Element, Zero;
    /// A gradient that arrives at the sum.
    Arriving: "arriving", Element, Element, MinusZero;
    /// Gradient to the residual.
    GradResidual: "grad_residual", Element, Element, Zero;
    /// Gradient to the gate of the input.
    GradGate: "grad_gate", Element, Affine, Zero;
    /// Gradient to z.
    GradZ: "grad_z", Element, Element, Zero;
    /// Gradient to the bias of the prologue.
    GradPrologueBias: "grad_prologue_bias", Element, Affine, Zero;
    /// Gradient to the scale of the modulation.
    GradModulationScale: "grad_modulation_scale", Element, Affine, Zero;
    /// Gradient to the shift of the modulation.
    GradModulationShift: "grad_modulation_shift", Element, Affine, Zero;
    /// Gradient to the addend.
    GradAddend: "grad_addend", Element, Element, Zero;
    /// Gradient to the gate of the output.
    GradOutGate: "grad_out_gate", Element, Affine, Zero;
    /// What gradients to the output are multiplied with to that of the gate of the output.
    Core: "core", Element, Element, Zero;
    /// A result before it is quantized.
    Unquantized: "unquantized", Element, Stage, Zero;
    /// The bytes of a quantized result.
    Quantized: "quantized", Bytes, Stage, Zero;
    /// The scales of a quantized result.
    Scales: "scales", Element, Stage, Zero;
    /// The one scale of a quantized result.
    StaticScale: "static_scale", Element, Whole, Zero;
    /// Factor of two affine maps in one.
    ComposedScale: "composed_scale", Element, Stage, Zero;
    /// Summand of two affine maps in one.
    ComposedBias: "composed_bias", Element, Stage, Zero;
    /// Scratch memory.
    Workspace: "workspace", Bytes, Whole, Zero;
}

impl Operand {
    /// Its name in messages, and in kernels.
    pub const fn name(self) -> &'static str {
        self.spec().name
    }

    /// Whether its units are records.
    pub(crate) fn is_record(self) -> bool {
        self.spec().unit == Unit::Record
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
