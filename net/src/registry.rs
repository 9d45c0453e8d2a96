//! Descriptors watched for the caller's own tokens: readiness without futures.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use crate::poller::{Interest, Mode};
use crate::reactor::{Handle, Reactor};
use crate::readiness::Readiness;
use crate::token::{GENERATION_MASK, Key, Token, registration};

struct Slot {
    generation: u32,
    /// `None`: nobody's.
    owner: Option<(RawFd, Token)>,
    /// Reported and not taken: it is on the list.
    report: Option<Readiness>,
}

/// What is registered, and what has been reported of it.
///
/// Bounds: one slot a descriptor; each slot is on the list once, and once more at most for each
/// descriptor that had it before and is gone.
#[derive(Default)]
pub(crate) struct Registrations {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_fd: HashMap<RawFd, u32>,
    reported: VecDeque<Key>,
}

impl Registrations {
    /// Remembers an event. False if what it is of has been deregistered.
    ///
    /// What has not been taken since the last is one report with it: who takes one at a time of
    /// many that are always ready (level-triggered) would have them pile up.
    pub(crate) fn report(&mut self, key: Key, readiness: Readiness) -> bool {
        let Some(slot) = self.slot(key) else {
            return false;
        };
        match &mut slot.report {
            Some(known) => *known |= readiness,
            empty => {
                *empty = Some(readiness);
                self.list(key);
            }
        }
        true
    }

    fn list(&mut self, key: Key) {
        if self.reported.len() >= 2 * self.slots.len() {
            let slots = &self.slots;
            let current = |key: &Key| slots[key.index as usize].generation == key.generation;
            self.reported.retain(current);
        }
        self.reported.push_back(key);
    }

    fn slot(&mut self, key: Key) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key.index as usize)?;
        (slot.generation == key.generation && slot.owner.is_some()).then_some(slot)
    }

    fn next(&mut self) -> Option<(Token, Readiness)> {
        loop {
            let key = self.reported.pop_front()?;
            if let Some(slot) = self.slot(key)
                && let Some(readiness) = slot.report.take()
                && let Some((_, token)) = slot.owner
            {
                return Some((token, readiness));
            }
        }
    }

    fn insert(&mut self, fd: RawFd, token: Token) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                owner: None,
                report: None,
            });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.owner = Some((fd, token));
        Key {
            index,
            generation: slot.generation,
        }
    }

    /// The number now leads to this registration; whichever it led to before was closed without a
    /// word.
    fn publish(&mut self, fd: RawFd, key: Key) {
        if let Some(before) = self.by_fd.insert(fd, key.index) {
            self.release(before);
        }
    }

    fn release(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.owner = None;
        slot.report = None;
        slot.generation = next_generation(slot.generation);
        self.free.push(index);
    }
}

fn next_generation(generation: u32) -> u32 {
    (generation + 1) & GENERATION_MASK
}

/// Registers descriptors of the caller's with the caller's tokens, as mio's registry does. Made by
/// [`Handle::registry`]; what is ready comes from [`Reactor::take_ready`]. Cheap to clone.
///
/// A descriptor that is closed leaves the set by itself; one with duplicates elsewhere must be
/// [deregistered](Registry::deregister) first (epoll(7), Q6).
///
/// ```
/// use ambidex_net::{Interest, Mode, Reactor, Token};
/// use std::{io::Write, os::unix::net::UnixStream, time::Duration};
///
/// let mut reactor = Reactor::new()?;
/// let (mut here, there) = UnixStream::pair()?;
/// reactor.handle().registry().register(&there, Token(7), Interest::READABLE, Mode::Edge)?;
/// here.write_all(b"x")?;
/// reactor.turn(Some(Duration::from_secs(1)))?;
/// let (token, readiness) = reactor.take_ready().unwrap();
/// assert!(token == Token(7) && readiness.is_readable());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Registry {
    handle: Handle,
}

impl Handle {
    /// For descriptors with tokens.
    #[must_use]
    pub fn registry(&self) -> Registry {
        Registry {
            handle: self.clone(),
        }
    }
}

