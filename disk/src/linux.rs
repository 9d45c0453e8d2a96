//! The kernel that this process runs on: the set-up ladder, and io_uring behind the seam.
#![allow(unsafe_code)]

mod links;
mod lower;
mod registered;

use std::collections::VecDeque;
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use io_uring::types::{CancelBuilder, Timespec};
use io_uring::{IoUring, Probe, opcode};

use crate::capabilities::{Backend, Capabilities};
use crate::kernel::{Call, Completion, Entry, Kernel, Link};
use crate::linux::links::Links;
use crate::linux::lower::Supported;
use crate::linux::registered::Registered;
use crate::metadata::Metadata;
use crate::options::{Choice, Options};
use crate::syscalls;
use crate::threads::Threads;
use crate::workers::{Answers, Workers};

/// io_uring_enter(2): run deferred completions and flush an overflow.
const ENTER_GETEVENTS: u32 = 1;

/// Entries of one enter while the kernel answers none at once: see `Uring::submit_ahead`.
const AHEAD_ENTRIES: usize = 4;

/// A rung of the set-up ladder.
#[derive(Clone, Copy)]
struct Rung {
    since: &'static str,
    flags: &'static [&'static str],
    apply: fn(&mut io_uring::Builder),
}

/// Best first. `EINVAL` (a flag this kernel does not know) leads one rung down.
const LADDER: [Rung; 3] = [
    Rung {
        since: "6.1",
        flags: &[
            "SINGLE_ISSUER",
            "DEFER_TASKRUN",
            "TASKRUN_FLAG",
            "SUBMIT_ALL",
        ],
        apply: |builder| {
            builder.setup_single_issuer().setup_defer_taskrun();
            builder.setup_taskrun_flag().setup_submit_all();
        },
    },
    Rung {
        since: "5.19",
        flags: &["COOP_TASKRUN", "TASKRUN_FLAG", "SUBMIT_ALL"],
        apply: |builder| {
            builder.setup_coop_taskrun().setup_taskrun_flag();
            builder.setup_submit_all();
        },
    },
    Rung {
        since: "5.11",
        flags: &[],
        apply: |_| {},
    },
];

/// Smallest completion queue to try when memory may not be locked.
const CQ_ENTRIES_MIN: u32 = 16;

/// Sets up what `options` ask for.
pub(crate) fn set_up(options: &Options) -> io::Result<Box<dyn Kernel>> {
    let mut downgrades = Vec::new();
    if options.choice == Choice::Threads {
        downgrades.push("threads were asked for".to_owned());
    } else {
        match Uring::set_up(options, &mut downgrades) {
            Ok(uring) => return Ok(Box::new(uring)),
            Err(error) if options.choice == Choice::Uring => return Err(explain(&error)),
            Err(error) => downgrades.push(explain(&error).to_string()),
        }
    }
    Ok(Box::new(Threads::new(options, downgrades)?))
}

/// Says what to do about an errno of io_uring_setup(2).
fn explain(error: &io::Error) -> io::Error {
    let advice = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "denied by seccomp (containers) or the sysctl kernel.io_uring_disabled"
        }
        Some(libc::ENOSYS) => "this kernel has none (Linux 5.11 or later is needed)",
        Some(libc::ENOMEM) => "RLIMIT_MEMLOCK is too small (ulimit -l)",
        Some(libc::EMFILE | libc::ENFILE) => "out of file descriptors (ulimit -n)",
        _ => "set-up failed",
    };
    io::Error::new(error.kind(), format!("io_uring: {advice}: {error}"))
}

struct Uring {
    /// Its memory is not in a child of fork(2) (`dontfork`): see [`Uring::is_copy`].
    ring: ManuallyDrop<IoUring>,
    /// For what must not be tried on this thread. Not `IOSQE_ASYNC`: an io-wq worker that hangs
    /// keeps the submitting thread from ending, and on FUSE files opened for direct I/O the ring
    /// repeats a short read at the wrong offset (Linux 6.18; docs/decisions/004).
    remote: Workers,
    /// For what this kernel's io_uring has no opcode for. Apart, so that hung mounts cannot take
    /// every thread.
    local: Workers,
    supported: Supported,
    registered: Registered,
    links: Links,
    /// Calls of io_uring_enter(2), and of io_uring_register(2) to call something back.
    calls: u64,
    punted: VecDeque<Entry>,
    answers: Arc<Answers>,
    capabilities: Capabilities,
}

