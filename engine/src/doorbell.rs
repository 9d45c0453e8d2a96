//! The cross-thread doorbell: an eventfd that rings only if the loop sleeps.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use crate::sync::{AtomicBool, Ordering, thread_local};

thread_local! {
    /// Its address tells threads apart, for less than their ids.
    static HERE: u8 = const { 0 };
}

fn this_thread() -> usize {
    HERE.with(|here| ptr::from_ref(here).addr())
}

/// Publish work, then [`ring`](Doorbell::ring); [`arm`](Doorbell::arm), then look for work. Both
/// sides swap the same flag, so one of the two sees the other (G4): no wake is lost, and a loop
/// that is awake costs its wakers no system call.
pub(crate) struct Doorbell {
    /// The loop sleeps or is about to.
    asleep: AtomicBool,
    /// The loop's.
    thread: usize,
    eventfd: OwnedFd,
}

impl Doorbell {
    pub(crate) fn new() -> io::Result<Doorbell> {
        // SAFETY: takes no pointer.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Doorbell {
            asleep: AtomicBool::new(false),
            thread: this_thread(),
            // SAFETY: the kernel just returned this descriptor; nobody else knows its number.
            eventfd: unsafe { OwnedFd::from_raw_fd(fd) },
        })
    }

    /// Wakes the loop if it sleeps. Call it after the work has been published.
    pub(crate) fn ring(&self) {
        // The loop's own thread cannot go to sleep in between: it need not swap to know.
        if self.thread == this_thread() && !self.asleep.load(Ordering::Relaxed) {
            return;
        }
        if self.asleep.swap(false, Ordering::SeqCst) {
            let one = 1u64;
            // Nobody reads it: a full counter answers EAGAIN and has rung all the same.
            // SAFETY: eight bytes are read from a local.
            let _ = unsafe { libc::write(self.eventfd.as_raw_fd(), (&raw const one).cast(), 8) };
        }
    }

    /// From now on [`ring`](Doorbell::ring) rings. Look for work after this, before sleeping.
    pub(crate) fn arm(&self) {
        self.asleep.swap(true, Ordering::SeqCst);
    }

    /// The loop is awake.
    pub(crate) fn disarm(&self) {
        self.asleep.swap(false, Ordering::SeqCst);
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}
