//! What a server does, counted by itself.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that another thread may read while the server runs.
#[derive(Debug, Default)]
pub struct Counters {
    calls: AtomicU64,
    waits: AtomicU64,
    scanned: AtomicU64,
    events: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
}

/// Counters at one moment, or what they grew by between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// System calls for connections: waiting, accepting, reading, writing, changing interest.
    pub calls: u64,
    /// Those of them that wait.
    pub waits: u64,
    /// Descriptors that the server looked at to find those that are ready. The kernel has looked
    /// at as many for select and poll.
    pub scanned: u64,
    /// Descriptors that were ready.
    pub events: u64,
    /// Connections.
    pub accepted: u64,
    /// Connections that were closed at once: no descriptor left, or one that does not fit.
    pub refused: u64,
}

impl Counters {
    /// A system call.
    pub fn call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// System calls that somebody else counts; `calls` are all so far.
    pub fn calls_so_far(&self, calls: u64) {
        self.calls.store(calls, Ordering::Relaxed);
    }

    /// A wait, which had `scanned` descriptors looked at to find `events` that are ready.
    pub fn wait(&self, scanned: usize, events: usize) {
        self.call();
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.scanned.fetch_add(scanned as u64, Ordering::Relaxed);
        self.events.fetch_add(events as u64, Ordering::Relaxed);
    }

    /// A connection was taken.
    pub fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was refused; tells whether it is the first.
    pub fn refuse(&self) -> bool {
        self.refused.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// All of them, now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            calls: load(&self.calls),
            waits: load(&self.waits),
            scanned: load(&self.scanned),
            events: load(&self.events),
            accepted: load(&self.accepted),
            refused: load(&self.refused),
        }
    }
}

impl Counts {
    /// What was counted between `earlier` and this.
    #[must_use]
    pub fn since(&self, earlier: &Counts) -> Counts {
        Counts {
            calls: self.calls.saturating_sub(earlier.calls),
            waits: self.waits.saturating_sub(earlier.waits),
            scanned: self.scanned.saturating_sub(earlier.scanned),
            events: self.events.saturating_sub(earlier.events),
            accepted: self.accepted.saturating_sub(earlier.accepted),
            refused: self.refused.saturating_sub(earlier.refused),
        }
    }

    /// Descriptors looked at for each that was ready. `None` if none was.
    #[must_use]
    pub fn scanned_per_event(&self) -> Option<f64> {
        (self.events > 0).then(|| self.scanned as f64 / self.events as f64)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            calls,
            waits,
            scanned,
            events,
            accepted,
            refused,
        } = self;
        write!(
            f,
            "{accepted} connections, {refused} refused; {calls} system calls, {waits} of them waits; \
             {scanned} descriptors looked at to find {events} ready"
        )?;
        match self.scanned_per_event() {
            Some(each) => write!(f, ": {each:.1} for each"),
            None => Ok(()),
        }
    }
}
