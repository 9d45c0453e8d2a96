//! Timers by token, against a clock that the test moves.

use std::time::Duration;

use ambidex::Poll;
use ambidex::net::Token;
use ambidex::poll::{Event, Events};

use super::{Hands, none, poll_by};

const MS: Duration = Duration::from_millis(1);

/// What is due by now: tokens and expirations, in order.
fn due(poll: &mut Poll) -> Vec<(u64, u64)> {
    due_by(poll, 1024)
}

fn due_by(poll: &mut Poll, capacity: usize) -> Vec<(u64, u64)> {
    let mut events = Events::with_capacity(capacity);
    poll.poll(&mut events, Some(Duration::ZERO))
        .expect("the loop");
    let told = events.drain().map(|event| match event {
        Event::Timer { token, expirations } => (token.0, expirations),
        other => panic!("only timers are set: {other:?}"),
    });
    told.collect()
}

#[test]
fn timers_expire_in_order_of_their_deadlines_then_of_setting_and_none_too_early() {
    let clock = Hands::new(Duration::ZERO);
    let (mut poll, _) = poll_by(&clock);
    for (token, first) in [(0, 30), (1, 10), (2, 20), (3, 10), (4, 0)] {
        poll.set_timer(Token(token), first * MS, None);
    }
    assert_eq!(due(&mut poll), [(4, 1)]);
    clock.advance(10 * MS - Duration::from_nanos(1));
    assert_eq!(due(&mut poll), []);
    clock.advance(Duration::from_nanos(1));
    assert_eq!(due(&mut poll), [(1, 1), (3, 1)]);
    clock.advance(100 * MS);
    assert_eq!(due(&mut poll), [(2, 1), (0, 1)]);
    clock.advance(100 * MS);
    none(&mut poll);
}

#[test]
fn a_period_does_not_drift_and_those_that_pass_unseen_are_counted() {
    let clock = Hands::new(Duration::ZERO);
    let (mut poll, _) = poll_by(&clock);
    let timer = poll.set_timer(Token(1), 5 * MS, Some(10 * MS));
    clock.advance(5 * MS);
    assert_eq!(due(&mut poll), [(1, 1)]);
    assert_eq!(due(&mut poll), []);
    // 15 is late by 4, and the next is due at 25 all the same.
    clock.advance(14 * MS);
    assert_eq!(due(&mut poll), [(1, 1)]);
    clock.advance(6 * MS - Duration::from_nanos(1));
    assert_eq!(due(&mut poll), []);
    clock.advance(Duration::from_nanos(1));
    assert_eq!(due(&mut poll), [(1, 1)]);
    // 35, 45, 55 and 65.
    clock.advance(44 * MS);
    assert_eq!(due(&mut poll), [(1, 4)]);
    clock.advance(6 * MS);
    assert_eq!(due(&mut poll), [(1, 1)], "75");
    assert!(poll.cancel_timer(timer));
    assert!(!poll.cancel_timer(timer));
    clock.advance(1000 * MS);
    none(&mut poll);
}

#[test]
fn a_timer_taken_back_is_silent_whether_it_has_expired_or_not() {
    let clock = Hands::new(Duration::ZERO);
    let (mut poll, _) = poll_by(&clock);
    let pending = poll.set_timer(Token(1), 10 * MS, None);
    assert!(poll.cancel_timer(pending));
    assert!(!poll.cancel_timer(pending), "it is gone");
    let ids: Vec<_> = (2..6)
        .map(|token| poll.set_timer(Token(token), MS, None))
        .collect();
    let periodic = poll.set_timer(Token(9), MS, Some(MS));
    clock.advance(MS);
    // All have expired; one was told of, the others wait.
    assert_eq!(due_by(&mut poll, 1), [(2, 1)]);
    assert!(!poll.cancel_timer(ids[0]), "it has no event to come");
    assert!(poll.cancel_timer(ids[2]) && poll.cancel_timer(periodic));
    // The place in the table is free; who takes it over does not inherit the expiry.
    let successor = poll.set_timer(Token(10), MS, None);
    assert!(!poll.cancel_timer(ids[2]) && !poll.cancel_timer(periodic));
    assert_eq!(due(&mut poll), [(3, 1), (5, 1)]);
    clock.advance(MS);
    assert_eq!(due(&mut poll), [(10, 1)]);
    assert!(!poll.cancel_timer(successor));
    none(&mut poll);
}

#[test]
fn a_hundred_thousand_timers_all_expire_once_or_are_taken_back() {
    const TIMERS: u64 = 100_000;
    let clock = Hands::new(Duration::ZERO);
    let (mut poll, _) = poll_by(&clock);
    let first = |token: u64| Duration::from_micros(token * 7919 % 1000);
    let mut ids: Vec<_> = (0..TIMERS)
        .map(|token| poll.set_timer(Token(token), first(token), None))
        .collect();
    let back: Vec<_> = ids.drain(..TIMERS as usize / 4).collect();
    assert!(back.into_iter().all(|id| poll.cancel_timer(id)));
    clock.advance(MS);
    assert_eq!(due_by(&mut poll, 1).len(), 1);
    // The rest have expired and wait to be told of.
    let late = ids.split_off(TIMERS as usize / 4);
    let taken_back = late.into_iter().filter(|id| poll.cancel_timer(*id)).count();
    let mut told = due_by(&mut poll, TIMERS as usize);
    assert_eq!(told.len() + taken_back + 1, TIMERS as usize / 4 * 3);
    assert!(told.is_sorted_by_key(|(token, _)| (first(*token), *token)));
    told.sort_unstable();
    told.dedup();
    assert_eq!(told.len() + taken_back + 1, TIMERS as usize / 4 * 3);
    none(&mut poll);
}

#[test]
fn nothing_and_for_ever_are_durations_of_timers() {
    let clock = Hands::new(Duration::ZERO);
    let (mut poll, _) = poll_by(&clock);
    let ages = [
        Duration::MAX,
        Duration::from_secs(1 << 62),
        Duration::from_secs(1 << 33),
    ];
    for age in ages {
        poll.set_timer(Token(1), age, None);
        poll.set_timer(Token(2), Duration::ZERO, Some(age));
        poll.set_timer(Token(3), age, Some(Duration::ZERO));
    }
    assert_eq!(due(&mut poll), [(2, 1); 3]);
    none(&mut poll);
    poll.set_timer(Token(4), Duration::ZERO, Some(Duration::ZERO));
    assert_eq!(due(&mut poll), [(4, 1)]);
    clock.advance(Duration::from_nanos(5));
    assert_eq!(due(&mut poll), [(4, 5)], "a nanosecond each");
}

#[test]
fn timers_of_periods_that_are_always_over_leave_a_poll_as_soon_as_its_room_is_full() {
    // Each look finds all of them expired anew.
    let clock = Hands::new(MS);
    let (mut poll, _) = poll_by(&clock);
    for token in 0..3 {
        poll.set_timer(Token(token), Duration::ZERO, Some(Duration::ZERO));
    }
    let mut seen = [0; 3];
    for _ in 0..30 {
        let told = due_by(&mut poll, 1);
        assert_eq!(told.len(), 1);
        seen[told[0].0 as usize] += 1;
    }
    assert_eq!(seen, [10; 3], "each has its turn");
}