impl Uring {
    fn set_up(options: &Options, downgrades: &mut Vec<String>) -> io::Result<Uring> {
        let (ring, rung) = build(options, downgrades)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let supported = Supported::new(&probe, &options.masked);
        // Without it each cached read would pay for a thread; the fallback tries on this one first.
        if !supported.has(opcode::Read::CODE) {
            let text = "the operation READ is missing";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let operations = supported.list();
        // The system call: worker threads make it, and seccomp does not see the ring's.
        let openat2 = syscalls::openat2_works();
        if !ring.params().is_feature_nodrop() || !ring.params().is_feature_native_workers() {
            let text = "this kernel's io_uring is too old (Linux 5.12 or later is needed)";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let answers = Answers::new()?;
        let eventfd = answers.as_fd().as_raw_fd();
        ring.submitter().register_eventfd(eventfd)?;
        // Uncached opens on a slow disk each hold a worker; the default of 8 would soon be none.
        let mut workers = [options.workers_max, 0];
        if let Err(error) = ring.submitter().register_iowq_max_workers(&mut workers) {
            downgrades.push(format!("worker limit not set (Linux 5.15): {error}"));
        }
        let table_entries = registered::table(&ring, options.table_entries, downgrades);
        let capabilities = Capabilities {
            backend: Backend::Uring,
            flags: rung.flags.to_vec(),
            sq_entries: ring.params().sq_entries() as usize,
            cq_entries: ring.params().cq_entries() as usize,
            operations,
            table_entries,
            links: supported.links(),
            openat2,
            downgrades: std::mem::take(downgrades),
        };
        let mut uring = Uring {
            ring: ManuallyDrop::new(ring),
            remote: Workers::new(&answers, options.workers_max, openat2),
            local: Workers::new(&answers, options.workers_max, openat2),
            supported,
            registered: Registered::default(),
            links: Links::default(),
            calls: 0,
            punted: VecDeque::new(),
            answers,
            capabilities,
        };
        uring.disarm();
        // A sandbox may allow the ring and deny its use.
        if let Err(error) = uring.enter_with(0, ENTER_GETEVENTS) {
            let errno = error.raw_os_error();
            if let Some(libc::EPERM | libc::EACCES | libc::ENOSYS) = errno {
                return Err(error);
            }
        }
        Ok(uring)
    }
}

/// Climbs down the ladder of flags, and of sizes where memory may not be locked.
fn build(options: &Options, downgrades: &mut Vec<String>) -> io::Result<(IoUring, Rung)> {
    let mut cq_entries = options.cq_entries.max(options.sq_entries).max(1);
    let mut rungs = LADDER.iter();
    let mut rung = rungs.next().expect("the ladder has rungs");
    loop {
        let mut builder = IoUring::builder();
        (rung.apply)(&mut builder);
        builder.setup_clamp().setup_cqsize(cq_entries).dontfork();
        match builder.build(options.sq_entries.clamp(1, cq_entries)) {
            Ok(ring) => return Ok((ring, *rung)),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                let Some(next) = rungs.next() else {
                    return Err(error);
                };
                downgrades.push(format!("flags of Linux {} refused: {error}", rung.since));
                rung = next;
            }
            Err(error)
                if error.raw_os_error() == Some(libc::ENOMEM) && cq_entries > CQ_ENTRIES_MIN =>
            {
                cq_entries /= 2;
                downgrades.push(format!("{error}: trying {cq_entries} completion entries"));
            }
            Err(error) => return Err(error),
        }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        // In a child, unmapping could meet what the child has mapped there.
        if !self.is_copy() {
            // SAFETY: dropped once, here.
            unsafe { ManuallyDrop::drop(&mut self.ring) };
        }
    }
}

impl Uring {
    /// Whether this is a child's copy, whose queues must not be touched.
    fn is_copy(&self) -> bool {
        self.answers.is_copy()
    }

    fn sq_length(&self) -> usize {
        if self.is_copy() {
            return 0;
        }
        // SAFETY: no other view of the submission queue exists: all are made and dropped within
        // one call of this single-threaded type.
        unsafe { self.ring.submission_shared() }.len()
    }

    fn enter_ring(&mut self) -> io::Result<()> {
        self.answers.check_process()?;
        let to_submit = self.sq_length();
        if to_submit == 0 && !self.deferred() {
            return Ok(());
        }
        self.submit_ahead(to_submit);
        let entered = self.enter_with(self.sq_length(), ENTER_GETEVENTS);
        self.links.take(to_submit - self.sq_length());
        if entered.is_err() && to_submit > 0 && self.deferred() {
            // A failed submission skips the deferred completions, and those may be what it lacks.
            let _ = self.enter_with(0, ENTER_GETEVENTS);
        }
        entered
    }

    /// Completions that wait to be reaped.
    fn answered(&self) -> usize {
        // SAFETY: as in `sq_length`.
        unsafe { self.ring.completion_shared() }.len()
    }

    /// Submits all but the last few, a few at a time, for as long as the kernel answers none of them
    /// at once. It gives a device all that one call submits when that call ends, so the device would
    /// idle meanwhile; entries that are answered from memory are cheaper in one call.
    fn submit_ahead(&mut self, to_submit: usize) {
        if self.links.any() {
            return;
        }
        let mut left = to_submit;
        while left > AHEAD_ENTRIES {
            let answered = self.answered();
            // A failure shows again in the call that follows.
            let entered = self.enter_with(AHEAD_ENTRIES, 0);
            let taken = left - self.sq_length();
            left -= taken;
            if entered.is_err() || taken == 0 || self.answered() > answered {
                return;
            }
        }
    }

