//! Samples of several contestants in turn, so that what disturbs one disturbs the others too.

use std::cell::Cell;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use wgpu_norm::wgpu;
use wgpu_norm_tools::device::Gpu;
use wgpu_norm_tools::failure::Failure;
use wgpu_norm_tools::output;

use super::clock::Clock;
use super::times::Times;

/// Most executions of a sample, however short they are.
const MAX_EXECUTIONS: usize = 1 << 13;

/// What is timed.
pub trait Contestant {
    /// Executes so many times, and gives the time of all; `None` where it has given up.
    fn run(&mut self, executions: usize) -> Result<Option<Duration>, Failure>;
}

/// How long sampling may take.
#[derive(Clone, Debug)]
pub struct Budget {
    /// A sample is at least so long, for the fixed cost of one.
    pub sample: Duration,
    /// Clocks have settled after so long.
    pub warm_up: Duration,
    /// The samples of one contestant take about so long, within their numbers.
    pub total: Duration,
    /// Numbers of samples.
    pub samples: RangeInclusive<usize>,
}

impl Budget {
    /// For a row of the table.
    pub fn of_row(device_type: wgpu::DeviceType) -> Self {
        let ms = Duration::from_millis;
        if device_type == wgpu::DeviceType::Cpu {
            // one dispatch may take a second there
            Self { sample: ms(15), warm_up: ms(80), total: ms(600), samples: 5..=30 }
        } else {
            Self { sample: ms(4), warm_up: ms(50), total: ms(200), samples: 20..=60 }
        }
    }

    /// For one of many candidates.
    pub fn of_candidate(device_type: wgpu::DeviceType) -> Self {
        let ms = Duration::from_millis;
        let row = Self::of_row(device_type);
        Self { sample: row.sample / 2, warm_up: ms(10), total: ms(40), samples: 5..=15 }
    }

    /// For choosing between kernels.
    pub fn of_choice(device_type: wgpu::DeviceType) -> Self {
        Self { total: Duration::from_millis(120), samples: 5..=30, ..Self::of_row(device_type) }
    }
}

/// Times of each contestant, per execution; none of one that gave up. `None` after an interrupt.
pub fn in_turn(
    contestants: &mut [&mut dyn Contestant],
    budget: &Budget,
) -> Result<Option<Vec<Option<Times>>>, Failure> {
    let counts = contestants.iter_mut().map(|c| warm_up(*c, budget)).collect::<Result<Vec<_>, _>>()?;
    let mut samples: Vec<Option<Vec<f64>>> = counts.iter().map(|count| count.map(|_| Vec::new())).collect();
    let (least, most) = (*budget.samples.start(), *budget.samples.end());
    let (start, total) = (Instant::now(), budget.total * contestants.len() as u32);
    for round in 0..most {
        if round >= least && start.elapsed() >= total {
            break;
        }
        for ((contestant, count), samples) in contestants.iter_mut().zip(&counts).zip(&mut samples) {
            if output::is_interrupted() {
                return Ok(None);
            }
            let (Some(count), Some(kept)) = (*count, samples.as_mut()) else { continue };
            match contestant.run(count)? {
                Some(time) => kept.push(time.as_secs_f64() / count as f64),
                None => *samples = None,
            }
        }
    }
    Ok(Some(samples.into_iter().map(|samples| samples.map(Times::new)).collect()))
}

/// Runs until clocks have settled, and gives the executions that fill a sample.
fn warm_up(contestant: &mut dyn Contestant, budget: &Budget) -> Result<Option<usize>, Failure> {
    let (start, mut executions) = (Instant::now(), 1);
    // The first one compiles.
    let mut warm = contestant.run(1)?.is_some();
    while warm {
        let Some(time) = contestant.run(executions)? else { break };
        if time < budget.sample && executions < MAX_EXECUTIONS {
            executions *= 2;
        } else if start.elapsed() >= budget.warm_up {
            return Ok(Some(executions));
        }
        warm = !output::is_interrupted();
    }
    Ok(None)
}

/// The same dispatches over one set of buffers after the other.
pub struct Dispatches<'a> {
    /// The device.
    pub gpu: &'a Gpu,
    /// What times it.
    pub clock: &'a Clock,
    /// Number of sets.
    pub sets: usize,
    /// The set that has rested longest, whatever ran on the others.
    pub next: &'a Cell<usize>,
    /// Records the dispatches over one set.
    pub record: &'a dyn Fn(&mut wgpu::ComputePass<'_>, usize),
}

impl Contestant for Dispatches<'_> {
    fn run(&mut self, executions: usize) -> Result<Option<Duration>, Failure> {
        let time = self.clock.time(self.gpu, |pass| {
            for _ in 0..executions {
                (self.record)(pass, self.next.get());
                self.next.set((self.next.get() + 1) % self.sets);
            }
        })?;
        Ok(Some(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so long an execution, and gives up after so many runs.
    struct Sleeper(Duration, usize);

    impl Contestant for Sleeper {
        fn run(&mut self, executions: usize) -> Result<Option<Duration>, Failure> {
            self.1 = self.1.saturating_sub(1);
            Ok((self.1 > 0).then(|| self.0 * executions as u32))
        }
    }

    #[test]
    fn samples_are_per_execution_and_those_that_give_up_are_left_out() {
        let ms = Duration::from_millis;
        let budget = Budget { sample: ms(8), warm_up: ms(0), total: ms(0), samples: 3..=5 };
        let (mut steady, mut weak, mut weaker) = (Sleeper(ms(2), 1000), Sleeper(ms(16), 5), Sleeper(ms(2), 2));
        let times = in_turn(&mut [&mut steady, &mut weak, &mut weaker], &budget).unwrap().unwrap();
        let medians: Vec<_> = times.iter().map(|times| times.map(|times| times.median)).collect();
        assert_eq!(medians, [Some(0.002), None, None]);
    }
}
