//! Error scopes: what wgpu refuses becomes an `Err` here, not a call of the application's error handler.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wgpu::ErrorFilter;

/// The result of `work`, or the first error that wgpu reports in it.
///
/// Natively errors are known at once. In a browser they come later and reach the device's own handler.
pub(crate) fn catch<T>(device: &wgpu::Device, work: impl FnOnce() -> T) -> Result<T, wgpu::Error> {
    let scopes = [ErrorFilter::Validation, ErrorFilter::OutOfMemory, ErrorFilter::Internal]
        .map(|filter| device.push_error_scope(filter));
    let result = work();
    // scopes close in the reverse of their order
    let errors: Vec<_> = scopes.into_iter().rev().filter_map(|scope| ready(scope.pop())).collect();
    errors.into_iter().next().map_or(Ok(result), Err)
}

/// The value of a future that is ready at its first poll.
fn ready(future: impl Future<Output = Option<wgpu::Error>>) -> Option<wgpu::Error> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(error) => error,
        Poll::Pending => None,
    }
}
