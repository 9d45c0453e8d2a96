//! System calls that both backends make on a calling thread.
#![allow(unsafe_code)]

mod names;
mod write;

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::kernel::{Call, OpenHow};
use crate::metadata::Metadata;

/// What statx(2) is asked for.
pub(crate) const STATUS_MASK: u32 =
    libc::STATX_BASIC_STATS | libc::STATX_MNT_ID | libc::STATX_DIOALIGN;
/// How statx(2) is asked of an open file.
pub(crate) const STATUS_FLAGS: i32 = libc::AT_EMPTY_PATH;

fn check(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// The result as a completion carries it.
fn answer(result: isize) -> i32 {
    match check(result) {
        Ok(value) => i32::try_from(value).unwrap_or(i32::MAX),
        Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
    }
}

/// Makes the call, for as long as it takes.
///
/// # Safety
/// The pointers in `call` are valid as [`Kernel::push`](crate::Kernel::push) asks.
pub(crate) unsafe fn perform(call: &Call, openat2: bool) -> i32 {
    match *call {
        Call::Read {
            fd,
            buffer,
            length,
            offset,
            flags,
        } => {
            // SAFETY: the caller promises `length` writable bytes at `buffer`.
            let into = unsafe { std::slice::from_raw_parts_mut(buffer.cast(), length as usize) };
            answer(preadv2(fd, into, offset, flags))
        }
        Call::Open { dir, path, how } => {
            // SAFETY: the caller promises that `how` is valid.
            let how = unsafe { &*how };
            // SAFETY: the caller promises that `path` is a valid string.
            answer(unsafe { open(dir, path, how, openat2) })
        }
        Call::Status { fd, path, into } => {
            // SAFETY: the caller promises that `path` and `into` are valid.
            let result = unsafe { libc::statx(fd, path, STATUS_FLAGS, STATUS_MASK, into) };
            answer(result as isize)
        }
        Call::Close { fd } => {
            // SAFETY: the call owns this descriptor.
            answer(unsafe { libc::close(fd) } as isize)
        }
        Call::Write {
            fd,
            buffer,
            length,
            offset,
            flags,
        } => {
            // SAFETY: the caller promises `length` readable bytes at `buffer`.
            let from = unsafe { std::slice::from_raw_parts(buffer, length as usize) };
            answer(write::pwritev2(fd, from, offset, flags))
        }
        Call::Vectored {
            fd,
            buffers,
            count,
            offset,
            way,
        } => {
            // SAFETY: the caller promises that the buffers, and what they describe, are valid.
            answer(unsafe { write::vectored(fd, buffers, count, offset, way) })
        }
        Call::Change { fd, change } => write::change(fd, change),
        Call::Name { dir, path, naming } => {
            // SAFETY: the caller promises that the paths and buffers are valid.
            answer(unsafe { names::name(dir, path, naming) })
        }
        // SAFETY: the caller promises that what they point to is valid.
        Call::Attribute { .. } | Call::Entries { .. } => unsafe { names::look(call) },
        Call::Watch {
            epoll,
            operation,
            fd,
            event,
        } => {
            // SAFETY: the caller promises that `event` is valid; epoll_ctl(2) does not write to it.
            answer(unsafe { libc::epoll_ctl(epoll, operation, fd, event.cast_mut()) } as isize)
        }
        Call::Transfer {
            from,
            to,
            length,
            transfer,
        } => answer(write::transfer(from, to, length as usize, transfer)),
    }
}

/// openat2(2); or, where that is denied and nothing needs it, openat(2).
///
/// # Safety
/// `path` points to a NUL-terminated string.
pub(crate) unsafe fn open(
    dir: RawFd,
    path: *const libc::c_char,
    how: &OpenHow,
    openat2: bool,
) -> isize {
    if !openat2 && how.resolve == 0 {
        // SAFETY: the caller promises a valid path.
        return unsafe { libc::openat(dir, path, how.flags as i32, how.mode as u32) } as isize;
    }
    // SAFETY: the caller promises a valid path; `how` has the size that is passed.
    unsafe {
        libc::syscall(
            libc::SYS_openat2,
            dir,
            path,
            std::ptr::from_ref(how),
            size_of::<OpenHow>(),
        ) as isize
    }
}

/// preadv2(2) of one buffer.
fn preadv2(fd: RawFd, into: &mut [MaybeUninit<u8>], offset: u64, flags: i32) -> isize {
    let iovec = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    at_offset(offset, |offset| {
        // SAFETY: `iovec` describes `into`, which is borrowed for the call.
        unsafe { libc::preadv2(fd, &raw const iovec, 1, offset, flags) }
    })
}

/// Calls with `offset`. What cannot seek is read or written where it is, as io_uring does.
fn at_offset(offset: u64, call: impl Fn(libc::off64_t) -> isize) -> isize {
    const WHERE_IT_IS: libc::off64_t = -1;
    let result = call(libc::off64_t::try_from(offset).unwrap_or(libc::off64_t::MAX));
    if result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ESPIPE) {
        return call(WHERE_IT_IS);
    }
    result
}

