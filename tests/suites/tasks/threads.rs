//! Other threads: what they send arrives, what they wake runs, and the end of the engine is the end.

use std::cell::RefCell;
use std::future::{Ready, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use ambidex::{Engine, Handle, JoinError, RemoteError};
use ambidex_tests::sim::{HANG, poll_once};

use super::{Guard, run};

#[test]
fn work_from_four_threads_all_arrives_while_the_loop_sleeps_and_wakes() {
    const THREADS: usize = 4;
    const EACH: usize = 25_000;
    let mut engine = Engine::new().expect("an engine");
    let arrived = Arc::new(AtomicUsize::new(0));
    let asleep = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..THREADS)
        .map(|_| {
            let (remote, arrived) = (engine.handle().remote(), Arc::clone(&arrived));
            let asleep = Arc::clone(&asleep);
            thread::spawn(move || {
                while !asleep.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
                for _ in 0..EACH {
                    loop {
                        let arrived = Arc::clone(&arrived);
                        let work = move |_: Handle| async move {
                            arrived.fetch_add(1, Ordering::SeqCst);
                        };
                        match remote.spawn(work) {
                            Ok(()) => break,
                            Err(RemoteError::Full) => thread::yield_now(),
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            })
        })
        .collect();
    let ran = engine.run(async |io: Handle| {
        let all = async {
            while io.metrics().sleeps == 0 {
                io.sleep(Duration::from_millis(1)).await;
            }
            asleep.store(true, Ordering::SeqCst);
            // Asks again whenever a task has run: nothing else wakes this loop.
            while arrived.load(Ordering::SeqCst) < THREADS * EACH {
                io.sleep(Duration::from_millis(1)).await;
            }
        };
        io.timeout(Duration::from_secs(30), all)
            .await
            .expect("all arrive");
    });
    ran.expect("the loop");
    callers
        .into_iter()
        .for_each(|caller| caller.join().unwrap());
}

#[test]
fn work_that_arrives_while_the_loop_is_awake_is_not_slept_on() {
    run(async |io| {
        let (arrived, remote) = (Arc::new(AtomicBool::new(false)), io.remote());
        let before = io.metrics().sleeps;
        let mut sent = false;
        let woken = poll_fn(|cx| {
            // From the loop's own thread: it is awake, so that nothing rings.
            if !std::mem::replace(&mut sent, true) {
                let (waker, arrived) = (cx.waker().clone(), Arc::clone(&arrived));
                let work = move |_: Handle| async move {
                    arrived.store(true, Ordering::SeqCst);
                    waker.wake();
                };
                remote.spawn(work).unwrap();
            }
            if arrived.load(Ordering::SeqCst) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        io.timeout(HANG, woken).await.expect("a wake was lost");
        assert_eq!(io.metrics().sleeps, before, "slept on what had arrived");
    });
}

#[test]
fn a_loop_asleep_for_ever_is_woken_by_each_call_from_another_thread() {
    run(async |io| {
        let (asked, ask) = mpsc::channel::<Waker>();
        let flag = Arc::new(AtomicBool::new(false));
        let (told, remote) = (Arc::clone(&flag), io.remote());
        let caller = thread::spawn(move || {
            for (round, waker) in ask.into_iter().enumerate() {
                // At every distance from the moment when the loop falls asleep.
                (0..round % 64 * 16).for_each(|_| std::hint::spin_loop());
                let told = Arc::clone(&told);
                if round % 2 == 0 {
                    told.store(true, Ordering::SeqCst);
                    waker.wake();
                } else {
                    let work = move |_: Handle| async move {
                        told.store(true, Ordering::SeqCst);
                        waker.wake();
                    };
                    remote.spawn(work).unwrap();
                }
            }
        });
        for _ in 0..20_000 {
            flag.store(false, Ordering::SeqCst);
            let mut sent = false;
            let woken = poll_fn(|cx| {
                if !std::mem::replace(&mut sent, true) {
                    asked.send(cx.waker().clone()).unwrap();
                    return Poll::Pending;
                }
                if flag.load(Ordering::SeqCst) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            });
            // Were a wake lost, the loop would sleep until that deadline.
            io.timeout(HANG, woken).await.expect("a wake was lost");
        }
        drop(asked);
        caller.join().unwrap();
    });
}

#[test]
fn work_whose_making_panics_harms_nobody_else() {
    let mut engine = Engine::new().expect("an engine");
    let remote = engine.handle().remote();
    let arrived = Arc::new(AtomicUsize::new(0));
    let ran = catch_unwind(AssertUnwindSafe(|| {
        engine.run(async |io| {
            let arrived = Arc::clone(&arrived);
            remote
                .spawn(move |_| -> Ready<()> { panic!("on purpose") })
                .unwrap();
            remote
                .spawn(move |_| async move {
                    arrived.fetch_add(1, Ordering::SeqCst);
                })
                .unwrap();
            for _ in 0..10 {
                io.yield_now().await;
            }
        })
    }));
    assert!(ran.is_ok(), "the loop ended");
    assert_eq!(arrived.load(Ordering::SeqCst), 1);
}

#[test]
fn after_the_end_work_from_other_threads_is_refused_and_dropped() {
    let engine = Engine::new().expect("an engine");
    let (remote, io) = (engine.handle().remote(), engine.handle());
    let drops = Arc::new(AtomicUsize::new(0));
    let (waiting, refused) = (Guard(Arc::clone(&drops)), Guard(Arc::clone(&drops)));
    remote.spawn(move |_| async move { drop(waiting) }).unwrap();
    engine.shut_down(Duration::ZERO);
    assert_eq!(
        drops.load(Ordering::SeqCst),
        1,
        "what waited is dropped with the engine"
    );
    let answer = thread::spawn(move || remote.spawn(move |_| async move { drop(refused) }));
    assert_eq!(answer.join().unwrap(), Err(RemoteError::Closed));
    assert_eq!(drops.load(Ordering::SeqCst), 2);
    let late = io.spawn(async { 1 });
    assert!(matches!(
        poll_once(pin!(late)),
        Poll::Ready(Err(JoinError::Cancelled))
    ));
}

#[test]
fn a_waker_may_outlive_its_task_and_its_engine_on_any_thread() {
    let wakers = run(async |io| {
        let wakers = Rc::new(RefCell::new(Vec::new()));
        for ends in [true, false] {
            let kept = Rc::clone(&wakers);
            io.spawn(poll_fn(move |cx| {
                kept.borrow_mut().push(cx.waker().clone());
                if ends { Poll::Ready(()) } else { Poll::Pending }
            }))
            .detach();
        }
        while io.tasks() > 1 {
            io.yield_now().await;
        }
        io.yield_now().await;
        let main = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        wakers.borrow_mut().push(main);
        wakers.take()
    });
    assert_eq!(wakers.len(), 3);
    let threads: Vec<_> = wakers
        .into_iter()
        .map(|waker| {
            thread::spawn(move || {
                let clone = waker.clone();
                waker.wake_by_ref();
                drop(waker);
                clone.wake();
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

#[test]
fn an_engine_that_ends_while_others_wake_its_tasks_drops_them_all() {
    const TASKS: usize = 8;
    let (wakers, over) = (
        Arc::new(Mutex::new(Vec::<Waker>::new())),
        Arc::new(AtomicBool::new(false)),
    );
    let (known, told) = (Arc::clone(&wakers), Arc::clone(&over));
    let caller = thread::spawn(move || {
        while !told.load(Ordering::SeqCst) {
            let some = known.lock().unwrap().clone();
            some.iter().for_each(Waker::wake_by_ref);
        }
    });
    for round in 0..2000 {
        let drops = Arc::new(AtomicUsize::new(0));
        let mut engine = Engine::new().expect("an engine");
        let ran = engine.run(async |io| {
            for _ in 0..TASKS {
                let (guard, wakers) = (Guard(Arc::clone(&drops)), Arc::clone(&wakers));
                io.spawn(poll_fn(move |cx| {
                    let _kept = &guard;
                    let mut wakers = wakers.lock().unwrap();
                    if !wakers.iter().any(|known| known.will_wake(cx.waker())) {
                        wakers.push(cx.waker().clone());
                    }
                    Poll::<()>::Pending
                }))
                .detach();
            }
            io.yield_now().await;
        });
        ran.expect("the loop");
        drop(engine);
        let found = drops.load(Ordering::SeqCst);
        wakers.lock().unwrap().clear();
        if found != TASKS {
            over.store(true, Ordering::SeqCst);
            panic!("round {round}: {found} of {TASKS} futures were dropped with their engine");
        }
    }
    over.store(true, Ordering::SeqCst);
    caller.join().unwrap();
}
