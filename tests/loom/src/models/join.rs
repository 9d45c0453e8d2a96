//! `JoinHandle` on another thread than its task.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Wake, Waker};

use super::tasks::Flag;
use super::{Crossing, Loop, model, wait_for};
use crate::sync::{Arc, Ordering, ThreadId, current, spawn};

/// Counts its drops, all of which have to be on the thread that made it.
pub(super) struct Tracked {
    drops: Rc<Cell<u32>>,
    crossing: Crossing,
    home: ThreadId,
}

impl Tracked {
    pub(super) fn new(drops: &Rc<Cell<u32>>, crossing: &Crossing) -> Tracked {
        Tracked {
            drops: Rc::clone(drops),
            crossing: crossing.clone(),
            home: current().id(),
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.crossing.pass();
        self.drops.set(self.drops.get() + 1);
        assert!(
            self.home == current().id(),
            "a future is dropped on its own thread"
        );
    }
}

/// Not of loom's atomics: those may not be dropped by the last of several threads, with only an `Arc` in between.
struct Woken(std::sync::atomic::AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Waits for `future` on this thread.
fn block_on<T>(future: impl Future<Output = T>, crossing: &Crossing) -> T {
    let mut future = pin!(future);
    let woken = Arc::new(Woken(false.into()));
    let waker = Waker::from(Arc::clone(&woken));
    loop {
        crossing.pass();
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        wait_for("the end of a task", || {
            woken.0.swap(false, Ordering::AcqRel)
        });
    }
}

#[test]
fn whoever_awaits_a_task_elsewhere_gets_its_result() {
    model("a task ends while another thread awaits it", || {
        let engine = Loop::new();
        let crossing = Crossing::new();
        let passed = crossing.clone();
        let handle = engine.handle.spawn(async move {
            passed.pass();
            yield_now().await;
            passed.pass();
            7
        });
        let other = spawn(move || block_on(handle, &crossing).ok());
        engine.run_until(|| engine.handle.tasks.len() == 0);
        assert_eq!(other.join().expect("joined"), Some(7));
    });
}

/// Lets the loop have a turn.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn a_task_that_is_aborted_elsewhere_ends_at_home_and_once() {
    model("another thread aborts a task that waits or runs", || {
        let engine = Loop::new();
        let crossing = Crossing::new();
        let drops = Rc::new(Cell::new(0));
        let tracked = Tracked::new(&drops, &crossing);
        let handle = engine.handle.spawn(async move {
            poll_fn(|_| {
                tracked.crossing.pass();
                Poll::<()>::Pending
            })
            .await;
        });
        let other = spawn(move || {
            crossing.pass();
            handle.abort();
        });
        engine.run_until(|| engine.handle.tasks.len() == 0);
        other.join().expect("aborted");
        assert_eq!(drops.get(), 1);
    });
}

#[test]
fn a_task_that_is_detached_elsewhere_goes_on() {
    model(
        "another thread drops the handle, a third wakes the task",
        || {
            let engine = Loop::new();
            let crossing = Crossing::new();
            let (flag, ended) = (Flag::new(), Rc::new(Cell::new(0)));
            let (waited, tracked) = (Arc::clone(&flag), Tracked::new(&ended, &crossing));
            let handle = engine.handle.spawn(async move {
                let _tracked = tracked;
                waited.wait().await;
            });
            let dropping = spawn(move || {
                crossing.pass();
                drop(handle);
            });
            let others = [dropping, flag.raise_elsewhere()];
            engine.run_until(|| engine.handle.tasks.len() == 0);
            for other in others {
                other.join().expect("done");
            }
            assert_eq!((ended.get(), engine.handle.tasks.ended()), (1, 1));
        },
    );
}
