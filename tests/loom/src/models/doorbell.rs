//! The doorbell alone.

use super::{Sleep, model};
use crate::doorbell::Doorbell;
use crate::sync::{Arc, AtomicBool, Ordering, spawn};

#[test]
fn whoever_publishes_is_seen_or_rings() {
    model("two publish and ring, the loop sleeps", || {
        let bell = Arc::new(Doorbell::new().expect("an eventfd"));
        let sleep = Sleep::on(&*bell);
        let work = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let threads = [0, 1].map(|at| {
            let (bell, work) = (Arc::clone(&bell), Arc::clone(&work));
            spawn(move || {
                // The doorbell alone makes it visible.
                work[at].store(true, Ordering::Relaxed);
                bell.ring();
            })
        });
        let mut left = vec![0, 1];
        while !left.is_empty() {
            let before = left.len();
            bell.arm();
            left.retain(|at| !work[*at].load(Ordering::Relaxed));
            if left.len() == before {
                sleep.wait();
            }
            bell.disarm();
            left.retain(|at| !work[*at].load(Ordering::Relaxed));
        }
        for thread in threads {
            thread.join().expect("rung");
        }
    });
}

#[test]
fn many_rings_of_one_sleep_are_one_system_call() {
    model("two ring an armed doorbell", || {
        let bell = Arc::new(Doorbell::new().expect("an eventfd"));
        let sleep = Sleep::on(&*bell);
        bell.arm();
        let threads = [0, 1].map(|_| {
            let bell = Arc::clone(&bell);
            spawn(move || bell.ring())
        });
        for thread in threads {
            thread.join().expect("rung");
        }
        assert_eq!(sleep.rings(), 1);
    });
}

#[test]
fn an_awake_loop_costs_its_wakers_no_system_call() {
    model("one rings while the loop disarms and rings itself", || {
        let bell = Arc::new(Doorbell::new().expect("an eventfd"));
        let sleep = Sleep::on(&*bell);
        let other = {
            let bell = Arc::clone(&bell);
            spawn(move || bell.ring())
        };
        bell.ring();
        assert_eq!(sleep.rings(), 0, "awake");
        bell.arm();
        bell.ring();
        assert_eq!(
            sleep.rings(),
            1,
            "about to sleep: by itself or by the other"
        );
        bell.disarm();
        bell.ring();
        other.join().expect("rung");
        assert_eq!(sleep.rings(), 0, "awake again");
    });
}
