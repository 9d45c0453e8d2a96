//! What turns: the operations table, the gates around it, and the kernel behind.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::{Counters, Wakers};
use crate::gate::{Gate, Ticket};
use crate::kernel::{Call, Completion, Entry, Kernel, Link};
use crate::op::BufferType;
use crate::operation::{Admission, Admitted};
use crate::operations::{Key, Operations, Outcome};
use crate::policy::{Lane, Mounts};
use crate::request::Request;
use crate::retry::{self, Verdict};
use crate::syscalls;

/// What a slot holds.
pub(super) struct Payload {
    pub(super) request: Request,
    punt: bool,
    pub(super) lane: Option<Lane>,
    tries: u8,
    /// It is to be given up.
    cancelled: bool,
    /// The kernel has given it up unasked.
    given_up: bool,
    sink: Sink,
    chained: Option<Chained>,
}

/// An operation's place in a chain.
pub(crate) struct Chained {
    pub(crate) link: Link,
    /// How many follow.
    pub(crate) rest: usize,
    /// The chain did not go to the kernel as one. Shared by its operations.
    pub(crate) parted: Rc<Cell<bool>>,
}

/// Who is told of an operation's end.
#[derive(Clone, Copy)]
pub(crate) enum Sink {
    /// The future that polls it.
    Future,
    /// Nobody: a descriptor's close.
    Nobody,
    /// Who takes finished operations from the ring, by this token.
    Token { token: u64, buffer: BufferType },
    /// The owner of an epoll set, by the number of its change.
    Change(u64),
}

/// An operation that was begun for a token, and has ended.
pub(crate) struct Finished {
    pub(crate) key: Key,
    pub(crate) token: u64,
    pub(crate) buffer: BufferType,
    pub(crate) lane: Option<Lane>,
    pub(crate) request: Request,
    pub(crate) result: i32,
}

impl Payload {
    fn new(request: Request, place: (bool, Option<Lane>), sink: Sink) -> Payload {
        Payload {
            request,
            punt: place.0,
            lane: place.1,
            tries: 0,
            cancelled: false,
            given_up: false,
            sink,
            chained: None,
        }
    }

    fn rest(&self) -> usize {
        self.chained.as_ref().map_or(0, |chained| chained.rest)
    }

    /// The next of its chain was submitted apart.
    pub(super) fn part(&self) {
        if let Some(chained) = &self.chained {
            chained.parted.set(true);
        }
    }

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

/// A descriptor on its way out, and where closing it may hang. It stands in line like any other.
pub(super) struct Closing {
    fd: OwnedFd,
    lane: Option<Lane>,
    lane_held: bool,
    ticket: Option<Ticket>,
}

impl Closing {
    /// Whether closing it may wait without end. Where an open led that nobody took is not known
    /// before it is looked at.
    pub(super) fn may_hang(&self, mounts: &Mounts) -> bool {
        match self.lane {
            None => false,
            Some(Lane::Mount(_)) => true,
            Some(Lane::Crossing(_)) => match syscalls::status_cached(self.fd.as_fd()) {
                Ok(metadata) => mounts.judge(&metadata).punt(),
                Err(_) => true,
            },
        }
    }

    pub(super) fn new(fd: OwnedFd, lane: Option<Lane>) -> Closing {
        Closing {
            fd,
            lane,
            lane_held: false,
            ticket: None,
        }
    }
}

pub(super) struct State {
    /// `None` once shut down.
    pub(super) kernel: Option<Box<dyn Kernel>>,
    /// Leaked when dropped with operations in flight.
    pub(super) operations: ManuallyDrop<Operations<Payload>>,
    /// Operations in state Queued, oldest first; abandoned ones among them are passed over.
    pub(super) queue: VecDeque<Key>,
    /// One gate for each remote mount in use.
    pub(super) lanes: Vec<(Lane, Gate)>,
    pub(super) remote_max: usize,
    /// Closes that wait for their mount's turn, and whether a turn has come.
    pub(super) put_off: Vec<Closing>,
    pub(super) turn_came: bool,
    /// The last enter left entries behind.
    pub(super) stalled: bool,
    /// Called back while the kernel had them and had not looked at them: it is asked again once it
    /// has, for it does not know them before (io_uring).
    pub(super) called_back: Vec<Key>,
    /// Ended, and to be taken by token.
    pub(super) finished: VecDeque<Finished>,
    /// Changes of an epoll set that have been answered.
    pub(super) changed: VecDeque<(u64, i32)>,
    pub(super) counters: Counters,
}

/// Moves queued operations into the submission queue for as long as it has room.
pub(super) fn push_queued(
    kernel: &mut dyn Kernel,
    operations: &mut Operations<Payload>,
    queue: &mut VecDeque<Key>,
) {
    let mut room = kernel.room();
    while room > 0 {
        let Some(key) = queue.pop_front() else { return };
        let Some(payload) = operations.launch(key) else {
            continue;
        };
        // A chain goes as one: its entries must be neighbours in one submission.
        if room <= payload.rest() {
            operations.requeue(key);
            queue.push_front(key);
            return;
        }
        let entry = Entry {
            call: payload.request.lower(),
            punt: payload.punt,
            given_up: payload.given_up,
            table: payload.request.table(),
            link: payload.chained.as_ref().map_or(Link::None, |c| c.link),
            user_data: key.user_data(),
        };
        let detached = matches!(payload.sink, Sink::Nobody);
        // SAFETY: the pointers lead into heap memory owned by the payload, which the table does
        // not release before `complete` is called with this `user_data` (G1); a table dropped
        // earlier is leaked.
        unsafe { kernel.push(&entry) };
        room -= 1;
        if detached {
            let released = operations.abandon(key, &mut Wakers::new());
            debug_assert!(released.is_none(), "the kernel holds it");
        }
    }
}

impl State {
    /// Gives each descriptor that was dropped an operation of its own.
    pub(super) fn take_over_closing(
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
            let request = Request::Close { fd: close.fd };
            let payload = Payload::new(request, (lane.is_some(), lane), Sink::Nobody);
            match self.operations.try_admit(payload) {
                Ok(key) => self.enqueue(key),
                // Out of credits. Closing a local file waits for nothing: do it here.
                Err(payload) if lane.is_none() => self.close_now(payload.into_closing()),
                Err(payload) => self.put_off.push(payload.into_closing()),
            }
        }
    }

