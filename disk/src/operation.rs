//! The future of one operation. Dropping it abandons the operation.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::gate::Ticket;
use crate::operations::Key;
use crate::policy::{Lane, Place};
use crate::request::Request;
use crate::retry;
use crate::ring::Handle;

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
    Waiting(Admission),
    Submitted(Key),
    Finished,
}

/// Resolves to the system call's result and the request, which owns the buffers.
pub(crate) struct Operation {
    ring: Handle,
    state: State,
}

impl Operation {
    pub(crate) fn new(ring: &Handle, request: Request, punt: bool, lane: Option<Lane>) -> Self {
        Operation {
            ring: ring.clone(),
            state: State::Waiting(Admission {
                request,
                punt,
                lane,
                lane_held: false,
                lane_ticket: None,
                ticket: None,
            }),
        }
    }
}

impl Future for Operation {
    type Output = (io::Result<u32>, Request);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Waiting(_) = self.state {
            let State::Waiting(admission) = std::mem::replace(&mut self.state, State::Finished)
            else {
                unreachable!("checked just above");
            };
            match self.ring.admit(admission, cx.waker()) {
                Admitted::Queued(key) => self.state = State::Submitted(key),
                Admitted::Waiting(admission) => {
                    self.state = State::Waiting(admission);
                    return Poll::Pending;
                }
                Admitted::Refused(error, request) => return Poll::Ready((Err(error), request)),
            }
        }
        let State::Submitted(key) = self.state else {
            panic!("an operation is not polled after it has finished");
        };
        self.ring
            .poll_operation(key, cx.waker())
            .map(|(request, result)| {
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
        match std::mem::replace(&mut self.state, State::Finished) {
            State::Waiting(admission) => self.ring.withdraw(admission),
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
