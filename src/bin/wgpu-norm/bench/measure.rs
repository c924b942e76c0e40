//! One case on the device: a norm and a copy over the same buffers, in turn.
//!
//! A sample is the time from submit to the end of one pass with many dispatches, divided by their number. Each dispatch
//! takes the next of several sets of buffers that together are larger than any cache, so that what it reads is cold.

use std::cell::Cell;
use std::time::{Duration, Instant};

use wgpu_norm::wgpu;
use wgpu_norm::{
    BindError, BoundNorm, BufferView, Destination, ForwardArgs, ImportArgs, Norm, StatisticsSource, TrainingArgs,
};

use super::roof::{Copy, QUAD};
use super::suite::{BenchCase, Statistics};
use super::times::Times;
use crate::cases::Fill;
use crate::check::Comparison;
use crate::compute::Tensors;
use crate::device::{Gpu, Operand};
use crate::failure::Failure;

/// Bytes of all sets: four times the cache of a large GPU, and of a processor.
const COLD: u64 = 256 << 20;
const COLD_SOFTWARE: u64 = 128 << 20;
/// Numbers of sets.
const SETS: std::ops::RangeInclusive<u64> = 4..=64;
/// A sample is at least so long: submitting takes some 50 µs.
const SAMPLE: Duration = Duration::from_millis(20);
/// Clocks have settled after so long.
const WARM_UP: Duration = Duration::from_millis(150);
/// Most dispatches of a sample, however short they are.
const MAX_DISPATCHES: usize = 1 << 13;
/// The samples of a case take about so long, within their numbers.
const BUDGET: Duration = Duration::from_millis(1500);
/// Numbers of samples.
const SAMPLES: std::ops::RangeInclusive<usize> = 15..=30;
/// What outputs hold before the pass that is checked.
const POISON: f32 = f32::NAN;
/// Bytes written to the device at a time.
const CHUNK: usize = 32 << 20;

/// What was measured of a case.
pub struct Measured {
    /// How the norm computed.
    pub schedule: String,
    /// Bytes that it cannot do without.
    pub min_bytes: u64,
    /// Seconds of a norm.
    pub norm: Times,
    /// Bytes that a copy moves.
    pub copy_bytes: u64,
    /// Seconds of a copy.
    pub copy: Times,
    /// Largest error over all outputs, in units of the largest value; infinite where a NaN is misplaced.
    pub error: f64,
}

/// Measures a case; `None` where the device has no memory for it.
pub fn measure(gpu: &Gpu, copy: &Copy, case: &BenchCase) -> Result<Option<Measured>, Failure> {
    let descriptor = case.case.descriptor();
    let norm = gpu.engine.create_norm(&descriptor)?;
    let Some(rig) = Rig::new(gpu, &norm, case)? else { return Ok(None) };
    let channels = norm.given_segment_count();
    let given = (case.statistics == Statistics::Given).then_some(channels);
    let tensors = case.case.tensors(Fill::Normal, norm.affine_len(), given);
    rig.fill(gpu, &norm, &tensors)?;

    let norms = rig.sets.iter().map(|set| rig.bind(&norm, set)).collect::<Result<Vec<_>, _>>()?;
    let copies: Vec<_> = rig.sets.iter().map(|set| copy.bind(gpu, &set.input, &set.output)).collect();
    gpu.healthy()?;
    let next = &Cell::new(0);
    let sets = rig.sets.len();
    let norms = Work { gpu, sets, next, record: &|pass, set| norms[set].record(pass) };
    let copies = Work { gpu, sets, next, record: &|pass, set| copies[set].record(pass) };
    let (copy_time, norm_time) = in_turn(&copies, &norms)?;

    let poison = vec![POISON; norm.len() as usize];
    rig.sets.iter().try_for_each(|set| write(gpu, &set.output, &poison))?;
    norms.run(sets)?;
    let error = rig.worst_error(gpu, &tensors.reference(&descriptor)?.output)?;
    Ok(Some(Measured {
        schedule: if given.is_some() { "given".to_owned() } else { norm.schedule().to_string() },
        min_bytes: case.minimal_bytes(norm.affine_len(), channels),
        norm: norm_time,
        copy_bytes: 2 * rig.sets[0].input.buffer.size(),
        copy: copy_time,
        error,
    }))
}

