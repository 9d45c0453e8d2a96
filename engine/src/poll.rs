//! The token face: one loop for descriptors, files, timers and more, without futures.

mod event;
mod origin;
mod timer;

use std::cell::RefCell;
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ambidex_disk::{BeginError, Op, OpId, Ring};
use ambidex_net::{Change, Reactor, Registry, Token};

use crate::clock::Clock;
use crate::doorbell::Doorbell;
use crate::metrics::Metrics;
use crate::timers::{Timers, after};

pub use event::{Event, Events};
use origin::Origins;
pub use origin::{Origin, OriginId};
pub(crate) use timer::Alarm;
pub use timer::TimerId;
use timer::TokenTimers;

/// How long dropping a loop waits for operations that the kernel still works on.
pub(crate) const DROP_PATIENCE: Duration = Duration::from_secs(1);
/// Rounds of submitting and reaping before descriptors are looked at.
const ROUNDS_MAX: usize = 4;
/// Completions, readiness, timers and origins.
const KINDS: u8 = 4;

/// One loop for descriptors by readiness and files by completion, that hands out events: for
/// programs that keep their own state machines. [`Engine`](crate::Engine) is built on it.
///
/// Shaped as mio's: what is begun or registered carries a [`Token`], and [`Poll::poll`] yields an
/// [`Event`] for it. Not `Send`: it lives and dies on one thread.
///
/// ```
/// use ambidex::disk::{Op, OpenOptions};
/// use ambidex::net::{Interest, Mode, Token};
/// use ambidex::poll::{Event, Events, Poll};
/// use std::{io::Write, os::unix::net::UnixStream};
///
/// const SOCKET: Token = Token(1);
/// const FILE: Token = Token(2);
///
/// let mut poll = Poll::new()?;
/// let (mut here, there) = UnixStream::pair()?;
/// poll.registry().register(&there, SOCKET, Interest::READABLE, Mode::Edge)?;
/// poll.submit(FILE, Op::open(poll.disk(), &OpenOptions::new(), "/proc/self/stat"))?;
/// here.write_all(b"x")?;
///
/// let mut events = Events::with_capacity(64);
/// let (mut readable, mut opened) = (false, false);
/// while !(readable && opened) {
///     poll.poll(&mut events, None)?;
///     for event in events.drain() {
///         match event {
///             Event::Ready { token: SOCKET, readiness } => readable = readiness.is_readable(),
///             Event::Complete(complete) => opened = complete.into_file().is_ok(),
///             other => panic!("nothing else was asked for: {other:?}"),
///         }
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Poll {
    pub(crate) reactor: Reactor,
    pub(crate) ring: Ring,
    pub(crate) ring_rang: ambidex_net::Doorbell,
    /// The last wait saw nothing but the ring's doorbell.
    pub(crate) rang_alone: bool,
    pub(crate) doorbell: Arc<Doorbell>,
    pub(crate) clock: Rc<dyn Clock>,
    pub(crate) timers: Rc<RefCell<Timers<Alarm>>>,
    pub(crate) metrics: Metrics,
    /// Gathered to be handed over. Kept for its capacity.
    pub(crate) changes: Vec<Change>,
    /// Changes of the epoll set that the ring has not answered.
    pub(crate) changes_in_flight: usize,
    net: ambidex_net::Handle,
    disk: ambidex_disk::Handle,
    registry: Registry,
    /// Alarms gathered while the timers were borrowed.
    due: Vec<Alarm>,
    token_timers: TokenTimers,
    origins: Origins,
    /// The kind of event whose turn it is; see [`Poll::next_of`].
    kind: u8,
    /// Completions that there had been when an operation was refused for want of a credit.
    refused: Option<u64>,
}

impl Poll {
    /// A loop on io_uring where it can be had, else on threads; `AMBIDEX_DISK` decides otherwise.
    /// [`Engine::builder`](crate::Engine::builder) makes one of other parts.
    ///
    /// # Errors
    /// Those of [`Engine::new`](crate::Engine::new).
    pub fn new() -> io::Result<Poll> {
        crate::engine::Builder::from_environment()?.build_poll()
    }

    pub(crate) fn assemble(
        mut reactor: Reactor,
        ring: Ring,
        clock: Rc<dyn Clock>,
    ) -> io::Result<Poll> {
        let doorbell = Arc::new(Doorbell::new()?);
        let ring_rang = ring.doorbell(|eventfd| reactor.watch(eventfd))??;
        reactor.watch(doorbell.as_fd())?;
        Ok(Poll {
            net: reactor.handle(),
            disk: ring.handle(),
            registry: reactor.handle().registry(),
            reactor,
            ring,
            ring_rang,
            rang_alone: false,
            doorbell,
            clock,
            timers: Rc::default(),
            metrics: Metrics::default(),
            changes: Vec::new(),
            changes_in_flight: 0,
            due: Vec::new(),
            token_timers: TokenTimers::default(),
            origins: Origins::default(),
            kind: 0,
            refused: None,
        })
    }

