//! Hard numbers: large means, sums that cancel, activations far out, and NaN that stays in its row.

use super::case::{Case, Results, Run, SHARES, Way};
use super::numbers::Numbers;
use crate::harness::*;
use wgpu_norm::*;
use wgpu_norm_tools::tier;

const ALL: &[usize] = &[0, 1];

fn rows(fusion: Fusion<'static>) -> NormDescriptor<'static> {
    NormDescriptor { fusion, ..NormDescriptor::new(NormKind::Layer { axes: 1..2 }, &[5, 131]) }
}

/// A case with other values.
fn run<'a>(gpu: &'a Gpu, case: &'a Case, change: impl Fn(&mut Numbers)) -> Run<'a> {
    let norm = case.norm(gpu).unwrap();
    let mut numbers = case.numbers(&norm);
    change(&mut numbers);
    Run::of(gpu, case, norm, numbers).unwrap()
}

/// Sums that f32 has, of a mean that is large beside their deviation, and of terms that cancel.
#[test]
fn sums_with_large_means_and_of_terms_that_cancel_are_normalized_exactly() {
    let gpu = gpu();
    for (schedule, means) in [(0, [1e4, 5e3]), (1, [1e4, -1e4]), (2, [-3e4, 3e4]), (3, [2e4, 1.0])] {
        let descriptor = rows(Fusion::default().prologue(Prologue::residual(ALL)));
        let case = Case { descriptor, way: Way { picks: [schedule; 2], ..Way::default() }, seed: schedule as u64 };
        let run = run(gpu, &case, |numbers| {
            for (operand, mean) in [Operand::Input, Operand::Residual].into_iter().zip(means) {
                numbers.values(operand).iter_mut().for_each(|x| *x = mean + (*x * 64.0).round() / 64.0);
            }
        });
        run.compare(&run.results, SHARES).unwrap();
        let gradients = run.backward(&run.numbers.gradients()).unwrap();
        run.compare(&gradients, SHARES).unwrap();
    }
}

#[test]
fn activations_far_out_are_their_limits() {
    use Activation::*;
    let gpu = gpu();
    let far = [-1e30f32, -1e4, -90.0, -20.0, -6.0, -0.01, 0.0, 0.01, 6.0, 20.0, 90.0, 1e4, 1e30];
    let activations = [Identity, Relu, LeakyRelu { slope: 0.01 }, Silu, Gelu, GeluTanh, Sigmoid];
    let all = activations.iter().flat_map(|&activation| [Operand::Addend, Operand::Z].map(|of| (activation, of)));
    for (activation, operand) in tier::some(all) {
        // of the sum and of z, each where the other is small
        let epilogue = Epilogue::activation(activation).gate(activation).addend();
        let case = Case { descriptor: rows(Fusion::default().epilogue(epilogue)), way: Way::default(), seed: 5 };
        let run = run(gpu, &case, |numbers| {
            // away from 0, where rounding leaves hardly a digit of the sum
            numbers.values(Operand::Addend).fill(8.0);
            for (k, x) in numbers.values(operand).iter_mut().enumerate() {
                *x = far[k % far.len()];
            }
        });
        let expected = run.numbers.expected(&case.descriptor, false);
        check_each(&run.results, &[(Operand::Output, &expected.forward.output)], activation);
        let own = if operand == Operand::Z { Operand::GradZ } else { Operand::GradAddend };
        let gradients = run.backward(&[own]).unwrap();
        let of = expected.gradients.iter().find(|gradient| gradient.operand == own).unwrap();
        check_each(&gradients, &[(own, &of.values)], activation);
    }
}

/// Every element, to some units in the last place; what is beyond f32 is 0 or infinite.
fn check_each(actual: &Results, expected: &[(Operand, &[f64])], what: Activation) {
    for (operand, expected) in expected {
        let (_, actual) = actual.iter().find(|(of, _)| of == operand).unwrap();
        for (k, (&a, &e)) in actual.iter().zip(*expected).enumerate() {
            // terms of a sum that is near zero are of size 1
            let close = (f64::from(a) - e).abs() <= 4e-6 * e.abs().max(0.5);
            let far = e.abs() > f64::from(f32::MAX) && a == e as f32;
            assert!(close || far, "{operand} {k} of {what:?}: {a:e}, expected {e:e}");
        }
    }
}

/// NaN in a term, in z or in a gradient stays in its row, also where vectors and words belong to two.
#[test]
fn nan_stays_in_its_row() {
    let gpu = gpu();
    let epilogue = Epilogue::activation(Activation::Silu).gate(Activation::Silu).out_residual();
    let fusion = Fusion::default().prologue(Prologue::residual(ALL)).epilogue(epilogue);
    let row = 2 * 131..3 * 131;
    for (types, picks) in
        [(Types::default(), [0, 0]), (Types::tensors(Element::F16), [0, 0]), (Types::default(), [3, 1])]
    {
        let descriptor = NormDescriptor { types, ..rows(fusion) };
        let case = Case { descriptor, way: Way { picks, ..Way::default() }, seed: 3 };
        let plain = run(gpu, &case, |_| ());
        let wanted = [Operand::GradInput, Operand::GradResidual, Operand::GradZ];
        let gradients = plain.backward(&wanted).unwrap();
        for operand in [Operand::Residual, Operand::Z, Operand::OutResidual, Operand::GradOutput] {
            for at in [row.start, row.end - 1] {
                let spoilt = run(gpu, &case, |numbers| numbers.values(operand)[at] = f32::NAN);
                let all = [(&plain.results, &spoilt.results), (&gradients, &spoilt.backward(&wanted).unwrap())];
                let pairs = all.into_iter().flat_map(|(a, b)| a.iter().zip(b));
                let mut spread = 0;
                for ((result, a), (_, b)) in pairs {
                    let same = |k: usize| row.contains(&k) || a[k].to_bits() == b[k].to_bits();
                    let other = (0..a.len()).find(|&k| !same(k));
                    assert_eq!(other, None, "NaN in {operand} reaches {result} {types:?} {picks:?}");
                    spread += b.iter().filter(|x| x.is_nan()).count();
                }
                assert!(spread > 0, "NaN in {operand} is lost");
            }
        }
    }
}
