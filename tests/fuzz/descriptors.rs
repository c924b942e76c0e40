//! Any descriptor: mostly what makes sense, and now and then what does not.

use super::one;
use fastrand::Rng;
use wgpu_norm::*;

/// What descriptors borrow.
pub struct Descriptors {
    pub shape: Vec<u64>,
    style: Vec<u64>,
    /// Sets of axes, ascending for the most part.
    axes: [Vec<usize>; 7],
}

const ELEMENTS: [Element; 3] = [Element::F32, Element::F16, Element::Bf16];

impl Descriptors {
    pub fn new(rng: &mut Rng) -> Self {
        let ranks = if rng.u32(..20) == 0 { &[0, 1, 9][..] } else { &[1, 2, 2, 3, 3, 3, 4, 4, 5, 6, 8] };
        let rank = one(rng, ranks);
        let size = |rng: &mut Rng| match rng.u32(..100) {
            0..6 => 0,
            6..16 => 1,
            16..80 => rng.u64(2..20),
            80..95 => one(rng, &[32, 64, 100, 255, 256, 1000, 1023, 1024, 4099]),
            95..99 => one(rng, &[65_535, 65_536, 70_001]),
            _ if rng.bool() => 5,
            _ => one(rng, &[1 << 24, 1 << 31, 1 << 32, (1 << 40) + 1, u64::MAX / 2, u64::MAX]),
        };
        let shape: Vec<u64> = (0..rank).map(|_| size(rng)).collect();
        let mut style = shape.clone();
        for (axis, own) in style.iter_mut().enumerate() {
            if axis == 0 && rng.bool() {
                *own = 1;
            } else if axis > 1 || rng.u32(..20) == 0 {
                *own = size(rng);
            }
        }
        let axes = |rng: &mut Rng| -> Vec<usize> {
            let some: Vec<usize> = (0..rank).filter(|_| rng.bool()).collect();
            match rng.u32(..90) {
                0 => some.into_iter().rev().collect(),
                1 => some.into_iter().chain([rank]).collect(),
                2 => [some.clone(), some].concat(),
                3..30 => (0..rank).collect(),
                _ => some,
            }
        };
        Self { shape, style, axes: std::array::from_fn(|_| axes(rng)) }
    }

    fn eps(rng: &mut Rng) -> Epsilon {
        let value = match rng.u32(..40) {
            0 => one(rng, &[-1.0, f32::NAN, f32::INFINITY, f32::MAX, 1e-45]),
            1..5 => 0.0,
            _ => 1e-5,
        };
        match rng.u32(..8) {
            0 => Epsilon::AddedToDeviation(value),
            1 if rng.u32(..4) == 0 => Epsilon::Minimum(value),
            2 => Epsilon::Machine,
            3 => Epsilon::AsGiven(value),
            _ => Epsilon::InsideRoot(value),
        }
    }

    fn types(rng: &mut Rng) -> Types {
        let mut any = |many: bool| if many { one(rng, &ELEMENTS) } else { Element::F32 };
        let all = any(true);
        match any(true) {
            Element::F32 => Types::default(),
            Element::F16 => Types::all(all),
            _ => {
                Types::tensors(any(true)).output(any(true)).grad_input(any(true)).scale(any(true)).grad_bias(any(true))
            }
        }
    }

    fn format(rng: &mut Rng) -> MemoryFormat {
        one(rng, &[MemoryFormat::ChannelsFirst, MemoryFormat::ChannelsLast])
    }

