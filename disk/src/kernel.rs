//! The seam: every system call that this crate makes for files.
//!
//! A kernel must supply
//!
//! * a submission queue: push, and one enter that submits all and runs deferred completions;
//! * a completion queue: next, until dry;
//! * a doorbell: a descriptor that becomes readable when there is something to enter for, but only
//!   while it is armed;
//! * two calls that never wait for a device: reading what is cached, and cached metadata.
//!
//! The rules that the rest of the crate builds on:
//!
//! * each entry taken by an enter is answered by exactly one completion with its `user_data`;
//! * an entry is consumed or stays queued: a failed enter loses none;
//! * there are never more entries in flight than [`Capabilities::cq_entries`];
//! * results are what the system call returned, or `-errno`.
//!
//! io_uring (`linux.rs`) and a pool of threads (`threads.rs`) implement it here; a simulator
//! implements it from outside.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, RawFd};

use crate::capabilities::Capabilities;
use crate::metadata::Metadata;

/// The arguments of openat2(2), `struct open_how`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenHow {
    /// `O_*` flags.
    pub flags: u64,
    /// Mode of a file that is created.
    pub mode: u64,
    /// `RESOLVE_*` flags.
    pub resolve: u64,
}

/// One system call, lowered to what the kernel understands.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    /// preadv2(2) of one buffer.
    Read {
        /// The file.
        fd: RawFd,
        /// Where to.
        buffer: *mut u8,
        /// How many bytes at most.
        length: u32,
        /// From where, in bytes.
        offset: u64,
        /// `RWF_*` flags.
        flags: i32,
    },
    /// openat2(2).
    Open {
        /// The directory that a relative path starts from, or `AT_FDCWD`.
        dir: RawFd,
        /// The path, NUL-terminated.
        path: *const libc::c_char,
        /// How to open and resolve.
        how: *const OpenHow,
    },
    /// statx(2) of an open file.
    Status {
        /// The file.
        fd: RawFd,
        /// An empty, NUL-terminated path.
        empty: *const libc::c_char,
        /// Where to.
        into: *mut libc::statx,
    },
    /// close(2).
    Close {
        /// The descriptor, owned by this call.
        fd: RawFd,
    },
}

/// A submission.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What to do.
    pub call: Call,
    /// Do not try it on the submitting thread: there it could block.
    pub punt: bool,
    /// Comes back with the completion.
    pub user_data: u64,
}

/// A completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// That of the entry.
    pub user_data: u64,
    /// What the call returned, or `-errno`.
    pub result: i32,
}

/// Every system call that this crate makes for files. See the [module](self) for the rules.
pub trait Kernel {
    /// What was obtained at set-up.
    fn capabilities(&self) -> &Capabilities;

    /// How many entries can be pushed before the next enter.
    fn room(&self) -> usize;

    /// Queues `entry` without a system call.
    ///
    /// # Panics
    /// If there is no [`Kernel::room`].
    ///
    /// # Safety
    /// What `entry.call` points to must stay in place, and writable where it is written to, until
    /// the completion with its `user_data` has been returned by [`Kernel::next`], even if this
    /// kernel is dropped before.
    unsafe fn push(&mut self, entry: &Entry);

    /// Entries queued and not yet taken by an enter.
    fn queued(&self) -> usize;

    /// Submits what is queued and runs deferred completions: io_uring_enter(2) with `GETEVENTS`.
    /// Never waits for a completion. A short submit is success; look at [`Kernel::queued`].
    ///
    /// # Errors
    /// `EINTR`, `EAGAIN`, `EBUSY`, `ENOMEM`: nothing is lost, enter again later.
    fn enter(&mut self) -> io::Result<()>;

    /// Whether completions exist that only an enter brings out (`SQ_TASKRUN`, `SQ_CQ_OVERFLOW`).
    fn deferred(&mut self) -> bool;

    /// The next completion.
    fn next(&mut self) -> Option<Completion>;

    /// The descriptor to watch, edge-triggered. It is never read.
    fn doorbell(&self) -> BorrowedFd<'_>;

    /// From now on the doorbell rings. False if there is something to reap already: do not sleep.
    fn arm(&mut self) -> bool;

    /// From now on the doorbell need not ring.
    fn disarm(&mut self);

    /// The ring is about to end: what threads of this kernel finish from now on is theirs to clean
    /// up. [`Kernel::next`] still hands out what was finished before.
    fn stop(&mut self) {}

    /// Reads on the calling thread: preadv2(2). Returns how many bytes from the start of `into`
    /// are initialised.
    ///
    /// # Errors
    /// Those of preadv2(2); with `RWF_NOWAIT`, `EAGAIN` where it would wait for a device and
    /// `EOPNOTSUPP` where the filesystem cannot tell.
    ///
    /// # Blocking
    /// Without `RWF_NOWAIT`, for as long as the device takes: use it on memory filesystems only.
    fn read_now(
        &self,
        fd: BorrowedFd<'_>,
        into: &mut [MaybeUninit<u8>],
        offset: u64,
        flags: i32,
    ) -> io::Result<usize>;

    /// What is known of an open file without asking a remote filesystem: statx(2) with
    /// `AT_STATX_DONT_SYNC`.
    ///
    /// # Errors
    /// Those of statx(2).
    fn status_cached(&self, fd: BorrowedFd<'_>) -> io::Result<Metadata>;
}
