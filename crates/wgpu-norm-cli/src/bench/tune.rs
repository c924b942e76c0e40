//! `wgpu-norm bench --tune`: the profile with which norms are fastest on this adapter, by coordinate descent.
//!
//! One value of the profile at a time goes down and up by halves and doubles, until that costs. A candidate is measured
//! in turn with the best so far and with the roof, over a few small norms; it wins where it is faster twice, and where
//! what it has computed then is right.

use std::cell::Cell;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;
use wgpu_norm::wgpu::{ComputePass, DeviceType};
use wgpu_norm::{BoundNorm, DeviceProfile, NormEngine, TunedProfile, converts_f16_exactly};
use wgpu_norm_tools::device::{DeviceArgs, Gpu};
use wgpu_norm_tools::failure::{EXIT_INTERRUPTED, Failure};
use wgpu_norm_tools::output::{self, Target};
use wgpu_norm_tools::terminal;

use super::case::{BenchCase, Format, Pass, Variant};
use super::clock::Clock;
use super::oracle::Oracle;
use super::rig::{Needs, Rig};
use super::roof::Roofs;
use super::sample::{Budget, Contestant, Dispatches, in_turn};
use wgpu_norm_tools::report::TOLERANCE;
use wgpu_norm_tools::report::beside::geometric_mean;

/// A candidate takes at most so much of the time of the best so far: what is nearer is noise.
const GAIN: f64 = 0.97;
/// No norm may take longer than so much of its time before.
const LOSS: f64 = 1.25;
/// The search ends after so long, with what it has.
const SEARCH: Duration = Duration::from_secs(85);
/// All values are tried so often: one may pay only after another.
const ROUNDS: usize = 2;
/// No value goes beyond so many times what it was.
const MOST: u32 = 1 << 8;
/// Elements of a probe's tensor, without and with a device of its own.
const ELEMENTS: [u64; 2] = [1 << 20, 1 << 24];

/// Those that decide most go first; all others follow.
const FIRST: [&str; 4] = ["vectors", "max_vectors", "vectors_backward", "max_lanes"];

/// Names of the values of a profile that can be tuned, and the values.
fn values(profile: &DeviceProfile) -> Vec<(String, u32)> {
    let Ok(Value::Object(fields)) = serde_json::to_value(profile) else { return Vec::new() };
    let number = |value: Value| value.as_u64().and_then(|value| u32::try_from(value).ok());
    let mut values: Vec<_> = fields.into_iter().filter_map(|(name, value)| Some((name, number(value)?))).collect();
    values.sort_by_key(|(name, _)| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    values
}

/// The profile with another value.
fn with(profile: &DeviceProfile, name: &str, value: u32) -> DeviceProfile {
    let changed = serde_json::to_value(profile).and_then(|mut fields| {
        fields[name] = value.into();
        serde_json::from_value::<DeviceProfile>(fields)
    });
    // a name that is not the profile's changes nothing
    changed.map_or(*profile, |changed| DeviceProfile { max_binding: profile.max_binding, ..changed })
}

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is the best now.
    Better,
    /// Neither better nor worse: what lies beyond may be.
    Even,
    /// It is slower, wrong, impossible, or was tried before.
    Worse,
}

/// Norms that lead to different kernels: short rows, long ones, unaligned ones, one that the device shares; planes in
/// both formats.
fn probes(elements: u64) -> [BenchCase; 8] {
    let rows = |variant, width: u64, pass| BenchCase::new(variant, &[elements / width, width], Format::Rows, pass);
    let planes = |variant, format, pass| BenchCase::new(variant, &[elements >> 16, 64, 32, 32], format, pass);
    let (layer, rms) = (Variant::Layer(1), Variant::Rms(1));
    [
        rows(layer, 64, Pass::Forward),
        rows(layer, 1024, Pass::Forward),
        rows(rms, 1 << 16, Pass::Forward),
        rows(layer, elements, Pass::Forward),
        rows(layer, 1023, Pass::Backward),
        planes(Variant::BatchTraining, Format::First, Pass::Training),
        planes(Variant::Group(32), Format::Last, Pass::Forward),
        planes(Variant::BatchTraining, Format::Last, Pass::Backward),
    ]
}

/// A norm on its buffers.
struct Probe<'a> {
    case: BenchCase,
    rig: Rig<'a>,
    oracle: Oracle,
    /// By the best profile so far: one for each set of buffers.
    best: Vec<BoundNorm>,
}

/// Two times of a probe, and that of its roof.
struct Duel {
    best: f64,
    candidate: f64,
    roof: f64,
}

