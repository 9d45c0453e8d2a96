//! An epoll set as epoll(7) has it: a list of what may be ready, looked at again when it is reported.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use ambidex::net::kernel::Control;

/// `EPOLL*` bits.
pub(super) const IN: u32 = libc::EPOLLIN as u32;
pub(super) const OUT: u32 = libc::EPOLLOUT as u32;
pub(super) const RDHUP: u32 = libc::EPOLLRDHUP as u32;
pub(super) const HUP: u32 = libc::EPOLLHUP as u32;
pub(super) const ERR: u32 = libc::EPOLLERR as u32;
const EDGE: u32 = libc::EPOLLET as u32;
const ONESHOT: u32 = libc::EPOLLONESHOT as u32;
const EXCLUSIVE: u32 = libc::EPOLLEXCLUSIVE as u32;
/// What is reported unasked.
const ALWAYS: u32 = ERR | HUP;

/// A registration.
struct Entry {
    /// What is watched.
    object: usize,
    flags: u32,
    token: u64,
    /// It is on the list.
    listed: bool,
    /// A oneshot that has reported.
    spent: bool,
}

/// An epoll set.
#[derive(Default)]
pub(super) struct Set {
    entries: Vec<Option<Entry>>,
    /// Entries that may be ready, oldest first.
    list: VecDeque<usize>,
    /// Duplicates of what is not of this network, such as an eventfd, by object.
    pub(super) foreign: Vec<(usize, OwnedFd)>,
    /// Tokens of registrations that are gone.
    pub(super) past: Vec<u64>,
}

/// What a wait reports.
#[derive(Clone, Copy)]
pub(super) struct Report {
    pub(super) flags: u32,
    pub(super) token: u64,
}

fn errno(errno: i32) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(errno))
}

impl Set {
    fn place(&self, object: usize) -> Option<usize> {
        let is_it = |entry: &Option<Entry>| entry.as_ref().is_some_and(|e| e.object == object);
        self.entries.iter().position(is_it)
    }

    /// epoll_ctl(2). `mask` is what is ready of the object now.
    pub(super) fn control(
        &mut self,
        control: Control,
        object: usize,
        flags: u32,
        token: u64,
        mask: u32,
    ) -> io::Result<()> {
        let place = self.place(object);
        let at = match (control, place) {
            (Control::Add, Some(_)) => return errno(libc::EEXIST),
            (Control::Modify | Control::Remove, None) => return errno(libc::ENOENT),
            (Control::Add, None) => self.entries.len(),
            (Control::Modify | Control::Remove, Some(at)) => at,
        };
        if control == Control::Remove {
            self.remove(object);
            return Ok(());
        }
        let was = self.entries.get(at).and_then(Option::as_ref);
        if was.is_some_and(|entry| (entry.flags | flags) & EXCLUSIVE != 0) {
            return errno(libc::EINVAL);
        }
        let entry = Entry {
            object,
            flags,
            token,
            listed: was.is_some_and(|entry| entry.listed),
            spent: false,
        };
        if at == self.entries.len() {
            self.entries.push(Some(entry));
        } else {
            self.entries[at] = Some(entry);
        }
        if mask & (flags | ALWAYS) != 0 {
            self.list(at);
        }
        Ok(())
    }

    /// Whatever closes leaves the set.
    pub(super) fn remove(&mut self, object: usize) {
        if let Some(at) = self.place(object)
            && let Some(entry) = self.entries[at].take()
        {
            self.past.push(entry.token);
            self.list.retain(|listed| *listed != at);
            self.foreign.retain(|(other, _)| *other != object);
        }
    }

    fn list(&mut self, at: usize) {
        if let Some(entry) = &mut self.entries[at]
            && !entry.listed
        {
            entry.listed = true;
            self.list.push_back(at);
        }
    }

    /// Something of `key` has happened to `object`; 0 is anything.
    pub(super) fn wake(&mut self, object: usize, key: u32) {
        if let Some(at) = self.place(object)
            && let Some(entry) = &self.entries[at]
            && !entry.spent
            && (key == 0 || key & (entry.flags | ALWAYS) != 0)
        {
            self.list(at);
        }
    }

    /// Entries that are watched for edges or levels, and their tokens and flags: a kernel may tell of them in vain.
    pub(super) fn live(&self) -> Vec<Report> {
        let live = self.entries.iter().flatten();
        let lasting = live.filter(|entry| entry.flags & (ONESHOT | EXCLUSIVE) == 0);
        let report = lasting.map(|entry| Report {
            flags: entry.flags & (IN | OUT),
            token: entry.token,
        });
        report.filter(|report| report.flags != 0).collect()
    }

    /// Whether a wait might report something.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Takes what is ready of the first `max` that are listed; `mask` tells of an object what is.
    pub(super) fn report(&mut self, max: usize, mut mask: impl FnMut(usize) -> u32) -> Vec<Report> {
        let mut reports = Vec::new();
        for _ in 0..self.list.len() {
            if reports.len() == max {
                break;
            }
            let Some(at) = self.list.pop_front() else {
                break;
            };
            let Some(entry) = &mut self.entries[at] else {
                continue;
            };
            entry.listed = false;
            let flags = mask(entry.object) & (entry.flags | ALWAYS);
            if flags == 0 || entry.spent {
                continue;
            }
            reports.push(Report {
                flags,
                token: entry.token,
            });
            if entry.flags & ONESHOT != 0 {
                entry.spent = true;
            } else if entry.flags & EDGE == 0 {
                self.list(at);
            }
        }
        reports
    }

    /// What [`Set::report`] gave was not told after all: it is ready still.
    pub(super) fn take_back(&mut self, token: u64) {
        let is_it = |entry: &Option<Entry>| entry.as_ref().is_some_and(|e| e.token == token);
        if let Some(at) = self.entries.iter().position(is_it) {
            if let Some(entry) = &mut self.entries[at] {
                entry.spent = false;
            }
            self.list(at);
        }
    }
}
