//! What files hold of their ring.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::thread;

use super::state::{Closing, Sink, State};
use super::{Counters, Wakers};
use crate::cancel::Scope;
use crate::capabilities::Capabilities;
use crate::kernel::{Kernel, Link};
use crate::metadata::Metadata;
use crate::operation::{Admission, Admitted, answer};
use crate::operations::Key;
use crate::policy::{Lane, Mounts, Place};
use crate::pool::Pool;
use crate::request::Request;
use crate::table::{Slot, Table};

pub(super) struct Inner {
    pub(super) state: RefCell<State>,
    /// Descriptors to close; filled by drops, which may happen while `state` is borrowed.
    pub(super) closing: RefCell<Vec<Closing>>,
    /// Which scope operations join that are polled now.
    pub(super) scope: RefCell<Option<Rc<Scope>>>,
    /// The table of files.
    pub(super) table: Rc<Table>,
    /// Those whose memory is registered.
    pub(super) pools: RefCell<Vec<Pool>>,
    /// System calls on this thread that are no enters and not the kernel's to count.
    pub(super) calls: Cell<u64>,
    pub(super) mounts: Mounts,
    pub(super) capabilities: Capabilities,
}

/// What each file holds of its ring. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(super) inner: Rc<Inner>,
}

impl Inner {
    pub(super) fn counters(&self) -> Counters {
        let state = self.state.borrow();
        let kernel = state.kernel.as_ref();
        let (here, elsewhere) = kernel.map_or((0, 0), |kernel| kernel.calls());
        Counters {
            calls_here: state.counters.calls_here + here + self.calls.get(),
            calls_elsewhere: elsewhere,
            ..state.counters
        }
    }

    pub(super) fn count_call(&self) {
        self.calls.set(self.calls.get() + 1);
    }

    /// Empties the places of the table that were left.
    pub(super) fn tidy(&self, kernel: &mut dyn Kernel) {
        self.table.tidy(|index| {
            self.count_call();
            kernel.set_table(index, None).is_ok()
        });
    }

    pub(super) fn clean_up(&self, request: Request, lane: Option<Lane>, result: Option<i32>) {
        if let Some(fd) = request.orphaned(result) {
            self.close_later(fd, lane);
        }
    }

    /// Closes `fd` with the next submission, for closing may block on remote filesystems; aside if
    /// there will be none.
    fn close_later(&self, fd: OwnedFd, lane: Option<Lane>) {
        // During a borrow the kernel is alive: the ring is being turned.
        let alive = self.state.try_borrow().map_or(true, |s| s.kernel.is_some());
        let closing = Closing::new(fd, lane);
        if alive {
            self.closing.borrow_mut().push(closing);
        } else {
            self.close_aside(vec![closing]);
        }
    }

    /// Closes descriptors when there is no ring any more: local ones here, and those whose mount may
    /// hang on a thread that nobody waits for. Without a thread they stay open.
    pub(super) fn close_aside(&self, closing: Vec<Closing>) {
        let may_hang = |closing: &Closing| closing.may_hang(&self.mounts);
        let remote: Vec<Closing> = closing.into_iter().filter(may_hang).collect();
        if !remote.is_empty() {
            let remote = ManuallyDrop::new(remote);
            let close = move || drop(ManuallyDrop::into_inner(remote));
            let name = "ambidex-close".to_owned();
            let _ = thread::Builder::new().name(name).spawn(close);
        }
    }
}

