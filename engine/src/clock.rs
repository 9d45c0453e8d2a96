//! The only place that reads time.
#![allow(clippy::disallowed_methods)]

use std::time::{Instant, SystemTime};

/// A source of time. The loop asks it; everything else is told.
///
/// ```
/// use ambidex::clock::{Clock, Real};
/// let (earlier, later) = (Real.now(), Real.now());
/// assert!(later >= earlier);
/// ```
pub trait Clock {
    /// The present moment. Never goes back.
    fn now(&self) -> Instant;

    /// The time of day, for dates that people read. May jump.
    fn wall(&self) -> SystemTime;
}

/// The system's clocks: clock_gettime(2), `CLOCK_MONOTONIC` and `CLOCK_REALTIME`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real;

impl Clock for Real {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}
