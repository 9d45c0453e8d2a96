//! One thread that waits, reads and writes: select, poll, epoll.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use ambidex::clock::{Clock, Real};
use nix::sys::select::{FD_SETSIZE, FdSet, select};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, poll};

use super::pairs::Pairs;
use super::{Options, Run};
use crate::baselines::EVENTS_MAX;
use crate::interrupt::Interrupt;
use crate::rusage::Rusage;

/// A way of waiting.
pub(super) trait Watch {
    /// Sleeps until something is ready, adds the indices of what is, and tells how many descriptors
    /// were looked at for that.
    ///
    /// # Errors
    /// `Interrupted`, and those of the system call.
    fn wait(&mut self, ready: &mut Vec<usize>) -> io::Result<usize>;
}

/// The runs of `watch`.
pub(super) fn runs(
    watch: &mut dyn Watch,
    pairs: &Pairs,
    options: &Options,
    interrupt: &Interrupt,
) -> io::Result<Vec<Run>> {
    let mut runs = Vec::new();
    let mut ready = Vec::with_capacity(pairs.len());
    while runs.len() <= options.runs && !interrupt.is_set() {
        runs.extend(one(watch, pairs, options, interrupt, &mut ready)?);
    }
    Ok(runs)
}

/// `None` if it was interrupted.
fn one(
    watch: &mut dyn Watch,
    pairs: &Pairs,
    options: &Options,
    interrupt: &Interrupt,
    ready: &mut Vec<usize>,
) -> io::Result<Option<Run>> {
    pairs.write_active(options.active)?;
    let (mut left, mut scanned) = (options.writes, 0);
    let mut run = Run::default();
    let (start, before) = (Real.now(), Rusage::now());
    let all = (options.active + options.writes) as u64;
    while run.events < all {
        if interrupt.is_set() {
            return Ok(None);
        }
        ready.clear();
        match watch.wait(ready) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            looked_at => scanned += looked_at? as u64,
        }
        run.waits += 1;
        for index in ready.iter().copied() {
            if !pairs.read(index)? {
                continue;
            }
            run.events += 1;
            if left > 0 {
                left -= 1;
                pairs.write(pairs.next(index))?;
            }
        }
    }
    run.took = Real.now() - start;
    run.cpu = Rusage::now().since(&before).cpu();
    run.scanned = Some(scanned);
    Ok(Some(run))
}

/// select(2), with a set that is kept and copied for each call.
pub(super) struct Select<'a> {
    pairs: &'a Pairs,
    set: FdSet<'a>,
    nfds: i32,
}

impl<'a> Select<'a> {
    pub(super) fn new(pairs: &'a Pairs) -> io::Result<Select<'a>> {
        let fds = || pairs.watched().iter().map(AsFd::as_fd);
        let highest = fds().map(|fd| fd.as_raw_fd()).max().unwrap_or_default();
        if highest as usize >= FD_SETSIZE {
            return Err(io::Error::other(format!(
                "select takes descriptors below {FD_SETSIZE} only, and one is {highest}"
            )));
        }
        let mut set = FdSet::new();
        fds().for_each(|fd| set.insert(fd));
        Ok(Select {
            pairs,
            set,
            nfds: highest + 1,
        })
    }
}

impl Watch for Select<'_> {
    fn wait(&mut self, ready: &mut Vec<usize>) -> io::Result<usize> {
        let mut set = self.set;
        select(self.nfds, &mut set, None, None, None)?;
        let found = (0..self.pairs.len()).filter(|index| set.contains(self.pairs.fd(*index)));
        ready.extend(found);
        Ok(self.nfds as usize)
    }
}

/// poll(2), with a list that is kept.
pub(super) struct Poll<'a> {
    fds: Vec<PollFd<'a>>,
}

impl<'a> Poll<'a> {
    pub(super) fn new(pairs: &'a Pairs) -> Poll<'a> {
        let fds = pairs.watched().iter();
        Poll {
            fds: fds.map(|fd| PollFd::new(fd, PollFlags::IN)).collect(),
        }
    }
}

impl Watch for Poll<'_> {
    fn wait(&mut self, ready: &mut Vec<usize>) -> io::Result<usize> {
        poll(&mut self.fds, None)?;
        let found = self.fds.iter().enumerate();
        let found = found.filter(|(_, fd)| !fd.revents().is_empty());
        ready.extend(found.map(|(index, _)| index));
        Ok(self.fds.len())
    }
}

/// epoll(7).
pub(super) struct Epoll {
    set: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Epoll {
    pub(super) fn new(pairs: &Pairs, is_edge: bool) -> io::Result<Epoll> {
        let set = epoll::create(CreateFlags::CLOEXEC)?;
        let mut flags = EventFlags::IN;
        flags.set(EventFlags::ET, is_edge);
        for (index, fd) in pairs.watched().iter().enumerate() {
            epoll::add(&set, fd, EventData::new_u64(index as u64), flags)?;
        }
        Ok(Epoll {
            set,
            events: Vec::with_capacity(EVENTS_MAX),
        })
    }
}

impl Watch for Epoll {
    fn wait(&mut self, ready: &mut Vec<usize>) -> io::Result<usize> {
        self.events.clear();
        epoll::wait(&self.set, spare_capacity(&mut self.events), None)?;
        let found = self.events.iter();
        ready.extend(found.map(|event| event.data.u64() as usize));
        Ok(self.events.len())
    }
}
