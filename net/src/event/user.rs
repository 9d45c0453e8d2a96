//! Calls from other threads: a counter of our own, and an eventfd(2) to wake the loop with.

use std::fmt;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use crate::reactor::Handle;
use crate::readiness::Direction;
use crate::source::Source;

/// What loop and notifiers share.
struct Shared {
    /// Notifications that the loop has not taken. From 0 to 1 the eventfd is written to, so a
    /// second notification costs no system call; nobody reads it: each write is an edge.
    pending: AtomicU64,
    eventfd: File,
}

/// Wakes a task from other threads; made with its first [`Notifier`].
///
/// Notifications carry nothing and are counted: thousands between two turns of the loop are one
/// wake and one number.
///
/// ```
/// use ambidex_net::{Reactor, event::UserEvent};
/// use std::{future::Future, pin::pin, task::{Context, Poll, Waker}, thread};
///
/// let mut reactor = Reactor::new()?;
/// let event = UserEvent::new(&reactor.handle())?;
/// let notifier = event.notifier();
/// let caller = thread::spawn(move || notifier.notify());
/// let mut notified = pin!(event.notified());
/// let mut cx = Context::from_waker(Waker::noop());
/// let count = loop {
///     match notified.as_mut().poll(&mut cx) {
///         Poll::Ready(count) => break count?,
///         Poll::Pending => reactor.turn(None)?,
///     };
/// };
/// assert_eq!(count, 1);
/// # caller.join().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Minimum kernel: Linux 2.6.27.
pub struct UserEvent {
    source: Source,
    shared: Arc<Shared>,
}

impl UserEvent {
    /// Makes an event that nobody has notified.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`; eventfd(2). It takes two descriptors: the loop's and the
    /// notifiers', which may outlive the loop.
    pub fn new(handle: &Handle) -> io::Result<UserEvent> {
        let eventfd = handle.inner.kernel.event_create()?;
        let shared = Shared {
            pending: AtomicU64::new(0),
            eventfd: eventfd.try_clone()?.into(),
        };
        Ok(UserEvent {
            source: Source::new(handle, eventfd)?,
            shared: Arc::new(shared),
        })
    }

    /// For another thread. Clone it for more of them.
    #[must_use]
    pub fn notifier(&self) -> Notifier {
        Notifier {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Waits until somebody has notified and takes the number of notifications since it was last
    /// asked. Of several tasks that wait one gets it.
    ///
    /// # Errors
    /// None that a user can cause.
    ///
    /// # Cancel safety
    /// Safe: notifications are taken only by the poll that returns them.
    pub async fn notified(&self) -> io::Result<u64> {
        poll_fn(|cx| self.poll_notified(cx)).await
    }

    /// The poll of [`UserEvent::notified`].
    ///
    /// # Errors
    /// Those of [`UserEvent::notified`].
    pub fn poll_notified(&self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        if let Some(count) = self.try_notified() {
            return Poll::Ready(Ok(count));
        }
        // Between that look and the next edge nothing is lost: a notifier that found zero writes,
        // and the reactor hears of it after this poll.
        self.source.poll_io(cx, Direction::Read, |_, _| {
            self.try_notified().ok_or(ErrorKind::WouldBlock.into())
        })
    }

    /// The number of notifications since it was last asked, if there were any.
    #[must_use]
    pub fn try_notified(&self) -> Option<u64> {
        match self.shared.pending.swap(0, Ordering::AcqRel) {
            0 => None,
            count => Some(count),
        }
    }
}

impl AsFd for UserEvent {
    /// The eventfd. It is never read, so it stays readable after the first notification: watch it
    /// edge-triggered.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl fmt::Debug for UserEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserEvent")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Notifies a [`UserEvent`] from any thread. Cheap to clone; may outlive the event.
#[derive(Clone)]
pub struct Notifier {
    shared: Arc<Shared>,
}

impl Notifier {
    /// Counts one notification and wakes the loop if this is the first since the loop looked.
    /// What this thread wrote to memory before is seen by who takes the notification. If the event
    /// is gone, nothing happens.
    ///
    /// # Blocking
    /// Never waits. A system call only for the first notification after the loop has looked.
    pub fn notify(&self) {
        if self.shared.pending.fetch_add(1, Ordering::AcqRel) == 0 {
            self.shared.ring();
        }
    }
}

impl Shared {
    fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        let mut eventfd = &self.eventfd;
        // A full counter refuses the write, and then there is no edge: empty it and write again.
        while let Err(error) = eventfd.write(&one) {
            match error.kind() {
                ErrorKind::WouldBlock => drop(eventfd.read(&mut [0; 8])),
                ErrorKind::Interrupted => {}
                // eventfd(2) knows no other.
                _ => return,
            }
        }
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").finish_non_exhaustive()
    }
}
