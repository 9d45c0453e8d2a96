//! What `workers.rs` asks of the kernel, answered at once and counted.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::kernel::Call;

/// Calls made, and descriptors closed because nobody asked for them any more.
#[derive(Default)]
struct Counts {
    calls: AtomicU32,
    closed: AtomicU32,
}

// Under loom one thread of the system plays all threads of a model; Miri has real ones, and one model at a time.
#[cfg(not(miri))]
fn with_counts<R>(ask: impl FnOnce(&Counts) -> R) -> R {
    std::thread_local!(static COUNTS: Counts = Counts::default());
    COUNTS.with(ask)
}

#[cfg(miri)]
fn with_counts<R>(ask: impl FnOnce(&Counts) -> R) -> R {
    static COUNTS: Counts = Counts {
        calls: AtomicU32::new(0),
        closed: AtomicU32::new(0),
    };
    ask(&COUNTS)
}

/// Both, since it was last asked.
pub(crate) fn take_counts() -> (u32, u32) {
    with_counts(|counts| {
        let calls = counts.calls.swap(0, Ordering::SeqCst);
        (calls, counts.closed.swap(0, Ordering::SeqCst))
    })
}

pub(crate) fn forks() -> u32 {
    0
}

pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    let bell = crate::doorbell::Doorbell::new()?;
    bell.as_fd().try_clone_to_owned()
}

pub(crate) fn ring(eventfd: BorrowedFd<'_>) {
    let fd = eventfd.try_clone_to_owned().expect("a descriptor");
    let written = io::Write::write(&mut std::fs::File::from(fd), &1u64.to_ne_bytes());
    written.expect("room in the counter");
}

/// # Safety
/// None is needed: it touches nothing.
pub(crate) unsafe fn perform(_call: &Call, _openat2: bool) -> i32 {
    with_counts(|counts| counts.calls.fetch_add(1, Ordering::SeqCst));
    0
}

/// Stands for a descriptor.
pub(crate) struct Adopted;

pub(crate) fn adopt(_fd: i32) -> Adopted {
    Adopted
}

impl Drop for Adopted {
    fn drop(&mut self) {
        with_counts(|counts| counts.closed.fetch_add(1, Ordering::SeqCst));
    }
}
