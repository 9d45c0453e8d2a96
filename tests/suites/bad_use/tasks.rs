//! Tasks, handles and wakers used as nobody should, and more of them than anybody does.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use ambidex::disk::{File, Pool};
use ambidex::net::TcpListener;
use ambidex::{Engine, Handle, JoinError, JoinHandle};
use ambidex_tests::loops::{ANY_PORT, run, run_on};
use ambidex_tests::sim::poll_once;
use bytes::Bytes;

use crate::{DISK, engines};

#[test]
fn a_hundred_thousand_sleeps_at_once_all_end_and_none_before_its_time() {
    const SLEEPS: usize = 100_000;
    run(async |io| {
        let start = io.now();
        let tasks: Vec<_> = (0..SLEEPS)
            .map(|at| {
                // Neither in order nor all different.
                let deadline = start + Duration::from_micros((at * 7919 % 10_007) as u64);
                let (sleep, own) = (io.sleep_until(deadline), io.clone());
                io.spawn(async move {
                    sleep.await;
                    own.now() >= deadline
                })
            })
            .collect();
        for task in tasks {
            assert!(task.await.expect("a sleep"), "too early");
        }
        assert_eq!(io.tasks(), 0);
    });
}

#[test]
fn an_engine_with_a_hundred_thousand_sleeps_ends_with_all_of_them() {
    const SLEEPS: usize = 100_000;
    let mut engine = Engine::new().expect("an engine");
    let kept = run_on(&mut engine, async |io| {
        let kept: Vec<_> = (0..SLEEPS)
            .map(|_| io.spawn(io.sleep(Duration::MAX)))
            .collect();
        while io.metrics().polls < SLEEPS as u64 {
            io.yield_now().await;
        }
        kept
    });
    assert_eq!(engine.shut_down(Duration::ZERO).tasks_cancelled, SLEEPS);
    assert!(kept.iter().all(JoinHandle::is_finished));
}

#[test]
fn a_task_may_abort_itself_and_hold_its_own_handle() {
    let dropped = Rc::new(Cell::new(0));
    struct Guard(Rc<Cell<u32>>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let mut engine = Engine::new().expect("an engine");
    run_on(&mut engine, async |io| {
        for holds in [false, true] {
            let slot: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
            let (own, guard) = (Rc::clone(&slot), Guard(Rc::clone(&dropped)));
            let task = io.spawn(async move {
                let _guard = guard;
                let handle = own.borrow_mut().take().expect("stored before it ran");
                if holds {
                    let _kept = handle;
                    pending::<()>().await;
                } else {
                    handle.abort();
                    pending::<()>().await;
                    unreachable!("aborted");
                }
            });
            *slot.borrow_mut() = Some(task);
            for _ in 0..3 {
                io.yield_now().await;
            }
            assert_eq!((dropped.get(), io.tasks()), (1, usize::from(holds)));
        }
    });
    drop(engine);
    assert_eq!(dropped.get(), 2);
}

#[test]
fn a_handle_asked_again_after_its_answer_says_cancelled_and_a_sleep_stays_over() {
    run(async |io| {
        let mut task = io.spawn(async { 5 });
        assert_eq!((&mut task).await.expect("joined"), 5);
        assert!(matches!((&mut task).await, Err(JoinError::Cancelled)));
        assert!(task.is_finished());
        let mut sleep = pin!(io.sleep(Duration::from_millis(1)));
        sleep.as_mut().await;
        sleep.as_mut().await;
    });
}

#[test]
fn a_finished_future_polled_again_panics_as_any_async_fn_and_harms_nobody() {
    for (choice, mut engine) in engines("polled again") {
        run_on(&mut engine, async |io| {
            let file = File::open(io.disk(), "/proc/self/stat")
                .await
                .expect("open");
            let mut read = Box::pin(file.read_at(Vec::with_capacity(8), 0));
            assert_eq!(read.as_mut().await.0.expect("read"), 8);
            let again = catch_unwind(AssertUnwindSafe(|| poll_once(read.as_mut()).is_ready()));
            again.expect_err("as std documents");
            drop(read);
            let (result, _) = file.read_at(Vec::with_capacity(8), 0).await;
            assert_eq!(result.expect("read"), 8, "{choice:?}");
        });
    }
}

/// Memory whose destructor panics, as a user's may.
struct Bomb(Arc<AtomicUsize>);

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        b"boom"
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("on purpose");
    }
}

