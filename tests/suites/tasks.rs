//! Tasks, timers and other threads on one engine: nothing is lost, nothing outlives the engine, and what breaks breaks
//! alone (G4, G7, G8).

#[path = "tasks/threads.rs"]
mod threads;

use std::cell::{Cell, RefCell};
use std::env;
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use ambidex::disk::File;
use ambidex::{Elapsed, Engine, Handle, JoinError};
use ambidex_tests::loops::run_on;
use ambidex_tests::sim::clock::Turned;
use ambidex_tests::sim::poll_once;

fn run<T>(main: impl AsyncFnOnce(Handle) -> T) -> T {
    Engine::new()
        .expect("an engine")
        .run(main)
        .expect("the loop")
}

/// Counts drops.
struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Panics when dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(thread::panicking(), "a destructor that panics");
    }
}

#[test]
fn a_task_gives_its_result_to_whoever_joins_it_early_or_late() {
    run(async |io| {
        let early = io.spawn(async { 1 });
        let late = io.spawn(async { 2 });
        assert!(!early.is_finished());
        while !late.is_finished() {
            io.yield_now().await;
        }
        assert_eq!(early.await.unwrap() + late.await.unwrap(), 3);
        let nested = io.clone();
        let outer = io.spawn(async move { nested.spawn(async { 7 }).await.unwrap() });
        assert_eq!(outer.await.unwrap(), 7);
        assert_eq!(io.tasks(), 0);
    });
}

#[test]
fn an_aborted_task_is_dropped_and_a_detached_one_goes_on() {
    run(async |io| {
        let drops = Arc::new(AtomicUsize::new(0));
        let (one, two) = (Guard(Arc::clone(&drops)), Guard(Arc::clone(&drops)));
        let started = io.spawn(async move {
            let _guard = one;
            pending::<()>().await;
        });
        io.yield_now().await;
        started.abort();
        io.spawn(async move { drop(two) }).abort();
        io.yield_now().await;
        io.yield_now().await;
        assert_eq!((drops.load(Ordering::SeqCst), io.tasks()), (2, 0));

        let done = Rc::new(Cell::new(0));
        let (one, two) = (Rc::clone(&done), Rc::clone(&done));
        io.spawn(async move { one.set(one.get() + 1) }).detach();
        drop(io.spawn(async move { two.set(two.get() + 1) }));
        while io.tasks() > 0 {
            io.yield_now().await;
        }
        assert_eq!(done.get(), 2);
    });
}

#[test]
fn a_panic_reaches_whoever_joins_and_the_others_live_on() {
    run(async |io| {
        let other = io.spawn(async { 1 });
        let bad: ambidex::JoinHandle<()> = io.spawn(async { panic!("on purpose") });
        io.spawn(async { panic!("with nobody to tell") }).detach();
        let error = bad.await.expect_err("it panicked");
        assert!(matches!(error, JoinError::Panicked(_)), "{error:?}");
        assert_eq!(other.await.unwrap(), 1);
        assert_eq!(io.spawn(async { 2 }).await.unwrap(), 2);
    });
}

/// Drops a bomb in a task that has ended, was aborted, or is cancelled with its engine.
fn drop_bomb(moment: &str) {
    let mut engine = Engine::new().expect("an engine");
    let ran = engine.run(async |io| {
        let (bomb, ends) = (Bomb, moment == "ended");
        let task = io.spawn(async move {
            let _bomb = bomb;
            if !ends {
                pending::<()>().await;
            }
        });
        io.yield_now().await;
        if moment == "aborted" {
            task.abort();
        } else {
            task.detach();
        }
        io.yield_now().await;
        io.spawn(async { 1 }).await.unwrap()
    });
    assert_eq!(ran.expect("the loop"), 1);
    engine.shut_down(Duration::ZERO);
}

