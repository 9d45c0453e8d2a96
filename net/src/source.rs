//! A descriptor on a reactor: the one place where sockets wait, retry and close.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::changes::Removal;
use crate::kernel::{Control, Kernel};
use crate::poller::{self, Interest, Mode};
use crate::reactor::Handle;
use crate::readiness::{Direction, Readiness, Table};
use crate::token::Key;

/// A descriptor owned by the caller and watched by a reactor: a pipe, a terminal, an inotify or
/// netlink descriptor, anything that epoll(7) can watch.
///
/// Sockets are added to the epoll set when an operation first has to wait, not before: a short
/// connection whose request is already there costs no epoll_ctl at all. What has to wait is put on a
/// list, and the list is made known to the kernel before the loop sleeps; [`Reactor::flush`]. If
/// the kernel refuses, the wait ends with its errno, and a later wait tries again.
///
/// [`Reactor::flush`]: crate::Reactor::flush
///
/// How it reports is its [`Mode`]:
///
/// | Mode | [`ready`](Source::ready) answers | and then |
/// |---|---|---|
/// | Edge | what has arisen since [`clear`](Source::clear) or an operation's `EAGAIN` | the same, until one of these |
/// | Level | as long as the condition holds, asked of the kernel each time | asks again |
/// | Oneshot | one event | waits until [`rearm`](Source::rearm) |
/// | Exclusive | as Edge, and not in all of the loops that watch it | as Edge |
///
/// A level source does not spin the loop: it is armed only while somebody waits for it, at the
/// price of one change of the epoll set for each wait. Edge costs none after the first.
///
/// ```
/// use ambidex_net::{Reactor, Source};
/// use std::os::unix::net::UnixStream;
///
/// let reactor = Reactor::new()?;
/// let (_here, there) = UnixStream::pair()?;
/// there.set_nonblocking(true)?;
/// let source = Source::new(&reactor.handle(), there.into())?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Source {
    handle: Handle,
    key: Key,
    /// `None` only during drop. Shared with the list of changes, which keeps it open while the
    /// kernel makes one.
    fd: Option<Rc<OwnedFd>>,
    interest: Cell<Interest>,
    mode: Mode,
}

/// What sockets wait for. PRIORITY: a read stops short at urgent data, and more may follow; tcp(7).
const ALL: Interest = Interest::READABLE
    .or(Interest::WRITABLE)
    .or(Interest::PRIORITY);

impl Source {
    /// Takes `fd`, which must be non-blocking, and adds it to the epoll set at once,
    /// edge-triggered, for everything.
    ///
    /// # Errors
    /// `EPERM` if it cannot be watched (a regular file or directory), `EEXIST` if this reactor
    /// watches it already, `ENOSPC` at the user's limit of watches; epoll_ctl(2).
    pub fn new(handle: &Handle, fd: OwnedFd) -> io::Result<Source> {
        Source::with(handle, fd, ALL, Mode::Edge)
    }

    /// Takes `fd`, which should be non-blocking, and watches it for `interest` in `mode`.
    ///
    /// # Errors
    /// `EPERM` if it cannot be watched (a regular file or directory), `EEXIST` if this reactor
    /// watches it already, `ENOSPC` at the user's limit of watches; epoll_ctl(2). `EINVAL` for
    /// [`Mode::Exclusive`] with [`Interest::PRIORITY`], which the kernel does not report so.
    ///
    /// # Minimum kernel
    /// Linux 4.5 for [`Mode::Exclusive`].
    ///
    /// ```
    /// use ambidex_net::{Interest, Mode, Reactor, Source};
    /// let reactor = Reactor::new()?;
    /// let (reader, _writer) = std::io::pipe()?;
    /// let source = Source::with(&reactor.handle(), reader, Interest::READABLE, Mode::Level)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with(
        handle: &Handle,
        fd: impl Into<OwnedFd>,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<Source> {
        if mode == Mode::Exclusive && interest.contains(Interest::PRIORITY) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut source = Source::lazy(handle, fd.into(), Readiness::EMPTY);
        source.interest = Cell::new(interest);
        source.mode = mode;
        source.register()?;
        Ok(source)
    }

    /// Takes `fd`, presumed to be `ready`; it joins the epoll set when it first has to wait.
    pub(crate) fn lazy(handle: &Handle, fd: OwnedFd, ready: Readiness) -> Source {
        Source {
            handle: handle.clone(),
            key: handle.inner.table.borrow_mut().insert(ready),
            fd: Some(Rc::new(fd)),
            interest: Cell::new(ALL),
            mode: Mode::Edge,
        }
    }

