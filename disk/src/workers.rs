//! Bounded threads for calls that may wait, and where their answers go.
//!
//! Both backends use them: the fallback for whatever is not cached, io_uring for remote mounts.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::PoisonError;
use std::time::Duration;

use crate::kernel::{Call, Completion, Entry};
use crate::sync::{
    Arc, AtomicBool, AtomicU64, AtomicUsize, Builder, Condvar, Mutex, MutexGuard, Ordering,
};
use crate::syscalls;

/// A thread with nothing to do for this long ends; io-wq does the same.
const IDLE: Duration = Duration::from_secs(5);
/// A job needs the stack of one system call.
const STACK_BYTES: usize = 64 * 1024;

#[derive(Default)]
struct Waiting {
    answers: VecDeque<Completion>,
    /// Nobody will ask for more.
    closed: bool,
}

/// Completions on their way to the loop, and the bell that tells it.
pub(crate) struct Answers {
    waiting: Mutex<Waiting>,
    /// How many wait, to look without the lock.
    count: AtomicUsize,
    /// The loop sleeps or is about to: swapped to false by whoever rings.
    armed: AtomicBool,
    /// System calls made by the threads that answer here.
    calls: AtomicU64,
    eventfd: OwnedFd,
    /// [`syscalls::forks`] when it was made.
    made_after: u32,
}

impl Answers {
    pub(crate) fn new() -> io::Result<Arc<Answers>> {
        Ok(Arc::new(Answers {
            waiting: Mutex::default(),
            count: AtomicUsize::new(0),
            armed: AtomicBool::new(false),
            calls: AtomicU64::new(0),
            eventfd: syscalls::eventfd()?,
            made_after: syscalls::forks(),
        }))
    }

    /// Whether this is a child's copy, made by fork(2): no thread is left to answer, and one that
    /// there was may have held a lock.
    pub(crate) fn is_copy(&self) -> bool {
        syscalls::forks() != self.made_after
    }

    pub(crate) fn check_process(&self) -> io::Result<()> {
        if self.is_copy() {
            let text = "a ring stays with its process: after fork(2) the child makes its own";
            return Err(io::Error::other(text));
        }
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer given on the loop's own thread. False if nobody asks any more.
    pub(crate) fn push(&self, completion: Completion) -> bool {
        if self.is_copy() {
            return false;
        }
        let mut waiting = self.waiting();
        if waiting.closed {
            return false;
        }
        waiting.answers.push_back(completion);
        self.count.store(waiting.answers.len(), Ordering::SeqCst);
        true
    }

    /// An answer of another thread, or one that is given while the loop may sleep. Push, then swap; the loop arms by a swap, then looks: one of
    /// the two sees the other.
    pub(crate) fn push_and_ring(&self, completion: Completion) -> bool {
        let taken = self.push(completion);
        if self.armed.swap(false, Ordering::SeqCst) {
            self.calls.fetch_add(1, Ordering::Relaxed);
            syscalls::ring(self.eventfd.as_fd());
        }
        taken
    }

    /// System calls made by the threads that answer here.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn next(&self) -> Option<Completion> {
        if self.is_empty() || self.is_copy() {
            return None;
        }
        let mut waiting = self.waiting();
        let next = waiting.answers.pop_front();
        self.count.store(waiting.answers.len(), Ordering::SeqCst);
        next
    }

    /// From now on no answer is taken; those that wait are still handed out.
    pub(crate) fn close(&self) {
        if !self.is_copy() {
            self.waiting().closed = true;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// From now on the bell rings. False if there is an answer already.
    pub(crate) fn arm(&self) -> bool {
        self.armed.swap(true, Ordering::SeqCst);
        self.is_empty()
    }

    pub(crate) fn disarm(&self) {
        self.armed.swap(false, Ordering::SeqCst);
    }
}

impl AsFd for Answers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

/// An entry on its way to another thread.
struct Job(Entry);

// SAFETY: the pointers of an entry lead to memory that its owner does not touch until the
// completion (G1), so whichever thread works on it has it alone.
unsafe impl Send for Job {}

#[derive(Default)]
struct Queue {
    /// Bounded by the operations in flight.
    jobs: VecDeque<Job>,
    threads: u32,
    idle: u32,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    answers: Arc<Answers>,
    openat2: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut queue = self.queue();
        loop {
            if let Some(Job(entry)) = queue.jobs.pop_front() {
                drop(queue);
                self.answers.calls.fetch_add(1, Ordering::Relaxed);
                // SAFETY: the entry was pushed under the contract of `Kernel::push`.
                let result = unsafe { syscalls::perform(&entry.call, self.openat2) };
                let taken = self.answers.push_and_ring(Completion {
                    user_data: entry.user_data,
                    result,
                });
                if !taken && result >= 0 && matches!(entry.call, Call::Open { .. }) {
                    // Its ring is gone: an open that comes this late is closed here (G3).
                    drop(syscalls::adopt(result));
                }
                queue = self.queue();
                continue;
            }
            if queue.closed {
                break;
            }
            queue.idle += 1;
            let waited = self.work.wait_timeout(queue, IDLE);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = guard;
            queue.idle -= 1;
            if timeout.timed_out() && queue.jobs.is_empty() {
                break;
            }
        }
        queue.threads -= 1;
    }
}

/// Threads that start when there is work and end when there is none, at most `threads_max`.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    threads_max: u32,
}

impl Workers {
    pub(crate) fn new(answers: &Arc<Answers>, threads_max: u32, openat2: bool) -> Workers {
        let shared = Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            answers: Arc::clone(answers),
            openat2,
        };
        Workers {
            shared: Arc::new(shared),
            threads_max: threads_max.max(1),
        }
    }

    /// Hands `entry` to a waiting thread, or to a new one while there may be more.
    ///
    /// # Errors
    /// `EAGAIN` if not even one thread can be had, and another in a child of fork(2); the entry has
    /// not been taken.
    ///
    /// # Safety
    /// As [`Kernel::push`](crate::Kernel::push).
    pub(crate) unsafe fn dispatch(&self, entry: Entry) -> io::Result<()> {
        self.shared.answers.check_process()?;
        let mut queue = self.shared.queue();
        if queue.idle as usize <= queue.jobs.len() && queue.threads < self.threads_max {
            let shared = Arc::clone(&self.shared);
            let spawned = Builder::new()
                .name("ambidex-disk".to_owned())
                .stack_size(STACK_BYTES)
                .spawn(move || shared.work());
            match spawned {
                Ok(_) => queue.threads += 1,
                // With none at all nobody would ever do the job; with some it only waits.
                Err(error) if queue.threads == 0 => return Err(error),
                Err(_) => {}
            }
        }
        queue.jobs.push_back(Job(entry));
        drop(queue);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Answers a job that no thread has begun with `ECANCELED`. False if it is not here.
    pub(crate) fn cancel(&self, user_data: u64) -> bool {
        let mut queue = self.shared.queue();
        let jobs = queue.jobs.iter();
        let Some(at) = jobs.map(|job| job.0.user_data).position(|u| u == user_data) else {
            return false;
        };
        queue.jobs.remove(at);
        drop(queue);
        // Who cancels may do so from an outer loop, with this one asleep.
        let cancelled = Completion::cancelled(user_data);
        self.shared.answers.push_and_ring(cancelled)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Threads inside a system call end when it returns: they hold references of their own,
        // and the memory they work on is leaked by the ring.
        if self.shared.answers.is_copy() {
            return;
        }
        self.shared.answers.close();
        self.shared.queue().closed = true;
        self.shared.work.notify_all();
    }
}
