//! What the fake kernel does with each call, and how it watches the memory that it is lent.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::slice;

use ambidex::disk::kernel::{Call, Change, Entry, Naming, Transfer, Way};

use super::super::poison;
use super::super::rng::chance;
use super::{Content, POISON, World};

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
                lent.iter().all(|byte| *byte == POISON),
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
            Call::Change { fd, change } => self.change(fd, change),
            Call::Name { path, naming, .. } => self.name(path, naming),
            // Files of this kernel have no attributes, and it has no directories.
            Call::Attribute { .. } => -libc::EOPNOTSUPP,
            Call::Entries { .. } => 0,
            // It has no epoll sets either, and does not say that it has the operation.
            Call::Watch { .. } => -libc::EBADF,
            Call::Transfer {
                from,
                to,
                length,
                transfer,
            } => self.transfer(from, to, length, transfer),
            Call::Open { path, how, .. } => {
                // SAFETY: the pusher keeps the path until the completion.
                let path = unsafe { CStr::from_ptr(path) };
                // SAFETY: the pusher keeps it until the completion.
                let flags = unsafe { (*how).flags };
                self.open_file(path.to_bytes(), flags as i32)
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
                // SAFETY: a close owns its descriptor.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
                0
            }
        }
    }

    fn content(&self, fd: RawFd) -> Content {
        Rc::clone(self.open.get(&fd).expect("the descriptor is pinned"))
    }

    /// `count`, or fewer.
    fn shortened(&mut self, count: usize, percent: u32) -> usize {
        if count > 1 && chance(&mut self.rng, percent) {
            return self.rng.usize(1..count);
        }
        count
    }

    fn read(&mut self, fd: RawFd, offset: u64, call: &Call) -> i32 {
        let content = self.content(fd);
        let content = content.borrow();
        let start = usize::try_from(offset).map_or(content.len(), |at| at.min(content.len()));
        let (targets, _) = buffers(call);
        let room: usize = targets.iter().map(|(_, length)| length).sum();
        let count = room.min(content.len() - start);
        let count = self.shortened(count, self.faults.short_read);
        let mut from = &content[start..start + count];
        for (target, length) in targets {
            let (now, rest) = from.split_at(length.min(from.len()));
            // SAFETY: the target has `length` bytes or more, lent to us alone.
            unsafe { target.copy_from_nonoverlapping(now.as_ptr(), now.len()) };
            from = rest;
        }
        count as i32
    }

    fn write(&mut self, fd: RawFd, offset: u64, flags: i32, call: &Call) -> i32 {
        let content = self.content(fd);
        let content = &mut *content.borrow_mut();
        let all = gather(&buffers(call).1);
        let count = self.shortened(all.len(), self.faults.short_write);
        let at = if flags & libc::RWF_APPEND != 0 {
            content.len()
        } else {
            offset as usize
        };
        content.resize(content.len().max(at + count), 0);
        content[at..at + count].copy_from_slice(&all[..count]);
        count as i32
    }

    fn change(&mut self, fd: RawFd, change: Change) -> i32 {
        if let Change::Truncate { length } = change {
            self.content(fd).borrow_mut().resize(length as usize, 0);
        }
        0
    }

    fn name(&mut self, path: *const libc::c_char, naming: Naming) -> i32 {
        let bytes = |path| {
            // SAFETY: the pusher keeps each path until the completion.
            unsafe { CStr::from_ptr(path) }.to_bytes().to_vec()
        };
        let path = bytes(path);
        match naming {
            Naming::Unlink => self.files.remove(&path).map_or(-libc::ENOENT, |_| 0),
            Naming::Rename {
                path: to, flags, ..
            } => {
                let to = bytes(to);
                if flags & libc::RENAME_NOREPLACE != 0 && self.files.contains_key(&to) {
                    return -libc::EEXIST;
                }
                let Some(content) = self.files.remove(&path) else {
                    return -libc::ENOENT;
                };
                self.files.insert(to, content);
                0
            }
            // Each name is a link that says nothing.
            Naming::ReadLink { .. } => 0,
            _ => -libc::EPERM,
        }
    }

    /// Copies; everything else has no pipe.
    fn transfer(&mut self, from: RawFd, to: RawFd, length: u32, transfer: Transfer) -> i32 {
        let Transfer::Copy { from: at, to: into } = transfer else {
            return -libc::EINVAL;
        };
        let source = self.content(from).borrow().clone();
        let start = (at as usize).min(source.len());
        let count = (length as usize).min(source.len() - start);
        let target = self.content(to);
        let target = &mut *target.borrow_mut();
        let into = into as usize;
        target.resize(target.len().max(into + count), 0);
        target[into..into + count].copy_from_slice(&source[start..start + count]);
        count as i32
    }
}
