//! Work that would block the loop, on threads made for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use ambidex_disk::gate::{Gate, Ticket};

use crate::handle::Handle;
use crate::tasks::{JoinError, Panic};

/// How many may be at work, and who waits for a place. Shared with the threads at work.
#[derive(Clone)]
pub(crate) struct Places {
    gate: Arc<Mutex<Gate>>,
}

impl Places {
    pub(crate) fn new(threads: usize) -> Places {
        Places {
            gate: Arc::new(Mutex::new(Gate::new(threads.max(1)))),
        }
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<R>(&self, change: impl FnOnce(&mut Gate, &mut Vec<Waker>) -> R) -> R {
        let mut wake = Vec::new();
        let result = change(&mut self.gate(), &mut wake);
        wake.into_iter().for_each(Waker::wake);
        result
    }
}

/// A place at work; dropped by the thread that has done it.
struct Place(Places);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.with(|gate, wake| gate.give_back(wake));
    }
}

struct Waiting {
    places: Places,
    ticket: Option<Ticket>,
}

impl Waiting {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Place> {
        let ticket = &mut self.ticket;
        let taken = self
            .places
            .with(|gate, wake| gate.take(ticket, cx.waker(), wake));
        if taken {
            Poll::Ready(Place(self.places.clone()))
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.places.with(|gate, wake| gate.leave(ticket, wake));
        }
    }
}

impl Handle {
    /// Runs `work`, which computes or blocks, on another thread and waits for its result in the
    /// loop. At most [`Builder::cpu_threads`](crate::Builder::cpu_threads) are at work at a time;
    /// the others wait in order of arrival.
    ///
    /// # Errors
    /// [`JoinError::Panicked`] if `work` panics.
    ///
    /// # Cancel safety
    /// Dropping it before `work` has begun takes it back; once begun, it goes on to its end, keeps
    /// its place until then, and its result is dropped.
    ///
    /// ```
    /// # let mut engine = ambidex::Engine::new()?;
    /// let sum = engine.run(async |io| io.spawn_blocking(|| (1..=1000).sum::<u32>()).await)?;
    /// assert_eq!(sum.unwrap(), 500_500);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let mut waiting = Waiting {
            places: self.core.places.clone(),
            ticket: None,
        };
        let place = std::future::poll_fn(|cx| waiting.poll(cx)).await;
        let task = blocking::unblock(move || {
            let result = catch_unwind(AssertUnwindSafe(work));
            drop(place);
            result
        });
        pin!(task)
            .await
            .map_err(|panic| JoinError::Panicked(Panic::new(panic)))
    }
}