/// What searches.
struct Tuner<'a> {
    gpu: &'a Gpu,
    clock: &'a Clock,
    roofs: &'a Roofs,
    probes: Vec<Probe<'a>>,
    best: DeviceProfile,
    tried: Vec<DeviceProfile>,
    /// Invocations of the subgroups that the device has enabled.
    subgroup: u32,
    end: Instant,
}

/// Searches, prints what it found, and writes the profile. An interrupt ends it with nothing written.
pub fn run(target: &Target, args: &DeviceArgs) -> Result<ExitCode, Failure> {
    let gpu = &Gpu::require(args, "bench has nothing to tune without one")?;
    output::defer_interrupt();
    let clock = &Clock::new(gpu);
    let roofs = &Roofs::new(gpu, clock)?;
    let before = *gpu.engine.profile();
    let mut tuner = Tuner {
        gpu,
        clock,
        roofs,
        probes: Probe::all(gpu)?,
        best: before,
        tried: vec![before],
        subgroup: subgroup(gpu),
        end: Instant::now() + SEARCH,
    };
    tuner.search()?;
    let found = tuner.best;
    let lines = tuner.compare(before, found)?;
    // not measured: half the instructions, where it is right
    let f16_builtins = converts_f16_exactly(&gpu.device, &gpu.queue)?;
    let found = DeviceProfile { f16_builtins, ..found };
    let halves = if f16_builtins { "exact here: they are taken" } else { "not exact here: integers are taken" };
    if output::is_interrupted() {
        terminal::note("interrupted: no profile was written");
        return Ok(ExitCode::from(EXIT_INTERRUPTED as u8));
    }
    target.write_bytes(TunedProfile::new(&gpu.info, found).to_json().as_bytes())?;
    let path = target.path().display();
    let text =
        format!("{}\n\n{lines}\nWGSL's own conversions of f16 are {halves}\n\nwritten to {path}", gpu.describe());
    terminal::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

impl<'a> Probe<'a> {
    /// Those that the device has room for, bound by the profile of its engine.
    fn all(gpu: &'a Gpu) -> Result<Vec<Self>, Failure> {
        let own = usize::from(gpu.info.device_type != DeviceType::Cpu);
        let mut all = Vec::new();
        for case in probes(ELEMENTS[own]) {
            let norm = case.case().descriptor().create(&gpu.engine)?;
            let needs = Needs::of(&case, &norm, gpu.info.device_type);
            let oracle = Oracle::new(&case, &norm);
            let fits = needs.refusal(&gpu.device.limits()).is_none();
            let rig = if fits { Rig::new(gpu, &norm, &case, &needs, &oracle)? } else { None };
            let Some(rig) = rig else {
                terminal::note(&format!("left out for want of memory: {} ({} bytes)", case.name(), needs.bytes));
                continue;
            };
            let best = rig.sets.iter().map(|set| rig.bind(set)).collect::<Result<_, _>>()?;
            all.push(Self { case, rig, oracle, best });
        }
        Ok(all)
    }

    /// The norm as an engine plans it, on the probe's buffers.
    fn bind(&mut self, engine: &NormEngine) -> Result<Vec<BoundNorm>, Failure> {
        self.rig.serve(&self.case.case().descriptor().create(engine)?)?;
        Ok(self.rig.sets.iter().map(|set| self.rig.bind(set)).collect::<Result<_, _>>()?)
    }
}

/// As the device's own profile has it.
fn subgroup(gpu: &Gpu) -> u32 {
    DeviceProfile::new(gpu.engine.planner().facts()).subgroup
}

/// Whether both do the same.
fn alike(first: &[BoundNorm], second: &[BoundNorm]) -> bool {
    let work = |bound: &[BoundNorm]| bound.first().map(|norm| norm.kernels().zip(norm.grids()).collect::<Vec<_>>());
    work(first) == work(second)
}

impl Tuner<'_> {
    /// Tries every value of the profile, as long as there is time.
    fn search(&mut self) -> Result<(), Failure> {
        let names: Vec<String> = values(&self.best).into_iter().map(|(name, _)| name).collect();
        let bar = terminal::progress("tune", (ROUNDS * names.len()) as u64, false);
        for _ in 0..ROUNDS {
            let before = self.best;
            for name in &names {
                bar.set_message(name.clone());
                for step in [|value: u32| value / 2, |value: u32| value.saturating_mul(2)] {
                    self.walk(name, step)?;
                }
                bar.inc(1);
            }
            if self.best == before {
                break;
            }
        }
        bar.finish_and_clear();
        if self.is_late() && !output::is_interrupted() {
            terminal::note(&format!("the search ended after {} s, before all candidates were tried", SEARCH.as_secs()));
        }
        Ok(())
    }

    fn is_late(&self) -> bool {
        output::is_interrupted() || Instant::now() >= self.end
    }

    /// Steps along a value until that costs.
    fn walk(&mut self, name: &str, step: fn(u32) -> u32) -> Result<(), Failure> {
        let Some((_, mut value)) = values(&self.best).into_iter().find(|(known, _)| known == name) else {
            return Ok(());
        };
        let most = value.saturating_mul(MOST);
        loop {
            value = match name {
                // subgroups are used whole or not at all
                "subgroup" if value > 1 => 1,
                "subgroup" => self.subgroup,
                _ => step(value),
            };
            let candidate = with(&self.best, name, value);
            if self.is_late() || value > most || self.judge(candidate)? == Verdict::Worse {
                return Ok(());
            }
        }
    }

    /// Measures a candidate, and keeps it where it is better.
    fn judge(&mut self, candidate: DeviceProfile) -> Result<Verdict, Failure> {
        if self.tried.contains(&candidate) {
            return Ok(Verdict::Worse);
        }
        self.tried.push(candidate);
        let Ok(engine) = self.gpu.engine.with_profile(candidate) else { return Ok(Verdict::Worse) };
        let bound = match self.probes.iter_mut().map(|probe| probe.bind(&engine)).collect::<Result<Vec<_>, _>>() {
            Ok(bound) => bound,
            // a kernel that this driver does not compile, a grid that is too large
            Err(Failure::Bind(_)) => return Ok(Verdict::Worse),
            Err(failure) => return Err(failure),
        };
        self.gpu.healthy()?;
        let mut verdict = self.measure(&bound)?;
        if verdict == Verdict::Better {
            // twice, and rightly
            verdict = self.measure(&bound)?;
        }
        if verdict == Verdict::Better && !self.is_right(&bound)? {
            verdict = Verdict::Worse;
        }
        if verdict == Verdict::Better {
            self.best = candidate;
            self.probes.iter_mut().zip(bound).for_each(|(probe, bound)| probe.best = bound);
        }
        Ok(verdict)
    }

    /// Whether a candidate is faster in the mean, and nowhere much slower.
    fn measure(&self, bound: &[Vec<BoundNorm>]) -> Result<Verdict, Failure> {
        let mut ratios = Vec::new();
        for (probe, candidate) in self.probes.iter().zip(bound) {
            if alike(&probe.best, candidate) {
                ratios.push(1.0);
                continue;
            }
            let Some(duel) = self.duel(probe, &probe.best, candidate)? else { return Ok(Verdict::Worse) };
            ratios.push(duel.candidate / duel.best);
            if duel.candidate > duel.best * LOSS {
                return Ok(Verdict::Worse);
            }
        }
        let mean = geometric_mean(ratios.into_iter());
        Ok(if mean <= GAIN {
            Verdict::Better
        } else if mean * GAIN >= 1.0 {
            Verdict::Worse
        } else {
            Verdict::Even
        })
    }

    /// Whether what a candidate computes is what the reference computes.
    fn is_right(&mut self, bound: &[Vec<BoundNorm>]) -> Result<bool, Failure> {
        for (probe, candidate) in self.probes.iter_mut().zip(bound) {
            if alike(&probe.best, candidate) {
                continue;
            }
            probe.rig.poison()?;
            self.gpu.run(|pass| candidate.iter().for_each(|norm| norm.record(pass)))?;
            let error = probe.rig.worst_error(&mut probe.oracle)?;
            if error > TOLERANCE {
                terminal::note(&format!(
                    "a faster candidate was refused, its error is {error:.1e}: {}",
                    probe.case.name()
                ));
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Times of two bindings of a probe, in turn with its roof; `None` after an interrupt.
    fn duel(&self, probe: &Probe<'_>, best: &[BoundNorm], candidate: &[BoundNorm]) -> Result<Option<Duel>, Failure> {
        let (gpu, clock, next) = (self.gpu, self.clock, &Cell::new(0));
        let sets = &probe.rig.sets;
        let roofs: Vec<_> = sets
            .iter()
            .map(|set| {
                let second = set.second.as_ref().unwrap_or(&set.input);
                self.roofs.bind(gpu, probe.case.traffic().roof, [&set.input, second, &set.output])
            })
            .collect();
        let roof = |pass: &mut ComputePass<'_>, set: usize| roofs[set].record(pass);
        let first = |pass: &mut ComputePass<'_>, set: usize| best[set].record(pass);
        let second = |pass: &mut ComputePass<'_>, set: usize| candidate[set].record(pass);
        let mut roof = Dispatches { gpu, clock, sets: sets.len(), next, record: &roof };
        let (mut first, mut second) = (Dispatches { record: &first, ..roof }, Dispatches { record: &second, ..roof });
        let contestants: &mut [&mut dyn Contestant] = &mut [&mut roof, &mut first, &mut second];
        let Some(times) = in_turn(contestants, &Budget::of_candidate(gpu.info.device_type))? else { return Ok(None) };
        let medians: Vec<f64> = times.into_iter().flatten().map(|times| times.median).collect();
        let [roof, best, candidate] = medians[..] else { return Ok(None) };
        Ok(Some(Duel { best, candidate, roof }))
    }

    /// What changed, and by how much.
    fn compare(&mut self, before: DeviceProfile, found: DeviceProfile) -> Result<String, Failure> {
        if before == found {
            return Ok(format!("no candidate of {} was faster: the profile stays as it was", self.tried.len() - 1));
        }
        let changed = values(&before)
            .into_iter()
            .zip(values(&found))
            .filter_map(|((name, old), (_, new))| (old != new).then(|| format!("{name} {old} -> {new}")));
        let changed = changed.collect::<Vec<_>>().join(", ");
        let engine = self.gpu.engine.with_profile(before).map_err(|error| Failure::Usage(error.to_string()))?;
        let old = self.probes.iter_mut().map(|probe| probe.bind(&engine)).collect::<Result<Vec<_>, _>>()?;
        let mut table = terminal::table(&["norm", "before", "tuned", "times as fast"]);
        let mut gains = Vec::new();
        for (probe, old) in self.probes.iter().zip(&old) {
            let Some(Duel { best, candidate, roof }) = self.duel(probe, old, &probe.best)? else { break };
            let traffic = probe.case.traffic();
            let tensors = traffic.roof.tensors() * 4 * probe.case.elements();
            let share = |time: f64| format!("{:.0} %", 100.0 * traffic.bytes as f64 / tensors as f64 * roof / time);
            table.add_row([probe.case.name(), share(best), share(candidate), format!("{:.2}", best / candidate)]);
            gains.push(best / candidate);
        }
        let mean = geometric_mean(gains.into_iter());
        Ok(format!(
            "{changed}\n\n{table}\n\n{mean:.2} times as fast in the geometric mean; shares are of the roof, as in the \
             table of bench"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_probes_are_what_they_say() {
        let gpu = Gpu::require(&DeviceArgs::default(), "this test needs one").unwrap();
        let profile = gpu.engine.profile();
        for (name, value) in values(profile) {
            let changed = format!("{:?}", with(profile, &name, 77));
            assert!(changed.contains(&format!("{name}: 77,")), "{name} in {changed}");
            assert_eq!(with(profile, &name, value), *profile);
        }
        assert!(FIRST.iter().zip(values(profile)).all(|(first, (name, _))| *first == name));
        for case in ELEMENTS.into_iter().flat_map(probes) {
            case.case().descriptor().validate().unwrap();
            assert!(case.elements().is_power_of_two() || case.name().contains("1023"), "{}", case.name());
        }
    }

    #[test]
    fn a_profile_of_one_lane_is_right_and_told_apart() {
        let gpu = &Gpu::require(&DeviceArgs::default(), "this test needs one").unwrap();
        let clock = &Clock::new(gpu);
        let roofs = &Roofs::new(gpu, clock).unwrap();
        let best = *gpu.engine.profile();
        let mut probes = Probe::all(gpu).unwrap();
        probes.drain(2..);
        let end = Instant::now();
        let mut tuner = Tuner { gpu, clock, roofs, probes, best, tried: vec![best], subgroup: subgroup(gpu), end };
        let engine = gpu.engine.with_profile(DeviceProfile { max_lanes: 1, vectors: 1, ..best }).unwrap();
        let bound: Vec<_> = tuner.probes.iter_mut().map(|probe| probe.bind(&engine).unwrap()).collect();
        assert!(!alike(&tuner.probes[1].best, &bound[1]));
        assert!(tuner.is_right(&bound).unwrap());
        // what was tried is not tried again, and without time nothing is
        assert_eq!(tuner.judge(best).unwrap(), Verdict::Worse);
        tuner.walk(FIRST[0], |value| value / 2).unwrap();
        assert_eq!(tuner.tried, [best]);
    }
}
