//! The ring: gates in front, the operations table in the middle, a kernel behind.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};

use smallvec::SmallVec;

use crate::capabilities::Capabilities;
use crate::gate::{Gate, Ticket};
use crate::kernel::{Completion, Entry, Kernel};
use crate::linux;
use crate::operation::{Admission, Admitted, answer};
use crate::operations::{Key, Operations, Outcome};
use crate::options::Options;
use crate::policy::{Lane, Mounts};
use crate::request::Request;
use crate::retry::{self, Kind, Verdict};

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

/// What a slot holds.
pub(crate) struct Payload {
    request: Request,
    punt: bool,
    lane: Option<Lane>,
    tries: u8,
    /// No future waits for it.
    detached: bool,
}

/// A descriptor on its way out, and where closing it may hang. It stands in line like any other.
struct Closing {
    fd: OwnedFd,
    lane: Option<Lane>,
    lane_held: bool,
    ticket: Option<Ticket>,
}

impl Closing {
    fn new(fd: OwnedFd, lane: Option<Lane>) -> Closing {
        Closing {
            fd,
            lane,
            lane_held: false,
            ticket: None,
        }
    }
}

/// Plain counters of a ring, all since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls of io_uring_enter(2), or its equivalent.
    pub enters: u64,
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

struct State {
    /// `None` once shut down.
    kernel: Option<Box<dyn Kernel>>,
    /// Leaked when dropped with operations in flight.
    operations: ManuallyDrop<Operations<Payload>>,
    /// Operations in state Queued, oldest first; abandoned ones among them are passed over.
    queue: VecDeque<Key>,
    /// One gate for each remote mount in use.
    lanes: Vec<(Lane, Gate)>,
    remote_max: usize,
    /// Closes that wait for their mount's turn, and whether a turn has come.
    put_off: Vec<Closing>,
    turn_came: bool,
    /// The last enter left entries behind.
    stalled: bool,
    counters: Counters,
}

