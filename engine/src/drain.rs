//! Ending gracefully: tasks are told, and have until a deadline.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;

use crate::engine::{Engine, Report};
use crate::handle::Handle;
use crate::timers::after;

/// Whether the engine drains, and who waits to be told.
///
/// Bound: one waker for each [`Handle::draining`] that is being waited for.
#[derive(Default)]
pub(crate) struct Drain {
    begun: Cell<bool>,
    waiting: RefCell<Slab<Waker>>,
}

impl Drain {
    fn begin(&self) {
        self.begun.set(true);
        let waiting = self.waiting.take();
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

/// One that waits. Leaves the list when it is dropped: most connections end long before the engine.
struct Waiting<'a> {
    drain: &'a Drain,
    key: Option<usize>,
}

impl Waiting<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.drain.begun.get() {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        let mut waiting = self.drain.waiting.borrow_mut();
        let Some(key) = self.key else {
            self.key = Some(waiting.insert(waker));
            return Poll::Pending;
        };
        let before = std::mem::replace(&mut waiting[key], waker);
        drop(waiting);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // None of the list is left once it has been told.
        let left = |key| self.drain.waiting.borrow_mut().try_remove(key);
        drop(self.key.and_then(left));
    }
}

impl Handle {
    /// Waits until the engine is to end; see [`Engine::drain`]. A task that accepts connections
    /// selects between that and this, a task that serves one looks between requests.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn draining(&self) {
        let drain = &self.core.drain;
        let mut waiting = Waiting { drain, key: None };
        poll_fn(|cx| waiting.poll(cx)).await;
    }

    /// Whether the engine is to end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.core.drain.begun.get()
    }

    /// Waits until no task is left, and none that another thread has sent waits to be adopted: who
    /// sent it was told that it will run.
    async fn all_ended(&self) {
        loop {
            self.core.tasks.all_ended().await;
            if self.core.shared.arrivals().is_empty() {
                return;
            }
            self.yield_now().await;
        }
    }
}

impl Engine {
    /// Ends the engine gracefully: tells all who wait for [`Handle::draining`], then turns the loop
    /// until every task has ended, those among them that other threads have sent, and every operation
    /// is finished, or `patience` is over. What is left then is ended as by [`Engine::shut_down`], with
    /// the time that is left, but at least a tenth of `patience`.
    ///
    /// # Errors
    /// Those of [`Engine::run`]; the engine has been shut down all the same.
    ///
    /// # Blocking
    /// For up to `patience`, and the tenth.
    ///
    /// ```
    /// use std::time::Duration;
    /// let mut engine = ambidex::Engine::new()?;
    /// engine.run(async |io| {
    ///     let own = io.clone();
    ///     io.spawn(async move { own.draining().await }).detach();
    /// })?;
    /// let report = engine.drain(Duration::from_secs(5))?;
    /// assert_eq!((report.tasks_finished, report.tasks_cancelled), (1, 0));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn drain(mut self, patience: Duration) -> io::Result<Report> {
        let io = self.handle();
        let ended = io.core.tasks.ended();
        io.core.drain.begin();
        let deadline = after(io.now(), patience);
        let drained = self.run(async |io| {
            let left = deadline.saturating_duration_since(io.now());
            let _ = io.timeout(left, io.all_ended()).await;
        });
        let tasks_finished = io.core.tasks.ended() - ended;
        let left = deadline.saturating_duration_since(io.now());
        let report = Report {
            tasks_finished,
            ..self.shut_down(left.max(patience / 10))
        };
        drained.map(|()| report)
    }
}
