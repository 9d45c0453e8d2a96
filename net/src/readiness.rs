//! The readiness table: what is known of each source, and who waits for it. Pure: no system calls.
//!
//! Readiness is a hint. It is raised by an event, stays raised until an operation answers
//! `EAGAIN`, and is kept for each direction apart, so that a reader which consumes an error does
//! not hide it from the writer.

use std::ops::{BitOr, BitOrAssign};
use std::task::{Poll, Waker};

use crate::poller::Interest;
use crate::token::{GENERATION_MASK, Key};

/// What an event said of a source.
///
/// ```
/// use ambidex_net::Readiness;
/// let hang_up = Readiness::READ_CLOSED | Readiness::WRITE_CLOSED;
/// assert!(hang_up.is_readable() && hang_up.is_writable() && !hang_up.is_error());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness(u8);

impl Readiness {
    /// Nothing.
    pub const EMPTY: Readiness = Readiness(0);
    /// `EPOLLIN`: a read would not wait.
    pub const READABLE: Readiness = Readiness(1);
    /// `EPOLLOUT`: a write would not wait.
    pub const WRITABLE: Readiness = Readiness(1 << 1);
    /// `EPOLLRDHUP` or `EPOLLHUP`: the peer will send no more.
    pub const READ_CLOSED: Readiness = Readiness(1 << 2);
    /// `EPOLLHUP`: nothing more can be sent.
    pub const WRITE_CLOSED: Readiness = Readiness(1 << 3);
    /// `EPOLLERR`: an error is pending on the descriptor.
    pub const ERROR: Readiness = Readiness(1 << 4);
    /// `EPOLLPRI`: exceptional data.
    pub const PRIORITY: Readiness = Readiness(1 << 5);

    const READ: u8 = 1 | 1 << 2 | 1 << 4 | 1 << 5;
    const WRITE: u8 = 1 << 1 | 1 << 3 | 1 << 4;

    /// Translates the `EPOLL*` bits of an event.
    #[must_use]
    pub fn from_epoll(flags: u32) -> Readiness {
        let bits = [
            (libc::EPOLLIN, Readiness::READABLE),
            (libc::EPOLLOUT, Readiness::WRITABLE),
            (libc::EPOLLRDHUP, Readiness::READ_CLOSED),
            (
                libc::EPOLLHUP,
                Readiness::READ_CLOSED | Readiness::WRITE_CLOSED,
            ),
            (libc::EPOLLERR, Readiness::ERROR),
            (libc::EPOLLPRI, Readiness::PRIORITY),
        ];
        bits.into_iter()
            .filter(|(bit, _)| flags & *bit as u32 != 0)
            .fold(Readiness::EMPTY, |all, (_, one)| all | one)
    }

    /// A read would not wait: there is data, an end, or an error to collect.
    #[must_use]
    pub fn is_readable(self) -> bool {
        self.0 & Readiness::READ != 0
    }

    /// A write would not wait: there is room, a hang-up, or an error to collect.
    #[must_use]
    pub fn is_writable(self) -> bool {
        self.0 & Readiness::WRITE != 0
    }

    /// The peer has shut down its side.
    #[must_use]
    pub fn is_read_closed(self) -> bool {
        self.0 & Readiness::READ_CLOSED.0 != 0
    }

    /// Nothing more can be sent.
    #[must_use]
    pub fn is_write_closed(self) -> bool {
        self.0 & Readiness::WRITE_CLOSED.0 != 0
    }

    /// An error is pending.
    #[must_use]
    pub fn is_error(self) -> bool {
        self.0 & Readiness::ERROR.0 != 0
    }

    /// Exceptional data is there.
    #[must_use]
    pub fn is_priority(self) -> bool {
        self.0 & Readiness::PRIORITY.0 != 0
    }

    fn and(self, other: Readiness) -> Readiness {
        Readiness(self.0 & other.0)
    }

    fn without(self, other: Readiness) -> Readiness {
        Readiness(self.0 & !other.0)
    }

    fn towards(self, direction: Direction) -> Readiness {
        Readiness(match direction {
            Direction::Read => self.0 & Readiness::READ,
            Direction::Write => self.0 & Readiness::WRITE,
        })
    }
}

impl BitOr for Readiness {
    type Output = Readiness;
    fn bitor(self, other: Readiness) -> Readiness {
        Readiness(self.0 | other.0)
    }
}

impl BitOrAssign for Readiness {
    fn bitor_assign(&mut self, other: Readiness) {
        self.0 |= other.0;
    }
}

/// Which side of a source is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Reading, accepting.
    Read,
    /// Writing, connecting.
    Write,
}

