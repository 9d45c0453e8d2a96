//! The seam: every system call that this crate makes for files.
//!
//! A kernel must supply
//!
//! * a submission queue: push, and one enter that submits all and runs deferred completions;
//! * a completion queue: next, until dry;
//! * a doorbell: a descriptor that becomes readable when there is something to enter for, but only
//!   while it is armed;
//! * calls on the calling thread that wait for no device: reading what is cached, cached metadata,
//!   and whatever a memory filesystem answers at once.
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
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use crate::capabilities::Capabilities;
use crate::linux;
use crate::metadata::Metadata;
use crate::options::Options;
use crate::syscalls;

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
    /// statx(2).
    Status {
        /// The file; or the directory that a path starts from, or `AT_FDCWD`.
        fd: RawFd,
        /// The path, NUL-terminated: empty for the file itself.
        path: *const libc::c_char,
        /// Where to.
        into: *mut libc::statx,
    },
    /// close(2).
    Close {
        /// The descriptor, owned by this call.
        fd: RawFd,
    },
    /// pwritev2(2) of one buffer.
    Write {
        /// The file.
        fd: RawFd,
        /// Where from.
        buffer: *const u8,
        /// How many bytes at most.
        length: u32,
        /// To where, in bytes.
        offset: u64,
        /// `RWF_*` flags.
        flags: i32,
    },
    /// preadv2(2) or pwritev2(2) of several buffers.
    Vectored {
        /// The file.
        fd: RawFd,
        /// The buffers, in order.
        buffers: *const libc::iovec,
        /// How many there are, at most `UIO_MAXIOV`.
        count: u32,
        /// From or to where, in bytes.
        offset: u64,
        /// Which of the two.
        way: Way,
    },
    /// A call about an open file that points to no memory.
    Change {
        /// The file.
        fd: RawFd,
        /// Which call.
        change: Change,
    },
    /// A call about a name in a directory.
    Name {
        /// The directory that a relative path starts from, or `AT_FDCWD`.
        dir: RawFd,
        /// The path, NUL-terminated.
        path: *const libc::c_char,
        /// Which call.
        naming: Naming,
    },
    /// A call about the extended attributes of an open file, xattr(7).
    Attribute {
        /// The file.
        fd: RawFd,
        /// The attribute's name, NUL-terminated.
        name: *const libc::c_char,
        /// Where the value is, or the room for it.
        value: *mut u8,
        /// How many bytes.
        length: u32,
        /// Which call.
        attribute: Attribute,
    },
    /// epoll_ctl(2).
    Watch {
        /// The epoll set.
        epoll: RawFd,
        /// `EPOLL_CTL_*`.
        operation: i32,
        /// What is watched.
        fd: RawFd,
        /// What for, and what comes back with each event.
        event: *const libc::epoll_event,
    },
    /// getdents64(2).
    Entries {
        /// The directory.
        fd: RawFd,
        /// Where to.
        buffer: *mut u8,
        /// How many bytes at most.
        length: u32,
    },
    /// Bytes from one descriptor to another.
    Transfer {
        /// From which.
        from: RawFd,
        /// To which.
        to: RawFd,
        /// How many bytes at most.
        length: u32,
        /// Which call.
        transfer: Transfer,
    },
}

/// What is done to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// unlinkat(2).
    Unlink,
    /// unlinkat(2) with `AT_REMOVEDIR`.
    RemoveDir,
    /// mkdirat(2).
    CreateDir {
        /// Permissions, less the umask.
        mode: u32,
    },
    /// symlinkat(2).
    Symlink {
        /// What the link says, NUL-terminated.
        target: *const libc::c_char,
    },
    /// readlinkat(2).
    ReadLink {
        /// Where to.
        buffer: *mut u8,
        /// How many bytes at most.
        length: u32,
    },
    /// renameat2(2).
    Rename {
        /// The directory of the new name.
        dir: RawFd,
        /// The new name, NUL-terminated.
        path: *const libc::c_char,
        /// `RENAME_*`.
        flags: u32,
    },
    /// linkat(2).
    HardLink {
        /// The directory of the new name.
        dir: RawFd,
        /// The new name, NUL-terminated.
        path: *const libc::c_char,
    },
}

