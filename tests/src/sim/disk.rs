//! A fake kernel for files: memory instead of disks, faults on demand, and a strict eye on the contract.
//!
//! [`FakeDisk`] goes to `Ring::with_kernel` or `Builder::disk_kernel`; the test keeps the [`Control`]. The kernel moves
//! only when it is called or told to, so a schedule is as repeatable as its seed.
//!
//! It fills each buffer that it is lent with poison and looks, before it answers, whether all of it is still there: a
//! buffer that was touched, freed or lent twice meanwhile shows (G1). Descriptors are real ones, duplicates of one end of
//! a pipe, so that leaks can be counted in /proc.
//!
//! Names, links, attributes and errnos are as Linux has them; `tests/suites/conformance.rs` holds it to that.
#![allow(unsafe_code)]

mod attributes;
mod cancel;
mod chain;
mod control;
mod counted;
mod names;
mod opened;
mod pace;
mod perform;
mod tree;

use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

use ambidex::disk::kernel::{Call, Completion, Entry};
use ambidex::disk::{Backend, Capabilities, Kernel, Metadata};
use fastrand::Rng;
use rustix::event::EventfdFlags;

use super::rng::{chance, choose};
use super::spare;
pub use counted::CountedBuf;
use opened::Opened;
pub use tree::MODIFIED;
use tree::{Node, Tree};

/// What a lent buffer holds until its read is answered.
const POISON: u8 = 0xA5;
/// Where the numbers of [`Disk`], and one, are mounted.
const MOUNTS: &str =
    "1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /memory rw - tmpfs b rw\n3 1 0:3 / /far rw - far c rw\n";
/// Consecutive failed enters after which a caller counts as spinning.
const FAILURES_MAX: u32 = 10_000;

/// How likely each fault is, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Enter answers `EINTR`, `EAGAIN`, `EBUSY` or `ENOMEM`.
    pub enter: u32,
    /// Enter takes only some of the entries.
    pub short_submit: u32,
    /// An entry is not answered by the enter that takes it.
    pub delay: u32,
    /// A completion is brought out only by an enter.
    pub defer: u32,
    /// A read moves fewer bytes than it could.
    pub short_read: u32,
    /// A write moves fewer bytes than it could.
    pub short_write: u32,
    /// The answer is `EINTR` or `EAGAIN`.
    pub again: u32,
    /// The answer is `EIO`.
    pub io_error: u32,
    /// A cancel comes too late.
    pub late_cancel: u32,
}

impl Faults {
    /// All kinds, each up to `percent` likely.
    pub fn random(rng: &mut Rng, percent: u32) -> Faults {
        let mut some = || rng.u32(..=percent);
        Faults {
            enter: some(),
            short_submit: some(),
            delay: some(),
            defer: some(),
            short_read: some(),
            short_write: some(),
            again: some(),
            io_error: some() / 4,
            late_cancel: some(),
        }
    }
}

/// Which place files pretend to lie in; see `policy::Place`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// A local disk.
    Local,
    /// A memory filesystem.
    Memory,
    /// A mount that nobody knows.
    Remote,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Calls of enter.
    pub enters: u64,
    /// Entries taken.
    pub taken: u64,
    /// Opens and reads that succeeded.
    pub opens: u64,
    /// See [`Seen::opens`].
    pub reads: u64,
    /// Most entries that were in flight at once.
    pub in_flight_max: usize,
    /// Calls of disarm: waits that have ended.
    pub waits: u64,
    /// Cancels of what it had, and those among them that were in time.
    pub cancels: [u64; 2],
}

struct World {
    rng: Rng,
    faults: Faults,
    disk: Disk,
    tree: Tree,
    open: HashMap<RawFd, Rc<Opened>>,
    /// Descriptors handed out, less those closed.
    held: usize,
    /// What descriptors are duplicates of.
    prototype: OnceCell<OwnedFd>,
    bell: Rc<OwnedFd>,
    /// Devices finish what they work on when they are told to, not whenever the loop sleeps.
    paced: bool,
    /// Files that are not in the page cache.
    cold: Vec<Node>,
    queued: VecDeque<Entry>,
    /// Taken and not answered.
    working: Vec<Entry>,
    /// What was lent to be written out, by `user_data`.
    lent: HashMap<u64, Vec<u8>>,
    deferred: VecDeque<Completion>,
    posted: VecDeque<Completion>,
    /// Linked entries whose next was taken by another enter.
    parted: VecDeque<u64>,
    /// Errnos of the next enters; 0 is success.
    enter_script: VecDeque<i32>,
    /// Results of the next answers, instead of the true ones.
    answer_script: VecDeque<i32>,
    hang: bool,
    sticky_taskrun: bool,
    stale_flag: bool,
    failures: u32,
    seen: Seen,
}

