//! Reading a buffer back, which waits for the device.

use std::ops::Range;

use super::scope;
use crate::error::ReadError;

/// Copies a range of bytes out of a buffer. Submits one copy; the buffer needs `BufferUsages::COPY_SRC`, the range
/// multiples of 4. The queue has to be the device's own: wgpu reports what another one refuses to that one's device.
/// The future completes when the application polls the device (natively) or by itself (in a browser).
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
    check(buffer, &range)?;
    let (sender, receiver) = futures_channel::oneshot::channel();
    // a receiver that is gone no longer wants the answer
    let mapped = move |result| drop(sender.send(result));
    let staging = scope::catch_later(device, || copy(device, queue, buffer, range, mapped)).await.map_err(refused)?;
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
    check(buffer, &range)?;
    let (sender, receiver) = std::sync::mpsc::channel();
    let mapped = move |result| drop(sender.send(result));
    let staging = scope::catch(device, || copy(device, queue, buffer, range, mapped)).map_err(refused)?;
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

fn refused(error: wgpu::Error) -> ReadError {
    ReadError::Device { message: error.to_string() }
}

fn check(buffer: &wgpu::Buffer, range: &Range<u64>) -> Result<(), ReadError> {
    let needed = wgpu::BufferUsages::COPY_SRC;
    let in_words = range.start.is_multiple_of(4) && range.end.is_multiple_of(4);
    if buffer.usage().contains(needed) && range.end <= buffer.size() && in_words {
        return Ok(());
    }
    let message = format!(
        "bytes {range:?} of a buffer of {} bytes with usage {:?}; needs {needed:?} and multiples of 4",
        buffer.size(),
        buffer.usage()
    );
    Err(ReadError::Map { message })
}

/// Submits a copy to a buffer that can be mapped, and asks for it.
fn copy(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    buffer: &wgpu::Buffer,
    range: Range<u64>,
    mapped: impl FnOnce(Mapped) + wgpu::WasmNotSend + 'static,
) -> wgpu::Buffer {
    let size = range.end - range.start;
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
}

fn finish(staging: &wgpu::Buffer, result: Mapped) -> Result<Vec<u8>, ReadError> {
    let failed = |message: String| ReadError::Map { message };
    result.map_err(|error| failed(error.to_string()))?;
    let view = staging.get_mapped_range(..).map_err(|error| failed(error.to_string()))?;
    Ok(view.to_vec())
}
