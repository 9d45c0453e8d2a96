//! Calls as io_uring takes them, and which of them this kernel knows.

use io_uring::squeue::Flags;
use io_uring::types::{DestinationSlot, Fd, Fixed, FsyncFlags};
use io_uring::{Probe, opcode, squeue};

use crate::kernel::{Attribute, Call, Change, Entry, Link, Naming, Way};
use crate::linux::registered::Registered;
use crate::syscalls;

/// The operations this crate submits.
const OPERATIONS: [(&str, u8); 22] = [
    ("OPENAT2", opcode::OpenAt2::CODE),
    ("STATX", opcode::Statx::CODE),
    ("READ", opcode::Read::CODE),
    ("CLOSE", opcode::Close::CODE),
    ("WRITE", opcode::Write::CODE),
    ("READV", opcode::Readv::CODE),
    ("WRITEV", opcode::Writev::CODE),
    ("FSYNC", opcode::Fsync::CODE),
    ("SYNC_FILE_RANGE", opcode::SyncFileRange::CODE),
    ("FALLOCATE", opcode::Fallocate::CODE),
    ("FTRUNCATE", opcode::Ftruncate::CODE),
    ("FADVISE", opcode::Fadvise::CODE),
    ("RENAMEAT", opcode::RenameAt::CODE),
    ("UNLINKAT", opcode::UnlinkAt::CODE),
    ("MKDIRAT", opcode::MkDirAt::CODE),
    ("SYMLINKAT", opcode::SymlinkAt::CODE),
    ("LINKAT", opcode::LinkAt::CODE),
    ("FGETXATTR", opcode::FGetXattr::CODE),
    ("FSETXATTR", opcode::FSetXattr::CODE),
    ("EPOLL_CTL", opcode::EpollCtl::CODE),
    ("READ_FIXED", opcode::ReadFixed::CODE),
    ("WRITE_FIXED", opcode::WriteFixed::CODE),
];

/// Which operations this kernel knows, a bit for each opcode: it is asked for every entry. What it does not
/// know goes to a worker thread, one by one.
pub(super) struct Supported(u64);

impl Supported {
    /// What `probe` reports, without what is `masked`.
    pub(super) fn new(probe: &Probe, masked: &[&str]) -> Supported {
        Supported::of(|name, code| probe.is_supported(code) && !masked.contains(&name))
    }

    fn of(is_known: impl Fn(&str, u8) -> bool) -> Supported {
        let known = OPERATIONS
            .iter()
            .filter(|(name, code)| is_known(name, *code));
        Supported(known.fold(0, |bits, (_, code)| bits | 1 << code))
    }

    pub(super) fn has(&self, code: u8) -> bool {
        self.0 & 1 << code != 0
    }

    /// Whether all that chains are made of is known: a part that went to a thread would not wait.
    pub(super) fn links(&self) -> bool {
        let parts = [
            opcode::OpenAt2::CODE,
            opcode::Statx::CODE,
            opcode::Read::CODE,
            opcode::Close::CODE,
            opcode::Write::CODE,
            opcode::Fsync::CODE,
        ];
        parts.into_iter().all(|code| self.has(code))
    }

    pub(super) fn list(&self) -> Vec<(&'static str, bool)> {
        let operations = OPERATIONS.iter();
        operations
            .map(|(name, code)| (*name, self.has(*code)))
            .collect()
    }

