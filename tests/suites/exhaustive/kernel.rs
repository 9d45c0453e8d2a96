//! A kernel in which each thing that a kernel may do or not do is a choice.
//!
//! It does the work by means of [`FakeDisk`], and decides when, in which order, and with which fault. Faults are counted:
//! a walk has so many, at whichever places.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::slice;

use ambidex::disk::kernel::{Call, Completion, Entry};
use ambidex::disk::{Capabilities, Kernel, Metadata};
use ambidex_tests::sim::disk::FakeDisk;
use rustix::pipe::{PipeFlags, pipe_with};

use super::oracle::Oracle;

/// The only file.
pub(crate) const PATH: &str = "a file with a long name";
/// What a lent buffer holds until its read is answered.
const POISON: u8 = 0xA5;
/// What a failing enter answers.
const ENTER_ERRNOS: [i32; 4] = [libc::EINTR, libc::EAGAIN, libc::EBUSY, libc::ENOMEM];

/// How an answer goes wrong.
#[derive(Clone, Copy)]
enum Fault {
    None,
    Short,
    Errno(i32),
}

/// All answers; the last is one to reads only.
const ANSWERS: [Fault; 5] = [
    Fault::None,
    Fault::Errno(libc::EINTR),
    Fault::Errno(libc::EAGAIN),
    Fault::Errno(libc::EIO),
    Fault::Short,
];

/// The kernel's state, and the test's hold on it.
pub(crate) struct Desk {
    worker: FakeDisk,
    oracle: RefCell<Option<Rc<Oracle>>>,
    inside: RefCell<Inside>,
}

#[derive(Default)]
struct Inside {
    faults: usize,
    queued: VecDeque<Entry>,
    working: Vec<Entry>,
    deferred: VecDeque<Completion>,
    posted: VecDeque<Completion>,
    /// Both ends of a pipe; each open answers with a duplicate of the second.
    pipe: Option<(OwnedFd, OwnedFd)>,
    opened: Vec<RawFd>,
    /// The `user_data` of reads that are not answered.
    reads: Vec<u64>,
}

impl Inside {
    fn held(&self) -> usize {
        self.queued.len() + self.working.len() + self.deferred.len() + self.posted.len()
    }
}

/// The buffer that `call` fills.
fn target(call: &Call) -> Option<(*mut u8, usize)> {
    match *call {
        Call::Read { buffer, length, .. } => Some((buffer, length as usize)),
        _ => None,
    }
}

impl Desk {
    pub(crate) fn new(worker: FakeDisk) -> Rc<Desk> {
        Rc::new(Desk {
            worker,
            oracle: RefCell::default(),
            inside: RefCell::default(),
        })
    }

    /// A walk begins: until [`Desk::end`], `oracle` decides.
    pub(crate) fn begin(&self, oracle: &Rc<Oracle>, faults: usize, opens: bool) {
        *self.oracle.borrow_mut() = Some(Rc::clone(oracle));
        let inside = &mut *self.inside.borrow_mut();
        inside.faults = faults;
        let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
        inside.pipe = opens.then(|| pipe_with(flags).expect("a pipe"));
    }

    /// Nothing may be left: no entry, no answer, no descriptor.
    pub(crate) fn end(&self) {
        *self.oracle.borrow_mut() = None;
        let inside = &mut *self.inside.borrow_mut();
        assert_eq!(inside.held(), 0, "the kernel still holds something");
        if let Some((reader, writer)) = inside.pipe.take() {
            drop(writer);
            let end = rustix::io::read(&reader, &mut [0]);
            assert_eq!(end, Ok(0), "a descriptor was left open");
            inside.opened.clear();
        }
    }

    /// Entries that the kernel works on.
    pub(crate) fn working(&self) -> usize {
        self.inside.borrow().working.len()
    }

