//! The reactor: one epoll set, the table of its sources, the changes they wish for, and the doorbells
//! of others.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use crate::changes::Changes;
use crate::kernel::Kernel;
use crate::linux::Linux;
use crate::poller::{Events, Interest, Mode, Poller};
use crate::readiness::Table;
use crate::registry::Registrations;
use crate::token::{self, Target};

/// Events fetched by one wait: the budget of a turn. The rest follow with the next.
const EVENTS_PER_TURN: usize = 256;

/// What sources and reactor share.
pub(crate) struct Inner {
    pub(crate) kernel: Rc<dyn Kernel>,
    pub(crate) poller: Poller,
    pub(crate) table: RefCell<Table>,
    pub(crate) registrations: RefCell<Registrations>,
    pub(crate) changes: RefCell<Changes<Rc<OwnedFd>>>,
    pub(crate) operations: Cell<u64>,
    pub(crate) stale: Cell<u64>,
    /// The reactor is gone: no event will come any more.
    pub(crate) closed: Cell<bool>,
    pub(crate) changed: Cell<u64>,
    pub(crate) flushes: Cell<u64>,
}

impl Inner {
    /// An error if no event can come any more.
    pub(crate) fn check_open(&self) -> io::Result<()> {
        if self.closed.get() {
            let text = "the reactor has been shut down: nothing can be waited for any more";
            return Err(io::Error::other(text));
        }
        Ok(())
    }
}

/// What a reactor has done so far. Each number only grows.
///
/// ```
/// let mut reactor = ambidex_net::Reactor::new()?;
/// reactor.turn(Some(std::time::Duration::ZERO))?;
/// assert_eq!(reactor.handle().counters().waits, 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls of epoll_wait(2) or epoll_pwait2(2).
    pub waits: u64,
    /// Calls of epoll_ctl(2): those of flushes, those made at once, removals.
    pub controls: u64,
    /// Listed changes that were made or refused, by epoll_ctl(2) or otherwise; see
    /// [`Reactor::changed`].
    pub changes: u64,
    /// Flushes that had something to do; see [`Reactor::flush`].
    pub flushes: u64,
    /// Operations tried on sources, those included that answered `EAGAIN` or `EINTR`: one system
    /// call each. Two differ: an accept makes one more for each connection that was aborted
    /// before, and a [`UserEvent`](crate::event::UserEvent) none.
    pub operations: u64,
}

/// A foreign descriptor watched by the reactor; see [`Reactor::watch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doorbell(u32);

/// What one turn of the reactor saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Events received, doorbells and stale ones included.
    pub events: usize,
    /// The wait ended with `EINTR`: look at what may have caused it, then go round again.
    pub interrupted: bool,
    rang: u64,
}

impl Turn {
    /// Whether `doorbell` rang.
    #[must_use]
    pub fn rang(&self, doorbell: Doorbell) -> bool {
        self.rang & (1 << doorbell.0) != 0
    }
}

/// Owns an epoll set and turns it. Not `Send`: it lives and dies on one thread.
///
/// ```
/// let reactor = ambidex_net::Reactor::new()?;
/// assert_eq!(reactor.handle().sources(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Reactor {
    pub(crate) inner: Rc<Inner>,
    events: Events,
    /// Wakers gathered while the table was borrowed; woken after. Kept for its capacity.
    pub(crate) wake: Vec<Waker>,
    doorbells: u32,
    /// The last wait ended with `EINTR`.
    interrupted: bool,
}

/// What each socket holds of its reactor. Cheap to clone.
///
/// A socket hears of events only while its own reactor is turned, whoever polls it: awaited inside
/// another loop, it waits until its own goes round. Once its reactor has been dropped, whatever
/// would wait is an error at once, and what need not wait goes on.
#[derive(Clone)]
pub struct Handle {
    pub(crate) inner: Rc<Inner>,
}