#[test]
fn a_panic_in_a_destructor_stays_in_its_task() {
    // In a process of its own each, for it could end that.
    const MOMENT: &str = "AMBIDEX_TESTS_BOMB";
    if let Ok(moment) = env::var(MOMENT) {
        return drop_bomb(&moment);
    }
    let ended = ["ended", "aborted", "cancelled"].map(|moment| {
        let name = "a_panic_in_a_destructor_stays_in_its_task";
        let mut command = Command::new(env::current_exe().expect("this program"));
        command.args(["--exact", name]).env(MOMENT, moment);
        let output = command.output().expect("a process");
        (moment, output.status.success())
    });
    assert!(ended.iter().all(|(_, well)| *well), "{ended:?}");
}

#[test]
fn more_tasks_than_a_round_polls_run_in_the_order_they_were_woken() {
    run(async |io| {
        let order = Rc::new(RefCell::new(Vec::new()));
        let spawn = |name| {
            let order = Rc::clone(&order);
            io.spawn(async move { order.borrow_mut().push(name) })
        };
        let tasks: Vec<_> = (0..1000).map(spawn).collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(order.borrow().iter().copied().eq(0..1000));
    });
}

#[test]
fn sleeps_end_in_order_of_their_deadlines_then_of_arrival() {
    let clock = Turned::new();
    let engine = Engine::builder().clock(clock.clone()).build();
    run_on(&mut engine.expect("an engine"), async |io| {
        let order = Rc::new(RefCell::new(Vec::new()));
        let start = io.now();
        let mut tasks = Vec::new();
        for (name, milliseconds) in [(0, 30), (1, 10), (2, 20), (3, 10), (4, 0)] {
            let (io, order) = (io.clone(), Rc::clone(&order));
            let deadline = start + Duration::from_millis(milliseconds);
            tasks.push(io.clone().spawn(async move {
                io.sleep_until(deadline).await;
                assert!(io.now() >= deadline, "too early");
                order.borrow_mut().push(name);
            }));
        }
        // All sleep before the first is due.
        io.yield_now().await;
        assert_eq!(*order.borrow(), [4]);
        clock.turn(Duration::from_millis(10));
        tasks.remove(1).await.unwrap();
        clock.turn(Duration::from_millis(20));
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.borrow(), [4, 1, 3, 2, 0]);
    });
}

