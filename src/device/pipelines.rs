//! A cache of compiled kernels, made when first needed. It does not know what they are compiled to.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
#[cfg(not(target_arch = "wasm32"))]
use std::num::NonZero;
use std::pin::Pin;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::scope;
use crate::error::BindError;
use crate::kernel::Kernel;

/// What a compiler has to say of a kernel: what is wrong with it, if anything. Known at once natively, later in a
/// browser.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) type Verdict = Pin<Box<dyn Future<Output = Option<String>> + Send>>;
#[cfg(target_arch = "wasm32")]
pub(crate) type Verdict = Pin<Box<dyn Future<Output = Option<String>>>>;

/// A kernel's place in the cache.
struct Entry<C> {
    compiled: OnceLock<C>,
    /// Held while the kernel is compiled, so that nobody else compiles it too; what is left to learn of it afterwards.
    making: Mutex<Option<Verdict>>,
}

impl<C> Default for Entry<C> {
    fn default() -> Self {
        Self { compiled: OnceLock::new(), making: Mutex::default() }
    }
}

/// Compiled kernels by their keys.
pub(crate) struct PipelineCache<C> {
    entries: Mutex<HashMap<Kernel, Arc<Entry<C>>>>,
}

impl<C> Default for PipelineCache<C> {
    fn default() -> Self {
        Self { entries: Mutex::default() }
    }
}

impl<C> fmt::Debug for PipelineCache<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineCache").field("kernels", &self.len()).finish()
    }
}

impl<C> PipelineCache<C> {
    /// What a kernel is compiled to, by `compile` if it is not there yet. Threads wait for each other only where they
    /// need the same kernel. One that has turned out to be wrong since it was compiled leaves the cache with its error.
    pub(crate) fn get(
        &self,
        kernel: &Kernel,
        compile: impl FnOnce() -> Result<(C, Option<Verdict>), BindError>,
    ) -> Result<C, BindError>
    where
        C: Clone,
    {
        let entry = self.entries().entry(*kernel).or_default().clone();
        // a panic elsewhere leaves the entry empty, as it was
        let mut making = entry.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(message) = making.as_mut().and_then(scope::now) {
            *making = None;
            if let Some(message) = message {
                self.entries().remove(kernel);
                return Err(BindError::Pipeline { kernel: kernel.to_string(), message });
            }
        }
        if let Some(found) = entry.compiled.get() {
            return Ok(found.clone());
        }
        let (made, verdict) = compile()?;
        *making = verdict;
        Ok(entry.compiled.get_or_init(|| made).clone())
    }

    /// Keeps what a kernel was compiled to elsewhere.
    pub(crate) fn put(&self, kernel: &Kernel, made: C) {
        let entry = self.entries().entry(*kernel).or_default().clone();
        entry.compiled.get_or_init(|| made);
    }

    /// Whether a kernel is there, and nothing is left to learn of it.
    pub(crate) fn has(&self, kernel: &Kernel) -> bool {
        let Some(entry) = self.entries().get(kernel).cloned() else { return false };
        entry.compiled.get().is_some() && entry.making.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Number of compiled kernels.
    pub(crate) fn len(&self) -> usize {
        self.entries().values().filter(|entry| entry.compiled.get().is_some()).count()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Kernel, Arc<Entry<C>>>> {
        // a panic elsewhere cannot leave the map half-written
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `work` on every key, on as many threads as the system runs at once; gives the first error in the order of the
/// keys.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn for_each(
    keys: &[Kernel],
    work: impl Fn(&Kernel) -> Result<(), BindError> + Sync,
) -> Result<(), BindError> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(keys.len());
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let take = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(key) = keys.get(at) else { break };
            if let Err(error) = work(key) {
                failures.lock().unwrap_or_else(PoisonError::into_inner).push((at, error));
            }
        }
    };
    std::thread::scope(|scope| {
        // this thread is one of them
        for _ in 1..threads {
            scope.spawn(take);
        }
        take();
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.into_iter().min_by_key(|(at, _)| *at).map_or(Ok(()), |(_, error)| Err(error))
}

/// Runs `work` on every key, one after the other: a page has one thread.
#[cfg(target_arch = "wasm32")]
pub(crate) fn for_each(keys: &[Kernel], work: impl Fn(&Kernel) -> Result<(), BindError>) -> Result<(), BindError> {
    keys.iter().try_for_each(work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Affine, BufferId, DeviceFacts, ForwardArgs, NormDescriptor, NormKind, Planner, TensorView};
    use std::sync::atomic::AtomicU32;

    /// A verdict that comes at the second time of asking.
    struct Slow(Option<Option<String>>, u32);

    impl Future for Slow {
        type Output = Option<String>;

        fn poll(mut self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<Option<String>> {
            self.1 += 1;
            if self.1 < 2 { std::task::Poll::Pending } else { std::task::Poll::Ready(self.0.take().flatten()) }
        }
    }

    fn kernel() -> Kernel {
        let descriptor = NormDescriptor { affine: Affine::None, ..NormDescriptor::new(NormKind::Instance, &[2, 1, 4]) };
        let plan = Planner::new(DeviceFacts::DEFAULT).plan(&descriptor).expect("a plan");
        let view = |id| TensorView::new(BufferId { id, size: 32 }, 0, 8);
        plan.forward(&ForwardArgs::new(view(0), view(1))).expect("a recipe").kernels[0]
    }

    #[test]
    fn a_kernel_that_turns_out_to_be_wrong_leaves_the_cache_with_its_error() {
        let (cache, kernel, made) = (PipelineCache::default(), kernel(), AtomicU32::new(0));
        let compile = |verdict: Option<&str>| {
            let slow = Slow(Some(verdict.map(str::to_owned)), 0);
            cache.get(&kernel, || Ok((made.fetch_add(1, Ordering::Relaxed), Some(Box::pin(slow) as Verdict))))
        };
        // compiled, nothing known yet, known to be wrong, compiled again
        assert_eq!(compile(Some("no such type")), Ok(0));
        assert!(!cache.has(&kernel));
        assert_eq!(compile(None), Ok(0));
        let wrong = BindError::Pipeline { kernel: kernel.to_string(), message: "no such type".to_owned() };
        assert_eq!((compile(None), cache.len()), (Err(wrong), 0));
        assert_eq!(compile(None), Ok(1));
        // not known yet, known to be right, and never asked again
        assert_eq!([compile(None), compile(None), compile(None)], [Ok(1), Ok(1), Ok(1)]);
        assert!(cache.has(&kernel));
    }

    #[test]
    fn what_cannot_be_compiled_is_not_kept() {
        let (cache, kernel) = (PipelineCache::<u32>::default(), kernel());
        let wrong = BindError::Pipeline { kernel: String::new(), message: String::new() };
        assert_eq!(cache.get(&kernel, || Err(wrong.clone())), Err(wrong));
        assert_eq!((cache.len(), cache.has(&kernel)), (0, false));
        cache.put(&kernel, 3);
        assert_eq!(cache.get(&kernel, || Ok((4, None))), Ok(3));
    }
}
