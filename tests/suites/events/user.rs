//! Calls of other threads: all are counted, few are system calls.

use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use ambidex::Engine;
use ambidex::net::event::{Notifier, UserEvent};
use ambidex_tests::sim::poll_once;

use super::{NOTHING, run, turns};

#[test]
fn ten_thousand_notifications_from_four_threads_are_all_counted() {
    const THREADS: u64 = 4;
    const EACH: u64 = 2500;
    run(async |io| {
        let event = UserEvent::new(io.net()).expect("an event");
        let published = Arc::new(AtomicU64::new(0));
        let callers: Vec<_> = (0..THREADS)
            .map(|_| {
                let (notifier, published) = (event.notifier(), Arc::clone(&published));
                thread::spawn(move || {
                    for _ in 0..EACH {
                        published.fetch_add(1, Ordering::Relaxed);
                        notifier.notify();
                    }
                })
            })
            .collect();
        let mut total = 0;
        while total < THREADS * EACH {
            total += event.notified().await.expect("notified");
            let published = published.load(Ordering::Relaxed);
            assert!(
                published >= total,
                "{published} were published, {total} arrived"
            );
        }
        assert_eq!(total, THREADS * EACH);
        callers
            .into_iter()
            .for_each(|caller| caller.join().unwrap());
        assert!(io.timeout(NOTHING, event.notified()).await.is_err());
    });
}

#[test]
fn a_thread_and_the_loop_that_answer_each_other_never_miss_a_call() {
    const ROUNDS: usize = 2000;
    run(async |io| {
        let event = UserEvent::new(io.net()).expect("an event");
        let (notifier, barrier) = (event.notifier(), Arc::new(Barrier::new(2)));
        let meeting = Arc::clone(&barrier);
        let caller = thread::spawn(move || {
            for _ in 0..ROUNDS {
                notifier.notify();
                meeting.wait();
            }
        });
        for _ in 0..ROUNDS {
            assert_eq!(event.notified().await.expect("notified"), 1);
            barrier.wait();
        }
        caller.join().unwrap();
    });
}

#[test]
fn notifications_before_the_first_wait_are_there() {
    run(async |io| {
        let event = UserEvent::new(io.net()).expect("an event");
        let notifier = event.notifier();
        (0..7).for_each(|_| notifier.notify());
        assert_eq!(event.notified().await.expect("notified"), 7);
        assert_eq!(event.try_notified(), None);
        notifier.notify();
        turns(&io).await;
        assert_eq!(event.try_notified(), Some(1));
        assert!(poll_once(pin!(event.notified())).is_pending());
    });
}

#[test]
fn only_the_first_notification_since_the_loop_looked_is_a_system_call() {
    run(async |io| {
        let event = UserEvent::new(io.net()).expect("an event");
        let notifier = event.notifier();
        for round in 1..4 {
            (0..1000).for_each(|_| notifier.notify());
            assert_eq!(event.notified().await.expect("notified"), 1000, "{round}");
        }
        let mut written = [0; 8];
        rustix::io::read(&event, &mut written).expect("read");
        assert_eq!(u64::from_ne_bytes(written), 3, "one write a round");
    });
}

#[test]
fn a_full_counter_wakes_all_the_same() {
    run(async |io| {
        let event = Rc::new(UserEvent::new(io.net()).expect("an event"));
        let full = u64::MAX - 1;
        rustix::io::write(&*event, &full.to_ne_bytes()).expect("write");
        assert!(io.timeout(NOTHING, event.notified()).await.is_err());
        let waiting = Rc::clone(&event);
        let task = io.spawn(async move { waiting.notified().await });
        turns(&io).await;
        event.notifier().notify();
        assert_eq!(task.await.expect("a task").expect("notified"), 1);
    });
}

#[test]
fn a_notifier_may_outlive_event_and_engine() {
    fn sendable<T: Send + Sync + Clone>(_: &T) {}
    let engine = Engine::new().expect("an engine");
    let event = UserEvent::new(engine.handle().net()).expect("an event");
    let notifier: Notifier = event.notifier();
    sendable(&notifier);
    drop(event);
    notifier.notify();
    drop(engine);
    thread::spawn(move || notifier.clone().notify())
        .join()
        .unwrap();
}

#[test]
fn of_several_tasks_one_gets_the_count_and_the_others_wait_on() {
    run(async |io| {
        let event = Rc::new(UserEvent::new(io.net()).expect("an event"));
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let event = Rc::clone(&event);
                io.spawn(async move { event.notified().await.expect("notified") })
            })
            .collect();
        turns(&io).await;
        let done = |tasks: &[ambidex::JoinHandle<u64>]| {
            tasks.iter().filter(|task| task.is_finished()).count()
        };
        for finished in 1..4 {
            event.notifier().notify();
            while done(&tasks) < finished {
                io.yield_now().await;
            }
            turns(&io).await;
            assert_eq!(done(&tasks), finished);
        }
    });
}
