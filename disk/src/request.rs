//! The payload of an operation: everything its system call points to.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use crate::file::Descriptor;
use crate::kernel::{Attribute, Call, Change, Naming, OpenHow, Transfer, Way};
use crate::loan::Loan;
use crate::policy::Place;
use crate::retry::Kind;
use crate::syscalls;
use crate::table::Slot;

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
        /// Where in the table of files it goes; else it gets a descriptor.
        slot: Option<Rc<Slot>>,
    },
    /// A read of the file at this place of the table.
    ReadSlot {
        slot: Rc<Slot>,
        loan: Loan,
        offset: u64,
    },
    /// The status of a name.
    StatusOf {
        at: Spot,
        into: Box<MaybeUninit<libc::statx>>,
    },
    /// Empties a place of the table.
    CloseSlot {
        slot: Rc<Slot>,
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
    Name {
        at: Spot,
        task: Task,
    },
    Attribute {
        file: Rc<Descriptor>,
        name: CString,
        value: Loan,
        attribute: Attribute,
    },
    Entries {
        file: Rc<Descriptor>,
        loan: Loan,
    },
    Watch {
        epoll: RawFd,
        operation: i32,
        fd: RawFd,
        event: Box<libc::epoll_event>,
    },
    Transfer {
        from: Rc<Descriptor>,
        to: Rc<Descriptor>,
        length: usize,
        transfer: Transfer,
    },
}

/// A path, and the directory that it starts from.
pub(crate) struct Spot {
    pub(crate) dir: Option<Rc<Descriptor>>,
    pub(crate) path: CString,
}

impl Spot {
    fn raw(&self) -> (RawFd, *const libc::c_char) {
        let dir = self.dir.as_ref();
        (
            dir.map_or(libc::AT_FDCWD, |dir| dir.as_raw_fd()),
            self.path.as_ptr(),
        )
    }
}

/// What is done to a name, and the memory that it takes.
pub(crate) enum Task {
    Unlink,
    RemoveDir,
    CreateDir { mode: u32 },
    Symlink { target: CString },
    ReadLink { loan: Loan },
    Rename { to: Spot, flags: u32 },
    HardLink { to: Spot },
}

impl Task {
    fn lower(&mut self) -> Naming {
        match self {
            Task::Unlink => Naming::Unlink,
            Task::RemoveDir => Naming::RemoveDir,
            Task::CreateDir { mode } => Naming::CreateDir { mode: *mode },
            Task::Symlink { target } => Naming::Symlink {
                target: target.as_ptr(),
            },
            Task::ReadLink { loan } => {
                let (buffer, length) = loan.target();
                Naming::ReadLink {
                    buffer,
                    length: transfer(length),
                }
            }
            Task::Rename { to, flags } => {
                let (dir, path) = to.raw();
                Naming::Rename {
                    dir,
                    path,
                    flags: *flags,
                }
            }
            Task::HardLink { to } => {
                let (dir, path) = to.raw();
                Naming::HardLink { dir, path }
            }
        }
    }
}

