//! The future of one operation. Dropping it abandons the operation.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::cancel::{Scope, Waiter};
use crate::gate::Ticket;
use crate::operations::Key;
use crate::policy::{Lane, Place};
use crate::request::Request;
use crate::retry;
use crate::ring::{Handle, Sink};

/// What waits at the gates before submission.
pub(crate) struct Admission {
    pub(crate) request: Request,
    /// Must not be tried on the loop's thread.
    pub(crate) punt: bool,
    /// The queue of a remote mount, and whether its place has been taken.
    pub(crate) lane: Option<Lane>,
    pub(crate) lane_held: bool,
    pub(crate) lane_ticket: Option<Ticket>,
    pub(crate) ticket: Option<Ticket>,
}

/// The gates' answer.
pub(crate) enum Admitted {
    Queued(Key),
    Waiting(Admission),
    Refused(io::Error, Request),
}

enum State {
    /// Boxed, so that what need not wait is small.
    Waiting(Box<Admission>),
    Submitted(Key),
    Finished,
}

/// Resolves to the system call's result and the request, which owns the buffers.
pub(crate) struct Operation {
    ring: Handle,
    state: State,
    /// Where it was last polled.
    scope: Option<Rc<Scope>>,
    /// While it waits in a scope.
    waiter: Option<Rc<Waiter>>,
}

impl Operation {
    /// To be polled at once: it begins here, unless it has to wait at a gate.
    pub(crate) fn new(ring: &Handle, request: Request, punt: bool, lane: Option<Lane>) -> Self {
        let state = match ring.try_admit(request, (punt, lane)) {
            Ok(key) => State::Submitted(key),
            Err(request) => State::Waiting(Box::new(Admission {
                request,
                punt,
                lane,
                lane_held: false,
                lane_ticket: None,
                ticket: None,
            })),
        };
        Operation {
            ring: ring.clone(),
            state,
            scope: None,
            waiter: None,
        }
    }

    /// One that waits for no credit and for no other operation of its mount.
    ///
    /// # Errors
    /// `WouldBlock` with the request, if it would have to.
    pub(crate) fn try_new(
        ring: &Handle,
        request: Request,
        place: Place,
    ) -> Result<Self, (io::Error, Request)> {
        let key = ring.try_begin(request, place, Sink::Future)?;
        Ok(Operation::begun(ring, key))
    }

    /// One that has begun.
    pub(crate) fn begun(ring: &Handle, key: Key) -> Self {
        Operation {
            ring: ring.clone(),
            state: State::Submitted(key),
            scope: None,
            waiter: None,
        }
    }

    /// Belongs to the scope that it is polled in from now on.
    fn join_scope(&mut self) {
        let Some(scope) = self.ring.scope() else {
            return;
        };
        let known = self.scope.as_ref();
        if known.is_some_and(|known| Rc::ptr_eq(known, &scope)) {
            return;
        }
        self.leave_scope(0);
        match (&self.state, &self.waiter) {
            (State::Submitted(key), _) => {
                scope.add(*key);
                if scope.is_cancelled() {
                    self.ring.cancel_operation(*key);
                }
            }
            (_, Some(waiter)) => scope.wait(waiter),
            _ => {}
        }
        self.scope = Some(scope);
    }

    fn leave_scope(&mut self, result: i32) {
        if let Some(scope) = self.scope.take() {
            if let State::Submitted(key) = self.state {
                scope.remove(key, matches!(-result, libc::ECANCELED | libc::EINTR));
            }
            if let Some(waiter) = &self.waiter {
                scope.leave(waiter);
            }
        }
    }

    /// It waits in its scope, to be woken by whoever cancels that.
    fn wait(&mut self, waker: &Waker) {
        match (&self.scope, &self.waiter) {
            (Some(_), Some(waiter)) => waiter.poll(waker),
            (Some(scope), None) => {
                let waiter = Waiter::new(waker);
                scope.wait(&waiter);
                self.waiter = Some(waiter);
            }
            (None, _) => {}
        }
    }

    fn wait_no_more(&mut self) {
        if let (Some(scope), Some(waiter)) = (&self.scope, self.waiter.take()) {
            scope.leave(&waiter);
        }
    }
}

impl Future for Operation {
    type Output = (io::Result<u32>, Request);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.join_scope();
        if let State::Waiting(_) = self.state {
            let State::Waiting(admission) = std::mem::replace(&mut self.state, State::Finished)
            else {
                unreachable!("checked just above");
            };
            if self.scope.as_ref().is_some_and(|scope| scope.refuses()) {
                self.wait_no_more();
                let request = self.ring.step_back(*admission);
                let error = io::Error::from_raw_os_error(libc::ECANCELED);
                return Poll::Ready((Err(error), request));
            }
            match self.ring.admit(*admission, cx.waker()) {
                Admitted::Queued(key) => {
                    self.wait_no_more();
                    self.state = State::Submitted(key);
                    if let Some(scope) = &self.scope {
                        scope.add(key);
                    }
                }
                Admitted::Waiting(admission) => {
                    self.state = State::Waiting(Box::new(admission));
                    self.wait(cx.waker());
                    return Poll::Pending;
                }
                Admitted::Refused(error, request) => {
                    self.wait_no_more();
                    return Poll::Ready((Err(error), request));
                }
            }
        }
        let State::Submitted(key) = self.state else {
            panic!("an operation is not polled after it has finished");
        };
        self.ring
            .poll_operation(key, cx.waker())
            .map(|(request, result)| {
                self.leave_scope(result);
                self.state = State::Finished;
                (answer(result), request)
            })
    }
}

/// What a call returned, or its errno.
pub(crate) fn answer(result: i32) -> io::Result<u32> {
    u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Operation")
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        self.leave_scope(0);
        match std::mem::replace(&mut self.state, State::Finished) {
            State::Waiting(admission) => self.ring.withdraw(*admission),
            State::Submitted(key) => self.ring.abandon(key),
            State::Finished => {}
        }
    }
}

/// Makes the call that `request` stands for, where `place` says that it may be made.
pub(crate) async fn run(
    ring: &Handle,
    mut request: Request,
    place: Place,
) -> (io::Result<u32>, Request) {
    if place != Place::Memory || !request.is_quick() {
        return Operation::new(ring, request, place.punt(), place.lane()).await;
    }
    let mut tries = 0;
    loop {
        match ring.perform_now(&mut request) {
            Err(error) if retry::again(request.kind(), &error, &mut tries) => {}
            result => return (result, request),
        }
    }
}
