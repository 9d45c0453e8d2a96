//! Virtual time, what is to happen in it, and the trace of what did.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use ambidex::clock::{Clock, Real};

/// What the simulated time of day begins with, in seconds since 1970.
pub(super) const DAY_ONE: Duration = Duration::from_secs(1_700_000_000);

/// What is to happen at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// Bytes on their way to this end of a connection arrive.
    Arrive(usize),
    /// A connection that this end has asked for is made, or refused.
    Connect(usize),
    /// The turn of somebody beyond the network: a client, a disk, whoever the world has; see
    /// [`Beyond`](super::Beyond).
    Beyond(u32),
}

/// A clock that only the simulation moves, and what is to come by it. The same calls make the same times.
pub struct Time {
    origin: Instant,
    /// Nanoseconds since `origin`.
    now: Cell<u64>,
    agenda: RefCell<BinaryHeap<Reverse<(u64, u64, Event)>>>,
    next: Cell<u64>,
    trace: Cell<u64>,
    calls: Cell<u64>,
    /// Calls, for people to read; only if asked for.
    log: RefCell<Option<Vec<String>>>,
}

impl Time {
    /// The beginning.
    #[must_use]
    pub fn new() -> Rc<Time> {
        Rc::new(Time {
            origin: Real.now(),
            now: Cell::new(0),
            agenda: RefCell::default(),
            next: Cell::new(0),
            trace: Cell::new(0xCBF2_9CE4_8422_2325),
            calls: Cell::new(0),
            log: RefCell::default(),
        })
    }

    /// Since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now.get())
    }

    /// Has `event` happen `after` from now.
    pub fn plan(&self, after: Duration, event: Event) {
        let order = self.next.get();
        self.next.set(order + 1);
        let at = self.now.get() + nanoseconds(after);
        self.agenda.borrow_mut().push(Reverse((at, order, event)));
    }

    /// Takes what is due by now, in order of time, then of planning.
    pub(super) fn due(&self) -> Option<Event> {
        let mut agenda = self.agenda.borrow_mut();
        let Reverse((at, _, event)) = *agenda.peek()?;
        if at > self.now.get() {
            return None;
        }
        agenda.pop();
        Some(event)
    }

    /// Moves to the next event, `limit` from now at most. False if there is neither.
    pub(super) fn leap(&self, limit: Option<Duration>) -> bool {
        let next = self.agenda.borrow().peek().map(|entry| entry.0.0);
        let limit = limit.map(|limit| self.now.get().saturating_add(nanoseconds(limit)));
        match next.into_iter().chain(limit).min() {
            Some(at) => self.now.set(at.max(self.now.get())),
            None => return false,
        }
        true
    }

    /// Lets a moment pass.
    pub(super) fn pass(&self, moment: Duration) {
        self.now.set(self.now.get() + nanoseconds(moment));
    }

    /// Adds a call, with its arguments and its result, to the trace.
    pub(super) fn note(&self, call: &'static str, words: &[u64]) {
        const PRIME: u64 = 0x0000_0100_0000_01B3;
        self.calls.set(self.calls.get() + 1);
        let mut hash = self.trace.get() ^ self.now.get().wrapping_mul(PRIME);
        let name = call.len() as u64 ^ u64::from(call.as_bytes()[0]) << 8;
        for word in [name].iter().chain(words) {
            hash = (hash.rotate_left(23) ^ word).wrapping_mul(PRIME);
        }
        self.trace.set(hash);
        if let Some(log) = &mut *self.log.borrow_mut() {
            log.push(format!("{:?} {call} {words:x?}", self.elapsed()));
        }
    }

    /// One number for all calls so far: of two runs of one seed it is equal (G10).
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.trace.get()
    }

    /// Calls so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// Keeps each call from now on as a line of text.
    pub fn keep_log(&self) {
        *self.log.borrow_mut() = Some(Vec::new());
    }

    /// The lines kept so far.
    pub fn take_log(&self) -> Vec<String> {
        self.log.borrow_mut().take().unwrap_or_default()
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

impl Clock for Time {
    fn now(&self) -> Instant {
        self.origin + self.elapsed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY_ONE + self.elapsed()
    }
}