impl Request {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Request::Read { flags, .. } if flags & libc::RWF_NOWAIT != 0 => Kind::ReadNoWait,
            Request::Read { .. } | Request::ReadSlot { .. } => Kind::Read,
            Request::Open { how, .. } if how.flags & libc::O_EXCL as u64 != 0 => Kind::Create,
            Request::Open { .. } => Kind::Open,
            Request::Status { .. } => Kind::Status,
            Request::StatusOf { .. } => Kind::Look,
            Request::Close { .. } => Kind::Close,
            Request::CloseSlot { .. } => Kind::Change,
            Request::Write { flags, .. } if flags & libc::RWF_APPEND != 0 => Kind::Append,
            Request::Write { .. } => Kind::Write,
            Request::Vectored { way: Way::Read, .. } => Kind::Read,
            Request::Vectored {
                way: Way::Write, ..
            } => Kind::Write,
            Request::Change { .. } => Kind::Change,
            Request::Name {
                task: Task::ReadLink { .. },
                ..
            }
            | Request::Entries { .. } => Kind::Look,
            Request::Name { .. } => Kind::Name,
            Request::Attribute { attribute, .. } => match attribute {
                Attribute::Get | Attribute::List => Kind::Look,
                Attribute::Set { .. } | Attribute::Remove => Kind::Name,
            },
            Request::Transfer { .. } => Kind::Transfer,
            Request::Watch { .. } => Kind::Watch,
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
            Request::Name { task, .. } => matches!(
                task,
                Task::CreateDir { .. } | Task::Symlink { .. } | Task::HardLink { .. }
            ),
            Request::Attribute { .. } => true,
            _ => false,
        }
    }

    /// The file's place in the table, where an operation on it uses that.
    pub(crate) fn table(&self) -> Option<u32> {
        match self {
            Request::Open { slot, .. } => slot.as_ref().map(|slot| slot.index()),
            Request::ReadSlot { slot, .. } | Request::CloseSlot { slot } => Some(slot.index()),
            Request::Read { file, .. }
            | Request::Write { file, .. }
            | Request::Vectored { file, .. }
            | Request::Change { file, .. } => file.place_in_table(),
            _ => None,
        }
    }

    /// Whether it is answered on this thread without waiting: what asks no device.
    pub(crate) fn is_immediate(&self, place: Place) -> bool {
        match (self, place) {
            (Request::Status { .. }, Place::Local | Place::Memory)
            | (Request::Read { .. }, Place::Memory) => true,
            (request, Place::Memory) => request.is_quick(),
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
            Request::Open { dir, path, how, .. } => Call::Open {
                dir: dir.as_ref().map_or(libc::AT_FDCWD, |dir| dir.as_raw_fd()),
                path: path.as_ptr(),
                how: &raw const **how,
            },
            Request::Status { file, into } => Call::Status {
                fd: file.as_raw_fd(),
                path: c"".as_ptr(),
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
            other => other.lower_rest(),
        }
    }

    fn lower_rest(&mut self) -> Call {
        match self {
            Request::ReadSlot { slot, loan, offset } => {
                let (buffer, length) = loan.target();
                Call::Read {
                    fd: slot.index() as RawFd,
                    buffer,
                    length: transfer(length),
                    offset: *offset,
                    flags: 0,
                }
            }
            Request::StatusOf { at, into } => {
                let (fd, path) = at.raw();
                Call::Status {
                    fd,
                    path,
                    into: into.as_mut_ptr(),
                }
            }
            Request::CloseSlot { slot } => Call::Close {
                fd: slot.index() as RawFd,
            },
            Request::Name { at, task } => {
                let (dir, path) = at.raw();
                Call::Name {
                    dir,
                    path,
                    naming: task.lower(),
                }
            }
            Request::Attribute {
                file,
                name,
                value,
                attribute,
            } => {
                let (value, length) = match attribute {
                    Attribute::Set { .. } => {
                        let (start, length) = value.source();
                        (start.cast_mut(), length)
                    }
                    _ => value.target(),
                };
                Call::Attribute {
                    fd: file.as_raw_fd(),
                    name: name.as_ptr(),
                    value,
                    length: transfer(length),
                    attribute: *attribute,
                }
            }
            Request::Entries { file, loan } => {
                let (buffer, length) = loan.target();
                Call::Entries {
                    fd: file.as_raw_fd(),
                    buffer,
                    length: transfer(length),
                }
            }
            Request::Watch {
                epoll,
                operation,
                fd,
                event,
            } => Call::Watch {
                epoll: *epoll,
                operation: *operation,
                fd: *fd,
                event: &raw const **event,
            },
            Request::Transfer {
                from,
                to,
                length,
                transfer: how,
            } => Call::Transfer {
                from: from.as_raw_fd(),
                to: to.as_raw_fd(),
                length: transfer(*length),
                transfer: *how,
            },
            _ => unreachable!("lowered above"),
        }
    }

    /// The buffer of a read or write.
    pub(crate) fn into_loan(self) -> Loan {
        match self {
            Request::Read { loan, .. }
            | Request::ReadSlot { loan, .. }
            | Request::Write { loan, .. } => loan,
            _ => unreachable!("only reads and writes have a buffer of their own"),
        }
    }

    /// Cleans up after an operation whose future is gone (G3): what it owns is dropped, and a
    /// descriptor to close, if there is one, is returned. No `result`: it never began.
    pub(crate) fn orphaned(self, result: Option<i32>) -> Option<OwnedFd> {
        match (self, result) {
            (
                Request::Open {
                    slot: Some(slot), ..
                },
                None | Some(..0),
            ) => {
                slot.set_empty();
                None
            }
            (Request::CloseSlot { slot }, Some(0)) => {
                slot.set_empty();
                None
            }
            (Request::Open { slot: None, .. }, Some(fd)) if fd >= 0 => Some(syscalls::adopt(fd)),
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
