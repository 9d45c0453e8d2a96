//! What a poll yields.

use std::collections::VecDeque;
use std::io;
use std::process::ExitStatus;

use ambidex_disk::Complete;
use ambidex_net::event::{SignalInfo, WatchEvent};
use ambidex_net::{Readiness, Token};

/// Something that has happened; see [`Poll::poll`](super::Poll::poll).
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A registered descriptor is ready. A hint: the operation may still answer `EAGAIN`.
    Ready {
        /// It was registered with this.
        token: Token,
        /// For what.
        readiness: Readiness,
    },
    /// A file operation has ended. [`Complete::token`] tells which.
    Complete(Complete),
    /// A timer has expired.
    Timer {
        /// It was set with this.
        token: Token,
        /// How often since its last event; 1 for one that is not periodic.
        expirations: u64,
    },
    /// A signal has arrived.
    Signal {
        /// Of the source.
        token: Token,
        /// Which, and from whom.
        signal: SignalInfo,
    },
    /// A child has ended.
    Exit {
        /// Of the source, which is gone now.
        token: Token,
        /// How it ended.
        status: ExitStatus,
    },
    /// A file has changed.
    Watch {
        /// Of the source.
        token: Token,
        /// Which, and how.
        change: WatchEvent,
    },
    /// Somebody has called.
    User {
        /// Of the source.
        token: Token,
        /// How often since its last event.
        count: u64,
    },
    /// A source has failed, and is gone now.
    Failed {
        /// Of the source.
        token: Token,
        /// Why.
        error: io::Error,
    },
}

impl Event {
    /// The token that it carries.
    #[must_use]
    pub fn token(&self) -> Token {
        match self {
            Event::Ready { token, .. }
            | Event::Timer { token, .. }
            | Event::Signal { token, .. }
            | Event::Exit { token, .. }
            | Event::Watch { token, .. }
            | Event::User { token, .. }
            | Event::Failed { token, .. } => *token,
            Event::Complete(complete) => Token(complete.token()),
        }
    }
}

/// Room for the events of one poll.
///
/// ```
/// let mut events = ambidex::poll::Events::with_capacity(64);
/// assert!(events.is_empty() && events.drain().next().is_none());
/// ```
#[derive(Debug)]
pub struct Events {
    list: VecDeque<Event>,
    capacity: usize,
}

impl Events {
    /// Room for `capacity` events, at least one.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Events {
        let capacity = capacity.max(1);
        Events {
            list: VecDeque::with_capacity(capacity),
            capacity,
        }
    }

    /// Takes the events, oldest of each kind first.
    pub fn drain(&mut self) -> impl Iterator<Item = Event> + '_ {
        self.list.drain(..)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.list.len() < self.capacity
    }

    pub(super) fn push(&mut self, event: Event) {
        self.list.push_back(event);
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
    }
}
