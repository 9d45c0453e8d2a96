//! The run queue. Wakers, from any thread, only push here.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::mem;
use std::rc::Rc;
use std::sync::PoisonError;
use std::task::{Poll, Wake, Waker};

use async_task::Runnable;
use slab::Slab;

use crate::doorbell::Doorbell;
use crate::remote::Arrival;
use crate::sync::{Arc, AtomicBool, Mutex, MutexGuard, Ordering, yield_now};
use crate::tasks::join::{JoinHandle, Supervised};

/// What other threads may touch of an engine.
pub(crate) struct Shared {
    pub(crate) doorbell: Arc<Doorbell>,
    /// Runnable tasks; each is in here at most once.
    ready: Mutex<VecDeque<Runnable>>,
    /// The future given to `Engine::run` was woken.
    main: AtomicBool,
    /// Work from other threads; bounded by `remote::ARRIVALS_MAX`.
    pub(crate) arrivals: Mutex<VecDeque<Arrival>>,
    /// The engine is shut down: nothing arrives any more.
    pub(crate) closed: AtomicBool,
}

impl Shared {
    pub(crate) fn new(doorbell: Arc<Doorbell>) -> Arc<Shared> {
        Arc::new(Shared {
            doorbell,
            ready: Mutex::default(),
            main: AtomicBool::new(false),
            arrivals: Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    fn ready(&self) -> MutexGuard<'_, VecDeque<Runnable>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn arrivals(&self) -> MutexGuard<'_, VecDeque<Arrival>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn schedule(&self, runnable: Runnable) {
        self.ready().push_back(runnable);
        self.doorbell.ring();
    }

    /// Nothing is adopted any more. Tells how many arrivals that makes void, or nothing if it had been closed
    /// before.
    pub(crate) fn close(&self) -> Option<usize> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return None;
        }
        let arrivals = mem::take(&mut *self.arrivals());
        Some(arrivals.len())
    }

    /// Whether the main future was woken since it was last asked.
    pub(crate) fn take_main(&self) -> bool {
        self.main.swap(false, Ordering::AcqRel)
    }

    /// Whether anything waits to be run or adopted.
    pub(crate) fn has_work(&self) -> bool {
        self.main.load(Ordering::Acquire) || !self.ready().is_empty() || !self.arrivals().is_empty()
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.main.store(true, Ordering::Release);
        self.doorbell.ring();
    }
}

/// The tasks of one engine. Stays on its thread.
pub(crate) struct Tasks {
    shared: Arc<Shared>,
    active: Rc<RefCell<List>>,
    /// Empty between runs. Kept for its capacity.
    batch: Cell<VecDeque<Runnable>>,
}

#[derive(Default)]
struct List {
    /// A waker of each task that has not ended, to reach those that wait for nothing.
    wakers: Slab<Waker>,
    /// How many have ended.
    ended: u64,
    /// Who waits for the last to end.
    last: Option<Waker>,
}

/// Strikes a task off the list when its future is dropped, finished or not.
struct Active {
    list: Rc<RefCell<List>>,
    key: usize,
}

impl Drop for Active {
    fn drop(&mut self) {
        let (own, last) = {
            let list = &mut *self.list.borrow_mut();
            let own = list.wakers.try_remove(self.key);
            list.ended += 1;
            (own, list.last.take_if(|_| list.wakers.is_empty()))
        };
        drop(own);
        last.into_iter().for_each(Waker::wake);
    }
}

impl Tasks {
    pub(crate) fn new(shared: &Arc<Shared>) -> Tasks {
        Tasks {
            shared: Arc::clone(shared),
            active: Rc::default(),
            batch: Cell::default(),
        }
    }

    pub(crate) fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> JoinHandle<T> {
        let key = self
            .active
            .borrow_mut()
            .wakers
            .insert(Waker::noop().clone());
        let active = Active {
            list: Rc::clone(&self.active),
            key,
        };
        let supervised = Supervised::new(future, active);
        let shared = Arc::clone(&self.shared);
        let schedule = move |runnable| shared.schedule(runnable);
        let (runnable, task) = async_task::spawn_local(supervised, schedule);
        if let Some(waker) = self.active.borrow_mut().wakers.get_mut(key) {
            *waker = runnable.waker();
        }
        if self.shared.closed.load(Ordering::Acquire) {
            // Nobody would run it: dropping it cancels it.
            drop(runnable);
        } else {
            runnable.schedule();
        }
        JoinHandle::new(task.fallible())
    }

    /// Polls what is runnable now, at most `budget` tasks; what they wake comes next time.
    pub(crate) fn run(&self, budget: usize) -> u64 {
        let mut batch = self.batch.take();
        {
            let ready = &mut *self.shared.ready();
            if ready.len() <= budget {
                mem::swap(ready, &mut batch);
            } else {
                batch.extend(ready.drain(..budget));
            }
        }
        let due = batch.len() as u64;
        for runnable in batch.drain(..) {
            runnable.run();
        }
        self.batch.set(batch);
        due
    }

    /// How many tasks have not ended.
    pub(crate) fn len(&self) -> usize {
        self.active.borrow().wakers.len()
    }

    /// How many tasks have ended, finished or not.
    pub(crate) fn ended(&self) -> u64 {
        self.active.borrow().ended
    }

    /// Waits until no task is left. For one at a time.
    pub(crate) async fn all_ended(&self) {
        poll_fn(|cx| {
            let list = &mut *self.active.borrow_mut();
            if list.wakers.is_empty() {
                return Poll::Ready(());
            }
            list.last = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Cancels every task. Dropping one may wake or spawn others, so it goes on until none is
    /// left. Tells how many there were.
    pub(crate) fn cancel_all(&self) -> usize {
        let cancelled = self.len();
        loop {
            let wakers: Vec<Waker> = {
                let list = self.active.borrow();
                list.wakers.iter().map(|(_, waker)| waker.clone()).collect()
            };
            wakers.into_iter().for_each(Waker::wake);
            let ready = mem::take(&mut *self.shared.ready());
            let none_ready = ready.is_empty();
            drop(ready);
            if self.len() == 0 {
                return cancelled;
            }
            if none_ready {
                // A waker on another thread has marked a task and not pushed it yet.
                yield_now();
            }
        }
    }
}