#[test]
fn durations_of_nothing_and_of_ages_are_durations() {
    run(async |io| {
        io.sleep(Duration::ZERO).await;
        assert_eq!(
            io.timeout(Duration::ZERO, pending::<()>()).await,
            Err(Elapsed)
        );
        assert_eq!(
            io.timeout(Duration::ZERO, async { 1 }).await,
            Ok(1),
            "ready wins"
        );
        let ages = [
            Duration::MAX,
            Duration::from_secs(1 << 62),
            Duration::from_secs(1 << 33),
        ];
        for age in ages {
            let mut sleep = pin!(io.sleep(age));
            assert!(poll_once(sleep.as_mut()).is_pending());
            // The loop sleeps with that deadline before it.
            let waited = io.timeout(Duration::from_millis(2), sleep).await;
            assert_eq!(waited, Err(Elapsed));
            assert_eq!(io.timeout(age, async { 1 }).await, Ok(1));
            // Nothing but that deadline, and another thread that wakes us.
            let (remote, done) = (io.remote(), Rc::new(Cell::new(false)));
            let (sender, receiver) = mpsc::channel();
            let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            let caller = thread::spawn(move || {
                receiver.recv().unwrap();
                remote.spawn(move |_| async move { waker.wake() }).unwrap();
            });
            let mut sleep = pin!(io.sleep(age));
            poll_fn(|cx| {
                let first = !done.replace(true);
                if first {
                    assert!(sleep.as_mut().poll(cx).is_pending());
                    sender.send(()).unwrap();
                }
                if first {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            })
            .await;
            caller.join().unwrap();
        }
    });
}

#[test]
fn tasks_that_yield_take_turns() {
    run(async |io| {
        let turns = Rc::new(RefCell::new(Vec::new()));
        let mut tasks = Vec::new();
        for name in 0..4 {
            let (io, turns) = (io.clone(), Rc::clone(&turns));
            tasks.push(io.clone().spawn(async move {
                for _ in 0..100 {
                    turns.borrow_mut().push(name);
                    io.yield_now().await;
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let turns = turns.borrow();
        let rounds = turns.chunks(4);
        assert!(
            rounds.into_iter().all(|round| round == [0, 1, 2, 3]),
            "{turns:?}"
        );
    });
}

#[test]
fn a_task_that_never_stops_yielding_starves_neither_timers_nor_main() {
    run(async |io| {
        let (busy, over) = (io.clone(), Rc::new(Cell::new(false)));
        let told = Rc::clone(&over);
        let spinner = io.spawn(async move {
            while !told.get() {
                busy.yield_now().await;
            }
        });
        io.sleep(Duration::from_millis(5)).await;
        over.set(true);
        spinner.await.unwrap();
    });
}

#[test]
fn dropping_an_engine_drops_every_future_even_those_that_spawn_more() {
    let drops = Arc::new(AtomicUsize::new(0));
    let mut engine = Engine::new().expect("an engine");

    /// Spawns another task when dropped.
    struct Heir(Handle, Arc<AtomicUsize>);
    impl Drop for Heir {
        fn drop(&mut self) {
            let guard = Guard(Arc::clone(&self.1));
            self.0.spawn(async move { drop(guard) }).detach();
        }
    }

    let ran = engine.run(async |io| {
        for kind in 0..100 {
            let (guard, inner) = (Guard(Arc::clone(&drops)), io.clone());
            let heir = Heir(io.clone(), Arc::clone(&drops));
            io.spawn(async move {
                let _kept = (guard, heir);
                match kind % 3 {
                    0 => pending::<()>().await,
                    1 => inner.sleep(Duration::MAX).await,
                    _ => loop {
                        inner.yield_now().await;
                    },
                }
            })
            .detach();
        }
        io.yield_now().await;
    });
    ran.expect("the loop");
    let report = engine.shut_down(Duration::ZERO);
    assert_eq!(
        (report.tasks_cancelled, drops.load(Ordering::SeqCst)),
        (100, 200)
    );
}

#[test]
fn tasks_that_have_not_ended_go_on_with_the_next_run() {
    let mut engine = Engine::new().expect("an engine");
    let task = engine.run(async |io| {
        let inner = io.clone();
        let task = io.spawn(async move {
            inner.sleep(Duration::from_millis(1)).await;
            5
        });
        Some(task)
    });
    let task = task.expect("the loop").expect("a task");
    let result = engine.run(async |_| task.await.unwrap());
    assert_eq!(result.expect("the loop"), 5);
}

#[test]
fn two_engines_fit_in_one_thread_and_one_runs_inside_a_task_of_the_other() {
    let mut outer = Engine::new().expect("an engine");
    let mut inner = Engine::new().expect("an engine");
    let read = async |io: &Handle| {
        let file = File::open(io.disk(), "/proc/self/stat")
            .await
            .expect("open");
        let (result, _) = file.read_at(Vec::with_capacity(64), 0).await;
        assert_eq!(result.expect("read"), 64);
    };
    let sum = outer.run(async |io| {
        let outside = io.clone();
        let task = io.spawn(async move {
            let inside = inner.run(async |io| {
                read(&io).await;
                let inside = io.spawn(async { 1 });
                // A task of the outer engine, from within the inner: it runs when the outer turns again.
                let waiting = outside.spawn(async { 2 });
                io.sleep(Duration::from_millis(1)).await;
                assert!(!waiting.is_finished());
                (inside.await.unwrap(), waiting)
            });
            let (one, waiting) = inside.expect("the inner loop");
            drop(inner);
            read(&outside).await;
            one + waiting.await.unwrap()
        });
        task.await.unwrap()
    });
    assert_eq!(sum.expect("the outer loop"), 3);
}

#[test]
fn a_panic_of_main_reaches_the_caller_and_the_engine_may_run_again() {
    let mut engine = Engine::new().expect("an engine");
    let ran = catch_unwind(AssertUnwindSafe(|| {
        engine.run(async |_| panic!("on purpose"))
    }));
    assert!(ran.is_err());
    assert_eq!(
        engine
            .run(async |io| io.spawn(async { 3 }).await.unwrap())
            .expect("the loop"),
        3
    );
}
