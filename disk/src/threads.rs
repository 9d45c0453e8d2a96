//! The fallback: two bounded sets of threads behind the ring's face.
//!
//! As on io_uring, what is cached is answered on the submitting thread, so a hot read never pays
//! for a thread; only what would wait goes to one.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::capabilities::{Backend, Capabilities};
use crate::kernel::{Call, Completion, Entry, Kernel, OpenHow};
use crate::metadata::Metadata;
use crate::options::Options;
use crate::syscalls;
use crate::workers::{Answers, Workers};

/// As io_uring clamps them (`IORING_MAX_ENTRIES`): room for all of them is made at once.
const SQ_ENTRIES_MAX: u32 = 32_768;
const CQ_ENTRIES_MAX: u32 = 2 * SQ_ENTRIES_MAX;

/// See the [module](self).
pub(crate) struct Threads {
    answers: Arc<Answers>,
    local: Workers,
    /// Apart, so that hung mounts cannot take every thread.
    remote: Workers,
    capabilities: Capabilities,
    queued: VecDeque<Entry>,
    /// System calls made on the submitting thread.
    attempts: Cell<u64>,
}

impl Threads {
    pub(crate) fn new(options: &Options, downgrades: Vec<String>) -> io::Result<Threads> {
        let openat2 = syscalls::openat2_works();
        let answers = Answers::new()?;
        let sq_entries = options.sq_entries.clamp(1, SQ_ENTRIES_MAX) as usize;
        Ok(Threads {
            local: Workers::new(&answers, options.workers_max, openat2),
            remote: Workers::new(&answers, options.workers_max, openat2),
            answers,
            capabilities: Capabilities {
                backend: Backend::Threads,
                flags: Vec::new(),
                sq_entries,
                cq_entries: options.cq_entries.clamp(1, CQ_ENTRIES_MAX) as usize,
                operations: Vec::new(),
                table_entries: 0,
                links: false,
                openat2,
                downgrades,
            },
            queued: VecDeque::with_capacity(sq_entries),
            attempts: Cell::new(0),
        })
    }

    /// Answers on this thread what cannot wait. `None`: it goes to a worker.
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
                self.attempts.set(self.attempts.get() + 1);
                // SAFETY: pushed under the contract of `Kernel::push`.
                let result = unsafe { syscalls::perform(&call, self.capabilities.openat2) };
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
                self.attempts.set(self.attempts.get() + 1);
                // SAFETY: as above; `how` lives on this stack for the length of the call.
                let result = unsafe { syscalls::perform(&call, self.capabilities.openat2) };
                // EAGAIN: not cached. EINVAL: Linux before 5.12 does not know RESOLVE_CACHED.
                (result != -libc::EAGAIN && result != -libc::EINVAL).then_some(result)
            }
            Call::Close { .. } => {
                self.attempts.set(self.attempts.get() + 1);
                // SAFETY: pushed under the contract of `Kernel::push`.
                Some(unsafe { syscalls::perform(&entry.call, true) })
            }
            // What changes a file may wait for its journal, or for room.
            Call::Status { .. }
            | Call::Write { .. }
            | Call::Vectored { .. }
            | Call::Change { .. }
            | Call::Name { .. }
            | Call::Attribute { .. }
            | Call::Entries { .. }
            | Call::Watch { .. }
            | Call::Transfer { .. } => None,
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
        self.answers.check_process()?;
        while let Some(entry) = self.queued.pop_front() {
            if let Some(result) = self.attempt(&entry) {
                self.answers.push(Completion {
                    user_data: entry.user_data,
                    result,
                });
                continue;
            }
            let workers = if entry.punt {
                &self.remote
            } else {
                &self.local
            };
            // SAFETY: pushed under the contract of `Kernel::push`.
            if let Err(error) = unsafe { workers.dispatch(entry) } {
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
        self.answers.next()
    }

    fn calls(&self) -> (u64, u64) {
        (self.attempts.get(), self.answers.calls())
    }

    fn doorbell(&self) -> BorrowedFd<'_> {
        self.answers.as_fd()
    }

    fn cancel(&mut self, user_data: u64) {
        let queued = self.queued.iter().position(|e| e.user_data == user_data);
        if let Some(at) = queued {
            self.queued.remove(at);
            self.answers.push_and_ring(Completion::cancelled(user_data));
        } else if !self.local.cancel(user_data) {
            self.remote.cancel(user_data);
        }
    }

    fn arm(&mut self) -> bool {
        self.answers.arm()
    }

    fn disarm(&mut self) {
        self.answers.disarm();
    }

    fn stop(&mut self) {
        self.answers.close();
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

    unsafe fn perform_now(&self, call: &Call) -> i32 {
        // SAFETY: the caller's promise is passed on.
        unsafe { syscalls::perform(call, self.capabilities.openat2) }
    }

    fn duplicate(&self, fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        syscalls::duplicate(fd)
    }

    fn status_cached(&self, fd: BorrowedFd<'_>) -> io::Result<Metadata> {
        syscalls::status_cached(fd)
    }
}
