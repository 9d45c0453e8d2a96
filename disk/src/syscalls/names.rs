//! Names, extended attributes, directories.
#![allow(unsafe_code)]

use std::os::fd::RawFd;

use super::answer;
use crate::kernel::{Attribute, Call, Naming};

/// A call about a name in a directory.
///
/// # Safety
/// Paths are NUL-terminated; a buffer is writable.
pub(super) unsafe fn name(dir: RawFd, path: *const libc::c_char, naming: Naming) -> isize {
    let result = match naming {
        // SAFETY: as the caller promises.
        Naming::Unlink => unsafe { libc::unlinkat(dir, path, 0) },
        // SAFETY: as the caller promises.
        Naming::RemoveDir => unsafe { libc::unlinkat(dir, path, libc::AT_REMOVEDIR) },
        // SAFETY: as the caller promises.
        Naming::CreateDir { mode } => unsafe { libc::mkdirat(dir, path, mode) },
        // SAFETY: as the caller promises.
        Naming::Symlink { target } => unsafe { libc::symlinkat(target, dir, path) },
        Naming::ReadLink { buffer, length } => {
            // SAFETY: as the caller promises.
            return unsafe { libc::readlinkat(dir, path, buffer.cast(), length as usize) };
        }
        Naming::Rename {
            dir: to_dir,
            path: to,
            flags,
        } => {
            // SAFETY: as the caller promises.
            unsafe { libc::renameat2(dir, path, to_dir, to, flags) }
        }
        Naming::HardLink {
            dir: to_dir,
            path: to,
        } => {
            // SAFETY: as the caller promises.
            unsafe { libc::linkat(dir, path, to_dir, to, 0) }
        }
    };
    result as isize
}

/// A call about extended attributes, or getdents64(2), and its answer.
///
/// # Safety
/// What `call` points to is valid.
pub(super) unsafe fn look(call: &Call) -> i32 {
    match *call {
        Call::Attribute {
            fd,
            name,
            value,
            length,
            attribute,
        } => {
            let length = length as usize;
            answer(match attribute {
                // SAFETY: as the caller promises.
                Attribute::Get => unsafe { libc::fgetxattr(fd, name, value.cast(), length) },
                Attribute::Set { flags } => {
                    // SAFETY: as the caller promises.
                    unsafe { libc::fsetxattr(fd, name, value.cast(), length, flags) as isize }
                }
                // SAFETY: as the caller promises.
                Attribute::List => unsafe { libc::flistxattr(fd, value.cast(), length) },
                // SAFETY: as the caller promises.
                Attribute::Remove => unsafe { libc::fremovexattr(fd, name) as isize },
            })
        }
        Call::Entries { fd, buffer, length } => {
            // SAFETY: the caller promises `length` writable bytes at `buffer`.
            answer(unsafe { libc::syscall(libc::SYS_getdents64, fd, buffer, length) as isize })
        }
        _ => unreachable!("another call"),
    }
}
