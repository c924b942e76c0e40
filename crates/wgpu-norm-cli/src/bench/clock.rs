//! What measures a pass: the device itself, or the time from submit to its end.

use std::time::Duration;

use wgpu_norm::wgpu;
use wgpu_norm_tools::device::Gpu;
use wgpu_norm_tools::failure::Failure;

/// How passes are timed.
pub enum Clock {
    /// From submit to the end of waiting.
    Wall,
    /// By the device, at the beginning and at the end of a pass.
    Timestamps {
        /// The two.
        queries: wgpu::QuerySet,
        /// As ticks.
        ticks: wgpu::Buffer,
        /// Seconds of a tick.
        period: f64,
    },
}

impl Clock {
    /// Timestamps where the device has them. On a software adapter what the host does is done by the same processor,
    /// and counts.
    pub fn new(gpu: &Gpu) -> Self {
        let software = gpu.info.device_type == wgpu::DeviceType::Cpu;
        let timestamps = gpu.device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        if timestamps && !software { Self::timestamps(gpu) } else { Self::Wall }
    }

    /// Of a device with the feature.
    fn timestamps(gpu: &Gpu) -> Self {
        let queries = gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("bench"),
            ty: wgpu::QueryType::Timestamp,
            count: 2,
        });
        let ticks = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("ticks"),
            size: 16,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        Self::Timestamps { queries, ticks, period: f64::from(gpu.queue.get_timestamp_period()) * 1e-9 }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Wall => "wall clock",
            Self::Timestamps { .. } => "timestamps",
        }
    }

    /// Runs what `record` records in one pass, and gives the time that took.
    pub fn time(&self, gpu: &Gpu, record: impl FnOnce(&mut wgpu::ComputePass<'_>)) -> Result<Duration, Failure> {
        let Self::Timestamps { queries, ticks, period } = self else { return gpu.run(record) };
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: None,
            timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                query_set: queries,
                beginning_of_pass_write_index: Some(0),
                end_of_pass_write_index: Some(1),
            }),
        });
        record(&mut pass);
        drop(pass);
        encoder.resolve_query_set(queries, 0..2, ticks, 0);
        let wall = gpu.finish(encoder)?;
        let bytes = wgpu_norm::read_buffer_blocking(&gpu.device, &gpu.queue, ticks, 0..16)?;
        let [start, end]: [u64; 2] = bytemuck::pod_read_unaligned(&bytes);
        Ok(between(start, end, *period).filter(|time| *time <= wall).unwrap_or(wall))
    }
}

/// What passed between two ticks of `period` seconds; `None` where they make no sense, as on a device that never writes
/// them.
fn between(start: u64, end: u64, period: f64) -> Option<Duration> {
    let seconds = end.checked_sub(start)? as f64 * period;
    Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_that_make_no_sense_are_no_time() {
        assert_eq!(between(100, 300, 1e-9), Some(Duration::from_nanos(200)));
        for (start, end, period) in
            [(0, 0, 1e-9), (300, 100, 1e-9), (0, u64::MAX, 1e9), (0, 5, f64::NAN), (0, 5, -1.0), (0, 5, f64::INFINITY)]
        {
            assert_eq!(between(start, end, period), None, "{start} {end} {period}");
        }
    }

    #[test]
    fn timestamps_and_the_wall_agree() {
        let gpu = Gpu::open(&wgpu_norm_tools::device::DeviceArgs::default()).unwrap().unwrap();
        if !gpu.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return;
        }
        let module = gpu.device.create_shader_module(wgpu::include_wgsl!("roof.wgsl"));
        let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("copy"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let [a, c] = ["a", "c"].map(|what| gpu.tensor(what, 1 << 22).unwrap());
        [&a, &c].into_iter().for_each(|operand| gpu.clear(operand));
        let bind_group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[(0, &a), (2, &c)]
                .map(|(binding, o)| wgpu::BindGroupEntry { binding, resource: o.buffer.as_entire_binding() }),
        });
        let work = |pass: &mut wgpu::ComputePass<'_>| {
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &bind_group, &[]);
            (0..8).for_each(|_| pass.dispatch_workgroups(1 << 12, 1, 1));
        };
        let mut ratios = [0.0; 5].map(|_| {
            let wall = Clock::Wall.time(&gpu, work).unwrap();
            Clock::timestamps(&gpu).time(&gpu, work).unwrap().as_secs_f64() / wall.as_secs_f64()
        });
        ratios.sort_by(f64::total_cmp);
        // the wall has the submission besides; a wrong unit would be off by far more
        assert!((0.05..4.0).contains(&ratios[2]), "{ratios:?}");
    }
}
