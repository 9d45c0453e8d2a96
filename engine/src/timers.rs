//! Deadlines and who waits for them. The table is pure: time is an argument.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::poll::Alarm;

/// Deadlines in order, each with what is due then; equal ones fire in order of arrival.
///
/// Bound: one entry for each [`Sleep`] that is being waited for and each timer that is set.
///
/// ```
/// use ambidex::timers::Timers;
/// use std::{task::Waker, time::{Duration, Instant}};
///
/// # fn example(start: Instant) {
/// let mut timers = Timers::default();
/// timers.insert(start + Duration::from_secs(1), Waker::noop().clone());
/// let mut wake = Vec::new();
/// timers.fire(start, &mut wake);
/// assert!(wake.is_empty());
/// timers.fire(start + Duration::from_secs(1), &mut wake);
/// assert_eq!(wake.len(), 1);
/// # }
/// ```
#[derive(Debug)]
pub struct Timers<T> {
    waiting: BTreeMap<(Instant, u64), T>,
    next: u64,
    closed: bool,
}

impl<T> Default for Timers<T> {
    fn default() -> Timers<T> {
        Timers {
            waiting: BTreeMap::new(),
            next: 0,
            closed: false,
        }
    }
}

/// `duration` from `now`. An instant that cannot be expressed is further away than anybody waits.
pub(crate) fn after(now: Instant, duration: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);
    now.checked_add(duration).unwrap_or(now + FAR)
}

impl<T> Timers<T> {
    /// Adds a deadline; the number names it.
    pub fn insert(&mut self, deadline: Instant, due: T) -> u64 {
        let id = self.next;
        self.next += 1;
        self.waiting.insert((deadline, id), due);
        id
    }

    /// What is due at a deadline. `None` if it has fired.
    pub fn get_mut(&mut self, deadline: Instant, id: u64) -> Option<&mut T> {
        self.waiting.get_mut(&(deadline, id))
    }

    /// Takes a deadline back.
    pub fn remove(&mut self, deadline: Instant, id: u64) -> Option<T> {
        self.waiting.remove(&(deadline, id))
    }

    /// The next deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Nobody will look at the deadlines any more: moves what is due at any of them to `fired`.
    pub fn close(&mut self, fired: &mut Vec<T>) {
        self.closed = true;
        fired.extend(std::mem::take(&mut self.waiting).into_values());
    }

    /// Whether they have been closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Moves what is due at all deadlines up to `now` to `fired`.
    pub fn fire(&mut self, now: Instant, fired: &mut Vec<T>) {
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > now {
                break;
            }
            fired.push(entry.remove());
        }
    }
}

/// Waits for a moment; made by [`Handle::sleep`](crate::Handle::sleep). If its engine ends before, it
/// ends with it: nobody would wake it.
///
/// # Cancel safety
/// Safe: dropping it takes the deadline back.
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    pub(crate) timers: Rc<RefCell<Timers<Alarm>>>,
    pub(crate) clock: Rc<dyn Clock>,
    pub(crate) deadline: Instant,
    pub(crate) armed: Option<Armed>,
}

/// An alarm in the table. It may be earlier than the deadline: see [`Sleep::reset`].
pub(crate) struct Armed {
    at: Instant,
    id: u64,
    waker: Waker,
}

