//! Small tensors on the GPU: up, run, down, without a word to the terminal.

use wgpu_norm::wgpu;
use wgpu_norm::{BoundNorm, NormEngine, TensorView};

use crate::device;
use crate::failure::Failure;

/// A device with an engine on it.
pub struct Gpu(device::Gpu);

/// A tensor of f32 in a buffer of its own.
pub struct Tensor {
    buffer: wgpu::Buffer,
    len: u64,
}

impl Tensor {
    /// All of it.
    pub fn view(&self) -> TensorView<'_> {
        self.part(0, self.len)
    }

    /// `len` elements from element `first` on.
    pub fn part(&self, first: u64, len: u64) -> TensorView<'_> {
        TensorView::new(&self.buffer, first * 4, len)
    }
}

impl Gpu {
    /// The adapter that is `wanted`, or the best.
    pub fn open(wanted: &device::DeviceArgs) -> Result<Self, Failure> {
        device::Gpu::require(wanted, "replay runs on one; scripts/test installs a software driver").map(Self)
    }

    /// Name, backend and type of the adapter.
    pub fn describe(&self) -> String {
        device::describe(&self.0.info)
    }

    /// Its engine.
    pub fn engine(&self) -> &NormEngine {
        &self.0.engine
    }

    /// Its queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.0.queue
    }

    /// A tensor of these elements.
    pub fn upload(&self, values: &[f32]) -> Result<Tensor, Failure> {
        let buffer = self.upload_bytes(bytemuck::cast_slice(values))?;
        Ok(Tensor { buffer, len: values.len() as u64 })
    }

    /// A tensor to write to. It holds NaN, so that an element left out is seen.
    pub fn poisoned(&self, len: u64) -> Result<Tensor, Failure> {
        Ok(Tensor { buffer: self.scratch(len * 4)?, len })
    }

    /// `size` bytes of records or workspace, not zero.
    pub fn scratch(&self, size: u64) -> Result<wgpu::Buffer, Failure> {
        self.upload_bytes(&vec![0xff; size as usize])
    }

    /// A counter.
    pub fn counter(&self, value: u32) -> Result<wgpu::Buffer, Failure> {
        self.upload_bytes(bytemuck::bytes_of(&value))
    }

    fn upload_bytes(&self, bytes: &[u8]) -> Result<wgpu::Buffer, Failure> {
        let buffer = self.0.buffer("replay", bytes.len() as u64)?;
        self.0.queue.write_buffer(&buffer, 0, bytes);
        Ok(buffer)
    }

    /// Runs all of `work`, in order, with one encoder and one submit.
    pub fn run(&self, work: &[BoundNorm]) -> Result<(), Failure> {
        self.0.run(|pass| work.iter().for_each(|bound| bound.record(pass)))?;
        Ok(())
    }

    /// The elements of a tensor.
    pub fn download(&self, tensor: &Tensor) -> Result<Vec<f32>, Failure> {
        let bytes = self.download_bytes(&tensor.buffer, tensor.len * 4)?;
        Ok(bytes.as_chunks().0.iter().map(|&bytes| f32::from_ne_bytes(bytes)).collect())
    }

    /// The value of a counter.
    pub fn download_counter(&self, counter: &wgpu::Buffer) -> Result<u32, Failure> {
        let bytes = self.download_bytes(counter, 4)?;
        Ok(bytes.as_chunks().0.first().map_or(0, |&bytes| u32::from_ne_bytes(bytes)))
    }

    fn download_bytes(&self, buffer: &wgpu::Buffer, size: u64) -> Result<Vec<u8>, Failure> {
        if size == 0 {
            return Ok(Vec::new());
        }
        let bytes = wgpu_norm::read_buffer_blocking(&self.0.device, &self.0.queue, buffer, 0..size);
        // The device's own words say more than the failed read that follows from them.
        self.0.healthy()?;
        Ok(bytes?)
    }
}
