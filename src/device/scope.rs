//! Error scopes: what wgpu refuses becomes an `Err` here, not a call of the application's error handler.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wgpu::ErrorFilter;

/// The result of `work`, or the first error that wgpu reports in it.
///
/// Natively errors are known at once. In a browser they come later, when nobody may wait for them any more: no scope
/// keeps them from the device's own handler there.
pub(crate) fn catch<T>(device: &wgpu::Device, work: impl FnOnce() -> T) -> Result<T, wgpu::Error> {
    if cfg!(target_arch = "wasm32") {
        return Ok(work());
    }
    let (result, errors) = scoped(device, work);
    errors.into_iter().filter_map(|error| now(error).flatten()).next().map_or(Ok(result), Err)
}

/// Does `work` now. Its result comes when wgpu knows whether there are errors in it, in a browser too.
pub(crate) fn catch_later<T>(
    device: &wgpu::Device,
    work: impl FnOnce() -> T,
) -> impl Future<Output = Result<T, wgpu::Error>> {
    let (result, errors) = scoped(device, work);
    async move {
        let mut first = None;
        for error in errors {
            first = first.or(error.await);
        }
        first.map_or(Ok(result), Err)
    }
}

/// What a future has come to by now.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// The result of `work`, and its errors of each kind.
fn scoped<T>(
    device: &wgpu::Device,
    work: impl FnOnce() -> T,
) -> (T, Vec<impl Future<Output = Option<wgpu::Error>> + wgpu::WasmNotSend>) {
    let scopes = [ErrorFilter::Validation, ErrorFilter::OutOfMemory, ErrorFilter::Internal]
        .map(|filter| device.push_error_scope(filter));
    let result = work();
    // scopes close in the reverse of their order
    (result, scopes.into_iter().rev().map(|scope| scope.pop()).collect())
}