/// Samples of `a` and `b` alternately, so that what disturbs one disturbs the other too.
fn in_turn(a: &Work<'_>, b: &Work<'_>) -> Result<(Times, Times), Failure> {
    let (a_count, b_count) = (a.warm_up()?, b.warm_up()?);
    let (mut a_samples, mut b_samples) = (Vec::new(), Vec::new());
    let start = Instant::now();
    while a_samples.len() < *SAMPLES.start() || (a_samples.len() < *SAMPLES.end() && start.elapsed() < BUDGET) {
        a_samples.push(a.seconds(a_count)?);
        b_samples.push(b.seconds(b_count)?);
    }
    Ok((Times::new(a_samples), Times::new(b_samples)))
}

/// The same dispatch over one set after the other.
struct Work<'a> {
    gpu: &'a Gpu,
    sets: usize,
    /// The set that has rested longest, whatever ran on the others.
    next: &'a Cell<usize>,
    record: &'a dyn Fn(&mut wgpu::ComputePass<'_>, usize),
}

impl Work<'_> {
    fn run(&self, dispatches: usize) -> Result<Duration, Failure> {
        self.gpu.run(|pass| {
            for _ in 0..dispatches {
                (self.record)(pass, self.next.get());
                self.next.set((self.next.get() + 1) % self.sets);
            }
        })
    }

    /// Seconds of one dispatch, of so many.
    fn seconds(&self, dispatches: usize) -> Result<f64, Failure> {
        Ok(self.run(dispatches)?.as_secs_f64() / dispatches as f64)
    }

    /// Runs until clocks have settled, and gives the dispatches that fill a sample.
    fn warm_up(&self) -> Result<usize, Failure> {
        let (start, mut dispatches) = (Instant::now(), 1);
        // The first one compiles.
        self.run(self.sets)?;
        loop {
            if self.run(dispatches)? < SAMPLE && dispatches < MAX_DISPATCHES {
                dispatches *= 2;
            } else if start.elapsed() >= WARM_UP {
                return Ok(dispatches);
            }
        }
    }
}

/// The buffers of a case.
struct Rig {
    sets: Vec<Set>,
    scale: Operand,
    bias: Operand,
    /// Mean, variance, and the records of them.
    given: Option<(Operand, Operand, wgpu::Buffer)>,
    workspace: Option<wgpu::Buffer>,
}

/// What one dispatch has for itself.
struct Set {
    input: Operand,
    output: Operand,
    saved: Option<wgpu::Buffer>,
}

impl Rig {
    /// Makes all buffers; `None` where the device has no memory for them.
    fn new(gpu: &Gpu, norm: &Norm, case: &BenchCase) -> Result<Option<Self>, Failure> {
        if !fits(tensor_bytes(norm.len()), &gpu.device.limits()) {
            return Ok(None);
        }
        let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let rig = Self::allocate(gpu, norm, case)?;
        Ok(pollster::block_on(scope.pop()).is_none().then_some(rig))
    }

    fn allocate(gpu: &Gpu, norm: &Norm, case: &BenchCase) -> Result<Self, Failure> {
        let bytes = tensor_bytes(norm.len());
        let tensor = |what| Ok::<_, Failure>(Operand { buffer: gpu.buffer(what, bytes)?, len: norm.len() });
        let set = |_| {
            let saved = (case.statistics == Statistics::Saved).then(|| norm.statistics_size());
            let saved = saved.map(|bytes| gpu.buffer("saved statistics", bytes)).transpose()?;
            Ok::<_, Failure>(Set { input: tensor("input")?, output: tensor("output")?, saved })
        };
        let channels = norm.given_segment_count();
        let given = match case.statistics {
            Statistics::Given => Some((
                gpu.operand("mean", channels)?,
                gpu.operand("variance", channels)?,
                gpu.buffer("statistics", norm.given_statistics_size())?,
            )),
            Statistics::Computed | Statistics::Saved => None,
        };
        let workspace = Some(norm.workspace_size()).filter(|&bytes| bytes > 0);
        Ok(Self {
            sets: (0..set_count(2 * bytes, gpu.info.device_type)).map(set).collect::<Result<_, _>>()?,
            scale: gpu.operand("scale", norm.affine_len())?,
            bias: gpu.operand("bias", norm.affine_len())?,
            given,
            workspace: workspace.map(|bytes| gpu.buffer("workspace", bytes)).transpose()?,
        })
    }

    /// Uploads the same tensors to every set.
    fn fill(&self, gpu: &Gpu, norm: &Norm, tensors: &Tensors) -> Result<(), Failure> {
        self.sets.iter().try_for_each(|set| write(gpu, &set.input, &tensors.input))?;
        for (operand, data) in [(&self.scale, &tensors.scale), (&self.bias, &tensors.bias)] {
            write(gpu, operand, data.as_deref().unwrap_or_default())?;
        }
        if let (Some((mean, variance, records)), Some(data)) = (&self.given, &tensors.given) {
            write(gpu, mean, &data.0)?;
            write(gpu, variance, &data.1)?;
            let statistics = BufferView::whole(records);
            let import = norm.bind_import(&ImportArgs { mean: mean.view(), variance: variance.view(), statistics })?;
            gpu.run(|pass| import.record(pass))?;
        }
        Ok(())
    }

