//! The roofs: kernels that only move memory, against which norms are measured.

use std::cell::Cell;

use wgpu_norm::wgpu;
use wgpu_norm_tools::device::{Gpu, Tensor};
use wgpu_norm_tools::failure::Failure;

use super::clock::Clock;
use super::sample::{Budget, Contestant, Dispatches, in_turn};
use wgpu_norm_tools::report::Roof;

/// Bytes of what one invocation moves.
pub const QUAD: u64 = 16;
/// Times as many for one that only reads; as in `roof.wgsl`.
const SUMMED: u64 = 16;
/// Workgroups to choose from: a roof must not be understated.
const WORKGROUP_SIZES: [u32; 2] = [64, 256];
/// Bytes of a tensor for the choice, without and with a device of its own.
const CHOICE: [u64; 2] = [64 << 20, 256 << 20];

/// The kernels, compiled.
pub struct Roofs {
    kernels: [Kernel; 3],
}

struct Kernel {
    roof: Roof,
    pipeline: wgpu::ComputePipeline,
    workgroup_size: u64,
    max_workgroups: u64,
    gbps: f64,
}

/// A kernel over buffers.
pub struct BoundRoof<'a> {
    pipeline: &'a wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    grid: [u32; 2],
}

impl Roofs {
    /// Compiles them, with workgroups of the size that is fastest here.
    pub fn new(gpu: &Gpu, clock: &Clock) -> Result<Self, Failure> {
        let module = gpu.device.create_shader_module(wgpu::include_wgsl!("roof.wgsl"));
        let software = gpu.info.device_type == wgpu::DeviceType::Cpu;
        let limits = gpu.device.limits();
        let most = limits.max_buffer_size.min(limits.max_storage_buffer_binding_size);
        let bytes = CHOICE[usize::from(!software)].min(most) / QUAD * QUAD;
        let tensor = |what| gpu.tensor(what, bytes / 4);
        let tensors = [tensor("a")?, tensor("b")?, tensor("c")?];
        // nobody has written them yet: the device would clear them while it is timed
        tensors.iter().for_each(|tensor| gpu.clear(tensor));
        let fastest = |roof| Kernel::fastest(gpu, clock, &module, roof, &tensors);
        Ok(Self { kernels: [fastest(Roof::Copy)?, fastest(Roof::Triad)?, fastest(Roof::ReadOnly)?] })
    }

    /// What they reached before the first row.
    pub fn gbps(&self) -> impl Iterator<Item = (Roof, f64)> {
        self.kernels.iter().map(|kernel| (kernel.roof, kernel.gbps))
    }

    /// Binds one to whole buffers of the same size.
    pub fn bind(&self, gpu: &Gpu, roof: Roof, tensors: [&Tensor; 3]) -> BoundRoof<'_> {
        let [copy, triad, read_only] = &self.kernels;
        let kernel = match roof {
            Roof::Copy => copy,
            Roof::Triad => triad,
            Roof::ReadOnly => read_only,
        };
        kernel.bind(gpu, tensors)
    }
}