/// What is done to an extended attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// fgetxattr(2).
    Get,
    /// fsetxattr(2).
    Set {
        /// `XATTR_CREATE` or `XATTR_REPLACE`, or 0.
        flags: i32,
    },
    /// flistxattr(2).
    List,
    /// fremovexattr(2).
    Remove,
}

/// How bytes go from one descriptor to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// copy_file_range(2).
    Copy {
        /// From where, in bytes.
        from: u64,
        /// To where, in bytes.
        to: u64,
    },
    /// splice(2).
    Splice {
        /// From where, in bytes; `None` for a pipe.
        from: Option<u64>,
        /// To where, in bytes; `None` for a pipe.
        to: Option<u64>,
        /// `SPLICE_F_*`.
        flags: u32,
    },
    /// tee(2).
    Tee {
        /// `SPLICE_F_*`.
        flags: u32,
    },
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the file to memory.
    Read,
    /// From memory to the file.
    Write,
}

/// What is done to an open file as a whole, or to a range of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// fsync(2).
    Sync,
    /// fdatasync(2).
    SyncData,
    /// sync_file_range(2).
    SyncRange {
        /// The first byte.
        offset: u64,
        /// How many bytes; 0 is all that follow.
        length: u64,
        /// `SYNC_FILE_RANGE_*`.
        flags: u32,
    },
    /// fallocate(2).
    Allocate {
        /// `FALLOC_FL_*`.
        mode: i32,
        /// The first byte.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// ftruncate(2).
    Truncate {
        /// The new length.
        length: u64,
    },
    /// posix_fadvise(2).
    Advise {
        /// The first byte.
        offset: u64,
        /// How many bytes; 0 is all that follow.
        length: u64,
        /// `POSIX_FADV_*`.
        advice: i32,
    },
}

/// What an entry has to do with the one pushed after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Nothing.
    #[default]
    None,
    /// The next begins when this one has succeeded in full; else it is answered by `ECANCELED`, and
    /// so on (`IOSQE_IO_LINK`). A short count is no success.
    Next,
    /// The next begins when this one has ended (`IOSQE_IO_HARDLINK`).
    NextAnyway,
}

/// A submission.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What to do.
    pub call: Call,
    /// Do not try it on the submitting thread: there it could block.
    pub punt: bool,
    /// The ring has given it up once, for want of a thread: one of this kernel's own performs it.
    pub given_up: bool,
    /// The file's place in the table ([`Kernel::set_table`]), instead of its descriptor: where an
    /// open puts it, or a close takes it from.
    pub table: Option<u32>,
    /// Only from who has seen [`Capabilities::links`].
    pub link: Link,
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

impl Completion {
    /// Answers an entry that was given up before it began.
    #[must_use]
    pub fn cancelled(user_data: u64) -> Completion {
        Completion {
            user_data,
            result: -libc::ECANCELED,
        }
    }
}