impl From<Direction> for Interest {
    /// All that may be of use in this direction.
    fn from(direction: Direction) -> Interest {
        match direction {
            Direction::Read => Interest::READABLE | Interest::PRIORITY,
            Direction::Write => Interest::WRITABLE,
        }
    }
}

/// One direction of one source.
#[derive(Default)]
struct Side {
    ready: Readiness,
    waiters: Waiters,
    /// Why the kernel does not report it; 0 is nothing, or was told.
    errno: i32,
}

/// One entry for each waiting task. There rarely are two, so no more than the first is in place.
#[derive(Default)]
struct Waiters {
    first: Option<Waker>,
    /// In a box: three words for each side of each source would be more than the sources need.
    #[expect(clippy::box_collection, reason = "a word instead of three")]
    others: Option<Box<Vec<Waker>>>,
}

impl Waiters {
    fn add(&mut self, waker: &Waker) {
        let Some(first) = &self.first else {
            self.first = Some(waker.clone());
            return;
        };
        if first.will_wake(waker) {
            return;
        }
        let others = self.others.get_or_insert_default();
        if !others.iter().any(|known| known.will_wake(waker)) {
            others.push(waker.clone());
        }
    }

    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Moves all to `wake`, the first first.
    fn take(&mut self, wake: &mut Vec<Waker>) {
        wake.extend(self.first.take());
        if let Some(mut others) = self.others.take() {
            wake.append(&mut others);
        }
    }
}

#[derive(Default)]
struct Slot {
    generation: u32,
    live: bool,
    sides: [Side; 2],
    /// What a source that reports on demand is asked for; `None` for all others.
    armed: Option<Interest>,
}

impl Slot {
    fn sides_mut(&mut self) -> impl Iterator<Item = (&mut Side, Direction)> {
        let directions = [Direction::Read, Direction::Write];
        self.sides.iter_mut().zip(directions)
    }
}