    /// Where descriptors are registered.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// For the sources of `net`, such as those that [`Poll::add`] takes.
    #[must_use]
    pub fn net(&self) -> &ambidex_net::Handle {
        &self.net
    }

    /// For opening files.
    #[must_use]
    pub fn disk(&self) -> &ambidex_disk::Handle {
        &self.disk
    }

    /// Begins a file operation. Its end is an [`Event::Complete`] with `token`.
    ///
    /// # Errors
    /// [`BeginError`] with the operation and its buffer: `WouldBlock` if as many are in flight as
    /// the completion queue has entries; poll, then try again.
    #[expect(clippy::result_large_err, reason = "the operation comes back whole")]
    pub fn submit(&mut self, token: Token, op: Op) -> Result<OpId, BeginError> {
        let begun = self.disk.begin(token.0, op);
        if begun
            .as_ref()
            .is_err_and(|refused| refused.error.kind() == ErrorKind::WouldBlock)
        {
            self.refused = Some(self.ring.counters().completed);
        }
        self.doorbell.ring();
        begun
    }

    /// Asks that an operation be given up. Its [`Event::Complete`] comes all the same, with
    /// `ECANCELED` if this was in time.
    ///
    /// # Minimum kernel
    /// As [`ambidex_disk::Handle::cancellable`].
    pub fn cancel(&mut self, id: OpId) {
        self.disk.cancel(id);
        self.doorbell.ring();
    }