    /// `entry` as io_uring takes it. `None`: it has no such operation here.
    pub(super) fn lower(&self, entry: &Entry, memory: &Registered) -> Option<squeue::Entry> {
        let lowered = match (entry.table, &entry.call) {
            (Some(index), Call::Open { dir, path, how }) => {
                let slot = DestinationSlot::try_from_slot_target(index).ok()?;
                let open = opcode::OpenAt2::new(Fd(*dir), *path, how.cast());
                open.file_index(Some(slot)).build()
            }
            (Some(index), Call::Close { .. }) => opcode::Close::new(Fixed(index)).build(),
            (Some(index), call) => {
                lower(&at_place(*call, index)?, memory)?.flags(Flags::FIXED_FILE)
            }
            (None, call) => lower(call, memory)?,
        };
        let link = match entry.link {
            Link::None => Flags::empty(),
            Link::Next => Flags::IO_LINK,
            Link::NextAnyway => Flags::IO_HARDLINK,
        };
        let known = self.has(lowered.get_opcode() as u8);
        known.then(|| lowered.flags(link).user_data(entry.user_data))
    }
}

/// The same about the file at a place of the table.
fn at_place(mut call: Call, index: u32) -> Option<Call> {
    match &mut call {
        Call::Read { fd, .. }
        | Call::Write { fd, .. }
        | Call::Vectored { fd, .. }
        | Call::Change { fd, .. } => *fd = i32::try_from(index).ok()?,
        _ => return None,
    }
    Some(call)
}

fn lower(call: &Call, memory: &Registered) -> Option<squeue::Entry> {
    Some(match *call {
        Call::Read {
            fd,
            buffer,
            length,
            offset,
            flags,
        } => match memory.index_of(buffer, length) {
            Some(index) => opcode::ReadFixed::new(Fd(fd), buffer, length, index)
                .offset(offset)
                .rw_flags(flags)
                .build(),
            None => opcode::Read::new(Fd(fd), buffer, length)
                .offset(offset)
                .rw_flags(flags)
                .build(),
        },
        // Both types are the kernel's `struct open_how`.
        Call::Open { dir, path, how } => opcode::OpenAt2::new(Fd(dir), path, how.cast()).build(),
        Call::Status { fd, path, into } => opcode::Statx::new(Fd(fd), path, into.cast())
            .flags(syscalls::STATUS_FLAGS)
            .mask(syscalls::STATUS_MASK)
            .build(),
        Call::Close { fd } => opcode::Close::new(Fd(fd)).build(),
        Call::Write {
            fd,
            buffer,
            length,
            offset,
            flags,
        } => match memory.index_of(buffer, length) {
            Some(index) => opcode::WriteFixed::new(Fd(fd), buffer, length, index)
                .offset(offset)
                .rw_flags(flags)
                .build(),
            None => opcode::Write::new(Fd(fd), buffer, length)
                .offset(offset)
                .rw_flags(flags)
                .build(),
        },
        Call::Vectored {
            fd,
            buffers,
            count,
            offset,
            way: Way::Read,
        } => opcode::Readv::new(Fd(fd), buffers, count)
            .offset(offset)
            .build(),
        Call::Vectored {
            fd,
            buffers,
            count,
            offset,
            way: Way::Write,
        } => opcode::Writev::new(Fd(fd), buffers, count)
            .offset(offset)
            .build(),
        Call::Change { fd, change } => lower_change(Fd(fd), change)?,
        Call::Name { dir, path, naming } => lower_name(Fd(dir), path, naming)?,
        Call::Attribute {
            fd,
            name,
            value,
            length,
            attribute,
        } => match attribute {
            Attribute::Get => opcode::FGetXattr::new(Fd(fd), name, value.cast(), length).build(),
            Attribute::Set { flags } => {
                let value = value.cast_const().cast();
                opcode::FSetXattr::new(Fd(fd), name, value, length)
                    .flags(flags)
                    .build()
            }
            Attribute::List | Attribute::Remove => return None,
        },
        // Both types are the kernel's `struct epoll_event`.
        Call::Watch {
            epoll,
            operation,
            fd,
            event,
        } => opcode::EpollCtl::new(Fd(epoll), Fd(fd), operation, event.cast()).build(),
        // io_uring has no getdents64 and no copy_file_range. A splice that waits for a pipe would
        // keep a worker of io-wq, and with it the end of the submitting thread (decision 004).
        Call::Entries { .. } | Call::Transfer { .. } => return None,
    })
}