impl Reactor {
    /// Makes a reactor on the running kernel.
    ///
    /// # Errors
    /// Those of epoll_create1(2): `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new() -> io::Result<Reactor> {
        Reactor::with_kernel(Rc::new(Linux::default()))
    }

    /// Makes a reactor on `kernel`, which may be a simulated one.
    ///
    /// # Errors
    /// Those of [`Kernel::epoll_create`].
    pub fn with_kernel(kernel: Rc<dyn Kernel>) -> io::Result<Reactor> {
        let inner = Inner {
            poller: Poller::with_kernel(Rc::clone(&kernel))?,
            kernel,
            table: RefCell::default(),
            registrations: RefCell::default(),
            changes: RefCell::default(),
            operations: Cell::new(0),
            stale: Cell::new(0),
            changed: Cell::new(0),
            flushes: Cell::new(0),
            closed: Cell::new(false),
        };
        Ok(Reactor {
            inner: Rc::new(inner),
            events: Events::with_capacity(EVENTS_PER_TURN),
            wake: Vec::new(),
            doorbells: 0,
            interrupted: false,
        })
    }

    /// A handle for sockets of this reactor.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            inner: Rc::clone(&self.inner),
        }
    }

    /// Watches a foreign descriptor, typically an eventfd, edge-triggered and never read. Keep it
    /// open for as long as the reactor lives. At most 64 of them.
    ///
    /// # Errors
    /// Those of epoll_ctl(2), and `ENOSPC` for the 65th.
    pub fn watch(&mut self, fd: BorrowedFd<'_>) -> io::Result<Doorbell> {
        if self.doorbells == u64::BITS {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let token = token::doorbell(self.doorbells);
        self.inner
            .poller
            .register(fd, token, Interest::READABLE, Mode::Edge)?;
        self.doorbells += 1;
        Ok(Doorbell(self.doorbells - 1))
    }

    /// Waits for events for at most `pause` (`None`: for ever), raises the readiness they tell of
    /// and wakes those who waited for it: [`Reactor::wait`], then [`Reactor::dispatch`].
    ///
    /// # Errors
    /// Those of epoll_wait(2) but `EINTR`, which is [`Turn::interrupted`].
    ///
    /// # Blocking
    /// Sleeps for up to `pause`.
    pub fn turn(&mut self, pause: Option<Duration>) -> io::Result<Turn> {
        self.wait(pause)?;
        Ok(self.dispatch())
    }

    /// Waits for events for at most `pause`, and keeps them for [`Reactor::dispatch`]. Between the
    /// two a loop can tell its wakers that it is awake.
    ///
    /// What is listed and was not taken is flushed first. If any of it fails, the wait does not
    /// sleep: who has to hear of it is woken by [`Reactor::dispatch`].
    ///
    /// # Errors
    /// Those of epoll_wait(2) but `EINTR`.
    ///
    /// # Blocking
    /// Sleeps for up to `pause`.
    pub fn wait(&mut self, pause: Option<Duration>) -> io::Result<()> {
        let failed = self.make_changes();
        let pause = if failed { Some(Duration::ZERO) } else { pause };
        match self.inner.poller.wait(&mut self.events, pause) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.interrupted = true,
            result => result?,
        }
        Ok(())
    }

    /// Raises the readiness that the last wait told of and wakes those who waited for it.
    pub fn dispatch(&mut self) -> Turn {
        let turn = self.raise();
        self.wake_all();
        turn
    }

    pub(crate) fn wake_all(&mut self) {
        for waker in self.wake.drain(..) {
            waker.wake();
        }
    }

    fn raise(&mut self) -> Turn {
        let mut turn = Turn {
            interrupted: std::mem::take(&mut self.interrupted),
            ..Turn::default()
        };
        let mut table = self.inner.table.borrow_mut();
        let mut registrations = self.inner.registrations.borrow_mut();
        for (token, readiness) in self.events.drain() {
            turn.events += 1;
            match Target::from(token) {
                Target::Doorbell(index) if index < self.doorbells => turn.rang |= 1 << index,
                Target::Source(key) if table.raise(key, readiness, &mut self.wake) => {}
                Target::Registration(key) if registrations.report(key, readiness) => {}
                _ => {
                    self.inner.stale.set(self.inner.stale.get() + 1);
                }
            }
        }
        turn
    }
}

impl Drop for Reactor {
    /// Wakes whoever waits: it would be for ever. See [`Handle`].
    fn drop(&mut self) {
        self.inner.closed.set(true);
        self.inner.table.borrow_mut().wake_all(&mut self.wake);
        for waker in self.wake.drain(..) {
            waker.wake();
        }
    }
}

impl AsFd for Reactor {
    /// The epoll descriptor; readable while events wait. Who sleeps on it calls
    /// [`Reactor::flush`] before: what is listed is not in the set yet.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.poller.as_fd()
    }
}

impl Handle {
    /// How many sources are alive.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.inner.table.borrow().len()
    }

    /// Events that came for a source already gone: counted, never delivered to its successor.
    #[must_use]
    pub fn stale_events(&self) -> u64 {
        self.inner.stale.get()
    }

    /// What the reactor has done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let (waits, controls) = self.inner.poller.calls();
        Counters {
            waits,
            controls,
            changes: self.inner.changed.get(),
            flushes: self.inner.flushes.get(),
            operations: self.inner.operations.get(),
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("sources", &self.sources())
            .finish_non_exhaustive()
    }
}