impl Kernel {
    fn new(gpu: &Gpu, module: &wgpu::ShaderModule, roof: Roof, workgroup_size: u32) -> Self {
        let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(roof.name()),
            layout: None,
            module,
            entry_point: Some(roof.name()),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &[("workgroup_size", f64::from(workgroup_size))],
                ..Default::default()
            },
            cache: None,
        });
        let max_workgroups = u64::from(gpu.device.limits().max_compute_workgroups_per_dimension);
        Self { roof, pipeline, workgroup_size: u64::from(workgroup_size), max_workgroups, gbps: 0.0 }
    }

    fn fastest(
        gpu: &Gpu,
        clock: &Clock,
        module: &wgpu::ShaderModule,
        roof: Roof,
        tensors: &[Tensor; 3],
    ) -> Result<Self, Failure> {
        let largest = gpu.device.limits().max_compute_invocations_per_workgroup;
        let mut kernels = WORKGROUP_SIZES.map(|size| Self::new(gpu, module, roof, size.min(largest)));
        let bound = kernels.each_ref().map(|kernel| kernel.bind(gpu, tensors.each_ref()));
        gpu.healthy()?;
        let next = &Cell::new(0);
        let record = [0, 1].map(|i| {
            let bound = &bound[i];
            move |pass: &mut wgpu::ComputePass<'_>, _| bound.record(pass)
        });
        let mut work = record.each_ref().map(|record| Dispatches { gpu, clock, sets: 1, next, record });
        let [first, second] = &mut work;
        let contestants: &mut [&mut dyn Contestant] = &mut [first, second];
        let times = in_turn(contestants, &Budget::of_choice(gpu.info.device_type))?.unwrap_or_default();
        let bytes = (roof.tensors() * tensors[0].buffer.size()) as f64;
        for (kernel, times) in kernels.iter_mut().zip(times) {
            kernel.gbps = times.map_or(0.0, |times| bytes / times.median / 1e9);
        }
        let [small, large] = kernels;
        Ok(if small.gbps > large.gbps { small } else { large })
    }

    fn bind(&self, gpu: &Gpu, [a, b, c]: [&Tensor; 3]) -> BoundRoof<'_> {
        let entry = |binding, operand: &Tensor| (binding, operand.buffer.clone());
        let buffers = match self.roof {
            Roof::Copy | Roof::ReadOnly => vec![entry(0, a), entry(2, c)],
            Roof::Triad => vec![entry(0, a), entry(1, b), entry(2, c)],
        };
        let entries: Vec<_> = buffers
            .iter()
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding: *binding, resource: buffer.as_entire_binding() })
            .collect();
        let bind_group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(self.roof.name()),
            layout: &self.pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let quads = if self.roof == Roof::ReadOnly { SUMMED } else { 1 };
        let workgroups = (a.buffer.size() / QUAD).div_ceil(self.workgroup_size * quads);
        BoundRoof { pipeline: &self.pipeline, bind_group, grid: grid(workgroups, self.max_workgroups) }
    }
}

impl BoundRoof<'_> {
    /// Records it into a pass.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }
}

fn grid(workgroups: u64, max: u64) -> [u32; 2] {
    let rows = workgroups.div_ceil(max).max(1);
    [workgroups.div_ceil(rows) as u32, rows as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_covers_all_workgroups_within_the_limit() {
        for (workgroups, max, expected) in [(1, 65535, [1, 1]), (65535, 65535, [65535, 1]), (65537, 65535, [32769, 2])]
        {
            assert_eq!(grid(workgroups, max), expected);
        }
    }

    #[test]
    fn roofs_compute_what_they_are_called() {
        let gpu = Gpu::require(&wgpu_norm_tools::device::DeviceArgs::default(), "this test needs one").unwrap();
        let roofs = Roofs::new(&gpu, &Clock::Wall).unwrap();
        let data: Vec<f32> = (0..10_000).map(|i| (i % 7) as f32).collect();
        let (a, b) = (gpu.upload("a", &data).unwrap(), gpu.upload("b", &vec![2.0; data.len()]).unwrap());
        for (roof, expected) in [(Roof::Copy, 0.0), (Roof::Triad, 1.0)] {
            let c = gpu.tensor("c", a.len).unwrap();
            let bound = roofs.bind(&gpu, roof, [&a, &b, &c]);
            gpu.run(|pass| bound.record(pass)).unwrap();
            let wanted: Vec<f32> = data.iter().map(|x| x + expected).collect();
            assert_eq!(gpu.download(&c).unwrap(), wanted, "{roof:?}");
        }
        let c = gpu.tensor("c", a.len).unwrap();
        gpu.clear(&c);
        let bound = roofs.bind(&gpu, Roof::ReadOnly, [&a, &b, &c]);
        gpu.run(|pass| bound.record(pass)).unwrap();
        assert_eq!(gpu.download(&c).unwrap().iter().sum::<f32>(), data.iter().sum::<f32>());
        assert!(roofs.gbps().all(|(_, gbps)| gbps > 0.0));
    }
}