    /// Waits until there is an event or `timeout` has passed (`None`: for ever), and fills `events`
    /// with as many as there are and it has room for. What finds no room comes with the next poll.
    /// Events that `events` still holds are dropped.
    ///
    /// It also returns, perhaps without an event, when an operation was refused with `WouldBlock` and may
    /// be begun now: what held the credit may have been the close of a file, which has no event.
    ///
    /// # Errors
    /// Those of the loop itself, which a user cannot cause: epoll_wait(2), io_uring_enter(2).
    /// `EINTR` is none of them.
    ///
    /// # Blocking
    /// Sleeps for up to `timeout`.
    pub fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        let deadline = timeout.and_then(|timeout| self.clock.now().checked_add(timeout));
        loop {
            let pause = self.prepare(events)?;
            let left = deadline.map(|at| at.saturating_duration_since(self.clock.now()));
            self.wait(pause.into_iter().chain(left).min())?;
            self.collect(events);
            let credit = self.has_credit_again();
            if credit {
                self.refused = None;
            }
            if credit || !events.is_empty() || left == Some(Duration::ZERO) {
                return Ok(());
            }
        }
    }

    /// [`Poll::poll`] for a program whose own loop sleeps. Call it when the descriptor ([`AsFd`]) is
    /// readable, when the time it returned is over, and once at the start: it returns for how long
    /// there is nothing to do (`None`: until the descriptor is readable). What is begun, set, added or
    /// cancelled meanwhile makes the descriptor readable; what is begun past this loop, by the handle
    /// of [`Poll::disk`], does not.
    ///
    /// # Errors
    /// Those of [`Poll::poll`].
    ///
    /// # Blocking
    /// Does not sleep.
    pub fn poll_without_sleep(&mut self, events: &mut Events) -> io::Result<Option<Duration>> {
        events.clear();
        self.wait(Some(Duration::ZERO))?;
        let pause = self.prepare(events)?;
        if self.has_credit_again() {
            self.refused = None;
        }
        Ok(pause)
    }

    /// Whether something has ended since an operation was refused.
    fn has_credit_again(&self) -> bool {
        let completed = || self.ring.counters().completed;
        self.refused.is_some_and(|before| completed() > before)
    }

    /// Steps 2 to 4 of a turn. `ZERO` if an event is there.
    fn prepare(&mut self, events: &mut Events) -> io::Result<Option<Duration>> {
        self.metrics.turns += 1;
        for _ in 0..ROUNDS_MAX {
            if self.exchange()? == 0 {
                break;
            }
        }
        self.collect(events);
        let has_work = !events.is_empty() || self.has_credit_again();
        Ok(self.pause(|| has_work))
    }

    /// Moves what is there to `events`, kind by kind. Where it had to stop for want of room it goes on
    /// with the next poll, so that no kind starves another however small `events` is.
    fn collect(&mut self, events: &mut Events) {
        let mut in_vain = 0;
        while events.has_room() && in_vain < KINDS {
            match self.next_of(self.kind) {
                Some(event) => {
                    events.push(event);
                    in_vain = 0;
                }
                None => in_vain += 1,
            }
            self.kind = (self.kind + 1) % KINDS;
        }
    }

    fn next_of(&mut self, kind: u8) -> Option<Event> {
        match kind {
            0 => self.ring.take_complete().map(Event::Complete),
            1 => {
                let ready = self.reactor.take_ready();
                ready.map(|(token, readiness)| Event::Ready { token, readiness })
            }
            2 => self.token_timers.next(&self.timers, &*self.clock),
            _ => self.origins.next(),
        }
    }

    pub(crate) fn fire_timers(&mut self) {
        let mut timers = self.timers.borrow_mut();
        if timers.next().is_some() {
            timers.fire(self.clock.now(), &mut self.due);
        }
        drop(timers);
        for alarm in self.due.drain(..) {
            match alarm {
                Alarm::Task(waker) => waker.wake(),
                Alarm::Token(key) => self.token_timers.expire(key),
            }
        }
    }

    /// Sets a timer: an [`Event::Timer`] with `token` comes after `first` and, given a `period`, again
    /// after each of those, until it is cancelled. Costs no system call.
    ///
    /// Periods do not drift, and those that pass unseen come as one event that counts them. A
    /// period of zero is one of a nanosecond.
    pub fn set_timer(
        &mut self,
        token: Token,
        first: Duration,
        period: Option<Duration>,
    ) -> TimerId {
        let at = after(self.clock.now(), first);
        self.doorbell.ring();
        self.token_timers.set(&self.timers, token, at, period)
    }

    /// Takes a timer back: no event of it comes any more. False if it has none to come.
    pub fn cancel_timer(&mut self, id: TimerId) -> bool {
        self.token_timers.cancel(&self.timers, id)
    }

    /// Adds a source of signals, a child, a watch or a user event; its events carry `token`.
    ///
    /// ```
    /// use ambidex::net::{Token, event::UserEvent};
    /// use ambidex::poll::{Event, Events, Poll};
    ///
    /// let mut poll = Poll::new()?;
    /// let user = UserEvent::new(poll.net())?;
    /// let notifier = user.notifier();
    /// poll.add(Token(3), user);
    /// std::thread::spawn(move || notifier.notify());
    /// let mut events = Events::with_capacity(8);
    /// poll.poll(&mut events, None)?;
    /// assert!(matches!(events.drain().next(), Some(Event::User { token: Token(3), count: 1 })));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn add(&mut self, token: Token, origin: impl Into<Origin>) -> OriginId {
        self.doorbell.ring();
        self.origins.add(token, origin.into())
    }

    /// Removes such a source and gives it back: no event of it comes any more. `None` if it has gone,
    /// as a child that has ended or a source that has failed.
    pub fn remove(&mut self, id: OriginId) -> Option<Origin> {
        self.origins.remove(id)
    }

    /// Ends the loop: turns the ring until the kernel has finished every operation or `patience` is
    /// over. Tells how many operations were given up at that point; their memory is leaked, for the
    /// kernel may still write to it. Dropping a loop does this with a patience of a second.
    ///
    /// # Blocking
    /// For up to `patience`.
    pub fn shut_down(mut self, patience: Duration) -> usize {
        self.end(patience)
    }

    pub(crate) fn end(&mut self, patience: Duration) -> usize {
        let deadline = after(self.clock.now(), patience);
        while self.ring.is_busy() {
            let now = self.clock.now();
            if now >= deadline || self.end_turn(deadline - now).is_err() {
                break;
            }
        }
        let given_up = self.ring.shut_down();
        if self.changes_in_flight > 0 {
            // The kernel may still look the set and its descriptors up by number.
            std::mem::forget(self.net.clone());
        }
        given_up
    }

    /// What the kernel gave at set-up, and why not more.
    #[must_use]
    pub fn capabilities(&self) -> &ambidex_disk::Capabilities {
        self.disk.capabilities()
    }

    /// What the loop has done so far.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.with(&self.disk, &self.net)
    }

    /// The present moment, by the loop's clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.end(DROP_PATIENCE);
        self.timers.borrow_mut().close(&mut self.due);
        for alarm in self.due.drain(..) {
            if let Alarm::Task(waker) = alarm {
                waker.wake();
            }
        }
    }
}

impl AsFd for Poll {
    /// The epoll descriptor: readable when there is something to do, provided that
    /// [`Poll::poll_without_sleep`] was the last to be called.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reactor.as_fd()
    }
}

impl fmt::Debug for Poll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poll")
            .field("ring", &self.ring)
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}
