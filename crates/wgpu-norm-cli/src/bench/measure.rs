//! One case on the device: a norm and its roof over the same buffers, in turn, and peers in turn with both.
//!
//! A sample is the time of one pass with many dispatches, divided by their number. What was timed is then checked: the
//! very same bindings once more, over outputs that were poisoned. A norm with something around it has the norm alone
//! beside it, in turn too.

use std::cell::Cell;

use wgpu_norm::wgpu::ComputePass;
use wgpu_norm_tools::device::Gpu;
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::terminal::Progress;

use super::case::{BenchCase, Traffic};
use super::clock::Clock;
use super::oracle::Oracle;
use super::peer::Peer;
use super::request::Request;
use super::rig::{Needs, Rig};
use super::roof::Roofs;
use super::sample::{Budget, Contestant, Dispatches, in_turn};
use super::times::Times;
use wgpu_norm_tools::report::{Row, Skipped};

/// What measures every case.
pub struct Bench<'a> {
    /// The device.
    pub gpu: &'a Gpu,
    /// What times it.
    pub clock: &'a Clock,
    /// What norms are compared with.
    pub roofs: &'a Roofs,
    /// How long a row of the table may take.
    pub budget: Budget,
    /// Of the case before.
    pub oracle: Option<Oracle>,
    /// Other implementations.
    pub peers: Vec<Peer>,
    /// Which of them is at work.
    pub progress: &'a Progress,
}

/// What became of a case.
pub enum Outcome {
    /// It was measured, or it was not.
    Done {
        /// This implementation first, then its peers.
        rows: Vec<Row>,
        /// Why nobody has measured it, or which peers failed it.
        skipped: Vec<Skipped>,
    },
    /// Someone asked for the end.
    Interrupted,
}

impl Bench<'_> {
    /// Measures a case.
    pub fn measure(&mut self, case: &BenchCase) -> Result<Outcome, Failure> {
        let gpu = self.gpu;
        let described = case.case();
        let norm = described.descriptor().create(&gpu.engine)?;
        let needs = Needs::of(case, &norm, gpu.info.device_type);
        let without = |peer, why| skipped(case, peer, needs.bytes, why);
        let nothing = |why: String| Ok(Outcome::Done { rows: Vec::new(), skipped: vec![without(None, why)] });
        if let Some(why) = needs.refusal(&gpu.device.limits()) {
            return nothing(why);
        }
        if self.oracle.as_ref().is_none_or(|oracle| !oracle.serves(case)) {
            // the old one goes before the new one comes
            self.oracle = None;
        }
        let oracle = self.oracle.get_or_insert_with(|| Oracle::new(case, &norm));
        let Some(mut rig) = Rig::new(gpu, &norm, case, &needs, oracle)? else {
            return nothing("the device has no memory left".to_owned());
        };
        let alone = described.descriptor().alone().map(|alone| alone.create(&gpu.engine)).transpose()?;
        alone.as_ref().map_or(Ok(()), |alone| rig.reserve(alone))?;
        // some norms are refused by their size here
        let norms = match rig.sets.iter().map(|set| rig.bind(set)).collect::<Result<Vec<_>, _>>() {
            Ok(norms) => norms,
            Err(error) => return nothing(error.to_string()),
        };
        let alone = alone.iter().flat_map(|alone| rig.sets.iter().map(|set| rig.bind_alone(alone, set)));
        let alone = alone.collect::<Result<Vec<_>, _>>()?;
        gpu.healthy()?;
        let next = &Cell::new(0);
        let (sets, clock) = (rig.sets.len(), self.clock);
        let record = |pass: &mut ComputePass<'_>, set: usize| norms[set].record(pass);
        let mut ours = Dispatches { gpu, clock, sets, next, record: &record };
        let record = |pass: &mut ComputePass<'_>, set: usize| alone[set].record(pass);
        let alone = (!alone.is_empty()).then_some(Dispatches { record: &record, ..ours });
        let (peers, budget) = (&mut self.peers, &self.budget);
        let contest = Contest { roofs: self.roofs, budget, peers, progress: self.progress, alone };
        let Some(times) = contest.in_turn(case, &rig, &mut ours)? else {
            return Ok(Outcome::Interrupted);
        };
        let failed = self.peers.iter_mut().filter_map(|peer| Some((peer.settle()?, peer.name.clone())));
        let skipped = failed.map(|(why, name)| without(Some(name), why)).collect();
        rig.poison()?;
        ours.run(sets)?;
        let error = rig.worst_error(oracle)?;
        let roof_bytes = case.traffic().roof.tensors() * rig.sets[0].input.buffer.size();
        let roof_gbps = roof_bytes as f64 / times.roof.median / 1e9;
        let ours =
            Row { schedule: case.schedule(norm.content()), error: Some(error), ..row(case, times.ours, roof_gbps) };
        let apart = times.alone.map(|alone| {
            let time = alone.later(case.step_bytes() as f64 / (roof_gbps * 1e9));
            Row { peer: Some(APART.to_owned()), ..row_of(case, &case.traffic_apart(), time, roof_gbps) }
        });
        let peers = times.peers.into_iter().map(|(name, time)| Row { peer: Some(name), ..row(case, time, roof_gbps) });
        Ok(Outcome::Done { rows: [ours].into_iter().chain(apart).chain(peers).collect(), skipped })
    }
}

