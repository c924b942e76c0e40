//! Judging an outcome: tensor by tensor, by the rules of `judge.py` beside the recorded cases, and counted as it
//! counts.
//!
//! A tensor passes (`--tolerance peer`) if NaN, +inf and -inf stand where the f64 oracle, rounded to float32, or the
//! recorded result has them, and if elsewhere `|ours - oracle| / scale <= max(2 * recorded error, floor)`, where the
//! floor is 1e-6 for cases in f32, 1e-3 in f16, 8e-3 in bf16.
//!
//! A tensor of a case in f32 is exact (`--tolerance 1e-6`) if that is at most 1e-6, whatever the recorded result is;
//! this is asked of the tensors whose oracle is finite throughout. In a case in 16 bits a tensor is exact (`--tolerance
//! rounding`) if its errors exceed half a step of its type by at most 1e-6, and NaN and infinity stand where the oracle
//! rounded to that type has them; this is asked of all tensors.

use safetensors::Dtype;
use wgpu_norm::{BindError, Element, Operand, PlanError};
use wgpu_norm_tools::check::{Comparison, Misplaced, is_same};
use wgpu_norm_tools::elements;
use wgpu_norm_tools::failure::Failure;

use crate::fused::attributes::Format;
use crate::golden::{Expected, Raises, Store};
use crate::{Array, Outcome, Refusal, Values};

/// Largest error of an exact tensor, in units of the scale.
const EXACT: f64 = 1e-6;
/// Results whose names start so are gradients.
const GRADIENTS: [&str; 6] = ["dx", "dweight", "dbias", "dstyle", "dv", "dg"];
/// Those of family `fused` whose names do not.
const FUSED_GRADIENTS: [&str; 9] =
    ["dresidual", "dgate", "dz", "dprologue_bias", "dmod_scale", "dmod_shift", "daddend", "dout_gate", "dout_residual"];

/// Smallest error that counts in a case of a type, in units of the scale.
fn floor(dtype: Dtype) -> f64 {
    match dtype {
        Dtype::F16 => 1e-3,
        Dtype::BF16 => 8e-3,
        _ => EXACT,
    }
}

/// What a case is worth.
#[derive(Default)]
pub struct Verdict {
    /// How many tensors are good.
    pub tally: Tally,
    /// What is wrong; nothing where the case passes.
    pub faults: Vec<String>,
}

/// How many tensors are good, and how good.
#[derive(Clone, Copy, Default, serde::Serialize)]
pub struct Tally {
    /// Outputs, and refusals.
    pub outputs: Count,
    /// Gradients.
    pub gradients: Count,
    /// Running statistics, the saved ones that are asked for, u, v and sigma.
    pub statistics: Count,
    /// Tensors within 1e-6 of the oracle, beyond one rounding to 16 bits; of those in f32 whose oracle is finite.
    pub exact: Count,
    /// Largest error of a tensor that is good, in units of its scale.
    pub worst_error: f64,
    /// Largest error of the recorded results of the same tensors.
    pub recorded_worst_error: f64,
}

impl Tally {
    /// All tensors, and refusals.
    pub fn tensors(&self) -> Count {
        let mut all = self.outputs;
        all += self.gradients;
        all += self.statistics;
        all
    }

    /// Where a result of this name counts.
    fn of(&mut self, name: &str) -> &mut Count {
        let is = |start: &str| name.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
        match name {
            "sum" => &mut self.outputs,
            _ if is("output") => &mut self.outputs,
            _ if GRADIENTS.into_iter().chain(FUSED_GRADIENTS).any(is) => &mut self.gradients,
            _ => &mut self.statistics,
        }
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.outputs += other.outputs;
        self.gradients += other.gradients;
        self.statistics += other.statistics;
        self.exact += other.exact;
        self.worst_error = self.worst_error.max(other.worst_error);
        self.recorded_worst_error = self.recorded_worst_error.max(other.recorded_worst_error);
    }
}

