//! What is measured: a norm, a shape, a memory format, a pass.

use serde::Serialize;
use wgpu_norm::{Affine, MemoryFormat, NormKind, NormPlan, StyleEpsilon, Types, Variance};
use wgpu_norm_tools::around::{Around, Beside, Part};
use wgpu_norm_tools::outline::Which;
use wgpu_norm_tools::types;

use crate::cases::{Case, Kind};
use wgpu_norm_tools::report::Roof;

/// Elements of a contiguous segment that stay on the chip between statistics and output.
const ON_CHIP: u64 = 1 << 16;
/// The same of a row in backward, where input, gradient and the sums for scale and bias stay.
const ON_CHIP_BACKWARD_ROW: u64 = 1 << 14;
/// Elements for which the reference needs no patience.
const BLOCK: u64 = 1 << 22;
/// Mean and 1 / deviation of a segment; without a mean only the latter.
const STATISTICS: u64 = 2;

/// Which norm, with scale and bias where it has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Variant {
    /// Over so many trailing axes.
    Layer(usize),
    /// Over so many trailing axes.
    Rms(usize),
    /// Of order p over so many trailing axes.
    Lp(f32, usize),
    /// From running statistics.
    BatchInference,
    /// By the batch's own.
    BatchTraining,
    /// A sample's channel by itself.
    Instance,
    /// With a style of the content's shape.
    AdaptiveInstance,
    /// So many groups.
    Group(u64),
}

/// Where the channels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// There are none.
    Rows,
    /// Before the spatial axes.
    First,
    /// After them.
    Last,
}

/// Which pass of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pass {
    /// The output alone.
    Forward,
    /// The output, and statistics for backward.
    Training,
    /// The gradients to input, scale and bias, or to as many as there are.
    Backward,
}

/// One norm in one pass.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchCase {
    /// Which norm.
    pub variant: Variant,
    /// Sizes in the order N, C, spatial axes.
    pub shape: Vec<u64>,
    /// Where the channels are.
    pub format: Format,
    /// Which pass.
    pub pass: Pass,
    /// Element types: of tensors, and of parameters.
    pub types: Types,
    /// What stands around the norm.
    pub around: Around,
    /// Sizes as they lie in memory.
    memory: Vec<u64>,
}

/// What has to be moved, and what it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Bytes that no implementation can do without.
    pub min_bytes: u64,
    /// Bytes that the algorithm moves.
    pub bytes: u64,
    /// How many times it moves each element.
    pub roof_elements: u32,
    /// The kernel with its mix of reads and writes.
    pub roof: Roof,
}

impl Variant {
    /// In words.
    pub fn name(self) -> String {
        match self {
            Self::Layer(_) => "layer".to_owned(),
            Self::Rms(_) => "rms".to_owned(),
            Self::Lp(p, _) => format!("lp {p}"),
            Self::BatchInference => "batch inference".to_owned(),
            Self::BatchTraining => "batch training".to_owned(),
            Self::Instance => "instance".to_owned(),
            Self::AdaptiveInstance => "adain".to_owned(),
            Self::Group(groups) => format!("group {groups}"),
        }
    }

    fn trailing_axes(self) -> Option<usize> {
        match self {
            Self::Layer(axes) | Self::Rms(axes) | Self::Lp(_, axes) => Some(axes),
            _ => None,
        }
    }

    /// Whether it has a scale and a bias of its own.
    fn is_affine(self) -> bool {
        !matches!(self, Self::Lp(..) | Self::AdaptiveInstance)
    }

    fn is_centred(self) -> bool {
        !matches!(self, Self::Rms(_) | Self::Lp(..))
    }
}

impl Format {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::First => "channels-first",
            Self::Last => "channels-last",
        }
    }
}

impl Pass {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Training => "training",
            Self::Backward => "backward",
        }
    }
}

impl BenchCase {
    /// A case in f32 over a `shape` in the order N, C, spatial axes, of the rank that the variant needs.
    pub fn new(variant: Variant, shape: &[u64], format: Format, pass: Pass) -> Self {
        let mut memory = shape.to_vec();
        if format == Format::Last {
            memory[1..].rotate_left(1);
        }
        let (types, around) = (Types::default(), Around::None);
        Self { variant, shape: shape.to_vec(), format, pass, types, around, memory }
    }

    /// The same over another shape.
    fn over(&self, shape: &[u64]) -> Self {
        let (types, around) = (self.types, self.around);
        Self { types, around, ..Self::new(self.variant, shape, self.format, self.pass) }
    }

