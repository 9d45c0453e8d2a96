//! The order to stop.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Tells a server to stop; cheap to clone, from any thread.
///
/// ```
/// let stop = ambidex_server::Stop::default();
/// assert!(!stop.is_set());
/// stop.clone().set();
/// assert!(stop.is_set());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Stop {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    set: AtomicBool,
    waiters: Mutex<Vec<Waker>>,
}

impl Stop {
    /// Stops accepting, lets answers in flight finish.
    pub fn set(&self) {
        self.shared.set.store(true, Ordering::SeqCst);
        let waiters = std::mem::take(&mut *self.waiters());
        waiters.into_iter().for_each(Waker::wake);
    }

    /// Whether the order was given.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.shared.set.load(Ordering::SeqCst)
    }

    fn waiters(&self) -> MutexGuard<'_, Vec<Waker>> {
        let waiters = self.shared.waiters.lock();
        waiters.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the order.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn wait(&self) {
        poll_fn(|cx| {
            let mut waiters = self.waiters();
            if self.is_set() {
                return Poll::Ready(());
            }
            if !waiters.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiters.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}
