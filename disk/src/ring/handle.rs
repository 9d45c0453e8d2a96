//! What files hold of their ring.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::state::{Closing, Sink, State};
use super::{Counters, Wakers};
use crate::cancel::Scope;
use crate::capabilities::Capabilities;
use crate::kernel::Kernel;
use crate::operation::{Admission, Admitted, answer};
use crate::operations::Key;
use crate::policy::{Lane, Mounts, Place};
use crate::request::Request;

pub(super) struct Inner {
    pub(super) state: RefCell<State>,
    /// Descriptors to close; filled by drops, which may happen while `state` is borrowed.
    pub(super) closing: RefCell<Vec<Closing>>,
    /// Which scope operations join that are polled now.
    pub(super) scope: RefCell<Option<Rc<Scope>>>,
    pub(super) mounts: Mounts,
    pub(super) capabilities: Capabilities,
}

/// What each file holds of its ring. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(super) inner: Rc<Inner>,
}

impl Inner {
    pub(super) fn clean_up(&self, request: Request, lane: Option<Lane>, result: Option<i32>) {
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
            let admitted = state.try_admit(request, place, sink);
            if let (true, Ok(key)) = (immediate, &admitted) {
                state.answer_now(*key, &mut wake);
            }
            admitted
        };
        wake.into_iter().for_each(Waker::wake);
        admitted.map_err(|request| (io::ErrorKind::WouldBlock.into(), request))
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