impl Handle {
    /// What was obtained at set-up.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.inner.capabilities
    }

    /// Operations that the kernel may still work on.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.inner.state.borrow().operations.in_flight()
    }

    /// Futures that wait for a credit or for their mount's turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let state = self.inner.state.borrow();
        let lanes: usize = state.lanes.iter().map(|(_, gate)| gate.waiting()).sum();
        state.operations.waiting() + lanes
    }

    /// Futures that wait for their turn on one remote mount: with as many ahead, who comes next
    /// may rather be told so than wait.
    ///
    /// ```
    /// use ambidex_disk::policy::Lane;
    /// let ring = ambidex_disk::Ring::new(&ambidex_disk::Options::default())?;
    /// assert_eq!(ring.handle().waiting_in(Lane::crossing(b"mnt/file")), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn waiting_in(&self, lane: Lane) -> usize {
        let state = self.inner.state.borrow();
        let mut lanes = state.lanes.iter();
        lanes
            .find(|(known, _)| *known == lane)
            .map_or(0, |(_, gate)| gate.waiting())
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner.counters()
    }

    /// Has the kernel keep the memory of `pool` mapped, so that reads into its buffers and writes
    /// from them need not map it each time; worth it for direct I/O. On a ring of threads, and after
    /// a failure, the pool works as before. The memory stays locked, and the pool alive, for as long
    /// as the ring does.
    ///
    /// # Errors
    /// `ENOMEM` over RLIMIT_MEMLOCK, `EFAULT` for a pool of more than 1 GiB, `ENOSPC` for the 17th;
    /// `Unsupported` on a ring of threads.
    ///
    /// # Minimum kernel
    /// Linux 5.19.
    ///
    /// ```
    /// use ambidex_disk::{Options, Pool, Ring};
    /// let ring = Ring::new(&Options::default())?;
    /// let pool = Pool::new(16, 4096);
    /// if let Err(error) = ring.handle().register(&pool) {
    ///     println!("unregistered: {error}");
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn register(&self, pool: &Pool) -> io::Result<()> {
        let (start, length) = pool.memory();
        match &mut self.inner.state.borrow_mut().kernel {
            Some(kernel) => {
                self.inner.count_call();
                kernel.register_memory(start, length)?;
            }
            None => return Err(shut_down()),
        }
        self.inner.pools.borrow_mut().push(pool.clone());
        Ok(())
    }

    /// Puts a file into the table.
    pub(crate) fn fix(&self, fd: BorrowedFd<'_>) -> io::Result<Rc<Slot>> {
        let inner = &self.inner;
        let Some(kernel) = &mut inner.state.borrow_mut().kernel else {
            return Err(shut_down());
        };
        if inner.capabilities.table_entries == 0 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        inner.tidy(&mut **kernel);
        let Some(slot) = inner.table.take() else {
            return Err(io::Error::from_raw_os_error(libc::ENFILE));
        };
        inner.count_call();
        let put = kernel.set_table(slot.index(), Some(fd));
        if put.is_err() {
            slot.set_empty();
        }
        put.map(|()| slot)
    }

    /// Whether both belong to one ring.
    pub(crate) fn is_same(&self, other: &Handle) -> bool {
        Rc::ptr_eq(&self.inner, &other.inner)
    }

    /// Where the mount of an open file has it worked on.
    pub(crate) fn judge(&self, metadata: &Metadata) -> Place {
        let state = self.inner.state.borrow();
        self.inner
            .mounts
            .judge_by(metadata, || match &state.kernel {
                Some(kernel) => kernel.mount_table(),
                None => Err(shut_down()),
            })
    }

    /// Runs `call` on the kernel, for the calls that need no queue.
    pub(crate) fn with_kernel<R>(
        &self,
        call: impl FnOnce(&dyn Kernel) -> io::Result<R>,
    ) -> io::Result<R> {
        self.inner.count_call();
        match &self.inner.state.borrow().kernel {
            Some(kernel) => call(&**kernel),
            None => Err(shut_down()),
        }
    }

    /// Begins an operation that a future will poll, if it need not wait; else gives it back.
    pub(crate) fn try_admit(
        &self,
        request: Request,
        place: (bool, Option<Lane>),
    ) -> Result<Key, Request> {
        let state = &mut *self.inner.state.borrow_mut();
        if state.kernel.is_none() {
            return Err(request);
        }
        state.try_admit(request, place, Sink::Future)
    }

    /// Makes the call that `request` stands for on this thread.
    pub(crate) fn perform_now(&self, request: &mut Request) -> io::Result<u32> {
        let call = request.lower();
        self.with_kernel(|kernel| {
            // SAFETY: the pointers lead into memory owned by the request, borrowed for the call.
            answer(unsafe { kernel.perform_now(&call) })
        })
    }

    pub(crate) fn admit(&self, mut admission: Admission, waker: &Waker) -> Admitted {
        let mut wake = Wakers::new();
        let admitted = {
            let state = &mut *self.inner.state.borrow_mut();
            if state.kernel.is_none() {
                return Admitted::Refused(shut_down(), admission.request);
            }
            if state.pass_lane(&mut admission, waker, &mut wake) {
                state.admit(admission, waker, &mut wake)
            } else {
                Admitted::Waiting(admission)
            }
        };
        wake.into_iter().for_each(Waker::wake);
        admitted
    }

    pub(crate) fn poll_operation(&self, key: Key, waker: &Waker) -> Poll<(Request, i32)> {
        let polled = self.inner.state.borrow_mut().operations.poll(key, waker);
        polled.map(|(payload, result)| (payload.request, result))
    }

    /// How many operations have ended that nobody has taken by their token.
    pub(crate) fn finished(&self) -> usize {
        self.inner.state.borrow().finished.len()
    }

    /// Begins an operation that waits for nothing.
    ///
    /// # Errors
    /// `WouldBlock` if it would have to wait, or that the ring is shut down; with the request.
    pub(crate) fn try_begin(
        &self,
        request: Request,
        place: Place,
        sink: Sink,
    ) -> Result<Key, (io::Error, Request)> {
        let mut wake = Wakers::new();
        let admitted = {
            let state = &mut *self.inner.state.borrow_mut();
            if state.kernel.is_none() {
                return Err((shut_down(), request));
            }
            let immediate = request.is_immediate(place);
            let admitted = state.try_admit(request, (place.punt(), place.lane()), sink);
            if let (true, Ok(key)) = (immediate, &admitted) {
                self.inner.count_call();
                state.answer_now(*key, &mut wake);
            }
            admitted
        };
        wake.into_iter().for_each(Waker::wake);
        admitted.map_err(|request| (io::ErrorKind::WouldBlock.into(), request))
    }

    /// Begins a chain, if the ring can link and has credits for all of it; else gives it back.
    pub(crate) fn try_chain(
        &self,
        members: Vec<(Request, Link)>,
        parted: &Rc<Cell<bool>>,
    ) -> Result<Vec<Key>, Vec<Request>> {
        let capabilities = &self.inner.capabilities;
        let state = &mut *self.inner.state.borrow_mut();
        let fits = capabilities.links && members.len() <= capabilities.sq_entries;
        let begun = if fits && state.kernel.is_some() {
            state.try_chain(members, parted)
        } else {
            Err(members)
        };
        begun.map_err(|members| members.into_iter().map(|(request, _)| request).collect())
    }

    /// An empty place of the table of files.
    pub(crate) fn slot(&self) -> Option<Rc<Slot>> {
        self.inner.table.take()
    }

    /// The scope that operations join which are polled now.
    pub(crate) fn scope(&self) -> Option<Rc<Scope>> {
        self.inner.scope.borrow().clone()
    }

    /// Makes `scope` that one, and tells which it was.
    pub(crate) fn swap_scope(&self, scope: Option<Rc<Scope>>) -> Option<Rc<Scope>> {
        self.inner.scope.replace(scope)
    }

    /// Asks that an operation in flight be given up.
    pub(crate) fn cancel_operation(&self, key: Key) {
        let mut wake = Wakers::new();
        self.inner.state.borrow_mut().cancel(key, &mut wake);
        wake.into_iter().for_each(Waker::wake);
    }

    /// An operation is dropped before it was submitted.
    pub(crate) fn withdraw(&self, admission: Admission) {
        let lane = admission.lane;
        let request = self.step_back(admission);
        self.inner.clean_up(request, lane, None);
    }

    /// Leaves the gates; the request is the caller's again.
    pub(crate) fn step_back(&self, mut admission: Admission) -> Request {
        let mut wake = Wakers::new();
        {
            let state = &mut *self.inner.state.borrow_mut();
            if let Some(ticket) = admission.ticket.take() {
                state.operations.leave(ticket, &mut wake);
            }
            if let Some(lane) = admission.lane {
                match admission.lane_ticket.take() {
                    Some(ticket) => state.gate(lane).leave(ticket, &mut wake),
                    None if admission.lane_held => state.gate(lane).give_back(&mut wake),
                    None => {}
                }
            }
            // With one waiter less it may be the turn of a close.
            state.turn_came = !state.put_off.is_empty();
        }
        wake.into_iter().for_each(Waker::wake);
        admission.request
    }

    /// An operation is dropped after it was submitted.
    pub(crate) fn abandon(&self, key: Key) {
        let mut wake = Wakers::new();
        let released = {
            let state = &mut *self.inner.state.borrow_mut();
            let released = state.operations.abandon(key, &mut wake);
            if let Some((payload, None)) = &released {
                let lane = payload.lane;
                state.leave_lane(lane, &mut wake);
            }
            released
        };
        if let Some((payload, result)) = released {
            self.inner.clean_up(payload.request, payload.lane, result);
        }
        wake.into_iter().for_each(Waker::wake);
    }

    /// See [`Inner::close_later`].
    pub(crate) fn close_later(&self, fd: OwnedFd, lane: Option<Lane>) {
        self.inner.close_later(fd, lane);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

pub(super) fn shut_down() -> io::Error {
    io::Error::other("the ring has been shut down: files cannot be used any more")
}
