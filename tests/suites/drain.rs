//! Draining: tasks are told, waited for and counted, and what does not end is ended (G8). On both backends.

#[path = "drain/hung.rs"]
mod hung;
#[path = "drain/told.rs"]
mod told;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ambidex::disk::File;
use ambidex::{Engine, Handle, RemoteError, Report};
use ambidex_tests::loops::{builder, engines, run_on};
use ambidex_tests::sim::clock::Turned;
use ambidex_tests::sim::{HANG, backends};

/// Over before anybody notices, but there.
const MOMENT: Duration = Duration::from_millis(20);

/// Counts drops.
struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn ended(tasks_finished: u64, tasks_cancelled: usize, operations_given_up: usize) -> Report {
    Report {
        tasks_finished,
        tasks_cancelled,
        operations_given_up,
    }
}

fn drain(engine: Engine, patience: Duration) -> Report {
    engine.drain(patience).expect("the loop")
}

async fn read_something(io: &Handle) -> usize {
    let file = File::open(io.disk(), "/proc/self/status")
        .await
        .expect("open");
    let (result, _buffer) = file.read_at(Vec::with_capacity(512), 0).await;
    result.expect("read")
}

#[test]
fn tasks_are_told_do_their_last_work_and_are_counted() {
    for mut engine in engines("last work") {
        let worked = Arc::new(AtomicUsize::new(0));
        run_on(&mut engine, async |io| {
            for task in 0..10 {
                let (io, worked) = (io.clone(), Arc::clone(&worked));
                let spawner = io.clone();
                let work = async move {
                    // Half of them know of draining, half end by themselves.
                    if task % 2 == 0 {
                        io.draining().await;
                        assert!(io.is_draining());
                    } else {
                        io.sleep(MOMENT).await;
                    }
                    assert!(read_something(&io).await > 0);
                    worked.fetch_add(1, Ordering::SeqCst);
                };
                spawner.spawn(work).detach();
            }
            io.yield_now().await;
            assert!(!io.is_draining());
        });
        assert_eq!(drain(engine, HANG), ended(10, 0, 0));
        assert_eq!(worked.load(Ordering::SeqCst), 10);
    }
}

#[test]
fn tasks_that_ended_before_are_not_counted() {
    for mut engine in engines("before") {
        run_on(&mut engine, async |io| {
            for _ in 0..5 {
                io.spawn(async {}).await.expect("it ends");
            }
            let own = io.clone();
            io.spawn(async move { own.draining().await }).detach();
        });
        assert_eq!(drain(engine, HANG), ended(1, 0, 0));
    }
}

#[test]
fn a_task_that_never_ends_is_dropped_at_the_deadline_and_counted() {
    for choice in backends("never ends") {
        let clock = Turned::new();
        let engine = builder(choice).clock(clock.clone()).build();
        let mut engine = engine.expect("an engine");
        let drops = Arc::new(AtomicUsize::new(0));
        run_on(&mut engine, async |io| {
            for _ in 0..3 {
                let own = io.clone();
                io.spawn(async move { own.draining().await }).detach();
            }
            for _ in 0..2 {
                let guard = Guard(Arc::clone(&drops));
                let deaf = async move {
                    let _guard = guard;
                    pending::<()>().await;
                };
                io.spawn(deaf).detach();
            }
            let (own, guard) = (io.clone(), Guard(Arc::clone(&drops)));
            let busy = async move {
                let _guard = guard;
                own.draining().await;
                loop {
                    // Those who were told have their turn before the time is over.
                    own.yield_now().await;
                    clock.turn(MOMENT / 4);
                }
            };
            io.spawn(busy).detach();
        });
        assert_eq!(drain(engine, MOMENT), ended(3, 3, 0));
        assert_eq!(drops.load(Ordering::SeqCst), 3);
    }
}

