//! Which connections rest, and which of them to end when there are too many.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::admission::Descriptors;

/// Whether a connection has a request under way, as its task tells the outside.
pub(crate) struct Rest {
    descriptors: Rc<Descriptors>,
    /// Of all that rest, who rests longest: counts up.
    turn: Rc<Cell<u64>>,
    since: Cell<Option<u64>>,
    rests: Cell<u64>,
    accepted: Instant,
}

impl Rest {
    pub(crate) fn new(descriptors: &Rc<Descriptors>, turn: &Rc<Cell<u64>>, now: Instant) -> Rest {
        Rest {
            descriptors: Rc::clone(descriptors),
            turn: Rc::clone(turn),
            since: Cell::new(Some(turn.get())),
            rests: Cell::new(0),
            accepted: now,
        }
    }

    /// Begins or ends a rest between requests.
    pub(crate) fn set(&self, rests: bool) {
        if !rests {
            self.since.set(None);
            return;
        }
        self.turn.set(self.turn.get() + 1);
        self.since.set(Some(self.turn.get()));
        self.rests.set(self.rests.get() + 1);
        if self.was_served() {
            self.descriptors.tell();
        }
    }

    /// Whether no request is under way.
    pub(crate) fn get(&self) -> bool {
        self.since.get().is_some()
    }

    fn was_served(&self) -> bool {
        // The first rest is the one before the first request.
        self.rests.get() > 1
    }

    /// Whether it may be ended to make room, and then how long ago it began to rest. One that was
    /// served may, for its client is ready for that; and one that has begun nothing for longer
    /// than a whole header may take.
    pub(crate) fn age(&self, now: Instant, header_timeout: Duration) -> Option<u64> {
        let since = self.since.get()?;
        let silent = now.saturating_duration_since(self.accepted) >= header_timeout;
        (self.was_served() || silent).then_some(since)
    }
}