impl Registry {
    /// Starts watching `fd`. What is ready already is reported.
    ///
    /// # Errors
    /// `EEXIST` if it is registered already, `EPERM` if it cannot be watched (a regular file or
    /// directory: begin operations on those), `ENOSPC` at the user's limit of watches;
    /// epoll_ctl(2).
    pub fn register(
        &self,
        fd: impl AsFd,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        let fd = fd.as_fd();
        let inner = &self.handle.inner;
        let mut registrations = inner.registrations.borrow_mut();
        let key = registrations.insert(fd.as_raw_fd(), token);
        let added = inner.poller.register(fd, registration(key), interest, mode);
        match added {
            Ok(()) => registrations.publish(fd.as_raw_fd(), key),
            Err(_) => registrations.release(key.index),
        }
        added
    }

    /// Changes token, interest and mode of a registered descriptor, and re-arms a
    /// [`Mode::Oneshot`] one. What is ready is reported anew, and what was seen before is not.
    ///
    /// # Errors
    /// `ENOENT` if `fd` is not registered here, `EINVAL` if it was or would become
    /// [`Mode::Exclusive`]; epoll_ctl(2).
    pub fn reregister(
        &self,
        fd: impl AsFd,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        let fd = fd.as_fd();
        let inner = &self.handle.inner;
        let mut registrations = inner.registrations.borrow_mut();
        let Some(&index) = registrations.by_fd.get(&fd.as_raw_fd()) else {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        };
        let slot = &mut registrations.slots[index as usize];
        // What was seen before is of an interest that nobody has any more, and is reported anew if
        // somebody has.
        let key = Key {
            index,
            generation: next_generation(slot.generation),
        };
        inner.poller.modify(fd, registration(key), interest, mode)?;
        *slot = Slot {
            generation: key.generation,
            owner: Some((fd.as_raw_fd(), token)),
            report: None,
        };
        Ok(())
    }

    /// Stops watching `fd`. Nothing of it is reported any more, not even what was seen before.
    ///
    /// # Errors
    /// `ENOENT` if `fd` is not registered here; epoll_ctl(2).
    pub fn deregister(&self, fd: impl AsFd) -> io::Result<()> {
        let fd = fd.as_fd();
        let inner = &self.handle.inner;
        let mut registrations = inner.registrations.borrow_mut();
        let Some(index) = registrations.by_fd.remove(&fd.as_raw_fd()) else {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        };
        registrations.release(index);
        inner.poller.deregister(fd)
    }

