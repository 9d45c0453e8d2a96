//! What the fake kernel does with each call, and how it watches the memory that it is lent.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::slice;

use ambidex::disk::kernel::{Attribute, Call, Entry, Naming, Way};

use super::super::poison;
use super::super::rng::chance;
use super::super::spare;
use super::names::Renaming;
use super::tree::Errno;
use super::{POISON, World};

/// Of a lent buffer.
const POISONED: [u8; 256] = [POISON; 256];

type Targets = Vec<(*mut u8, usize)>;
type Sources = Vec<(*const u8, usize)>;

/// The buffers that `call` fills, and those that it writes out.
fn buffers(call: &Call) -> (Targets, Sources) {
    match *call {
        Call::Read { buffer, length, .. } => (vec![(buffer, length as usize)], Vec::new()),
        Call::Entries { buffer, length, .. } => (vec![(buffer, length as usize)], Vec::new()),
        Call::Write { buffer, length, .. } => (Vec::new(), vec![(buffer, length as usize)]),
        Call::Vectored {
            buffers,
            count,
            way,
            ..
        } => {
            // SAFETY: the pusher keeps the descriptions until the completion.
            let all = unsafe { slice::from_raw_parts(buffers, count as usize) };
            let all = all.iter().map(|one| (one.iov_base.cast(), one.iov_len));
            match way {
                Way::Read => (all.collect(), Vec::new()),
                Way::Write => (
                    Vec::new(),
                    all.map(|(at, len)| (at.cast_const(), len)).collect(),
                ),
            }
        }
        _ => (Vec::new(), Vec::new()),
    }
}

/// What the buffers of `sources` hold, one after the other.
fn gather(sources: &[(*const u8, usize)]) -> Vec<u8> {
    let mut all = Vec::new();
    for (start, length) in sources {
        // SAFETY: the pusher promises so many readable bytes until the completion.
        all.extend_from_slice(unsafe { slice::from_raw_parts(*start, *length) });
    }
    all
}

impl World {
    /// Poisons what `entry` is to fill, and remembers what it is to write out.
    pub(super) fn mark(&mut self, entry: &Entry) {
        let (targets, sources) = buffers(&entry.call);
        for (start, length) in targets {
            // SAFETY: the pusher promises so many writable bytes until the completion.
            unsafe { start.write_bytes(POISON, length) };
        }
        self.lent.insert(entry.user_data, gather(&sources));
        poison::lay(&entry.call);
    }

    /// Looks whether both are as they were.
    pub(super) fn check(&mut self, entry: &Entry) {
        poison::lift(&entry.call);
        let (targets, sources) = buffers(&entry.call);
        for (start, length) in targets {
            // SAFETY: as in `mark`; nobody else may touch them meanwhile.
            let lent = unsafe { slice::from_raw_parts(start, length) };
            assert!(
                // Not byte by byte: a read may be lent 128 KiB.
                lent.chunks(POISONED.len())
                    .all(|some| *some == POISONED[..some.len()]),
                "a lent buffer was touched"
            );
        }
        let before = self.lent.remove(&entry.user_data);
        assert!(
            before.is_none_or(|before| before == gather(&sources)),
            "a buffer lent for writing was changed"
        );
    }

    pub(super) fn perform(&mut self, call: &Call) -> i32 {
        match *call {
            Call::Read { fd, offset, .. } => self.read(fd, offset, call),
            Call::Write {
                fd, offset, flags, ..
            } => self.write(fd, offset, flags, call),
            Call::Vectored {
                fd, offset, way, ..
            } => match way {
                Way::Read => self.read(fd, offset, call),
                Way::Write => self.write(fd, offset, 0, call),
            },
            Call::Change { fd, change } => code(self.change(fd, change).map(|()| 0)),
            Call::Name { dir, path, naming } => self.name(dir, path, naming),
            Call::Attribute {
                fd,
                name,
                value,
                length,
                attribute,
            } => self.attribute(fd, name, value, length, attribute),
            Call::Entries { fd, buffer, length } => self.entries(fd, buffer, length),
            // It has no epoll sets, and does not say that it has the operation.
            Call::Watch { .. } => -libc::EBADF,
            Call::Transfer {
                from,
                to,
                length,
                transfer,
            } => code(self.transfer(from, to, length, transfer)),
            Call::Open { dir, path, how } => {
                // SAFETY: the pusher keeps it until the completion.
                let how = unsafe { *how };
                let opened = self.open_at(dir, &bytes(path), &how);
                opened.unwrap_or_else(|errno| -errno)
            }
            Call::Status { fd, into, .. } => {
                let status = self.status(fd);
                // SAFETY: the pusher keeps the box until the completion.
                unsafe { into.write(status) };
                0
            }
            Call::Close { fd } => {
                assert!(
                    self.open.remove(&fd).is_some(),
                    "closed a descriptor that is not open"
                );
                self.held -= 1;
                // SAFETY: a close owns its descriptor.
                let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                if self.paced {
                    spare::give_back(fd);
                }
                0
            }
        }
    }

