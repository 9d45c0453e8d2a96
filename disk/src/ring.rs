//! The ring: gates in front, the operations table in the middle, a kernel behind.

mod handle;
mod lanes;
mod state;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use smallvec::SmallVec;

use crate::capabilities::Capabilities;
use crate::kernel::Kernel;
use crate::linux;
use crate::operation::answer;
use crate::operations::Operations;
use crate::options::Options;
use crate::policy::Mounts;
use crate::request::Request;
use crate::retry::{self, Kind, Verdict};
use crate::table::Table;

pub use handle::Handle;
use handle::{Inner, shut_down};
pub(crate) use state::{Finished, Sink};
use state::{Payload, State, push_queued};

/// A gate wakes two at most, and an operation passes two gates: no allocation.
type Wakers = SmallVec<[Waker; 4]>;

/// Operations whose memory was leaked because the kernel still held it; see [`leaked`].
static LEAKED: AtomicU64 = AtomicU64::new(0);

/// Operations of this process whose memory had to be leaked: their ring was dropped while the
/// kernel still held it, and closing a ring does not stop the kernel from writing.
#[must_use]
pub fn leaked() -> u64 {
    LEAKED.load(Ordering::Relaxed)
}

/// Plain counters of a ring, all since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Submissions: one call of io_uring_enter(2) or a few, or the equivalent.
    pub enters: u64,
    /// System calls of this ring on its own thread: enters, what was answered without waiting, places
    /// in the table of files.
    pub calls_here: u64,
    /// System calls on worker threads of this ring's own. What the kernel does in its workers are
    /// none.
    pub calls_elsewhere: u64,
    /// Entries submitted.
    pub submitted: u64,
    /// Completions reaped.
    pub completed: u64,
    /// Enters that answered `EINTR`, `EAGAIN`, `EBUSY` or `ENOMEM`.
    pub enter_retries: u64,
    /// Operations submitted again because their errno asked for it.
    pub operation_retries: u64,
    /// Completions whose future was gone.
    pub orphans: u64,
    /// Completions that no operation answered to.
    pub stale: u64,
    /// Errnos that only a broken rule of this crate explains.
    pub bugs: u64,
}

/// A change of an epoll set; see [`Ring::begin_change`] and epoll_ctl(2).
#[derive(Clone, Copy, Debug)]
pub struct EpollChange<'a> {
    /// The set.
    pub epoll: BorrowedFd<'a>,
    /// `EPOLL_CTL_*`.
    pub operation: i32,
    /// What is watched.
    pub fd: RawFd,
    /// `EPOLL*`: what for, and how.
    pub events: u32,
    /// What comes back with each event.
    pub data: u64,
}

/// Owns the queues and turns them. Not `Send`: it lives and dies on one thread.
///
/// See the [crate] for an example.
pub struct Ring {
    inner: Rc<Inner>,
    /// Gathered while the state was borrowed; woken and dropped after. Kept for their capacity.
    wake: Vec<Waker>,
    orphans: Vec<(Payload, i32)>,
}

impl Ring {
    /// Sets up io_uring, down its ladder of flags, or threads.
    ///
    /// # Errors
    /// With [`Choice::Uring`](crate::Choice::Uring), why io_uring cannot be had: `EPERM` (seccomp,
    /// `kernel.io_uring_disabled`), `ENOSYS`, `ENOMEM` (RLIMIT_MEMLOCK); else only `EMFILE` and its
    /// like for the eventfd.
    pub fn new(options: &Options) -> io::Result<Ring> {
        Ok(Ring::with_kernel(linux::set_up(options)?, options))
    }

    /// Puts a ring's face on `kernel`, which may be a simulated one.
    #[must_use]
    pub fn with_kernel(kernel: Box<dyn Kernel>, options: &Options) -> Ring {
        let capabilities = kernel.capabilities().clone();
        let state = State {
            operations: ManuallyDrop::new(Operations::new(capabilities.cq_entries)),
            kernel: Some(kernel),
            queue: VecDeque::with_capacity(capabilities.cq_entries),
            lanes: Vec::new(),
            // Half the credits at most: a hung mount leaves some for the others.
            remote_max: options.remote_max.min(capabilities.cq_entries / 2).max(1),
            put_off: Vec::new(),
            turn_came: false,
            stalled: false,
            called_back: Vec::new(),
            finished: VecDeque::new(),
            changed: VecDeque::new(),
            counters: Counters::default(),
        };
        Ring {
            inner: Rc::new(Inner {
                state: RefCell::new(state),
                closing: RefCell::default(),
                scope: RefCell::default(),
                table: Table::new(capabilities.table_entries as u32),
                pools: RefCell::default(),
                calls: Cell::new(0),
                mounts: Mounts::default(),
                capabilities,
            }),
            wake: Vec::new(),
            orphans: Vec::new(),
        }
    }