    /// Joins the epoll set now, for the caller wants the error now.
    fn register(&self) -> io::Result<()> {
        self.handle.inner.check_open()?;
        let inner = &self.handle.inner;
        let interest = if self.mode == Mode::Level {
            inner.table.borrow_mut().disarm(self.key);
            Interest::NONE
        } else {
            self.interest.get()
        };
        // Registering reports what is ready already, so nothing slips in between.
        self.control(Control::Add, interest)?;
        inner.changes.borrow_mut().added(self.key);
        Ok(())
    }

    fn control(&self, control: Control, interest: Interest) -> io::Result<()> {
        let (flags, token) = (self.flags(interest), self.key.into());
        let poller = &self.handle.inner.poller;
        poller.control(control, self.as_fd(), flags, token)
    }

    fn flags(&self, interest: Interest) -> u32 {
        match self.mode {
            Mode::Edge | Mode::Oneshot => poller::flags(interest, self.mode),
            Mode::Level => poller::flags(interest, Mode::Oneshot),
            Mode::Exclusive => poller::flags(interest, self.mode) | libc::EPOLLET as u32,
        }
    }

    /// Somebody waits for `interest`: has the kernel report it, from the next flush on. What is
    /// ready by then is reported.
    fn listen(&self, interest: Interest) -> io::Result<()> {
        let inner = &self.handle.inner;
        inner.check_open()?;
        let mut changes = inner.changes.borrow_mut();
        let interest = if self.mode == Mode::Level {
            inner.table.borrow_mut().arm(self.key, interest)
        } else {
            let news = !changes.knows(self.key);
            news.then(|| self.interest.get())
        };
        if let (Some(interest), Some(fd)) = (interest, &self.fd) {
            changes.list(self.key, Rc::clone(fd), self.flags(interest));
        }
        Ok(())
    }

    /// Why the kernel does not report `interest`, if it was asked and refused. Told once.
    fn refusal(table: &mut Table, key: Key, interest: Interest) -> io::Result<()> {
        let errno = table.take_errno(key, interest);
        errno.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    /// Waits until something of `interest` is ready, or an error or a hang-up has come, and tells
    /// what is known of it: a peer that has shut down its side is
    /// [`is_read_closed`](Readiness::is_read_closed), one that has hung up is
    /// [`is_write_closed`](Readiness::is_write_closed) too, and an error is
    /// [`is_error`](Readiness::is_error).
    ///
    /// # Errors
    /// `EINVAL` if `interest` goes beyond what the source watches for: it would never come. Those
    /// of epoll_ctl(2).
    ///
    /// # Cancel safety
    /// Safe, but that the event of a [`Mode::Oneshot`] source is told to one who waits only.
    ///
    /// ```
    /// # let mut reactor = ambidex_net::Reactor::new()?;
    /// # let handle = reactor.handle();
    /// use ambidex_net::{Interest, Mode, Source};
    /// use std::io::Write;
    /// use std::task::{Context, Poll, Waker};
    ///
    /// let (reader, mut writer) = std::io::pipe()?;
    /// let source = Source::with(&handle, reader, Interest::READABLE, Mode::Level)?;
    /// let mut ready = Box::pin(source.ready(Interest::READABLE));
    /// let mut cx = Context::from_waker(Waker::noop());
    /// assert!(ready.as_mut().poll(&mut cx).is_pending());
    /// writer.write_all(b"x")?;
    /// reactor.turn(None)?;
    /// assert!(matches!(ready.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn ready(&self, interest: Interest) -> io::Result<Readiness> {
        if self.mode == Mode::Level {
            // What an earlier event told may hold no more.
            self.clear(interest);
        }
        poll_fn(|cx| self.poll_interest(cx, interest)).await
    }

    /// The poll of [`Source::ready`], but that a level source may tell what it knew before.
    ///
    /// # Errors
    /// Those of [`Source::ready`].
    pub fn poll_interest(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
    ) -> Poll<io::Result<Readiness>> {
        if !self.interest.get().contains(interest) {
            return Poll::Ready(Err(io::Error::from_raw_os_error(libc::EINVAL)));
        }
        let known = {
            let mut table = self.handle.inner.table.borrow_mut();
            Source::refusal(&mut table, self.key, interest)?;
            let known = table.poll_for(self.key, interest, cx.waker());
            if let (Poll::Ready(told), Mode::Level | Mode::Oneshot) = (known, self.mode) {
                table.forget(self.key, told);
            }
            known
        };
        if known.is_pending() {
            self.listen(interest)?;
        }
        known.map(Ok)
    }

    /// Forgets what is known of `interest`, after an operation of the caller's own has answered
    /// `EAGAIN`. Of an edge-triggered source nothing but a new edge tells of it again.
    pub fn clear(&self, interest: Interest) {
        let mut table = self.handle.inner.table.borrow_mut();
        table.forget(self.key, interest.answers());
    }