fn lower_name(dir: Fd, path: *const libc::c_char, naming: Naming) -> Option<squeue::Entry> {
    Some(match naming {
        Naming::Unlink => opcode::UnlinkAt::new(dir, path).build(),
        Naming::RemoveDir => opcode::UnlinkAt::new(dir, path)
            .flags(libc::AT_REMOVEDIR)
            .build(),
        Naming::CreateDir { mode } => opcode::MkDirAt::new(dir, path).mode(mode).build(),
        Naming::Symlink { target } => opcode::SymlinkAt::new(dir, target, path).build(),
        Naming::ReadLink { .. } => return None,
        Naming::Rename {
            dir: to_dir,
            path: to,
            flags,
        } => opcode::RenameAt::new(dir, path, Fd(to_dir), to)
            .flags(flags)
            .build(),
        Naming::HardLink {
            dir: to_dir,
            path: to,
        } => opcode::LinkAt::new(dir, path, Fd(to_dir), to).build(),
    })
}

/// Where the entry's length has 32 bits and the call's more, the ring cannot say it.
fn lower_change(fd: Fd, change: Change) -> Option<squeue::Entry> {
    Some(match change {
        Change::Sync => opcode::Fsync::new(fd).build(),
        Change::SyncData => opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build(),
        Change::SyncRange {
            offset,
            length,
            flags,
        } => opcode::SyncFileRange::new(fd, u32::try_from(length).ok()?)
            .offset(offset)
            .flags(flags)
            .build(),
        Change::Allocate {
            mode,
            offset,
            length,
        } => opcode::Fallocate::new(fd, length)
            .offset(offset)
            .mode(mode)
            .build(),
        Change::Truncate { length } => opcode::Ftruncate::new(fd, length).build(),
        Change::Advise {
            offset,
            length,
            advice,
        } => {
            let length = u32::try_from(length).ok()?;
            opcode::Fadvise::new(fd, length.into(), advice)
                .offset(offset)
                .build()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All operations but `missing`.
    fn without(missing: &str) -> Supported {
        Supported::of(|name, _| name != missing)
    }

    fn goes_to_the_ring(supported: &Supported, call: Call) -> bool {
        let entry = Entry {
            call,
            punt: false,
            given_up: false,
            table: None,
            link: Link::None,
            user_data: 7,
        };
        supported.lower(&entry, &Registered::default()).is_some()
    }

    #[test]
    fn what_is_missing_is_not_lowered_and_nothing_else_is_touched() {
        let (close, sync) = (
            Call::Close { fd: 3 },
            Call::Change {
                fd: 3,
                change: Change::Sync,
            },
        );
        assert!(goes_to_the_ring(&without(""), close) && goes_to_the_ring(&without(""), sync));
        assert!(!goes_to_the_ring(&without("CLOSE"), close));
        assert!(goes_to_the_ring(&without("CLOSE"), sync));
        assert!(!goes_to_the_ring(&without("FSYNC"), sync));
        assert!(without("CLOSE").list().contains(&("CLOSE", false)));
    }

    #[test]
    fn a_length_that_an_entry_cannot_say_is_not_cut() {
        for (length, fits) in [(u64::from(u32::MAX), true), (1 << 32, false)] {
            let ranges = [
                Change::SyncRange {
                    offset: 0,
                    length,
                    flags: 0,
                },
                Change::Advise {
                    offset: 0,
                    length,
                    advice: 0,
                },
            ];
            for change in ranges {
                let call = Call::Change { fd: 3, change };
                assert_eq!(goes_to_the_ring(&without(""), call), fits, "{change:?}");
            }
        }
    }

    #[test]
    fn what_io_uring_does_not_have_is_not_lowered() {
        let entries = Call::Entries {
            fd: 3,
            buffer: std::ptr::null_mut(),
            length: 0,
        };
        assert!(!goes_to_the_ring(&without(""), entries));
    }
}