/// The kernel that [`Ring::new`](crate::Ring::new) puts a ring's face on, to put another before it
/// or to ask it without a ring.
///
/// # Errors
/// Those of [`Ring::new`](crate::Ring::new).
///
/// ```
/// use ambidex_disk::{Options, Ring, kernel};
/// let options = Options::default();
/// let ring = Ring::with_kernel(kernel::set_up(&options)?, &options);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn set_up(options: &Options) -> io::Result<Box<dyn Kernel>> {
    linux::set_up(options)
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

    /// Whether completions may exist that only an enter brings out (`SQ_TASKRUN`,
    /// `SQ_CQ_OVERFLOW`). A hint: the kernel adds the work before it raises the flag, and an enter in
    /// between runs the work, so the flag can stay up with nothing behind it until work comes again.
    fn deferred(&mut self) -> bool;

    /// The next completion.
    fn next(&mut self) -> Option<Completion>;

    /// System calls made so far for entries: on the submitting thread, its enters among them, and on
    /// threads of this kernel's own.
    fn calls(&self) -> (u64, u64) {
        (0, 0)
    }

    /// The descriptor to watch, edge-triggered. It is never read.
    fn doorbell(&self) -> BorrowedFd<'_>;

    /// An entry whose link was not kept: it was submitted, and the next in another submission. The
    /// two ran side by side.
    fn next_parted(&mut self) -> Option<u64> {
        None
    }

    /// Puts a file into the table at `index`, or takes what is there out (`None`):
    /// `IORING_REGISTER_FILES_UPDATE`, io_uring_register(2).
    ///
    /// # Errors
    /// `Unsupported` without a table, see [`Capabilities::table_entries`].
    fn set_table(&mut self, index: u32, file: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let _ = (index, file);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Has the kernel keep these bytes mapped and locked, so that reads and writes of buffers within
    /// them need not map them each time: `IORING_REGISTER_BUFFERS2`, Linux 5.19. They are memory of
    /// this process's, and stay so for as long as this kernel lives.
    ///
    /// # Errors
    /// `ENOMEM` over RLIMIT_MEMLOCK, `EFAULT` for more than 1 GiB, `ENOSPC` after too many;
    /// `Unsupported` where there is no such thing.
    fn register_memory(&mut self, start: *const u8, length: usize) -> io::Result<()> {
        let _ = (start, length);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Asks that the entry with this `user_data` be given up. It is answered all the same: by
    /// `ECANCELED` or `EINTR` if that was in time, else by its result. What has been issued to a
    /// device is not called back.
    fn cancel(&mut self, user_data: u64) {
        let _ = user_data;
    }

    /// From now on the doorbell rings. False if there is something to reap already: do not sleep.
    /// What is deferred by now is brought out first, so that a stale flag keeps nobody awake.
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

    /// Makes `call` on the calling thread and tells what it returned, or `-errno`.
    ///
    /// # Safety
    /// What `call` points to must stay in place, and writable where it is written to, for as long as
    /// the call takes.
    ///
    /// # Blocking
    /// For as long as the call takes: use it on memory filesystems only.
    unsafe fn perform_now(&self, call: &Call) -> i32;

    /// Another descriptor of the same open file: fcntl(2) with `F_DUPFD_CLOEXEC`.
    ///
    /// # Errors
    /// `EMFILE`.
    fn duplicate(&self, fd: BorrowedFd<'_>) -> io::Result<OwnedFd>;

    /// What is known of an open file without asking a remote filesystem: statx(2) with
    /// `AT_STATX_DONT_SYNC`.
    ///
    /// # Errors
    /// Those of statx(2).
    fn status_cached(&self, fd: BorrowedFd<'_>) -> io::Result<Metadata>;

    /// How many pages of the `length` bytes from `offset` on the page cache has, those included that
    /// are only being read: cachestat(2).
    ///
    /// # Errors
    /// `ENOSYS` before Linux 6.5; `EOPNOTSUPP` where the filesystem cannot tell; since Linux 6.14 `EPERM` to
    /// who neither owns the file nor may write to it.
    fn pages_cached(&self, fd: BorrowedFd<'_>, offset: u64, length: u64) -> io::Result<u64> {
        syscalls::pages_cached(fd, offset, length)
    }

    /// The flags that a descriptor was opened with: fcntl(2) with `F_GETFL`, which asks no disk.
    ///
    /// # Errors
    /// Those of fcntl(2).
    fn flags(&self, fd: BorrowedFd<'_>) -> io::Result<i32> {
        syscalls::flags_of(fd)
    }

    /// The mounts that this process sees, as proc_pid_mountinfo(5) has them.
    ///
    /// # Errors
    /// Those of opening and reading it.
    fn mount_table(&self) -> io::Result<String> {
        std::fs::read_to_string("/proc/self/mountinfo")
    }
}