/// The fake kernel; see the [module](self).
pub struct FakeDisk {
    world: Rc<RefCell<World>>,
    capabilities: Capabilities,
    eventfd: Rc<OwnedFd>,
}

/// The test's hold on a [`FakeDisk`]. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    world: Rc<RefCell<World>>,
}

/// A fake kernel with queues of these sizes and no faults, and its control.
///
/// # Panics
/// If the process is out of descriptors.
#[must_use]
pub fn fake(sq_entries: usize, cq_entries: usize, seed: u64) -> (FakeDisk, Control) {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let eventfd = Rc::new(rustix::event::eventfd(0, flags).expect("an eventfd"));
    let world = World {
        rng: Rng::with_seed(seed),
        faults: Faults::default(),
        disk: Disk::Local,
        tree: Tree::new(),
        open: HashMap::new(),
        held: 0,
        prototype: OnceCell::new(),
        bell: Rc::clone(&eventfd),
        paced: false,
        cold: Vec::new(),
        queued: VecDeque::new(),
        working: Vec::new(),
        lent: HashMap::new(),
        deferred: VecDeque::new(),
        posted: VecDeque::new(),
        parted: VecDeque::new(),
        enter_script: VecDeque::new(),
        answer_script: VecDeque::new(),
        hang: false,
        sticky_taskrun: false,
        stale_flag: false,
        failures: 0,
        seen: Seen::default(),
    };
    let world = Rc::new(RefCell::new(world));
    let kernel = FakeDisk {
        world: Rc::clone(&world),
        capabilities: Capabilities {
            backend: Backend::Uring,
            flags: vec!["FAKE"],
            sq_entries,
            cq_entries,
            operations: Vec::new(),
            table_entries: 0,
            links: false,
            openat2: true,
            downgrades: Vec::new(),
        },
        eventfd,
    };
    (kernel, Control { world })
}

impl FakeDisk {
    /// The same, with entries that can be linked.
    #[must_use]
    pub fn linked(mut self) -> FakeDisk {
        self.capabilities.links = true;
        self
    }
}

impl World {
    /// The end of a pipe whose other end is closed.
    fn prototype(&self) -> &OwnedFd {
        self.prototype.get_or_init(|| {
            let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
            pipe.expect("a pipe").1
        })
    }

    /// A descriptor for an open file.
    fn descriptor(&self) -> io::Result<OwnedFd> {
        if self.paced {
            return spare::take();
        }
        self.prototype().try_clone()
    }

    fn in_flight(&self) -> usize {
        self.queued.len() + self.working.len() + self.deferred.len() + self.posted.len()
    }

    fn fail_enter(&mut self) -> Option<io::Error> {
        let errno = match self.enter_script.pop_front() {
            Some(errno) => errno,
            None if chance(&mut self.rng, self.faults.enter) => {
                let errnos = [libc::EINTR, libc::EAGAIN, libc::EBUSY, libc::ENOMEM];
                choose(&mut self.rng, &errnos).unwrap_or_default()
            }
            None => 0,
        };
        self.failures = if errno == 0 { 0 } else { self.failures + 1 };
        assert!(
            self.failures < FAILURES_MAX,
            "the loop spins on a failing enter"
        );
        (errno != 0).then(|| io::Error::from_raw_os_error(errno))
    }

    fn take(&mut self) {
        let mut count = self.queued.len();
        if count > 0 && chance(&mut self.rng, self.faults.short_submit) {
            count = self.rng.usize(..count);
        }
        let taken: Vec<Entry> = self.queued.drain(..count).collect();
        for entry in &taken {
            self.seen.taken += 1;
            self.mark(entry);
        }
        for (entry, linked) in self.chains(taken) {
            if linked {
                continue;
            }
            self.working.push(entry);
            if self.paced {
                self.finish_at_once();
            } else if !self.hang && !chance(&mut self.rng, self.faults.delay) {
                self.finish_one();
            }
        }
    }

    fn finish_one(&mut self) -> bool {
        if self.working.is_empty() {
            return false;
        }
        let at = self.rng.usize(..self.working.len());
        self.finish(at);
        true
    }

    fn finish(&mut self, at: usize) {
        let entry = self.working.swap_remove(at);
        let result = self.answer(&entry);
        self.post(&entry, result);
    }

    fn post(&mut self, entry: &Entry, result: i32) {
        let completion = Completion {
            user_data: entry.user_data,
            result,
        };
        if self.sticky_taskrun || chance(&mut self.rng, self.faults.defer) {
            self.deferred.push_back(completion);
        } else {
            self.posted.push_back(completion);
        }
    }

