//! The pure tables against models too simple to be wrong, under random schedules with random weights.
//!
//! Each test runs at least 100,000 schedules and prints their seeds; `AMBIDEX_SEED` replays one. `AMBIDEX_PROVE=ci` makes
//! 10,000,000 on the operations table, and as many steps each as in [`STEPS`]. What is checked after every step: the table says what the model says; the payload is never released while the kernel holds it, and exactly
//! once in the end; and whoever could go on has been woken (G1, G2, G4, G5).

#[path = "schedules/loans.rs"]
mod loans;
#[path = "schedules/sources.rs"]
mod sources;

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use ambidex::clock::{Clock, Real};
use ambidex::disk::gate::{Gate, Ticket};
use ambidex::timers::Timers;
use ambidex_tests::sim::Bell;
use ambidex_tests::sim::rng::{Weights, choose, prove, schedules};
use loans::Loans;
use sources::Sources;

const SCHEDULES: u64 = 100_000;
/// Of one schedule of the operations table or of a gate, before all is brought to an end.
const STEPS: usize = 32;

/// Rings all bells in `wake`.
fn ring(wake: &mut Vec<Waker>) {
    wake.drain(..).for_each(Waker::wake);
}

#[test]
fn an_operation_ends_once_and_its_payload_is_never_released_while_the_kernel_holds_it() {
    let name = ("schedules", "32 steps on the operations table");
    let counts = [SCHEDULES, 10_000_000, 100_000_000];
    prove(name, 0x0A1D_0001, counts, |rng| {
        let mut loans = Loans::new(rng.usize(1..6));
        let weights = Weights::random(rng);
        for _ in 0..STEPS {
            loans.step(rng, &weights);
        }
        loans.finish();
    });
}

/// With `ahead` waiting before it and `free` places: the first must get in, and nobody may take a place that those
/// ahead could have. In between a gate may let in whom it has woken, or wait for the first.
fn check_turn(taken: bool, ahead: usize, free: usize) {
    assert!(!taken || ahead < free, "out of turn");
    assert!(taken || ahead > 0 || free == 0, "refused in its turn");
}

#[test]
fn a_gate_lets_in_whoever_is_first_and_forgets_nobody() {
    let name = ("gates", "32 steps on a gate");
    let counts = [SCHEDULES, 1_000_000, 50_000_000];
    prove(name, 0x0A1D_0002, counts, |rng| {
        let places = rng.usize(..4);
        let (mut gate, mut free) = (Gate::new(places), places);
        let mut line: Vec<(Option<Ticket>, Arc<Bell>)> = Vec::new();
        let (mut held, mut wake) = (0, Vec::new());
        let weights = Weights::<6>::random(rng);
        for _ in 0..STEPS {
            match weights.pick(rng) {
                0 => {
                    let (mut ticket, bell) = (None, Bell::new());
                    let taken = gate.take(&mut ticket, &bell.waker(), &mut wake);
                    check_turn(taken, line.len(), free);
                    assert_eq!(ticket.is_none(), taken);
                    if taken {
                        (free, held) = (free - 1, held + 1);
                    } else {
                        line.push((ticket, bell));
                    }
                }
                1 if !line.is_empty() => {
                    let at = rng.usize(..line.len());
                    // Now and then the future has moved to another task.
                    if rng.bool() {
                        line[at].1 = Bell::new();
                    }
                    let (ticket, bell) = &mut line[at];
                    bell.take();
                    let taken = gate.take(ticket, &bell.waker(), &mut wake);
                    check_turn(taken, at, free);
                    if taken {
                        line.remove(at);
                        (free, held) = (free - 1, held + 1);
                    }
                }
                2 => {
                    let taken = gate.try_take();
                    check_turn(taken, line.len(), free);
                    (free, held) = (free - usize::from(taken), held + usize::from(taken));
                }
                3 if held > 0 => {
                    gate.give_back(&mut wake);
                    (free, held) = (free + 1, held - 1);
                }
                4 if !line.is_empty() => {
                    let (ticket, _) = line.remove(rng.usize(..line.len()));
                    gate.leave(ticket.expect("in line"), &mut wake);
                    gate.leave(ticket.expect("no longer in line"), &mut wake);
                }
                5 if rng.u32(..10) == 0 => {
                    gate.wake_all(&mut wake);
                    ring(&mut wake);
                    assert!(
                        line.iter().all(|(_, bell)| bell.has_rung()),
                        "all are woken at the end"
                    );
                }
                _ => {}
            }
            ring(&mut wake);
            assert_eq!((gate.free(), gate.waiting()), (free, line.len()));
            if let Some((_, bell)) = line.first().filter(|_| free > 0) {
                assert!(bell.has_rung(), "a place is free and nobody was told");
            }
        }
    });
}

