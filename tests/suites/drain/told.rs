//! Who waits to be told.

use std::future::{Future, pending};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use ambidex_tests::loops::{engines, run_on};
use ambidex_tests::sim::{Bell, HANG};

use super::{MOMENT, drain, ended};

#[test]
fn each_of_very_many_is_told_once() {
    const MANY: usize = 10_000;
    for mut engine in engines("many") {
        let told = Arc::new(AtomicUsize::new(0));
        run_on(&mut engine, async |io| {
            for _ in 0..MANY {
                let (own, told) = (io.clone(), Arc::clone(&told));
                let task = async move {
                    own.draining().await;
                    told.fetch_add(1, Ordering::SeqCst);
                };
                io.spawn(task).detach();
            }
            io.yield_now().await;
        });
        assert_eq!(drain(engine, HANG), ended(MANY as u64, 0, 0));
        assert_eq!(told.load(Ordering::SeqCst), MANY);
    }
}

#[test]
fn who_no_longer_waits_leaves_nothing_behind() {
    let bells: Vec<_> = (0..1000).map(|_| Bell::new()).collect();
    for mut engine in engines("gone") {
        run_on(&mut engine, async |io| {
            for bell in &bells {
                let mut waiting = pin!(io.draining());
                let waker = bell.waker();
                let mut cx = Context::from_waker(&waker);
                assert!(waiting.as_mut().poll(&mut cx).is_pending());
            }
        });
        // One is ours; a waker kept by the engine would be another.
        assert!(bells.iter().all(|bell| Arc::strong_count(bell) == 1));
        drain(engine, HANG);
        assert!(bells.iter().all(|bell| !bell.has_rung()));
    }
}

#[test]
fn the_waker_that_was_seen_last_is_the_one_that_is_called() {
    for engine in engines("wakers") {
        let io = engine.handle();
        let (first, second) = (Bell::new(), Bell::new());
        let mut waiting = Box::pin(async move { io.draining().await });
        for bell in [&first, &second] {
            let waker = bell.waker();
            let mut cx = Context::from_waker(&waker);
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(Arc::strong_count(&first), 1, "the first is forgotten");
        drain(engine, HANG);
        assert_eq!((first.take(), second.take()), (0, 1));
        let waker = second.waker();
        let polled = waiting.as_mut().poll(&mut Context::from_waker(&waker));
        assert_eq!(polled, Poll::Ready(()));
    }
}

#[test]
fn several_of_one_task_are_told_alike_and_waiting_afterwards_is_over_at_once() {
    for mut engine in engines("one task") {
        run_on(&mut engine, async |io| {
            let own = io.clone();
            let task = async move {
                let (one, two) = futures_util::join!(own.draining(), own.draining());
                assert_eq!((one, two), ((), ()));
                own.draining().await;
            };
            io.spawn(task).detach();
            io.yield_now().await;
        });
        assert_eq!(drain(engine, HANG), ended(1, 0, 0));
    }
}

#[test]
fn a_task_that_panics_or_is_aborted_has_ended_too() {
    for mut engine in engines("panics") {
        run_on(&mut engine, async |io| {
            let own = io.clone();
            let panics = async move {
                own.draining().await;
                panic!("on purpose");
            };
            io.spawn::<()>(panics).detach();
            let victim = io.spawn(pending::<()>());
            let own = io.clone();
            let aborts = async move {
                own.draining().await;
                victim.abort();
            };
            io.spawn(aborts).detach();
            io.yield_now().await;
        });
        assert_eq!(drain(engine, HANG), ended(3, 0, 0));
    }
}

#[test]
fn a_task_that_is_told_can_still_wait_for_others_and_for_time() {
    for mut engine in engines("joins") {
        let seen = Rc::new(AtomicUsize::new(0));
        run_on(&mut engine, async |io| {
            let (own, seen) = (io.clone(), Rc::clone(&seen));
            let task = async move {
                own.draining().await;
                let other = own.clone();
                let slow = own.spawn(async move {
                    other.sleep(MOMENT).await;
                    7
                });
                seen.store(slow.await.expect("it ends"), Ordering::SeqCst);
            };
            io.spawn(task).detach();
        });
        assert_eq!(drain(engine, HANG), ended(2, 0, 0));
        assert_eq!(seen.load(Ordering::SeqCst), 7);
    }
}
