//! A network and its epoll sets in memory: the kernel of sockets for a simulated machine.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::time::Duration;

use fastrand::Rng;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::epoll::{ERR, HUP, IN, OUT, RDHUP, Report, Set};
use super::faults::{Network, Tally};
use super::socket::{End, Listening, Object};
use super::time::{Event, Time};
use crate::sim::rng::chance;
use crate::sim::spare;

/// What there is in a world beyond its network.
pub trait Beyond {
    /// The moment that was planned for `who` has come.
    fn happen(&self, who: u32);

    /// The loop is about to wait: a turn is over.
    fn turn(&self) {}
}

pub(super) struct State {
    pub(super) rng: Rng,
    pub(super) network: Network,
    pub(super) ends: Vec<End>,
    pub(super) listeners: Vec<Listening>,
    pub(super) objects: Vec<Object>,
    /// Objects by descriptor.
    by_fd: Vec<Option<usize>>,
    pub(super) sets: Vec<Set>,
    /// Descriptors that are not of this network may have become readable.
    pub(super) abroad: bool,
    pub(super) tally: Tally,
    open: usize,
    port: u16,
}

/// The kernel. Descriptors are real ones, but lead nowhere.
pub struct SimNet {
    pub(super) time: Rc<Time>,
    pub(super) state: RefCell<State>,
    beyond: RefCell<Option<Weak<dyn Beyond>>>,
    /// Turns after which the loop counts as spinning.
    turns_max: Cell<u64>,
    wrong: RefCell<Option<String>>,
}

/// A moment that each wait takes, so that no loop stands still in time.
const MOMENT: Duration = Duration::from_micros(2);

pub(super) fn failure<T>(errno: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(errno))
}

impl State {
    /// Rolls for a fault.
    pub(super) fn strikes(&mut self, percent: u32) -> bool {
        let struck = percent > 0 && chance(&mut self.rng, percent);
        self.tally.faults += u64::from(struck);
        struck
    }

    pub(super) fn object(&self, fd: BorrowedFd<'_>) -> Option<usize> {
        self.by_fd.get(fd.as_raw_fd() as usize).copied().flatten()
    }

    /// A descriptor for `object`.
    pub(super) fn open(&mut self, object: Object) -> io::Result<(OwnedFd, usize)> {
        let fd = spare::take()?;
        let at = self.objects.len();
        self.objects.push(object);
        self.name(fd.as_raw_fd() as usize, at);
        if matches!(object, Object::Stream(_)) {
            self.open += 1;
            self.tally.open_max = self.tally.open_max.max(self.open);
        }
        Ok((fd, at))
    }

    pub(super) fn name(&mut self, fd: usize, object: usize) {
        if self.by_fd.len() <= fd {
            self.by_fd.resize(fd + 1, None);
        }
        self.by_fd[fd] = Some(object);
    }

    /// What the object is ready for.
    pub(super) fn mask(&mut self, object: usize) -> u32 {
        match self.objects[object] {
            Object::Gone | Object::Epoll(_) => 0,
            // Looked at before.
            Object::Foreign => IN,
            Object::Listener(listener) => {
                let waits = !self.listeners[listener].queue.is_empty();
                if waits { IN } else { 0 }
            }
            Object::Stream(end) => {
                let peer = &self.ends[self.ends[end].peer];
                let roomy = peer.is_roomy() || peer.is_closed();
                let end = &mut self.ends[end];
                // As tcp_poll does: who asked hears of room.
                end.wants_room |= !roomy;
                end.mask(roomy)
            }
        }
    }

    /// Tells all sets that something of `key` has happened to `object`.
    pub(super) fn wake(&mut self, object: usize, key: u32) {
        for set in &mut self.sets {
            set.wake(object, key);
        }
    }

    /// Looks whether descriptors that are not of this network have become readable.
    fn look_abroad(&mut self, set: usize) {
        self.abroad = false;
        let set = &mut self.sets[set];
        let watched = |(_, fd)| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let foreign = set.foreign.iter().map(|(object, fd)| (object, fd.as_fd()));
        let mut polled: Vec<PollFd<'_>> = foreign.map(watched).collect();
        if poll(&mut polled, Some(&Timespec::default())) == Ok(0) {
            return;
        }
        let mut rung = Vec::new();
        for (object, fd) in &set.foreign {
            let mut count = [0; 8];
            if rustix::io::read(fd, &mut count).is_ok() {
                rung.push(*object);
            }
        }
        for object in rung {
            set.wake(object, IN);
        }
    }

    /// What a wait on `set` tells, with what a bad kernel may add.
    fn report(&mut self, at: usize, max: usize) -> Vec<Report> {
        let mut set = std::mem::take(&mut self.sets[at]);
        let mut reports = set.report(max, |object| self.mask(object));
        if reports.len() > 1 && self.strikes(self.network.hold_back) {
            self.rng.shuffle(&mut reports);
            for report in reports.drain(1..) {
                set.take_back(report.token);
            }
        }
        if reports.len() < max && self.strikes(self.network.spurious) {
            let live = set.live();
            reports.extend(self.rng.choice(live));
        }
        if reports.len() < max && !set.past.is_empty() && self.strikes(self.network.stale) {
            self.tally.stale += 1;
            let flags = [IN, OUT, IN | RDHUP, IN | OUT | HUP | RDHUP, ERR | HUP];
            reports.push(Report {
                flags: flags[self.rng.usize(..flags.len())],
                token: set.past[self.rng.usize(..set.past.len())],
            });
        }
        self.sets[at] = set;
        reports
    }

