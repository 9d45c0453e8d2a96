//! A clock that the test turns.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use ambidex::clock::{Clock, Real};

/// Stands still unless it is turned.
#[derive(Debug)]
pub struct Turned(Cell<Instant>);

impl Turned {
    /// A clock that shows the present moment.
    #[must_use]
    pub fn new() -> Rc<Turned> {
        Rc::new(Turned(Cell::new(Real.now())))
    }

    /// Turns it on by `duration`.
    pub fn turn(&self, duration: Duration) {
        self.0.set(self.0.get() + duration);
    }
}

impl Clock for Turned {
    fn now(&self) -> Instant {
        self.0.get()
    }

    fn wall(&self) -> SystemTime {
        Real.wall()
    }
}
