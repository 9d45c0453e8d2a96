//! Descriptors that lead nowhere, used again and again: making and closing them would be most of what a simulated world
//! costs.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{EventfdFlags, eventfd};

thread_local! {
    static SPARE: RefCell<Vec<OwnedFd>> = const { RefCell::new(Vec::new()) };
}

/// A descriptor that was given back on this thread, the last one first as a kernel would; else a new one.
///
/// # Errors
/// Those of eventfd(2).
pub fn take() -> io::Result<OwnedFd> {
    let spare = SPARE.with_borrow_mut(Vec::pop);
    match spare {
        Some(fd) => Ok(fd),
        None => Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?),
    }
}

/// What came from [`take`] and is closed, as far as a world can tell.
pub fn give_back(fd: OwnedFd) {
    SPARE.with_borrow_mut(|spare| spare.push(fd));
}
