//! A rough estimate of the time that a GPU needs, from counts alone: take the order, not the second digit.
//!
//! A dispatch takes what the slowest of three needs: memory, all instructions over all units, and one workgroup after
//! the other where few fit at a time. `docs/gauge.md` says where the constants come from.

use std::ops::Range;

use crate::cases::{Binding, Case, Dispatch};
use crate::flow::Work;
use crate::machine::{Machine, Vendor};

/// A GPU in numbers.
#[derive(Clone, Copy, Debug)]
pub struct Gpu {
    pub name: &'static str,
    pub vendor: Vendor,
    /// Units that take workgroups: SMs, compute units, workgroup processors.
    units: f64,
    /// Bytes a second that a copy reaches.
    bandwidth: f64,
    /// Seconds from a load to its data while all units load.
    latency: f64,
    clock: f64,
    /// Lanes that a unit issues an instruction for in a cycle.
    lanes: f64,
    /// Registers of 32 bits in a unit, how many are given away at once, and lanes that take them together.
    registers: f64,
    granule: u32,
    wave: u32,
    /// Most lanes, and most workgroups, in a unit.
    most_lanes: f64,
    most_workgroups: f64,
    /// Bytes of the large cache that a tensor may have to be found there again, and its bytes a second.
    cache: f64,
    cache_bandwidth: f64,
    /// Seconds between dispatches that depend on each other.
    gap: f64,
    /// Cycles between instructions of one subgroup that follow each other.
    cycles: f64,
}

const H200: Gpu = Gpu {
    name: "h200",
    vendor: Vendor::Nvidia,
    units: 132.0,
    bandwidth: 4.3e12,
    latency: 0.75e-6,
    clock: 1.75e9,
    lanes: 128.0,
    registers: 65536.0,
    granule: 8,
    wave: 32,
    most_lanes: 2048.0,
    most_workgroups: 32.0,
    cache: 30e6,
    cache_bandwidth: 6.0e12,
    gap: 2e-6,
    cycles: 2.0,
};
const H100: Gpu = Gpu { name: "h100", bandwidth: 3.0e12, latency: 0.7e-6, cache_bandwidth: 5.5e12, ..H200 };
const RTX4090: Gpu = Gpu {
    name: "rtx4090",
    units: 128.0,
    bandwidth: 0.93e12,
    latency: 0.6e-6,
    clock: 2.5e9,
    most_lanes: 1536.0,
    most_workgroups: 24.0,
    cache: 60e6,
    cache_bandwidth: 4.5e12,
    ..H200
};
/// Its units are pairs of compute units: 4 SIMDs of 32 lanes, subgroups of 64 take two turns.
const RX7900: Gpu = Gpu {
    name: "rx7900",
    vendor: Vendor::Amd,
    units: 48.0,
    bandwidth: 0.82e12,
    latency: 0.8e-6,
    clock: 2.4e9,
    lanes: 128.0,
    registers: 4.0 * 1536.0 * 32.0,
    granule: 24,
    wave: 64,
    most_lanes: 4.0 * 16.0 * 64.0,
    most_workgroups: 32.0,
    cache: 60e6,
    cache_bandwidth: 2.5e12,
    gap: 3e-6,
    cycles: 3.0,
};
const MI300: Gpu = Gpu {
    name: "mi300",
    vendor: Vendor::Amd,
    units: 304.0,
    bandwidth: 4.2e12,
    latency: 1.0e-6,
    clock: 2.1e9,
    lanes: 64.0,
    registers: 4.0 * 512.0 * 64.0,
    granule: 8,
    wave: 64,
    most_lanes: 2048.0,
    most_workgroups: 32.0,
    cache: 100e6,
    cache_bandwidth: 9e12,
    gap: 4e-6,
    cycles: 5.0,
};

/// The GPUs that can be estimated.
pub const GPUS: [Gpu; 5] = [H200, H100, RTX4090, RX7900, MI300];

/// Cycles that an exchange of lanes, an access to workgroup memory and a barrier keep their subgroup waiting.
const EXCHANGE: f64 = 26.0;
const BARRIER: f64 = 30.0;
/// Share of the issue slots that code fills at best.
const ISSUE: f64 = 0.85;
/// Seconds to start a workgroup, and a kernel.
const START: f64 = 0.3e-6;
const LAUNCH: f64 = 0.8e-6;
/// Registers where the compiler does not say how many.
const UNKNOWN_REGISTERS: u32 = 128;

/// A dispatch with what an invocation of it does.
pub type Measured<'a> = (&'a Dispatch, &'a Machine, &'a Work);

/// Dispatches between which no barrier stands: a host puts one before a dispatch that touches a buffer which an earlier
/// one has written, or that writes one which an earlier one has touched.
fn waves<'a>(dispatches: impl Iterator<Item = &'a Dispatch>) -> Vec<Range<usize>> {
    let mut waves: Vec<Range<usize>> = Vec::new();
    let mut touched: Vec<&Binding> = Vec::new();
    for (i, dispatch) in dispatches.enumerate() {
        let waits = |b: &Binding| touched.iter().any(|a| a.buffer == b.buffer && (a.written || b.written));
        match waves.last_mut().filter(|_| !dispatch.bindings.iter().any(waits)) {
            Some(wave) => wave.end = i + 1,
            None => {
                waves.push(i..i + 1);
                touched.clear();
            }
        }
        touched.extend(&dispatch.bindings);
    }
    waves
}

