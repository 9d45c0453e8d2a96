//! Ticks at an even pace, on the engine's own timers. The arithmetic is pure: time is an argument.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::handle::Handle;
use crate::timers::Sleep;

/// A period of zero would be due for ever.
const PERIOD_MIN: Duration = Duration::from_nanos(1);

/// Ticks at an even pace; made by [`Handle::interval`].
#[must_use = "it ticks only when asked"]
pub struct Interval {
    handle: Handle,
    period: Duration,
    sleep: Sleep,
}

impl Handle {
    /// Ticks each `period`, first after one of them. Ticks that were missed are skipped: who comes
    /// late gets one at once, and the next at the pace there was. A period of zero counts as a
    /// nanosecond.
    ///
    /// It costs no system call and no descriptor; `net::event::Timer` does, and counts what was
    /// missed.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let mut engine = ambidex::Engine::new()?;
    /// engine.run(async |io| {
    ///     let mut interval = io.interval(Duration::from_millis(1));
    ///     let first = interval.tick().await;
    ///     assert!(interval.tick().await >= first + Duration::from_millis(1));
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn interval(&self, period: Duration) -> Interval {
        let period = period.max(PERIOD_MIN);
        Interval {
            handle: self.clone(),
            period,
            sleep: self.sleep(period),
        }
    }
}

impl Interval {
    /// Waits for the next tick and answers the moment it was due.
    ///
    /// # Cancel safety
    /// Safe: a tick is taken only by the poll that returns it.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// The poll of [`Interval::tick`].
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(Pin::new(&mut self.sleep).poll(cx));
        let due = self.sleep.deadline;
        let now = self.handle.now();
        let pause = until_next(due, self.period, now);
        self.sleep = match now.checked_add(pause) {
            Some(next) => self.handle.sleep_until(next),
            None => self.handle.sleep(pause),
        };
        Poll::Ready(due)
    }

    /// The time from one tick to the next.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interval")
            .field("period", &self.period)
            .field("next", &self.sleep.deadline)
            .finish()
    }
}

/// How long after `now` the first of `due + period`, `due + 2 * period`... comes that is later.
fn until_next(due: Instant, period: Duration, now: Instant) -> Duration {
    let late = now.saturating_duration_since(due).as_nanos() % period.as_nanos();
    // Less than a period, so both parts fit.
    let late = Duration::new((late / 1_000_000_000) as u64, (late % 1_000_000_000) as u32);
    period - late
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Real};

    #[test]
    fn the_pace_is_kept_however_late_one_comes() {
        let (due, period) = (Real.now(), Duration::from_millis(10));
        for (late, pause) in [(0, 10), (3, 7), (10, 10), (19, 1), (1_000_000_007, 3)] {
            let now = due + Duration::from_millis(late);
            let expected = Duration::from_millis(pause);
            assert_eq!(until_next(due, period, now), expected, "{late}");
        }
    }

    #[test]
    fn the_longest_and_the_shortest_period_are_periods() {
        let now = Real.now();
        assert_eq!(until_next(now, Duration::MAX, now), Duration::MAX);
        let later = now + Duration::from_secs(5);
        assert_eq!(until_next(now, PERIOD_MIN, later), PERIOD_MIN);
        let left = until_next(now, Duration::MAX, later);
        assert_eq!(left, Duration::MAX - Duration::from_secs(5));
    }

    #[test]
    #[cfg_attr(miri, ignore = "it makes an engine, which asks the kernel")]
    fn a_period_of_nothing_is_a_nanosecond_and_any_other_is_kept() {
        let mut engine = crate::Engine::new().expect("an engine");
        let periods = engine.run(async |io| {
            [Duration::ZERO, Duration::from_secs(3)].map(|period| io.interval(period).period())
        });
        assert_eq!(
            periods.expect("it runs"),
            [PERIOD_MIN, Duration::from_secs(3)]
        );
    }
}
