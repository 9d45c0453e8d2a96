//! The fallback: a bounded pool of threads behind the ring's face.
//!
//! As on io_uring, what is cached is answered on the submitting thread, so a hot read never pays
//! for a thread; only what would wait goes to the pool.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::capabilities::{Backend, Capabilities};
use crate::kernel::{Call, Completion, Entry, Kernel, OpenHow};
use crate::metadata::Metadata;
use crate::options::Options;
use crate::syscalls;

/// A thread with nothing to do for this long ends; io-wq does the same.
const IDLE: Duration = Duration::from_secs(5);
/// A job needs the stack of one system call.
const STACK_BYTES: usize = 64 * 1024;

/// An entry on its way to another thread.
struct Job(Entry);

// SAFETY: the pointers of an entry lead to memory that its owner does not touch until the
// completion (G1), so whichever thread works on it has it alone.
unsafe impl Send for Job {}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: u32,
    idle: u32,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    done: Mutex<VecDeque<Completion>>,
    /// Whether the loop sleeps or is about to: swapped to false by whoever rings.
    armed: AtomicBool,
    eventfd: OwnedFd,
    openat2: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn done(&self) -> MutexGuard<'_, VecDeque<Completion>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, completion: Completion) {
        self.done().push_back(completion);
        // Push, then swap; the loop arms by a swap, then looks at the queue. One sees the other.
        if self.armed.swap(false, Ordering::SeqCst) {
            syscalls::ring(self.eventfd.as_fd());
        }
    }

    fn work(&self) {
        let mut queue = self.queue();
        loop {
            if let Some(Job(entry)) = queue.jobs.pop_front() {
                drop(queue);
                // SAFETY: the entry was pushed under the contract of `Kernel::push`.
                let result = unsafe { syscalls::perform(&entry.call, self.openat2) };
                self.finish(Completion {
                    user_data: entry.user_data,
                    result,
                });
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

/// See the [module](self).
pub(crate) struct Threads {
    shared: Arc<Shared>,
    capabilities: Capabilities,
    queued: VecDeque<Entry>,
    threads_max: u32,
}

impl Threads {
    pub(crate) fn new(options: &Options, downgrades: Vec<String>) -> io::Result<Threads> {
        let openat2 = syscalls::openat2_works();
        let shared = Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            done: Mutex::default(),
            armed: AtomicBool::new(false),
            eventfd: syscalls::eventfd()?,
            openat2,
        };
        let sq_entries = options.sq_entries.max(1) as usize;
        Ok(Threads {
            shared: Arc::new(shared),
            capabilities: Capabilities {
                backend: Backend::Threads,
                flags: Vec::new(),
                sq_entries,
                cq_entries: options.cq_entries.max(1) as usize,
                operations: Vec::new(),
                openat2,
                downgrades,
            },
            queued: VecDeque::with_capacity(sq_entries),
            threads_max: options.workers_max.max(1),
        })
    }

    /// Hands a job to a waiting thread, or to a new one while there may be more.
    fn dispatch(&self, entry: Entry) -> io::Result<()> {
        let mut queue = self.shared.queue();
        let waiting = queue.jobs.len();
        if (queue.idle as usize) <= waiting && queue.threads < self.threads_max {
            let shared = Arc::clone(&self.shared);
            let spawned = thread::Builder::new()
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

    /// Answers on this thread what cannot wait. `None`: it goes to the pool.
    fn attempt(&self, entry: &Entry) -> Option<i32> {
        if entry.punt {
            return None;
        }
        match entry.call {
            Call::Read { flags, .. } => {
                let mut call = entry.call;
                if let Call::Read { flags, .. } = &mut call {
                    *flags |= libc::RWF_NOWAIT;
                }
                // SAFETY: pushed under the contract of `Kernel::push`.
                let result = unsafe { syscalls::perform(&call, self.shared.openat2) };
                let asked_not_to_wait = flags & libc::RWF_NOWAIT != 0;
                // Linux 5.9 and 5.10 may answer 0 before the end, so 0 is no answer either.
                (asked_not_to_wait || result > 0).then_some(result)
            }
            Call::Open { dir, path, how } => {
                // SAFETY: pushed under the contract of `Kernel::push`.
                let asked = unsafe { *how };
                // Without a bound to one mount the end of the path may be anywhere; without
                // O_NONBLOCK a FIFO waits for its writer.
                let nonblocking = asked.flags & (libc::O_NONBLOCK | libc::O_PATH) as u64 != 0;
                if asked.resolve & libc::RESOLVE_NO_XDEV == 0 || !nonblocking {
                    return None;
                }
                let how = OpenHow {
                    resolve: asked.resolve | libc::RESOLVE_CACHED,
                    ..asked
                };
                let how = &raw const how;
                let call = Call::Open { dir, path, how };
                // SAFETY: as above; `how` lives on this stack for the length of the call.
                let result = unsafe { syscalls::perform(&call, self.shared.openat2) };
                // EAGAIN: not cached. EINVAL: Linux before 5.12 does not know RESOLVE_CACHED.
                (result != -libc::EAGAIN && result != -libc::EINVAL).then_some(result)
            }
            // SAFETY: pushed under the contract of `Kernel::push`.
            Call::Close { .. } => Some(unsafe { syscalls::perform(&entry.call, true) }),
            Call::Status { .. } => None,
        }
    }
}

impl Kernel for Threads {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn room(&self) -> usize {
        self.capabilities.sq_entries - self.queued.len()
    }

    unsafe fn push(&mut self, entry: &Entry) {
        assert!(self.room() > 0, "the caller checked that there is room");
        self.queued.push_back(*entry);
    }

    fn queued(&self) -> usize {
        self.queued.len()
    }

    fn enter(&mut self) -> io::Result<()> {
        while let Some(entry) = self.queued.pop_front() {
            if let Some(result) = self.attempt(&entry) {
                self.shared.done().push_back(Completion {
                    user_data: entry.user_data,
                    result,
                });
            } else if let Err(error) = self.dispatch(entry) {
                self.queued.push_front(entry);
                return Err(error);
            }
        }
        Ok(())
    }

    fn deferred(&mut self) -> bool {
        false
    }

    fn next(&mut self) -> Option<Completion> {
        self.shared.done().pop_front()
    }

    fn doorbell(&self) -> BorrowedFd<'_> {
        self.shared.eventfd.as_fd()
    }

    fn arm(&mut self) -> bool {
        self.shared.armed.swap(true, Ordering::SeqCst);
        self.shared.done().is_empty()
    }

    fn disarm(&mut self) {
        self.shared.armed.swap(false, Ordering::SeqCst);
    }

    fn read_now(
        &self,
        fd: BorrowedFd<'_>,
        into: &mut [MaybeUninit<u8>],
        offset: u64,
        flags: i32,
    ) -> io::Result<usize> {
        syscalls::read_now(fd, into, offset, flags)
    }

    fn status_cached(&self, fd: BorrowedFd<'_>) -> io::Result<Metadata> {
        syscalls::status_cached(fd)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Threads inside a system call end when it returns: they hold their own reference, and
        // the memory they work on is leaked by the ring.
        self.shared.queue().closed = true;
        self.shared.work.notify_all();
    }
}