/// See [`Kernel::read_now`](crate::Kernel::read_now).
pub(crate) fn read_now(
    fd: BorrowedFd<'_>,
    into: &mut [MaybeUninit<u8>],
    offset: u64,
    flags: i32,
) -> io::Result<usize> {
    check(preadv2(fd.as_raw_fd(), into, offset, flags))
}

/// See [`Kernel::status_cached`](crate::Kernel::status_cached).
pub(crate) fn status_cached(fd: BorrowedFd<'_>) -> io::Result<Metadata> {
    let mut statx = MaybeUninit::<libc::statx>::zeroed();
    let flags = STATUS_FLAGS | libc::AT_STATX_DONT_SYNC;
    // SAFETY: the path is a literal; `statx` is writable for the call.
    check(unsafe {
        libc::statx(
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            STATUS_MASK,
            statx.as_mut_ptr(),
        )
    } as isize)?;
    // SAFETY: zeroed before and filled by the kernel now; every bit pattern is valid.
    Ok(Metadata::from_statx(unsafe { statx.assume_init() }))
}

/// See [`Kernel::pages_cached`](crate::Kernel::pages_cached).
pub(crate) fn pages_cached(fd: BorrowedFd<'_>, offset: u64, length: u64) -> io::Result<u64> {
    /// linux/mman.h: where `struct cachestat_range` begins, and how long it is.
    type Range = [u64; 2];
    /// `struct cachestat`: pages that are cached, dirty, in writeback, evicted, evicted of late.
    type Counts = [u64; 5];
    // The same wherever numbers are the common ones; not all C libraries name it.
    const CACHESTAT: libc::c_long = 451;
    const NO_FLAGS: libc::c_uint = 0;
    let (range, mut counts): (Range, Counts) = ([offset, length], [0; 5]);
    let (range, into) = (range.as_ptr(), counts.as_mut_ptr());
    // SAFETY: both structures are so many u64, and outlive the call.
    check(unsafe { libc::syscall(CACHESTAT, fd.as_raw_fd(), range, into, NO_FLAGS) } as isize)?;
    Ok(counts[0])
}

/// Bytes of a page.
pub(crate) fn page_bytes() -> u64 {
    // SAFETY: takes no memory.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // Every kernel tells.
    u64::try_from(bytes).unwrap_or(4096)
}

/// See [`Kernel::flags`](crate::Kernel::flags).
pub(crate) fn flags_of(fd: BorrowedFd<'_>) -> io::Result<i32> {
    // SAFETY: takes no memory.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    check(flags as isize).map(|flags| flags as i32)
}

/// See [`Kernel::duplicate`](crate::Kernel::duplicate).
pub(crate) fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    fd.try_clone_to_owned()
}

/// Whether openat2(2) may be called here.
pub(crate) fn openat2_works() -> bool {
    if cfg!(miri) {
        // It ends the program instead of answering ENOSYS.
        return false;
    }
    let how = OpenHow {
        flags: (libc::O_PATH | libc::O_CLOEXEC) as u64,
        ..OpenHow::default()
    };
    // SAFETY: the path is a literal.
    match check(unsafe { open(libc::AT_FDCWD, c"/".as_ptr(), &how, true) }) {
        Ok(fd) => {
            adopt(fd as RawFd);
            true
        }
        Err(_) => false,
    }
}

/// Takes ownership of a descriptor that a completion reported.
pub(crate) fn adopt(fd: RawFd) -> OwnedFd {
    assert!(fd >= 0, "a descriptor is not negative");
    // SAFETY: the kernel made this descriptor for the operation that just completed, and a
    // completion is delivered once (G2), so nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// An eventfd that nobody reads: eventfd(2).
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointer.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) } as isize)?;
    Ok(adopt(fd as RawFd))
}

/// Rings an eventfd. A full counter is as loud as any.
pub(crate) fn ring(eventfd: BorrowedFd<'_>) {
    let one = 1u64;
    // SAFETY: eight bytes are read from a local.
    let _ = unsafe { libc::write(eventfd.as_raw_fd(), (&raw const one).cast(), 8) };
}

/// The answer of a statx(2) that has succeeded.
pub(crate) fn filled(statx: &MaybeUninit<libc::statx>) -> libc::statx {
    // SAFETY: zeroed when it was made, then filled by the kernel; every bit pattern is valid.
    unsafe { statx.assume_init_read() }
}

/// How many forks lie between this process and the one that counted first.
static FORKS: AtomicU32 = AtomicU32::new(0);

extern "C" fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// A number that changes in a child of fork(2): what it inherits has lost its threads.
pub(crate) fn forks() -> u32 {
    static COUNTING: Once = Once::new();
    COUNTING.call_once(|| {
        // It fails for want of memory only; then forks are not counted.
        // SAFETY: the handler only adds to an atomic, which any child may do.
        unsafe { libc::pthread_atfork(None, None, Some(forked)) };
    });
    FORKS.load(Ordering::Relaxed)
}
