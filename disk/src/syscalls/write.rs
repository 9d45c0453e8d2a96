//! Writing, vectored calls, changes of whole files, and bytes from one to another.
#![allow(unsafe_code)]

use std::os::fd::RawFd;

use super::{answer, at_offset};
use crate::kernel::{Change, Transfer, Way};

/// pwritev2(2) of one buffer.
pub(super) fn pwritev2(fd: RawFd, from: &[u8], offset: u64, flags: i32) -> isize {
    let iovec = libc::iovec {
        iov_base: from.as_ptr().cast_mut().cast(),
        iov_len: from.len(),
    };
    at_offset(offset, |offset| {
        // SAFETY: `iovec` describes `from`, which is borrowed for the call and only read.
        unsafe { libc::pwritev2(fd, &raw const iovec, 1, offset, flags) }
    })
}

/// preadv2(2) or pwritev2(2) of several buffers.
///
/// # Safety
/// `buffers` points to `count` descriptions of memory that is readable, or writable to be read into.
pub(super) unsafe fn vectored(
    fd: RawFd,
    buffers: *const libc::iovec,
    count: u32,
    offset: u64,
    way: Way,
) -> isize {
    let count = count as i32;
    at_offset(offset, |offset| match way {
        // SAFETY: as the caller promises.
        Way::Read => unsafe { libc::preadv2(fd, buffers, count, offset, 0) },
        // SAFETY: as the caller promises.
        Way::Write => unsafe { libc::pwritev2(fd, buffers, count, offset, 0) },
    })
}

/// A call about an open file that points to no memory, and its answer.
pub(super) fn change(fd: RawFd, change: Change) -> i32 {
    // Past i64 they turn negative, which the kernel answers with EINVAL.
    let signed = |value: u64| value as libc::off64_t;
    let result = match change {
        // SAFETY: takes no pointer.
        Change::Sync => unsafe { libc::fsync(fd) },
        // SAFETY: takes no pointer.
        Change::SyncData => unsafe { libc::fdatasync(fd) },
        Change::SyncRange {
            offset,
            length,
            flags,
        } => {
            // SAFETY: takes no pointer.
            unsafe { libc::sync_file_range(fd, signed(offset), signed(length), flags) }
        }
        Change::Allocate {
            mode,
            offset,
            length,
        } => {
            // SAFETY: takes no pointer.
            unsafe { libc::fallocate64(fd, mode, signed(offset), signed(length)) }
        }
        // SAFETY: takes no pointer.
        Change::Truncate { length } => unsafe { libc::ftruncate64(fd, signed(length)) },
        Change::Advise {
            offset,
            length,
            advice,
        } => {
            // SAFETY: takes no pointer.
            let errno =
                unsafe { libc::posix_fadvise64(fd, signed(offset), signed(length), advice) };
            return -errno;
        }
    };
    answer(result as isize)
}

/// Bytes from one descriptor to another.
pub(super) fn transfer(from: RawFd, to: RawFd, length: usize, transfer: Transfer) -> isize {
    let place = |at: Option<u64>| at.map(|at| at as libc::off64_t);
    match transfer {
        Transfer::Copy { from: at, to: into } => {
            let (mut at, mut into) = (at as libc::off64_t, into as libc::off64_t);
            // SAFETY: both offsets are locals.
            unsafe { libc::copy_file_range(from, &raw mut at, to, &raw mut into, length, 0) }
        }
        Transfer::Splice {
            from: at,
            to: into,
            flags,
        } => {
            let (mut at, mut into) = (place(at), place(into));
            // SAFETY: each offset is a local, or null for none.
            unsafe {
                libc::splice(
                    from,
                    pointer(&mut at),
                    to,
                    pointer(&mut into),
                    length,
                    flags,
                )
            }
        }
        // SAFETY: takes no pointer.
        Transfer::Tee { flags } => unsafe { libc::tee(from, to, length, flags) },
    }
}

fn pointer(at: &mut Option<libc::off64_t>) -> *mut libc::off64_t {
    at.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut)
}
