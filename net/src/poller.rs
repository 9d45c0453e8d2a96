//! The epoll set itself: register, modify, deregister, wait.

use std::cell::Cell;
use std::io;
use std::ops::BitOr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use crate::kernel::{Control, Kernel};
use crate::linux::Linux;
use crate::readiness::Readiness;
use crate::token::Token;

/// What a registration wants to hear about. Errors and hang-ups are always reported.
///
/// ```
/// use ambidex_net::Interest;
/// let both = Interest::READABLE | Interest::WRITABLE;
/// assert_ne!(both, Interest::READABLE);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest(u32);

impl Interest {
    /// Data to read, or the peer's end of its stream (`EPOLLIN | EPOLLRDHUP`).
    pub const READABLE: Interest = Interest((libc::EPOLLIN | libc::EPOLLRDHUP) as u32);
    /// Room to write (`EPOLLOUT`).
    pub const WRITABLE: Interest = Interest(libc::EPOLLOUT as u32);
    /// Exceptional data, such as TCP urgent data (`EPOLLPRI`).
    pub const PRIORITY: Interest = Interest(libc::EPOLLPRI as u32);
}

impl Interest {
    /// What an event must tell of to answer this interest: errors and hang-ups always do.
    pub(crate) fn answers(self) -> Readiness {
        let always = Readiness::ERROR | Readiness::WRITE_CLOSED;
        Readiness::from_epoll(self.0) | always
    }

    /// What both ask for.
    pub(crate) fn and(self, other: Interest) -> Interest {
        Interest(self.0 & other.0)
    }

    /// Whether all that `other` asks for is asked for here.
    #[must_use]
    pub fn contains(self, other: Interest) -> bool {
        self.and(other) == other
    }

    /// [`BitOr`], for constants.
    pub(crate) const fn or(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }

    /// Errors and hang-ups only.
    pub(crate) const NONE: Interest = Interest(0);
}

impl BitOr for Interest {
    type Output = Interest;
    fn bitor(self, other: Interest) -> Interest {
        self.or(other)
    }
}

/// When a registration reports; epoll(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// At each wait, for as long as the condition holds.
    Level,
    /// Once when the condition arises (`EPOLLET`); read or write until `EAGAIN` before waiting.
    Edge,
    /// Once, then silent until [`Poller::modify`] (`EPOLLONESHOT`).
    Oneshot,
    /// As `Level`, and of several epoll sets watching the same descriptor not all are woken
    /// (`EPOLLEXCLUSIVE`, Linux 4.5). Cannot be modified; `EPOLLRDHUP` is not reported.
    Exclusive,
}

pub(crate) fn flags(interest: Interest, mode: Mode) -> u32 {
    match mode {
        Mode::Level => interest.0,
        Mode::Edge => interest.0 | libc::EPOLLET as u32,
        Mode::Oneshot => interest.0 | libc::EPOLLONESHOT as u32,
        // The kernel accepts only IN, OUT, ERR, HUP, WAKEUP and ET beside EXCLUSIVE.
        Mode::Exclusive => {
            let allowed = interest.0 & (libc::EPOLLIN | libc::EPOLLOUT) as u32;
            allowed | libc::EPOLLEXCLUSIVE as u32
        }
    }
}

/// Room for the events of one wait.
///
/// ```
/// let events = ambidex_net::Events::with_capacity(64);
/// assert_eq!(events.iter().count(), 0);
/// ```
pub struct Events {
    list: Box<[libc::epoll_event]>,
    filled: usize,
}

impl Events {
    /// Room for `capacity` events, at least one. A wait reports no more than that; the rest
    /// follow with the next wait.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Events {
        let empty = libc::epoll_event { events: 0, u64: 0 };
        Events {
            list: vec![empty; capacity.max(1)].into_boxed_slice(),
            filled: 0,
        }
    }

    /// As [`Events::iter`], leaving none behind.
    pub fn drain(&mut self) -> impl Iterator<Item = (Token, Readiness)> + '_ {
        let filled = std::mem::take(&mut self.filled);
        self.list[..filled]
            .iter()
            .map(|event| (Token(event.u64), Readiness::from_epoll(event.events)))
    }

    /// The events of the last wait, in the kernel's order.
    pub fn iter(&self) -> impl Iterator<Item = (Token, Readiness)> + '_ {
        self.list[..self.filled]
            .iter()
            .map(|event| (Token(event.u64), Readiness::from_epoll(event.events)))
    }
}

