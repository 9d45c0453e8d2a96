//! When the requests of an open loop are due.

use std::time::{Duration, Instant};

/// One request each `interval`, dealt to the seats in turn: each has a constant rate of its own, as
/// wrk2's connections have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    start: Instant,
    interval_ns: u64,
    seats: u64,
}

impl Schedule {
    pub(super) fn new(start: Instant, interval: Duration, seats: usize) -> Schedule {
        Schedule {
            start,
            interval_ns: u64::try_from(interval.as_nanos())
                .unwrap_or(u64::MAX)
                .max(1),
            seats: seats as u64,
        }
    }

    /// When request `number` of `seat` is due, both counted from 0.
    pub(super) fn due(&self, seat: usize, number: u64) -> Instant {
        let place = number * self.seats + seat as u64;
        self.start + Duration::from_nanos(self.interval_ns.saturating_mul(place))
    }

    /// How many requests of `seat` are due before `moment`.
    pub(super) fn due_before(&self, seat: usize, moment: Instant) -> u64 {
        let elapsed = moment.saturating_duration_since(self.start).as_nanos();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        let all = elapsed.div_ceil(self.interval_ns);
        all.saturating_sub(seat as u64).div_ceil(self.seats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)] // Any moment will do.
    fn what_is_due_and_how_much_was_due_agree() {
        let start = Instant::now();
        for (interval_us, seats) in [(1, 1), (250, 4), (1000, 3), (333, 7)] {
            let schedule = Schedule::new(start, Duration::from_micros(interval_us), seats);
            for seat in 0..seats {
                assert_eq!(schedule.due_before(seat, start), 0);
                for number in 0..10 {
                    let due = schedule.due(seat, number);
                    let just_after = due + Duration::from_nanos(1);
                    assert_eq!(schedule.due_before(seat, due), number, "{seat} of {seats}");
                    assert_eq!(schedule.due_before(seat, just_after), number + 1);
                }
            }
            let second = start + Duration::from_secs(1);
            let all: u64 = (0..seats)
                .map(|seat| schedule.due_before(seat, second))
                .sum();
            assert_eq!(all, 1_000_000u64.div_ceil(interval_us));
        }
    }
}
