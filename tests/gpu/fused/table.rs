//! Norms, and what is put around them.

use super::case::{Arriving, Case, Way};
use crate::harness::{Gpu, families};
use wgpu_norm::*;

use MemoryFormat::{ChannelsFirst, ChannelsLast};

/// A norm and the axes that parameters around it may vary along: a few for all rows, and a part of the tensor's.
pub struct Base {
    pub norm: NormDescriptor<'static>,
    /// Those of the norm's own parameters.
    own: &'static [usize],
    /// Fewer than those of the norm's own.
    pub coarse: &'static [usize],
    /// More.
    fine: &'static [usize],
}

pub fn bases() -> Vec<Base> {
    let base = |kind, shape, format, [own, coarse, fine]: [&'static [usize]; 3]| Base {
        norm: NormDescriptor { format, affine: Affine::ScaleAndBias, ..NormDescriptor::new(kind, shape) },
        own,
        coarse,
        fine,
    };
    let mut grouped = base(NormKind::Rms { axes: 2..3 }, &[5, 3, 34], ChannelsFirst, [&[1, 2], &[2], &[1, 2]]);
    grouped.norm.affine_axes = AffineAxes::Axes(&[1, 2]);
    vec![
        base(NormKind::Layer { axes: 1..2 }, &[7, 61], ChannelsFirst, [&[1], &[], &[0, 1]]),
        base(NormKind::Rms { axes: 2..3 }, &[2, 6, 130], ChannelsFirst, [&[2], &[], &[0, 2]]),
        grouped,
        base(NormKind::Group { groups: 3 }, &[2, 6, 5, 4], ChannelsFirst, [&[1], &[], &[0, 1]]),
        base(NormKind::Group { groups: 2 }, &[2, 31, 6], ChannelsLast, [&[2], &[], &[0, 2]]),
        base(NormKind::Instance, &[2, 5, 33], ChannelsFirst, [&[1], &[], &[0, 1]]),
        base(NormKind::Instance, &[3, 40, 7], ChannelsLast, [&[2], &[], &[0, 2]]),
        base(NormKind::Batch, &[3, 5, 22], ChannelsFirst, [&[1], &[], &[0, 1]]),
        base(NormKind::Batch, &[3, 17, 12], ChannelsLast, [&[2], &[], &[0, 2]]),
        base(NormKind::Layer { axes: 0..1 }, &[65, 6], ChannelsFirst, [&[0], &[], &[0, 1]]),
        base(NormKind::Layer { axes: 1..2 }, &[2, 40_003], ChannelsFirst, [&[1], &[], &[1]]),
    ]
}

pub fn gated(b: &Base) -> Fusion<'static> {
    let prologue = Prologue::residual(&ALL_AXES[..b.norm.shape.len()]).multiplier(Multiplier::Gate(b.own)).bias(b.own);
    let epilogue = Epilogue::activation(Activation::Silu).gate(Activation::Sigmoid).addend().out_gate(b.fine);
    let fusion = Fusion::default().prologue(prologue).modulation(Modulation::new(b.fine));
    fusion.epilogue(epilogue.factor(0.5)).one_plus_scale()
}

pub fn activated(b: &Base) -> Fusion<'static> {
    let prologue = Prologue::residual(b.own).multiplier(Multiplier::Activation(Activation::LeakyRelu { slope: 0.25 }));
    let prologue = prologue.bias(b.coarse).rounding(SumRounding::AsStored(Element::Bf16));
    Fusion::default().prologue(prologue).epilogue(Epilogue::activation(Activation::Gelu).out_gate(b.coarse).addend())
}

fn added(b: &Base) -> Fusion<'static> {
    let prologue = Prologue::residual(&ALL_AXES[..b.norm.shape.len()]);
    let modulation = Modulation { axes: b.coarse, scale: true, shift: true, one_plus: false };
    Fusion::default().prologue(prologue).modulation(modulation)
}

/// Families of schedules, forward and backward, of every norm, each with one fusion after the other: every second one
/// of a norm, since norms share most.
pub fn by_schedules(gpu: &Gpu) -> Vec<Case> {
    let mut all = Vec::new();
    for (k, base) in bases().into_iter().enumerate() {
        let forward = families(gpu.engine.schedules(&base.norm).unwrap()).len();
        let backward = families(gpu.engine.create_norm(&base.norm).unwrap().backward_schedules()).len();
        for turn in ((k + 1) % 2..forward.max(backward)).step_by(2) {
            let n = k + turn;
            let fusion = [gated, activated, added][n % 3](&base);
            let types = [Types::default(), Types::all(Element::Bf16), Types::tensors(Element::F16)][n / 3 % 3];
            let over = [Arriving::OverInput, Arriving::Apart, Arriving::None][n % 3];
            let way = Way {
                picks: [turn, turn],
                shared: n % 2 == 0,
                padded: n % 4 == 1,
                in_place: n % 4 == 2,
                typed: false,
                given: matches!(base.norm.kind, NormKind::Batch | NormKind::Instance) && n % 4 == 3,
                arriving: if over == Arriving::OverInput && types.grad_input != Element::F32 {
                    Arriving::Apart
                } else {
                    over
                },
            };
            all.push(Case { descriptor: NormDescriptor { types, fusion, ..base.norm.clone() }, way, seed: n as u64 });
        }
    }
    all
}

/// Each part of a fusion with one or two others, over rows of odd width.
pub fn parts() -> Vec<Case> {
    use Activation::*;
    const ALL: &[usize] = &[0, 1, 2];
    let new = Prologue::default;
    let after = Epilogue::default;
    let both = |prologue, epilogue| Fusion::default().prologue(prologue).epilogue(epilogue);
    let act = |activation| new().multiplier(Multiplier::Activation(activation));
    let modulation = |axes, scale, shift, one_plus| Modulation { axes, scale, shift, one_plus };
    let stored = |element| Prologue::residual(ALL).rounding(SumRounding::AsStored(element));
    let all = [
        both(new().multiplier(Multiplier::Gate(&[0, 2])), after().addend()),
        both(new().bias(&[1]), after().out_gate(&[0])),
        both(Prologue::residual(&[1, 2]), after().out_residual()),
        both(Prologue::residual(&[1]).bias(&[1, 2]), after().factor(-3.0)),
        both(stored(Element::F16), after()).one_plus_scale().modulation(modulation(&[], true, true, true)),
        both(stored(Element::F32), after()).modulation(modulation(&[0, 2], true, false, false)),
        Fusion::default().modulation(modulation(&[0, 2], false, true, false)),
        both(act(Silu).bias(&[2]), after().addend()),
        both(act(LeakyRelu { slope: -0.5 }), Epilogue::activation(Relu).out_residual()),
        both(Prologue::residual(ALL), Epilogue::activation(LeakyRelu { slope: -0.5 }).gate(Silu)),
        both(new(), Epilogue::activation(Silu).gate(Gelu)),
        both(new(), Epilogue::activation(Gelu).gate(Sigmoid)),
        both(new(), Epilogue::activation(Sigmoid).gate(GeluTanh)),
        both(new(), Epilogue::activation(GeluTanh).gate(Relu)),
        both(new(), after().gate(Identity)),
    ];
    let case = |(k, fusion): (usize, Fusion<'static>)| {
        let norm = NormDescriptor::new(NormKind::Layer { axes: 2..3 }, &[2, 3, 37]);
        let way = Way { padded: k % 2 == 0, shared: k % 3 == 0, ..Way::default() };
        Case { descriptor: NormDescriptor { fusion, ..norm }, way, seed: k as u64 }
    };
    all.into_iter().enumerate().map(case).collect()
}