/// Who a norm with something around it is compared with: the norm alone as it was measured, and the bytes that kernels
/// around it would move, at the speed of the roof.
const APART: &str = "unfused: norm + bytes at the roof";

/// Who takes turns with the norm.
struct Contest<'a> {
    roofs: &'a Roofs,
    budget: &'a Budget,
    peers: &'a mut [Peer],
    progress: &'a Progress,
    /// The norm without what stands around it.
    alone: Option<Dispatches<'a>>,
}

/// Times of a case.
struct Turns {
    ours: Times,
    alone: Option<Times>,
    roof: Times,
    /// By name.
    peers: Vec<(String, Times)>,
}

impl Contest<'_> {
    /// Samples of the norm, of its roof, of the norm alone and of the peers that have the case; `None` after an
    /// interrupt.
    fn in_turn(self, case: &BenchCase, rig: &Rig<'_>, ours: &mut Dispatches<'_>) -> Result<Option<Turns>, Failure> {
        let Self { roofs, budget, peers, progress, mut alone } = self;
        let gpu = ours.gpu;
        let roof = case.traffic().roof;
        let bound: Vec<_> = rig
            .sets
            .iter()
            .map(|set| {
                let second = set.second.as_ref().unwrap_or(&set.input);
                roofs.bind(gpu, roof, [&set.input, second, &set.output])
            })
            .collect();
        gpu.healthy()?;
        let record = |pass: &mut ComputePass<'_>, set: usize| bound[set].record(pass);
        let mut roof = Dispatches { record: &record, ..*ours };
        let request = Request::of_peer(case);
        let prepared = peers.iter_mut().filter_map(|peer| {
            progress.announce(format!("{}: {}", peer.name, case.name()));
            peer.prepare(request.as_ref()?).then_some(peer)
        });
        let mut peers: Vec<&mut Peer> = prepared.collect();
        let names: Vec<String> = peers.iter().map(|peer| peer.name.clone()).collect();
        let is_alone = alone.is_some();
        let mut contestants: Vec<&mut dyn Contestant> = vec![&mut roof, ours];
        contestants.extend(alone.iter_mut().map(|alone| alone as &mut dyn Contestant));
        contestants.extend(peers.iter_mut().map(|peer| &mut **peer as &mut dyn Contestant));
        let Some(times) = in_turn(&mut contestants, budget)? else { return Ok(None) };
        let mut times = times.into_iter();
        // only peers give up, and all after an interrupt
        let (Some(Some(roof)), Some(Some(ours))) = (times.next(), times.next()) else { return Ok(None) };
        let alone = if is_alone { times.next().flatten() } else { None };
        let peers = names.into_iter().zip(times).filter_map(|(name, time)| Some((name, time?))).collect();
        Ok(Some(Turns { ours, alone, roof, peers }))
    }
}

/// A case that this program has not measured, or a peer.
fn skipped(case: &BenchCase, peer: Option<String>, needs_bytes: u64, why: String) -> Skipped {
    Skipped {
        peer,
        variant: case.norm_name(),
        shape: case.shape_name(),
        format: case.format.name().to_owned(),
        dtype: case.types.input.name().to_owned(),
        parameters: case.types.scale.name().to_owned(),
        pass: case.pass.name().to_owned(),
        needs_bytes,
        why,
    }
}

/// A row of the report, by a peer that has neither name nor schedule nor error yet.
fn row(case: &BenchCase, time: Times, roof_gbps: f64) -> Row {
    row_of(case, &case.traffic(), time, roof_gbps)
}

/// The same of other bytes.
fn row_of(case: &BenchCase, traffic: &Traffic, time: Times, roof_gbps: f64) -> Row {
    Row {
        peer: None,
        variant: case.norm_name(),
        shape: case.shape_name(),
        format: case.format.name().to_owned(),
        dtype: case.types.input.name().to_owned(),
        parameters: case.types.scale.name().to_owned(),
        pass: case.pass.name().to_owned(),
        schedule: String::new(),
        median_ms: time.median * 1e3,
        p20_ms: time.p20 * 1e3,
        p80_ms: time.p80 * 1e3,
        min_bytes: traffic.min_bytes,
        gbps: traffic.min_bytes as f64 / time.median / 1e9,
        roof: traffic.roof,
        roof_gbps,
        roof_elements: traffic.roof_elements,
        ratio: traffic.bytes as f64 / (roof_gbps * 1e9) / time.median,
        error: None,
    }
}

