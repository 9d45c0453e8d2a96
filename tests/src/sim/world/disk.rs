//! A disk of a simulated world: the fake kernel, whose calls go into the trace, and that tells of what is over.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use ambidex::disk::kernel::{Call, Completion, Entry};
use ambidex::disk::{Capabilities, Kernel, Metadata};
use fastrand::Rng;

use super::kernel::word;
use super::time::Time;
use crate::sim::disk::FakeDisk;
use crate::sim::rng::{chance, choose};

/// Completions of operations that are over: told again, in percent, and how many so far.
#[derive(Debug, Default)]
pub struct Stale {
    /// How likely before each completion.
    pub percent: Cell<u32>,
    /// How many were told.
    pub told: Cell<u64>,
}

/// The kernel; see the [module](self).
pub struct SimDisk {
    fake: FakeDisk,
    time: Rc<Time>,
    stale: Rc<Stale>,
    rng: Rng,
    /// The `user_data` of what is over.
    past: Vec<u64>,
}

impl SimDisk {
    /// A disk in `time`.
    #[must_use]
    pub fn new(fake: FakeDisk, time: &Rc<Time>, stale: &Rc<Stale>, seed: u64) -> SimDisk {
        SimDisk {
            fake,
            time: Rc::clone(time),
            stale: Rc::clone(stale),
            rng: Rng::with_seed(seed),
            past: Vec::new(),
        }
    }

    fn tell_again(&mut self) -> Option<Completion> {
        if !chance(&mut self.rng, self.stale.percent.get()) {
            return None;
        }
        let user_data = choose(&mut self.rng, &self.past)?;
        self.stale.told.set(self.stale.told.get() + 1);
        let results = [0, 1, -libc::EIO, -libc::ECANCELED];
        let result = results[self.rng.usize(..results.len())];
        Some(Completion { user_data, result })
    }
}

/// What a call is, without what differs from run to run: descriptors and addresses.
fn words(call: &Call) -> [u64; 3] {
    match *call {
        Call::Read {
            length,
            offset,
            flags,
            ..
        } => [1, u64::from(length) << 32 | flags as u64, offset],
        Call::Open { .. } => [2, 0, 0],
        Call::Status { .. } => [3, 0, 0],
        Call::Close { .. } => [4, 0, 0],
        Call::Write { length, offset, .. } => [5, length.into(), offset],
        _ => [6, 0, 0],
    }
}

impl Kernel for SimDisk {
    fn capabilities(&self) -> &Capabilities {
        self.fake.capabilities()
    }

    fn room(&self) -> usize {
        self.fake.room()
    }

    unsafe fn push(&mut self, entry: &Entry) {
        let [kind, length, offset] = words(&entry.call);
        let words = [kind, length, offset, entry.punt.into(), entry.user_data];
        self.time.note("push", &words);
        // SAFETY: the caller's promise is passed on.
        unsafe { self.fake.push(entry) };
    }

    fn queued(&self) -> usize {
        self.fake.queued()
    }

    fn enter(&mut self) -> io::Result<()> {
        let result = self.fake.enter();
        let code = result.as_ref().err().and_then(io::Error::raw_os_error);
        let code = code.unwrap_or(0).cast_unsigned();
        self.time.note("enter", &[code.into()]);
        result
    }

    fn deferred(&mut self) -> bool {
        self.fake.deferred()
    }

    fn next(&mut self) -> Option<Completion> {
        let again = self.tell_again();
        let completion = again.or_else(|| self.fake.next())?;
        let Completion { user_data, result } = completion;
        // The number of an opened descriptor differs from run to run.
        let word = if result > 0 { 1 } else { result };
        let words = [user_data, word.cast_unsigned().into()];
        self.time.note("complete", &words);
        // What is tried again is not over.
        if again.is_none() && ![-libc::EINTR, -libc::EAGAIN].contains(&result) {
            self.past.push(user_data);
        }
        Some(completion)
    }

    fn doorbell(&self) -> BorrowedFd<'_> {
        self.fake.doorbell()
    }

    fn cancel(&mut self, user_data: u64) {
        self.time.note("cancel", &[user_data]);
        self.fake.cancel(user_data);
    }

    fn arm(&mut self) -> bool {
        let idle = self.fake.arm();
        self.time.note("arm", &[idle.into()]);
        idle
    }

    fn disarm(&mut self) {
        self.fake.disarm();
    }

    fn read_now(
        &self,
        fd: BorrowedFd<'_>,
        into: &mut [MaybeUninit<u8>],
        offset: u64,
        flags: i32,
    ) -> io::Result<usize> {
        let result = self.fake.read_now(fd, into, offset, flags);
        self.time.note("read_now", &[offset, word(&result)]);
        result
    }

    unsafe fn perform_now(&self, call: &Call) -> i32 {
        // SAFETY: the caller's promise is passed on.
        let result = unsafe { self.fake.perform_now(call) };
        self.time.note("perform_now", &words(call));
        result
    }

    fn duplicate(&self, fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        self.fake.duplicate(fd)
    }

    fn status_cached(&self, fd: BorrowedFd<'_>) -> io::Result<Metadata> {
        self.fake.status_cached(fd)
    }

    fn mount_table(&self) -> io::Result<String> {
        self.fake.mount_table()
    }
}
