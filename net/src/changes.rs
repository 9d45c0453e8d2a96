//! The list of interest changes: what the epoll set is to be told of each source. Pure: no system calls.
//!
//! A source that has to wait puts its wish here instead of calling epoll_ctl(2), and many wishes are
//! granted at once: by [`Reactor::flush`](crate::Reactor::flush), one call each, or by a ring, one
//! call for all.
//!
//! The rules:
//!
//! * A wish names flags, not an operation: whether it is `EPOLL_CTL_ADD` or `EPOLL_CTL_MOD` is
//!   decided when it is taken, when it is known how the one before it ended.
//! * Of one source at most one change is in flight. A wish that comes meanwhile stays here until
//!   the answer, so the changes of one source are made in order.
//! * Of one source at most one wish waits: a later one takes the place, and the turn, of an earlier
//!   one that nobody took. No error is lost by it, for what was never made never failed.
//! * Changes of different sources are taken in the order in which they could be; the kernel may
//!   make them in another, since a ring may give one to a worker.
//! * What is in flight keeps its descriptor open, even past the end of its source: the kernel looks
//!   the number up when it makes the change, and must not find the number's next owner.
//!
//! Bounds: two for each source, one that waits and one in flight; listing allocates only what the
//! most sources so far have not needed yet.

use std::os::fd::{AsRawFd, RawFd};

use crate::kernel::Control;
use crate::token::{GENERATION_MASK, Key, Token};

/// One change, taken from the list to be made: the arguments of epoll_ctl(2), or of an SQE of
/// `IORING_OP_EPOLL_CTL`. It is answered by [`Reactor::changed`](crate::Reactor::changed), or goes
/// back by [`Reactor::give_back`](crate::Reactor::give_back).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "its source waits for the answer"]
pub struct Change {
    id: u64,
    control: Control,
    fd: RawFd,
    flags: u32,
    token: Token,
}

impl Change {
    /// What its answer names. Below 2^56, so that a tag of 8 bits fits above it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// `EPOLL_CTL_ADD` or `EPOLL_CTL_MOD`; a removal is never listed.
    #[must_use]
    pub fn operation(&self) -> i32 {
        self.control.operation()
    }

    /// The descriptor, open until the answer.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    /// The two fields of `struct epoll_event`: `events` and `data`.
    #[must_use]
    pub fn event(&self) -> (u32, u64) {
        (self.flags, self.token.0)
    }

    pub(crate) fn parts(&self) -> (Control, u32, Token) {
        (self.control, self.flags, self.token)
    }
}

/// What an answer has brought about.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer<P> {
    /// The change is made, or is back on the list: nothing to tell.
    Settled,
    /// It failed with this errno, which the source has to hear of.
    Failed(Key, i32),
    /// Its source is gone. If it is in the epoll set it has to leave; then it can be closed.
    Gone {
        /// What kept the descriptor open.
        pin: P,
        /// Whether it is in the epoll set.
        added: bool,
    },
}

/// What is left to do for a source that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Its change is in flight; all else follows from the [`Answer`].
    InFlight,
    /// Nothing is in flight.
    Idle {
        /// Whether it is in the epoll set, and has to leave it.
        added: bool,
    },
}

/// One source.
struct Place<P> {
    /// It is in the epoll set.
    added: bool,
    /// The wish that nobody took yet.
    wish: Option<Wish<P>>,
    /// The index of its flight.
    flight: Option<u32>,
    generation: u32,
    /// Its neighbours, while it is in line: while it has a wish and nothing in flight.
    before: u32,
    after: u32,
}

struct Wish<P> {
    pin: P,
    flags: u32,
}

/// A change that was taken and not answered.
struct Flight<P> {
    key: Key,
    control: Control,
    wish: Wish<P>,
    /// Its source is gone.
    orphan: bool,
}