pub(crate) struct Inner {
    state: RefCell<State>,
    /// Descriptors to close; filled by drops, which may happen while `state` is borrowed.
    closing: RefCell<Vec<Closing>>,
    pub(crate) mounts: Mounts,
    capabilities: Capabilities,
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

/// What each file holds of its ring. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    inner: Rc<Inner>,
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
            counters: Counters::default(),
        };
        Ring {
            inner: Rc::new(Inner {
                state: RefCell::new(state),
                closing: RefCell::default(),
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
            if state.queue.is_empty() || kernel.room() == 0 {
                return Ok(true);
            }
        }
    }

    /// Takes completions until none is left or `budget` is spent, wakes their futures, and tells
    /// how many it took. Deferred completions are brought out by further enters.
    ///
    /// # Errors
    /// Those of [`Ring::submit`].
    pub fn reap(&mut self, budget: usize) -> io::Result<usize> {
        let mut reaped = 0;
        let mut entered = false;
        loop {
            let batch = self.reap_batch(budget - reaped);
            reaped += batch;
            self.settle();
            // The flag is a hint and may stay up with nothing behind it: see `Kernel::deferred`.
            let in_vain = entered && batch == 0;
            if reaped == budget || in_vain || !self.has_deferred() || !self.enter()? {
                return Ok(reaped);
            }
            entered = true;
        }
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
        for (payload, result) in self.orphans.drain(..) {
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
        let idle =
            state.stalled || (state.queue.is_empty() && self.inner.closing.borrow().is_empty());
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
        self.in_flight() > 0 || !self.inner.closing.borrow().is_empty()
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
        let _ = self.reap(usize::MAX);
        let mut wake = Wakers::new();
        let kernel = {
            let state = &mut *self.inner.state.borrow_mut();
            // An answer may have asked for another try.
            state.cancel_queued(&mut self.wake, &mut self.orphans);
            state.operations.wake_all(&mut wake);
            for (_, gate) in &mut state.lanes {
                gate.wake_all(&mut wake);
            }
            state.put_off.clear();
            state.kernel.take()
        };
        let given_up = self.in_flight();
        LEAKED.fetch_add(given_up as u64, Ordering::Relaxed);
        drop(kernel);
        self.settle();
        self.inner.closing.take();
        wake.into_iter().for_each(Waker::wake);
        given_up
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner.state.borrow().counters
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.shut_down();
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

/// Moves queued operations into the submission queue for as long as it has room.
fn push_queued(
    kernel: &mut dyn Kernel,
    operations: &mut Operations<Payload>,
    queue: &mut VecDeque<Key>,
) {
    while kernel.room() > 0 {
        let Some(key) = queue.pop_front() else { return };
        let Some(payload) = operations.launch(key) else {
            continue;
        };
        let entry = Entry {
            call: payload.request.lower(),
            punt: payload.punt,
            user_data: key.user_data(),
        };
        let detached = payload.detached;
        // SAFETY: the pointers lead into heap memory owned by the payload, which the table does
        // not release before `complete` is called with this `user_data` (G1); a table dropped
        // earlier is leaked.
        unsafe { kernel.push(&entry) };
        if detached {
            let released = operations.abandon(key, &mut Wakers::new());
            debug_assert!(released.is_none(), "the kernel holds it");
        }
    }
}

impl Payload {
    fn into_closing(self) -> Closing {
        let Request::Close { fd } = self.request else {
            unreachable!("only closes are put off");
        };
        Closing {
            lane_held: true,
            ..Closing::new(fd, self.lane)
        }
    }
}

impl State {
    /// Gives each descriptor that was dropped an operation of its own.
    fn take_over_closing(
        &mut self,
        closing: &RefCell<Vec<Closing>>,
        wake: &mut impl Extend<Waker>,
    ) {
        let mut turns = std::mem::take(&mut self.put_off);
        if !std::mem::take(&mut self.turn_came) {
            std::mem::swap(&mut turns, &mut self.put_off);
        }
        turns.append(&mut closing.borrow_mut());
        for mut close in turns {
            if let Some(lane) = close.lane
                && !close.lane_held
            {
                // `turn_came` tells when to look again, so nobody need be woken.
                let gate = self.gate(lane);
                close.lane_held = gate.take(&mut close.ticket, Waker::noop(), wake);
                if !close.lane_held {
                    self.put_off.push(close);
                    continue;
                }
            }
            let lane = close.lane;
            let payload = Payload {
                request: Request::Close { fd: close.fd },
                punt: lane.is_some(),
                lane,
                tries: 0,
                detached: true,
            };
            match self.operations.try_admit(payload) {
                Ok(key) => self.enqueue(key),
                // Out of credits. Closing a local file waits for nothing: do it here.
                Err(payload) if lane.is_none() => drop(payload),
                Err(payload) => self.put_off.push(payload.into_closing()),
            }
        }
    }

    fn complete(
        &mut self,
        completion: Completion,
        wake: &mut impl Extend<Waker>,
        orphans: &mut Vec<(Payload, i32)>,
    ) {
        let Completion { user_data, result } = completion;
        self.counters.completed += 1;
        let mut lane = None;
        if let Some((key, payload)) = self.operations.peek(user_data) {
            lane = payload.lane;
            if result < 0 {
                let verdict = retry::judge(payload.request.kind(), -result);
                self.counters.bugs += u64::from(verdict == Verdict::Bug);
                debug_assert_ne!(verdict, Verdict::Bug, "errno {} is a broken rule", -result);
                if verdict == Verdict::Retry && payload.tries < retry::RETRIES_MAX {
                    payload.tries += 1;
                    if self.operations.requeue(key) {
                        self.counters.operation_retries += 1;
                        self.enqueue(key);
                        return;
                    }
                }
            }
        }
        match self.operations.complete(user_data, result, wake) {
            Outcome::Delivered(waker) => wake.extend(waker),
            Outcome::Orphan(payload, result) => {
                self.counters.orphans += 1;
                orphans.push((payload, result));
            }
            Outcome::Stale => {
                self.counters.stale += 1;
                return;
            }
        }
        self.leave_lane(lane, wake);
    }

    /// Abandoned operations stay in the queue until they are met, or until they fill it.
    fn enqueue(&mut self, key: Key) {
        if self.queue.len() == self.queue.capacity() {
            let operations = &self.operations;
            self.queue.retain(|key| operations.is_queued(*key));
        }
        self.queue.push_back(key);
    }

    /// Answers what the kernel has not been given: it will not be.
    fn cancel_queued(&mut self, wake: &mut impl Extend<Waker>, orphans: &mut Vec<(Payload, i32)>) {
        while let Some(key) = self.queue.pop_front() {
            let Some(payload) = self.operations.launch(key) else {
                continue;
            };
            if payload.detached {
                self.operations.abandon(key, wake);
            }
            let completion = Completion {
                user_data: key.user_data(),
                result: -libc::ECANCELED,
            };
            self.complete(completion, wake, orphans);
        }
    }

    fn gate(&mut self, lane: Lane) -> &mut Gate {
        let index = match self.lanes.iter().position(|(known, _)| *known == lane) {
            Some(index) => index,
            None => {
                let max = self.remote_max;
                let busy = |gate: &Gate| gate.free() < max || gate.waiting() > 0;
                self.lanes.retain(|(_, gate)| busy(gate));
                self.lanes.push((lane, Gate::new(max)));
                self.lanes.len() - 1
            }
        };
        &mut self.lanes[index].1
    }

    fn leave_lane(&mut self, lane: Option<Lane>, wake: &mut impl Extend<Waker>) {
        if let Some(lane) = lane {
            self.gate(lane).give_back(wake);
        }
        self.turn_came = !self.put_off.is_empty();
    }

    /// First a place of the mount, then a credit; true if both are held. Whoever waits for the
    /// mount holds no credit meanwhile.
    fn pass_lane(
        &mut self,
        a: &mut Admission,
        waker: &Waker,
        wake: &mut impl Extend<Waker>,
    ) -> bool {
        if let Some(lane) = a.lane
            && !a.lane_held
        {
            a.lane_held = self.gate(lane).take(&mut a.lane_ticket, waker, wake);
            return a.lane_held;
        }
        true
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if self.operations.in_flight() == 0 {
            // SAFETY: dropped once, here, and nothing is lent to the kernel.
            unsafe { ManuallyDrop::drop(&mut self.operations) };
        }
    }
}

impl Inner {
    fn clean_up(&self, request: Request, lane: Option<Lane>, result: Option<i32>) {
        if let Some(fd) = request.orphaned(result) {
            self.close_later(fd, lane);
        }
    }

    /// Closes `fd` with the next submission, for closing may block on remote filesystems; at once
    /// if there will be none.
    fn close_later(&self, fd: OwnedFd, lane: Option<Lane>) {
        // During a borrow the kernel is alive: the ring is being turned.
        let alive = self.state.try_borrow().map_or(true, |s| s.kernel.is_some());
        if alive {
            self.closing.borrow_mut().push(Closing::new(fd, lane));
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

    /// What has been counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner.state.borrow().counters
    }

    /// Whether both belong to one ring.
    pub(crate) fn is_same(&self, other: &Handle) -> bool {
        Rc::ptr_eq(&self.inner, &other.inner)
    }

    pub(crate) fn mounts(&self) -> &Mounts {
        &self.inner.mounts
    }

    /// Runs `call` on the kernel, for the calls that need no queue.
    pub(crate) fn with_kernel<R>(
        &self,
        call: impl FnOnce(&dyn Kernel) -> io::Result<R>,
    ) -> io::Result<R> {
        match &self.inner.state.borrow().kernel {
            Some(kernel) => call(&**kernel),
            None => Err(shut_down()),
        }
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

    /// An operation is dropped before it was submitted.
    pub(crate) fn withdraw(&self, mut admission: Admission) {
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
        self.inner.clean_up(admission.request, admission.lane, None);
        wake.into_iter().for_each(Waker::wake);
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

impl State {
    fn admit(
        &mut self,
        mut admission: Admission,
        waker: &Waker,
        wake: &mut impl Extend<Waker>,
    ) -> Admitted {
        let payload = Payload {
            request: admission.request,
            punt: admission.punt,
            lane: admission.lane,
            tries: 0,
            detached: false,
        };
        let mut ticket = admission.ticket.take();
        match self.operations.admit(payload, &mut ticket, waker, wake) {
            Ok(key) => {
                self.enqueue(key);
                Admitted::Queued(key)
            }
            Err(payload) => Admitted::Waiting(Admission {
                request: payload.request,
                ticket,
                ..admission
            }),
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

fn shut_down() -> io::Error {
    io::Error::other("the ring has been shut down: files cannot be used any more")
}