#[cfg(test)]
mod tests {
    use wgpu_norm_tools::around::Around;
    use wgpu_norm_tools::{terminal, tier};

    use super::*;
    use crate::bench::case::{Format, Pass, Variant};

    #[test]
    fn cases_are_measured_and_checked() {
        let gpu = Gpu::require(&wgpu_norm_tools::device::DeviceArgs::default(), "this test needs one").unwrap();
        let (clock, roofs) = (Clock::new(&gpu), Roofs::new(&gpu, &Clock::Wall).unwrap());
        let progress = &terminal::progress("bench", 1, false);
        // times are none of its business
        let budget = Budget::of_candidate(gpu.info.device_type);
        let (peers, oracle) = (Vec::new(), None);
        let mut bench = Bench { gpu: &gpu, clock: &clock, roofs: &roofs, budget, oracle, peers, progress };
        for (variant, format, pass) in [
            (Variant::Layer(2), Format::Rows, Pass::Forward),
            (Variant::Lp(2.0, 1), Format::Rows, Pass::Backward),
            (Variant::BatchInference, Format::First, Pass::Forward),
            (Variant::BatchTraining, Format::Last, Pass::Training),
            (Variant::BatchTraining, Format::Last, Pass::Backward),
            (Variant::AdaptiveInstance, Format::Last, Pass::Forward),
        ] {
            let case = BenchCase::new(variant, &[2, 3, 5], format, pass);
            let Outcome::Done { rows, .. } = bench.measure(&case).unwrap() else { panic!("{}", case.name()) };
            let [row] = rows.as_slice() else { panic!("{} rows", rows.len()) };
            assert!(row.error.unwrap() < 1e-6, "{}: {:?}", case.name(), row.error);
            assert!(row.p20_ms > 0.0 && row.p20_ms <= row.p80_ms && row.ratio > 0.0, "{}", case.name());
        }
        for (variant, shape, around) in tier::some([
            (Variant::Rms(1), [2, 6, 8], Around::Add),
            (Variant::Layer(1), [2, 6, 8], Around::AdaLn),
            (Variant::Layer(1), [2, 6, 8], Around::AdaLnZero),
            (Variant::Rms(1), [2, 6, 8], Around::GateBefore),
            (Variant::Rms(1), [2, 6, 8], Around::GateAfter),
            (Variant::Group(3), [2, 6, 8], Around::Silu),
            (Variant::BatchTraining, [2, 6, 8], Around::AddRelu),
        ]) {
            let of_rows = matches!(variant, Variant::Rms(_) | Variant::Layer(_));
            let format = if of_rows { Format::Rows } else { Format::First };
            for pass in [Pass::Training, Pass::Backward] {
                let case = BenchCase::new(variant, &shape, format, pass).amid(around);
                let Outcome::Done { rows, skipped } = bench.measure(&case).unwrap() else { panic!("{}", case.name()) };
                let [row, apart] = rows.as_slice() else { panic!("{}: {skipped:?}", case.name()) };
                assert!(row.error.unwrap() < 1e-6, "{}: {:?}", case.name(), row.error);
                assert!(apart.min_bytes > row.min_bytes, "{}", case.name());
            }
        }
        let large = BenchCase::new(Variant::Layer(1), &[1 << 20, 1 << 20], Format::Rows, Pass::Forward);
        let Outcome::Done { rows, skipped } = bench.measure(&large).unwrap() else { panic!("it has no room") };
        let [Skipped { peer: None, needs_bytes, why, .. }] = skipped.as_slice() else { panic!("{skipped:?}") };
        assert!(rows.is_empty() && *needs_bytes > 8 << 40 && why.contains("4398046511104"), "{needs_bytes}: {why}");
    }

    #[test]
    fn a_ratio_is_the_time_of_the_roof_over_ours() {
        let case = BenchCase::new(Variant::BatchTraining, &[10, 1, 100], Format::First, Pass::Training);
        let time = Times { p20: 1e-6, median: 2e-6, p80: 4e-6 };
        let row = row(&case, time, 12.0);
        // 3E, scale, bias, mean, 1 / deviation: 12016 bytes at 12 GB/s
        assert!((row.ratio - 12016.0 / 12e9 / 2e-6).abs() < 1e-12, "{}", row.ratio);
        assert!((row.gbps - 8016.0 / 2e-6 / 1e9).abs() < 1e-12, "{}", row.gbps);
    }
}