/// How many of how many are good.
#[derive(Clone, Copy, Default, serde::Serialize)]
pub struct Count {
    /// Good ones.
    pub good: usize,
    /// All.
    pub total: usize,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.good += other.good;
        self.total += other.total;
    }
}

impl Count {
    fn add(&mut self, good: bool) {
        self.total += 1;
        self.good += usize::from(good);
    }
}

/// Judges `outcome` by what was expected.
pub fn judge(expected: &Expected, outcome: &Outcome, store: &Store) -> Result<Verdict, Failure> {
    let mut verdict = Verdict::default();
    match (&expected.raises, outcome) {
        // The recorded framework stumbled there rather than refused: an engine is free.
        (Some(raises), _) if raises.kind == "IndexError" => {}
        (Some(raises), Outcome::Refused(refusal)) if is_reason(raises, refusal) => verdict.tally.outputs.add(true),
        (Some(raises), outcome) => {
            verdict.tally.outputs.add(false);
            let instead = match outcome {
                Outcome::Refused(refusal) => format!("refused, but because {refusal}"),
                Outcome::Computed(_) => "not refused".to_owned(),
            };
            verdict.faults.push(format!("{instead}; recorded: {}", raises.message));
        }
        (None, outcome) => judge_tensors(&mut verdict, expected, outcome, store)?,
    }
    Ok(verdict)
}

fn judge_tensors(verdict: &mut Verdict, expected: &Expected, outcome: &Outcome, store: &Store) -> Result<(), Failure> {
    if let Outcome::Refused(refusal) = outcome {
        verdict.faults.push(format!("refused: {refusal}"));
    }
    for (name, spec) in &expected.outputs {
        let ours = match outcome {
            Outcome::Computed(results) => results.get(name),
            Outcome::Refused(_) => None,
        };
        if spec.optional {
            continue;
        }
        if !spec.oracle {
            // Counters. `judge.py` does not count them.
            let integers = expected.integers(name, store)?;
            let equal = matches!(ours, Some(Array { values: Values::Integers(ours), .. }) if *ours == integers);
            if !equal {
                verdict.faults.push(format!("{name}: not {integers:?}"));
            }
            continue;
        }
        let (shape, oracle) = expected.oracle(name, store)?;
        if let Some(quantised) = &spec.quantised {
            let limit = (2.0 * spec.peer_error()).max(quantised.floor);
            let measured = measure_quantised(ours, &shape, &oracle, quantised.format);
            let error =
                measured.and_then(|error| if error <= limit { Ok(error) } else { Err(Fault::Error { error, limit }) });
            verdict.tally.of(name).add(error.is_ok());
            verdict.faults.extend(error.err().map(|fault| format!("{name}: {fault}")));
            continue;
        }
        let element = elements::of_dtype(spec.dtype).unwrap_or_default();
        let recorded = Recorded { shape, oracle, peer: expected.peer(name, store)?, scale: spec.scale, element };
        if expected.dtype != Dtype::F32 || recorded.is_finite() {
            verdict.tally.exact.add(recorded.measure_exactly(ours).is_ok_and(|error| error <= EXACT));
        }
        let limit = (2.0 * spec.peer_error()).max(floor(expected.dtype));
        let within = |error| if error <= limit { Ok(error) } else { Err(Fault::Error { error, limit }) };
        let measured = recorded.measure(ours).and_then(within);
        verdict.tally.of(name).add(measured.is_ok());
        match measured {
            Ok(error) => {
                let tally = &mut verdict.tally;
                tally.worst_error = tally.worst_error.max(error);
                tally.recorded_worst_error = tally.recorded_worst_error.max(spec.peer_error());
            }
            Err(fault) => verdict.faults.push(format!("{name}: {fault}")),
        }
    }
    Ok(())
}