    /// Closes on this thread, by way of the kernel like any other call.
    fn close_now(&mut self, closing: Closing) {
        let Some(kernel) = &self.kernel else { return };
        self.counters.calls_here += 1;
        let fd = closing.fd.into_raw_fd();
        // SAFETY: the call has no pointers, and owns the descriptor.
        unsafe { kernel.perform_now(&Call::Close { fd }) };
    }

    pub(super) fn complete(
        &mut self,
        completion: Completion,
        wake: &mut impl Extend<Waker>,
        orphans: &mut Vec<(Payload, i32)>,
    ) {
        let Completion {
            user_data,
            mut result,
        } = completion;
        self.counters.completed += 1;
        if result < 0 {
            let Some(judged) = self.judge(user_data, result) else {
                return;
            };
            result = judged;
        }
        let lane = match self.operations.complete(user_data, result, wake) {
            Outcome::Delivered(key, payload, waker) => {
                let (lane, sink) = (payload.lane, payload.sink);
                wake.extend(waker);
                self.tell(key, sink);
                lane
            }
            Outcome::Orphan(payload, result) => {
                let lane = payload.lane;
                self.counters.orphans += 1;
                orphans.push((payload, result));
                lane
            }
            Outcome::Stale => {
                self.counters.stale += 1;
                return;
            }
        };
        self.leave_lane(lane, wake);
    }

    /// The result that an errno amounts to. `None`: the operation is queued for another try.
    fn judge(&mut self, user_data: u64, result: i32) -> Option<i32> {
        let Some((key, payload)) = self.operations.peek(user_data) else {
            return Some(result);
        };
        let verdict = retry::judge(payload.request.kind(), -result);
        self.counters.bugs += u64::from(verdict == Verdict::Bug);
        debug_assert_ne!(verdict, Verdict::Bug, "errno {} is a broken rule", -result);
        if verdict != Verdict::Retry {
            return Some(result);
        }
        if payload.cancelled {
            return Some(-libc::ECANCELED);
        }
        // Those after it in a chain have been answered with it: who made the chain goes on.
        if payload.chained.is_some() || payload.tries >= retry::RETRIES_MAX {
            return Some(result);
        }
        if result == -libc::ECANCELED {
            // What a thread was told, it was told by the filesystem.
            if payload.punt || payload.given_up {
                return Some(result);
            }
            payload.given_up = true;
        }
        payload.tries += 1;
        if !self.operations.requeue(key) {
            return Some(result);
        }
        self.counters.operation_retries += 1;
        self.enqueue(key);
        None
    }

    /// Takes the result where no future comes for it.
    fn tell(&mut self, key: Key, sink: Sink) {
        if matches!(sink, Sink::Future) {
            return;
        }
        let polled = self.operations.poll(key, Waker::noop());
        let Poll::Ready((payload, result)) = polled else {
            unreachable!("it has just been completed");
        };
        match sink {
            Sink::Token { token, buffer } => self.finished.push_back(Finished {
                key,
                token,
                buffer,
                lane: payload.lane,
                request: payload.request,
                result,
            }),
            Sink::Change(id) => self.changed.push_back((id, result)),
            Sink::Future | Sink::Nobody => {}
        }
    }

