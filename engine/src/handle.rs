//! All that user code holds of an engine.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use crate::blocking::Places;
use crate::clock::Clock;
use crate::drain::Drain;
use crate::metrics::Metrics;
use crate::poll::Alarm;
use crate::remote::Remote;
use crate::tasks::{JoinHandle, Shared, Tasks};
use crate::timers::{Elapsed, Sleep, Timers, after};

pub(crate) struct Core {
    pub(crate) net: ambidex_net::Handle,
    pub(crate) disk: ambidex_disk::Handle,
    pub(crate) clock: Rc<dyn Clock>,
    pub(crate) timers: Rc<RefCell<Timers<Alarm>>>,
    pub(crate) tasks: Tasks,
    pub(crate) shared: Arc<Shared>,
    pub(crate) places: Places,
    pub(crate) drain: Drain,
    pub(crate) metrics: Cell<Metrics>,
}

/// All that user code holds of an engine. Cheap to clone; stays on its thread.
///
/// ```
/// # let mut engine = ambidex::Engine::new()?;
/// let sum = engine.run(async |io| {
///     let one = io.spawn(async { 1 });
///     let two = io.spawn(async { 2 });
///     one.await.unwrap() + two.await.unwrap()
/// })?;
/// assert_eq!(sum, 3);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Handle {
    pub(crate) core: Rc<Core>,
}

impl Handle {
    /// For sockets.
    #[must_use]
    pub fn net(&self) -> &ambidex_net::Handle {
        &self.core.net
    }

    /// For files.
    #[must_use]
    pub fn disk(&self) -> &ambidex_disk::Handle {
        &self.core.disk
    }

    /// Starts a task on this thread. It runs from the loop, not from here.
    ///
    /// After the engine has been shut down the future is dropped at once and the handle answers
    /// [`JoinError::Cancelled`](crate::JoinError::Cancelled).
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        self.core.tasks.spawn(future)
    }

    /// The present moment, by the engine's clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.core.clock.now()
    }

    /// The time of day, by the engine's clock.
    #[must_use]
    pub fn wall(&self) -> SystemTime {
        self.core.clock.wall()
    }

    /// Waits for `duration`.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(after(self.now(), duration))
    }

    /// Waits for `deadline`; one that has passed is due at once.
    pub fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep {
            timers: Rc::clone(&self.core.timers),
            clock: Rc::clone(&self.core.clock),
            deadline,
            armed: None,
        }
    }

    /// Waits for `future`, but no longer than `duration`; then the future is dropped.
    ///
    /// # Errors
    /// [`Elapsed`] if the time was up first.
    ///
    /// # Cancel safety
    /// That of `future`.
    pub async fn timeout<T>(
        &self,
        duration: Duration,
        future: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        let mut future = pin!(future);
        let mut sleep = pin!(self.sleep(duration));
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => sleep.as_mut().poll(cx).map(|()| Err(Elapsed)),
        })
        .await
    }

    /// Lets the other tasks and the kernel have a turn.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn yield_now(&self) {
        let mut yielded = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Reaches this engine from other threads.
    #[must_use]
    pub fn remote(&self) -> Remote {
        Remote {
            shared: Arc::clone(&self.core.shared),
        }
    }

    /// What the kernel gave at set-up, and why not more. The same for [`Handle::disk`]; sockets need
    /// nothing that Linux 5.11 lacks.
    #[must_use]
    pub fn capabilities(&self) -> &ambidex_disk::Capabilities {
        self.core.disk.capabilities()
    }

    /// What the loop has done so far.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let core = &self.core;
        core.metrics.get().with(&core.disk, &core.net)
    }

    /// Tasks that have not ended.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.core.tasks.len()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("tasks", &self.tasks())
            .finish_non_exhaustive()
    }
}