/// Why a tensor does not pass.
#[derive(Debug, PartialEq, thiserror::Error)]
enum Fault {
    #[error("missing")]
    Missing,
    #[error("shape {actual:?}, expected {expected:?}")]
    Shape { actual: Vec<u64>, expected: Vec<u64> },
    #[error("NaN or infinity differ in {count} elements, first {index}: {actual}, oracle {expected}")]
    NotFinite { count: usize, index: usize, actual: f32, expected: f64 },
    #[error("error {error:.3e} of the scale, at most {limit:.3e} is good")]
    Error { error: f64, limit: f64 },
}

/// One recorded result.
struct Recorded {
    shape: Vec<u64>,
    oracle: Vec<f64>,
    peer: Vec<f32>,
    scale: f64,
    element: Element,
}

impl Recorded {
    /// Whether the oracle is finite in float32.
    fn is_finite(&self) -> bool {
        self.oracle.iter().all(|&value| (value as f32).is_finite())
    }

    /// The largest error of `ours` in units of the scale, if NaN and infinity are in their places, be they the recorded
    /// result's.
    fn measure(&self, ours: Option<&Array>) -> Result<f64, Fault> {
        // f32: the rounding to 16 bits counts
        self.compare(ours, Element::F32, |index, value| is_same(value, self.peer[index]))
    }

    /// The same without rounding to 16 bits, and without excuses.
    fn measure_exactly(&self, ours: Option<&Array>) -> Result<f64, Fault> {
        self.compare(ours, self.element, |_, _| false)
    }

    fn compare(
        &self,
        ours: Option<&Array>,
        element: Element,
        excused: impl Fn(usize, f32) -> bool,
    ) -> Result<f64, Fault> {
        let Some(Array { shape, values: Values::Floats(ours), .. }) = ours else {
            return Err(Fault::Missing);
        };
        if *shape != self.shape || ours.len() != self.oracle.len() {
            return Err(Fault::Shape { actual: shape.clone(), expected: self.shape.clone() });
        }
        let excused = |index: usize| excused(index, ours[index]);
        let found = Comparison::with_excuse(ours, &self.oracle, element, self.scale, excused);
        match found.first_misplaced {
            None => Ok(found.relative),
            Some(Misplaced { index, actual, expected }) => {
                Err(Fault::NotFinite { count: found.misplaced, index, actual, expected })
            }
        }
    }
}

/// How far numbers lie beyond half a step from the quotients that they are rounded from: whole ones in units of 127,
/// e4m3 relative to the quotient.
fn measure_quantised(ours: Option<&Array>, shape: &[u64], ideal: &[f64], format: Format) -> Result<f64, Fault> {
    let Some(Array { shape: actual, values: Values::Bytes(ours, _), .. }) = ours else { return Err(Fault::Missing) };
    if actual != shape || ours.len() != ideal.len() {
        return Err(Fault::Shape { actual: actual.clone(), expected: shape.to_vec() });
    }
    let error = |(&byte, &ideal): (&u8, &f64)| {
        let (value, ideal, half, unit) = match format {
            Format::Int8 => (f64::from(byte as i8), ideal.clamp(-128.0, 127.0), 0.5, 127.0),
            Format::E4m3 => {
                let ideal = ideal.clamp(-448.0, 448.0);
                let unit = ideal.abs().max(2f64.powi(-6));
                (of_e4m3(byte), ideal, 2f64.powi(unit.log2().floor() as i32 - 4), unit)
            }
        };
        let error = ((value - ideal).abs() - half).max(0.0) / unit;
        if (value - ideal).is_nan() { f64::INFINITY } else { error }
    };
    Ok(ours.iter().zip(ideal).map(error).fold(0.0, f64::max))
}

/// float8 e4m3fn: a bias of 7, NaN where all bits below the sign are set.
fn of_e4m3(byte: u8) -> f64 {
    let (exponent, mantissa) = (i32::from(byte >> 3 & 15), f64::from(byte & 7));
    let magnitude = match (exponent, byte & 0x7f) {
        (_, 0x7f) => f64::NAN,
        (0, _) => mantissa * 2f64.powi(-9),
        _ => (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7),
    };
    if byte >> 7 == 1 { -magnitude } else { magnitude }
}