    pub(super) fn close(&mut self, fd: usize) -> Option<Object> {
        let at = self.by_fd.get_mut(fd)?.take()?;
        for set in &mut self.sets {
            set.remove(at);
        }
        let was = std::mem::replace(&mut self.objects[at], Object::Gone);
        self.open -= usize::from(matches!(was, Object::Stream(_)));
        Some(was)
    }

    pub(super) fn new_port(&mut self) -> u16 {
        self.port += 1;
        self.port
    }
}

impl SimNet {
    /// An empty network in `time`, whose faults come from `seed`.
    ///
    #[must_use]
    pub fn new(time: &Rc<Time>, network: Network, seed: u64) -> Rc<SimNet> {
        let state = State {
            rng: Rng::with_seed(seed),
            network,
            ends: Vec::new(),
            listeners: Vec::new(),
            objects: Vec::new(),
            by_fd: Vec::new(),
            sets: Vec::new(),
            abroad: true,
            tally: Tally::default(),
            open: 0,
            port: 40_000,
        };
        Rc::new(SimNet {
            time: Rc::clone(time),
            state: RefCell::new(state),
            beyond: RefCell::new(None),
            turns_max: Cell::new(u64::MAX),
            wrong: RefCell::default(),
        })
    }

    /// Who is told of [`Event::Beyond`].
    pub fn extend(&self, beyond: Weak<dyn Beyond>) {
        *self.beyond.borrow_mut() = Some(beyond);
    }

    /// Other faults from now on.
    pub fn faults(&self, network: Network) {
        self.state.borrow_mut().network = network;
    }

    /// A loop that waits more often than that hangs.
    pub fn bound_turns(&self, turns: u64) {
        self.turns_max.set(turns);
    }

    /// Something is wrong: the run ends, with the next wait at the latest.
    pub fn fail(&self, what: impl Into<String>) {
        let mut wrong = self.wrong.borrow_mut();
        wrong.get_or_insert_with(|| format!("at {:?}: {}", self.time.elapsed(), what.into()));
    }

    /// The first thing that was found wrong.
    #[must_use]
    pub fn wrong(&self) -> Option<String> {
        self.wrong.borrow().clone()
    }

    /// What has happened so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.state.borrow().tally
    }

    /// Connections and listeners that the engine has open.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        let state = self.state.borrow();
        let open = |object: &&Object| matches!(object, Object::Stream(_) | Object::Listener(_));
        state.objects.iter().filter(open).count()
    }

    /// The address that `port` of this machine has.
    #[must_use]
    pub fn address(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// epoll_wait(2), except that time passes only if nothing else can happen.
    pub(super) fn wait(
        &self,
        set: usize,
        max: usize,
        timeout: Option<Duration>,
    ) -> io::Result<Vec<Report>> {
        let end = timeout.map(|timeout| self.time.elapsed().saturating_add(timeout));
        self.begin_wait()?;
        loop {
            self.happen();
            let reports = {
                let state = &mut *self.state.borrow_mut();
                if state.sets[set].is_empty() && state.abroad {
                    state.look_abroad(set);
                }
                state.report(set, max)
            };
            if self.wrong.borrow().is_some() {
                return failure(libc::ENOTRECOVERABLE);
            }
            let left = end.map(|end| end.saturating_sub(self.time.elapsed()));
            if !reports.is_empty() || left == Some(Duration::ZERO) {
                return Ok(reports);
            }
            if !self.time.leap(left) {
                self.fail("deadlock: the loop sleeps for ever, and nothing is to come");
            }
        }
    }

    fn begin_wait(&self) -> io::Result<()> {
        let waits = {
            let state = &mut *self.state.borrow_mut();
            state.tally.waits += 1;
            state.abroad = true;
            state.tally.waits
        };
        self.time.pass(MOMENT);
        if waits > self.turns_max.get() {
            self.fail(format!("livelock: {waits} waits"));
        }
        if let Some(beyond) = self.beyond() {
            beyond.turn();
        }
        if self.wrong.borrow().is_some() {
            return failure(libc::ENOTRECOVERABLE);
        }
        let state = &mut *self.state.borrow_mut();
        if state.strikes(state.network.interrupt) {
            return failure(libc::EINTR);
        }
        Ok(())
    }

    fn beyond(&self) -> Option<Rc<dyn Beyond>> {
        self.beyond.borrow().as_ref().and_then(Weak::upgrade)
    }

    /// Everything that is due happens.
    fn happen(&self) {
        while let Some(event) = self.time.due() {
            match event {
                Event::Arrive(end) => self.arrive(end),
                Event::Connect(end) => self.answer_connect(end),
                Event::Beyond(who) => {
                    self.state.borrow_mut().abroad = true;
                    if let Some(beyond) = self.beyond() {
                        beyond.happen(who);
                    }
                }
            }
        }
    }
}