/// All sources of one reactor, by slot and generation.
///
/// Bounds: one slot a source; in each direction one waker a task, until the next event.
///
/// ```
/// use ambidex_net::readiness::{Direction, Readiness, Table};
/// use std::task::Waker;
///
/// let mut table = Table::default();
/// let key = table.insert(Readiness::EMPTY);
/// assert!(table.poll(key, Direction::Read, Waker::noop()).is_pending());
/// let mut wake = Vec::new();
/// assert!(table.raise(key, Readiness::READABLE, &mut wake));
/// assert_eq!(wake.len(), 1);
/// assert!(table.poll(key, Direction::Read, Waker::noop()).is_ready());
/// ```
#[derive(Default)]
pub struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Table {
    /// Adds a source that starts out as `ready`.
    pub fn insert(&mut self, ready: Readiness) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.live = true;
        slot.armed = None;
        for (side, direction) in slot.sides_mut() {
            side.ready = ready.towards(direction);
            side.errno = 0;
        }
        Key {
            index,
            generation: slot.generation,
        }
    }

    /// Removes a source. Its waiters go to `wake`, so that none sleeps for ever.
    pub fn remove(&mut self, key: Key, wake: &mut Vec<Waker>) {
        let Some(slot) = self.live(key) else { return };
        slot.live = false;
        slot.generation = (slot.generation + 1) & GENERATION_MASK;
        for side in &mut slot.sides {
            side.waiters.take(wake);
        }
        self.free.push(key.index);
    }

    /// Raises readiness and moves the wakers of those who waited for it to `wake`. False if the
    /// event is stale: its source is gone.
    pub fn raise(&mut self, key: Key, readiness: Readiness, wake: &mut Vec<Waker>) -> bool {
        let Some(slot) = self.live(key) else {
            return false;
        };
        // The event has disarmed it for all who wait: each asks anew.
        let disarmed = slot.armed.is_some();
        slot.armed = slot.armed.map(|_| Interest::NONE);
        for (side, direction) in slot.sides_mut() {
            let news = readiness.towards(direction);
            if disarmed || news != Readiness::EMPTY {
                side.ready |= news;
                side.waiters.take(wake);
            }
        }
        true
    }

    /// The kernel would not report what was asked for: all who wait are woken, and each direction
    /// in which somebody does, or both if nobody, is told why, once. False if the source is gone.
    pub fn fail(&mut self, key: Key, errno: i32, wake: &mut Vec<Waker>) -> bool {
        let Some(slot) = self.live(key) else {
            return false;
        };
        // What was asked for is not: each asks anew.
        slot.armed = slot.armed.map(|_| Interest::NONE);
        let nobody = slot.sides.iter().all(|side| side.waiters.is_empty());
        for side in &mut slot.sides {
            if nobody || !side.waiters.is_empty() {
                side.errno = errno;
                side.waiters.take(wake);
            }
        }
        true
    }

    /// Takes the errno of [`Table::fail`] in the directions of `interest`.
    ///
    /// # Panics
    /// If `key` was removed: a source polls only itself.
    pub fn take_errno(&mut self, key: Key, interest: Interest) -> Option<i32> {
        let sides = self.slot(key).sides_mut();
        let asked = sides.filter(|(_, direction)| {
            let all = Interest::from(*direction);
            interest.and(all) != Interest::NONE
        });
        asked.fold(None, |told, (side, _)| {
            let errno = std::mem::take(&mut side.errno);
            told.or((errno != 0).then_some(errno))
        })
    }

    /// What is known of one direction; if nothing, `waker` waits for the next event.
    ///
    /// # Panics
    /// If `key` was removed: a source polls only itself.
    pub fn poll(&mut self, key: Key, direction: Direction, waker: &Waker) -> Poll<Readiness> {
        let side = self.side(key, direction);
        if side.ready != Readiness::EMPTY {
            return Poll::Ready(side.ready);
        }
        side.waiters.add(waker);
        Poll::Pending
    }

    /// What is known that answers `interest`, with what is closed; if nothing, `waker` waits for
    /// the next event in its directions.
    ///
    /// # Panics
    /// If `key` was removed: a source polls only itself.
    pub fn poll_for(&mut self, key: Key, interest: Interest, waker: &Waker) -> Poll<Readiness> {
        let asked = interest.answers();
        let slot = self.slot(key);
        let known = slot.sides[0].ready | slot.sides[1].ready;
        if known.and(asked) != Readiness::EMPTY {
            let closed = Readiness::READ_CLOSED | Readiness::WRITE_CLOSED;
            return Poll::Ready(known.and(asked | closed));
        }
        for (side, direction) in slot.sides_mut() {
            // Errors and hang-ups are news in both, so one is enough for who asks for one.
            if interest.and(direction.into()) != Interest::NONE {
                side.waiters.add(waker);
            }
        }
        Poll::Pending
    }

    /// Forgets `told` of both directions.
    ///
    /// # Panics
    /// If `key` was removed: a source clears only itself.
    pub fn forget(&mut self, key: Key, told: Readiness) {
        for side in &mut self.slot(key).sides {
            side.ready = side.ready.without(told);
        }
    }

    /// From now on this source reports on demand: each event disarms it.
    pub(crate) fn disarm(&mut self, key: Key) {
        self.slot(key).armed = Some(Interest::NONE);
    }

    /// Asks for `interest` beside what is asked for already. All of it, if that is news.
    pub(crate) fn arm(&mut self, key: Key, interest: Interest) -> Option<Interest> {
        let armed = self.slot(key).armed.as_mut()?;
        if armed.contains(interest) {
            return None;
        }
        *armed = *armed | interest;
        Some(*armed)
    }

    /// An operation answered `EAGAIN`: forget what was known of this direction.
    ///
    /// # Panics
    /// If `key` was removed: a source clears only itself.
    pub fn clear(&mut self, key: Key, direction: Direction) {
        self.side(key, direction).ready = Readiness::EMPTY;
    }

    /// A read or write moved fewer bytes than asked, so the next would answer `EAGAIN`: saves that
    /// call. An end or an error that is already known stays, since no new edge announces it.
    ///
    /// # Panics
    /// If `key` was removed: a source clears only itself.
    pub fn clear_short(&mut self, key: Key, direction: Direction) {
        let side = self.side(key, direction);
        if side.ready == Readiness::READABLE || side.ready == Readiness::WRITABLE {
            side.ready = Readiness::EMPTY;
        }
    }

    /// Moves all who wait to `wake`: no more events will come.
    pub(crate) fn wake_all(&mut self, wake: &mut Vec<Waker>) {
        for side in self.slots.iter_mut().flat_map(|slot| &mut slot.sides) {
            side.waiters.take(wake);
        }
    }

    /// How many sources there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there is no source.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn live(&mut self, key: Key) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key.index as usize)?;
        (slot.live && slot.generation == key.generation).then_some(slot)
    }

    fn side(&mut self, key: Key, direction: Direction) -> &mut Side {
        &mut self.slot(key).sides[direction as usize]
    }

    fn slot(&mut self, key: Key) -> &mut Slot {
        self.live(key).expect("a source outlives its key")
    }
}