    fn kind(&self, rng: &mut Rng) -> NormKind<'_> {
        let rank = self.shape.len();
        let (a, b) = (rng.usize(..rank + 1), rng.usize(..rank + 1));
        let axes = if rng.u32(..30) == 0 { a.max(b) + 1..a.min(b) } else { a.min(b)..a.max(b) };
        let channels = self.shape.get(1).or(self.shape.last()).copied().unwrap_or(1);
        match rng.u32(..8) {
            0 => NormKind::Batch,
            1 => NormKind::Instance,
            2 if rng.u32(..5) == 0 => NormKind::Group { groups: one(rng, &[0, 1, 3, channels, 1 << 40, u64::MAX]) },
            2 => NormKind::Group { groups: (2..9).find(|k| channels.is_multiple_of(*k)).unwrap_or(1) },
            3 => NormKind::Layer { axes },
            4 => NormKind::Rms { axes },
            5 => NormKind::LpNormalize {
                p: one(rng, &[1.0, 2.0, 2.0, 2.5, 3.0, 0.5, 0.0, -1.0, f32::INFINITY, f32::NAN, 1e-20]),
                axes,
            },
            6 => NormKind::Weight { dim: one(rng, &[None, Some(0), Some(a)]) },
            _ => NormKind::MeanVariance { axes: &self.axes[0] },
        }
    }

    fn fusion(&self, rng: &mut Rng) -> Fusion<'_> {
        let [_, _, a, b, c, d, e] = &self.axes;
        let activations = [
            Activation::Identity,
            Activation::Relu,
            Activation::LeakyRelu { slope: one(rng, &[0.1, 0.2, 1.0, 0.0, -3.0, f32::NAN]) },
            Activation::Silu,
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::Sigmoid,
        ];
        let mut yes = |of: u32| rng.u32(..of) == 0;
        let mut prologue = Prologue::default();
        prologue.residual = yes(2).then_some(a);
        prologue.bias = yes(3).then_some(b);
        let [gated, gate_after, modulated, one_plus, quantized, stored] = [3, 3, 3, 4, 6, 4].map(yes);
        if gated {
            let activation = one(rng, &activations);
            prologue.multiplier = one(rng, &[Multiplier::Gate(c), Multiplier::Activation(activation)]);
        }
        if stored {
            prologue = prologue.rounding(SumRounding::AsStored(one(rng, &ELEMENTS)));
        }
        let mut epilogue = Epilogue::activation(one(rng, &activations));
        epilogue.gate = gate_after.then(|| one(rng, &activations));
        (epilogue.addend, epilogue.out_residual) = (rng.bool(), rng.u32(..3) == 0);
        epilogue.out_gate = (rng.u32(..4) == 0).then_some(d);
        epilogue.factor = one(rng, &[1.0, 1.0, 1.0, 1.0, 0.5, -2.0, 0.0, f32::INFINITY]);
        let mut fusion = Fusion::default();
        fusion.prologue = if rng.bool() { prologue } else { Prologue::default() };
        fusion.epilogue = if rng.bool() { epilogue } else { Epilogue::default() };
        fusion.one_plus_scale = one_plus;
        if modulated {
            fusion.modulation = Some(Modulation { scale: rng.bool(), shift: rng.bool(), ..Modulation::new(e) });
        }
        if quantized {
            let scales =
                [QuantScale::Static, QuantScale::Row, QuantScale::Block { columns: one(rng, &[0, 1, 4, 100]) }];
            fusion.quantization =
                Some(Quantization::new(one(rng, &[QuantFormat::Int8, QuantFormat::E4m3]), one(rng, &scales)));
        }
        if rng.u32(..5) == 0 {
            fusion = fusion.normalized_rounding(NormalizedRounding::AsOutput);
        }
        fusion
    }

    pub fn norm(&self, rng: &mut Rng) -> NormDescriptor<'_> {
        let kind = self.kind(rng);
        let mut norm = NormDescriptor::new(kind, &self.shape);
        if rng.bool() {
            norm.affine = one(rng, &[Affine::None, Affine::Scale, Affine::Bias, Affine::ScaleAndBias]);
        }
        if rng.u32(..3) == 0 {
            let grouped = matches!(norm.kind, NormKind::Group { .. }) || rng.u32(..20) == 0;
            let groups = if grouped { AffineAxes::Groups } else { AffineAxes::OfKind };
            norm.affine_axes = one(rng, &[groups, AffineAxes::Axes(&self.axes[1])]);
        }
        if rng.bool() {
            norm.eps = Self::eps(rng);
        }
        norm.format = Self::format(rng);
        norm.types = Self::types(rng);
        norm.single_element = one(rng, &[SingleElement::Allow, SingleElement::Allow, SingleElement::Refuse]);
        if rng.u32(..5) < 2 {
            norm.fusion = self.fusion(rng);
        }
        norm
    }

    pub fn adaptive(&self, rng: &mut Rng) -> AdaptiveDescriptor<'_> {
        let new = AdaptiveDescriptor::new(&self.shape, &self.style);
        AdaptiveDescriptor {
            format: Self::format(rng),
            eps: Self::eps(rng),
            style_eps: one(rng, &[StyleEpsilon::AsContent, StyleEpsilon::None]),
            variance: one(rng, &[Variance::Biased, Variance::Unbiased]),
            single_element: one(rng, &[SingleElement::Allow, SingleElement::Refuse]),
            types: Self::types(rng),
            ..new
        }
    }

    pub fn spectral(&self, rng: &mut Rng) -> SpectralDescriptor<'_> {
        let mut new = SpectralDescriptor::new(&self.shape);
        new.dim = rng.usize(..self.shape.len() + 2);
        new.eps = one(rng, &[1e-12, 0.0, -1.0, f32::NAN]);
        new.order = one(rng, &[PowerOrder::UThenV, PowerOrder::VThenU]);
        new.types = Self::types(rng);
        new
    }
}
