//! Random norms with random things around them, of small sizes.

use super::case::{Arriving, Case, Way};
use crate::harness::Gpu;
use wgpu_norm::*;

fn leak<T>(values: Vec<T>) -> &'static [T] {
    Box::leak(values.into_boxed_slice())
}

/// Some axes of a tensor, ascending, any number of them.
fn axes(rng: &mut fastrand::Rng, rank: usize) -> &'static [usize] {
    let mask = rng.usize(..1 << rank);
    leak((0..rank).filter(|axis| mask >> axis & 1 > 0).collect())
}

fn activation(rng: &mut fastrand::Rng) -> Activation {
    use Activation::*;
    [Identity, Relu, LeakyRelu { slope: 0.25 }, Silu, Gelu, GeluTanh, Sigmoid][rng.usize(..7)]
}

fn element(rng: &mut fastrand::Rng) -> Element {
    [Element::F32, Element::F16, Element::Bf16][rng.usize(..3)]
}

fn types(rng: &mut fastrand::Rng) -> Types {
    match rng.u8(..4) {
        0 => Types::default(),
        1 => Types::all(element(rng)),
        2 => Types::tensors(element(rng)),
        _ => {
            let types = Types::default().input(element(rng)).output(element(rng)).grad_output(element(rng));
            let types = types.grad_input(element(rng)).scale(element(rng)).bias(element(rng));
            types.grad_scale(element(rng)).grad_bias(element(rng))
        }
    }
}

fn prologue(rng: &mut fastrand::Rng, rank: usize) -> Prologue<'static> {
    let all = &ALL_AXES[..rank];
    let some = match rng.u8(..4) {
        0 => Prologue::default(),
        1 => Prologue::residual(axes(rng, rank)),
        _ => Prologue::residual(all),
    };
    let some = match rng.u8(..4) {
        0 => some.multiplier(Multiplier::Gate(axes(rng, rank))),
        1 => some.multiplier(Multiplier::Activation(activation(rng))),
        _ => some,
    };
    let some = if rng.u8(..3) == 0 { some.bias(axes(rng, rank)) } else { some };
    // sums that are rounded are of numbers whose sum is exact: no activation but these
    let exact = match some.multiplier {
        Multiplier::Activation(activation) => {
            matches!(activation, Activation::Identity | Activation::Relu | Activation::LeakyRelu { .. })
        }
        _ => true,
    };
    if exact && rng.u8(..3) == 0 { some.rounding(SumRounding::AsStored(element(rng))) } else { some }
}

fn epilogue(rng: &mut fastrand::Rng, rank: usize, gates: bool) -> Epilogue<'static> {
    let some = Epilogue::activation(if rng.bool() { activation(rng) } else { Activation::Identity });
    let some = if gates && rng.u8(..3) == 0 { some.gate(activation(rng)) } else { some };
    let some = if rng.u8(..3) == 0 { some.addend() } else { some };
    let some = if rng.u8(..3) == 0 { some.out_gate(axes(rng, rank)) } else { some };
    let some = if rng.u8(..3) == 0 { some.out_residual() } else { some };
    if rng.u8(..4) == 0 { some.factor(-0.5) } else { some }
}

/// The case of a seed; none where its axes do not go together.
pub fn case(gpu: &Gpu, seed: u64) -> Option<Case> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let rng = &mut rng;
    let rank = rng.usize(2..5);
    let widths = [3, 4, 5, 6, 7, 8, 9, 12, 13];
    let mut shape: Vec<u64> = (0..rank).map(|_| widths[rng.usize(..widths.len())]).collect();
    let format = if rng.bool() { MemoryFormat::ChannelsLast } else { MemoryFormat::ChannelsFirst };
    if rng.u8(..3) == 0 {
        shape[rank - 1] = [66, 127, 64, 33][rng.usize(..4)];
    }
    if rank == 2 && rng.u8(..8) == 0 {
        shape[1] = [1021, 2050, 4096][rng.usize(..3)];
    }
    let channels = if format == MemoryFormat::ChannelsLast { shape[rank - 1] } else { shape[1] };
    let (a, b) = (rng.usize(..rank), rng.usize(..rank));
    let range = a.min(b)..a.max(b) + 1;
    let kind = match rng.u8(..7) {
        0 => NormKind::Batch,
        1 => NormKind::Instance,
        2 => NormKind::Group { groups: (1..=channels).find(|g| channels % g == 0 && *g > 1).unwrap_or(1) },
        3 => NormKind::Layer { axes: range },
        4 => NormKind::Rms { axes: range },
        5 => NormKind::Rms { axes: rank - 1..rank },
        _ => NormKind::Layer { axes: rank - 1..rank },
    };
    let affine = [Affine::None, Affine::Scale, Affine::Bias, Affine::ScaleAndBias][rng.usize(..4)];
    let affine_axes = if rng.u8(..5) == 0 { AffineAxes::Axes(axes(rng, rank)) } else { AffineAxes::OfKind };
    let mut fusion = Fusion::default();
    if rng.u8(..4) > 0 {
        fusion = fusion.prologue(prologue(rng, rank));
    }
    if rng.u8(..3) == 0 {
        let (scale, shift) = [(true, true), (true, false), (false, true)][rng.usize(..3)];
        fusion = fusion.modulation(Modulation { axes: axes(rng, rank), scale, shift, one_plus: scale && rng.bool() });
    }
    if rng.u8(..4) > 0 {
        let gates = !matches!(fusion.prologue.multiplier, Multiplier::Activation(_));
        fusion = fusion.epilogue(epilogue(rng, rank, gates));
    }
    if affine.has_scale() && rng.u8(..4) == 0 {
        fusion = fusion.one_plus_scale();
    }
    if rng.u8(..6) == 0 {
        fusion = fusion.normalized_rounding(NormalizedRounding::AsOutput);
    }
    let whole = fusion.prologue.residual.is_some_and(|axes| axes.len() == rank);
    let types = types(rng);
    let typed = rng.u8(..3) == 0;
    let mut arriving = [Arriving::None, Arriving::Apart, Arriving::OverInput, Arriving::OverResidual][rng.usize(..4)];
    // what lies over another has its type: that of arriving gradients
    let over = match arriving {
        Arriving::OverInput => types.grad_input == Element::F32 && !typed,
        Arriving::OverResidual => whole && !typed,
        _ => true,
    };
    if !over {
        arriving = Arriving::Apart;
    }
    let way = Way {
        picks: [if rng.bool() { 0 } else { rng.usize(..8) }, if rng.bool() { 0 } else { rng.usize(..8) }],
        shared: rng.bool(),
        padded: rng.u8(..3) == 0,
        in_place: rng.u8(..4) == 0,
        typed,
        given: matches!(kind, NormKind::Batch | NormKind::Instance) && rng.u8(..4) == 0,
        arriving,
    };
    let shape = leak(shape);
    let single_element = SingleElement::Allow;
    let descriptor = NormDescriptor {
        format,
        affine,
        affine_axes,
        types,
        fusion,
        single_element,
        ..NormDescriptor::new(kind, shape)
    };
    match gpu.engine.create_norm(&descriptor) {
        // of few elements hardly a gradient is left
        Ok(norm) if norm.segment_len() > 3 => Some(Case { descriptor, way, seed }),
        Ok(_) | Err(PlanError::AxesInterleave { .. } | PlanError::Unrelated { .. }) => None,
        Err(error) => panic!("{descriptor:?}: {error}"),
    }
}
