//! timerfd: counted, not replayed.

use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use ambidex::net::event::{Expiry, Timer, TimerClock};
use ambidex_tests::sim::poll_once;

use super::{NOTHING, run};

const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn a_timer_set_once_ticks_once() {
    run(async |io| {
        let timer = Timer::new(io.net()).expect("a timer");
        let start = io.now();
        timer.once(2 * MILLISECOND).expect("set");
        assert_eq!(timer.tick().await.expect("tick"), 1);
        assert!(io.now() >= start + 2 * MILLISECOND, "too early");
        assert!(io.timeout(NOTHING, timer.tick()).await.is_err());
    });
}

#[test]
fn periods_that_were_missed_are_counted_and_not_replayed() {
    run(async |io| {
        let timer = Timer::new(io.net()).expect("a timer");
        let start = io.now();
        timer.every(MILLISECOND).expect("set");
        io.sleep_until(io.now() + 21 * MILLISECOND).await;
        let missed = timer.tick().await.expect("tick");
        assert!(missed >= 20, "{missed}");
        let mut total = missed;
        for _ in 0..3 {
            total += timer.tick().await.expect("tick");
        }
        let passed = (io.now() - start).as_millis();
        assert!(u128::from(total) <= passed, "{total} ticks in {passed} ms");
    });
}

#[test]
fn a_moment_that_has_passed_and_a_pause_of_nothing_are_due_at_once() {
    run(async |io| {
        let timer = Timer::new(io.net()).expect("a timer");
        for first in [
            Expiry::At(Duration::ZERO),
            Expiry::At(MILLISECOND),
            Expiry::After(Duration::ZERO),
        ] {
            timer.set(first, None).expect("set");
            assert_eq!(timer.tick().await.expect("tick"), 1, "{first:?}");
        }
    });
}

#[test]
fn a_timer_may_go_by_the_time_of_day_or_through_a_suspend() {
    run(async |io| {
        let timer = Timer::with_clock(io.net(), TimerClock::Realtime).expect("a timer");
        let at = io.wall() + MILLISECOND;
        let since_epoch = at.duration_since(UNIX_EPOCH).expect("after 1970");
        timer.set(Expiry::At(since_epoch), None).expect("set");
        timer.tick().await.expect("tick");
        assert!(io.wall() >= at, "too early");
        let timer = Timer::with_clock(io.net(), TimerClock::Boottime).expect("a timer");
        timer.once(MILLISECOND).expect("set");
        assert_eq!(timer.tick().await.expect("tick"), 1);
    });
}

#[test]
fn setting_and_cancelling_forget_what_has_expired() {
    run(async |io| {
        let timer = Timer::new(io.net()).expect("a timer");
        timer.every(MILLISECOND).expect("set");
        timer.tick().await.expect("tick");
        io.sleep(3 * MILLISECOND).await;
        timer.cancel().expect("cancel");
        assert!(io.timeout(NOTHING, timer.tick()).await.is_err());
        timer.once(Duration::ZERO).expect("set");
        io.sleep(MILLISECOND).await;
        timer.once(Duration::from_secs(3600)).expect("set anew");
        assert!(io.timeout(NOTHING, timer.tick()).await.is_err());
        timer.once(Duration::ZERO).expect("set");
        assert_eq!(timer.tick().await.expect("tick"), 1);
    });
}

#[test]
fn who_waits_already_hears_of_a_timer_set_later() {
    run(async |io| {
        let timer = Rc::new(Timer::new(io.net()).expect("a timer"));
        let waiting = Rc::clone(&timer);
        let task = io.spawn(async move { waiting.tick().await });
        io.yield_now().await;
        io.yield_now().await;
        timer.once(Duration::ZERO).expect("set");
        assert_eq!(task.await.expect("a task").expect("tick"), 1);
    });
}

#[test]
fn a_tick_dropped_in_time_loses_nothing() {
    run(async |io| {
        let timer = Timer::new(io.net()).expect("a timer");
        assert!(poll_once(pin!(timer.tick())).is_pending());
        timer.once(MILLISECOND).expect("set");
        // Given up while it waits, over and over, until one of them gets it.
        let mut given_up = 0;
        let count = loop {
            let tick = timer.tick();
            match io.timeout(Duration::from_micros(50), tick).await {
                Ok(count) => break count.expect("tick"),
                Err(_) => given_up += 1,
            }
        };
        assert_eq!(count, 1, "after {given_up}");
    });
}

#[test]
fn several_tasks_share_the_ticks_of_one_timer() {
    run(async |io| {
        let timer = Rc::new(Timer::new(io.net()).expect("a timer"));
        let tasks: Vec<_> = (0..5)
            .map(|_| {
                let timer = Rc::clone(&timer);
                io.spawn(async move { timer.tick().await })
            })
            .collect();
        timer.every(MILLISECOND).expect("set");
        for task in tasks {
            assert!(task.await.expect("a task").expect("tick") >= 1);
        }
    });
}

#[test]
fn a_period_of_nothing_is_refused_and_one_of_ages_is_a_period() {
    run(async |io| {
        let timer = Timer::new(io.net()).expect("a timer");
        let error = timer.every(Duration::ZERO).expect_err("refused");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        for ages in [Duration::MAX, Duration::from_secs(1 << 62)] {
            timer.every(ages).expect("set");
            timer.set(Expiry::At(ages), Some(ages)).expect("set");
            assert!(io.timeout(MILLISECOND, timer.tick()).await.is_err());
            timer
                .set(Expiry::After(MILLISECOND), Some(ages))
                .expect("set");
            assert_eq!(timer.tick().await.expect("tick"), 1);
        }
    });
}
