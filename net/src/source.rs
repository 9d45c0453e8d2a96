//! A descriptor on a reactor: the one place where sockets wait, retry and close.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use crate::kernel::Kernel;
use crate::poller::{Interest, Mode};
use crate::reactor::Handle;
use crate::readiness::{Direction, Readiness};
use crate::token::Key;

/// A descriptor owned by the caller and watched, edge-triggered, by a reactor.
///
/// It is added to the epoll set when an operation first has to wait, not before: a short
/// connection whose request is already there costs no epoll_ctl at all.
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
    /// `None` only during drop.
    fd: Option<OwnedFd>,
    registered: Cell<bool>,
}

impl Source {
    /// Takes `fd`, which must be non-blocking, and adds it to the epoll set at once.
    ///
    /// # Errors
    /// `EPERM` if it cannot be watched (a regular file or directory), `EEXIST` if this reactor
    /// watches it already, `ENOSPC` at the user's limit of watches; epoll_ctl(2).
    pub fn new(handle: &Handle, fd: OwnedFd) -> io::Result<Source> {
        let source = Source::lazy(handle, fd, Readiness::EMPTY);
        source.register()?;
        Ok(source)
    }

    /// Takes `fd`, presumed to be `ready`; it joins the epoll set when it first has to wait.
    pub(crate) fn lazy(handle: &Handle, fd: OwnedFd, ready: Readiness) -> Source {
        Source {
            handle: handle.clone(),
            key: handle.inner.table.borrow_mut().insert(ready),
            fd: Some(fd),
            registered: Cell::new(false),
        }
    }

    fn register(&self) -> io::Result<()> {
        // PRIORITY: a read stops short at urgent data, and more may follow; tcp(7).
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        // Registering reports what is ready already, so nothing slips in between.
        self.handle
            .inner
            .poller
            .register(self.as_fd(), self.key.into(), interest, Mode::Edge)?;
        self.registered.set(true);
        Ok(())
    }

    /// Waits until `direction` may be ready. A hint: the operation may still answer `EAGAIN`.
    ///
    /// # Errors
    /// Those of the first registration, as in [`Source::new`].
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
            table.poll(self.key, direction, cx.waker())
        };
        if known.is_pending() && !self.registered.get() {
            self.register()?;
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
        loop {
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
        if self.registered.get() {
            // Before close: a duplicate held elsewhere would keep the registration alive. It
            // can only fail if the set or the descriptor is gone, which is what is wanted.
            let _ = self.handle.inner.poller.deregister(self.as_fd());
        }
        if let Some(fd) = self.fd.take() {
            self.handle.inner.kernel.close(fd);
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
