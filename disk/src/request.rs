//! The payload of an operation: everything its system call points to.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::rc::Rc;

use crate::buffer::Loan;
use crate::file::Descriptor;
use crate::kernel::{Call, OpenHow};
use crate::retry::Kind;
use crate::syscalls;

/// The most bytes that one read or write moves; read(2).
pub(crate) const TRANSFER_MAX: u32 = 0x7fff_f000;

/// What a slot holds while the kernel works. Every pointer of the lowered call leads into heap
/// memory owned here, so the request itself may move.
pub(crate) enum Request {
    Read {
        file: Rc<Descriptor>,
        loan: Loan,
        offset: u64,
        flags: i32,
    },
    Open {
        dir: Option<Rc<Descriptor>>,
        path: CString,
        how: Box<OpenHow>,
    },
    Status {
        file: Rc<Descriptor>,
        into: Box<MaybeUninit<libc::statx>>,
    },
    Close {
        fd: OwnedFd,
    },
}

impl Request {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Request::Read { flags, .. } if flags & libc::RWF_NOWAIT != 0 => Kind::ReadNoWait,
            Request::Read { .. } => Kind::Read,
            Request::Open { .. } => Kind::Open,
            Request::Status { .. } => Kind::Status,
            Request::Close { .. } => Kind::Close,
        }
    }

    /// The system call, with pointers that stay valid for as long as this request lives.
    pub(crate) fn lower(&mut self) -> Call {
        match self {
            Request::Read {
                file,
                loan,
                offset,
                flags,
            } => {
                let (buffer, length) = loan.target();
                Call::Read {
                    fd: file.as_raw_fd(),
                    buffer,
                    length: u32::try_from(length).map_or(TRANSFER_MAX, |l| l.min(TRANSFER_MAX)),
                    offset: *offset,
                    flags: *flags,
                }
            }
            Request::Open { dir, path, how } => Call::Open {
                dir: dir.as_ref().map_or(libc::AT_FDCWD, |dir| dir.as_raw_fd()),
                path: path.as_ptr(),
                how: &raw const **how,
            },
            Request::Status { file, into } => Call::Status {
                fd: file.as_raw_fd(),
                empty: c"".as_ptr(),
                into: into.as_mut_ptr(),
            },
            Request::Close { fd } => Call::Close { fd: fd.as_raw_fd() },
        }
    }

    /// Cleans up after an operation whose future is gone (G3): what it owns is dropped, and a
    /// descriptor to close, if there is one, is returned. No `result`: it never began.
    pub(crate) fn orphaned(self, result: Option<i32>) -> Option<OwnedFd> {
        match (self, result) {
            (Request::Open { .. }, Some(fd)) if fd >= 0 => Some(syscalls::adopt(fd)),
            // Only a close that was never begun leaves the descriptor open.
            (Request::Close { fd }, None | Some(CANCELLED)) => Some(fd),
            (Request::Close { fd }, Some(_)) => {
                let _ = fd.into_raw_fd();
                None
            }
            _ => None,
        }
    }
}

const CANCELLED: i32 = -libc::ECANCELED;