    /// The same in another pass.
    pub fn with(&self, pass: Pass) -> Self {
        Self { pass, ..self.clone() }
    }

    /// The same in other element types.
    pub fn of(&self, types: Types) -> Self {
        Self { types, ..self.clone() }
    }

    /// The same with something around it.
    pub fn amid(&self, around: Around) -> Self {
        Self { around, ..self.clone() }
    }

    /// The same with as many samples as make a tensor of so many bytes, by doubling.
    pub fn grown(&self, bytes: u64) -> Self {
        let mut shape = self.shape.clone();
        let element = self.types.input.bytes();
        while shape.iter().product::<u64>() > 0 && shape.iter().product::<u64>() * element < bytes {
            shape[0] *= 2;
        }
        self.over(&shape)
    }

    /// The same with no more samples than a tensor of so many bytes has, but one.
    pub fn within(&self, bytes: u64) -> Self {
        let mut shape = self.shape.clone();
        let sample = self.types.input.bytes() * shape[1..].iter().product::<u64>();
        shape[0] = shape[0].min(bytes.checked_div(sample).unwrap_or(bytes).max(1));
        self.over(&shape)
    }

    /// A case of fewer samples, and how often a large tensor repeats them: its results are repeated too, the gradients
    /// to scale and bias so many times as large, and the reference has less to compute.
    pub fn block(&self) -> (Self, u64) {
        let samples = self.shape[0];
        let least = self.elements().div_ceil(BLOCK);
        let shared = self.variant.trailing_axes() == Some(self.shape.len());
        let fitting = (least..=samples).find(|count| samples.is_multiple_of(*count)).filter(|_| !shared && least > 1);
        // a block of few elements would be a poor test
        let repeats = fitting.filter(|count| self.elements() / count > BLOCK >> 4).unwrap_or(1);
        let shape = [&[samples / repeats], &self.shape[1..]].concat();
        (self.over(&shape), repeats)
    }

    /// Whether both have the same operands.
    pub fn shares_operands(&self, other: &Self) -> bool {
        *self == other.with(self.pass)
    }

    /// What stands around the norm in its pass.
    pub fn beside(&self, which: Which) -> Beside<Part> {
        self.around.operands(which, &self.memory, &self.types)
    }

    /// A gradient that arrives at the sum before the norm, where a residual is added.
    pub fn arriving(&self) -> Option<Vec<f32>> {
        self.around.is_added_to().then(|| self.case().arriving())
    }

