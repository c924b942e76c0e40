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