    fn answer(&mut self, entry: &Entry) -> i32 {
        self.check(entry);
        if let Some(result) = self.answer_script.pop_front() {
            return result;
        }
        if self.is_uncached(&entry.call) {
            return -libc::EAGAIN;
        }
        let closing = matches!(entry.call, Call::Close { .. });
        if !closing && chance(&mut self.rng, self.faults.again) {
            return if self.rng.bool() {
                -libc::EINTR
            } else {
                -libc::EAGAIN
            };
        }
        if !closing && chance(&mut self.rng, self.faults.io_error) {
            return -libc::EIO;
        }
        self.perform(&entry.call)
    }

    fn status(&self, fd: RawFd) -> libc::statx {
        // SAFETY: all-zero is a valid statx.
        let mut status: libc::statx = unsafe { MaybeUninit::zeroed().assume_init() };
        status.stx_mask = libc::STATX_BASIC_STATS | libc::STATX_MNT_ID | libc::STATX_DIOALIGN;
        if let Some(opened) = self.open.get(&fd) {
            opened.describe(&mut status);
        }
        status.stx_mnt_id = self.disk as u64 + 1;
        status
    }
}

impl Kernel for FakeDisk {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn room(&self) -> usize {
        self.capabilities.sq_entries - self.world.borrow().queued.len()
    }

    unsafe fn push(&mut self, entry: &Entry) {
        assert!(self.room() > 0, "pushed without room");
        let world = &mut *self.world.borrow_mut();
        let mut known = world.queued.iter().chain(&world.working);
        assert!(
            known.all(|other| other.user_data != entry.user_data),
            "in flight twice"
        );
        let mut answered = world.deferred.iter().chain(&world.posted);
        assert!(
            answered.all(|other| other.user_data != entry.user_data),
            "reused before reaped"
        );
        world.queued.push_back(*entry);
        world.seen.in_flight_max = world.seen.in_flight_max.max(world.in_flight());
        let room = self.capabilities.cq_entries;
        assert!(
            world.in_flight() <= room,
            "the completion queue can overflow"
        );
    }

    fn queued(&self) -> usize {
        self.world.borrow().queued.len()
    }

    fn enter(&mut self) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        world.seen.enters += 1;
        if let Some(error) = world.fail_enter() {
            return Err(error);
        }
        world.take();
        world.posted.append(&mut world.deferred);
        Ok(())
    }

    fn deferred(&mut self) -> bool {
        let world = self.world.borrow();
        world.stale_flag || !world.deferred.is_empty()
    }

    fn next(&mut self) -> Option<Completion> {
        self.world.borrow_mut().posted.pop_front()
    }

    fn doorbell(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }

    fn next_parted(&mut self) -> Option<u64> {
        self.world.borrow_mut().parted.pop_front()
    }

    fn cancel(&mut self, user_data: u64) {
        self.world.borrow_mut().cancel(user_data);
    }

    fn arm(&mut self) -> bool {
        let world = &mut *self.world.borrow_mut();
        world.finish_early();
        if !world.posted.is_empty() || !world.deferred.is_empty() {
            return false;
        }
        // The device finishes something while the loop sleeps.
        if !world.hang && !world.paced && world.finish_one() {
            world.ring();
        }
        true
    }

    fn disarm(&mut self) {
        self.world.borrow_mut().seen.waits += 1;
    }

    fn read_now(
        &self,
        fd: BorrowedFd<'_>,
        into: &mut [MaybeUninit<u8>],
        offset: u64,
        _flags: i32,
    ) -> io::Result<usize> {
        let world = &mut *self.world.borrow_mut();
        if let Some(result) = world.answer_script.pop_front() {
            return usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
        }
        let bytes = world.bytes_at(fd.as_raw_fd(), offset, into.len());
        let bytes = bytes.map_err(io::Error::from_raw_os_error)?;
        for (to, from) in into.iter_mut().zip(&bytes) {
            to.write(*from);
        }
        world.seen.reads += 1;
        Ok(bytes.len())
    }

    unsafe fn perform_now(&self, call: &Call) -> i32 {
        let world = &mut *self.world.borrow_mut();
        // A script is about operations; this one has nobody who waits for it.
        let closing = matches!(call, Call::Close { .. });
        if let Some(result) = (!closing)
            .then(|| world.answer_script.pop_front())
            .flatten()
        {
            return result;
        }
        world.perform(call)
    }

    fn duplicate(&self, fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        let world = &mut *self.world.borrow_mut();
        let opened = Rc::clone(&world.open[&fd.as_raw_fd()]);
        let copy = world.descriptor()?;
        world.held += 1;
        world.open.insert(copy.as_raw_fd(), opened);
        Ok(copy)
    }

    fn status_cached(&self, fd: BorrowedFd<'_>) -> io::Result<Metadata> {
        Ok(Metadata::from_statx(
            self.world.borrow().status(fd.as_raw_fd()),
        ))
    }

    fn mount_table(&self) -> io::Result<String> {
        Ok(MOUNTS.to_owned())
    }
}