impl<P> Flight<P> {
    fn gone(self, made: bool) -> Answer<P> {
        Answer::Gone {
            added: made || self.control == Control::Modify,
            pin: self.wish.pin,
        }
    }
}

/// Where a flight is kept.
struct Track<P> {
    generation: u32,
    flight: Option<Flight<P>>,
}

/// Nobody, in line.
const NONE: u32 = u32::MAX;

/// The list. `P` keeps a descriptor open.
///
/// ```
/// use ambidex_net::changes::{Answer, Changes};
/// use ambidex_net::readiness::{Readiness, Table};
///
/// let mut table = Table::default();
/// let key = table.insert(Readiness::EMPTY);
/// let mut changes = Changes::default();
/// changes.list(key, 7, 1);
/// let change = changes.take().unwrap();
/// assert_eq!((change.fd(), change.event().0), (7, 1));
/// assert_eq!(changes.answer(change.id(), Ok(())), Answer::Settled);
/// assert!(!changes.pending());
/// ```
pub struct Changes<P> {
    /// By the index of their keys.
    places: Vec<Place<P>>,
    first: u32,
    last: u32,
    tracks: Vec<Track<P>>,
    free: Vec<u32>,
}

impl<P> Default for Changes<P> {
    fn default() -> Changes<P> {
        Changes {
            places: Vec::new(),
            first: NONE,
            last: NONE,
            tracks: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<P: AsRawFd> Changes<P> {
    /// Has the epoll set watch the source of `key` with these `EPOLL*` flags.
    pub fn list(&mut self, key: Key, pin: P, flags: u32) {
        let place = self.place(key);
        let in_line = place.in_line();
        place.wish = Some(Wish { pin, flags });
        if !in_line && place.in_line() {
            self.push_back(key.index);
        }
    }

    /// The source of `key` was added by other means than this list.
    pub fn added(&mut self, key: Key) {
        self.place(key).added = true;
    }

    /// Whether the source of `key` is in the epoll set, or about to be.
    #[must_use]
    pub fn knows(&self, key: Key) -> bool {
        let place = self.places.get(key.index as usize);
        place.is_some_and(|place| {
            let known = place.added || place.wish.is_some() || place.flight.is_some();
            known && place.generation == key.generation
        })
    }

    /// Whether there is something to take.
    #[must_use]
    pub fn pending(&self) -> bool {
        self.first != NONE
    }

    /// Takes the next change. It is in flight until its answer.
    pub fn take(&mut self) -> Option<Change> {
        let index = self.first;
        let place = self.places.get_mut(index as usize)?;
        let wish = place.wish.take()?;
        let generation = place.generation;
        let control = if place.added {
            Control::Modify
        } else {
            Control::Add
        };
        let track = self.free.pop().unwrap_or_else(|| {
            let (generation, flight) = (0, None);
            self.tracks.push(Track { generation, flight });
            (self.tracks.len() - 1) as u32
        });
        place.flight = Some(track);
        self.unlink(index);
        let key = Key { index, generation };
        let (fd, flags) = (wish.pin.as_raw_fd(), wish.flags);
        let slot = &mut self.tracks[track as usize];
        slot.flight = Some(Flight {
            key,
            control,
            wish,
            orphan: false,
        });
        Some(Change {
            id: u64::from(slot.generation) << u32::BITS | u64::from(track),
            control,
            fd,
            flags,
            token: key.into(),
        })
    }

    /// What keeps the descriptor of change `id` open.
    ///
    /// # Panics
    /// If `id` is not in flight.
    #[must_use]
    pub fn pin(&self, id: u64) -> &P {
        let track = self.tracks.get(id as u32 as usize);
        let track = track.filter(|track| u64::from(track.generation) == id >> u32::BITS);
        let flight = track.and_then(|track| track.flight.as_ref());
        &flight.expect("no such change is in flight").wish.pin
    }

    /// The answer to change `id`: nothing or an errno.
    ///
    /// # Panics
    /// If `id` is not in flight: each is answered once.
    pub fn answer(&mut self, id: u64, result: Result<(), i32>) -> Answer<P> {
        let flight = self.land(id);
        if flight.orphan {
            return flight.gone(result.is_ok());
        }
        let key = flight.key;
        let place = self.place(key);
        place.flight = None;
        place.added |= result.is_ok();
        if place.in_line() {
            self.push_back(key.index);
        }
        match result {
            Ok(()) => Answer::Settled,
            Err(errno) => Answer::Failed(key, errno),
        }
    }

    /// Change `id` was not made: it is the first to be taken again, or else the later wish that its
    /// source has put here meanwhile.
    ///
    /// # Panics
    /// If `id` is not in flight.
    pub fn give_back(&mut self, id: u64) -> Answer<P> {
        let flight = self.land(id);
        if flight.orphan {
            return flight.gone(false);
        }
        let place = self.place(flight.key);
        place.flight = None;
        place.wish.get_or_insert(flight.wish);
        self.push_front(flight.key.index);
        Answer::Settled
    }

    /// The source of `key` goes, and its wish with it.
    pub fn remove(&mut self, key: Key) -> Removal {
        if !self.knows(key) {
            return Removal::Idle { added: false };
        }
        let place = self.place(key);
        let in_line = place.in_line();
        place.wish = None;
        let added = std::mem::take(&mut place.added);
        let flight = place.flight.take();
        if in_line {
            self.unlink(key.index);
        }
        let flight = flight.and_then(|track| self.tracks[track as usize].flight.as_mut());
        flight.map_or(Removal::Idle { added }, |flight| {
            flight.orphan = true;
            Removal::InFlight
        })
    }

    fn land(&mut self, id: u64) -> Flight<P> {
        let index = id as u32;
        let track = self.tracks.get_mut(index as usize);
        let track = track.filter(|track| u64::from(track.generation) == id >> u32::BITS);
        let track = track.expect("no such change is in flight");
        let flight = track.flight.take().expect("no such change is in flight");
        track.generation = (track.generation + 1) & GENERATION_MASK;
        self.free.push(index);
        flight
    }

    fn place(&mut self, key: Key) -> &mut Place<P> {
        let index = key.index as usize;
        if self.places.len() <= index {
            self.places.resize_with(index + 1, Place::default);
        }
        let place = &mut self.places[index];
        place.generation = key.generation;
        place
    }
}

impl<P> Default for Place<P> {
    fn default() -> Place<P> {
        Place {
            added: false,
            wish: None,
            flight: None,
            generation: 0,
            before: NONE,
            after: NONE,
        }
    }
}

impl<P> Place<P> {
    fn in_line(&self) -> bool {
        self.wish.is_some() && self.flight.is_none()
    }
}

/// The line of those to be taken, linked through the places: a source leaves it from anywhere.
impl<P> Changes<P> {
    fn push_back(&mut self, index: u32) {
        self.link(self.last, index, NONE);
    }

    fn push_front(&mut self, index: u32) {
        self.link(NONE, index, self.first);
    }

    fn link(&mut self, before: u32, index: u32, after: u32) {
        let place = &mut self.places[index as usize];
        (place.before, place.after) = (before, after);
        *self.after(before) = index;
        *self.before(after) = index;
    }

    fn unlink(&mut self, index: u32) {
        let place = &self.places[index as usize];
        let (before, after) = (place.before, place.after);
        *self.after(before) = after;
        *self.before(after) = before;
    }

    /// Who comes after `index`; after nobody comes the first.
    fn after(&mut self, index: u32) -> &mut u32 {
        let place = self.places.get_mut(index as usize);
        place.map_or(&mut self.first, |place| &mut place.after)
    }

    /// Who comes before `index`; before nobody comes the last.
    fn before(&mut self, index: u32) -> &mut u32 {
        let place = self.places.get_mut(index as usize);
        place.map_or(&mut self.last, |place| &mut place.before)
    }
}
