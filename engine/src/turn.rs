//! One turn of the loop. The file to read first; the only one that sleeps.
//!
//! ```text
//!  1 run ready tasks        operations only queue SQEs: no system call
//!  2 submit                 at most one io_uring_enter, for all of them
//!  3 reap                   what was cached is finished here, without touching epoll
//!    ... again while completions made tasks ready, a few rounds at most
//!  4 pause                  0 if anything is runnable; else arm, look again, next deadline
//!  5 wait                   one epoll_pwait2, for sockets, disk and other threads
//!  6 dispatch               readiness wakes tasks; timers fire; remote work is adopted
//! ```
//!
//! Steps 2 to 6 know no tasks: they are [`Poll`]'s, and all of the token face.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use ambidex_disk::EpollChange;

use crate::engine::Engine;
use crate::poll::Poll;

/// Tasks polled before the kernel is asked again.
const TASKS_PER_ROUND: usize = 256;
/// Completions reaped before sockets are looked at.
const COMPLETIONS_PER_ROUND: usize = 256;
/// Rounds of steps 1 to 3 before sockets are looked at: a hot file's open, read and close take
/// three, so a request needs one wait.
const ROUNDS_MAX: usize = 4;
/// So many interest changes are worth an enter of their own (docs/decisions/006).
const CHANGES_PER_ENTER_MIN: usize = 8;
/// How soon to enter again after the kernel had no room for an SQE.
const STALLED_PAUSE: Duration = Duration::from_millis(1);

impl Engine {
    /// One turn. See the module.
    pub(crate) fn turn(&mut self) -> io::Result<()> {
        self.work()?;
        let pause = self.pause();
        self.finish_turn(pause)
    }

    /// Steps 1 to 3.
    pub(crate) fn work(&mut self) -> io::Result<()> {
        self.poll.metrics.turns += 1;
        for _ in 0..ROUNDS_MAX {
            self.poll.metrics.polls += self.handle.core.tasks.run(TASKS_PER_ROUND);
            if self.poll.exchange()? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Step 4.
    pub(crate) fn pause(&mut self) -> Option<Duration> {
        let shared = &self.handle.core.shared;
        self.poll.pause(|| shared.has_work())
    }

    /// Steps 5 and 6.
    pub(crate) fn finish_turn(&mut self, pause: Option<Duration>) -> io::Result<()> {
        self.poll.wait(pause)?;
        self.adopt();
        self.handle.core.metrics.set(self.poll.metrics);
        Ok(())
    }

    /// Spawns what other threads have sent.
    fn adopt(&mut self) {
        let arrivals = std::mem::take(&mut *self.handle.core.shared.arrivals());
        for arrival in arrivals {
            arrival(&self.handle);
        }
    }
}

impl Poll {
    /// Steps 2 and 3. Tells how many completions were reaped.
    pub(crate) fn exchange(&mut self) -> io::Result<usize> {
        self.enter()?;
        let reaped = self.ring.reap(COMPLETIONS_PER_ROUND)?;
        self.take_answers();
        let rang_alone = std::mem::take(&mut self.rang_alone);
        self.metrics.spurious += u64::from(rang_alone && reaped == 0);
        Ok(reaped)
    }

    /// Interest changes ride with the operations of the turn. Without those a few are cheaper made one
    /// by one, which the reactor does before it waits.
    fn hand_over_changes(&mut self) {
        while let Some(change) = self.reactor.take_change() {
            self.changes.push(change);
        }
        let worth_it = self.ring.wants_enter() || self.changes.len() >= CHANGES_PER_ENTER_MIN;
        let mut handed_over = 0;
        for change in self.changes.iter().take_while(|_| worth_it) {
            let (events, data) = change.event();
            let change_of_set = EpollChange {
                epoll: self.reactor.as_fd(),
                operation: change.operation(),
                fd: change.fd(),
                events,
                data,
            };
            if !self.ring.begin_change(change.id(), &change_of_set) {
                break;
            }
            handed_over += 1;
        }
        self.changes_in_flight += handed_over;
        for change in self.changes.drain(handed_over..).rev() {
            self.reactor.give_back(change);
        }
        self.changes.clear();
    }

    fn take_answers(&mut self) {
        while let Some((id, result)) = self.ring.take_changed() {
            self.changes_in_flight -= 1;
            self.reactor.changed(id, result);
        }
    }

    /// Step 2. Submitting is not free and may block, so it is timed.
    fn enter(&mut self) -> io::Result<()> {
        if self.reactor.changes_pending() {
            self.hand_over_changes();
        }
        if !self.ring.wants_enter() {
            return Ok(());
        }
        let before = self.clock.now();
        self.ring.submit()?;
        let took = self.clock.now() - before;
        #[cfg(feature = "tracing")]
        crate::trace::entered(took);
        self.metrics.enter_max = self.metrics.enter_max.max(took);
        Ok(())
    }

    /// Step 4: how long to sleep. `None` is for ever. `has_work` tells of what else is runnable.
    pub(crate) fn pause(&mut self, has_work: impl Fn() -> bool) -> Option<Duration> {
        // Another loop may be the one that sleeps; and who hears of an error here has work to do.
        self.reactor.flush();
        if has_work() {
            return Some(Duration::ZERO);
        }
        self.doorbell.arm();
        if !self.ring.arm() || has_work() {
            return Some(Duration::ZERO);
        }
        self.metrics.sleeps += 1;
        let deadline = self.timers.borrow().next();
        let until_deadline = deadline.map(|at| at.saturating_duration_since(self.clock.now()));
        let until_retry = self.ring.stalled().then_some(STALLED_PAUSE);
        until_deadline.into_iter().chain(until_retry).min()
    }

    /// Steps 5 and 6. Doorbells are disarmed before anybody is woken: to an armed one every wake is a
    /// system call.
    pub(crate) fn wait(&mut self, pause: Option<Duration>) -> io::Result<()> {
        let waited = self.reactor.wait(pause);
        self.ring.disarm();
        self.doorbell.disarm();
        waited?;
        let turn = self.reactor.dispatch();
        self.metrics.events += turn.events as u64;
        self.metrics.interrupted += u64::from(turn.interrupted);
        self.rang_alone = turn.events == 1 && turn.rang(self.ring_rang);
        self.fire_timers();
        Ok(())
    }

    /// A turn for the ring alone, while the loop ends: nothing else wakes it.
    pub(crate) fn end_turn(&mut self, limit: Duration) -> io::Result<()> {
        self.enter()?;
        self.ring.reap(COMPLETIONS_PER_ROUND)?;
        self.take_answers();
        let pause = match (self.ring.in_flight(), self.ring.arm()) {
            (0, _) | (_, false) => Duration::ZERO,
            (_, true) if self.ring.stalled() => limit.min(STALLED_PAUSE),
            (_, true) => limit,
        };
        let waited = self.reactor.wait(Some(pause));
        self.ring.disarm();
        waited?;
        self.reactor.dispatch();
        Ok(())
    }
}