impl Sleep {
    /// Waits for another moment from now on, also if the one before has passed.
    ///
    /// To move it further away costs nothing: what was waited for stays in the table of timers, and
    /// when it is due the rest is waited for. So one `Sleep` serves a patience that begins anew with
    /// each sign of life.
    ///
    /// ```
    /// use std::{pin::pin, time::Duration};
    /// ambidex::Engine::new()?.run(async |io| {
    ///     let patience = Duration::from_millis(1);
    ///     let mut sleep = pin!(io.sleep(patience));
    ///     sleep.as_mut().await;
    ///     sleep.as_mut().reset(io.now() + patience);
    ///     sleep.await;
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reset(mut self: Pin<&mut Self>, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Whether what is in the table wakes `waker` in time. An alarm is taken out only once its moment
    /// has passed, or when the engine ends.
    fn is_armed(&self, now: Instant, waker: &Waker) -> bool {
        let armed = self.armed.as_ref();
        armed.is_some_and(|armed| {
            now < armed.at && armed.at <= self.deadline && armed.waker.will_wake(waker)
        })
    }

    fn disarm(&mut self) {
        if let Some(armed) = self.armed.take() {
            let alarm = self.timers.borrow_mut().remove(armed.at, armed.id);
            drop(alarm);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.clock.now();
        if now >= self.deadline || self.timers.borrow().is_closed() {
            return Poll::Ready(());
        }
        if !self.is_armed(now, cx.waker()) {
            self.disarm();
            let waker = cx.waker().clone();
            let at = self.deadline;
            let alarm = Alarm::Task(waker.clone());
            let id = self.timers.borrow_mut().insert(at, alarm);
            self.armed = Some(Armed { at, id, waker });
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.disarm();
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;
    use std::time::SystemTime;

    use super::*;
    use crate::clock::Real;

    const SECOND: Duration = Duration::from_secs(1);

    fn fired<T>(timers: &mut Timers<T>, now: Instant) -> Vec<T> {
        let mut fired = Vec::new();
        timers.fire(now, &mut fired);
        fired
    }

    #[test]
    fn what_is_due_fires_in_order_and_once() {
        let start = Real.now();
        let mut timers = Timers::default();
        for (after, name) in [(2, 'c'), (1, 'a'), (1, 'b'), (3, 'd')] {
            timers.insert(start + after * SECOND, name);
        }
        assert_eq!(timers.next(), Some(start + SECOND));
        assert_eq!(fired(&mut timers, start), []);
        assert_eq!(fired(&mut timers, start + 2 * SECOND), ['a', 'b', 'c']);
        assert_eq!(timers.next(), Some(start + 3 * SECOND));
        assert_eq!(fired(&mut timers, start + 9 * SECOND), ['d']);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_deadline_is_changed_and_taken_back_by_its_number() {
        let start = Real.now();
        let mut timers = Timers::default();
        let (one, other) = (timers.insert(start, 'a'), timers.insert(start, 'b'));
        *timers.get_mut(start, one).expect("it waits") = 'c';
        assert_eq!(timers.remove(start, other), Some('b'));
        assert_eq!(timers.remove(start, other), None);
        assert_eq!(timers.get_mut(start, other), None);
        assert_eq!(fired(&mut timers, start), ['c']);
    }

    #[test]
    fn closed_ones_give_all_they_had() {
        let start = Real.now();
        let mut timers = Timers::default();
        timers.insert(start + 2 * SECOND, 'b');
        timers.insert(start + SECOND, 'a');
        assert!(!timers.is_closed());
        let mut left = Vec::new();
        timers.close(&mut left);
        assert_eq!(
            (left, timers.is_closed(), timers.next()),
            (vec!['a', 'b'], true, None)
        );
    }

    #[test]
    fn a_moment_too_far_away_is_thirty_years_from_now() {
        let now = Real.now();
        assert_eq!(after(now, SECOND), now + SECOND);
        let far = Duration::from_secs(946_080_000);
        assert_eq!(after(now, Duration::MAX), now + far);
    }

    #[test]
    fn a_deadline_that_has_passed_says_so() {
        assert_eq!(Elapsed.to_string(), "the deadline has passed");
        let error = std::io::Error::from(Elapsed);
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }

    /// Stands still until it is moved.
    struct Still {
        start: Instant,
        passed: Cell<Duration>,
    }

    impl Clock for Still {
        fn now(&self) -> Instant {
            self.start + self.passed.get()
        }

        fn wall(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }
    }

    struct Counts(AtomicU32);

    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A waker that knows its clones.
    fn counting() -> (Arc<Counts>, Waker) {
        let count = Arc::new(Counts(AtomicU32::new(0)));
        // Only those made by clone() are sure to have one table of functions.
        let waker = Waker::from(Arc::clone(&count)).clone();
        (count, waker)
    }

    fn scene() -> (Rc<Still>, Sleep) {
        let clock = Rc::new(Still {
            start: Real.now(),
            passed: Cell::default(),
        });
        let sleep = Sleep {
            timers: Rc::default(),
            clock: Rc::clone(&clock) as Rc<dyn Clock>,
            deadline: clock.start + SECOND,
            armed: None,
        };
        (clock, sleep)
    }

    #[test]
    fn a_sleep_ends_at_its_moment_and_waits_once_until_then() {
        let (clock, sleep) = scene();
        let timers = Rc::clone(&sleep.timers);
        let mut sleep = pin!(sleep);
        let mut context = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        assert_eq!(timers.borrow().waiting.len(), 1);
        clock.passed.set(SECOND);
        assert_eq!(fired(&mut timers.borrow_mut(), clock.now()).len(), 1);
        assert!(sleep.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn a_moment_further_away_is_waited_for_when_the_first_is_due() {
        let (clock, sleep) = scene();
        let timers = Rc::clone(&sleep.timers);
        let mut sleep = pin!(sleep);
        let (_, waker) = counting();
        let mut context = Context::from_waker(&waker);
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        sleep.as_mut().reset(clock.start + 3 * SECOND);
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        assert_eq!(timers.borrow().next(), Some(clock.start + SECOND));
        clock.passed.set(SECOND);
        assert_eq!(fired(&mut timers.borrow_mut(), clock.now()).len(), 1);
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        assert_eq!(timers.borrow().next(), Some(clock.start + 3 * SECOND));
        // An earlier one takes its place.
        sleep.as_mut().reset(clock.start + 2 * SECOND);
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        assert_eq!(timers.borrow().next(), Some(clock.start + 2 * SECOND));
        assert_eq!(timers.borrow().waiting.len(), 1);
        clock.passed.set(2 * SECOND);
        assert!(sleep.as_mut().poll(&mut context).is_ready());
        // What has ended begins anew.
        sleep.as_mut().reset(clock.start + 4 * SECOND);
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        assert_eq!(timers.borrow().next(), Some(clock.start + 4 * SECOND));
        assert_eq!(timers.borrow().waiting.len(), 1);
    }

    #[test]
    fn whoever_polls_last_is_woken() {
        let (clock, mut sleep) = scene();
        let timers = Rc::clone(&sleep.timers);
        let first = Context::from_waker(Waker::noop());
        let (count, waker) = counting();
        for mut context in [first, Context::from_waker(&waker)] {
            assert!(Pin::new(&mut sleep).poll(&mut context).is_pending());
        }
        for alarm in fired(&mut timers.borrow_mut(), clock.start + SECOND) {
            if let Alarm::Task(waker) = alarm {
                waker.wake();
            }
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_sleep_that_is_dropped_or_comes_too_late_leaves_nothing() {
        let (_clock, mut sleep) = scene();
        let timers = Rc::clone(&sleep.timers);
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut sleep).poll(&mut context).is_pending());
        drop(sleep);
        assert_eq!(timers.borrow().next(), None);
        let (_clock, mut sleep) = scene();
        sleep.timers.borrow_mut().close(&mut Vec::new());
        assert!(Pin::new(&mut sleep).poll(&mut context).is_ready());
    }
}
