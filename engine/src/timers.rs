//! Deadlines and who waits for them. The table is pure: time is an argument.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::clock::Clock;

/// Deadlines in order; equal ones fire in order of arrival.
///
/// Bound: one entry for each [`Sleep`] that is being waited for.
///
/// ```
/// use ambidex::timers::Timers;
/// use std::{task::Waker, time::{Duration, Instant}};
///
/// # fn example(start: Instant) {
/// let mut timers = Timers::default();
/// timers.insert(start + Duration::from_secs(1), Waker::noop());
/// let mut wake = Vec::new();
/// timers.fire(start, &mut wake);
/// assert!(wake.is_empty());
/// timers.fire(start + Duration::from_secs(1), &mut wake);
/// assert_eq!(wake.len(), 1);
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Timers {
    waiting: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

impl Timers {
    /// Adds a deadline; the number names it.
    pub fn insert(&mut self, deadline: Instant, waker: &Waker) -> u64 {
        let id = self.next;
        self.next += 1;
        self.waiting.insert((deadline, id), waker.clone());
        id
    }

    /// Changes who is woken. False if it has fired.
    pub fn update(&mut self, deadline: Instant, id: u64, waker: &Waker) -> bool {
        match self.waiting.get_mut(&(deadline, id)) {
            Some(known) => {
                known.clone_from(waker);
                true
            }
            None => false,
        }
    }

    /// Takes a deadline back.
    pub fn remove(&mut self, deadline: Instant, id: u64) -> Option<Waker> {
        self.waiting.remove(&(deadline, id))
    }

    /// The next deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Moves the wakers of all deadlines up to `now` to `wake`.
    pub fn fire(&mut self, now: Instant, wake: &mut Vec<Waker>) {
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > now {
                break;
            }
            wake.push(entry.remove());
        }
    }
}

/// Waits for a moment; made by [`Handle::sleep`](crate::Handle::sleep).
///
/// # Cancel safety
/// Safe: dropping it takes the deadline back.
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    pub(crate) timers: Rc<RefCell<Timers>>,
    pub(crate) clock: Rc<dyn Clock>,
    pub(crate) deadline: Instant,
    pub(crate) id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.clock.now() >= self.deadline {
            return Poll::Ready(());
        }
        let deadline = self.deadline;
        let mut timers = self.timers.borrow_mut();
        let known = self
            .id
            .is_some_and(|id| timers.update(deadline, id, cx.waker()));
        if !known {
            let id = timers.insert(deadline, cx.waker());
            drop(timers);
            self.id = Some(id);
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let waker = self.timers.borrow_mut().remove(self.deadline, id);
            drop(waker);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// The deadline of a [`Handle::timeout`](crate::Handle::timeout) has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline has passed")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(_: Elapsed) -> std::io::Error {
        std::io::ErrorKind::TimedOut.into()
    }
}
