//! Every set of wanted gradients is the same gradients, wherever one arrives; those of nothing are zero.

use super::case::{Arriving, Case, Run, SHARES, Way};
use super::table::{Base, activated, bases, gated};
use crate::harness::*;
use wgpu_norm::*;
use wgpu_norm_tools::tier;

/// Gradients one by one, and each with its neighbour; all pairs of the first norm.
fn sets(all: &[Operand]) -> Vec<Vec<Operand>> {
    let single = all.iter().map(|&one| vec![one]);
    let next = all.iter().zip(all.iter().skip(1).chain(all.first())).map(|(&a, &b)| vec![a, b]);
    single.chain(next).collect()
}

#[test]
fn every_set_of_wanted_gradients_is_the_same_gradients() {
    let gpu = gpu();
    let all = bases();
    let (mut failures, mut cases) = (Vec::new(), 0);
    for (k, base, fusion) in [(0, &all[0], gated(&all[0])), (1, &all[6], activated(&all[6]))] {
        let descriptor = NormDescriptor { fusion, ..base.norm.clone() };
        let case = Case { descriptor, way: Way { shared: k == 1, ..Way::default() }, seed: k };
        let run = Run::forward(gpu, &case).unwrap();
        for wanted in tier::some(sets(&run.numbers.gradients())) {
            cases += 1;
            let results = run.backward(&wanted).and_then(|results| run.compare(&results, SHARES));
            failures.extend(results.err().map(|error| format!("{wanted:?} of {fusion:?}: {error}")));
        }
    }
    all_or_report("sets of gradients", &failures, cases);
}

fn has_residual(fusion: &Fusion<'_>) -> bool {
    fusion.prologue.residual.is_some()
}

/// A gradient that arrives at the sum is added to what leaves it: where it lies alone, or in place of what is written.
#[test]
fn a_gradient_may_arrive_in_place() {
    let gpu = gpu();
    let all = bases();
    let (mut failures, mut cases) = (Vec::new(), 0);
    let added = Fusion::default().prologue(Prologue::residual(&ALL_AXES[..2]));
    let arrivals = [Arriving::None, Arriving::Apart, Arriving::OverInput, Arriving::OverResidual];
    let around = [
        (gated(&all[0]), Types::default()),
        (added, Types::default()),
        (added, Types::all(Element::Bf16).grad_input(Element::F32)),
        (Fusion::default(), Types::default()),
    ];
    let ways = around.iter().flat_map(|around| arrivals.map(|arriving| (around, arriving)));
    let ways = ways.filter(|((fusion, _), arriving)| *arriving != Arriving::OverResidual || has_residual(fusion));
    for (number, (&(fusion, types), arriving)) in tier::some(ways.enumerate()) {
        let descriptor = NormDescriptor { fusion, types, ..all[0].norm.clone() };
        let way = Way { shared: number % 2 == 0, padded: number % 3 == 0, arriving, ..Way::default() };
        let case = Case { descriptor, way, seed: number as u64 };
        let run = Run::forward(gpu, &case).unwrap();
        let terms = [Operand::GradInput, Operand::GradResidual];
        let terms = &terms[..if has_residual(&fusion) { 2 } else { 1 }];
        for wanted in [&run.numbers.gradients()[..], terms] {
            cases += 1;
            let results = run.backward(wanted).and_then(|results| run.compare(&results, SHARES));
            failures.extend(results.err().map(|error| format!("{arriving:?} {wanted:?} of {fusion:?}: {error}")));
        }
    }
    all_or_report("arriving gradients", &failures, cases);
}

/// With nothing else around the norm, and every operand in a buffer of its own: a dispatch has not enough bindings for
/// what it could do by itself then.
#[test]
fn a_gradient_arrives_at_every_norm() {
    let gpu = gpu();
    let (mut failures, mut cases) = (Vec::new(), 0);
    let all = bases();
    let schedules = |base: &Base| families(gpu.engine.create_norm(&base.norm).unwrap().backward_schedules()).len();
    let all = all.iter().flat_map(|base| (0..schedules(base)).map(move |turn| (base, turn)));
    for (base, turn) in tier::some(all) {
        cases += 1;
        let way = Way { picks: [0, turn], arriving: Arriving::Apart, ..Way::default() };
        let case = Case { descriptor: base.norm.clone(), way, seed: cases as u64 };
        let run = Run::forward(gpu, &case).unwrap();
        let results = run.backward(&run.numbers.gradients()).and_then(|results| run.compare(&results, SHARES));
        failures.extend(results.err().map(|error| format!("{turn} of {:?}: {error}", base.norm)));
    }
    all_or_report("gradients that arrive at a plain norm", &failures, cases);
}

#[test]
fn gradients_of_nothing_are_zero() {
    let gpu = gpu();
    const ALL: &[usize] = &[0, 1, 2];
    let epilogue = Epilogue::activation(Activation::Gelu).addend().out_gate(&[1]);
    let broadcast = Prologue::residual(&[1]).bias(&[1, 2]).multiplier(Multiplier::Gate(&[2]));
    let gated = Prologue::residual(ALL).bias(&[2]).multiplier(Multiplier::Activation(Activation::Silu));
    let modulation = Modulation::new(&[1, 2]);
    for (kind, shape) in [
        (NormKind::Layer { axes: 2..3 }, &[0, 3, 5][..]),
        (NormKind::Layer { axes: 1..3 }, &[0, 3, 5]),
        (NormKind::Rms { axes: 2..3 }, &[2, 3, 0]),
        (NormKind::Batch, &[0, 3, 5]),
        (NormKind::Batch, &[2, 3, 0]),
        (NormKind::Instance, &[2, 0, 3]),
    ] {
        for (prologue, types) in [(broadcast, Types::default()), (gated, Types::all(Element::F16))] {
            let fusion = Fusion::default().prologue(prologue).modulation(modulation).epilogue(epilogue);
            let affine = Affine::ScaleAndBias;
            let norm = NormDescriptor { affine, types, fusion, ..NormDescriptor::new(kind.clone(), shape) };
            let case = Case { descriptor: norm, way: Way::default(), seed: 1 };
            let run = Run::forward(gpu, &case).unwrap();
            let results = run.backward(&run.numbers.gradients()).unwrap();
            for (operand, values) in results {
                assert!(values.iter().all(|&x| x == 0.0), "{operand} of {kind:?} {shape:?} is {values:?}");
            }
        }
    }
}
