//! What only unsafe code can do wrong.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use ambidex_tests::sim::HANG;
use rustix::process::{Pid, WaitOptions, waitpid};

/// Does `work` in a child made by fork(2), and tells its exit code, or minus the signal that killed it: SIGALRM if it
/// hung, 101 if it panicked. What the child holds is not dropped but by `work`.
pub(crate) fn in_a_fork(work: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the C library's own locks are made usable in the child, and no other thread of this process is at work
    // in code of ours: the tests that fork are alone in their process.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid == 0 {
        // SAFETY: takes no pointer.
        unsafe { libc::alarm(HANG.as_secs() as u32) };
        let code = catch_unwind(AssertUnwindSafe(work)).unwrap_or(101);
        // SAFETY: takes no pointer. Nothing of the parent's is to be flushed or dropped twice.
        unsafe { libc::_exit(code) };
    }
    let ended = waitpid(Pid::from_raw(pid), WaitOptions::empty()).expect("wait");
    let (_, status) = ended.expect("it has ended");
    match status.exit_status() {
        Some(code) => code,
        None => -status.terminating_signal().expect("killed"),
    }
}

/// Closes `fd` behind its owner's back.
pub(crate) fn close(fd: &impl AsFd) -> RawFd {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: takes no pointer. The owner is the one under test.
    assert_eq!(unsafe { libc::close(fd) }, 0);
    fd
}

/// Puts another open file in the place of `fd` behind its owner's back.
pub(crate) fn replace(fd: &impl AsFd, with: &impl AsFd) {
    let (fd, with) = (fd.as_fd().as_raw_fd(), with.as_fd().as_raw_fd());
    // SAFETY: takes no pointer. The owner is the one under test.
    assert_eq!(unsafe { libc::dup2(with, fd) }, fd);
}