    /// Has a [`Mode::Oneshot`] source report once more, for `interest` from now on. What is ready
    /// already is reported.
    ///
    /// # Errors
    /// `EINVAL` in another mode; epoll_ctl(2).
    pub fn rearm(&self, interest: Interest) -> io::Result<()> {
        if self.mode != Mode::Oneshot {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        self.clear(ALL);
        // At once, and nothing of it can be on the list: it was registered when it was made.
        self.control(Control::Modify, interest)?;
        self.interest.set(interest);
        Ok(())
    }

    /// Waits until `direction` may be ready. A hint: the operation may still answer `EAGAIN`.
    ///
    /// # Errors
    /// Those of the first registration, as in [`Source::new`], or of arming a level source: told
    /// once in each direction in which somebody waited, and the next wait tries again. `EINVAL` if
    /// the source does not watch for this direction.
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed.
    pub fn poll_ready(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
    ) -> Poll<io::Result<Readiness>> {
        let known = {
            let mut table = self.handle.inner.table.borrow_mut();
            Source::refusal(&mut table, self.key, direction.into())?;
            table.poll(self.key, direction, cx.waker())
        };
        if known.is_pending() {
            let interest = self.interest.get().and(direction.into());
            if interest == Interest::NONE {
                return Poll::Ready(Err(io::Error::from_raw_os_error(libc::EINVAL)));
            }
            self.listen(interest)?;
        }
        known.map(Ok)
    }

    /// Runs `operation` when `direction` is ready, again after `EINTR`, and waits anew after
    /// `EAGAIN`. Every other answer goes to the caller.
    ///
    /// # Errors
    /// Those of `operation`, and those of the first registration.
    ///
    /// # Cancel safety
    /// Safe: it is pending only when `operation` did nothing.
    pub fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut operation: impl FnMut(&dyn Kernel, BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            ready!(self.poll_ready(cx, direction))?;
            if let Some(result) = self.attempt(direction, &mut operation) {
                return Poll::Ready(result);
            }
        }
    }

    /// Runs `operation` now. `None` if it answered `EAGAIN`; `EINTR` runs it again.
    pub(crate) fn attempt<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(&dyn Kernel, BorrowedFd<'_>) -> io::Result<R>,
    ) -> Option<io::Result<R>> {
        let operations = &self.handle.inner.operations;
        loop {
            operations.set(operations.get() + 1);
            match operation(&*self.handle.inner.kernel, self.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut table = self.handle.inner.table.borrow_mut();
                    table.clear(self.key, direction);
                    return None;
                }
                result => return Some(result),
            }
        }
    }

    /// The future of [`Source::poll_io`].
    ///
    /// # Errors
    /// Those of [`Source::poll_io`].
    ///
    /// # Cancel safety
    /// Safe, as [`Source::poll_io`].
    pub async fn io<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(&dyn Kernel, BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        poll_fn(|cx| self.poll_io(cx, direction, &mut operation)).await
    }

    /// Leaves the reactor and gives the descriptor back, open and non-blocking, as to go to another
    /// one. What is known of its readiness is forgotten; whoever waits for it is woken.
    ///
    /// # Errors
    /// `EMFILE`, if it has to be duplicated since a change of its interest is under way.
    ///
    /// ```
    /// use ambidex_net::{Reactor, Source};
    /// let (here, there) = (Reactor::new()?, Reactor::new()?);
    /// let (reader, _writer) = std::io::pipe()?;
    /// let source = Source::new(&here.handle(), reader.into())?;
    /// let moved = Source::new(&there.handle(), source.into_fd()?)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_fd(mut self) -> io::Result<OwnedFd> {
        let inner = &self.handle.inner;
        let removal = inner.changes.borrow_mut().remove(self.key);
        let fd = self.fd.take().expect("taken only by what consumes it");
        if let Removal::Idle { added: true } = removal {
            let _ = inner.poller.deregister(&*fd);
        }
        match Rc::try_unwrap(fd) {
            Ok(fd) => Ok(fd),
            // It leaves the set and closes with the answer.
            Err(shared) => shared.try_clone(),
        }
    }

    /// The last transfer was short: the next would answer `EAGAIN`, so do not make it.
    pub(crate) fn clear_short(&self, direction: Direction) {
        let mut table = self.handle.inner.table.borrow_mut();
        table.clear_short(self.key, direction);
    }

    pub(crate) fn kernel(&self) -> &dyn Kernel {
        &*self.handle.inner.kernel
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("taken only by drop").as_fd()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let mut wake = Vec::new();
        let mut table = self.handle.inner.table.borrow_mut();
        table.remove(self.key, &mut wake);
        drop(table);
        let inner = &self.handle.inner;
        let removal = inner.changes.borrow_mut().remove(self.key);
        // Else the list shares it, and closes it after the answer.
        if let (Removal::Idle { added }, Some(fd)) = (removal, self.fd.take()) {
            inner.close(fd, added);
        }
        for waker in wake {
            waker.wake();
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("fd", &self.fd)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