    /// `count`, or fewer.
    fn shortened(&mut self, count: usize, percent: u32) -> usize {
        if count > 1 && chance(&mut self.rng, percent) {
            return self.rng.usize(1..count);
        }
        count
    }

    fn read(&mut self, fd: RawFd, offset: u64, call: &Call) -> i32 {
        let (targets, _) = buffers(call);
        let room: usize = targets.iter().map(|(_, length)| length).sum();
        let starts = targets
            .iter()
            .map(|(start, length)| (start.addr(), *length));
        let all = match self.aligned(fd, offset, starts) {
            Ok(()) => self.bytes_at(fd, offset, room),
            Err(errno) => Err(errno),
        };
        let Ok(all) = all else {
            return code(all.map(|all| all.len()));
        };
        let count = self.shortened(all.len(), self.faults.short_read);
        let mut from = &all[..count];
        self.seen.reads += 1;
        for (target, length) in targets {
            let (now, rest) = from.split_at(length.min(from.len()));
            // SAFETY: the target has `length` bytes or more, lent to us alone.
            unsafe { target.copy_from_nonoverlapping(now.as_ptr(), now.len()) };
            from = rest;
        }
        count as i32
    }

    fn write(&mut self, fd: RawFd, offset: u64, flags: i32, call: &Call) -> i32 {
        let (_, sources) = buffers(call);
        let starts = sources
            .iter()
            .map(|(start, length)| (start.addr(), *length));
        if let Err(errno) = self.aligned(fd, offset, starts) {
            return -errno;
        }
        let all = gather(&sources);
        let count = self.shortened(all.len(), self.faults.short_write);
        let append = flags & libc::RWF_APPEND != 0;
        code(self.write_bytes(fd, offset, &all[..count], append))
    }

    fn name(&mut self, dir: RawFd, path: *const libc::c_char, naming: Naming) -> i32 {
        let (from, path) = (self.trail(dir), bytes(path));
        let what = match naming {
            Naming::Unlink => Renaming::Unlink,
            Naming::RemoveDir => Renaming::RemoveDir,
            Naming::CreateDir { mode } => Renaming::CreateDir(mode),
            Naming::Symlink { target } => Renaming::Symlink(bytes(target)),
            Naming::HardLink { dir, path } => Renaming::HardLink(self.trail(dir), bytes(path)),
            Naming::Rename { dir, path, flags } => {
                Renaming::Rename(self.trail(dir), bytes(path), flags)
            }
            Naming::ReadLink { buffer, length } => {
                return match self.link_target(&from, &path) {
                    Ok(target) => {
                        fill(buffer, length, &target[..target.len().min(length as usize)])
                    }
                    Err(errno) => -errno,
                };
            }
        };
        code(self.rename(&from, &path, &what).map(|()| 0))
    }

    fn attribute(
        &mut self,
        fd: RawFd,
        name: *const libc::c_char,
        value: *mut u8,
        length: u32,
        attribute: Attribute,
    ) -> i32 {
        let name = match attribute {
            Attribute::List => Vec::new(),
            _ => bytes(name),
        };
        let outcome = match attribute {
            Attribute::Get => self.attribute_value(fd, &name),
            Attribute::List => self.attribute_names(fd),
            Attribute::Set { flags } => {
                let value = gather(&[(value.cast_const(), length as usize)]);
                return code(self.set_attribute(fd, name, value, flags).map(|()| 0));
            }
            Attribute::Remove => return code(self.remove_attribute(fd, &name).map(|()| 0)),
        };
        match outcome {
            // With no room it only tells how much there is.
            Ok(found) if length == 0 => found.len() as i32,
            Ok(found) if found.len() > length as usize => -libc::ERANGE,
            Ok(found) => fill(value, length, &found),
            Err(errno) => -errno,
        }
    }

    fn entries(&mut self, fd: RawFd, buffer: *mut u8, length: u32) -> i32 {
        match self.next_entries(fd, length as usize) {
            Ok(found) => fill(buffer, length, &found),
            Err(errno) => -errno,
        }
    }
}

/// As a completion says it.
fn code(result: Result<usize, Errno>) -> i32 {
    result.map_or_else(|errno| -errno, |count| count as i32)
}

/// A path or a name.
pub(super) fn bytes(path: *const libc::c_char) -> Vec<u8> {
    // SAFETY: the pusher keeps each path until the completion.
    unsafe { CStr::from_ptr(path) }.to_bytes().to_vec()
}

/// Puts `content` into the buffer of `length` bytes.
fn fill(buffer: *mut u8, length: u32, content: &[u8]) -> i32 {
    assert!(content.len() <= length as usize, "it fits");
    // SAFETY: the pusher promises `length` writable bytes until the completion.
    unsafe { buffer.copy_from_nonoverlapping(content.as_ptr(), content.len()) };
    content.len() as i32
}