    fn bind(&self, norm: &Norm, set: &Set) -> Result<BoundNorm, BindError> {
        let (input, output) = (set.input.view(), Destination::View(set.output.view()));
        let (scale, bias, style) = (Some(self.scale.view()), Some(self.bias.view()), None);
        let workspace = self.workspace.as_ref().map(BufferView::whole);
        if let Some(saved) = &set.saved {
            let saved = BufferView::whole(saved);
            return norm.bind_training(&TrainingArgs { input, output, scale, bias, style, saved, workspace });
        }
        let statistics = match &self.given {
            Some((_, _, records)) => StatisticsSource::Given(BufferView::whole(records)),
            None => StatisticsSource::Input,
        };
        norm.bind_forward(&ForwardArgs { input, output, scale, bias, style, statistics, workspace })
    }

    fn worst_error(&self, gpu: &Gpu, reference: &[f64]) -> Result<f64, Failure> {
        let errors = self.sets.iter().map(|set| {
            let comparison = Comparison::new(&gpu.download(&set.output)?, reference);
            Ok(if comparison.misplaced == 0 { comparison.relative } else { f64::INFINITY })
        });
        errors.into_iter().try_fold(0.0, |worst, error: Result<f64, Failure>| Ok(error?.max(worst)))
    }
}

/// Bytes of a tensor's buffer, which the copy moves to its end.
fn tensor_bytes(len: u64) -> u64 {
    (len * 4).next_multiple_of(QUAD)
}

/// Whether a tensor's buffer may be made, and bound whole as the copy does.
fn fits(bytes: u64, limits: &wgpu::Limits) -> bool {
    bytes <= limits.max_buffer_size.min(limits.max_storage_buffer_binding_size)
}

/// Sets of `bytes` each that no cache holds.
fn set_count(bytes: u64, device_type: wgpu::DeviceType) -> u64 {
    let cold = if device_type == wgpu::DeviceType::Cpu { COLD_SOFTWARE } else { COLD };
    cold.div_ceil(bytes.max(1)).clamp(*SETS.start(), *SETS.end())
}

fn write(gpu: &Gpu, operand: &Operand, data: &[f32]) -> Result<(), Failure> {
    for (index, chunk) in bytemuck::cast_slice::<f32, u8>(data).chunks(CHUNK).enumerate() {
        gpu.queue.write_buffer(&operand.buffer, (index * CHUNK) as u64, chunk);
        // An empty pass ends when the write has: staging memory does not pile up.
        gpu.run(|_| ())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wgpu_norm::{MemoryFormat, NormKind};

    use super::*;
    use crate::cases::Case;

    #[test]
    fn sets_outgrow_caches_within_limits() {
        let (gpu, software) = (wgpu::DeviceType::DiscreteGpu, wgpu::DeviceType::Cpu);
        let cases = [(8 << 20, gpu, 32), (8 << 20, software, 16), (1 << 30, gpu, 4), (1, gpu, 64), (0, software, 64)];
        for (bytes, device_type, expected) in cases {
            assert_eq!(set_count(bytes, device_type), expected, "{bytes} bytes");
        }
        let limits = wgpu::Limits::default();
        assert!(fits(limits.max_storage_buffer_binding_size, &limits));
        assert!(!fits(limits.max_storage_buffer_binding_size + 1, &limits));
        assert_eq!([0, 1, 4, 5].map(tensor_bytes), [0, 16, 16, 32]);
    }

    #[test]
    fn cases_are_measured_and_checked() {
        let Some(gpu) = Gpu::open(None).unwrap() else { return };
        let copy = Copy::new(&gpu);
        let case = |statistics| BenchCase {
            case: Case { kind: NormKind::Batch, shape: &[2, 3, 5], format: MemoryFormat::ChannelsFirst },
            statistics,
        };
        for statistics in [Statistics::Computed, Statistics::Saved, Statistics::Given] {
            let measured = measure(&gpu, &copy, &case(statistics)).unwrap().unwrap();
            assert!(measured.error < 1e-6, "{statistics:?}: {}", measured.error);
            assert!(measured.norm.p20 > 0.0 && measured.copy.p20 <= measured.copy.p80);
        }
    }
}
