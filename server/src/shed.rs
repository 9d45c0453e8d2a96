//! Which connections rest, and which of them to end: those that rest too long, and others when there are too many.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Whether a connection has a request under way, as its task tells the outside. A word less here is a word less for each
/// idle connection.
pub(crate) struct Rest {
    since: Cell<Option<Instant>>,
    /// Whether it has rested before: the first rest is the one before the first request.
    rested: Cell<bool>,
    was_served: Cell<bool>,
}

impl Rest {
    /// One that has just been accepted.
    pub(crate) fn new(now: Instant) -> Rest {
        Rest {
            since: Cell::new(Some(now)),
            rested: Cell::new(false),
            was_served: Cell::new(false),
        }
    }

    /// Begins a rest between requests. Whether it may be ended now to make room.
    pub(crate) fn begin(&self, now: Instant) -> bool {
        self.since.set(Some(now));
        self.was_served.set(self.rested.replace(true));
        self.was_served.get()
    }

    /// Ends the rest: a request is under way.
    pub(crate) fn end(&self) {
        self.since.set(None);
    }

    /// Since when no request is under way.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since.get()
    }

    /// Whether it may be ended to make room, and then since when it has rested. One that was served
    /// may, for its client is ready for that; and one that has begun nothing for longer than a whole
    /// header may take.
    pub(crate) fn spare_since(&self, now: Instant, header_timeout: Duration) -> Option<Instant> {
        let since = self.since.get()?;
        let silent = now.saturating_duration_since(since) >= header_timeout;
        (self.was_served.get() || silent).then_some(since)
    }
}