    fn enter_with(&mut self, to_submit: usize, flags: u32) -> io::Result<()> {
        self.calls += 1;
        let submitter = self.ring.submitter();
        // SAFETY: no argument struct is passed; the entries were pushed under `push`'s contract.
        let entered =
            unsafe { submitter.enter::<libc::sigset_t>(to_submit as u32, 0, flags, None) };
        entered.map(drop)
    }
}

impl Kernel for Uring {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn room(&self) -> usize {
        self.capabilities.sq_entries - self.queued()
    }

    unsafe fn push(&mut self, entry: &Entry) {
        let lowered = (!entry.punt && !entry.given_up && !self.is_copy())
            .then(|| self.supported.lower(entry, &self.registered))
            .flatten();
        let Some(lowered) = lowered else {
            assert!(self.room() > 0, "the caller checked that there is room");
            self.punted.push_back(*entry);
            return;
        };
        // SAFETY: the caller keeps what the entry points to until its completion.
        let pushed = unsafe { self.ring.submission().push(&lowered) };
        pushed.expect("the caller checked that there is room");
        let linked = entry.link != Link::None;
        self.links.push(entry.user_data, linked);
    }

    fn queued(&self) -> usize {
        self.sq_length() + self.punted.len()
    }

    fn enter(&mut self) -> io::Result<()> {
        // The ring first: a shortage of threads is no concern of local files.
        let entered = self.enter_ring();
        while let Some(entry) = self.punted.pop_front() {
            let workers = if entry.punt {
                &self.remote
            } else {
                &self.local
            };
            // SAFETY: pushed under the contract of `push`.
            if let Err(error) = unsafe { workers.dispatch(entry) } {
                self.punted.push_front(entry);
                return entered.and(Err(error));
            }
        }
        entered
    }

    fn deferred(&mut self) -> bool {
        if self.is_copy() {
            return false;
        }
        let queue = self.ring.submission();
        queue.taskrun() || queue.cq_overflow()
    }

    fn next(&mut self) -> Option<Completion> {
        if self.is_copy() {
            return None;
        }
        let completion = self.ring.completion().next().map(|entry| Completion {
            user_data: entry.user_data(),
            result: entry.result(),
        });
        completion.or_else(|| self.answers.next())
    }

    fn calls(&self) -> (u64, u64) {
        (self.calls, self.answers.calls())
    }

    fn doorbell(&self) -> BorrowedFd<'_> {
        self.answers.as_fd()
    }

    fn next_parted(&mut self) -> Option<u64> {
        self.links.next_parted()
    }

    fn set_table(&mut self, index: u32, file: Option<BorrowedFd<'_>>) -> io::Result<()> {
        self.answers.check_process()?;
        if index as usize >= self.capabilities.table_entries {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let fd = file.map_or(-1, |file| file.as_raw_fd());
        let submitter = self.ring.submitter();
        submitter.register_files_update(index, &[fd]).map(drop)
    }

    fn register_memory(&mut self, start: *const u8, length: usize) -> io::Result<()> {
        self.answers.check_process()?;
        let codes = [opcode::ReadFixed::CODE, opcode::WriteFixed::CODE];
        if !codes.into_iter().all(|code| self.supported.has(code)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.registered.add(&self.ring, start, length)
    }

    fn cancel(&mut self, user_data: u64) {
        if self.is_copy() {
            return;
        }
        let punted = self.punted.iter().position(|e| e.user_data == user_data);
        if let Some(at) = punted {
            self.punted.remove(at);
            self.answers.push_and_ring(Completion::cancelled(user_data));
        } else if !self.local.cancel(user_data) && !self.remote.cancel(user_data) {
            // Linux 6.0; before, nothing is called back. It needs no entry of the completion queue,
            // and with no time to wait it does not: what runs on ends in its own time.
            let builder = CancelBuilder::user_data(user_data);
            self.calls += 1;
            let submitter = self.ring.submitter();
            let _ = submitter.register_sync_cancel(Some(Timespec::new()), builder);
        }
    }

    fn arm(&mut self) -> bool {
        if self.is_copy() {
            return true;
        }
        self.ring.completion().enable_eventfd();
        // The kernel adds work, flags it, then reads the switch; we switch, then read the flag.
        // With a full fence on both sides one of the two sees the other.
        fence(Ordering::SeqCst);
        // What was deferred before this enter is run by it; what comes later rings. So afterwards
        // the flag says nothing any more.
        if self.deferred() && self.enter_with(0, ENTER_GETEVENTS).is_err() {
            return false;
        }
        self.answers.arm() && self.ring.completion().is_empty()
    }

    fn disarm(&mut self) {
        if self.is_copy() {
            return;
        }
        self.ring.completion().disable_eventfd();
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