    /// The norm.
    pub fn case(&self) -> Case<'_> {
        let (rank, types) = (self.memory.len(), self.types);
        let format = if self.format == Format::Last { MemoryFormat::ChannelsLast } else { MemoryFormat::ChannelsFirst };
        let kind = Kind::Norm(match self.variant {
            Variant::Layer(axes) => NormKind::Layer { axes: rank - axes..rank },
            Variant::Rms(axes) => NormKind::Rms { axes: rank - axes..rank },
            Variant::Lp(p, axes) => NormKind::LpNormalize { p, axes: rank - axes..rank },
            Variant::BatchInference | Variant::BatchTraining => NormKind::Batch,
            Variant::Instance => NormKind::Instance,
            Variant::Group(groups) => NormKind::Group { groups },
            Variant::AdaptiveInstance => {
                let (variance, style_eps) = (Variance::Biased, StyleEpsilon::AsContent);
                let kind = Kind::Adaptive { style_shape: &self.memory, variance, style_eps };
                return Case { kind, shape: &self.memory, format, types, around: None };
            }
        });
        Case { kind, shape: &self.memory, format, types, around: None }.amid(self.around)
    }

    /// The pass, as plans know it.
    pub fn which(&self) -> Which {
        match self.pass {
            Pass::Forward if self.variant == Variant::BatchInference => Which::Given,
            Pass::Forward => Which::Forward,
            Pass::Training => Which::Training,
            Pass::Backward => Which::Backward,
        }
    }

    /// How its pass is computed.
    pub fn schedule(&self, norm: &NormPlan) -> String {
        match self.which() {
            Which::Given => "given".to_owned(),
            Which::Backward => norm.backward_schedule().to_string(),
            Which::Forward | Which::Training => norm.schedule().to_string(),
        }
    }

    /// The shape in words: `4096x1024`.
    pub fn shape_name(&self) -> String {
        self.shape.iter().map(u64::to_string).collect::<Vec<_>>().join("x")
    }

    /// Which norm, and what stands around it, in words.
    pub fn norm_name(&self) -> String {
        let name = self.variant.name();
        self.around.name().map_or(name.clone(), |around| format!("{name} {around}"))
    }

    /// All of it in words.
    pub fn name(&self) -> String {
        let (variant, shape) = (self.norm_name(), self.shape_name());
        let types = types::suffix(self.types.input.name(), self.types.scale.name());
        format!("{variant} {shape} {} {}{types}", self.format.name(), self.pass.name())
    }

    /// Sizes as they lie in memory.
    pub fn memory(&self) -> &[u64] {
        &self.memory
    }

    /// Sizes of scale and bias.
    pub fn parameter_shape(&self) -> &[u64] {
        match self.variant.trailing_axes() {
            Some(axes) => &self.shape[self.shape.len() - axes..],
            None => &self.shape[1..2],
        }
    }

    /// Elements of a tensor.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    fn channels(&self) -> u64 {
        self.shape.get(1).copied().unwrap_or(1)
    }

    /// Elements that share statistics.
    fn segment_len(&self) -> u64 {
        let sample = self.shape.iter().skip(1).product::<u64>();
        match (self.variant, self.variant.trailing_axes()) {
            (_, Some(axes)) => self.shape[self.shape.len() - axes..].iter().product(),
            (Variant::Group(groups), _) => sample / groups.max(1),
            (Variant::Instance | Variant::AdaptiveInstance, _) => sample / self.channels().max(1),
            _ => self.elements() / self.channels().max(1),
        }
    }

    /// Elements of the scale, and of the bias.
    fn affine_len(&self) -> u64 {
        match self.variant.trailing_axes() {
            _ if !self.variant.is_affine() => 0,
            Some(_) => self.segment_len(),
            None => self.channels(),
        }
    }

    /// Whether a segment can stay on the chip from its statistics to its result, so that it need not be read again.
    /// By the shape alone: a schedule that reads more than it needs gains nothing by it.
    fn stays_on_chip(&self) -> bool {
        let backward = self.pass == Pass::Backward;
        match (self.variant, self.format) {
            // given statistics need no first look
            (Variant::BatchInference, _) => true,
            (Variant::BatchTraining, _) => false,
            // a segment lies scattered over its sample
            (_, Format::Last) => !backward && self.elements() / self.shape[0].max(1) <= ON_CHIP,
            (_, Format::Rows) if backward => self.segment_len() <= ON_CHIP_BACKWARD_ROW,
            _ => self.segment_len() <= ON_CHIP,
        }
    }

    /// What has to be moved.
    pub fn traffic(&self) -> Traffic {
        self.moving(self.around.tensors(self.which()))
    }

    /// What has to be moved where the norm stands alone, and what is around it has kernels of its own.
    pub fn traffic_apart(&self) -> Traffic {
        self.moving(Around::None.tensors(self.which()) + self.around.steps(self.which()))
    }

    /// Bytes of the kernels around the norm, if it stands alone.
    pub fn step_bytes(&self) -> u64 {
        u64::from(self.around.steps(self.which())) * self.types.input.bytes() * self.elements()
    }

    fn moving(&self, tensors: u32) -> Traffic {
        let (elements, backward) = (self.elements(), self.pass == Pass::Backward);
        let styled = self.variant == Variant::AdaptiveInstance;
        let on_chip = self.stays_on_chip();
        let (style, again, roof) = match (backward, styled) {
            (false, false) => (0, 1, Roof::Copy),
            // the style is read too
            (false, true) => (1, 1, Roof::Triad),
            (true, _) => (0, 2, Roof::Triad),
        };
        let tensors = tensors + style;
        let roof_elements = tensors + if on_chip { 0 } else { again };
        let statistics = if self.variant.is_centred() { STATISTICS } else { 1 };
        let statistics = match (self.variant, self.pass) {
            (Variant::BatchInference, _) => STATISTICS * self.channels(),
            (_, Pass::Forward) => 0,
            _ => statistics * elements.checked_div(self.segment_len()).unwrap_or(0),
        };
        let parameters = self.types.scale.bytes() * self.parameters() + 4 * statistics;
        let tensor = self.types.input.bytes() * elements;
        Traffic {
            min_bytes: u64::from(tensors) * tensor + parameters,
            bytes: u64::from(roof_elements) * tensor + parameters,
            roof_elements,
            roof,
        }
    }

    /// Elements of scale and bias as they are read, or of the scale and both gradients; and of what else is no tensor.
    fn parameters(&self) -> u64 {
        let lists = self.beside(self.which()).present().filter(|part| !part.is_tensor);
        let lists: u64 = lists.map(|part| part.len).sum();
        let own = if self.case().descriptor().affine() == Affine::None { 0 } else { self.affine_len() };
        own * if self.pass == Pass::Backward { 3 } else { 2 } + lists
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Format::{First, Last, Rows};
    use Pass::{Backward, Forward, Training};

    #[test]
    fn large_tensors_repeat_blocks_of_samples() {
        let cases: &[(Variant, &[u64], Format, u64)] = &[
            (Variant::Layer(1), &[4096, 1024], Rows, 1),
            (Variant::Layer(1), &[8192, 1024], Rows, 2),
            (Variant::Layer(1), &[15 * 1024, 1024], Rows, 4),
            // a prime number of samples has one block, of one
            (Variant::Layer(1), &[104_729, 1024], Rows, 1),
            (Variant::Layer(1), &[3, 1 << 22], Rows, 3),
            // one segment of all
            (Variant::Layer(2), &[4096, 4096], Rows, 1),
            (Variant::BatchTraining, &[64, 64, 56, 56], Last, 4),
            (Variant::Layer(1), &[0, 1024], Rows, 1),
        ];
        for &(variant, shape, format, expected) in cases {
            let case = BenchCase::new(variant, shape, format, Backward);
            let (block, repeats) = case.block();
            assert_eq!((repeats, block.elements() * repeats), (expected, case.elements()), "{}", case.name());
            assert_eq!(block.shape[1..], case.shape[1..]);
        }
    }

    #[test]
    fn the_algorithm_decides_how_often_elements_move() {
        let planes: &[u64] = &[8, 64, 120, 120];
        let cases: &[(Variant, &[u64], Format, [u32; 2])] = &[
            (Variant::Layer(1), &[4096, 1024], Rows, [2, 3]),
            (Variant::Layer(1), &[64, 16384], Rows, [2, 3]),
            (Variant::Layer(1), &[64, 65536], Rows, [2, 5]),
            (Variant::Rms(1), &[64, 65537], Rows, [3, 5]),
            (Variant::Layer(3), &[2, 64, 32, 32], Rows, [2, 5]),
            (Variant::Instance, &[2, 32, 256, 256], First, [2, 3]),
            (Variant::Instance, &[2, 32, 256, 256], Last, [3, 5]),
            (Variant::Instance, &[32, 512, 7, 7], Last, [2, 5]),
            (Variant::Group(32), planes, First, [2, 3]),
            (Variant::Group(32), planes, Last, [3, 5]),
            (Variant::Group(1), &[4, 64, 1 << 16], First, [3, 5]),
            (Variant::BatchTraining, planes, First, [3, 5]),
            (Variant::BatchInference, planes, Last, [2, 3]),
            (Variant::AdaptiveInstance, planes, First, [3, 3]),
        ];
        for (variant, shape, format, expected) in cases {
            let elements =
                [Forward, Backward].map(|pass| BenchCase::new(*variant, shape, *format, pass).traffic().roof_elements);
            assert_eq!(elements, *expected, "{variant:?} {shape:?} {format:?}");
        }
    }

    #[test]
    fn minimal_bytes_count_every_operand_once() {
        let cases: &[(Variant, &[u64], Pass, u64, Roof)] = &[
            (Variant::Layer(1), &[3, 5], Forward, 15 + 15 + 5 + 5, Roof::Copy),
            (Variant::Layer(1), &[3, 5], Training, 15 + 15 + 5 + 5 + 3 * 2, Roof::Copy),
            (Variant::Layer(1), &[3, 5], Backward, 15 + 15 + 15 + 5 + 5 + 5 + 3 * 2, Roof::Triad),
            (Variant::Rms(2), &[3, 5, 7], Backward, 3 * 105 + 3 * 35 + 3, Roof::Triad),
            (Variant::Lp(2.0, 1), &[3, 5], Forward, 15 + 15, Roof::Copy),
            (Variant::BatchInference, &[2, 3, 4], Forward, 24 + 24 + 3 + 3 + 3 + 3, Roof::Copy),
            (Variant::BatchTraining, &[2, 3, 4], Training, 24 + 24 + 3 + 3 + 3 * 2, Roof::Copy),
            (Variant::Instance, &[2, 3, 4], Backward, 3 * 24 + 3 * 3 + 6 * 2, Roof::Triad),
            (Variant::Group(1), &[2, 3, 4], Forward, 24 + 24 + 3 + 3, Roof::Copy),
            (Variant::AdaptiveInstance, &[2, 3, 4], Forward, 3 * 24, Roof::Triad),
        ];
        for (variant, shape, pass, words, roof) in cases {
            let format = if variant.trailing_axes().is_some() { Rows } else { First };
            let traffic = BenchCase::new(*variant, shape, format, *pass).traffic();
            assert_eq!((traffic.min_bytes, traffic.roof), (words * 4, *roof), "{variant:?} {pass:?}");
        }
    }

    #[test]
    fn what_stands_around_a_norm_moves_less_with_it_than_apart() {
        let wide = |variant, around| BenchCase::new(variant, &[8, 64, 64], Rows, Forward).amid(around);
        let (rms, layer) = (Variant::Rms(1), Variant::Layer(1));
        let batch = BenchCase::new(Variant::BatchTraining, &[8, 64, 64], First, Training);
        for (case, forward, backward) in [
            (wide(rms, Around::Add), [4, 5], [4, 6]),
            (wide(rms, Around::AddLlama), [4, 7], [4, 6]),
            (wide(rms, Around::Llama), [2, 4], [3, 3]),
            (wide(rms, Around::GateBefore), [3, 5], [6, 8]),
            (wide(rms, Around::GateAfter), [3, 5], [5, 8]),
            (wide(layer, Around::AdaLn), [2, 4], [3, 6]),
            (wide(layer, Around::AdaLnZero), [4, 7], [6, 11]),
            (wide(layer, Around::Silu), [2, 4], [3, 6]),
            // statistics of a batch are a pass of their own
            (batch.amid(Around::AddRelu), [4, 6], [7, 8]),
        ] {
            let moved = |case: BenchCase| [case.traffic(), case.traffic_apart()].map(|traffic| traffic.roof_elements);
            assert_eq!((moved(case.clone()), moved(case.with(Backward))), (forward, backward), "{}", case.name());
        }
        // eight samples' shift and scale of 64 each, as f32
        assert_eq!(wide(layer, Around::AdaLn).traffic().min_bytes, 4 * (2 * 8 * 64 * 64 + 2 * 8 * 64));
        assert_eq!(
            wide(rms, Around::Add).of(Types::all(wgpu_norm::Element::Bf16)).name(),
            "rms add 8x64x64 rows forward bf16/bf16"
        );
    }

    #[test]
    fn bytes_are_those_of_the_types() {
        use wgpu_norm::Element::{Bf16, F32};
        // 15 elements a tensor, 5 a parameter, 2 x 3 of statistics
        for (pass, types, expected) in [
            (Forward, Types::all(F32), 4 * 30 + 4 * 10),
            (Forward, Types::tensors(Bf16), 2 * 30 + 4 * 10),
            (Training, Types::all(Bf16), 2 * 30 + 2 * 10 + 4 * 6),
            (Backward, Types::tensors(Bf16), 2 * 45 + 4 * 15 + 4 * 6),
        ] {
            let case = BenchCase::new(Variant::Layer(1), &[3, 5], Rows, pass).of(types);
            assert_eq!(case.traffic().min_bytes, expected, "{}", case.name());
        }
        let case = BenchCase::new(Variant::Layer(1), &[64, 64], Rows, Forward).of(Types::all(Bf16));
        assert_eq!(case.name(), "layer 64x64 rows forward bf16/bf16");
        assert_eq!([case.grown(1 << 15), case.within(1 << 10)].map(|case| case.shape[0]), [256, 8]);
        assert_eq!(case.grown(1 << 15).types, case.types);
    }

    #[test]
    fn shapes_are_named_channels_first_and_lie_as_the_format_says() {
        let case = BenchCase::new(Variant::Group(32), &[8, 64, 120, 100], Last, Forward);
        assert_eq!(case.case().shape, [8, 120, 100, 64]);
        assert_eq!(case.name(), "group 32 8x64x120x100 channels-last forward");
        assert_eq!(BenchCase::new(Variant::Instance, &[2, 3], Last, Forward).case().shape, [2, 3]);
        assert_eq!(case.grown(1 << 30).shape, [512, 64, 120, 100]);
        assert_eq!(BenchCase::new(Variant::Layer(1), &[0, 3], Rows, Forward).grown(1 << 30).shape, [0, 3]);
        assert_eq!(case.within(10 << 20).case().shape, [3, 120, 100, 64]);
        assert_eq!(case.within(1 << 20).shape, [1, 64, 120, 100]);
        assert_eq!(case.within(1 << 30), case);
    }
}
