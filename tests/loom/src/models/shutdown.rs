//! The end of an engine while other threads still send, wake and abort: the order of `Engine::shut_down`.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::join::Tracked;
use super::{Crossing, Loop, model};
use crate::remote::{Remote, RemoteError};
use crate::sync::{Arc, JoinHandle, spawn};

impl Loop {
    /// Tells how many arrivals and how many tasks were given up.
    fn end(&self) -> (usize, usize) {
        let arrivals = self.shared.close().expect("it ends once");
        (arrivals, self.handle.tasks.cancel_all())
    }
}

#[test]
fn what_is_sent_while_the_engine_ends_is_counted_or_refused() {
    model("two threads send, the engine ends", || {
        let engine = Loop::new();
        let alive = Arc::new(());
        let senders = [0, 1].map(|_| {
            let remote = Remote {
                shared: Arc::clone(&engine.shared),
            };
            let held = Arc::clone(&alive);
            spawn(move || remote.spawn(move |_| async move { drop(held) }))
        });
        engine.adopt();
        let (arrivals, tasks) = engine.end();
        let accepted = senders
            .map(|sender| sender.join().expect("sent"))
            .iter()
            .filter(|sent| {
                assert!(matches!(sent, Ok(()) | Err(RemoteError::Closed)));
                sent.is_ok()
            })
            .count();
        assert_eq!(arrivals + tasks, accepted, "told that it would run");
        assert!(engine.shared.arrivals().is_empty(), "stranded");
        assert_eq!(Arc::strong_count(&alive), 1, "dropped");
    });
}

#[test]
fn a_task_that_is_woken_while_the_engine_ends_is_dropped_once() {
    model("a thread wakes a task, the engine ends", || {
        let engine = Loop::new();
        let crossing = Crossing::new();
        let drops = Rc::new(Cell::new(0));
        let tracked = Tracked::new(&drops, &crossing);
        let waker = Rc::new(RefCell::new(None));
        let noted = Rc::clone(&waker);
        let task = engine.handle.spawn(async move {
            let _tracked = tracked;
            poll_fn(|cx| {
                *noted.borrow_mut() = Some(cx.waker().clone());
                Poll::<()>::Pending
            })
            .await;
        });
        task.detach();
        engine.handle.tasks.run(1);
        let waker: Waker = waker.take().expect("it was polled");
        let passed = crossing.clone();
        let other = spawn(move || {
            passed.pass();
            waker.wake();
        });
        check_end(&engine, &crossing, &drops, other);
    });
}

#[test]
fn a_task_that_is_aborted_while_the_engine_ends_is_dropped_once() {
    model("a thread aborts a task, the engine ends", || {
        let engine = Loop::new();
        let crossing = Crossing::new();
        let drops = Rc::new(Cell::new(0));
        let tracked = Tracked::new(&drops, &crossing);
        let task = engine.handle.spawn(async move {
            let _tracked = tracked;
            std::future::pending::<()>().await;
        });
        engine.handle.tasks.run(1);
        let passed = crossing.clone();
        let other = spawn(move || {
            passed.pass();
            task.abort();
        });
        check_end(&engine, &crossing, &drops, other);
    });
}

/// Ends an engine with one task, while `other` calls it.
fn check_end(engine: &Loop, crossing: &Crossing, drops: &Cell<u32>, other: JoinHandle<()>) {
    crossing.pass();
    assert_eq!(engine.end(), (0, 1));
    other.join().expect("called");
    assert_eq!(drops.get(), 1);
    assert!(!engine.shared.has_work(), "a runnable stays for ever");
}
