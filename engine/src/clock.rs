//! The only place that reads time.
#![allow(clippy::disallowed_methods)]

use std::time::Instant;

/// A source of monotonic time. The loop asks it; everything else is told.
///
/// ```
/// use ambidex::clock::{Clock, Real};
/// let (earlier, later) = (Real.now(), Real.now());
/// assert!(later >= earlier);
/// ```
pub trait Clock {
    /// The present moment. Never goes back.
    fn now(&self) -> Instant;
}

/// The system's monotonic clock: clock_gettime(2), `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real;

impl Clock for Real {
    fn now(&self) -> Instant {
        Instant::now()
    }
}