/// Whether the engine's refusal has the reason of the recorded one.
fn is_reason(raises: &Raises, refusal: &Refusal) -> bool {
    use BindError as Bind;
    use PlanError as Plan;
    let says = |words: &str| raises.message.contains(words);
    match refusal {
        Refusal::Plan(Plan::Epsilon { .. }) | Refusal::Bind(Bind::TrainingEpsilon { .. }) => {
            says("eps must be positive")
        }
        Refusal::Bind(Bind::SingleElement { .. }) => says("more than 1 value") || says("more than 1 spatial element"),
        Refusal::Plan(Plan::GroupsDoNotDivideChannels { .. }) => says("divisible by num_groups"),
        Refusal::Plan(Plan::NormalizedShape { .. }) => says("Given normalized_shape"),
        Refusal::Plan(Plan::RankTooLow { .. }) => says("at least 2 dimensions"),
        Refusal::Plan(Plan::EmptySegments { .. }) => says("HxW to be greater than 0"),
        Refusal::Bind(Bind::Length { operand: Operand::Scale, .. }) => says("Expected weight to be of same shape"),
        Refusal::Bind(Bind::Length { operand: Operand::Bias, .. }) => says("Expected bias to be of same shape"),
        Refusal::Bind(Bind::Length { operand, .. }) => is_fused(*operand) && says("must match the size of tensor"),
        _ => false,
    }
}