#[test]
fn tasks_spawned_while_it_drains_are_waited_for() {
    async fn offspring(io: Handle, generations: u32) {
        read_something(&io).await;
        if generations > 0 {
            let own = io.clone();
            io.spawn(async move { Box::pin(offspring(own, generations - 1)).await })
                .detach();
        }
    }
    for mut engine in engines("offspring") {
        run_on(&mut engine, async |io| {
            let own = io.clone();
            let first = async move {
                own.draining().await;
                offspring(own, 20).await;
            };
            io.spawn(first).detach();
        });
        assert_eq!(drain(engine, HANG), ended(21, 0, 0));
    }
}

#[test]
fn without_patience_nothing_is_waited_for() {
    for mut engine in engines("zero") {
        let told = Arc::new(AtomicUsize::new(0));
        run_on(&mut engine, async |io| {
            for _ in 0..4 {
                let (own, told) = (io.clone(), Arc::clone(&told));
                let task = async move {
                    own.draining().await;
                    pending::<()>().await;
                    told.fetch_add(1, Ordering::SeqCst);
                };
                io.spawn(task).detach();
            }
            io.yield_now().await;
        });
        assert_eq!(drain(engine, Duration::ZERO), ended(0, 4, 0));
        assert_eq!(told.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn the_longest_patience_ends_with_the_last_task() {
    for mut engine in engines("longest") {
        run_on(&mut engine, async |io| {
            let own = io.clone();
            let task = async move {
                own.draining().await;
                own.sleep(MOMENT).await;
            };
            io.spawn(task).detach();
        });
        assert_eq!(drain(engine, Duration::MAX), ended(1, 0, 0));
    }
}

#[test]
fn an_engine_with_nothing_to_do_drains_whatever_the_patience() {
    for patience in [Duration::ZERO, MOMENT, Duration::MAX] {
        for engine in engines("idle") {
            assert_eq!(drain(engine, patience), Report::default(), "{patience:?}");
        }
    }
}

#[test]
fn work_that_other_threads_have_sent_is_done_before_the_end() {
    const SENT: u64 = 100;
    for engine in engines("sent") {
        let (remote, done) = (engine.handle().remote(), Arc::new(AtomicUsize::new(0)));
        for _ in 0..SENT {
            let done = Arc::clone(&done);
            let work = move |io: Handle| async move {
                read_something(&io).await;
                done.fetch_add(1, Ordering::SeqCst);
            };
            remote.spawn(work).expect("there is room");
        }
        assert_eq!(drain(engine, HANG), ended(SENT, 0, 0));
        assert_eq!(done.load(Ordering::SeqCst) as u64, SENT);
        let late = remote.spawn(|_| async {});
        assert_eq!(late, Err(RemoteError::Closed));
    }
}

#[test]
fn work_that_is_sent_while_it_drains_is_done_too() {
    for mut engine in engines("sent late") {
        let done = Arc::new(AtomicUsize::new(0));
        run_on(&mut engine, async |io| {
            let (remote, own, counted) = (io.remote(), io.clone(), Arc::clone(&done));
            let task = async move {
                own.draining().await;
                // Sent by the last task there is, on its last breath.
                let work = move |io: Handle| async move {
                    read_something(&io).await;
                    counted.fetch_add(1, Ordering::SeqCst);
                };
                remote.spawn(work).expect("there is room");
            };
            io.spawn(task).detach();
        });
        assert_eq!(drain(engine, HANG), ended(2, 0, 0));
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn work_that_was_sent_and_never_begun_is_counted_as_cancelled() {
    for engine in engines("never begun") {
        let drops = Arc::new(AtomicUsize::new(0));
        for _ in 0..7 {
            let guard = Guard(Arc::clone(&drops));
            let work = move |_| async move { drop(guard) };
            engine.handle().remote().spawn(work).expect("there is room");
        }
        assert_eq!(drain(engine, Duration::ZERO), ended(0, 7, 0));
        assert_eq!(drops.load(Ordering::SeqCst), 7);
    }
}