    /// How many descriptors are registered, those among them that were closed without a word.
    #[must_use]
    pub fn len(&self) -> usize {
        self.handle.inner.registrations.borrow().by_fd.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Reactor {
    /// The next report of what is registered in a [`Registry`], in the kernel's order. All that the
    /// kernel has told of a descriptor since its last report is one.
    #[must_use]
    pub fn take_ready(&mut self) -> Option<(Token, Readiness)> {
        self.handle().inner.registrations.borrow_mut().next()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    const READ: Readiness = Readiness::READABLE;
    const WRITE: Readiness = Readiness::WRITABLE;

    fn registered(registrations: &mut Registrations, fd: RawFd) -> Key {
        let key = registrations.insert(fd, Token(fd as u64));
        registrations.publish(fd, key);
        key
    }

    #[test]
    fn reports_come_in_order_and_those_of_one_descriptor_are_one() {
        let mut registrations = Registrations::default();
        let (a, b) = (
            registered(&mut registrations, 3),
            registered(&mut registrations, 4),
        );
        assert!(registrations.report(b, READ));
        assert!(registrations.report(a, READ));
        assert!(registrations.report(b, WRITE));
        assert_eq!(registrations.next(), Some((Token(4), READ | WRITE)));
        assert_eq!(registrations.next(), Some((Token(3), READ)));
        assert_eq!(registrations.next(), None);
    }

    #[test]
    fn what_was_released_is_not_reported_and_its_slot_is_used_again() {
        let mut registrations = Registrations::default();
        let before = registered(&mut registrations, 3);
        assert!(registrations.report(before, READ));
        registrations.release(before.index);
        assert!(!registrations.report(before, READ));
        let after = registered(&mut registrations, 5);
        assert_eq!(
            (after.index, after.generation),
            (before.index, before.generation + 1)
        );
        assert_eq!(registrations.next(), None);
        assert!(!registrations.report(before, READ) && registrations.report(after, READ));
        let unknown = Key {
            index: 7,
            generation: 0,
        };
        assert!(!registrations.report(unknown, READ));
    }

    #[test]
    fn a_number_that_is_registered_again_lets_go_of_what_it_was() {
        let mut registrations = Registrations::default();
        let before = registered(&mut registrations, 3);
        let after = registered(&mut registrations, 3);
        assert!(!registrations.report(before, READ) && registrations.report(after, READ));
        assert_eq!(registrations.free, [before.index]);
    }

    /// All that is ready, asked for until the kernel has no more to tell.
    fn ready(reactor: &mut Reactor) -> Vec<(Token, Readiness)> {
        let turned = reactor.turn(Some(Duration::ZERO));
        turned.expect("a turn");
        std::iter::from_fn(|| reactor.take_ready()).collect()
    }

    #[test]
    #[cfg_attr(miri, ignore = "it asks the kernel what is ready")]
    fn the_kernel_is_told_what_the_table_says() {
        let mut reactor = Reactor::new().expect("an epoll set");
        let registry = reactor.handle().registry();
        let errno = |result: io::Result<()>| result.map_err(|error| error.raw_os_error());
        assert!(registry.is_empty() && ready(&mut reactor).is_empty());
        let (here, mut there) = UnixStream::pair().expect("a pair");
        let (read, write, level) = (Interest::READABLE, Interest::WRITABLE, Mode::Level);
        assert_eq!(
            errno(registry.reregister(&here, Token(1), read, level)),
            Err(Some(libc::ENOENT))
        );
        assert_eq!(
            errno(registry.register(&here, Token(1), read, level)),
            Ok(())
        );
        assert_eq!(
            errno(registry.register(&here, Token(2), read, level)),
            Err(Some(libc::EEXIST))
        );
        assert_eq!((registry.len(), registry.is_empty()), (1, false));
        assert_eq!(
            errno(registry.register(&there, Token(5), read, level)),
            Ok(())
        );
        assert_eq!(registry.len(), 2);
        assert_eq!(ready(&mut reactor), []);
        there.write_all(b"x").expect("it is taken");
        assert_eq!(ready(&mut reactor), [(Token(1), READ)]);
        // Seen and not taken, then of an interest that nobody has any more.
        reactor.turn(Some(Duration::ZERO)).expect("a turn");
        assert_eq!(
            errno(registry.reregister(&here, Token(3), write, level)),
            Ok(())
        );
        assert_eq!(ready(&mut reactor), [(Token(3), WRITE)]);
        // Seen and not taken, then nobody's.
        reactor.turn(Some(Duration::ZERO)).expect("a turn");
        assert_eq!(errno(registry.deregister(&here)), Ok(()));
        assert_eq!(ready(&mut reactor), []);
        assert_eq!(errno(registry.deregister(&here)), Err(Some(libc::ENOENT)));
        assert_eq!(registry.len(), 1);
    }

    #[test]
    fn generations_wrap() {
        assert_eq!(next_generation(0), 1);
        assert_eq!(next_generation(GENERATION_MASK), 0);
    }

    #[test]
    fn the_list_of_reports_does_not_grow_with_those_that_are_gone() {
        let mut registrations = Registrations::default();
        let stays = registered(&mut registrations, 4);
        registered(&mut registrations, 5);
        assert!(registrations.report(stays, READ));
        let mut lengths = Vec::new();
        for _ in 0..6 {
            let key = registered(&mut registrations, 3);
            assert!(registrations.report(key, READ));
            lengths.push(registrations.reported.len());
            registrations.by_fd.remove(&3);
            registrations.release(key.index);
        }
        // Of three slots there are six at most; then those that are gone make room.
        assert_eq!(lengths, [2, 3, 4, 5, 6, 2]);
        assert_eq!(registrations.next(), Some((Token(4), READ)));
    }
}
