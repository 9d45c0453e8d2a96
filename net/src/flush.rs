//! How listed changes are made: by the reactor's own flush, or by whoever takes them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use crate::changes::{Answer, Change};
use crate::reactor::{Inner, Reactor};

impl Reactor {
    /// Whether [`Reactor::take_change`] would find one. Looks at one number.
    #[must_use]
    pub fn changes_pending(&self) -> bool {
        self.inner.changes.borrow().pending()
    }

    /// Takes the next change that sources wish for, to be made on the epoll set
    /// ([`Reactor::as_fd`]) by other means than this crate's: through a ring. Nothing to take may
    /// still mean that some are in flight, and others wait for their answers.
    ///
    /// Each change is to be answered, by [`Reactor::changed`] or [`Reactor::give_back`], before the
    /// reactor is dropped: until then its descriptor stays open, even if its source is dropped, and
    /// then no event of it is delivered. Of one source at most one is in flight. The changes of
    /// different sources may be made in any order.
    ///
    /// # Minimum kernel
    /// Linux 5.6 for `IORING_OP_EPOLL_CTL`; io_uring_enter(2).
    ///
    /// ```
    /// use ambidex_net::{Interest, Mode, Reactor, Source};
    /// use std::task::{Context, Waker};
    ///
    /// let mut reactor = Reactor::new()?;
    /// let (reader, _writer) = std::io::pipe()?;
    /// let source = Source::with(&reactor.handle(), reader, Interest::READABLE, Mode::Level)?;
    /// let mut cx = Context::from_waker(Waker::noop());
    /// assert!(source.poll_interest(&mut cx, Interest::READABLE).is_pending());
    ///
    /// let change = reactor.take_change().expect("somebody waits");
    /// assert_eq!(change.operation(), libc::EPOLL_CTL_MOD);
    /// reactor.give_back(change); // no room
    /// reactor.flush();
    /// assert!(!reactor.changes_pending());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn take_change(&mut self) -> Option<Change> {
        self.inner.changes.borrow_mut().take()
    }

    /// A change that was taken could not be made: it is the next to be taken again. Of several the
    /// one taken last goes back first.
    ///
    /// # Panics
    /// If it is not of this reactor.
    pub fn give_back(&mut self, change: Change) {
        self.restore(change.id());
    }

    /// The answer to change `id`. An error goes to those who wait for its source, and they are
    /// woken; `ECANCELED` says that it was not made, as [`Reactor::give_back`]. If the source is
    /// gone, its descriptor leaves the epoll set and is closed.
    ///
    /// # Panics
    /// If no such change is in flight: each is answered once.
    pub fn changed(&mut self, id: u64, result: io::Result<()>) {
        match &result {
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => self.restore(id),
            _ => {
                self.settle(id, result);
                self.wake_all();
            }
        }
    }

    /// Makes all changes that can be taken, in order, with one epoll_ctl(2) each. Errors are those
    /// of their sources, whose waiters are woken. [`Reactor::wait`] does it too: it is for who
    /// sleeps elsewhere, on the epoll descriptor.
    pub fn flush(&mut self) {
        self.make_changes();
        self.wake_all();
    }

    /// [`Reactor::flush`], leaving the wakers for later. Whether anything failed.
    pub(crate) fn make_changes(&mut self) -> bool {
        let mut failed = false;
        let flushes = u64::from(self.changes_pending());
        self.inner.flushes.set(self.inner.flushes.get() + flushes);
        while let Some(change) = self.take_change() {
            let fd = Rc::clone(self.inner.changes.borrow().pin(change.id()));
            let (control, flags, token) = change.parts();
            let result = (self.inner.poller).control(control, fd.as_fd(), flags, token);
            drop(fd);
            failed |= self.settle(change.id(), result);
        }
        failed
    }

    /// Whether somebody has to hear of it, and is in `wake`.
    fn settle(&mut self, id: u64, result: io::Result<()>) -> bool {
        let inner = &self.inner;
        inner.changed.set(inner.changed.get() + 1);
        let result = result.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO));
        let answer = inner.changes.borrow_mut().answer(id, result);
        if let Answer::Failed(key, errno) = answer {
            return (inner.table.borrow_mut()).fail(key, errno, &mut self.wake);
        }
        inner.part(answer);
        false
    }

    /// Change `id` was not made.
    fn restore(&mut self, id: u64) {
        let answer = self.inner.changes.borrow_mut().give_back(id);
        self.inner.part(answer);
    }
}

impl Inner {
    /// Parts with a source that was dropped while a change of it was in flight.
    fn part(&self, answer: Answer<Rc<OwnedFd>>) {
        if let Answer::Gone { pin, added } = answer {
            self.close(pin, added);
        }
    }

    /// Closes what nobody else uses, after it has left the epoll set if it was `added`.
    pub(crate) fn close(&self, fd: Rc<OwnedFd>, added: bool) {
        if added {
            // Before close: a duplicate held elsewhere would keep the registration alive. It
            // can only fail if the set or the descriptor is gone, which is what is wanted.
            let _ = self.poller.deregister(&*fd);
        }
        if let Some(fd) = Rc::into_inner(fd) {
            self.kernel.close(fd);
        }
    }
}
