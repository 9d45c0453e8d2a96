//! The run queue: tasks and the main future, woken from other threads.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::{Loop, model};
use crate::sync::{Arc, AtomicBool, JoinHandle, Mutex, Ordering, spawn};

/// Something to wait for, and whom it wakes.
pub(super) struct Flag {
    raised: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Flag {
    pub(super) fn new() -> Arc<Flag> {
        Arc::new(Flag {
            raised: AtomicBool::new(false),
            waker: Mutex::new(None),
        })
    }

    /// Raises it and wakes who waits, on another thread.
    pub(super) fn raise_elsewhere(self: &Arc<Flag>) -> JoinHandle<()> {
        let flag = Arc::clone(self);
        spawn(move || {
            flag.raised.store(true, Ordering::Relaxed);
            let waker = flag.waker.lock().expect("whole").take();
            waker.into_iter().for_each(Waker::wake);
        })
    }

    pub(super) async fn wait(&self) {
        poll_fn(|cx| {
            *self.waker.lock().expect("whole") = Some(cx.waker().clone());
            if self.raised.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }
}

#[test]
fn a_task_that_is_woken_elsewhere_runs() {
    model("a task waits, another thread wakes it", || {
        let engine = Loop::new();
        let flag = Flag::new();
        let waited = Arc::clone(&flag);
        engine
            .handle
            .spawn(async move { waited.wait().await })
            .detach();
        let other = flag.raise_elsewhere();
        engine.run_until(|| engine.handle.tasks.len() == 0);
        other.join().expect("woken");
    });
}

#[test]
fn a_task_that_two_threads_wake_runs_for_both() {
    model("a task waits for two flags", || {
        let engine = Loop::new();
        let flags = [Flag::new(), Flag::new()];
        let polls = Rc::new(Cell::new(0));
        let (waited, counted) = (flags.clone(), Rc::clone(&polls));
        let task = async move {
            let mut both = waited.each_ref().map(|flag| Box::pin(flag.wait()));
            let mut left = [true; 2];
            poll_fn(|cx| {
                counted.set(counted.get() + 1);
                for (wait, left) in both.iter_mut().zip(&mut left) {
                    *left = *left && wait.as_mut().poll(cx).is_pending();
                }
                if left == [false; 2] {
                    return Poll::Ready(());
                }
                Poll::Pending
            })
            .await;
        };
        engine.handle.spawn(task).detach();
        let others = flags.each_ref().map(Flag::raise_elsewhere);
        engine.run_until(|| engine.handle.tasks.len() == 0);
        assert!(polls.get() <= 3, "it is in the queue at most once a wake");
        for other in others {
            other.join().expect("woken");
        }
    });
}

#[test]
fn a_wake_of_the_main_future_is_seen_before_the_loop_sleeps() {
    // loom does not know that the swap of `take_main` leaves no room for a store between what it reads and what it
    // writes, so here none is concurrent with the wake.
    model("another thread wakes the main future", || {
        let engine = Loop::new();
        assert!(!engine.shared.take_main());
        let raised = Arc::new(AtomicBool::new(false));
        let other = {
            let (raised, waker) = (Arc::clone(&raised), Waker::from(Arc::clone(&engine.shared)));
            spawn(move || {
                raised.store(true, Ordering::Relaxed);
                waker.wake();
            })
        };
        engine.finish_turn();
        assert!(engine.shared.take_main() && raised.load(Ordering::Relaxed));
        other.join().expect("woken");
    });
}
