//! Reading a buffer back, which waits for the device.

use std::ops::Range;

use super::scope;
use crate::error::ReadError;

/// Copies a range of bytes out of a buffer. Submits one copy; the buffer needs `BufferUsages::COPY_SRC`, the range
/// multiples of 4. The future completes when the application polls the device (natively) or by itself (in a browser).
///
/// # Errors
/// [`ReadError::Map`] where the buffer cannot be copied or mapped.
pub async fn read_buffer(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    buffer: &wgpu::Buffer,
    range: Range<u64>,
) -> Result<Vec<u8>, ReadError> {
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let (sender, receiver) = futures_channel::oneshot::channel();
    // a receiver that is gone no longer wants the answer
    let staging = start(device, queue, buffer, range, move |result| drop(sender.send(result)))?;
    let result = receiver.await.map_err(|_| ReadError::Device { message: "the device dropped the request".into() })?;
    finish(&staging, result)
}

/// As [`read_buffer`], waiting for the device. Not for browsers, where nothing may block.
///
/// # Errors
/// As [`read_buffer`]; [`ReadError::Device`] where the device is lost or does not finish.
#[cfg(not(target_arch = "wasm32"))]
pub fn read_buffer_blocking(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    buffer: &wgpu::Buffer,
    range: Range<u64>,
) -> Result<Vec<u8>, ReadError> {
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let staging = start(device, queue, buffer, range, move |result| drop(sender.send(result)))?;
    loop {
        device
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|error| ReadError::Device { message: error.to_string() })?;
        // another thread that polls the same device may have taken the callback and not called it yet
        match receiver.recv_timeout(std::time::Duration::from_millis(100)) {
            Ok(result) => return finish(&staging, result),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                return Err(ReadError::Device { message: "the device dropped the request".into() });
            }
        }
    }
}

type Mapped = Result<(), wgpu::BufferAsyncError>;

fn start(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    buffer: &wgpu::Buffer,
    range: Range<u64>,
    mapped: impl FnOnce(Mapped) + wgpu::WasmNotSend + 'static,
) -> Result<wgpu::Buffer, ReadError> {
    let needed = wgpu::BufferUsages::COPY_SRC;
    if !buffer.usage().contains(needed)
        || range.end > buffer.size()
        || !range.start.is_multiple_of(4)
        || !range.end.is_multiple_of(4)
    {
        let message = format!(
            "bytes {range:?} of a buffer of {} bytes with usage {:?}; needs {needed:?} and multiples of 4",
            buffer.size(),
            buffer.usage()
        );
        return Err(ReadError::Map { message });
    }
    let size = range.end - range.start;
    scope::catch(device, || {
        let staging = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("wgpu-norm read back"),
            size,
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        let mut encoder =
            device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("wgpu-norm read back") });
        encoder.copy_buffer_to_buffer(buffer, range.start, &staging, 0, size);
        queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., mapped);
        staging
    })
    .map_err(|error| ReadError::Device { message: error.to_string() })
}

fn finish(staging: &wgpu::Buffer, result: Mapped) -> Result<Vec<u8>, ReadError> {
    let failed = |message: String| ReadError::Map { message };
    result.map_err(|error| failed(error.to_string()))?;
    let view = staging.get_mapped_range(..).map_err(|error| failed(error.to_string()))?;
    Ok(view.to_vec())
}