/// An epoll set, with the caller's own tokens. The layer below the [`Reactor`](crate::Reactor).
///
/// A descriptor must be deregistered before it is closed if a duplicate of it lives on: the
/// registration belongs to the open file description, not to the number (epoll(7), Q6).
///
/// ```
/// use ambidex_net::{Events, Interest, Mode, Poller, Token};
/// use std::{io::Write, os::unix::net::UnixStream, time::Duration};
///
/// let poller = Poller::new()?;
/// let (mut here, there) = UnixStream::pair()?;
/// poller.register(&there, Token(1), Interest::READABLE, Mode::Level)?;
/// here.write_all(b"x")?;
/// let mut events = Events::with_capacity(8);
/// poller.wait(&mut events, Some(Duration::from_secs(1)))?;
/// let (token, readiness) = events.iter().next().unwrap();
/// assert!(token == Token(1) && readiness.is_readable());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Poller {
    kernel: Rc<dyn Kernel>,
    epoll: OwnedFd,
    waits: Cell<u64>,
    controls: Cell<u64>,
}

impl Poller {
    /// Makes an empty set on the running kernel.
    ///
    /// # Errors
    /// Those of epoll_create1(2): `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new() -> io::Result<Poller> {
        Poller::with_kernel(Rc::new(Linux::default()))
    }

    /// Makes an empty set on `kernel`.
    ///
    /// # Errors
    /// Those of [`Kernel::epoll_create`].
    pub fn with_kernel(kernel: Rc<dyn Kernel>) -> io::Result<Poller> {
        let epoll = kernel.epoll_create()?;
        Ok(Poller {
            kernel,
            epoll,
            waits: Cell::new(0),
            controls: Cell::new(0),
        })
    }

    /// Starts watching `fd`.
    ///
    /// # Errors
    /// `EEXIST` if it is registered already, `EPERM` if it cannot be watched (a regular file or
    /// directory), `ENOSPC` at the user's limit of watches; epoll_ctl(2).
    pub fn register(
        &self,
        fd: impl AsFd,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        self.control(Control::Add, fd.as_fd(), flags(interest, mode), token)
    }

    /// Changes what is watched for, and re-arms a [`Mode::Oneshot`] registration.
    ///
    /// # Errors
    /// `ENOENT` if `fd` is not registered, `EINVAL` if it was or would become
    /// [`Mode::Exclusive`]; epoll_ctl(2).
    pub fn modify(
        &self,
        fd: impl AsFd,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        self.control(Control::Modify, fd.as_fd(), flags(interest, mode), token)
    }

    /// Stops watching `fd`. Events already fetched by a wait are not taken back.
    ///
    /// # Errors
    /// `ENOENT` if `fd` is not registered; epoll_ctl(2).
    pub fn deregister(&self, fd: impl AsFd) -> io::Result<()> {
        self.control(Control::Remove, fd.as_fd(), 0, Token(0))
    }

    pub(crate) fn control(
        &self,
        control: Control,
        fd: BorrowedFd<'_>,
        flags: u32,
        token: Token,
    ) -> io::Result<()> {
        self.controls.set(self.controls.get() + 1);
        self.kernel
            .epoll_ctl(self.epoll.as_fd(), control, fd, flags, token)
    }

    /// Waits until an event arrives or `timeout` has passed, for ever if it is `None`.
    ///
    /// # Errors
    /// `EINTR` on a signal, and, as a matter of course, when an io_uring of this thread has
    /// completions to post; `events` is empty then.
    ///
    /// # Blocking
    /// This is the call that sleeps.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.filled = 0;
        self.waits.set(self.waits.get() + 1);
        let epoll = self.epoll.as_fd();
        events.filled = self.kernel.epoll_wait(epoll, &mut events.list, timeout)?;
        Ok(())
    }

    /// Calls so far: of epoll_wait(2), of epoll_ctl(2).
    pub(crate) fn calls(&self) -> (u64, u64) {
        (self.waits.get(), self.controls.get())
    }
}

impl AsFd for Poller {
    /// The epoll descriptor; readable while events wait, so the set nests in another loop.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