#[test]
fn a_buffer_whose_destructor_panics_is_dropped_once_and_the_engine_may_run_again() {
    for (choice, mut engine) in engines("a buffer that panics") {
        let own = tempfile::tempdir_in(DISK).expect("a directory");
        let path = own.path().join("data");
        let dropped = Arc::new(AtomicUsize::new(0));
        let file = run_on(&mut engine, async |io| {
            let options = ambidex::disk::OpenOptions::new().write().create();
            options.open(io.disk(), &path).await.expect("open")
        });
        let bomb = Bytes::from_owner(Bomb(Arc::clone(&dropped)));
        let ran = catch_unwind(AssertUnwindSafe(|| {
            run_on(&mut engine, async |io| {
                // Submitted, then abandoned: the loop is what drops the buffer.
                let write = file.write_at(bomb, 0);
                assert!(io.timeout(Duration::ZERO, write).await.is_err());
                while io.disk().in_flight() > 0 {
                    io.yield_now().await;
                }
            });
        }));
        let _ = ran;
        let left = run_on(&mut engine, async |io| {
            let written = file.write_at(b"after".to_vec(), 0).await.0;
            assert_eq!(written.expect("write"), 5, "{choice:?}");
            io.disk().in_flight()
        });
        assert_eq!((left, dropped.load(Ordering::SeqCst)), (0, 1), "{choice:?}");
    }
}

#[test]
fn work_for_other_threads_and_pools_outlive_the_engine() {
    let engine = Engine::new().expect("an engine");
    let (io, pool) = (engine.handle(), Pool::new(1, 4096));
    drop(engine);
    let mut outer = Engine::new().expect("another");
    run_on(&mut outer, async |_| {
        assert_eq!(io.spawn_blocking(|| 7).await.expect("worked"), 7);
        let taken = pool.take().await;
        let mut waiting = pin!(pool.take());
        assert!(poll_once(waiting.as_mut()).is_pending());
        drop(taken);
        waiting.await;
        assert_eq!(io.timeout(Duration::ZERO, async { 1 }).await, Ok(1));
        io.sleep(Duration::ZERO).await;
    });
}

#[test]
fn wakers_of_files_sockets_and_timers_may_be_woken_by_threads_after_the_end() {
    for (_, mut engine) in engines("woken after the end") {
        let wakers = run_on(&mut engine, async |io| {
            let listener = TcpListener::bind(io.net(), ANY_PORT).expect("bind");
            let wakers = Rc::new(RefCell::new(Vec::new()));
            let (kept, own) = (Rc::clone(&wakers), io.clone());
            io.spawn(async move {
                let mut accept = pin!(listener.accept());
                let mut sleep = pin!(own.sleep(Duration::MAX));
                let mut open = pin!(File::open(own.disk(), "/proc/self/stat"));
                poll_fn(|cx: &mut Context<'_>| {
                    kept.borrow_mut().push(cx.waker().clone());
                    let _ = (accept.as_mut().poll(cx), sleep.as_mut().poll(cx));
                    let _ = open.as_mut().poll(cx);
                    Poll::<()>::Pending
                })
                .await;
            })
            .detach();
            io.yield_now().await;
            wakers.take()
        });
        assert_eq!(wakers.len(), 1);
        let ends = thread::spawn(move || wakers.into_iter().for_each(Waker::wake));
        drop(engine);
        ends.join().expect("woken");
    }
}

/// Does everything that a handle can when it is dropped.
struct Busybody(Handle, Arc<AtomicUsize>);

impl Drop for Busybody {
    fn drop(&mut self) {
        let (io, count) = (&self.0, Arc::clone(&self.1));
        io.spawn(async {}).detach();
        let refused = io.remote().spawn(|_| async {});
        drop(io.sleep(Duration::ZERO));
        drop(TcpListener::bind(io.net(), ANY_PORT));
        let mut open = pin!(File::open(io.disk(), "/proc/self/stat"));
        let _ = poll_once(open.as_mut());
        count.fetch_add(usize::from(refused.is_err()), Ordering::SeqCst);
    }
}

#[test]
fn destructors_may_use_the_engine_while_it_ends() {
    for (choice, mut engine) in engines("used while it ends") {
        let refused = Arc::new(AtomicUsize::new(0));
        let remote = engine.handle().remote();
        run_on(&mut engine, async |io| {
            for _ in 0..10 {
                let busybody = Busybody(io.clone(), Arc::clone(&refused));
                io.spawn(async move {
                    let _kept = busybody;
                    pending::<()>().await;
                })
                .detach();
            }
            io.yield_now().await;
        });
        let io = engine.handle();
        remote
            .spawn(|io| async move { drop(io) })
            .expect("it waits");
        drop(engine);
        assert_eq!(refused.load(Ordering::SeqCst), 10, "{choice:?}");
        assert_eq!((io.tasks(), io.disk().in_flight()), (0, 0));
    }
}