    /// A handle for files of this ring.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            inner: Rc::clone(&self.inner),
        }
    }

    /// What was obtained at set-up.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.inner.capabilities
    }

    /// Whether [`Ring::submit`] would make a system call.
    #[must_use]
    pub fn wants_enter(&self) -> bool {
        let state = &mut *self.inner.state.borrow_mut();
        let Some(kernel) = &mut state.kernel else {
            return false;
        };
        !state.queue.is_empty()
            || !self.inner.closing.borrow().is_empty()
            || state.turn_came
            || self.inner.table.has_vacated()
            || kernel.queued() > 0
            || kernel.deferred()
    }

    /// Submits what operations have queued: one io_uring_enter(2) for as many as the submission
    /// queue holds, none if there is nothing to do. An enter that fails loses nothing.
    ///
    /// # Errors
    /// Only those that a broken rule explains, such as `EEXIST`: entered from another thread, or
    /// from a child after fork(2).
    ///
    /// # Blocking
    /// The kernel tries each operation here first; filesystems known to block are excepted.
    pub fn submit(&mut self) -> io::Result<()> {
        let entered = self.enter();
        self.settle();
        entered.map(drop)
    }

    /// [`Ring::submit`]; false if the kernel had no room.
    fn enter(&mut self) -> io::Result<bool> {
        let state = &mut *self.inner.state.borrow_mut();
        state.take_over_closing(&self.inner.closing, &mut self.wake);
        let Some(kernel) = &mut state.kernel else {
            return Ok(true);
        };
        if self.inner.table.has_vacated() {
            self.inner.tidy(&mut **kernel);
        }
        loop {
            push_queued(&mut **kernel, &mut state.operations, &mut state.queue);
            let before = kernel.queued();
            if before == 0 && !kernel.deferred() {
                state.stalled = false;
                return Ok(true);
            }
            state.counters.enters += 1;
            if let Err(error) = kernel.enter() {
                let errno = error.raw_os_error().unwrap_or(0);
                if retry::judge(Kind::Enter, errno) != Verdict::Retry {
                    return Err(error);
                }
                state.counters.enter_retries += 1;
                state.stalled = kernel.queued() > 0 || kernel.deferred();
                return Ok(false);
            }
            let after = kernel.queued();
            state.counters.submitted += (before - after) as u64;
            state.stalled = after > 0;
            while let Some(user_data) = kernel.next_parted() {
                if let Some((_, payload)) = state.operations.peek(user_data) {
                    payload.part();
                }
            }
            if state.queue.is_empty() || kernel.room() == 0 {
                if after == 0 && !state.called_back.is_empty() {
                    state.call_back_again();
                }
                return Ok(true);
            }
        }
    }

    /// Takes completions until none is left or `budget` is spent, wakes their futures, and tells
    /// how many it took. If there is none, but some are deferred, an enter brings those out; else the
    /// next submission does so for nothing. So 0 is the answer only if there are none of either.
    ///
    /// # Errors
    /// Those of [`Ring::submit`].
    pub fn reap(&mut self, budget: usize) -> io::Result<usize> {
        let reaped = self.reap_batch(budget);
        self.settle();
        // The flag is a hint and may stay up with nothing behind it (see `Kernel::deferred`): one enter.
        if reaped > 0 || budget == 0 || !self.has_deferred() || !self.enter()? {
            return Ok(reaped);
        }
        let brought_out = self.reap_batch(budget);
        self.settle();
        Ok(brought_out)
    }

    fn has_deferred(&self) -> bool {
        let state = &mut *self.inner.state.borrow_mut();
        let kernel = state.kernel.as_mut();
        kernel.is_some_and(|kernel| kernel.deferred())
    }

    fn reap_batch(&mut self, budget: usize) -> usize {
        let state = &mut *self.inner.state.borrow_mut();
        let mut reaped = 0;
        while reaped < budget {
            let Some(completion) = state.kernel.as_mut().and_then(|kernel| kernel.next()) else {
                break;
            };
            reaped += 1;
            state.complete(completion, &mut self.wake, &mut self.orphans);
        }
        reaped
    }

    /// Wakes and drops what was gathered, now that nothing is borrowed.
    fn settle(&mut self) {
        // One by one: if the destructor of a user's buffer panics, the others keep their turn.
        while let Some((payload, result)) = self.orphans.pop() {
            self.inner
                .clean_up(payload.request, payload.lane, Some(result));
        }
        for waker in self.wake.drain(..) {
            waker.wake();
        }
    }

    /// Prepares for sleep: from now on the doorbell rings. False if there is work already.
    #[must_use]
    pub fn arm(&mut self) -> bool {
        let state = &mut *self.inner.state.borrow_mut();
        let Some(kernel) = &mut state.kernel else {
            return true;
        };
        let to_submit = !state.queue.is_empty() || !self.inner.closing.borrow().is_empty();
        let idle = state.stalled || !(to_submit || state.turn_came);
        kernel.arm() && idle || state.stalled
    }

    /// After sleep: the doorbell need not ring while the loop runs.
    pub fn disarm(&mut self) {
        if let Some(kernel) = &mut self.inner.state.borrow_mut().kernel {
            kernel.disarm();
        }
    }

    /// The last enter left entries behind: enter again soon, even if nothing rings.
    #[must_use]
    pub fn stalled(&self) -> bool {
        self.inner.state.borrow().stalled
    }

    /// Lends the doorbell to `watch`: an eventfd to watch edge-triggered and never to read. It is
    /// closed when the ring is shut down.
    ///
    /// # Errors
    /// If the ring has been shut down.
    pub fn doorbell<R>(&self, watch: impl FnOnce(BorrowedFd<'_>) -> R) -> io::Result<R> {
        match &self.inner.state.borrow().kernel {
            Some(kernel) => Ok(watch(kernel.doorbell())),
            None => Err(shut_down()),
        }
    }

    /// Whether operations are in flight or descriptors wait to be closed.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let put_off = !self.inner.state.borrow().put_off.is_empty();
        self.in_flight() > 0 || put_off || !self.inner.closing.borrow().is_empty()
    }

    /// Operations that the kernel may still work on.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.inner.state.borrow().operations.in_flight()
    }

    /// Shuts the ring down for good. Operations begun later answer with an error, and so do those
    /// that the kernel has not been given yet (`ECANCELED`). Those in flight never resolve, and
    /// their memory stays lent for ever (G1): turn the ring until [`Ring::in_flight`] is 0 before,
    /// or give up at a deadline. Tells how many were given up.
    pub fn shut_down(&mut self) -> usize {
        if self.inner.state.borrow().kernel.is_none() {
            return 0;
        }
        {
            let state = &mut *self.inner.state.borrow_mut();
            state.cancel_queued(&mut self.wake, &mut self.orphans);
            if let Some(kernel) = &mut state.kernel {
                kernel.stop();
            }
        }
        // What the kernel has answered already is not given up.
        while self.reap(usize::MAX).is_ok_and(|reaped| reaped > 0) {}
        let mut wake = Wakers::new();
        let kernel = {
            let state = &mut *self.inner.state.borrow_mut();
            // An answer may have asked for another try.
            state.cancel_queued(&mut self.wake, &mut self.orphans);
            state.operations.wake_all(&mut wake);
            for (_, gate) in &mut state.lanes {
                gate.wake_all(&mut wake);
            }
            self.inner.closing.borrow_mut().append(&mut state.put_off);
            state.kernel.take()
        };
        let given_up = self.in_flight();
        LEAKED.fetch_add(given_up as u64, Ordering::Relaxed);
        drop(kernel);
        self.settle();
        let closing = self.inner.closing.take();
        self.inner.close_aside(closing);
        wake.into_iter().for_each(Waker::wake);
        given_up
    }

    pub(crate) fn take_finished(&mut self) -> Option<Finished> {
        self.inner.state.borrow_mut().finished.pop_front()
    }

    /// Whether [`Ring::take_complete`] has something.
    #[must_use]
    pub fn has_complete(&self) -> bool {
        !self.inner.state.borrow().finished.is_empty()
    }

    /// Begins a change of an epoll set, epoll_ctl(2) by way of `IORING_OP_EPOLL_CTL`: all that are
    /// begun in a turn cost one system call. Keep the set and the descriptor open until
    /// [`Ring::take_changed`] has answered `id`. False if the ring has no credit for it or no such
    /// operation: make the change yourself.
    ///
    /// # Minimum kernel
    /// Linux 5.6.
    #[must_use]
    pub fn begin_change(&mut self, id: u64, change: &EpollChange<'_>) -> bool {
        let operations = &self.inner.capabilities.operations;
        if !operations.contains(&("EPOLL_CTL", true)) {
            return false;
        }
        let request = Request::Watch {
            epoll: change.epoll.as_raw_fd(),
            operation: change.operation,
            fd: change.fd,
            event: Box::new(libc::epoll_event {
                events: change.events,
                u64: change.data,
            }),
        };
        let state = &mut *self.inner.state.borrow_mut();
        if state.kernel.is_none() {
            return false;
        }
        let begun = state.try_admit(request, (false, None), Sink::Change(id));
        begun.is_ok()
    }

    /// The next answer to [`Ring::begin_change`].
    #[must_use]
    pub fn take_changed(&mut self) -> Option<(u64, io::Result<()>)> {
        let (id, result) = self.inner.state.borrow_mut().changed.pop_front()?;
        Some((id, answer(result).map(drop)))
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner.counters()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.shut_down();
        // Nobody can take them any more, and what they hold of this ring would keep it for ever.
        while let Some(finished) = self.take_finished() {
            let (request, lane) = (finished.request, finished.lane);
            self.inner.clean_up(request, lane, Some(finished.result));
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("backend", &self.inner.capabilities.backend)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}
