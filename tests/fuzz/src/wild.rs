//! A kernel that also answers what nobody asked: [`FakeDisk`], with lies in between.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use ambidex::disk::kernel::{Call, Completion, Entry};
use ambidex::disk::{Capabilities, Kernel, Metadata};
use ambidex_tests::sim::disk::FakeDisk;

/// What the kernel holds, and the lies that it has yet to tell.
#[derive(Default)]
pub struct Knowledge {
    held: HashSet<u64>,
    past: Vec<u64>,
    lies: VecDeque<Completion>,
    told: u64,
    /// Held, and may fail without leaving anything behind.
    harmless: HashSet<u64>,
    errnos: VecDeque<i32>,
}

impl Knowledge {
    /// The next time that completions are looked for, there is one more. Of what is in flight only
    /// the truth can be told: a kernel that lies there has given memory back that it still uses.
    pub fn lie(&mut self, user_data: u64, result: i32) {
        self.lies.push_back(Completion { user_data, result });
    }

    /// The next answer but that of an open or a close, whose failure would lose a descriptor, is this.
    pub fn fail(&mut self, errno: i32) {
        self.errnos.push_back(errno);
    }

    /// The `user_data` of something that has been answered, or of what never was.
    #[must_use]
    pub fn past(&self, at: u8) -> u64 {
        let past = self.past.get(usize::from(at) % self.past.len().max(1));
        past.copied().unwrap_or(u64::from(at))
    }

    /// How many lies were told.
    #[must_use]
    pub fn told(&self) -> u64 {
        self.told
    }

    fn next_lie(&mut self) -> Option<Completion> {
        let Knowledge { held, lies, .. } = self;
        lies.retain(|lie| !held.contains(&lie.user_data));
        let lie = lies.pop_front()?;
        self.told += 1;
        Some(lie)
    }
}

/// See the [module](self).
pub struct Wild {
    /// Keeps the contract.
    pub disk: FakeDisk,
    /// Shared with the test.
    pub knowledge: Rc<RefCell<Knowledge>>,
}

impl Kernel for Wild {
    fn capabilities(&self) -> &Capabilities {
        self.disk.capabilities()
    }

    fn room(&self) -> usize {
        self.disk.room()
    }

    unsafe fn push(&mut self, entry: &Entry) {
        let knowledge = &mut *self.knowledge.borrow_mut();
        knowledge.held.insert(entry.user_data);
        if !matches!(entry.call, Call::Open { .. } | Call::Close { .. }) {
            knowledge.harmless.insert(entry.user_data);
        }
        // SAFETY: the promises of our caller are those that the disk asks for.
        unsafe { self.disk.push(entry) };
    }

    fn queued(&self) -> usize {
        self.disk.queued()
    }

    fn enter(&mut self) -> io::Result<()> {
        self.disk.enter()
    }

    fn deferred(&mut self) -> bool {
        self.disk.deferred()
    }

    fn next(&mut self) -> Option<Completion> {
        let knowledge = &mut *self.knowledge.borrow_mut();
        if let Some(lie) = knowledge.next_lie() {
            return Some(lie);
        }
        let mut truth = self.disk.next()?;
        if knowledge.harmless.remove(&truth.user_data)
            && let Some(errno) = knowledge.errnos.pop_front()
        {
            truth.result = -errno;
        }
        knowledge.held.remove(&truth.user_data);
        knowledge.past.push(truth.user_data);
        Some(truth)
    }

    fn doorbell(&self) -> BorrowedFd<'_> {
        self.disk.doorbell()
    }

    fn cancel(&mut self, user_data: u64) {
        self.disk.cancel(user_data);
    }

    fn arm(&mut self) -> bool {
        self.disk.arm()
    }

    fn disarm(&mut self) {
        self.disk.disarm();
    }

    fn read_now(
        &self,
        fd: BorrowedFd<'_>,
        into: &mut [MaybeUninit<u8>],
        offset: u64,
        flags: i32,
    ) -> io::Result<usize> {
        self.disk.read_now(fd, into, offset, flags)
    }

    unsafe fn perform_now(&self, call: &Call) -> i32 {
        // SAFETY: the promises of our caller are those that the disk asks for.
        unsafe { self.disk.perform_now(call) }
    }

    fn duplicate(&self, fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        self.disk.duplicate(fd)
    }

    fn status_cached(&self, fd: BorrowedFd<'_>) -> io::Result<Metadata> {
        self.disk.status_cached(fd)
    }
}