    /// Whether there is something to reap, at once or after an enter.
    pub(crate) fn has_answers(&self) -> bool {
        let inside = self.inside.borrow();
        !inside.posted.is_empty() || !inside.deferred.is_empty()
    }

    /// Reads whose memory is lent.
    pub(crate) fn lent(&self) -> usize {
        self.inside.borrow().reads.len()
    }

    fn choose(&self, branches: usize) -> usize {
        let oracle = self.oracle.borrow();
        oracle.as_ref().map_or(0, |oracle| oracle.choose(branches))
    }

    /// One of `branches`, all but the first of which are faults.
    fn choose_fault(&self, branches: usize) -> usize {
        if self.inside.borrow().faults == 0 {
            return 0;
        }
        let branch = self.choose(branches);
        self.inside.borrow_mut().faults -= usize::from(branch > 0);
        branch
    }

    /// The entry at `at` is answered, rightly or not, now or after an enter.
    pub(crate) fn finish(&self, at: usize) {
        let entry = self.inside.borrow_mut().working.swap_remove(at);
        let faults: &[Fault] = match entry.call {
            Call::Close { .. } => &ANSWERS[..1],
            Call::Read { .. } => &ANSWERS,
            _ => &ANSWERS[..4],
        };
        self.check(&entry);
        let result = match faults[self.choose_fault(faults.len())] {
            Fault::None => self.perform(&entry.call),
            Fault::Short => self.perform(&entry.call) - 1,
            Fault::Errno(errno) => -errno,
        };
        self.post(entry.user_data, result);
    }

    fn post(&self, user_data: u64, result: i32) {
        let deferred = self.choose_fault(2) == 1;
        let inside = &mut *self.inside.borrow_mut();
        let completion = Completion { user_data, result };
        if deferred {
            inside.deferred.push_back(completion);
        } else {
            inside.posted.push_back(completion);
        }
    }

    /// Looks whether what was lent is as it was.
    fn check(&self, entry: &Entry) {
        if let Some((start, length)) = target(&entry.call) {
            // SAFETY: the pusher promises so many bytes until the completion, and touches none.
            let lent = unsafe { slice::from_raw_parts(start, length) };
            let intact = lent.iter().all(|byte| *byte == POISON);
            assert!(intact, "a lent buffer was touched");
        }
        if let Call::Open { path, .. } = entry.call {
            // SAFETY: the pusher keeps the path until the completion.
            let lent = unsafe { CStr::from_ptr(path) };
            assert_eq!(lent.to_bytes(), PATH.as_bytes(), "a lent path was freed");
        }
    }

    /// What was lent for all that it works on is as it was.
    pub(crate) fn check_lent(&self) {
        let working = self.inside.borrow().working.clone();
        working.iter().for_each(|entry| self.check(entry));
    }

    /// What `call` does, in full.
    fn perform(&self, call: &Call) -> i32 {
        let inside = &mut *self.inside.borrow_mut();
        match (call, &inside.pipe) {
            (Call::Open { .. }, Some((_, end))) => {
                let fd = end.try_clone().expect("a descriptor").into_raw_fd();
                inside.opened.push(fd);
                fd
            }
            (Call::Close { fd }, _) if inside.opened.contains(fd) => {
                inside.opened.retain(|known| known != fd);
                // SAFETY: a close owns its descriptor, and this one came from `into_raw_fd`.
                drop(unsafe { OwnedFd::from_raw_fd(*fd) });
                0
            }
            // SAFETY: the pusher keeps what the call points to until the completion.
            _ => unsafe { self.worker.perform_now(call) },
        }
    }

    /// An enter fails, or takes none, some or all.
    fn enter(&self) -> io::Result<()> {
        let among = 1 + ENTER_ERRNOS.len() + self.inside.borrow().queued.len();
        let fault = self.choose_fault(among);
        if (1..=ENTER_ERRNOS.len()).contains(&fault) {
            return Err(io::Error::from_raw_os_error(ENTER_ERRNOS[fault - 1]));
        }
        let inside = &mut *self.inside.borrow_mut();
        let count = match fault.checked_sub(1 + ENTER_ERRNOS.len()) {
            Some(few) => few,
            None => inside.queued.len(),
        };
        inside.working.extend(inside.queued.drain(..count));
        inside.posted.append(&mut inside.deferred);
        Ok(())
    }