#[test]
fn readiness_wakes_all_who_wait_for_it_and_a_stale_event_nobody() {
    schedules("readiness", 0x0A1D_0003, SCHEDULES, |rng| {
        let mut sources = Sources::new(4);
        let weights = Weights::random(rng);
        for _ in 0..rng.u32(5..60) {
            sources.step(rng, &weights);
            sources.check(rng);
        }
    });
}

/// A deadline: its moment, its number, and who waits.
type Alarm = (Instant, u64, Arc<Bell>);

#[test]
fn timers_fire_all_that_is_due_in_order_and_nothing_else() {
    let start = Real.now();
    schedules("timers", 0x0A1D_0004, SCHEDULES, |rng| {
        let mut timers = Timers::default();
        let (mut waiting, mut past): (Vec<Alarm>, Vec<(Instant, u64)>) = Default::default();
        let (mut now, mut wake) = (start, Vec::new());
        let weights = Weights::<5>::random(rng);
        for _ in 0..rng.u32(5..60) {
            match weights.pick(rng) {
                0 | 1 => {
                    // Few distinct moments, so that many are equal, and some are past already.
                    let at = now + Duration::from_millis(rng.u64(..5));
                    let bell = Bell::new();
                    let id = timers.insert(at, bell.waker());
                    assert!(
                        waiting.iter().all(|(_, other, _)| *other != id),
                        "a number is used once"
                    );
                    waiting.push((at, id, bell));
                }
                2 if !waiting.is_empty() => {
                    let at = rng.usize(..waiting.len());
                    waiting[at].2 = Bell::new();
                    let (deadline, id, bell) = &waiting[at];
                    *timers.get_mut(*deadline, *id).expect("it waits") = bell.waker();
                }
                3 if !waiting.is_empty() => {
                    let (deadline, id, bell) = waiting.remove(rng.usize(..waiting.len()));
                    let waker = timers.remove(deadline, id).expect("it has not fired");
                    assert!(waker.will_wake(&bell.waker()));
                    past.push((deadline, id));
                }
                _ => {
                    now += Duration::from_millis(rng.u64(..3));
                    timers.fire(now, &mut wake);
                    let (mut due, rest): (Vec<Alarm>, _) =
                        waiting.into_iter().partition(|(at, ..)| *at <= now);
                    waiting = rest;
                    due.sort_by_key(|(at, id, _)| (*at, *id));
                    assert_eq!(wake.len(), due.len());
                    for (waker, (at, id, bell)) in wake.drain(..).zip(due) {
                        assert!(
                            waker.will_wake(&bell.waker()),
                            "in order of time, then of arrival"
                        );
                        past.push((at, id));
                    }
                }
            }
            assert_eq!(timers.next(), waiting.iter().map(|(at, ..)| *at).min());
            if let Some((deadline, id)) = choose(rng, &past) {
                assert!(timers.get_mut(deadline, id).is_none(), "it is over");
                assert!(timers.remove(deadline, id).is_none());
            }
        }
    });
}