impl Gpu {
    /// Share of the speed of the program's memory kernel that a case reaches: 1 is the roof, more where a cache helps.
    pub fn share_of_roof(&self, case: &Case, dispatches: &[Measured<'_>]) -> f64 {
        let mut seen = Vec::new();
        let waves = waves(dispatches.iter().map(|(dispatch, ..)| *dispatch));
        let time: f64 = waves.into_iter().map(|wave| self.wave(&dispatches[wave], &mut seen) + self.gap).sum();
        let kernel = f64::from(case.roof.kernel);
        let once = kernel * case.roof.bytes as f64 / self.bandwidth + self.gap + LAUNCH;
        let parameters = case.roof.parameters as f64 / self.bandwidth;
        (once * f64::from(case.roof.tensors) / kernel + parameters) / time
    }

    /// Seconds of dispatches that run beside each other: they share memory and units, and wait together.
    fn wave(&self, dispatches: &[Measured<'_>], seen: &mut Vec<usize>) -> f64 {
        let all = dispatches.iter().map(|measured| self.dispatch(measured, seen));
        let together = |a: [f64; 3], b: [f64; 3]| [a[0].max(b[0]), a[1] + b[1], a[2] + b[2]];
        // a soft maximum: limits that are near each other overlap badly
        all.fold([0.0; 3], together).map(|time| time.powi(4)).iter().sum::<f64>().powf(0.25)
    }

    /// Seconds of a dispatch by each of what limits it: waiting, issuing, memory. `seen` are buffers that those before
    /// have touched.
    fn dispatch(&self, (dispatch, machine, work): &Measured<'_>, seen: &mut Vec<usize>) -> [f64; 3] {
        let workgroups = dispatch.workgroups as f64;
        let lanes = f64::from(machine.workgroup_size);
        let asked = (work.loaded + work.stored) * lanes * workgroups;
        let (memory, cache) = self.traffic(dispatch, asked, seen);
        let fit = self.workgroups_a_unit(machine);
        let active = fit.min((workgroups / self.units).ceil());
        let busy = self.units.min(workgroups);
        let rounds = (workgroups / (self.units * fit)).max(1.0);
        let rounds = if rounds < 4.0 { rounds.ceil() } else { rounds + 0.5 };
        // one workgroup: its instructions one after the other, or all that share the unit with it
        let exchanges = EXCHANGE * (work.shuffles + work.workgroup_accesses) + BARRIER * work.barriers;
        let alone =
            (work.instructions * self.cycles + exchanges) / self.clock + (1.0 + work.round_trips) * self.latency;
        let shared = work.instructions * lanes * active / self.lanes / ISSUE / self.clock;
        let of_latency = rounds * (alone.max(shared) + START);
        let of_issue = work.instructions * lanes * workgroups / (self.lanes * busy) / ISSUE / self.clock;
        // few units cannot take the whole bandwidth
        let few = (memory + cache) / (self.cache_bandwidth * 1.3 * busy / self.units);
        let of_memory = (memory / self.bandwidth + cache / self.cache_bandwidth).max(few);
        [of_latency, of_issue, of_memory]
    }

    /// Bytes from memory and from the large cache. Buffers that were touched before lie there if they are small enough.
    /// A binding may be larger than what is used of it: no more moves than invocations ask for.
    fn traffic(&self, dispatch: &Dispatch, asked: f64, seen: &mut Vec<usize>) -> (f64, f64) {
        let known = |buffer: Option<usize>| buffer.is_none_or(|buffer| seen.contains(&buffer));
        let bytes = |again: bool| {
            let bindings = dispatch.bindings.iter().filter(|binding| known(binding.buffer) == again);
            bindings.map(|binding| binding.bytes).sum::<u64>() as f64
        };
        let used = (asked / (bytes(false) + bytes(true))).min(1.0);
        let (first, again) = (bytes(false) * used, bytes(true) * used);
        seen.extend(dispatch.bindings.iter().filter_map(|binding| binding.buffer));
        if again < self.cache { (first, again) } else { (first + again, 0.0) }
    }

    fn workgroups_a_unit(&self, machine: &Machine) -> f64 {
        let registers = machine.registers.unwrap_or(UNKNOWN_REGISTERS).max(1).next_multiple_of(self.granule);
        let lanes = machine.workgroup_size.max(1);
        let by_registers = self.registers / f64::from(registers * lanes.next_multiple_of(self.wave));
        let by_lanes = self.most_lanes / f64::from(lanes);
        self.most_workgroups.min(by_lanes.floor()).min(by_registers.floor()).max(1.0)
    }
}