    /// As io_uring: what it works on may be given up, in two ways, or is not. As a pool of threads: what nobody has
    /// begun is given up, or is not.
    fn cancel(&self, user_data: u64) {
        let is_it = |entry: &Entry| entry.user_data == user_data;
        let (queued, working) = {
            let inside = self.inside.borrow();
            let queued = inside.queued.iter().position(is_it);
            (queued, inside.working.iter().position(is_it))
        };
        let branches = 1 + usize::from(queued.is_some()) + 2 * usize::from(working.is_some());
        let branch = self.choose(branches);
        if branch == 0 {
            return;
        }
        let inside = &mut *self.inside.borrow_mut();
        let entry = match (queued, working) {
            (Some(at), _) => inside.queued.remove(at).expect("it is there"),
            (_, Some(at)) => inside.working.swap_remove(at),
            (None, None) => return,
        };
        self.check(&entry);
        let result = [-libc::ECANCELED, -libc::EINTR][branch - 1];
        inside.posted.push_back(Completion { user_data, result });
    }
}

/// See the [module](self).
pub(crate) struct ChosenKernel(pub(crate) Rc<Desk>);

impl Kernel for ChosenKernel {
    fn capabilities(&self) -> &Capabilities {
        self.0.worker.capabilities()
    }

    fn room(&self) -> usize {
        self.capabilities().sq_entries - self.queued()
    }

    unsafe fn push(&mut self, entry: &Entry) {
        assert!(self.room() > 0, "pushed without room");
        let inside = &mut *self.0.inside.borrow_mut();
        assert!(
            inside.held() < self.0.worker.capabilities().cq_entries,
            "the completion queue can overflow"
        );
        if let Some((start, length)) = target(&entry.call) {
            // SAFETY: the pusher promises so many writable bytes until the completion.
            unsafe { start.write_bytes(POISON, length) };
            assert!(!inside.reads.contains(&entry.user_data), "in flight twice");
            inside.reads.push(entry.user_data);
        }
        inside.queued.push_back(*entry);
    }

    fn queued(&self) -> usize {
        self.0.inside.borrow().queued.len()
    }

    fn enter(&mut self) -> io::Result<()> {
        self.0.enter()
    }

    fn deferred(&mut self) -> bool {
        !self.0.inside.borrow().deferred.is_empty()
    }

    fn next(&mut self) -> Option<Completion> {
        let inside = &mut *self.0.inside.borrow_mut();
        let completion = inside.posted.pop_front()?;
        inside.reads.retain(|read| *read != completion.user_data);
        Some(completion)
    }

    fn doorbell(&self) -> BorrowedFd<'_> {
        self.0.worker.doorbell()
    }

    fn cancel(&mut self, user_data: u64) {
        self.0.cancel(user_data);
    }

    fn arm(&mut self) -> bool {
        !self.0.has_answers()
    }

    fn disarm(&mut self) {}

    fn read_now(
        &self,
        fd: BorrowedFd<'_>,
        into: &mut [MaybeUninit<u8>],
        offset: u64,
        flags: i32,
    ) -> io::Result<usize> {
        self.0.worker.read_now(fd, into, offset, flags)
    }

    unsafe fn perform_now(&self, call: &Call) -> i32 {
        self.0.perform(call)
    }

    fn duplicate(&self, fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        self.0.worker.duplicate(fd)
    }

    fn status_cached(&self, fd: BorrowedFd<'_>) -> io::Result<Metadata> {
        self.0.worker.status_cached(fd)
    }
}
