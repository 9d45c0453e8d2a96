//! The payload of an operation: everything its system call points to.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::rc::Rc;

use crate::file::Descriptor;
use crate::kernel::{Call, Change, OpenHow, Way};
use crate::loan::Loan;
use crate::retry::Kind;
use crate::syscalls;

/// The most bytes that one read or write moves; read(2).
pub(crate) const TRANSFER_MAX: u32 = 0x7fff_f000;

/// The most buffers that one vectored call takes, `UIO_MAXIOV`; readv(2).
pub(crate) const BUFFERS_MAX: usize = 1024;

/// The longest write that the loop copies to a memory filesystem itself.
const DIRECT_MAX: usize = 128 * 1024;

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
    Write {
        file: Rc<Descriptor>,
        loan: Loan,
        offset: u64,
        flags: i32,
    },
    Vectored {
        file: Rc<Descriptor>,
        loans: Vec<Loan>,
        /// Filled by [`Request::lower`].
        buffers: Vec<libc::iovec>,
        offset: u64,
        way: Way,
    },
    Change {
        file: Rc<Descriptor>,
        change: Change,
    },
}

impl Request {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Request::Read { flags, .. } if flags & libc::RWF_NOWAIT != 0 => Kind::ReadNoWait,
            Request::Read { .. } => Kind::Read,
            Request::Open { how, .. } if how.flags & libc::O_EXCL as u64 != 0 => Kind::Create,
            Request::Open { .. } => Kind::Open,
            Request::Status { .. } => Kind::Status,
            Request::Close { .. } => Kind::Close,
            Request::Write { .. } => Kind::Write,
            Request::Vectored { way: Way::Read, .. } => Kind::Read,
            Request::Vectored {
                way: Way::Write, ..
            } => Kind::Write,
            Request::Change { .. } => Kind::Change,
        }
    }

    /// Whether a memory filesystem answers at once: what copies little and frees nothing.
    /// io_uring would hand each of these to a thread.
    pub(crate) fn is_quick(&self) -> bool {
        match self {
            Request::Write { loan, .. } => loan.source().1 <= DIRECT_MAX,
            Request::Change { change, .. } => matches!(
                change,
                Change::Sync | Change::SyncData | Change::SyncRange { .. }
            ),
            _ => false,
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
                    length: transfer(length),
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
            Request::Write {
                file,
                loan,
                offset,
                flags,
            } => {
                let (buffer, length) = loan.source();
                Call::Write {
                    fd: file.as_raw_fd(),
                    buffer,
                    length: transfer(length),
                    offset: *offset,
                    flags: *flags,
                }
            }
            Request::Vectored {
                file,
                loans,
                buffers,
                offset,
                way,
            } => {
                buffers.clear();
                buffers.extend(loans.iter_mut().take(BUFFERS_MAX).map(|l| iovec(l, *way)));
                Call::Vectored {
                    fd: file.as_raw_fd(),
                    buffers: buffers.as_ptr(),
                    count: buffers.len() as u32,
                    offset: *offset,
                    way: *way,
                }
            }
            Request::Change { file, change } => Call::Change {
                fd: file.as_raw_fd(),
                change: *change,
            },
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

/// The part of `length` that one call moves.
fn transfer(length: usize) -> u32 {
    u32::try_from(length).map_or(TRANSFER_MAX, |length| length.min(TRANSFER_MAX))
}

fn iovec(loan: &mut Loan, way: Way) -> libc::iovec {
    let (start, length) = match way {
        Way::Read => loan.target(),
        Way::Write => {
            let (start, length) = loan.source();
            (start.cast_mut(), length)
        }
    };
    libc::iovec {
        iov_base: start.cast(),
        iov_len: length,
    }
}

const CANCELLED: i32 = -libc::ECANCELED;
