//! The engine's own ticks, on a clock that the test turns.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use ambidex::clock::{Clock, Real};
use ambidex::{Engine, Handle};
use ambidex_tests::sim::poll_once;

use super::{run, run_on};

const PERIOD: Duration = Duration::from_secs(10);

/// Stands still unless it is turned.
struct Turned(Cell<Instant>);

impl Clock for Turned {
    fn now(&self) -> Instant {
        self.0.get()
    }

    fn wall(&self) -> SystemTime {
        Real.wall()
    }
}

fn on_a_turned_clock(main: impl AsyncFnOnce(Handle, &Turned)) {
    let clock = Rc::new(Turned(Cell::new(Real.now())));
    let engine = Engine::builder().clock(clock.clone()).build();
    run_on(&mut engine.expect("an engine"), async |io| {
        main(io, &clock).await;
    });
}

#[test]
fn ticks_that_were_missed_are_skipped_and_the_pace_is_kept() {
    on_a_turned_clock(async |io, clock| {
        let start = io.now();
        let mut interval = io.interval(PERIOD);
        let mut tick_at = |seconds| {
            clock.0.set(start + Duration::from_secs(seconds));
            match poll_once(pin!(interval.tick())) {
                Poll::Ready(due) => Some((due - start).as_secs()),
                Poll::Pending => None,
            }
        };
        let ticks = [9, 10, 10, 19, 20, 57, 59, 60, 1000, 1000, 1009, 1010].map(&mut tick_at);
        let expected = [
            None,
            Some(10),
            None,
            None,
            Some(20),
            Some(30),
            None,
            Some(60),
            Some(70),
            None,
            None,
            Some(1010),
        ];
        assert_eq!(ticks, expected);
    });
}

#[test]
fn a_tick_of_an_interval_dropped_in_time_is_still_to_come() {
    on_a_turned_clock(async |io, clock| {
        let start = io.now();
        let mut interval = io.interval(PERIOD);
        for _ in 0..3 {
            assert!(poll_once(pin!(interval.tick())).is_pending());
            // The loop sees the timer come and go.
            io.yield_now().await;
        }
        for due in [start + PERIOD, start + 2 * PERIOD] {
            clock.0.set(due);
            assert_eq!(interval.tick().await, due);
        }
    });
}

#[test]
fn intervals_of_nothing_and_of_ages_are_intervals() {
    run(async |io| {
        let mut short = io.interval(Duration::ZERO);
        let first = short.tick().await;
        assert!(short.tick().await > first);
        let mut long = io.interval(Duration::MAX);
        let waited = io.timeout(Duration::from_millis(1), long.tick()).await;
        assert!(waited.is_err());
    });
}