    /// Begins an operation that waits for nothing.
    pub(super) fn try_admit(
        &mut self,
        request: Request,
        place: (bool, Option<Lane>),
        sink: Sink,
    ) -> Result<Key, Request> {
        let lane = place.1;
        if let Some(lane) = lane
            && !self.gate(lane).try_take()
        {
            return Err(request);
        }
        let payload = Payload::new(request, place, sink);
        match self.operations.try_admit(payload) {
            Ok(key) => {
                self.enqueue(key);
                Ok(key)
            }
            Err(payload) => {
                let mut wake = Wakers::new();
                self.leave_lane(lane, &mut wake);
                debug_assert!(wake.is_empty(), "the place was free before, too");
                Err(payload.request)
            }
        }
    }

    /// Begins operations that go to the kernel as one chain, each with its link to the next. Gives
    /// them back if there are not credits for all.
    pub(super) fn try_chain(
        &mut self,
        members: Vec<(Request, Link)>,
        parted: &Rc<Cell<bool>>,
    ) -> Result<Vec<Key>, Vec<(Request, Link)>> {
        if !self.operations.has_credits(members.len()) {
            return Err(members);
        }
        let count = members.len();
        let admit = |(at, (request, link))| {
            let mut payload = Payload::new(request, (false, None), Sink::Future);
            payload.chained = Some(Chained {
                link,
                rest: count - 1 - at,
                parted: Rc::clone(parted),
            });
            let admitted = self.operations.try_admit(payload);
            let key = admitted.unwrap_or_else(|_| unreachable!("there are credits for all"));
            self.enqueue(key);
            key
        };
        Ok(members.into_iter().enumerate().map(admit).collect())
    }

    /// Carries out a queued operation that waits for nothing.
    pub(super) fn answer_now(&mut self, key: Key, wake: &mut impl Extend<Waker>) {
        let Some(kernel) = &mut self.kernel else {
            return;
        };
        let Some(payload) = self.operations.launch(key) else {
            return;
        };
        let call = payload.request.lower();
        // SAFETY: the pointers lead into memory that the payload owns, which stays for the call.
        let result = unsafe { kernel.perform_now(&call) };
        let completion = Completion {
            user_data: key.user_data(),
            result,
        };
        self.complete(completion, wake, &mut Vec::new());
    }

    /// Gives an operation up whose future waits: at once if the kernel has not been given it.
    pub(super) fn cancel(&mut self, key: Key, wake: &mut impl Extend<Waker>) {
        if self.operations.is_queued(key) {
            if let Some(payload) = self.operations.launch(key) {
                payload.cancelled = true;
            }
            let mut orphans = Vec::new();
            self.complete(Completion::cancelled(key.user_data()), wake, &mut orphans);
            debug_assert!(orphans.is_empty(), "its future waits");
        } else if let Some(payload) = self.operations.in_kernel(key) {
            payload.cancelled = true;
            if let Some(kernel) = &mut self.kernel {
                if kernel.queued() > 0 {
                    self.called_back.push(key);
                }
                kernel.cancel(key.user_data());
            }
        }
    }

    /// The kernel has taken all that was queued: those among them that were called back meanwhile.
    pub(super) fn call_back_again(&mut self) {
        for key in std::mem::take(&mut self.called_back) {
            if self.operations.in_kernel(key).is_some()
                && let Some(kernel) = &mut self.kernel
            {
                kernel.cancel(key.user_data());
            }
        }
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
    pub(super) fn cancel_queued(
        &mut self,
        wake: &mut impl Extend<Waker>,
        orphans: &mut Vec<(Payload, i32)>,
    ) {
        while let Some(key) = self.queue.pop_front() {
            let Some(payload) = self.operations.launch(key) else {
                continue;
            };
            payload.cancelled = true;
            if matches!(payload.sink, Sink::Nobody) {
                self.operations.abandon(key, wake);
            }
            self.complete(Completion::cancelled(key.user_data()), wake, orphans);
        }
    }

    pub(super) fn admit(
        &mut self,
        mut a: Admission,
        waker: &Waker,
        wake: &mut impl Extend<Waker>,
    ) -> Admitted {
        let payload = Payload::new(a.request, (a.punt, a.lane), Sink::Future);
        match self.operations.admit(payload, &mut a.ticket, waker, wake) {
            Ok(key) => {
                self.enqueue(key);
                Admitted::Queued(key)
            }
            Err(payload) => {
                a.request = payload.request;
                Admitted::Waiting(a)
            }
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        for finished in self.finished.drain(..) {
            drop(finished.request.orphaned(Some(finished.result)));
        }
        if self.operations.in_flight() == 0 {
            // SAFETY: dropped once, here, and nothing is lent to the kernel.
            unsafe { ManuallyDrop::drop(&mut self.operations) };
        }
    }
}