/// Whether the operand is one of those that stand around a norm.
fn is_fused(operand: Operand) -> bool {
    use Operand::{Addend, Gate, ModulationScale, ModulationShift, OutGate, OutResidual, PrologueBias, Residual, Z};
    matches!(
        operand,
        Residual | Gate | Z | PrologueBias | ModulationScale | ModulationShift | Addend | OutGate | OutResidual
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::Results;
    use crate::golden::Family;
    use crate::setup::{Support, support};

    use super::*;

    fn recorded(oracle: &[f64], peer: &[f32], scale: f64) -> Recorded {
        let (shape, oracle, peer) = (vec![oracle.len() as u64], oracle.to_vec(), peer.to_vec());
        Recorded { shape, oracle, peer, scale, element: Element::F16 }
    }

    #[test]
    fn tensors_pass_by_error_and_by_place_of_nan_and_infinity() {
        const NAN: f32 = f32::NAN;
        const INF: f32 = f32::INFINITY;
        /// Oracle, recorded result, scale, ours, error where it is good.
        type Row = (&'static [f64], &'static [f32], f64, &'static [f32], Option<f64>);
        let table: [Row; 8] = [
            (&[1.0, 2.0], &[1.0, 2.0], 2.0, &[1.0, 2.0], Some(0.0)),
            (&[1.0, 2.0], &[1.0, 2.0], 2.0, &[1.5, 2.0], Some(0.25)),
            (&[1.0, 2.0], &[1.0, 2.0], 0.0, &[1.0, 2.25], Some(0.25)),
            (&[1.0, 2.0], &[1.0, 2.0], 2.0, &[1.0, 4.0], Some(1.0)),
            // Overflow: as the oracle rounds, or as the recorded result is.
            (&[1e39], &[3e38], 1.0, &[INF], Some(0.0)),
            (&[1e39], &[NAN], 1.0, &[NAN], Some(0.0)),
            (&[1e39], &[INF], 1.0, &[-INF], None),
            (&[1.0], &[1.0], 1.0, &[NAN], None),
        ];
        for (oracle, peer, scale, ours, expected) in table {
            let ours = Array::vector(ours.to_vec());
            let measured = recorded(oracle, peer, scale).measure(Some(&ours));
            assert_eq!(measured.as_ref().ok(), expected.as_ref(), "{oracle:?} {peer:?} {scale} {measured:?}");
        }
        // In f16 the exact measure leaves half a step out, and wants infinity where the oracle rounds to it.
        let exactly =
            |oracle, peer, ours| recorded(&[oracle], &[peer], 1.0).measure_exactly(Some(&Array::vector(vec![ours])));
        assert_eq!(exactly(2.0 + 1.0 / 1024.0, 2.0, 2.0), Ok(0.0));
        assert_eq!(exactly(2.0 + 3.0 / 1024.0, 2.0, 2.0), Ok(2.0 / 1024.0));
        assert_eq!(exactly(65520.0, 65504.0, INF), Ok(0.0));
        assert!(exactly(65519.0, INF, INF).is_err() && exactly(1.0, NAN, NAN).is_err());
        assert_eq!(recorded(&[1.0], &[1.0], 1.0).measure(None), Err(Fault::Missing));
        let matrix = Array::new(&[1, 1], Values::Floats(vec![1.0]));
        assert!(matches!(recorded(&[1.0], &[1.0], 1.0).measure(Some(&matrix)), Err(Fault::Shape { .. })));
    }

    #[test]
    fn refusals_need_the_recorded_reason() {
        let reasons = [
            (Refusal::Plan(PlanError::Epsilon { eps: -1.0 }), "batch_norm eps must be positive during training"),
            (Refusal::Bind(BindError::TrainingEpsilon { eps: 0.0 }), "batch_norm eps must be positive during training"),
            (
                Refusal::Bind(BindError::SingleElement { kind: "batch", shape: vec![1] }),
                "Expected more than 1 spatial element when training",
            ),
            (
                Refusal::Plan(PlanError::GroupsDoNotDivideChannels { groups: 3, channels: 10 }),
                "num_channels (10) must be divisible by num_groups (3)",
            ),
            (
                Refusal::Bind(BindError::Length { operand: Operand::Bias, expected: 6, actual: 2 }),
                "Expected bias to be of same shape as normalized_shape",
            ),
            (
                Refusal::Bind(BindError::Length { operand: Operand::Residual, expected: 6, actual: 4 }),
                "The size of tensor a (3) must match the size of tensor b (2) at non-singleton dimension 1",
            ),
        ];
        for (at, (refusal, _)) in reasons.iter().enumerate() {
            for (other, (_, message)) in reasons.iter().enumerate() {
                let raises = Raises { kind: "ValueError".into(), message: (*message).into() };
                let same = reasons[at].1 == reasons[other].1;
                assert_eq!(is_reason(&raises, refusal), same, "{refusal} {message}");
            }
        }
    }

    /// Recorded results must pass with the error that the index gives them, and fail when they are moved.
    #[test]
    fn recorded_results_judge_themselves() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
        let mut judged = 0;
        for family in Family::open_all(&dir).unwrap() {
            for case in &family.cases {
                let nothing = Outcome::Computed(Results::new());
                let expected = case.expected.open(&nothing);
                if support(&case.request) != Support::Runs || expected.raises.is_some() {
                    continue;
                }
                let mut results = Results::new();
                for name in case.request.wanted.keys().filter(|name| !name.contains("batches")) {
                    let shape = &case.request.wanted[name].shape;
                    let values = match &expected.outputs[name].quantised {
                        Some(_) => Values::Bytes(expected.bytes(name, &family.store).unwrap(), Dtype::U8),
                        None => Values::Floats(expected.peer(name, &family.store).unwrap()),
                    };
                    results.insert(name.clone(), Array::new(shape, values));
                }
                let mut verdict = Verdict::default();
                judge_tensors(&mut verdict, expected, &Outcome::Computed(results), &family.store).unwrap();
                let name = &case.request.name;
                let all = verdict.tally.tensors();
                assert_eq!(all.good, all.total, "{name}: {:?}", verdict.faults);
                let Tally { worst_error, recorded_worst_error, .. } = verdict.tally;
                let difference = (worst_error - recorded_worst_error).abs();
                assert!(difference <= 1e-5 * recorded_worst_error + 1e-12, "{name}");
                let missing = judge(expected, &nothing, &family.store).unwrap();
                assert_eq!((missing.tally.tensors().good, missing.tally.tensors().total), (0, all.total), "{name}");
                judged += all.total;
            }
        }
        assert!(judged > 1000, "{judged}");
    }
}
