//! A clock that the test turns.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use ambidex::clock::{Clock, Real};

/// Stands still unless it is turned.
#[derive(Debug)]
pub struct Turned {
    now: Cell<Instant>,
    /// The time of day, if it is not the real one.
    wall: Cell<Option<SystemTime>>,
}

impl Turned {
    /// A clock that shows the present moment.
    #[must_use]
    pub fn new() -> Rc<Turned> {
        Rc::new(Turned {
            now: Cell::new(Real.now()),
            wall: Cell::new(None),
        })
    }

    /// Turns it on by `duration`.
    pub fn turn(&self, duration: Duration) {
        self.now.set(self.now.get() + duration);
    }

    /// Has the time of day jump, which nothing else hears of.
    pub fn set_wall(&self, to: SystemTime) {
        self.wall.set(Some(to));
    }
}

impl Clock for Turned {
    fn now(&self) -> Instant {
        self.now.get()
    }

    fn wall(&self) -> SystemTime {
        self.wall.get().unwrap_or_else(|| Real.wall())
    }
}
